"""Asks for the hub's token, which is shown as dots and handed over once."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QLabel, QLineEdit, QVBoxLayout, QWidget

from app.engine_words import said


class TokenDialog(QDialog):
    """``accepted``: ``take`` gives what was typed."""

    def __init__(self, parent: QWidget, why: str = "") -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Access token of the hub"))
        self.field, self.remember = QLineEdit(), QCheckBox(self.tr("Remember it in the system's keyring"))
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setAccessibleName(self.tr("Access token"))
        self.field.setPlaceholderText("hf_…")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.field.textChanged.connect(self._look)
        column = QVBoxLayout(self)
        for text in filter(None, (said(why, self.tr), self._help())):
            label = QLabel(text)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            column.addWidget(label)
        for widget in (self.field, self.remember, self.buttons):
            column.addWidget(widget)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 70)
        self._look()

    def take(self) -> tuple[str, bool]:
        """The token, and whether to remember it; the field is emptied."""
        text = self.field.text().strip()
        self.field.clear()
        return text, self.remember.isChecked()

    def _help(self) -> str:
        return self.tr(
            "Models whose terms must be accepted are sent only to those who have done so, on the model's page of the "
            "hub. A token with read access, from the settings of your account there, says who you are. It is sent to "
            "the hub alone and never written to a log."
        )

    def _look(self) -> None:
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(bool(self.field.text().strip()))
