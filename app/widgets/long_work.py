"""Long work in the status bar: what it is, how far, how long still, and a button that gives it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QProgressBar, QSizePolicy, QToolButton, QWidget

from app.long_work import Work
from app.long_work_words import figures_text, percent, whole_text
from app.theme import Theme, icon
from app.widgets.bar_parts import name_button
from app.widgets.tips import plain_tip

TEXT_WIDTH, FIGURES_WIDTH, BAR_WIDTH = 26, 34, 12  # average letters


class LongWorkView(QWidget):
    """Shows the work that has lasted longest; a menu has all. ``given_up`` tells the task of one to cancel.

    It is as wide as it ever gets, so that the bar is not laid out again with every figure.
    """

    given_up = Signal(str)

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._works: tuple[Work, ...] = ()
        self.text, self.figures = _plain_label(), _plain_label()
        self.bar, self.others, self.cancel = QProgressBar(), QToolButton(), QToolButton()
        self._prepare()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.text, self.bar, self.figures, self.others, self.cancel):
            row.addWidget(widget)
        self.hide()

    def show_works(self, works: Sequence[Work]) -> None:
        """The longest first; none hides it."""
        self._works = tuple(works)
        self.setVisible(bool(works))
        if works:
            self._show_first(works[0])
            self.others.setText(self.tr("+{0}").format(len(works) - 1))
            self.others.setVisible(len(works) > 1)

    def restyle(self, theme: Theme) -> None:
        self.cancel.setIcon(icon("cancel", theme))
        letter = self.fontMetrics().averageCharWidth()
        self.bar.setFixedSize(BAR_WIDTH * letter, self.fontMetrics().ascent())
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Whatever it says now."""
        letters = TEXT_WIDTH + FIGURES_WIDTH + BAR_WIDTH + 8
        return QSize(letters * self.fontMetrics().averageCharWidth(), super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(0, super().minimumSizeHint().height())

    def _show_first(self, work: Work) -> None:
        whole = whole_text(work, self._now(), self.tr)
        room = TEXT_WIDTH * self.fontMetrics().averageCharWidth()
        self.text.setText(self.fontMetrics().elidedText(work.text, Qt.TextElideMode.ElideMiddle, room))
        self.figures.setText(figures_text(work, self._now(), self.tr))
        self.bar.setVisible(bool(work.total))  # a bar that only moves to and fro says nothing, and costs painting
        self.bar.setValue(percent(work))
        self.bar.setAccessibleDescription(whole)
        self.setToolTip(plain_tip(whole))
        self.cancel.setEnabled(work.cancel is not None)
        gives_up = self.tr("Cancel: {0}") if work.cancel is not None else self.tr("This cannot be cancelled: {0}")
        self.cancel.setAccessibleName(gives_up.format(work.text))
        self.cancel.setToolTip(plain_tip(gives_up.format(work.text)))

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Long work"))
        self.text.setAccessibleName(self.tr("What takes long"))
        self.figures.setAccessibleName(self.tr("How far it is"))
        self.bar.setAccessibleName(self.tr("Progress"))
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 100)
        name_button(self.others, self.tr("All that takes long"))
        name_button(self.cancel, self.tr("Cancel"))
        for button in (self.others, self.cancel):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.cancel.clicked.connect(self._give_up_first)
        self.others.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.others.setMenu(QMenu(self.others))
        self.others.menu().aboutToShow.connect(self._fill_menu)

    def _fill_menu(self) -> None:
        """One entry each: to choose it is to cancel it."""
        menu = self.others.menu()
        menu.clear()
        for work in self._works:
            text = self.tr("Cancel: {0}").format(whole_text(work, self._now(), self.tr))
            action = menu.addAction(text.replace("&", "&&"), partial(self.given_up.emit, work.task))
            action.setEnabled(work.cancel is not None)

    def _give_up_first(self) -> None:
        if self._works:
            self.given_up.emit(self._works[0].task)


def _plain_label() -> QLabel:
    """What it says may be foreign, such as the name of a file; it never widens the window."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label
