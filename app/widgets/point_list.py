"""The hook points of a pass as a list, in its order: by stage, hatched where nothing is computed yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QContextMenuEvent, QFont, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTreeView

from app.engine_words import said
from app.theme import Theme
from app.widgets.point_rows import PointRow
from engine.frames import PointFacts

_LEAST_FOR_SIZES = 30  # characters

_Index = QModelIndex | QPersistentModelIndex


class PointModel(QAbstractTableModel):
    """Rows in two columns: the name, and the numbers of the shape."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.rows: tuple[PointRow, ...] = ()
        self._theme = theme

    def show_rows(self, rows: tuple[PointRow, ...]) -> bool:
        """Other rows. True where headings stand elsewhere, so that all is laid out anew; other experts are texts."""
        anew = [row.facts is None for row in rows] != [row.facts is None for row in self.rows]
        changed = [place for place, pair in enumerate(zip(rows, self.rows, strict=False)) if pair[0] != pair[1]]
        if anew:
            self.beginResetModel()
        self.rows = rows
        if anew:
            self.endResetModel()
        elif changed:
            self.dataChanged.emit(self.index(changed[0], 0), self.index(changed[-1], 1))
        return anew

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, 1))

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else 2

    def flags(self, index: _Index) -> Qt.ItemFlag:
        row = self.rows[index.row()]
        return Qt.ItemFlag.NoItemFlags if row.facts is None else super().flags(index)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return (self.tr("point"), self.tr("size"))[section]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, index.column())
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            return self._tip(row)
        return self._look(row, role)

    def _text(self, row: PointRow, column: int) -> str:
        if row.facts is None or column == 0:
            return ("" if row.facts is None else "  ") + row.text if column == 0 else ""
        return size_text(row.facts, self.tr)

    def _tip(self, row: PointRow) -> str:
        if row.facts is None:
            return row.text
        tip = f"{said(row.facts.meaning, self.tr)} · [{', '.join(row.facts.shape)}]"
        return tip + (self.tr(" · not computed yet") if row.absent else "")

    def _look(self, row: PointRow, role: int) -> object:
        theme = self._theme
        if role == Qt.ItemDataRole.FontRole and row.facts is None:
            font = QFont()
            font.setWeight(QFont.Weight.DemiBold)
            return font
        if role == Qt.ItemDataRole.ForegroundRole:
            return QColor(theme.faint if row.absent or row.facts is None else theme.text)
        if role == Qt.ItemDataRole.BackgroundRole and row.absent:
            return QBrush(QColor(theme.line), Qt.BrushStyle.BDiagPattern)
        return None


def size_text(facts: PointFacts, tr: Callable[[str], str]) -> str:
    """ "9 × 64": the numbers that do not grow with the run; "keys" where the last one is those that are seen."""
    sizes = [
        tr("keys") if symbol == "key" else str(size)
        for symbol, size in zip(facts.shape, facts.sizes, strict=True)
        if symbol not in ("batch", "pos", "routed") and (size or symbol == "key")
    ]
    return " × ".join(sizes[1:] if facts.shape[:2] == ("1", "pos") else sizes) or "1"


class PointList(QTreeView):
    """``point_picked`` when another point becomes the current one by mouse or key: its layer (-1: none) and name."""

    point_picked = Signal(int, str)
    edit_asked = Signal(int, str)  # from the menu of a row, or that of the current one

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.points = PointModel(theme)
        self.setModel(self.points)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QTreeView.Shape.NoFrame)
        self.setIndentation(0)
        self.setAccessibleName(self.tr("Points of the pass"))
        self.header().setStretchLastSection(False)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.selectionModel().currentChanged.connect(self._changed)
        self._silent = False

    @property
    def rows(self) -> tuple[PointRow, ...]:
        return self.points.rows

    @property
    def current(self) -> PointRow | None:
        index = self.currentIndex()
        return self.rows[index.row()] if index.isValid() else None

    def show_rows(self, rows: tuple[PointRow, ...], layer: int | None, name: str) -> None:
        """Show these rows, the named one as the current one, without ``point_picked``."""
        self._silent = True
        if self.points.show_rows(rows):
            for place, row in enumerate(rows):
                self.setFirstColumnSpanned(place, QModelIndex(), row.facts is None)
        self._make_current(layer, name)
        self._silent = False

    def _make_current(self, layer: int | None, name: str) -> None:
        place = next((at for at, row in enumerate(self.rows) if (row.layer, row.name) == (layer, name)), None)
        index = self.points.index(place, 0) if place is not None and name else QModelIndex()
        if index.row() == self.currentIndex().row():
            return
        flags = QItemSelectionModel.SelectionFlag
        self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        if index.isValid():
            for place in (index.row() - 2, index.row() + 2, index.row()):  # with what lies before and after
                self.scrollTo(self.points.index(min(max(place, 0), len(self.rows) - 1), 0))

    def set_theme(self, theme: Theme) -> None:
        self.points.set_theme(theme)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        index = self.indexAt(event.pos()) if mouse else self.currentIndex()
        menu = self.menu_of(self.rows[index.row()]) if index.isValid() else None
        if menu is None:
            event.ignore()
            return
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())

    def menu_of(self, row: PointRow) -> QMenu | None:
        """What can be done with a point; None for a heading."""
        if row.facts is None:
            return None
        menu, layer = QMenu(self), -1 if row.layer is None else row.layer
        menu.addAction(row.full_name).setEnabled(False)
        menu.addAction(self.tr("Look at it"), partial(self.point_picked.emit, layer, row.name))
        menu.addAction(self.tr("Edit…"), partial(self.edit_asked.emit, layer, row.name))
        return menu

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Names without sizes still say what there is; sizes without names do not."""
        self.setColumnHidden(1, self.width() < self.fontMetrics().averageCharWidth() * _LEAST_FOR_SIZES)
        super().resizeEvent(event)

    def _changed(self, now: QModelIndex, before: QModelIndex) -> None:
        row = self.rows[now.row()] if now.isValid() else None
        if row is not None and row.facts is not None and not self._silent:
            self.point_picked.emit(-1 if row.layer is None else row.layer, row.name)
