"""From figures by token to pixels of a timeline: columns, bars and dashes, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.widgets.scale import nice_step

_WIDEST_EMS = 1.6  # a column of few tokens gets no wider
_MARGIN = 1.5  # how far beyond the usual a figure may lie and still set the scale


@dataclass(frozen=True)
class Columns:
    """``room`` tokens shared out over columns of ``step`` pixels; each stands for ``block`` tokens."""

    room: int
    block: int
    step: float

    def of(self, position: int) -> int:
        return position // self.block

    def positions(self, column: int, n: int) -> range:
        """The tokens of a column, of n."""
        return range(column * self.block, min((column + 1) * self.block, n))


def columns(room: int, width: float, em: float) -> Columns:
    """Columns for so many tokens in ``width`` pixels: as wide as fits, at least a pixel."""
    room = max(1, room)
    block = max(1, math.ceil(room / max(1.0, width)))
    return Columns(room, block, min(width / math.ceil(room / block), em * _WIDEST_EMS))


def room_for(n: int, expected: int, over: bool) -> int:
    """How many tokens the axis has room for: all that are expected, unless most of it would stay empty.

    It grows by steps, so that a token does not move all the others.
    """
    if over:
        return n
    fitting = 64
    while fitting < n * 1.02:
        fitting = fitting * 3 // 2
    return max(n, min(expected, fitting))


def largest(values: np.ndarray, block: int) -> np.ndarray:
    """The maximum of each block; NaN only where a block has no figure."""
    if block == 1 or not len(values):
        return values
    return np.fmax.reduceat(values, np.arange(0, len(values), block))


def peak(values: np.ndarray, positions: range) -> int:
    """The position of the largest figure among these; the first where there is none."""
    part = values[positions.start : positions.stop]
    known = np.isfinite(part) | np.isposinf(part)
    return positions.start + int(np.argmax(np.where(known, part, -np.inf))) if known.any() else positions.start


def top_of(values: np.ndarray, least: float) -> float:
    """The end of a scale from 0: round, above every finite figure, ``least`` at least."""
    finite = values[np.isfinite(values)]
    return _rounded_up(max(least, float(finite.max(initial=0.0))))


def usual_top(values: np.ndarray, least: float) -> float:
    """The same, but a few figures far above the others do not set it: they are cut off and marked."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return _rounded_up(least)
    usual = float(np.partition(finite, int(0.98 * (finite.size - 1)))[int(0.98 * (finite.size - 1))])
    return _rounded_up(max(least, min(float(finite.max()), usual * _MARGIN)))


def _rounded_up(value: float) -> float:
    step = nice_step(value, 6)
    return math.ceil(value / step - 1e-9) * step


@dataclass(frozen=True)
class Pixels:
    """Device pixels of a band: ``column`` int64 [width] is the column of each; gaps between bars are -1."""

    column: np.ndarray
    bars: np.ndarray
    height: int

    @property
    def width(self) -> int:
        return len(self.column)


def pixels(made: Columns, n: int, height: float, ratio: float) -> Pixels:
    """The pixels of the columns that have tokens."""
    filled = -(-n // made.block)
    wide = max(0, round(filled * made.step * ratio))
    column = np.minimum(((np.arange(wide) + 0.5) / (made.step * ratio)).astype(np.int64), max(0, filled - 1))
    bars = column.copy()
    if made.step * ratio >= 4:  # the last pixel of a wide bar keeps it apart from the next
        bars[:-1][column[1:] != column[:-1]] = -1
    return Pixels(column, bars, max(1, round(height * ratio)))


def bar_mask(spread: Pixels, values: np.ndarray, top: float) -> np.ndarray:
    """bool [height, width]: bars from below; a figure above 0 has at least a pixel, one beyond the top ends there."""
    part = np.minimum(np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0) / top, 1.0)
    high = np.where(part > 0, np.maximum(1, np.rint(part * spread.height)), 0).astype(np.int64)
    per_pixel = np.where(spread.bars >= 0, high[spread.bars], 0) if len(high) else np.zeros(spread.width, np.int64)
    return np.arange(spread.height, 0, -1)[:, None] <= per_pixel


def dash_mask(spread: Pixels, values: np.ndarray, top: float, thick: int, joined: bool) -> np.ndarray:
    """bool [height, width]: a dash at each figure, ``joined`` to steps or not; none where there is no figure."""
    if not len(values):
        return np.zeros((spread.height, spread.width), bool)
    usable = np.maximum(spread.height - thick, 0)
    y = (1 - np.clip(values / top, 0, 1)) * usable  # from above; NaN stays
    at = y[spread.column]
    wide = max(1, thick // 2)  # of what joins two dashes
    before = np.concatenate((at[:wide], at[:-wide])) if joined else at
    low, high = np.fmin(at, before), np.fmax(at, before) + thick
    rows = np.arange(spread.height)[:, None] + 0.5
    return (rows >= np.where(np.isnan(at), np.inf, low)) & (rows < high)


def beyond_mask(spread: Pixels, values: np.ndarray, top: float, thick: int) -> np.ndarray:
    """bool [height, width]: the heads of bars that are cut off."""
    over = values > top * (1 + 1e-9)
    cut = (spread.bars >= 0) & over[spread.bars] if len(over) else np.zeros(spread.width, bool)
    return (np.arange(spread.height) < thick)[:, None] & cut
