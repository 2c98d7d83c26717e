"""Another token instead of the one that was chosen: picked from the candidates, or typed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from app.run import visible


class ChoiceRow(QWidget):
    """``chosen`` carries the id of a candidate, or the text that was typed; ␣, ⏎ and ⇥ in it are white space."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._id: int | None = None
        self._refused = ""  # why nothing can be chosen now
        self.field, self.button = QLineEdit(), QPushButton(self.tr("Branch"))
        self.field.setPlaceholderText(self.tr("another token: click or type it"))
        self.field.setToolTip(self.tr("One token; ␣ and a typed space are the same"))
        self.field.setAccessibleName(self.tr("Token to go on with instead"))
        self.field.textEdited.connect(self._typed)
        self.field.returnPressed.connect(self._choose)
        self.button.clicked.connect(self._choose)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 2, 6, 2)
        row.addWidget(self.field, 1)
        row.addWidget(self.button)
        self.show_state("", "")

    def show_state(self, here: str, refused: str) -> None:
        """``here``: what happens on Branch, for the tip. ``refused``: why it is not possible now, "" where it is."""
        self._refused = refused
        self.button.setToolTip(refused or here)
        self.button.setAccessibleName(refused or here or self.button.text())
        self.field.setEnabled(not refused)
        self._fit_button()

    def take(self, token: int, text: str) -> None:
        """A candidate was picked."""
        self._id = token
        self.field.setText(text)
        self._fit_button()

    def clear(self) -> None:
        self._id = None
        self.field.clear()
        self._fit_button()

    def begin(self) -> None:
        """For whoever goes on with the keyboard."""
        self.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.field.selectAll()

    def _typed(self, text: str) -> None:
        self._id = None
        self._fit_button()

    def _fit_button(self) -> None:
        self.button.setEnabled(not self._refused and bool(self.field.text()))

    def _choose(self) -> None:
        if self.button.isEnabled():
            self.chosen.emit(unseen(self.field.text()) if self._id is None else self._id)


def unseen(text: str) -> str:
    """Typed text with drawn white space as white space again: the opposite of ``visible``."""
    for drawn, meant in ((visible(" "), " "), (visible("\n"), "\n"), (visible("\t"), "\t")):
        text = text.replace(drawn, meant)
    return text
