"""Whatever takes longer than half a second: how far it is, how long it still takes, how it is given up.

Whoever does something long says ``begin``, ``move`` and ``end`` with a task of its own; the status bar shows it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

SHOWN_AFTER_S = 0.5
LOOK_EVERY_MS = 250  # while something is under way: it is shown in time, and its times go on
RATE_OVER_S = 6.0  # the time left follows from the pace of the last so many seconds
JUDGED_AFTER_S = 0.5  # the pace of less time than this says nothing

Unit = Literal["bytes", "tokens", "frames", "share"]


@dataclass
class Work:
    """One piece of work. ``done`` of ``total`` (0: not known) in ``unit``; "share" is shown as a percentage alone.

    ``cancel`` gives it up; None where it cannot be given up. ``began`` is on the clock of LongWork.
    """

    task: str
    text: str
    total: int = 0
    unit: Unit = "share"
    cancel: Callable[[], object] | None = None
    began: float = 0.0
    done: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=deque)  # when it was how far, of the last seconds

    def mark(self, now: float, done: int) -> None:
        """It is this far now; further back than before means that it has begun anew."""
        if self.marks and done < self.marks[-1][1]:
            self.marks.clear()
        self.done = done
        self.marks.append((now, done))
        while now - self.marks[0][0] > RATE_OVER_S and len(self.marks) > 2:
            self.marks.popleft()

    def left_s(self, now: float) -> float | None:
        """Seconds that it still takes at its present pace; None where that cannot be said."""
        if not self.total or not self.marks:
            return None
        first, seconds = self.marks[0][1], self.marks[-1][0] - self.marks[0][0]
        if seconds < JUDGED_AFTER_S or self.done <= first:
            return None
        at_the_mark = (self.total - self.done) * seconds / (self.done - first)
        return max(0.0, at_the_mark - (now - self.marks[-1][0]))


class LongWork(QObject):
    """What is under way, by task; in the window's thread only. ``changed``: something else is to be shown."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(parent)
        self.now = now
        self._works: dict[str, Work] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self._look)

    def begin(
        self,
        task: str,
        text: str,
        total: int = 0,
        unit: Unit = "share",
        cancel: Callable[[], object] | None = None,
    ) -> None:
        """Something has begun that may take long; of the same task there is one at a time."""
        work = Work(task, text, total, unit, cancel, self.now())
        work.mark(work.began, 0)
        self._works[task] = work
        if not self._timer.isActive():
            self._timer.start()

    def move(
        self, task: str, done: int, total: int | None = None, text: str | None = None, unit: Unit | None = None
    ) -> None:
        """It is this far; nothing happens where no such work is under way (it was given up, or is over)."""
        work = self._works.get(task)
        if work is None:
            return
        work.total = work.total if total is None else total
        work.text = work.text if text is None else text
        work.unit = work.unit if unit is None else unit
        work.mark(self.now(), done)
        self._tell(work)

    def end(self, task: str) -> None:
        """It is over, whatever came of it."""
        work = self._works.pop(task, None)
        if not self._works:
            self._timer.stop()
        if work is not None and self._is_long(work):
            self.changed.emit()

    def give_up(self, task: str) -> None:
        """Cancel it; it is shown until whoever does it says that it has ended."""
        work = self._works.get(task)
        if work is not None and work.cancel is not None:
            work.cancel()

    def close(self) -> None:
        """Show nothing any more."""
        self._works.clear()
        self._timer.stop()

    @property
    def tasks(self) -> tuple[str, ...]:
        """All that is under way, also what has only just begun."""
        return tuple(self._works)

    @property
    def shown(self) -> tuple[Work, ...]:
        """What takes longer than half a second by now, the longest first."""
        return tuple(work for work in self._works.values() if self._is_long(work))

    def _is_long(self, work: Work) -> bool:
        return self.now() - work.began >= SHOWN_AFTER_S

    def _tell(self, work: Work) -> None:
        if self._is_long(work):
            self.changed.emit()

    def _look(self) -> None:
        if self.shown:
            self.changed.emit()
