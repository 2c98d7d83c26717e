"""Cells that say which of two branches has something: both, A alone, B alone, neither. A letter says it besides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QCoreApplication, Qt

from app.compare_arrays import BOTH, ONLY_A, ONLY_B
from app.theme import Theme, ink
from app.widgets.canvas import pen
from app.widgets.heatmap import Cells, Heatmap
from app.widgets.legend import Kinds
from app.widgets.lettering import CENTRE, Painter, put

LEAST_FRAMED = 9  # pixels: cells smaller than this have no frame
_LETTERS = {ONLY_A: "A", ONLY_B: "B"}


def tr(text: str) -> str:
    return QCoreApplication.translate("sets", text)


def set_names() -> tuple[str, ...]:
    """By NEITHER, BOTH, ONLY_A, ONLY_B."""
    return tr("neither"), tr("both"), tr("only A"), tr("only B")


def set_colours(theme: Theme) -> tuple[str, ...]:
    """By NEITHER, BOTH, ONLY_A, ONLY_B: safe for colour-blind viewers, and of different lightness."""
    return theme.panel, theme.faint, theme.accent, theme.decode


def set_kinds(theme: Theme, title: str) -> Kinds:
    """The legend of a heatmap whose values are sets."""
    return Kinds(set_names(), set_colours(theme), title, tr("not computed yet"))


class SetMap(Heatmap):
    """A heatmap of sets, or of other figures with the sets drawn over them: where cells have room there is a frame
    around what is in both, and the letter of the branch on what is in one alone."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int, int], str]) -> None:
        super().__init__(theme, name, describe)
        self.sets = np.zeros((0, 0), np.uint8)

    def show_sets(self, cells: Cells | None, sets: np.ndarray | None = None) -> None:
        """``sets`` uint8 of the cells' shape; None: the values are the sets."""
        self.sets = np.zeros((0, 0), np.uint8)
        if cells is not None:
            self.sets = cells.values.astype(np.uint8) if sets is None else sets
        self.show_cells(cells)

    def draw(self, painter: Painter) -> None:
        super().draw(painter)
        if self.cells is None or self.plot.isEmpty() or not self.sets.size:
            return
        box, metrics = self.box(0, 0), painter.metrics
        if min(box.width(), box.height()) >= LEAST_FRAMED:
            self.draw_frames(painter, self.sets == BOTH)
        if box.width() >= metrics.horizontalAdvance("A") + 2 and box.height() >= metrics.ascent():
            for kind, letter in _LETTERS.items():
                for row, column in np.argwhere(self.sets == kind).tolist():
                    ground = f"#{int(self._words[row, column]) & 0xFFFFFF:06x}"
                    put(painter, self.box(row, column), letter, CENTRE, ink(ground).name())

    def draw_frames(self, painter: Painter, where: np.ndarray) -> None:
        """Around cells, inside their edges."""
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(pen(self.theme.text))
        for row, column in np.argwhere(where).tolist():
            painter.drawRect(self.box(row, column).adjusted(1, 1, -1.5, -1.5))
