"""The figures that the record has to reach, as data, and how each is got from the rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.summary import Rounds, of, ratio, spread

Lengths = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Reach:
    """``figure`` of side ``over`` over that of side ``under`` (None: the figure itself), round by round.

    At ``lengths`` only, where there are any; ``least`` or ``most`` is the goal.
    """

    title: str
    over: str
    under: str | None
    figure: str
    least: float | None = None
    most: float | None = None
    lengths: tuple[int, ...] = ()

    @property
    def goal(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"

    def met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


REACHES = (
    Reach("prefill takes, recording over bare", "a", "r", "prefill", most=1.10),
    Reach("decode takes, recording over bare", "a", "r", "decode", most=1.05),
    Reach("recorded bytes a token over the stream's", "r", None, "of the stream", most=1.2, lengths=(1024, 2048, 4096)),
    Reach("memory, TransformerLens over recording", "f", "r", "grown", least=10, lengths=(1024,)),
    Reach("decode, everything watched over e", "b", "e", "decode", least=1.7, lengths=(512,)),
    Reach("decode, everything watched over e", "b", "e", "decode", least=4, lengths=(2048,)),
    Reach("prefill, everything watched over e", "b", "e", "prefill", least=5, lengths=(2048,)),
    Reach("memory, e over everything watched", "e", "b", "grown", least=20, lengths=(2048,)),
    Reach("decode, bare over SDPA", "a", "d", "decode", least=1.3),
    Reach("decode, bare, of what memory allows", "a", None, "of the bandwidth", least=0.75),
)


def with_shares(lengths: Lengths, facts: Mapping[str, Any], tokens: int) -> None:
    """Add to the rounds what bandwidth allows of decode, and what of the kept bytes is the residual stream."""
    stream = 4 * (facts["n_layers"] + 1) * facts["d_model"]
    for length, measured in lengths.items():
        runs = measured["runs"]
        for side in set(runs) & set("ar"):
            for figures, read in zip(runs[side], runs["bandwidth"], strict=True):
                figures["of the bandwidth"] = facts["pass_bytes"] * figures["decode"] / read["bandwidth"]
                figures["of the stream"] = figures["kept"] / (length + tokens) / stream


def reached(reach: Reach, lengths: Lengths) -> Iterator[tuple[int, float]]:
    """(length, median) where the sides of it were measured."""
    for length, measured in lengths.items():
        runs: Mapping[str, Rounds] = measured["runs"]
        if (length in reach.lengths or not reach.lengths) and {reach.over, reach.under or reach.over} <= runs.keys():
            over = runs[reach.over]
            values = (
                spread(of(over, reach.figure)) if reach.under is None else ratio(over, runs[reach.under], reach.figure)
            )
            yield length, values[0]
