"""The user's own layouts: saved under a name, used again, deleted; what was deleted last can be brought back."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QLineEdit, QListWidget, QPushButton, QVBoxLayout, QWidget


class LayoutsDialog(QDialog):
    """Stays open beside the window. The signals carry the name of a layout."""

    save_asked = Signal(str)
    use_asked = Signal(str)
    delete_asked = Signal(str)
    undo_asked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Saved layouts"))
        self.list, self.field, self.words = QListWidget(), QLineEdit(), QLabel(wordWrap=True)
        self.save, self.use = QPushButton(self.tr("&Save")), QPushButton(self.tr("&Use"))
        self.delete, self.undo = QPushButton(self.tr("&Delete")), QPushButton(self.tr("&Undo"))
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.list.setAccessibleName(self.tr("Saved layouts"))
        self.field.setAccessibleName(self.tr("Name of the layout"))
        self.field.setPlaceholderText(self.tr("Name for the panels as they are now"))
        self.undo.setToolTip(self.tr("Take back what was saved or deleted last"))
        self._arrange()
        self._connect()
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 60)

    def show_layouts(self, names: Sequence[str], used: str, undoable: bool) -> None:
        """``used``: the name of the layout in use, which may be none of these."""
        self.list.clear()
        self.list.addItems(list(names))
        if used in names:
            self.list.setCurrentRow(names.index(used))
        self.undo.setEnabled(undoable)
        self.say("" if names else self.tr("No layout is saved yet."))
        self._look()

    def say(self, sentence: str) -> None:
        self.words.setText(sentence)

    def _arrange(self) -> None:
        above, below = QHBoxLayout(), QHBoxLayout()
        above.addWidget(self.field, 1)
        above.addWidget(self.save)
        for button in (self.use, self.delete, self.undo):
            button.setAutoDefault(False)
            below.addWidget(button)
        below.addStretch(1)
        column = QVBoxLayout(self)
        column.addLayout(above)
        column.addWidget(self.words)
        column.addWidget(self.list, 1)
        column.addLayout(below)

    def _connect(self) -> None:
        self.save.setDefault(True)
        self.save.clicked.connect(lambda: self.save_asked.emit(self.field.text()))
        self.use.clicked.connect(lambda: self._tell(self.use_asked))
        self.delete.clicked.connect(lambda: self._tell(self.delete_asked))
        self.undo.clicked.connect(self.undo_asked)
        self.list.itemActivated.connect(lambda: self._tell(self.use_asked))
        self.list.currentRowChanged.connect(self._look)
        self.field.textChanged.connect(self._look)

    def _tell(self, signal) -> None:
        item = self.list.currentItem()
        if item is not None:
            signal.emit(item.text())

    def _look(self) -> None:
        chosen = self.list.currentItem() is not None
        for button, possible in (
            (self.save, bool(self.field.text().strip())),
            (self.use, chosen),
            (self.delete, chosen),
        ):
            button.setEnabled(possible)
