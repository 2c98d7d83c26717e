"""Of every token of a run: how surprising it was, what was to be expected, and how long its pass took."""

from __future__ import annotations

import numpy as np

from app.run import Run
from engine.frames import StepFrame, Surprises

_LEAST = 256  # columns: doubled when they are full, so that a token costs the same however many there are
_SURPRISE, _ENTROPY, _SECONDS = range(3)


class TokenFigures:
    """Arrays by position, NaN where there is no figure. A generated token's are those of the step that chose it.

    ``prompt_known``: of so many prompt positions the answers have come; position 0 is predicted by nothing.
    """

    def __init__(self) -> None:
        self._run: tuple[object, object] = (None, None)
        self.n = self.n_prompt = self.prompt_known = 0
        self._table = np.zeros((3, 0))

    def follow(self, run: Run) -> bool:
        """Take up what the run has gained, or start afresh where it is another one; True if anything changed."""
        another = self._run[0] is not run.prompt or self._run[1] is not run.steps
        if another:
            self._run = (run.prompt, run.steps)
            self._renew(run.n_prompt)
        first = self.n - self.n_prompt
        for step in run.steps[first:]:
            self._add(step)
        return another or len(run.steps) > first

    def put(self, answer: Surprises) -> bool:
        """Take up what is known of the prompt; True if it is more than before."""
        end = min(answer.start + len(answer.surprise), self.n_prompt)
        if answer.start > self.prompt_known or end <= self.prompt_known:
            return False
        count = end - answer.start
        self._table[_SURPRISE, answer.start : end] = answer.surprise[:count]
        self._table[_ENTROPY, answer.start : end] = answer.entropy[:count]
        self.prompt_known = end
        return True

    @property
    def surprise(self) -> np.ndarray:
        """-ln p of the token before any stage of sampling, float64 [n], nats."""
        return self._table[_SURPRISE, : self.n]

    @property
    def entropy(self) -> np.ndarray:
        """Of the distribution that the token came from, before any stage, float64 [n], nats."""
        return self._table[_ENTROPY, : self.n]

    @property
    def seconds(self) -> np.ndarray:
        """Of the pass that chose the token, float64 [n]; no pass chose the tokens of the prompt."""
        return self._table[_SECONDS, : self.n]

    def _renew(self, n_prompt: int) -> None:
        self.n_prompt = self.n = n_prompt
        self.prompt_known = min(1, n_prompt)
        self._table = np.full((3, max(_LEAST, 2 * n_prompt)), np.nan)

    def _add(self, step: StepFrame) -> None:
        if self.n == self._table.shape[1]:
            self._table = np.concatenate((self._table, np.full_like(self._table, np.nan)), axis=1)
        with np.errstate(divide="ignore"):  # a token that was forced may have had no probability at all
            surprise = -np.log(step.sampling.chosen_raw)
        self._table[:, self.n] = max(surprise, 0.0), step.sampling.entropy_raw, step.seconds
        self.n += 1
