"""Long plain texts over the window until Esc: the log, the crash log, the report."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QGuiApplication, QTextCursor
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from app.theme import Theme, mono_font
from app.widgets.over_page import OverPage


class LogPage(OverPage):
    """``show_text`` for a text as it is; ``show_report`` for one that may hold what is nobody else's business."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, "log")
        self.headline, self.about = QLabel(), QLabel()
        self.text = QPlainTextEdit()
        self.private = QCheckBox(self.tr("With the prompt and the tokens"))
        self.copy, self.close_button = QPushButton(self.tr("Copy")), QPushButton(self.tr("Close"))
        self._make: Callable[[bool], str] | None = None
        self._prepare()
        self._arrange()

    def show_text(self, headline: str, text: str, about: str = "") -> None:
        """At its end, where the newest is."""
        self._make = None
        self._fill(headline, about, text)
        self.text.moveCursor(QTextCursor.MoveOperation.End)

    def show_report(self, headline: str, about: str, make: Callable[[bool], str]) -> None:
        """``make`` writes it, with what is private or without; it begins without, and lies on the clipboard."""
        self._make = make
        self.private.setChecked(False)
        self._fill(headline, about, make(False))
        self._copy()

    def begin(self) -> None:
        self.text.setFocus()

    def place(self) -> None:
        """In the middle of the window, with a margin all around."""
        window, letter = self.window(), self.fontMetrics().height()
        wide, high = min(window.width() - 2 * letter, 60 * letter), window.height() - 6 * letter
        self.setGeometry((window.width() - wide) // 2, 3 * letter, wide, high)

    def restyle(self, theme: Theme) -> None:
        super().restyle(theme)
        self.text.setFont(mono_font())
        bold = QFont(self.font())
        bold.setWeight(QFont.Weight.DemiBold)
        self.headline.setFont(bold)

    def _fill(self, headline: str, about: str, text: str) -> None:
        self.headline.setText(headline)
        self.setAccessibleName(headline)
        self.about.setText(about)
        self.about.setVisible(bool(about))
        self.text.setPlainText(text)
        self.text.setAccessibleName(headline)
        self.private.setVisible(self._make is not None)
        if not self.isVisible():
            self.enter()

    def _prepare(self) -> None:
        self.headline.setTextFormat(Qt.TextFormat.PlainText)
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.about.setWordWrap(True)
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.private.toggled.connect(self._make_again)
        self.copy.clicked.connect(self._copy)
        self.close_button.clicked.connect(self.leave)

    def _arrange(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.private)
        row.addStretch(1)
        row.addWidget(self.copy)
        row.addWidget(self.close_button)
        column = QVBoxLayout(self)
        for widget in (self.headline, self.about):
            column.addWidget(widget)
        column.addWidget(self.text, 1)
        column.addLayout(row)

    def _make_again(self, private: bool) -> None:
        if self._make is not None:
            self.text.setPlainText(self._make(private))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())
