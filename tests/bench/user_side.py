"""The program with a user who clicks around: what memory grows by, and what is left of it in the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QApplication

from engine.frames import Piece, StepFrame
from tests.app import leaks
from tests.bench import resident
from tests.bench.clicks import Clicks
from tests.bench.job import Job
from tests.bench.window_side import WindowSide

SAMPLES = 40  # in a run
LEAST_TOKENS = 8  # between two samples
PATIENCE_S = 20.0  # until panels have their answers


class Samples(QObject):
    """Every so many tokens: positions, resident bytes in use, and those of them that are the run's own."""

    def __init__(self, window: Any) -> None:
        super().__init__(window)
        self.taken: list[dict[str, int]] = []
        self._every, self._steps = 1, 0
        window.received.connect(self._note)

    def begin(self, count: int) -> None:
        """A run of so many tokens comes."""
        self.taken.clear()
        self._every, self._steps = max(LEAST_TOKENS, count // SAMPLES), 0

    @Slot(object)
    def _note(self, frame: object) -> None:
        if not isinstance(frame, StepFrame):
            return
        self._steps += size_of(frame)
        if frame.index % self._every == 0:
            own = {"record": frame.record.memory, "cache": frame.cache_bytes, "steps": self._steps}
            self.taken.append({"positions": frame.end, "resident": resident.now()} | own)


def size_of(thing: object) -> int:
    """Bytes of a step as the window keeps it; pieces of the vocabulary are there once for all steps."""
    if isinstance(thing, np.ndarray):
        return sys.getsizeof(thing) + (thing.nbytes if thing.base is not None else 0)
    if isinstance(thing, tuple):
        return sys.getsizeof(thing) + sum(size_of(part) for part in thing if not isinstance(part, Piece))
    if is_dataclass(thing):
        parts = [getattr(thing, part.name) for part in fields(thing)]
        return sys.getsizeof(thing) + sys.getsizeof(vars(thing)) + sum(map(size_of, parts))
    return sys.getsizeof(thing) if isinstance(thing, float | bytes) else 0


class UserSide(WindowSide):
    """``job.every_ms``: how often the user does something."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._samples = Samples(self._window)
        self._clicks = Clicks(self._window, job.every_ms)

    def run(self, count: int) -> dict[str, Any]:
        """A run of the prompt and ``count`` tokens more, with the user at it all the time."""
        self._samples.begin(count)
        self._clicks.done.clear()
        before = self._state()
        figures = self._run(count)
        self._window.context.cursor.leave()
        self._window.context.cursor.follow()  # what is pinned means nothing in the next run
        return {
            "before": before,
            "after": self._state(),
            "samples": self._samples.taken,
            "acts": dict(self._clicks.done),
            "seconds": sum(figures["passes"]),
            "tokens": len(figures["tokens"]),
        }

    def finish(self) -> dict[str, Any]:
        """Close the window; what it leaves: threads, running timers, widgets."""
        window, self._window = self._window, None
        self._watcher, self._samples, self._clicks = None, None, None
        window.close()
        closed = window.closed_in_time
        window.deleteLater()
        del window
        leaks.settle()
        return {
            "closed in time": closed,
            **_running(leaks.active_timers()),
            "windows": _names(leaks.top_levels()),
            "widgets": _names(QApplication.allWidgets()),
        }

    def close(self) -> None:
        """It is closed."""

    def _state(self) -> dict[str, Any]:
        """What is there while the window is open and nothing runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._window.complete and time.monotonic() < deadline:  # what is pinned was let go: panels ask anew
            QApplication.processEvents()
            time.sleep(0.01)
        leaks.settle()
        repeating = [timer for timer in leaks.active_timers() if not timer.isSingleShot()]
        return {"resident": resident.now(), "widgets": _names(QApplication.allWidgets()), **_running(repeating)}


def _running(timers: Iterable[QTimer]) -> dict[str, list[str]]:
    """Names of the program's threads, and of what the timers belong to."""
    names = sorted(thread.name for thread in leaks.threads())
    return {"threads": names, "timers": _names(timer.parent() for timer in timers)}


def _names(things: Iterable[object]) -> list[str]:
    return sorted(type(thing).__name__ for thing in things)
