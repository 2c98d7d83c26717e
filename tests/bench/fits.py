"""A straight line through measured points, and how far the points are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """``constant`` at length 0, ``slope`` per token; ``off``: the share of the line by which medians of a tenth of the
    points each are off at most, so that noise does not count and a bend does."""

    constant: float
    slope: float
    off: float

    def at(self, length: float) -> float:
        return self.constant + self.slope * length


def line(lengths: Sequence[float], values: Sequence[float]) -> Line:
    """Least squares over at least two points."""
    slope, constant = np.polyfit(lengths, values, 1)
    tenths = zip(np.array_split(np.asarray(lengths), 10), np.array_split(np.asarray(values), 10), strict=True)
    middles = [(np.mean(where), np.median(value)) for where, value in tenths if len(where)]
    expected = [constant + slope * where for where, _ in middles]
    off = [abs(value - fit) / abs(fit) for (_, value), fit in zip(middles, expected, strict=True) if fit]
    return Line(float(constant), float(slope), float(max(off, default=0.0)))


def medians(values: Sequence[float], count: int, first: int) -> tuple[list[float], list[float]]:
    """(length in the middle, median) of ``count`` values at a time; value 0 belongs to length ``first``."""
    groups = [(start, values[start : start + count]) for start in range(0, len(values), count)]
    return [first + start + len(group) / 2 for start, group in groups], [float(np.median(g)) for _, g in groups]
