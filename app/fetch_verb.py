"""``fluoroscope fetch NAME``: the download without a window. Imports no Qt and no torch."""

from __future__ import annotations

import sys

from app.command_line import Options
from engine.frames import ProgressFrame

MEGABYTE = 1e6


def fetch_model(options: Options) -> int:
    """Download, say where the model came from and where it lies; 0. Raises EngineError."""
    from engine.checkpoint.fetch import fetch

    fetched = fetch(options.name, progress=_report)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(fetched.origin)
    print(fetched.path)
    return 0


def _report(frame: ProgressFrame) -> None:
    """One line that rewrites itself; nothing where nobody watches it."""
    if sys.stderr.isatty():
        of = f" of {frame.total / MEGABYTE:.1f}" if frame.total else ""
        print(f"\r\x1b[K{frame.text}: {frame.done / MEGABYTE:.1f}{of} MB", end="", file=sys.stderr, flush=True)
