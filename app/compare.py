"""Two branches of a run beside each other: which ones, which of them is shown, and what is asked of both.

While the difference is shown the engine stands on A; what panels ask is asked about B, too, at places that both have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.frames import BranchFacts
from engine.questions import (
    AskAttentionGrid,
    AskAttentionMap,
    AskAttentionRow,
    AskCacheVectors,
    AskExactValue,
    AskExpertUse,
    AskLens,
    AskNeuronLayers,
    AskNeurons,
    AskPoint,
    AskPointOver,
    AskPoints,
    AskResidualNorms,
    AskResidualVectors,
    AskRouterRow,
    AskRouting,
    AskRoutingLayers,
    AskRoutingShares,
    Question,
)

Side = Literal["A", "B", "A − B"]
SIDES: tuple[Side, ...] = ("A", "B", "A − B")


@dataclass(frozen=True)
class Comparison:
    """``a`` and ``b`` are numbers of branches, None: not pinned. ``side`` is what is shown once both are."""

    a: int | None = None
    b: int | None = None
    side: Side = "A"

    @property
    def complete(self) -> bool:
        """Whether there are two to compare."""
        return self.a is not None and self.b is not None

    @property
    def differs(self) -> bool:
        """Whether differences are shown."""
        return self.complete and self.side == "A − B"

    @property
    def branch(self) -> int | None:
        """The branch that the engine is to stand on."""
        return self.b if self.side == "B" else self.a


@dataclass(frozen=True)
class Other:
    """The branch that is subtracted, and how many positions both have read."""

    number: int
    n: int


def read_by(branch: BranchFacts) -> int:
    """How many positions a branch has read that is not the current one: its newest token has no column."""
    return max(0, branch.start + len(branch.pieces) - 1)


def of_both(question: Question, n: int) -> Question | None:
    """What is asked of both branches, which have ``n`` positions in common; None: the place is in one of them only.

    Of a question that is not in PAIRED the answer is that of the one that the engine stands on.
    """
    change = _CHANGES.get(type(question))
    return question if change is None else change(question, n)


def _unchanged(question: Any, n: int) -> Question | None:
    return question if n else None


def _at_position(question: Any, n: int) -> Question | None:
    """The newest position is the newest that both have."""
    position = n - 1 if question.position is None else question.position
    return replace(question, position=position) if 0 <= position < n else None


def _map(question: AskAttentionMap, n: int) -> Question | None:
    parts = [(0, n) if part is None else (part[0], min(part[1], n)) for part in (question.rows, question.columns)]
    (rows, columns) = parts
    return replace(question, rows=rows, columns=columns) if all(start < stop for start, stop in parts) else None


def _over(question: AskPointOver, n: int) -> Question | None:
    end = n if question.end is None else min(question.end, n)
    return replace(question, end=end) if question.start < end else None


def _lens(question: AskLens, n: int) -> Question | None:
    start = max(0, n - question.count) if question.start is None else question.start
    return replace(question, start=start, count=min(question.count, n - start)) if start < n else None


_CHANGES: dict[type, Callable[[Any, int], Question | None]] = {
    AskResidualNorms: _unchanged,
    AskResidualVectors: _at_position,
    AskAttentionGrid: _unchanged,
    AskAttentionMap: _map,
    AskAttentionRow: _at_position,
    AskCacheVectors: _at_position,
    AskExactValue: _unchanged,
    AskLens: _lens,
    AskPoint: _at_position,
    AskPointOver: _over,
    AskPoints: _at_position,
    AskRouting: _unchanged,
    AskRouterRow: _at_position,
    AskRoutingLayers: _at_position,
    AskRoutingShares: _unchanged,
    AskExpertUse: _unchanged,
    AskNeurons: _at_position,
    AskNeuronLayers: _at_position,
}
PAIRED = tuple(_CHANGES)
