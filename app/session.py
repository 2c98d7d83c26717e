"""What a window remembers of its last session: model, prompt, settings, edits, where one looked. Written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.command_line import Options
from app.cursor import Look
from app.export import atomically
from app.notes import Note
from engine.edits import Edit
from engine.errors import EngineError
from engine.run_file_codec import LATER, from_json, to_json
from engine.settings import Sampling

VERSION = 1
LARGEST = 2**24  # bytes that are read
LONGEST_PROMPT = 1_000_000  # letters that are kept
LONGEST_RUN = 2**31  # tokens
UNREADABLE = (OSError, ValueError, RecursionError, EngineError)


@dataclass(frozen=True)
class SavedRun:
    """The run that lies beside the session. ``file``: the user's, that it came from or was saved to last; "": none."""

    file: str = ""


@dataclass(frozen=True)
class Session:
    """``run`` None: there was none, or it was not kept. ``trouble``: why the model could not be opened at the last
    start, as it was told then. A file of an older version may lack what came later."""

    version: int = VERSION
    model: str = field(default="", metadata=LATER)
    prompt: str = field(default="", metadata=LATER)
    chat: bool = field(default=False, metadata=LATER)
    tokens: int | None = field(default=None, metadata=LATER)
    sampling: Sampling | None = field(default=None, metadata=LATER)
    pinned: Look = field(default=Look(), metadata=LATER)
    edits: tuple[Edit, ...] = field(default=(), metadata=LATER)
    notes: tuple[Note, ...] = field(default=(), metadata=LATER)
    run: SavedRun | None = field(default=None, metadata=LATER)
    trouble: str = field(default="", metadata=LATER)


class SessionError(EngineError):
    """The session cannot be read; the sentence says what became of its file."""


def write_session(path: Path, session: Session) -> None:
    """Raises OSError."""
    if len(session.prompt) > LONGEST_PROMPT:
        session = replace(session, prompt="")
    atomically(path, json.dumps(to_json(session), ensure_ascii=False).encode("utf-8", "replace"), mode=0o600)


def look_at_session(path: Path) -> Session | None:
    """As it lies there, of a window that may be anybody's; None where there is none, or none that can be read."""
    try:
        data = _bytes(path)
        return None if data is None else _parsed(data)
    except UNREADABLE:
        return None


def read_session(path: Path) -> Session | None:
    """None where there is none. Raises SessionError; the file is kept beside the place then, and is not in the way."""
    try:
        data = _bytes(path)
        return None if data is None else _parsed(data)
    except UNREADABLE as error:
        aside = path.with_name(f"{path.stem}-unread{path.suffix}")
        try:
            path.replace(aside)
        except OSError:
            aside = path
        raise SessionError(
            f"The last session cannot be restored ({_reason(error)}); its file is kept as {aside}."
        ) from error


def _bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    if len(data) > LARGEST:
        raise ValueError("its file is far too large")
    return data


def _parsed(data: bytes) -> Session:
    table = json.loads(data)
    if not isinstance(table, dict) or type(table.get("version")) is not int:
        raise ValueError("its file is damaged")
    if table["version"] > VERSION:
        raise ValueError("a newer Fluoroscope wrote it")
    session: Session = from_json(Session, table, "session")
    if session.tokens is not None and not 0 < session.tokens <= LONGEST_RUN:
        raise ValueError("its file is damaged")
    return session


def _reason(error: Exception) -> str:
    known = isinstance(error, ValueError) and not isinstance(error, (json.JSONDecodeError, UnicodeDecodeError))
    return str(error) if known else "its file is damaged"


def restored(options: Options, session: Session, run: Path | None) -> Options:
    """What a window begins with: what the command line says wins, and what it leaves open is as it was.

    ``run``: the file of the last run, None where it is not to be opened.
    """
    kept = {"prompt": session.prompt or None, "chat": session.chat, "tokens": session.tokens or options.tokens}
    found: dict[str, Any] = {name: value for name, value in kept.items() if name not in options.given}
    if "model" not in options.given:
        opens_run = run is not None and session.run is not None and "prompt" not in options.given
        found["model"] = str(run) if opens_run else session.model or options.model
    if session.sampling is not None:
        found["sampling"] = sampling_of(session.sampling, options)
    return replace(options, **found)


def sampling_of(sampling: Sampling, options: Options) -> Sampling:
    """As it was, but for what the command line sets."""
    return replace(sampling, **{name: getattr(options.sampling, name) for name in options.sampling_given})


def fitting(look: Look, n_tokens: int, n_layers: int, heads: Iterable[int]) -> Look:
    """A place that is kept, within a run as it is now; ``heads``: their number by layer."""
    counts = list(heads)
    layer = min(max(look.layer, 0), n_layers - 1)
    position = look.position if look.position is not None and 0 <= look.position < n_tokens else None
    return replace(look, layer=layer, head=min(max(look.head, 0), counts[layer] - 1), position=position, expert=None)
