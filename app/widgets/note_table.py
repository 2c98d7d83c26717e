"""Notes and bookmarks below each other: the place of each, and its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QFontMetrics, QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QTableView

from app.theme import Theme, icon
from app.widgets.follow_font import follow_font
from app.widgets.tips import wrapped_tip

Index = QModelIndex | QPersistentModelIndex
Role = Qt.ItemDataRole


@dataclass(frozen=True)
class Row:
    """One of them in words; ``kind``: "bookmark" or "note", translated. ``absent``: why its place is not on screen, ""
    where it is."""

    number: int
    bookmark: bool
    kind: str
    place: str
    text: str
    absent: str = ""


class NoteModel(QAbstractTableModel):
    """Rows as they are told."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.rows: tuple[Row, ...] = ()

    def show_rows(self, rows: Sequence[Row]) -> None:
        self.beginResetModel()
        self.rows = tuple(rows)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        return 0 if parent.isValid() else 1

    def data(self, index: Index, role: int = Role.DisplayRole) -> object:
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role == Role.DisplayRole:
            return _two_lines(row)
        if role == Role.ForegroundRole:
            return QColor(self.theme.faint if row.absent else self.theme.text)
        if role == Role.DecorationRole:
            return icon("bookmark" if row.bookmark else "note", self.theme)
        if role == Role.ToolTipRole:  # a stranger's file may hold the text
            return wrapped_tip(f"{row.kind}: {_place(row)}\n{row.text}")
        return f"{row.kind}, {_place(row)}, {row.text}" if role == Role.AccessibleTextRole else None


def _two_lines(row: Row) -> str:
    """The place, and below it the text where there is one."""
    return "\n".join(filter(None, (" ⏎ ".join(text.splitlines()) for text in (_place(row), row.text))))


def _place(row: Row) -> str:
    return f"{row.place} ({row.absent})" if row.absent else row.place


class NoteTable(QTableView):
    """``chosen``: Enter or a double click on one; ``removed``: Delete; ``moved``: others are picked."""

    chosen = Signal(int)
    removed = Signal()
    moved = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.notes = NoteModel(theme)
        self.setModel(self.notes)
        self.setAccessibleName(self.tr("Notes and bookmarks"))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(0)
        self.horizontalHeader().hide()
        self.horizontalHeader().setStretchLastSection(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.doubleClicked.connect(lambda index: self.chosen.emit(self.notes.rows[index.row()].number))
        self.selectionModel().selectionChanged.connect(lambda *_: self.moved.emit())
        follow_font(self, self._fit_rows)
        self.restyle(theme)

    def show_rows(self, rows: Sequence[Row]) -> None:
        """What is picked stays picked, where it is still there; else what has come into its place."""
        if tuple(rows) == self.notes.rows:
            return
        current, picked, row = self.current, self.picked, self.currentIndex().row()
        self.notes.show_rows(rows)
        self._fit_rows(self.fontMetrics())
        self.pick(picked, current)
        if picked and not self.picked:
            self._pick_row(min(row, len(rows) - 1))
        self.moved.emit()

    def _fit_rows(self, metrics: QFontMetrics) -> None:
        """A line for the place, and one for a text. To measure each row takes far too long with hundreds of them."""
        place, both = (lines * metrics.lineSpacing() + metrics.height() // 2 for lines in (1, 2))
        header = self.verticalHeader()
        header.setDefaultSectionSize(both)
        for number, row in enumerate(self.notes.rows):
            header.resizeSection(number, both if "\n" in _two_lines(row) else place)

    def restyle(self, theme: Theme) -> None:
        self.notes.theme = theme
        self.setStyleSheet("QTableView::item { padding: 2px 4px; }")
        self.viewport().update()

    @property
    def current(self) -> int | None:
        """The number of the one that the keys have come to."""
        index = self.currentIndex()
        return self.notes.rows[index.row()].number if index.isValid() else None

    @property
    def picked(self) -> tuple[int, ...]:
        """The numbers of all that are picked, from top to bottom."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return tuple(self.notes.rows[row].number for row in rows)

    def pick(self, numbers: Sequence[int], current: int | None = None) -> None:
        """Pick these; ``current`` is brought into sight."""
        flags = QItemSelectionModel.SelectionFlag
        self.selectionModel().clearSelection()
        for row, each in enumerate(self.notes.rows):
            index = self.notes.index(row, 0)
            if each.number == current:
                self.selectionModel().setCurrentIndex(index, flags.NoUpdate)
                self.scrollTo(index)
            if each.number in numbers:
                self.selectionModel().select(index, flags.Select | flags.Rows)

    def pick_current(self) -> None:
        """Where nothing is picked, the row that the keys have come to, or else the first: it looks picked."""
        if not self.picked:
            self._pick_row(self.currentIndex().row())

    def _pick_row(self, row: int) -> None:
        """That row, or the first, where there are rows."""
        for each in self.notes.rows[max(row, 0) :][:1]:
            self.pick((each.number,), each.number)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusInEvent(event)
        if event.reason() != Qt.FocusReason.MouseFocusReason:  # a click picks by itself, where the list is
            self.pick_current()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.current is not None:
            self.chosen.emit(self.current)
        elif event.key() == Qt.Key.Key_Delete and self.picked:
            self.removed.emit()
        else:
            super().keyPressEvent(event)
