"""The palette: a field over the window in which a few letters find whatever can be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QLabel, QListView, QVBoxLayout, QWidget

from app.palette import Entry, Found, find
from app.widgets.over_page import OverPage
from app.widgets.palette_rows import FOUND, ROW_LINES, FoundRows, RowPainter, spoken
from app.widgets.search_field import SearchField

_WIDTH = 46  # of the page, in heights of a line
_TOP = 0.08  # of the window's height above it
_ROWS = 9


class PalettePage(OverPage):
    """``entries()`` is asked whenever it opens, ``used()`` for the names that were chosen last.

    ``chosen`` tells the name of what is done, before it is.
    """

    chosen = Signal(str)

    def __init__(
        self, parent: QWidget, entries: Callable[[], Sequence[Entry]], used: Callable[[], Sequence[str]]
    ) -> None:
        super().__init__(parent, "palette")
        self._all, self._used = entries, used
        self._entries: Sequence[Entry] = ()
        self.setAccessibleName(self.tr("Find a command"))
        self.field, self.list, self.words = SearchField(), QListView(), QLabel()
        self.rows = FoundRows(self)
        self._prepare()
        column = QVBoxLayout(self)
        for part in (self.field, self.list, self.words):
            column.addWidget(part)

    def _prepare(self) -> None:
        self.field.setPlaceholderText(self.tr("A few letters of a command, a panel, a model"))
        self.field.setAccessibleName(self.tr("Letters of a command"))
        self.field.textChanged.connect(self._search)
        self.field.returnPressed.connect(self.choose)
        self.field.moved.connect(self.list.keyPressEvent)
        self.list.setModel(self.rows)
        self.list.setItemDelegate(RowPainter(self.list))
        self.list.setAccessibleName(self.tr("What can be done"))
        self.list.setUniformItemSizes(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.clicked.connect(self.choose)
        self.list.selectionModel().currentChanged.connect(self._current_moved)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.words.setWordWrap(True)

    @property
    def current(self) -> Found | None:
        return self.list.currentIndex().data(FOUND)

    def begin(self) -> None:
        self._entries = self._all()
        self.field.clear()
        self._search()
        self.field.setFocus()

    def choose(self, _: QModelIndex | None = None) -> None:
        """Do what the current row says; where that is not possible, say why and stay."""
        found = self.current
        if found is None:
            return
        if found.entry.why:
            self.words.setText(self.tr("Not now: {0}").format(found.entry.why))
            return
        self.leave()
        self.chosen.emit(found.entry.name)
        found.entry.do()

    def _search(self) -> None:
        found = find(self.field.text(), self._entries, self._used())
        self.rows.show(found)
        self.list.setCurrentIndex(self.rows.index(0))
        self.words.setText("" if found else self.tr("Nothing is called so; other or fewer letters find more."))

    def _current_moved(self, now: QModelIndex) -> None:
        """The focus stays in the field, so what a screen reader says of the row is said there."""
        found = now.data(FOUND)
        self.field.setAccessibleDescription("" if found is None else spoken(found))
        if found is not None:
            self.words.setText("")

    def place(self) -> None:
        """In the upper half of the window, always with the same room for rows."""
        room, line = self.window().size(), self.fontMetrics().height()
        wide, top = min(room.width() - 2 * line, _WIDTH * line), round(_TOP * room.height())
        rows = round(ROW_LINES * line * _ROWS) + 2 * self.list.frameWidth()
        around = self.sizeHint().height() - self.list.sizeHint().height()
        high = min(room.height() - top - 2 * line, around + rows)
        self.setGeometry((room.width() - wide) // 2, top, wide, high)
