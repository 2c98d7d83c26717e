"""Once a second while a run goes on: what watching costs, and whether the window keeps up. No Qt here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from app.board import Board
from app.commands import State
from app.cost_words import Figures
from app.detail import LATE_TOKENS, Detail, Pace
from app.ledger import Ledger, WindowCost
from engine.frames import StepFrame, WatchCost
from engine.meter import ANSWER, together

EVERY_S = 1.0
RECENT_STEPS = 16  # figures of the pass are over this many steps of decode


class Accounts:
    """Reads the meter of the steps and the ledger of the window; lowers and raises the detail of pictures."""

    def __init__(self, ledger: Ledger, board: Board, now: Callable[[], float] = time.monotonic) -> None:
        self.figures: Figures | None = None
        self.detail = Detail()
        self._ledger, self._board, self._now = ledger, board, now
        self._running = False
        self._due = 0.0

    def look(self, steps: Sequence[StepFrame], state: State) -> bool:
        """Take in where the run stands; True where ``figures`` are new."""
        running, before = state == "running", self._running
        self._running = running
        if not running:
            return self._rest(steps, stopped=before)
        if not before:
            self._ledger.begin()
            self._due = self._now() + EVERY_S
        if not steps:
            self.figures = None
            return not before
        return self._now() >= self._due and self._measure(steps)

    def _rest(self, steps: Sequence[StepFrame], stopped: bool) -> bool:
        """Paused or idle: all detail at once; the figures of the run stay."""
        if self.detail.rest():
            self._board.set_halvings(0)
        if not steps:  # nothing has run, or another model was opened
            told, self.figures = self.figures is not None, None
            return told
        if stopped:
            self.figures = Figures(engine_cost(steps), self._ledger.cost())
        return stopped

    def _measure(self, steps: Sequence[StepFrame]) -> bool:
        now = self._now()
        self._due = now + EVERY_S
        engine, window = engine_cost(steps), self._ledger.cost()
        if self.detail.judge(now, pace(engine, window, self._board.late)):
            self._board.set_halvings(self.detail.halvings)
        self.figures = Figures(engine, window, self.detail.halvings, self.detail.reason)
        return True


def engine_cost(steps: Sequence[StepFrame]) -> WatchCost:
    """Of the last steps of decode; of prefill while there is nothing else."""
    recent = [step.watch for step in steps[-RECENT_STEPS:] if step.kind == "decode"]
    return together(recent or [step.watch for step in steps[-1:]])


def pace(engine: WatchCost, window: WindowCost, late: int) -> Pace:
    """Whether the window keeps up, in the figures that detail is judged by. ``late``: tokens that a picture lags."""
    asked = sum(seconds for part, seconds in engine.parts if part.startswith(ANSWER))
    a_token = (engine.plain + engine.seconds) / engine.passes if engine.passes else 0.0
    return Pace(
        share=window.share,
        picture=window.worked / window.pictures if window.pictures else 0.0,
        late=late * a_token if late > LATE_TOKENS else 0.0,
        answers=asked / engine.plain if engine.plain else 0.0,
    )
