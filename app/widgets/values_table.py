"""The table in the place of a picture: the figures that the picture shows, exactly, for whoever cannot see it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import QItemSelectionRange, QModelIndex, QPersistentModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QFontMetrics, QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from app.csv_text import cells
from app.widgets.flow import FlowLayout
from app.widgets.follow_font import follow_font
from app.widgets.values_model import MOST_LINES, Along, ValuesModel

MOST_COPIED = 1_000_000  # cells
Index = QModelIndex | QPersistentModelIndex
Axes = Mapping[str, tuple[Along, ...]]


class Cells(QTableView):
    """Copies what is selected, with the keys for that."""

    cell_picked = Signal(object)  # the index of the cell
    copy_asked = Signal()

    def fit_rows(self, metrics: QFontMetrics) -> None:
        """Rows as high as a line, and columns as wide as a figure with all its digits."""
        self.verticalHeader().setDefaultSectionSize(round(metrics.height() * 1.4))
        self.horizontalHeader().setDefaultSectionSize(metrics.horizontalAdvance("−0.123456789") + metrics.height())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_asked.emit()
        else:
            super().keyPressEvent(event)

    def currentChanged(self, current: Index, previous: Index) -> None:  # noqa: N802
        super().currentChanged(current, previous)
        if current.isValid():
            self.cell_picked.emit(current)


class ValuesTable(QWidget):
    """One array at a time, out of those of ``show_values``. ``said``: what the picked cell is, for the status bar."""

    said = Signal(str)
    left = Signal()  # the picture is wanted again

    def __init__(self, title: str) -> None:
        super().__init__()
        self.model = ValuesModel()
        self.choice, self.view = QComboBox(), Cells()
        self.copy, self.back = QPushButton(self.tr("Copy cells")), QPushButton(self.tr("Picture"))
        self.about, self.empty = QLabel(), QLabel(self.tr("There are no figures in this panel now."))
        self._arrays: Mapping[str, np.ndarray] = {}
        self._axes: Axes = {}
        self._name(title)
        self._arrange()
        self._connect()

    def show_values(self, arrays: Mapping[str, np.ndarray], axes: Axes) -> None:
        """What the panel shows now; the choice stays, and so do the picked cell and the place."""
        self._arrays, self._axes = {name: np.asarray(array) for name, array in arrays.items()}, axes
        choices = self._choices()
        if list(choices) != [self.choice.itemText(row) for row in range(self.choice.count())]:
            self._fill(choices)
        self._show_array()

    def _choices(self) -> dict[str, tuple[str, ...]]:
        """Texts, and the names of the arrays that they show: lists of equal length side by side, then each alone."""
        lists: dict[tuple[int, tuple[Along, ...]], list[str]] = {}
        for name, array in self._arrays.items():
            if array.ndim == 1 and array.size and name in self._axes:
                lists.setdefault((len(array), tuple(self._axes[name])), []).append(name)
        together = {
            self.tr("{0} · {1} lines").format(", ".join(names), f"{count:,}"): tuple(names)
            for (count, _), names in lists.items()
            if len(names) > 1
        }
        alone = {f"{name} · {_shape(array)} · {array.dtype}": (name,) for name, array in self._arrays.items()}
        return {**together, **alone}

    def _fill(self, choices: Mapping[str, tuple[str, ...]]) -> None:
        """The same arrays as before where they are still there."""
        chosen = self.choice.currentData()
        self.choice.blockSignals(True)
        self.choice.clear()
        for text, names in choices.items():
            self.choice.addItem(text, names)
        first = next(iter(self._arrays), "")
        fitting = [row for row, names in enumerate(choices.values()) if first in names]
        found = next((row for row, names in enumerate(choices.values()) if names == chosen), min(fitting, default=-1))
        self.choice.setCurrentIndex(found)
        self.choice.blockSignals(False)

    def _show_array(self) -> None:
        names = self.choice.currentData() or ()
        arrays = {name: self._arrays[name] for name in names}
        axes = tuple(self._axes.get(names[0], ())) if names else ()
        current, first = self.view.currentIndex(), self.view.indexAt(QPoint(0, 0))
        places, before = ((current.row(), current.column()), (first.row(), first.column())), self.model.shape
        if len(arrays) > 1:
            self.model.show_columns(arrays, axes)
        else:
            self.model.show_array(next(iter(arrays.values()), np.zeros(0)), axes)
        if before != self.model.shape:
            self._go_back_to(*places)
        has_figures = self.model.rowCount() * self.model.columnCount() > 0
        for part in (self.view, self.about, self.copy):
            part.setVisible(has_figures)
        self.empty.setVisible(not has_figures)
        self.about.setText(self._about())

    def _go_back_to(self, picked: tuple[int, int], first: tuple[int, int]) -> None:
        rows, columns = self.model.rowCount(), self.model.columnCount()
        if not rows * columns:
            return
        row, column, top, left = (max(0, place) for place in (*picked, *first))
        self.view.setCurrentIndex(self.model.index(min(row, rows - 1), min(column, columns - 1)))
        corner = self.model.index(min(top, rows - 1), min(left, columns - 1))
        self.view.scrollTo(corner, QAbstractItemView.ScrollHint.PositionAtTop)

    def _about(self) -> str:
        """Which axes lie where; whether there are more lines than a table can have."""
        n, model = len(self.model.shape), self.model
        down = ", ".join(model.axis(number).name for number in range(n if n < 2 else n - 1))
        parts = [self.tr("down: {0}").format(down) if n else ""]
        parts.append(self.tr("across: {0}").format(model.axis(n - 1).name) if n > 1 else "")
        parts.append(self.tr("only the first {0} lines").format(f"{MOST_LINES:,}") if model.cut else "")
        return " · ".join(filter(None, parts))

    def copy_cells(self) -> None:
        """The selected cells as lines with tabs, for a spreadsheet; too many are refused with a sentence."""
        ranges = self._ranges()
        count = sum(one.width() * one.height() for one in ranges)
        if count > MOST_COPIED:
            words = self.tr(
                "{0} cells are too many for the clipboard; select up to {1}, or save the panel as CSV or NPY."
            )
            self.said.emit(words.format(f"{count:,}", f"{MOST_COPIED:,}"))
        elif count:
            QGuiApplication.clipboard().setText(self._copied())
            self.said.emit(self.tr("{0} cells copied").format(f"{count:,}"))

    def _ranges(self) -> list[QItemSelectionRange]:
        selection = self.view.selectionModel().selection()
        return [selection.at(number) for number in range(selection.count())]

    def _copied(self) -> str:
        """One rectangle around all that is selected, blank where it is not."""
        ranges = self._ranges()
        rows = range(min(one.top() for one in ranges), max(one.bottom() for one in ranges) + 1)
        columns = range(min(one.left() for one in ranges), max(one.right() for one in ranges) + 1)
        if len(ranges) == 1:
            return "\n".join("\t".join(self._cell(row, column) for column in columns) for row in rows)
        chosen = {(index.row(), index.column()) for index in self.view.selectionModel().selectedIndexes()}
        lines = ([self._cell(*at) if (at := (row, column)) in chosen else "" for column in columns] for row in rows)
        return "\n".join("\t".join(line) for line in lines)

    def _cell(self, row: int, column: int) -> str:
        figure, text = self.model.figure(row, column), self.model.text(row, column)
        return _quoted(text) if isinstance(figure, str) and text else text

    def _tell(self, index: QModelIndex) -> None:
        text = self.model.describe(index.row(), index.column())
        self.view.setAccessibleDescription(text)
        self.said.emit(text)

    def _name(self, title: str) -> None:
        self.choice.setAccessibleName(self.tr("Which figures of {0}").format(title))
        self.view.setAccessibleName(self.tr("Figures of {0}").format(title))
        self.copy.setToolTip(self.tr("The selected cells, for a spreadsheet"))
        self.back.setToolTip(self.tr("Show the picture again (Esc)"))
        for label in (self.about, self.empty):
            label.setTextFormat(Qt.TextFormat.PlainText)

    def _arrange(self) -> None:
        self.view.setModel(self.model)
        self.view.setTabKeyNavigation(False)  # Tab leaves the table, as it leaves a picture
        self.view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        for header in (self.view.horizontalHeader(), self.view.verticalHeader()):
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        follow_font(self.view, self.view.fit_rows)
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(20)
        self.view.setMinimumSize(1, 1)
        controls = QWidget()
        flow = FlowLayout(controls)
        for widget in (self.choice, self.copy, self.back, self.about):
            flow.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(controls)
        column.addWidget(self.view, 1)
        column.addWidget(self.empty, 1, Qt.AlignmentFlag.AlignCenter)
        self.setFocusProxy(self.view)

    def _connect(self) -> None:
        self.choice.currentIndexChanged.connect(self._show_array)
        self.copy.clicked.connect(self.copy_cells)
        self.back.clicked.connect(self.left)
        self.view.cell_picked.connect(self._tell)
        self.view.copy_asked.connect(self.copy_cells)


def _shape(array: np.ndarray) -> str:
    return " × ".join(map(str, array.shape)) or "1"


def _quoted(text: str) -> str:
    """A text as one cell, whatever is in it."""
    line = io.StringIO()
    csv.writer(line, dialect="excel-tab", lineterminator="\n").writerow(cells((text,)))
    return line.getvalue().removesuffix("\n")
