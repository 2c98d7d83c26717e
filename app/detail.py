"""How much detail pictures have while a run goes on: less when the window is behind, all of it when there is time.

No Qt and no clock of its own: whoever measures tells the time, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from engine.questions import (
    AskAttentionGrid,
    AskAttentionMap,
    AskPoint,
    AskPointOver,
    AskResidualNorms,
    AskResidualVectors,
    AskRouting,
    Question,
)

REDUCIBLE = (
    AskAttentionGrid,
    AskAttentionMap,
    AskPoint,
    AskPointOver,
    AskResidualNorms,
    AskResidualVectors,
    AskRouting,
)  # questions whose ``most`` is how many cells of a picture the screen can show
LEAST_CELLS = 32  # along an axis: no picture is reduced further to save time
MOST_HALVINGS = 2
BEHIND_S = 3.0  # so long without a break behind, and detail is halved
CALM_S = 6.0  # so long without a break with time to spare, and it comes back
MOST_CALM_S = 96.0  # where it was halved again soon after it came back, each return takes twice as long, up to this
LATE_TOKENS = 8

Reason = Literal["share", "picture", "late", "answers"]


@dataclass(frozen=True)
class Pace:
    """What was measured of the last seconds. The limits on it are ``LIMITS``."""

    share: float = 0.0  # of the time, that the window's thread worked
    picture: float = 0.0  # processor seconds of one picture, which the rest after it grows with
    late: float = 0.0  # seconds that a picture lags, where that is more than LATE_TOKENS tokens
    answers: float = 0.0  # seconds of questions, over seconds of the pass without watching


LIMITS: dict[Reason, float] = {"share": 0.2, "picture": 0.04, "late": 0.7, "answers": 0.5}
TO_SPARE = 0.7  # of each limit: below it there is time for more


def behind(pace: Pace, part: float = 1.0) -> Reason | None:
    """The first figure that is over this part of its limit."""
    return next((name for name, limit in LIMITS.items() if getattr(pace, name) > part * limit), None)


class Detail:
    """``halvings``: how often the cells along an axis are halved now, because of ``reason``."""

    def __init__(self) -> None:
        self.halvings = 0
        self.reason: Reason | None = None
        self._behind_since: float | None = None
        self._calm_since: float | None = None
        self._returned = float("-inf")  # when detail last came back
        self._patience = CALM_S

    def judge(self, now: float, pace: Pace) -> bool:
        """Take in what was measured; True where the detail changed."""
        reason = behind(pace)
        calm = behind(pace, part=TO_SPARE) is None
        self._behind_since = _since(self._behind_since, now) if reason else None
        self._calm_since = _since(self._calm_since, now) if calm else None
        if self._lasted(self._behind_since, now, BEHIND_S) and self.halvings < MOST_HALVINGS:
            self._lower(now, reason)
            return True
        if self._lasted(self._calm_since, now, self._patience) and self.halvings:
            self._raise(now)
            return True
        return False

    def rest(self) -> bool:
        """The run is paused or over: all detail at once. True where that changes something."""
        lowered, self.halvings, self.reason = self.halvings > 0, 0, None
        self._behind_since = self._calm_since = None
        return lowered

    def _lower(self, now: float, reason: Reason | None) -> None:
        again = now - self._returned < 2 * self._patience
        self._patience = min(MOST_CALM_S, 2 * self._patience) if again else CALM_S
        self.halvings, self.reason = self.halvings + 1, reason
        self._behind_since = self._calm_since = None

    def _raise(self, now: float) -> None:
        self.halvings, self._returned = self.halvings - 1, now
        self.reason = self.reason if self.halvings else None
        self._behind_since = self._calm_since = None

    @staticmethod
    def _lasted(since: float | None, now: float, seconds: float) -> bool:
        return since is not None and now - since >= seconds


def _since(since: float | None, now: float) -> float:
    return now if since is None else since


def reduced(question: Question, halvings: int) -> Question:
    """The question with fewer cells, where it is about a picture that has more than the least."""
    if not halvings or not isinstance(question, REDUCIBLE) or question.most <= LEAST_CELLS:
        return question
    return replace(question, most=max(LEAST_CELLS, question.most >> halvings))
