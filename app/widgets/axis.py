"""Labels along an axis of cells: which ones fit, how long they are, and where they go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtGui import QFontMetricsF

from app.widgets.scale import nice_step

_LEAST_LETTERS = 3  # of a word that is cut, so that it can be guessed


@dataclass(frozen=True)
class Axis:
    """``count`` cells with a ``label`` each. Numbers are thinned to round ones, texts to every so many.

    ``block``: how many entries one cell stands for, the first of them entry ``first``; ``label`` is given the entry's
    index, not the cell's.
    ``always``: cells that keep their label however many are left out.
    ``own``: every label says by itself where its cell lies, as a layer's number does.
    """

    title: str
    count: int
    label: Callable[[int], str]
    numbers: bool = False
    block: int = 1
    always: tuple[int, ...] = ()
    first: int = 0
    own: bool = False

    def entry(self, cell: int) -> int:
        """The entry that names a cell: its first one."""
        return self.first + cell * self.block

    def text(self, entry: int, *, indexed: bool) -> str:
        """The label of an entry; with its index before it where labels of its neighbours are left out."""
        return f"{entry} {self.label(entry)}" if indexed and not (self.numbers or self.own) else self.label(entry)


@dataclass(frozen=True)
class Labels:
    """The labels that are shown: cells and texts, the extent of the widest, and whether they are rotated."""

    cells: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    extent: float = 0.0
    rotated: bool = False
    indexed: bool = False


def row_labels(axis: Axis, cell: float, metrics: QFontMetricsF, most: float) -> Labels:
    """Labels at the left of rows that are ``cell`` pixels high, none wider than ``most``."""
    cells = _thinned(axis, max(1, math.ceil(metrics.height() / max(cell, 1e-6))))
    return _labels(axis, cells, metrics, most, rotated=False)


def column_labels(axis: Axis, cell: float, metrics: QFontMetricsF, most: float) -> Labels:
    """Labels below columns that are ``cell`` pixels wide: lying if they fit so, else rotated; at most ``most`` long."""
    if axis.numbers:
        wide = metrics.horizontalAdvance(axis.label(axis.entry(axis.count))) + metrics.averageCharWidth() * 2
        cells = _thinned(axis, max(1, math.ceil(wide / max(cell, 1e-6))))
        return _labels(axis, cells, metrics, math.inf, rotated=False)
    if cell > metrics.averageCharWidth() * 2:
        labels = _labels(axis, _thinned(axis, 1), metrics, math.inf, rotated=False)
        if labels.extent + metrics.averageCharWidth() <= cell:
            return labels
    cells = _thinned(axis, max(1, math.ceil(metrics.height() / max(cell, 1e-6))))
    labels = _labels(axis, cells, metrics, most, rotated=True)
    if _say_little(labels, metrics, most):
        return column_labels(replace(axis, label=str, numbers=True), cell, metrics, most)
    return labels


def _say_little(labels: Labels, metrics: QFontMetricsF, most: float) -> bool:
    """Whether an index says more: half a number is none, and nor is a column of words without letters."""
    cut = [text for text in labels.texts if metrics.horizontalAdvance(text) > most]
    if labels.indexed:
        return bool(cut)
    bare = [text for text in cut if metrics.horizontalAdvance(text[:_LEAST_LETTERS] + "…") > most]
    return len(bare) > len(labels.texts) / 4


def _thinned(axis: Axis, step: int) -> list[tuple[int, int]]:
    """Cells and the entries that name them: every ``step`` or more; numbers at round ones, less what is too close to
    those that are always named."""
    if not axis.numbers or (step == 1 and axis.block == 1):
        every = [] if step == 1 else axis.always
        cells = [cell for cell in range(0, axis.count, step) if all(abs(cell - kept) >= step for kept in every)]
        return [(cell, axis.entry(cell)) for cell in (*cells, *every)]
    entries = max(1, round(nice_step(step * axis.block, 1)))
    round_ones = range(-(-axis.first // entries) * entries, axis.entry(axis.count), entries)
    thinned = [((entry - axis.first) // axis.block, entry) for entry in round_ones]
    roomy = [(cell, entry) for cell, entry in thinned if all(abs(cell - kept) >= step for kept in axis.always)]
    return roomy + [(cell, axis.entry(cell)) for cell in axis.always]


def _labels(axis: Axis, cells: list[tuple[int, int]], metrics: QFontMetricsF, most: float, *, rotated: bool) -> Labels:
    indexed = len(cells) < axis.count or axis.block > 1 or axis.first > 0
    texts = tuple(axis.text(entry, indexed=indexed) for _, entry in cells)
    if indexed and rotated and max(map(metrics.horizontalAdvance, texts), default=0.0) > most:
        texts = tuple(str(entry) for _, entry in cells)  # no room for tokens: the index says where
    widest = max((metrics.horizontalAdvance(text) for text in texts), default=0.0)
    return Labels(tuple(cell for cell, _ in cells), texts, min(widest, most), rotated, indexed)
