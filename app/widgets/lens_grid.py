"""A heatmap with a word in every cell, as far as there is room for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent

from app.theme import Theme
from app.widgets.canvas import pen
from app.widgets.heatmap import SHOWN, Cells, Heatmap
from app.widgets.lettering import Metrics, Painter

_WORD = 3.6  # lines of text that a cell with a word is wide
_NARROWEST = 1.1  # and one without
_BESIDE = 9.0  # what labels and legend take of the width
_LOW = 20  # lines of text
_DARK = 0.1791  # luminance above which black reads better than white


def spread(total: int, most: int) -> np.ndarray:
    """Which of ``total`` boundaries have one of about ``most`` rows: the last, every so many before it, the first."""
    step = max(1, -(-(total - 1) // max(1, most - 1)))
    return np.array(sorted({0, *range(total - 1, -1, -step)}), np.int64)


def steps_on(boundaries: np.ndarray, settled: np.ndarray) -> np.ndarray:
    """The rows above which lines are drawn for boundaries [columns]; 0 (all of it) and -1 (unknown) need none."""
    rows = np.searchsorted(boundaries, settled)
    return np.where(settled > 0, rows, -1)


class LensGrid(Heatmap):
    """``cell_chosen``: a click or the Enter key on a cell; the arrow keys only pick."""

    cell_chosen = Signal(int, int)
    resized = Signal()

    def __init__(self, theme: Theme, name: str, describe: Callable[[int, int], str]) -> None:
        super().__init__(theme, name, describe)
        self._texts: list[list[str]] = []
        self._steps: np.ndarray = np.zeros(0, np.int64)

    def show_words(self, cells: Cells | None, texts: list[list[str]], steps: np.ndarray | None = None) -> None:
        """``texts`` by row and column, "" for none. ``steps`` int64 [columns]: a line above that row, -1 for none."""
        self._texts = texts
        self._steps = np.zeros(0, np.int64) if steps is None else steps
        self.show_cells(cells)

    def columns_that_fit(self, rows: int) -> int:
        """How many columns there is room for: with a word in each cell where so many rows are high enough for one."""
        line = self.metrics().height()
        words = self._high() / max(1, rows) >= self._least_height()
        return max(3, int((self.width() - line * _BESIDE) / (line * (_WORD if words else _NARROWEST))))

    def rows_that_fit(self) -> int:
        """How many rows are high enough for a word."""
        return max(3, int(self._high() / self.metrics().height()))

    def cut(self, label: str, columns: int) -> str:
        """A column's label; cut to its column where the picture is low, and turned labels would take a third of it."""
        metrics = self.metrics()
        if self.height() > _LOW * metrics.height():
            return label
        room = (self.width() - metrics.height() * _BESIDE) / columns - metrics.averageCharWidth() * 1.5
        return metrics.elidedText(label, Qt.TextElideMode.ElideRight, max(1, int(room)))

    def _high(self) -> float:
        """The height of the plot; about that where there is none yet."""
        self.settle()
        return self.height() - self.metrics().height() * 6 if self.cells is None else self.plot.height()

    def _least_height(self) -> float:
        return self.small_metrics().height() * 0.86  # letters may nearly touch

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        super().draw(painter)
        if self.cells is None or self.plot.isEmpty() or not self._texts:
            return
        self._draw_words(painter)
        self._draw_steps(painter)

    def _font(self, high: float) -> Metrics | None:
        """In which words are written into cells that are so high; None: there is no room."""
        metrics = self.metrics()
        if high >= metrics.height():
            return metrics
        return self.small_metrics() if high >= self._least_height() else None

    def _draw_words(self, painter: Painter) -> None:
        assert self.cells is not None
        n_rows, n_columns = self.cells.values.shape
        high, wide = self.plot.height() / n_rows, self.plot.width() / n_columns
        metrics = self._font(high)
        if metrics is None or wide < metrics.height() * 1.2:
            return
        usual, inks = painter.metrics, self._inks()
        painter.use(metrics)
        left, top, room = self.plot.left() + 2, self.plot.top(), wide - 4
        for row, texts in enumerate(self._texts):
            for column, text in enumerate(texts):
                if text:
                    ink = inks[row][column]
                    painter.write(left + column * wide, top + row * high, room, high, text, 0.5, ink)
        painter.use(usual)

    def _inks(self) -> list[list[str]]:
        """Black or white, whichever reads better on a cell's colour; the theme's where there is none."""
        assert self.cells is not None
        words = self._words
        light = np.zeros(words.shape)
        for shift, part in ((16, 0.2126), (8, 0.7152), (0, 0.0722)):
            channel = ((words >> shift) & 255) / 255
            light += part * np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
        inks = np.where(light > _DARK, "#000000", "#ffffff")
        if self.cells.state is not None:
            inks[self.cells.state != SHOWN] = self.theme.text
        return inks.tolist()

    def _draw_steps(self, painter: Painter) -> None:
        """Lines between rows, column by column."""
        columns: list[int] = np.flatnonzero(self._steps >= 0).tolist()
        boxes = [self.box(int(self._steps[column]), column) for column in columns]
        for colour, width in ((self.theme.panel, 5), (self.theme.text, 2)):
            painter.setPen(pen(colour, width))
            for box in boxes:
                painter.drawLine(QPointF(box.left() + 1, box.top()), QPointF(box.right() - 1, box.top()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.resized.emit()

    def on_click(self, place: QPointF) -> None:
        super().on_click(place)
        cell = self.at(place)
        if cell is not None:
            self.cell_chosen.emit(*cell)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if Qt.Key(event.key()) in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.cell is not None:
            self.cell_chosen.emit(*self.cell)
            return
        super().keyPressEvent(event)
