"""Whose turn it is in the window's thread: its processor time by part, booked as on a chess clock. No Qt here."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

SPAN_S = 2.0  # figures are of what was shown in the last so many seconds

OTHER = "other"  # the mouse, keys and timers between two pictures
BARS = "bars"  # commands, status bar and what hands frames around


@dataclass(frozen=True)
class WindowCost:
    """What the window's thread did over ``seconds``: processor seconds by part (a panel's key, BARS or OTHER)."""

    seconds: float = 0.0
    parts: tuple[tuple[str, float], ...] = ()
    pictures: int = 0
    tokens: int = 0

    @property
    def worked(self) -> float:
        """Processor seconds of all parts."""
        return sum(seconds for _, seconds in self.parts)

    @property
    def share(self) -> float:
        """Of the time, and so of each picture's share of it, what the window's thread worked."""
        return self.worked / self.seconds if self.seconds > 0 else 0.0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class _Picture:
    """``ended`` when it had been painted; what was worked since the one before, and the tokens it brought."""

    ended: float
    parts: dict[str, float]
    tokens: int


class Ledger:
    """Books the processor time since the last call to whose turn it was, so that none is left out.

    A panel's turn lasts until the next one's: what it causes to be painted is painted in between, and is its own.
    """

    def __init__(
        self, worked: Callable[[], float] = time.thread_time, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._worked, self._now = worked, now
        self._turn, self._since = OTHER, worked()
        self.begin()

    def begin(self) -> None:
        """Forget what was: a run begins."""
        self._parts: defaultdict[str, float] = defaultdict(float)
        self._pictures: deque[_Picture] = deque()
        self._start = self._now()

    def turn_to(self, part: str) -> None:
        """From here on the window's thread works for this part."""
        worked = self._worked()
        self._parts[self._turn] += worked - self._since
        self._turn, self._since = part, worked

    def picture(self, tokens: int) -> None:
        """Something new has been painted, with so many tokens in it."""
        self.turn_to(OTHER)
        self._pictures.append(_Picture(self._now(), dict(self._parts), tokens))
        self._parts.clear()
        self._forget()

    def cost(self) -> WindowCost:
        """Over the pictures of the last ``SPAN_S`` seconds; at least over the last one."""
        if not self._pictures:
            return WindowCost()
        parts: defaultdict[str, float] = defaultdict(float)
        for picture in self._pictures:
            for part, seconds in picture.parts.items():
                parts[part] += seconds
        seconds = self._pictures[-1].ended - self._start
        tokens = sum(picture.tokens for picture in self._pictures)
        return WindowCost(seconds, tuple(parts.items()), len(self._pictures), tokens)

    def _forget(self) -> None:
        while len(self._pictures) > 1 and self._pictures[-1].ended - self._pictures[0].ended >= SPAN_S:
            self._start = self._pictures.popleft().ended
