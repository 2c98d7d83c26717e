"""What goes wrong is tried again, after a pause that grows as long as it goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_S, LONGEST_S = 20.0, 600.0  # each pause is twice as long as the one before


@dataclass
class Patience:
    """``said``: what the user was told about it; "" while all is well. ``relief``: what was told when it
    worked again."""

    now: Callable[[], float] = time.monotonic
    said: str = ""
    relief: str = ""
    _pause: float = FIRST_S
    _next: float = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether it may be tried."""
        return self.now() >= self._next

    def fail(self, sentence: str) -> None:
        """It has gone wrong; only what goes wrong first is told."""
        self.said = self.said or sentence
        self._next = self.now() + self._pause
        self._pause = min(2 * self._pause, LONGEST_S)

    def succeed(self) -> None:
        self.said, self._pause, self._next = "", FIRST_S, float("-inf")

    def hurry(self) -> None:
        """Somebody wants it now."""
        self._pause, self._next = FIRST_S, float("-inf")
