"""The hub's token of the user: where it is kept, and how it is asked for. It is never logged and never in a message.

In this order: what was kept in memory for this program, the system's keyring (the optional package ``keyring``), the
login of the hub's own tools (HF_TOKEN, ``hf auth login``).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.checkpoint.patience import patiently
from engine.errors import AccessError

Where = Literal["memory", "keyring", "login", ""]

SERVICE, USER = "fluoroscope", "hugging face hub"  # what the keyring knows it by
READING = 3.0  # seconds that a keyring may take to answer; one that asks its user for a password may answer later
WRITING = 30.0

_TOKEN = re.compile(r"[\w.~+/=-]{8,512}", re.ASCII)  # RFC 6750, and no shorter than a password


@dataclass(frozen=True)
class Kept:
    """Where a token is kept now; ``sentence`` says why it could not be remembered, "" where all went as wished."""

    where: Where
    sentence: str = ""


class _Known:
    """What this program knows: the token in memory, and what the keyring answered."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.memory: str | None = None
        self.asked = False  # the keyring, at least once
        self.keyring: str | None = None


_known = _Known()


def token() -> str | None:
    """The token to send to the hub, or None. Takes at most READING seconds, once in a program.

    Raises AccessError for one in the keyring or of a saved login that cannot be a token.
    """
    return _found()[0]


def source_of_token() -> Where:
    """Where token() comes from; "" where there is none. Raises AccessError as token() does."""
    return _found()[1]


def _found() -> tuple[str | None, Where]:
    if _known.memory:
        return _known.memory, "memory"
    kept = _from_keyring()
    if kept:
        return checked(kept, "The token in the system's keyring"), "keyring"
    saved = _saved_login()
    return (checked(saved, "The token in HF_TOKEN or of `hf auth login`"), "login") if saved else (None, "")


def _saved_login() -> str | None:
    from huggingface_hub import get_token

    try:
        return get_token()
    except Exception as error:  # the login may have to be renewed over the network
        kind = type(error).__name__
        raise AccessError(f"The saved login of the hub cannot be used ({kind}); log in again.") from None


def keep(text: str, remember: bool = False) -> Kept:
    """Use this token from now on: in memory, and with ``remember`` in the system's keyring.

    Raises AccessError with one sentence, which does not repeat it, for what cannot be a token.
    """
    secret = checked(text.strip(), "This")
    _known.memory = secret
    if not remember:
        return Kept("memory")
    problem = _into_keyring(secret)
    return Kept("memory", f"The token is kept until the program ends: {problem}.") if problem else Kept("keyring")


def forget() -> None:
    """Drop what ``keep`` kept, in memory and in the keyring; a login of the hub's own tools stays."""
    _known.memory = None
    _in_keyring(lambda ring: ring.delete_password(SERVICE, USER), WRITING)
    _known.asked, _known.keyring = True, None


def checked(text: str, what: str) -> str:
    """The token, if it can be one. Raises AccessError, which does not repeat it: it goes into a header."""
    if not _TOKEN.fullmatch(text):
        raise AccessError(f"{what} is no token of the hub: it has 8 to 512 letters and digits, without blanks.")
    return text


# ---- the keyring: may be absent, locked, or wait for a user who is not there -----------------------------------------


def _from_keyring() -> str | None:
    with _known.lock:
        if not _known.asked:
            _known.asked = True

            def read(ring: Any) -> None:  # an answer that comes late is used from then on
                _known.keyring = ring.get_password(SERVICE, USER)

            _in_keyring(read, READING)
    return _known.keyring


def _into_keyring(secret: str) -> str:
    """Why it could not be stored, "" where it was."""
    problem = _in_keyring(lambda ring: ring.set_password(SERVICE, USER, secret), WRITING)
    if not problem:
        _known.asked, _known.keyring = True, secret
    return problem


def _in_keyring(act: Callable[[Any], object], seconds: float) -> str:
    """Why it could not be done, "" where it was; the words of the keyring's own errors are not repeated."""
    try:
        return patiently(lambda: _acted(act), lambda: None, seconds)
    except ImportError:
        return "the package keyring, which reaches the system's keyring, is not installed"
    except TimeoutError:
        return "the system's keyring does not answer"
    except Exception as error:  # a backend raises what it likes
        return f"the system's keyring refused it ({type(error).__name__})"


def _acted(act: Callable[[Any], object]) -> str:
    import keyring

    if keyring.get_keyring().priority < 1:
        return "this system has no keyring that is safe"  # a plain file, or none at all
    act(keyring)
    return ""
