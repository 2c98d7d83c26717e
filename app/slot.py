"""Where a window keeps its session: a folder that no other program uses meanwhile, and what the last one left there.

Every program takes the first folder ``window-N`` that is free. A mark lies in it while the program runs: one that is
found there was left by a program that did not end properly, and its run is put aside for whoever starts next.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PySide6.QtCore import QLockFile, QStandardPaths

from app.command_line import MOST_WINDOWS
from app.unfinished import NOTE, rescue
from engine.run_file_facts import SUFFIX

VARIABLE = "FLUOROSCOPE_STATE"  # another folder, for this program
MOST_LEFT = 4  # runs of programs that ended badly; older ones are let go
RUN, SESSION, MARK, LOCK, CRASH, LOG = f"run{SUFFIX}", "session.json", "running", "lock", "crash.txt", "log.txt"
LEFT = f"left-*{SUFFIX}"


@dataclass
class Slot:
    """``number`` counts from 1. ``crashed``: the last program did not end properly, here or in a folder that is free;
    ``crash_text`` is what Python said then, "" where it was killed; ``films``: what it left of those it was making."""

    folder: Path
    number: int
    lock: QLockFile = field(repr=False)
    crashed: bool = False
    crash_text: str = ""
    films: list[Path] = field(default_factory=list)
    endings: list[Callable[[], None]] = field(default_factory=list, repr=False)  # of what else writes into the folder

    @property
    def run(self) -> Path:
        """The run as it was saved by itself."""
        return self.folder / RUN

    @property
    def session(self) -> Path:
        return self.folder / SESSION

    @property
    def log(self) -> Path:
        return self.folder / LOG

    def left(self) -> list[Path]:
        """Runs that no window has come back to, such as those of programs that ended badly; the newest first."""
        return sorted(self.folder.glob(LEFT), key=written_at, reverse=True)

    def put_run_aside(self) -> None:
        """The run as it was saved by itself is kept as one that was left."""
        _put_aside([self.run], self)

    def owns(self, path: str) -> bool:
        """Whether a file is one of this folder, and so none that the user has saved."""
        return bool(path) and Path(path).parent == self.folder

    def leave(self) -> None:
        """The program ends properly, and another one may have the folder at once."""
        while self.endings:
            self.endings.pop()()
        (self.folder / MARK).unlink(missing_ok=True)
        self.lock.unlock()


def state_folder() -> Path:
    """Of this user; what ``FLUOROSCOPE_STATE`` says, if anything."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    return Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericStateLocation), "fluoroscope")


def folder_of(folder: Path, number: int) -> Path:
    return folder / f"window-{number}"


def take_slot(folder: Path, number: int | None = None, seconds: float = 0.0) -> Slot:
    """The first free one, or this one, which may become free within so many seconds; it is this program's until
    ``leave``. Raises OSError where nothing can be written, or it is not free."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # prompts are nobody else's business
    for each in range(1, MOST_WINDOWS + 1) if number is None else [number]:
        own = folder_of(folder, each)
        lock = _locked(own, seconds)
        if lock is not None:
            slot = Slot(own, each, lock)
            _sweep(own)
            _look_back(slot, folder)
            _mark(slot)
            return slot
    raise OSError(f"{MOST_WINDOWS} programs use it already" if number is None else f"window {number} is open already")


def free_numbers(folder: Path, own: Path) -> list[int]:
    """Of the folders that no program uses, the own one aside."""
    others = {number: folder_of(folder, number) for number in range(1, MOST_WINDOWS + 1)}
    return [number for number, other in others.items() if other != own and _is_free(other)]


def _is_free(folder: Path) -> bool:
    """It is locked for a moment only where a lock is, which may be of a program that is gone: the disk has to write."""
    with suppress(OSError):
        if not folder.is_dir():
            return False
        if not (folder / LOCK).exists():
            return os.access(folder, os.W_OK)
        lock = _locked(folder)
        if lock is not None:
            lock.unlock()
            return True
    return False


def _locked(folder: Path, seconds: float = 0.0) -> QLockFile | None:
    """None where another program has it. A lock of a program that is gone is none."""
    folder.mkdir(exist_ok=True, mode=0o700)
    lock = QLockFile(str(folder / LOCK))
    lock.setStaleLockTime(0)
    if lock.tryLock(round(1000 * seconds)):
        return lock
    if lock.error() == QLockFile.LockError.LockFailedError:
        return None
    raise PermissionError(f"{folder} cannot be written")


def _look_back(slot: Slot, folder: Path) -> None:
    """Take over what programs left that did not end properly, and runs that nobody has opened since: here, and where no
    program is any more."""
    for other in sorted(folder.glob("window-*")):
        try:
            if not any((other / name).exists() for name in (MARK, NOTE)) and not any(other.glob(LEFT)):
                continue  # without a lock, for which the disk has to write
            lock = None if other == slot.folder else _locked(other)
        except OSError:  # somebody else's, or no folder: this one can be used all the same
            continue
        if lock is None and other != slot.folder:
            continue
        film = rescue(other)
        slot.films += [film] if film is not None else []
        if (other / MARK).exists():
            slot.crashed = True
            slot.crash_text = _text_of(other / CRASH) or slot.crash_text
            _put_aside([other / RUN], slot)
            _sweep(other)
            (other / MARK).unlink(missing_ok=True)
        if other != slot.folder:
            _put_aside(other.glob(LEFT), slot)
        if lock is not None:
            lock.unlock()


def _put_aside(runs: Iterable[Path], slot: Slot) -> None:
    for path in runs:
        if path.exists():
            path.replace(_free(slot.folder))
    for path in slot.left()[MOST_LEFT:]:
        path.unlink(missing_ok=True)


def _free(folder: Path) -> Path:
    """A name for one more run that was left: some clocks tell the same time twice."""
    names = (folder / f"left-{number}{SUFFIX}" for number in count(time.time_ns()))
    return next(path for path in names if not path.exists())


def _sweep(folder: Path) -> None:
    """Let go of halves of files that a program was writing when it was killed."""
    for name in (RUN, SESSION):
        for path in folder.glob(f".{name}.*"):
            with suppress(OSError):
                path.unlink()


def _mark(slot: Slot) -> None:
    about = {"process": os.getpid(), "began": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    (slot.folder / MARK).write_text(json.dumps(about), encoding="utf-8")


def _text_of(path: Path, most: int = 200_000) -> str:
    """Of a file that may be anything."""
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def written_at(path: Path) -> float:
    """Seconds; 0 where it is gone by now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
