"""A film of the window that was not finished because the program was killed: what there is of it is kept.

While a film is made, a note lies in the folder of the session. What ffmpeg has written until the end is a film itself.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

NOTE = "film.json"
LARGEST = 2**16  # bytes of a note that are read
SIBLINGS = (".mp4", ".gif", ".png")  # what lies beside the part while a film is completed


def note(folder: Path, part: Path, film: Path) -> None:
    """A film is made into ``part``. Raises OSError."""
    (folder / NOTE).write_text(json.dumps({"part": str(part), "film": str(film)}), encoding="utf-8")


def forget(folder: Path) -> None:
    """It is there, or nobody wants it."""
    with suppress(OSError):
        (folder / NOTE).unlink()


def rescue(folder: Path) -> Path | None:
    """What there is of the film, as a file of its own beside the place where it was to be; None where there is none, or
    it cannot be had yet. Halves of files go."""
    found = _noted(folder)
    if found is None:
        return None
    part, film = found
    try:
        for sibling in SIBLINGS:
            part.with_suffix(sibling).unlink(missing_ok=True)
        kept = _kept(part, film)
    except OSError:  # it is still written, or its disk is away: the next start looks again
        return None
    except ValueError:  # no name of a file
        forget(folder)
        return None
    forget(folder)
    return kept


def _kept(part: Path, film: Path) -> Path | None:
    if not part.exists():
        return None
    if part.stat().st_size == 0 or (film.exists() and film.stat().st_mtime >= part.stat().st_mtime):
        part.unlink()
        return None
    os.chmod(part, 0o644)  # as the film would have been
    return part.replace(_free(film))


def _free(film: Path) -> Path:
    names = (film.with_name(f"{film.stem}-unfinished{'' if n == 1 else f'-{n}'}.mkv") for n in count(1))
    return next(name for name in names if not name.exists())


def _noted(folder: Path) -> tuple[Path, Path] | None:
    """The part and the film; a note that cannot be one is let go."""
    try:
        with (folder / NOTE).open("rb") as file:
            table = json.loads(file.read(LARGEST))
        part, film = Path(table["part"]), Path(table["film"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        forget(folder)
        return None
    ours = part.parent == film.parent and part.name.startswith(f".{film.stem}.") and part.name.endswith(".part.mkv")
    if not ours:
        forget(folder)
        return None
    return part, film
