"""The pass beside the same pass without edits: what it chose, the tokens of both, and where the two streams part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QWidget

from app.run import Run
from app.theme import Theme
from app.untouched_words import compared, first_parting, verdict
from app.widgets.axis import Axis
from app.widgets.heatmap import ABSENT, SHOWN, Cells, Heatmap
from app.widgets.lens_words import boundary_text
from app.widgets.line_chart import Chart, Line, LineChart
from app.widgets.pages import fill
from app.widgets.scale import Scale, exact
from app.widgets.still_label import StillLabel
from app.widgets.untouched_table import UntouchedTable
from engine.frames import Untouched

_WIDE_EMS = 36  # a narrower view shows one thing at a time


class UntouchedView(QWidget):
    """Shows an Untouched of ``run``. ``place_picked``: a layer and a position (-1: that of the pass)."""

    place_picked = Signal(int, int)
    said = Signal(str)

    def __init__(self, theme: Theme, run: Callable[[], Run]) -> None:
        super().__init__()
        self._run, self._theme = run, theme
        self.shown: Untouched | None = None
        self.sentence = StillLabel(wrap=True)
        self.table = UntouchedTable(theme, self.tr("Tokens with and without the edits"))
        self.map = Heatmap(theme, self.tr("Where the two streams part"), self.describe)
        self.chart = LineChart(theme, self.tr("How far the two streams are apart over depth"))
        self._picture = QStackedWidget()
        self._arrange()
        self._connect()

    def _arrange(self) -> None:
        for part in (self.map, self.chart):
            self._picture.addWidget(part)
        self._tabs, self._split, self._ways = QTabWidget(), QSplitter(), QStackedWidget()
        self._tabs.setDocumentMode(True)
        self._tabs.setAccessibleName(self.tr("What to compare"))
        self._tabs.tabBar().setAccessibleName(self._tabs.accessibleName())
        self._split.setChildrenCollapsible(False)
        for way in (self._tabs, self._split):
            self._ways.addWidget(way)
        self._place(wide=False)
        self.sentence.label.setMargin(self.fontMetrics().height() // 3)
        self.sentence.label.setTextFormat(Qt.TextFormat.PlainText)
        fill(self, self.sentence, self._ways).setStretch(1, 1)

    def _place(self, *, wide: bool) -> None:
        """Tokens and depth beside each other, or where there is no room for both as tabs."""
        if wide:
            for part in (self.table, self._picture):
                self._split.addWidget(part)
                part.show()
            self._split.setSizes([450, 550])
        else:
            self._tabs.addTab(self.table, self.tr("Tokens"))
            self._tabs.addTab(self._picture, self.tr("Where the streams part"))
        self._ways.setCurrentWidget(self._split if wide else self._tabs)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        wide = self.width() > _WIDE_EMS * self.fontMetrics().height()
        if wide != (self._ways.currentWidget() is self._split):
            self._place(wide=wide)

    def _connect(self) -> None:
        self.map.cell_hovered.connect(lambda row, column: self.said.emit(self.describe(row, column)))
        self.map.cell_picked.connect(self._pick)
        self.chart.place_hovered.connect(lambda row: self.said.emit(self.describe(row, 0)))
        self.chart.place_picked.connect(lambda row: self._pick(row, 0))
        self.table.row_hovered.connect(lambda row: self.said.emit(self.table.describe(row)))
        self.table.row_picked.connect(lambda row: self.said.emit(self.table.describe(row)))
        for leaving in (self.map.cell_left, self.chart.place_left, self.table.row_left):
            leaving.connect(lambda: self.said.emit(""))

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for part in (self.table, self.map, self.chart):
            part.set_theme(theme)
        self._draw()

    def take(self, found: Untouched | None) -> None:
        """Show another one; None: nothing."""
        self.shown = found
        self.sentence.setText("" if found is None else verdict(found, self.tr))
        self.table.show_rows(() if found is None else compared(found, self.tr))
        self._draw()

    def _draw(self) -> None:
        found = self.shown
        if found is None or not found.parting.shape[1]:
            self.map.show_cells(None)
            self.chart.show_chart(None)
            return
        single = found.end == found.start + 1
        self._picture.setCurrentWidget(self.chart if single else self.map)
        self.chart.show_chart(self._chart(found) if single else None)
        self.map.show_cells(None if single else self._cells(found))

    def _cells(self, found: Untouched) -> Cells:
        values, known = np.nan_to_num(found.parting, nan=0.0), ~np.isnan(found.parting)
        rows, columns = values.shape
        title, label = self.tr("position"), self._run().label
        positions = Axis(title, columns, label, block=found.block, first=found.start)
        scale = Scale(0.0, _end(values), "root", self._theme.sequential, self.tr("√ L2 norm"))
        layers = Axis(self.tr("entering layer"), rows, self._boundary, numbers=True)
        state = np.where(known, SHOWN, ABSENT).astype(np.uint8)
        return Cells(values.astype(np.float32), layers, positions, scale, state)

    def _chart(self, found: Untouched) -> Chart:
        known = ~np.isnan(found.parting[:, 0])
        (rows,) = np.nonzero(known)
        line = Line("", rows.astype(np.float64), found.parting[rows, 0], "decode")
        last, most = len(known) - 1, _end(found.parting[rows, 0])
        computed = float(rows[-1]) + 0.5 if len(rows) and rows[-1] < last else np.inf
        label = self._run().label(found.start)
        title = self.tr("entering layer (position {0} “{1}”)").format(found.start, label)
        return Chart(
            (line,), title, self.tr("L2 norm of the difference"), 0, max(1, last), 0.0, most, computed=computed
        )

    def mark(self, layer: int, position: int | None) -> None:
        """The pinned place."""
        found = self.shown
        self.chart.mark(layer, None)
        inside = found is not None and position is not None and found.start <= position < found.end
        column = (position - found.start) // found.block if inside else None  # type: ignore[operator,union-attr]
        self.map.mark((layer, column))

    def _boundary(self, row: int) -> str:
        model = self._run().model
        return self.tr("final") if model is not None and row >= model.n_layers else str(row)

    def _pick(self, row: int, column: int) -> None:
        found, model = self.shown, self._run().model
        if found is not None and model is not None:
            position = -1 if found.end == found.start + 1 else found.start + column * found.block
            self.place_picked.emit(min(row, model.n_layers - 1), position)
            self.said.emit(self.describe(row, column))

    def describe(self, row: int, column: int) -> str:
        """A cell in words."""
        found, run = self.shown, self._run()
        if found is None or not (0 <= row < found.parting.shape[0] and 0 <= column < found.parting.shape[1]):
            return ""
        position, value = found.start + column * found.block, float(found.parting[row, column])
        boundary = boundary_text(row, len(found.parting), self.tr)
        where = f"{boundary}, {self.tr('position')} {position} “{run.label(position)}”"
        if np.isnan(value):
            return self.tr("{0}: not computed yet").format(where)
        if found.block > 1:
            return self.tr("{0}: apart by at most {2} (L2 norm) at {1} positions").format(
                where, found.block, exact(value)
            )
        return self.tr("{0}: apart by {1} (L2 norm)").format(where, exact(value))

    def summary(self) -> str:
        """For the caption: where the streams part."""
        found = self.shown
        if found is None:
            return ""
        row = first_parting(found)
        return self.tr("the streams do not part") if row is None else self.tr("apart from boundary {0} on").format(row)


def _end(values: np.ndarray) -> float:
    return float(values.max(initial=0.0)) or 1.0
