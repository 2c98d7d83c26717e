"""``fluoroscope fetch NAME``: download, discard or delete a model without a window. Imports no Qt and no torch."""

from __future__ import annotations

import sys
from getpass import getpass

from app.command_line import Options
from engine.checkpoint.fetch import Fetched, delete, discard, fetch, installed, unfinished
from engine.checkpoint.token import keep
from engine.errors import AccessError, SourceError
from engine.frames import ProgressFrame

MEGABYTE = 1e6


def fetch_model(options: Options) -> int:
    """Download, say where the model came from and where it lies; or remove it; 0. Raises EngineError."""
    if options.removal:
        return REMOVALS[options.removal](options)
    fetched = _fetch(options.name)
    print(fetched.origin)
    print(fetched.path)
    return 0


def _fetch(name: str) -> Fetched:
    """Whoever sits there is asked for a token, once, where the hub wants one."""
    try:
        return _fetch_with_report(name)
    except AccessError as error:
        if not sys.stdin.isatty() or not sys.stderr.isatty():
            raise
        print(f"fluoroscope: {error}", file=sys.stderr)
        secret = getpass("Token of the hub (it is not shown, and forgotten afterwards; nothing: give up): ", sys.stderr)
        if not secret.strip():
            raise
    keep(secret)
    return _fetch_with_report(name)


def _fetch_with_report(name: str) -> Fetched:
    try:
        return fetch(name, progress=_report)
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)


def _report(frame: ProgressFrame) -> None:
    """One line that rewrites itself; nothing where nobody watches it."""
    if sys.stderr.isatty():
        of = f" of {frame.total / MEGABYTE:.1f}" if frame.total else ""
        print(f"\r\x1b[K{frame.text}: {frame.done / MEGABYTE:.1f}{of} MB", end="", file=sys.stderr, flush=True)


def _delete(options: Options) -> int:
    found = next((model for model in installed() if options.name in (model.source, str(model.path))), None)
    size = f", {found.size / MEGABYTE:.1f} MB at {found.path}" if found is not None else ""
    if not _agreed(f"Delete {options.name}{size}?", options):
        return _left()
    return _freed(delete(options.name))


def _discard(options: Options) -> int:
    found = next((download for download in unfinished() if download.source == options.name), None)
    if found is None:
        begun = ", ".join(download.source for download in unfinished()) or "none"
        raise SourceError(f"There is no unfinished download of {options.name}; unfinished are: {begun}.")
    came = f"{found.done / MEGABYTE:.1f} of {found.total / MEGABYTE:.1f} MB"
    if not _agreed(f"Discard the unfinished download of {found.source}, {came}?", options):
        return _left()
    return _freed(discard(found.source))


REMOVALS = {"delete": _delete, "discard": _discard}


def _agreed(question: str, options: Options) -> bool:
    """The answer to a question. Raises SourceError where nobody is there to answer it."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise SourceError(f"Nothing was removed: there is nobody to ask ({question}); say --yes to do it.")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _left() -> int:
    print("Nothing was removed.")
    return 1


def _freed(count: int) -> int:
    print(f"{count / MEGABYTE:.1f} MB were freed.")
    return 0
