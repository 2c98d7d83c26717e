"""Errors as a bar that blocks nothing: one sentence, details on demand, copy, dismiss. Always plain text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QPlainTextEdit, QToolButton, QVBoxLayout

from app.engine_words import said
from app.theme import Theme, icon
from app.widgets.bar_parts import name_button, sentence_label
from engine.frames import ErrorFrame

MOST_KNOWN = 50  # different ones; older ones are in the log
LONGEST_LINE = 400  # letters of a sentence; all of it is in the details


@dataclass
class Known:
    """An error, as it came last, and how often it came."""

    error: ErrorFrame
    sentence: str  # in the user's language
    count: int = 1

    @property
    def line(self) -> str:
        line = self.sentence.partition("\n")[0]
        line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
        return f"{line} (×{self.count})" if self.count > 1 else line


class ErrorBar(QFrame):
    """Shows the newest error; one that comes again, also among others, only raises its count. ``report_asked``: the
    user wants the report, for one that nobody has foreseen."""

    report_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sentence, self.advice = sentence_label(), sentence_label()
        self.details = QPlainTextEdit()
        self.others, self.more, self.report = QToolButton(), QToolButton(), QToolButton()
        self.copy, self.dismiss = QToolButton(), QToolButton()
        self._known: dict[tuple[str, str], Known] = {}  # the newest last
        self._shown: Known | None = None
        self._prepare()
        self._arrange()
        self.hide()

    def show_error(self, error: ErrorFrame) -> None:
        """Non-modal; stays until it is dismissed or the next error comes."""
        if self.isHidden():
            self._known.clear()
        key = (error.task, error.sentence)
        before = self._known.pop(key, None)
        self._known[key] = Known(error, said(error.sentence, self.tr), 1 if before is None else before.count + 1)
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._show(self._known[key], again=before is not None and before is self._shown)

    def text(self) -> str:
        """What Copy puts on the clipboard."""
        return "" if self._shown is None else f"{self._shown.sentence}\n{self._shown.error.details}".strip()

    def restyle(self, theme: Theme) -> None:
        self.dismiss.setIcon(icon("close", theme))
        self.copy.setIcon(icon("copy", theme))
        self.setStyleSheet(f"ErrorBar {{ background: {theme.raised}; border-left: 4px solid {theme.cut}; }}")
        self.advice.setStyleSheet(f"color: {theme.faint};")

    def _show(self, known: Known, again: bool = False) -> None:
        error, self._shown = known.error, known
        long = known.line.removesuffix(f" (×{known.count})") != known.sentence
        self.sentence.setText(known.line)
        self.advice.setVisible(bool(error.details))
        self.report.setVisible(bool(error.details))
        if not again:  # whoever reads the details of one that comes all the time goes on reading
            self.details.setPlainText(f"{known.sentence}\n\n{error.details}".strip())
            self.more.setChecked(False)
        self.more.setVisible(bool(error.details) or long)
        self.others.setText(self.tr("{0} more").format(len(self._known) - 1))
        self.others.setVisible(len(self._known) > 1)
        self.show()

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Error"))
        self.advice.setText(
            self.tr("This was not foreseen. What was there before is still there: go on, or copy a report of it.")
        )
        self.details.setReadOnly(True)
        self.details.setFixedHeight(10 * self.fontMetrics().lineSpacing())
        self.details.setAccessibleName(self.tr("Details of the error"))
        self.more.setText(self.tr("Details"))
        self.more.setCheckable(True)
        self.more.toggled.connect(self.details.setVisible)
        self.details.hide()
        self.report.setText(self.tr("Copy report"))
        self.report.clicked.connect(self.report_asked)
        name_button(self.others, self.tr("Other errors since the bar came up"))
        name_button(self.copy, self.tr("Copy the error"))
        name_button(self.dismiss, self.tr("Dismiss the error"))
        self.others.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.others.setMenu(QMenu(self.others))
        self.others.menu().aboutToShow.connect(self._fill_menu)
        self.copy.clicked.connect(self._copy)
        self.dismiss.clicked.connect(self.hide)

    def _fill_menu(self) -> None:
        """The newest first; one that is chosen is shown."""
        menu = self.others.menu()
        menu.clear()
        for known in reversed(self._known.values()):
            if known is not self._shown:
                menu.addAction(known.line.replace("&", "&&"), partial(self._show, known))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text())

    def _arrange(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.sentence, 1)
        for button in (self.others, self.more, self.report, self.copy, self.dismiss):
            button.setAutoRaise(True)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.addLayout(row)
        column.addWidget(self.advice)
        column.addWidget(self.details)
