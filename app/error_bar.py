"""Errors as a bar that blocks nothing: one sentence, details on demand, copy, dismiss. Always plain text."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QToolButton, QVBoxLayout

from app.theme import Theme, icon
from app.widgets.bar_parts import name_button, sentence_label
from engine.frames import ErrorFrame


class ErrorBar(QFrame):
    """Shows the newest error; the same one again only raises its count."""

    def __init__(self) -> None:
        super().__init__()
        self.sentence = sentence_label()
        self.details = QPlainTextEdit()
        self.more, self.copy, self.dismiss = QToolButton(), QToolButton(), QToolButton()
        self._shown: ErrorFrame | None = None
        self._count = 0
        self._prepare()
        self._arrange()
        self.hide()

    def show_error(self, error: ErrorFrame) -> None:
        """Non-modal; stays until it is dismissed or the next error comes."""
        self._count = self._count + 1 if error == self._shown and self.isVisible() else 1
        self._shown = error
        times = f" (×{self._count})" if self._count > 1 else ""
        self.sentence.setText(error.sentence.partition("\n")[0] + times)
        self.details.setPlainText(error.details or error.sentence)
        self.more.setVisible(bool(error.details) or "\n" in error.sentence)
        self.more.setChecked(False)
        self.show()

    def text(self) -> str:
        """What Copy puts on the clipboard."""
        return "" if self._shown is None else f"{self._shown.sentence}\n{self._shown.details}".strip()

    def restyle(self, theme: Theme) -> None:
        self.dismiss.setIcon(icon("close", theme))
        self.copy.setIcon(icon("copy", theme))
        self.setStyleSheet(f"ErrorBar {{ background: {theme.raised}; border-left: 4px solid {theme.cut}; }}")

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Error"))
        self.details.setReadOnly(True)
        self.details.setFixedHeight(10 * self.fontMetrics().lineSpacing())
        self.details.setAccessibleName(self.tr("Details of the error"))
        self.more.setText(self.tr("Details"))
        self.more.setCheckable(True)
        self.more.toggled.connect(self.details.setVisible)
        self.details.hide()
        name_button(self.copy, self.tr("Copy the error"))
        name_button(self.dismiss, self.tr("Dismiss the error"))
        self.copy.clicked.connect(self._copy)
        self.dismiss.clicked.connect(self.hide)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text())

    def _arrange(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.sentence, 1)
        for button in (self.more, self.copy, self.dismiss):
            button.setAutoRaise(True)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.addLayout(row)
        column.addWidget(self.details)
