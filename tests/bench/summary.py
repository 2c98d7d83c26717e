"""From the rounds to the figures that are reported: medians over the rounds, ratios within each round."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

Rounds = Sequence[dict[str, Any]]

TARGETS: dict[int, dict[str, float]] = {
    1: {"a/d": 1.0},
    2: {"a/d": 1.15, "b/a": 0.9, "c/a": 0.75, "b/e": 1.6},
}
RATIOS = ("a/d", "b/a", "c/a", "b/e")


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, least, most)."""
    return median(values), min(values), max(values)


def of(rounds: Rounds, figure: str) -> list[float]:
    """One figure of every round. ``best pass``: tokens/s of the fastest decode pass; ``median pass`` likewise."""
    pick = {"best pass": min, "median pass": median}.get(figure)
    return [1 / pick(r["passes"]) if pick else r[figure] for r in rounds]


def ratio(over: Rounds, under: Rounds, figure: str) -> tuple[float, float, float]:
    """Each round's own ratio, because its sides ran right after each other: (median, least, most)."""
    return spread([x / y for x, y in zip(of(over, figure), of(under, figure), strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def tokens_by_side(figures: dict[str, Any]) -> dict[str, set[tuple[int, ...]]]:
    """Every sequence of tokens that a side made, in all rounds with all threads."""
    made: dict[str, set[tuple[int, ...]]] = {}
    for runs in figures["runs"].values():
        for side, rounds in runs.items():
            if side != "bandwidth":
                made.setdefault(side, set()).update(tuple(r["tokens"]) for r in rounds)
    return made


def bandwidth_share(pass_bytes: int, rounds: Rounds, read: Rounds) -> tuple[float, float, float]:
    """Weight bytes per second that decode reads, over the bytes per second that can be read, round by round."""
    pairs = zip(of(rounds, "decode"), of(read, "bandwidth"), strict=True)
    return spread([pass_bytes * decode / measured for decode, measured in pairs])
