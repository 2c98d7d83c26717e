"""A tensor in figures and in as many cells as the screen can show; rows over positions, kept while a run grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.frames import Figures, PointKind
from engine.transfer import to_host

_TOP = 16  # strongest entries that are told
_BINS = 64
_MOST_COUNTED = 4_000_000  # numbers that a histogram is made of: counting more takes longer than a slice of work
_BY_MAGNITUDE = "signed"  # of this kind the strongest are the largest in magnitude, of others the highest
_FIRST_ROOM = 128  # rows and columns; room doubles, so that growing copies little

Block = tuple[int, int]  # rows and columns that one cell stands for


@dataclass(frozen=True)
class Sums:
    """What is summed up of some rows: ``moments`` float64 [7], ``places`` int64 [top, 2] of the ``strongest`` float32.

    Moments: numbers that are not blank, NaN, infinities; least, largest, sum and sum of squares of the finite ones.
    """

    moments: np.ndarray
    places: np.ndarray
    strongest: np.ndarray
    strength: np.ndarray  # what they were ordered by

    def joined(self, other: Sums) -> Sums:
        """Of the rows of both."""
        a, b = self.moments, other.moments
        moments = np.array([*(a[:3] + b[:3]), min(a[3], b[3]), max(a[4], b[4]), *(a[5:] + b[5:])])
        strength = np.concatenate((self.strength, other.strength))
        order = np.argsort(-strength, kind="stable")[:_TOP]
        places = np.concatenate((self.places, other.places))[order]
        return Sums(moments, places, np.concatenate((self.strongest, other.strongest))[order], strength[order])


def wide(rows: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return rows.float() if rows.device.type == "mps" else rows.double()


def summed_up(rows: Tensor, blank: Tensor, kind: PointKind, first_row: int = 0) -> Sums:
    """Rows ``[n, columns]`` of any type; what is ``blank`` does not count."""
    numbers = wide(rows)
    strength = (numbers.abs() if kind == _BY_MAGNITUDE else numbers).masked_fill(blank, float("-inf")).flatten()
    top = strength.topk(min(_TOP, strength.numel()))
    strongest = numbers.flatten()[top.indices]
    host = to_host({"at": top.indices, "by": top.values, "values": strongest, "moments": _moments(numbers, blank)})
    there = ~np.isneginf(host["by"])
    at, columns = host["at"][there], max(1, rows.shape[1])
    places = np.stack((at // columns + first_row, at % columns), axis=1).astype(np.int64)
    return Sums(host["moments"].astype(np.float64), places, host["values"][there].astype(np.float32), host["by"][there])


def _moments(numbers: Tensor, blank: Tensor) -> Tensor:
    nans, infinite = torch.isnan(numbers), torch.isinf(numbers) & ~blank
    finite = ~(nans | infinite | blank)
    zeroed = torch.where(finite, numbers, 0.0)
    least = torch.where(finite, numbers, float("inf")).amin()
    largest = torch.where(finite, numbers, float("-inf")).amax()
    counts = [(~blank).sum(), nans.sum(), infinite.sum()]
    return torch.stack([*(n.to(numbers.dtype) for n in counts), least, largest, zeroed.sum(), (zeroed**2).sum()])


def barred(rows: Tensor) -> Tensor:
    """Where nothing is: -inf stands only where something is barred, not seen, or not there."""
    return torch.isneginf(rows.float()) if rows.is_floating_point() else torch.zeros_like(rows, dtype=torch.bool)


# -- figures -----------------------------------------------------------------------------------------------------


def figures(sums: Sums, edges: np.ndarray, counts: np.ndarray) -> Figures:
    """The figures of rows that are summed up, with a histogram of their numbers."""
    count, nans, infinite = (int(n) for n in sums.moments[:3])
    low, high, total, squares = sums.moments[3:].tolist()
    finite = count - nans - infinite
    if not finite:
        nothing = float("nan")
        return Figures(count, nans, infinite, nothing, nothing, nothing, nothing, 0.0, edges, counts)
    mean = total / finite
    deviation = max(0.0, squares / finite - mean**2) ** 0.5
    return Figures(count, nans, infinite, low, high, mean, deviation, squares**0.5, edges, counts)


def histogram(rows: Tensor, blank: Tensor, sums: Sums) -> np.ndarray:
    """How many numbers lie in each of equal bins from the least to the largest of ``sums``, int64; what is not finite,
    and what is blank, in none."""
    low, high = sums.moments[3:5].tolist()
    numbers = wide(rows)
    if sums.moments[1:3].any() or bool(to_host({"some": blank.any()})["some"]):
        numbers = numbers[torch.isfinite(numbers) & ~blank]
    if low == high:
        return np.bincount([_BINS // 2], [numbers.numel()], _BINS).astype(np.int64)
    counts = torch.histc(numbers.cpu() if numbers.device.type == "mps" else numbers, _BINS, low, high)
    return to_host({"counts": counts})["counts"].astype(np.int64)


def bin_edges(low: float, high: float) -> np.ndarray:
    """float64 [bins + 1]; one number alone has the bins around it."""
    margin = max(abs(low), 1.0) * 1e-6 if low == high else 0.0
    return np.linspace(low - margin, high + margin, _BINS + 1)


NO_BINS = np.zeros(0), np.zeros(0, np.int64)


def counted(rows: Tensor, blank: Tensor, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Edges and counts of the histogram of all numbers; none where there are too many, or none that is finite."""
    low, high = sums.moments[3:5].tolist()
    if low > high or rows.numel() > _MOST_COUNTED:
        return NO_BINS
    return bin_edges(low, high), histogram(rows, blank, sums)


# -- cells -------------------------------------------------------------------------------------------------------


def block_of(size: int, most: int) -> int:
    """How many entries a cell stands for, so that there are at most ``most``."""
    return -(-size // max(1, most)) or 1


def reduced(rows: Tensor, blank: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """Cells float32: the entry of largest magnitude of each block, with its sign, 0 where all is blank; and where
    that is."""
    cells = rows.float().masked_fill(blank, 0.0)
    if block == (1, 1):
        return cells, blank
    cells, flags = _padded(cells, block, 0.0), _padded(blank.to(torch.uint8), block, 1)
    least, largest = _over_blocks(torch.amin, cells, block), _over_blocks(torch.amax, cells, block)
    cells = torch.where(least.abs() > largest.abs(), least, largest)
    return cells, _over_blocks(torch.amin, flags, block).bool()


def _padded(cells: Tensor, block: Block, filling: float) -> Tensor:
    """Filled up to whole blocks."""
    high, across = block
    return F.pad(cells, (0, -cells.shape[1] % across, 0, -len(cells) % high), value=filling)


def _over_blocks(extreme: Callable[[Tensor, int], Tensor], cells: Tensor, block: Block) -> Tensor:
    """The least or largest of each block: first over its rows, which lie in one piece of memory each."""
    (high, across), (n, width) = block, cells.shape
    by_column = extreme(cells.view(n // high, high, width), 1)
    return extreme(by_column.view(n // high, width // across, across), 2)


def handed_over(cells: Tensor, blank: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; the second [0, 0] where nothing is blank."""
    host = to_host({"cells": cells, "blank": blank})
    return host["cells"], host["blank"] if host["blank"].any() else np.zeros((0, 0), bool)


# -- rows over positions -----------------------------------------------------------------------------------------


class PointRows:
    """The rows of one point over the first ``n`` positions of a window that begins at ``start``.

    They are kept for the next pass, with all that was summed up, counted and reduced of them: what a further row costs
    does not depend on how many there are. Where ``narrow`` is given, no more columns than that are kept: one of them
    stands for ``narrowed``.
    """

    def __init__(self, key: tuple[str, int, int, int], kind: PointKind, narrow: int | None = None) -> None:
        self.key, self.start, self._kind, self._narrow = key, key[2], kind, narrow
        self.n = self.width = 0
        self.narrowed = 1
        self.source = ""
        self._rows = self._blank = torch.zeros(0, 0)
        self._parts: list[tuple[int, Sums, Sums]] = []  # rows before, sums of the part, sums of all up to it
        self._bins: tuple[int, float, float, np.ndarray] | None = None  # rows, low, high, counts
        self._cells: tuple[int, Block, Tensor, Tensor] | None = None  # whole blocks of rows, cells, blank

    def add(self, rows: Tensor, source: str) -> None:
        """The rows after those that are kept."""
        blank = barred(rows)
        sums = summed_up(rows, blank, self._kind, self.n)
        self.width = max(self.width, rows.shape[1])
        if self._narrow is not None:
            self.narrowed = block_of(rows.shape[1], self._narrow)
            rows, blank = reduced(rows, blank, (1, self.narrowed))
        self._parts.append((self.n, sums, self._parts[-1][2].joined(sums) if self._parts else sums))
        self._write(rows.float(), blank)
        self.source = source if self.source in ("", source) else "captured + recomputed"

    @torch.inference_mode()  # a cancelled pass is rolled back outside it
    def truncate(self, length: int) -> None:
        """Forget the rows of positions from ``length`` of the window on, with those that were added together with
        them."""
        while self._parts and self.n > length:
            self.n = self._parts.pop()[0]
            self._blank[self.n :] = True
        if self._bins is not None and self._bins[0] > self.n:
            self._bins = None
        if self._cells is not None and self._cells[0] > self.n:
            self._cells = None

    @property
    def sums(self) -> Sums:
        """Of all rows; there must be some."""
        return self._parts[-1][2]

    def figures(self) -> Figures:
        """Of all numbers; without a histogram where there are too many, or not all of them are kept."""
        low, high = self.sums.moments[3:5].tolist()
        if self.narrowed > 1 or self.n * self.width > _MOST_COUNTED or low > high:
            return figures(self.sums, *NO_BINS)
        first, counts = 0, np.zeros(_BINS, np.int64)
        if self._bins is not None and self._bins[1:3] == (low, high):
            first, counts = self._bins[0], self._bins[3]
        if first < self.n:
            rows, blank = self._rows[first : self.n, : self.width], self._blank[first : self.n, : self.width]
            counts = counts + histogram(rows, blank, self.sums)
        self._bins = (self.n, low, high, counts)
        return figures(self.sums, bin_edges(low, high), counts)

    def cells(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """The rows as cells, and which of them are blank."""
        kept = self._width_kept()
        done = 0
        if self._cells is not None and self._cells[1] == block and self._cells[2].shape[1] == -(-kept // block[1]):
            done = self._cells[0]
        rows, blank = self._rows[done : self.n, :kept], self._blank[done : self.n, :kept]
        cells, flags = reduced(rows, blank, block)
        if done and self._cells is not None:
            cells, flags = torch.cat((self._cells[2], cells)), torch.cat((self._cells[3], flags))
        whole = self.n // block[0]
        self._cells = (whole * block[0], block, cells[:whole], flags[:whole])
        return handed_over(cells, flags)

    def _width_kept(self) -> int:
        return -(-self.width // self.narrowed)

    def _write(self, rows: Tensor, blank: Tensor) -> None:
        end, width = self.n + len(rows), rows.shape[1]
        if end > self._rows.shape[0] or width > self._rows.shape[1]:
            self._grow(end, width, rows)
        self._rows[self.n : end, :width] = rows
        self._blank[self.n : end, :width] = blank
        self.n = end

    def _grow(self, end: int, width: int, like: Tensor) -> None:
        room = [max(_FIRST_ROOM, size) for size in self._rows.shape]
        room[0] = room[0] * 2 if end > room[0] else room[0]
        if self._rows.numel():
            room[1] = room[1] * 2 if width > room[1] else room[1]
        room = [max(room[0], end), max(room[1] if self._rows.numel() else 0, width)]
        rows, blank = like.new_zeros(room), torch.ones(room, dtype=torch.bool, device=like.device)
        if self.n:
            high, across = self.n, self._rows.shape[1]
            rows[:high, :across], blank[:high, :across] = self._rows[:high], self._blank[:high]
        self._rows, self._blank = rows, blank
