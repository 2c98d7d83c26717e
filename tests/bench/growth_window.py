"""The window's side of the growth: one long run with the window open, and what it costs token by token."""

from __future__ import annotations

import time
from typing import Any

import psutil
from PySide6.QtCore import QObject, Slot

from engine.frames import StepFrame
from tests.bench.job import Job
from tests.bench.window_side import WindowSide


class Samples(QObject):
    """After each step that the window has shown: tokens of the run, the window thread's seconds, resident bytes."""

    def __init__(self, window: Any) -> None:
        super().__init__(window)
        self.taken: list[tuple[int, float, int]] = []
        self._window = window
        self._process = psutil.Process()
        window.received.connect(self._note)

    @Slot(object)
    def _note(self, frame: object) -> None:
        if isinstance(frame, StepFrame):
            self.taken.append((frame.end, time.thread_time(), self._process.memory_info().rss))


class GrowthWindow(WindowSide):
    """The window as in side c."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._samples = Samples(self._window)

    def run(self, count: int) -> dict[str, Any]:
        """Prefill and ``count`` decode passes: seconds of each, and the samples."""
        self._samples.taken.clear()
        figures = self._run(count + 1)
        steps = [frame for _, frame in self._watcher.posted if isinstance(frame, StepFrame)]
        costs = [sum(seconds for _, seconds in frame.watch.parts) for frame in steps]
        return {
            "passes": figures["passes"],
            "watching": costs[1:],
            "record": [frame.record.memory + frame.record.disk for frame in steps][1:],
            "cache": [frame.cache_bytes for frame in steps][1:],
            "samples": self._samples.taken,
        }
