"""A breakpoint to be made or changed: one condition or two, and how many hits are only counted."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from app.cursor import Look
from app.engine_words import said
from app.token_texts import Unasked
from app.widgets.condition_form import ConditionForm
from app.widgets.pages import labelled
from engine.breakpoints import Breakpoint, Test
from engine.errors import EngineError
from engine.frames import ModelFrame, TokenFound

MOST_IGNORED = 1_000_000


class BreakpointForm(QWidget):
    """``done``: (number or None for a new one, conditions, hits to ignore). ``left``: nothing is to be done.

    ``token_asked``: a text that only the tokenizer knows; ``take_token`` is given its answer, and the form goes on.
    """

    done = Signal(object, object, int)
    token_asked = Signal(str)
    left = Signal()

    def __init__(self, find_token: Callable[[str], int]) -> None:
        super().__init__()
        self.number: int | None = None
        self._asked = ""  # the token that is waited for
        self.first, self.second = ConditionForm(find_token), ConditionForm(find_token)
        self.both = QCheckBox(self.tr("and, in the same pass"))
        self.ignore = QSpinBox()
        self.ignore.setRange(0, MOST_IGNORED)
        self.ignore.setToolTip(self.tr("So many hits more are counted without stopping the pass"))
        self.accept, self.cancel = QPushButton(), QPushButton(self.tr("Cancel"))
        self.complaint = QLabel()
        self.complaint.setTextFormat(Qt.TextFormat.PlainText)
        self.complaint.setWordWrap(True)
        self._arrange()
        self._connect()
        self.second.setVisible(False)

    def begin(self, model: ModelFrame | None, look: Look, position: int) -> None:
        """A new one, with what is looked at as its first values."""
        self._open(model, None)
        for form in (self.first, self.second):
            form.look_at(look, position)
        self.both.setChecked(False)
        self.ignore.setValue(0)

    def edit(self, model: ModelFrame | None, breakpoint: Breakpoint) -> None:
        """Change one that exists."""
        self._open(model, breakpoint.number)
        for form, test in zip((self.first, self.second), breakpoint.tests, strict=False):
            form.set_test(test)
        self.both.setChecked(len(breakpoint.tests) == 2)
        self.ignore.setValue(breakpoint.ignore)

    def set_test(self, test: Test) -> None:
        """Another first condition."""
        self.first.set_test(test)

    def _open(self, model: ModelFrame | None, number: int | None) -> None:
        self.number = number
        for form in (self.first, self.second):
            form.show_model(model)
        self.accept.setText(self.tr("Add") if number is None else self.tr("Change breakpoint {0}").format(number))
        self._complain("")

    def _arrange(self) -> None:
        column, buttons = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        margin = self.fontMetrics().height() // 2
        self.accept.setDefault(True)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.accept)
        self.complaint.setContentsMargins(margin, 0, margin, 0)
        column.addWidget(self.first)
        column.addLayout(_inset(self.both, margin))
        column.addWidget(self.second)
        column.addLayout(_inset(labelled(self.tr("Hits to ignore"), self.ignore), margin))
        column.addStretch(1)
        column.addWidget(self.complaint)
        buttons.setContentsMargins(margin, margin, margin, margin)
        column.addLayout(buttons)

    def _connect(self) -> None:
        self.both.toggled.connect(self.second.setVisible)
        self.accept.clicked.connect(self._accept)
        self.cancel.clicked.connect(self.left)
        for form in (self.first, self.second):
            form.changed.connect(lambda: self._complain(""))
            form.word.returnPressed.connect(self._accept)

    def _accept(self) -> None:
        forms = (self.first, self.second) if self.both.isChecked() else (self.first,)
        try:
            tests = tuple(form.test() for form in forms)
        except Unasked as unasked:
            self._complain(str(unasked))
            self._asked = unasked.text
            self.token_asked.emit(unasked.text)
        except EngineError as error:
            self._complain(said(str(error), self.tr))
        else:
            self.done.emit(self.number, tests, self.ignore.value())

    def take_token(self, answer: TokenFound) -> None:
        """What the tokenizer says of a text, where that is still waited for."""
        if answer.text != self._asked:
            return
        if answer.id is None:
            self._complain(said(answer.sentence, self.tr))
        else:
            self._complain("")
            self._accept()

    def _complain(self, sentence: str) -> None:
        """A sentence below the conditions; no token is waited for any more."""
        self._asked = ""
        self.complaint.setText(sentence)
        self.complaint.setVisible(bool(sentence))


def _inset(widget: QWidget, margin: int) -> QHBoxLayout:
    """As far from the edges as the rows of the conditions, and no wider than it need be."""
    row = QHBoxLayout()
    row.setContentsMargins(margin, margin // 2, margin, margin // 2)
    row.addWidget(widget)
    row.addStretch(1)
    return row
