"""The Hugging Face hub: which models it has, and which files one of them has at which commit, with which checksums.

The hub's library asks; ``download.py`` brings the bytes. ``HF_ENDPOINT`` names another hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

from engine.checkpoint.download import Remote, refused
from engine.checkpoint.hub_client import DEADLINE, TIMEOUT, Excess, Refused, within_limits
from engine.checkpoint.listing import Choice, Listing, choices
from engine.checkpoint.patience import patiently
from engine.checkpoint.retries import Say, persistently
from engine.checkpoint.source import HubId, hub_id
from engine.checkpoint.token import token
from engine.errors import NetworkError, SourceError

__all__ = ["Choice", "HubModel", "Listing", "choices", "credentials", "endpoint", "list_files", "remote_file", "search"]

T = TypeVar("T")

PUBLIC = "https://huggingface.co"
HERE = ("localhost", "127.0.0.1", "::1")
LONGEST_SEARCH = 200
MOST_FOUND = 100
MOST_FILES = 50_000
WEIGHTS = ("safetensors", "gguf")  # tags of a model that could be loaded
TEXT = ("text-generation", "text2text-generation", "image-text-to-text", "any-to-any", "")  # what such a model is for
SHOWN = ("downloads", "likes", "gated", "lastModified", "tags", "library_name", "pipeline_tag")

CHECKSUM = re.compile(r"(?:sha256:[0-9a-f]{64}|git:[0-9a-f]{40}(?:[0-9a-f]{24})?)?")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class HubModel:
    """A model that a search found. ``licence`` is the hub's short name for it, "" where it says none."""

    id: str
    downloads: int
    likes: int
    gated: Literal["", "auto", "manual"]
    licence: str
    updated: datetime | None
    tags: tuple[str, ...]
    library: str


def endpoint() -> str:
    """The hub's address, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or PUBLIC


def credentials() -> str | None:
    """The user's token, if the hub's address is one that it may be sent to: over https, or on this computer.

    Takes a moment where the system's keyring is asked. Raises AccessError for a saved token that cannot be one.
    """
    parts = urlsplit(endpoint())
    return token() if parts.scheme == "https" or parts.hostname in HERE else None


def search(text: str, limit: int = 20, check: Callable[[], None] = lambda: None) -> tuple[HubModel, ...]:
    """Models of the hub that could be loaded, the most downloaded first; one whose id is ``text`` before all others.

    Args:
        text: words of the id; "" lists the most downloaded models.
        limit: how many, at most MOST_FOUND.
        check: called ten times a second; cancels by raising.

    Raises NetworkError with one sentence, within a bounded time; AccessError where the token is not accepted.
    """
    text = " ".join(text.split())[:LONGEST_SEARCH]
    address = endpoint()
    secret = patiently(credentials, check)
    exact = _exactly(address, secret, text, check)
    rows = _asked(lambda: _rows(address, secret, text), address, check, secret=secret, repo=text)
    found = sorted(filter(_could_be_loaded, rows), key=lambda row: row.downloads or 0, reverse=True)
    models: dict[str, HubModel] = {}
    for row in (*exact, *found):
        models.setdefault(row.id, _model(row))
    return tuple(models.values())[: min(limit, MOST_FOUND)]


def _rows(address: str, secret: str | None, text: str) -> list[Any]:
    """More than are shown, since many of them are of other kinds.

    By the library's session: its ``list_models`` would ask five times by itself, and shut the session meanwhile.
    """
    from huggingface_hub import ModelInfo
    from huggingface_hub.utils import build_hf_headers, get_session

    asked: dict[str, Any] = {"sort": "downloads", "direction": -1, "limit": MOST_FOUND, "expand": list(SHOWN)}
    asked |= {"search": text} if text else {}
    headers = build_hf_headers(token=secret or False)
    rows = get_session().get(f"{address}/api/models", params=asked, headers=headers).json()
    if not isinstance(rows, list):
        raise TypeError("it is no list of models")
    found = [_checked(ModelInfo(**row)) for row in rows[:MOST_FOUND]]
    return [row for row in found if hub_id(row.id) == HubId(row.id)]  # another name could not be asked for


def _exactly(address: str, secret: str | None, text: str, check: Callable[[], None]) -> list[Any]:
    """The model of that id, where there is one."""
    hub = hub_id(text)
    if hub is None:
        return []
    try:
        question = partial(_one_row, _api(address, secret), hub.repo)
        return [_asked(question, address, check, secret=secret, repo=hub.repo)]
    except SourceError:
        return []  # no id that the hub can have
    except NetworkError as error:
        if getattr(error.__cause__, "status", None) in (401, 403, 404):
            return []
        raise


def _one_row(api: Any, repo: str) -> Any:
    return _checked(api.model_info(repo))


def _api(address: str, secret: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=address, token=secret or False)


def _checked(row: Any) -> Any:
    """A row of the hub's answer. Raises TypeError or ValueError where it is not what it should be."""
    if not isinstance(row.id, str) or not all(type(count or 0) is int for count in (row.downloads, row.likes)):
        raise TypeError("the name of a model is no text, or its downloads are no number")
    if not isinstance(row.tags or [], list) or not all(isinstance(tag, str) for tag in row.tags or []):
        raise TypeError("the tags of a model are no texts")
    return row


def _could_be_loaded(row: Any) -> bool:
    return (row.pipeline_tag or "") in TEXT and any(tag in (row.tags or ()) for tag in WEIGHTS)


def _model(row: Any) -> HubModel:
    tags = tuple(tag for tag in row.tags or () if len(tag) <= 100 and tag.isprintable())[:100]
    licence = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")
    return HubModel(
        id=row.id,
        downloads=row.downloads or 0,
        likes=row.likes or 0,
        gated=row.gated if row.gated in ("auto", "manual") else "",
        licence=licence,
        updated=row.last_modified if isinstance(row.last_modified, datetime) else None,
        tags=tags,
        library=row.library_name if isinstance(row.library_name, str) else "",
    )


def list_files(hub: HubId, check: Callable[[], None], say: Say | None = None) -> Listing:
    """Ask the hub what a model consists of.

    Args:
        check: called ten times a second; cancels by raising.
        say: called instead while the hub asks to wait, with what is waited for.

    Raises NetworkError or AccessError with one sentence.
    """
    address = endpoint()
    secret = patiently(credentials, check)
    question = partial(_commit_and_files, _api(address, secret), hub)
    commit, files = _asked(question, address, check, say, secret=secret, repo=hub.repo)
    if not _COMMIT.fullmatch(commit):
        raise NetworkError(f"{address} names no commit for {hub}; try again later.")
    known = {name: remote_file(hub.repo, commit, name, *facts, secret) for name, facts in files.items()}
    return Listing(hub.repo, commit, known)


def _commit_and_files(api: Any, hub: HubId) -> tuple[str, dict[str, tuple[int | None, str]]]:
    info = api.model_info(hub.repo, revision=hub.revision, files_metadata=True)
    siblings = list(islice(info.siblings or [], MOST_FILES))
    return str(info.sha or ""), {sibling.rfilename: _size_and_sum(sibling) for sibling in siblings}


def _size_and_sum(sibling: Any) -> tuple[int | None, str]:
    """Bytes and checksum of a file. Raises ValueError where they are not what they should be."""
    sha256, blob, size = getattr(sibling.lfs, "sha256", None), sibling.blob_id, sibling.size
    checksum = f"sha256:{sha256}" if sha256 else f"git:{blob}" if blob else ""
    if not isinstance(sibling.rfilename, str) or not (size is None or (type(size) is int and 0 <= size < 2**63)):
        raise ValueError(f"the file {sibling.rfilename!r:.80} has {size!r:.40} bytes")
    if not CHECKSUM.fullmatch(checksum):
        raise ValueError(f"the file {sibling.rfilename!r:.80} has the sum {checksum!r:.80}")
    return size, checksum


def remote_file(repo: str, commit: str, path: str, size: int | None, checksum: str, secret: str | None) -> Remote:
    """Where a file of a repository is; ``secret`` is what credentials() gave."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return Remote(f"{endpoint()}/{quote(repo)}/resolve/{commit}/{quote(path)}", size, checksum, headers, repo)


def _asked(
    question: Callable[[], T],
    address: str,
    check: Callable[[], None],
    say: Say | None = None,
    *,
    secret: str | None,
    repo: str,
) -> T:
    """The answer to a question to the library about ``repo``. Raises NetworkError, AccessError with one sentence."""
    host = urlsplit(address).hostname or address

    def attempt() -> T:
        try:
            return patiently(lambda: _translated(question, host, repo, bool(secret)), check, DEADLINE + TIMEOUT)
        except TimeoutError as error:
            raise NetworkError(f"{host} is too slow ({error}); try again later.") from error

    return persistently(attempt, say or (lambda text: check()))


def _translated(question: Callable[[], T], host: str, repo: str, with_token: bool) -> T:
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError

    if constants.HF_HUB_OFFLINE:
        raise NetworkError("The hub may not be asked because HF_HUB_OFFLINE is set; unset it to download.")
    try:
        return within_limits(question)
    except Refused as error:
        raise refused(host, error.status, error.headers, repo, with_token=with_token) from error
    except HFValidationError as error:
        raise SourceError(f"{repo} is no id that the hub can have ({_first_line(error)}).") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, Excess) as error:
        raise NetworkError(f"{host} gave an answer that cannot be read ({_first_line(error)}); try later.") from error
    except Exception as error:  # the library's HTTP client, and so its errors, differ from version to version
        raise NetworkError(f"{host} cannot be reached ({_first_line(error)}); check the connection.") from error


def _first_line(error: Exception) -> str:
    return f"{str(error).split(chr(10))[0] or type(error).__name__:.200}"
