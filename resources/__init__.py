"""Files that ship with the program: fonts, icons. Found in a checkout, in an installed wheel and in a packed build."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def path(name: str) -> Path:
    """The file ``name``, e.g. ``path("icons/run.svg")``. Raises FileNotFoundError where there is no such file."""
    found = Path(str(files(__name__))) / name
    if not found.exists():
        raise FileNotFoundError(f"The program's file resources/{name} is missing; install Fluoroscope again.")
    return found
