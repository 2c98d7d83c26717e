"""The names of the glossary's entries, and the field that searches them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QStringListModel, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit, QListView, QWidget

from app.glossary import Term
from app.widgets.pages import fill
from app.widgets.term_words import told

_MOVES = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)


class SearchField(QLineEdit):
    """Up and Down move in the list below while one types."""

    moved = Signal(QKeyEvent)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in _MOVES:
            self.moved.emit(event)
        else:
            super().keyPressEvent(event)


class TermList(QWidget):
    """``picked`` carries the key of the entry that is chosen; ``searched`` what is typed."""

    picked = Signal(str)
    searched = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._terms: tuple[Term, ...] = ()
        self.field, self.list, self._names = SearchField(), QListView(), QStringListModel()
        self.field.setPlaceholderText(self.tr("Search the glossary"))
        self.field.setAccessibleName(self.tr("Search the glossary"))
        self.field.setClearButtonEnabled(True)
        self.list.setModel(self._names)
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName(self.tr("Entries"))
        self.field.textChanged.connect(self.searched)
        self.field.moved.connect(self.list.keyPressEvent)
        self.field.returnPressed.connect(self.list.setFocus)
        self.list.selectionModel().currentChanged.connect(self._pick)
        fill(self, self.field, self.list).setStretch(1, 1)

    def show_terms(self, terms: Sequence[Term], key: str) -> None:
        """Other entries; that of the key stays chosen where it is among them. Nothing is ``picked``."""
        self._terms = tuple(terms)
        self.list.selectionModel().blockSignals(True)
        self._names.setStringList([told(term.name) for term in terms])
        self.list.selectionModel().blockSignals(False)
        self.choose(key)

    def choose(self, key: str) -> bool:
        """Mark the entry that is shown. Whether it is among those that are listed."""
        row = next((row for row, term in enumerate(self._terms) if term.key == key), -1)
        selection = self.list.selectionModel()
        selection.blockSignals(True)
        self.list.setCurrentIndex(self._names.index(row))
        selection.blockSignals(False)
        self.list.viewport().update()
        if row >= 0:
            self.list.scrollTo(self._names.index(row))
        return row >= 0

    def count(self) -> int:
        """How many entries are listed."""
        return len(self._terms)

    def _pick(self) -> None:
        row = self.list.currentIndex().row()
        if 0 <= row < len(self._terms):
            self.picked.emit(self._terms[row].key)
