"""Work of the window's thread cut into turns of the event loop: a panel is painted, then the mouse is heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from PySide6.QtCore import QObject, QTimer, Slot


class Turns(QObject):
    """Pieces of work in order, one per turn: painting, keys and the mouse come in between."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: deque[Callable[[], None]] = deque()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)

    @property
    def waiting(self) -> bool:
        return bool(self._pieces)

    def take(self, pieces: Iterable[Callable[[], None]]) -> None:
        """Do these, after those that wait."""
        self._pieces.extend(pieces)
        if self._pieces:
            self._timer.start(0)

    def finish(self) -> None:
        """Do all that waits, now."""
        self._timer.stop()
        while self._pieces:
            self._pieces.popleft()()

    def drop(self) -> None:
        """Forget what waits."""
        self._timer.stop()
        self._pieces.clear()

    @Slot()
    def _next(self) -> None:
        if self._pieces:
            self._pieces.popleft()()
        if self._pieces:
            self._timer.start(0)
