"""Arrays of any rank as the rows and columns of a table; a figure is turned into text when it is seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from app.widgets.tips import plain_tip

MOST_LINES = 20_000_000  # Qt counts the pixels of a table in 32 bits
_NONE = QModelIndex()
_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class Along:
    """An axis: its translated name, the number of its first entry, and how many entries of the run one stands for.

    ``words`` says what an entry of the run is, a position's token for example; "" for nothing.
    """

    name: str
    first: int = 0
    block: int = 1
    words: Callable[[int], str] | None = field(default=None, compare=False, repr=False)

    def entry(self, index: int) -> str:
        """ "10", "10 “the”", or "10–11" where one stands for two."""
        start = self.first + index * self.block
        if self.block > 1:
            return f"{start}–{start + self.block - 1}"
        words = "" if self.words is None else self.words(start)
        return f"{start} “{words}”" if words else str(start)


class ValuesModel(QAbstractTableModel):
    """One array: its last axis lies across, all before it run down, the last of them fastest; one axis alone runs down.
    Or several of one axis side by side.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = (0,)
        self.axes: tuple[Along, ...] = ()
        self._outer: tuple[int, ...] = (0,)
        self._columns: dict[str, np.ndarray] = {}  # of several arrays
        self._table = np.zeros((0, 1))  # of one

    def show_array(self, array: np.ndarray, axes: tuple[Along, ...] = ()) -> None:
        """Another array, or the same one with other figures."""
        outer, across = (array.shape, 1) if array.ndim < 2 else (array.shape[:-1], array.shape[-1])
        self._show(array.shape, axes, {}, array.reshape(math.prod(outer), across))

    def show_columns(self, arrays: Mapping[str, np.ndarray], axes: tuple[Along, ...] = ()) -> None:
        """Arrays of one axis and equal length; their names are the headings."""
        columns = dict(arrays)
        shape = next(iter(columns.values())).shape
        self._show(shape, axes, columns, np.zeros((shape[0], 0)))

    def _show(
        self, shape: tuple[int, ...], axes: tuple[Along, ...], columns: dict[str, np.ndarray], table: np.ndarray
    ) -> None:
        same = (shape, axes, list(columns)) == (self.shape, self.axes, list(self._columns))
        if not same:
            self.beginResetModel()
        self.shape, self.axes, self._columns, self._table = shape, axes, columns, table
        self._outer = shape if len(shape) < 2 else shape[:-1]
        if not same:
            self.endResetModel()
        elif self.rowCount() and self.columnCount():
            self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, self.columnCount() - 1))

    @property
    def cut(self) -> bool:
        """Whether there are more lines than a table can have."""
        return max(self._table.shape) > MOST_LINES

    def axis(self, number: int) -> Along:
        return self.axes[number] if number < len(self.axes) else Along(self.tr("axis {0}").format(number))

    def place(self, row: int, column: int) -> tuple[int, ...]:
        """The index in the array, or in all of them."""
        outer = tuple(int(one) for one in np.unravel_index(row, self._outer)) if self._outer else ()
        return (*outer, column) if len(self.shape) > 1 else outer

    def figure(self, row: int, column: int) -> object:
        if self._columns:
            return list(self._columns.values())[column][row]
        return self._table[row, column]

    def text(self, row: int, column: int) -> str:
        """As many digits as tell the figure from every other one of its kind."""
        return str(self.figure(row, column))

    def describe(self, row: int, column: int) -> str:
        """ "head 3, query 5, key 0: 0.25"."""
        parts = [self._entry_text(number, entry) for number, entry in enumerate(self.place(row, column))]
        parts += [list(self._columns)[column]] if self._columns else []
        return ": ".join(filter(None, (", ".join(parts), self.text(row, column))))

    def _entry_text(self, number: int, entry: int) -> str:
        axis = self.axis(number)
        return f"{axis.name} {axis.entry(entry)}"

    # --- what Qt asks -----------------------------------------------------------------------------------------

    def rowCount(self, parent: _Index = _NONE) -> int:  # noqa: N802
        return 0 if parent.isValid() else min(len(self._table), MOST_LINES)

    def columnCount(self, parent: _Index = _NONE) -> int:  # noqa: N802
        return 0 if parent.isValid() else min(len(self._columns) or self._table.shape[1], MOST_LINES)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        row, column = index.row(), index.column()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            words = isinstance(self.figure(row, column), str)
            side = Qt.AlignmentFlag.AlignLeft if words else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self.describe(row, column))
        return self.describe(row, column) if role == Qt.ItemDataRole.AccessibleTextRole else None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if role != Qt.ItemDataRole.DisplayRole or section < 0:
            return None
        if orientation == Qt.Orientation.Horizontal:
            return self._heading(section) if section < self.columnCount() else None
        places = self.place(section, 0)[: len(self._outer)] if section < self.rowCount() else ()
        return ", ".join(self.axis(number).entry(entry) for number, entry in enumerate(places))

    def _heading(self, column: int) -> str:
        if self._columns:
            return list(self._columns)[column]
        return self.axis(len(self.shape) - 1).entry(column) if len(self.shape) > 1 else self.tr("value")
