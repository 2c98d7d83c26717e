"""Long work in the status bar: what it is, how far, how long still, and a button that gives it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QProgressBar, QSizePolicy, QToolButton, QWidget

from app.long_work import Work
from app.long_work_words import figures_text, percent, whole_text
from app.theme import Theme, icon
from app.widgets.bar_parts import name_button
from app.widgets.tips import plain_tip

TEXT_WIDTH, FIGURES_WIDTH, BAR_WIDTH = 26, 34, 12  # average letters
LEAST_TEXT, LEAST_FIGURES = 8, 4  # of them; beside the bar the text has twice as many
CUT, LEGIBLE = 22, 45  # all of it together: in few words, in enough


class LongWorkView(QWidget):
    """Shows the work that has lasted longest; a menu has all. ``given_up`` tells the task of one to cancel.

    It is as wide as it ever gets, so that the bar is not laid out again with every figure. Where it has less room, the
    progress bar gives way first, then the words, then the figures; never the button that gives it up.
    """

    given_up = Signal(str)

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._works: tuple[Work, ...] = ()
        self._task, self._figures_room = "", 0  # pixels that the figures of the shown task have needed
        self.text, self.figures = _plain_label(), _plain_label()
        self.bar, self.others, self.cancel = QProgressBar(), QToolButton(), QToolButton()
        self._prepare()
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.text, self.bar, self.figures, self.others, self.cancel):
            self._row.addWidget(widget)
        self.hide()

    def show_works(self, works: Sequence[Work]) -> None:
        """The longest first; none hides it."""
        self._works = tuple(works)
        self.setVisible(bool(works))
        if works:
            self.others.setText(self.tr("+{0}").format(len(works) - 1))
            self.others.setVisible(len(works) > 1)
            self._show_first(works[0])

    def restyle(self, theme: Theme) -> None:
        self.cancel.setIcon(icon("cancel", theme))
        height = self.fontMetrics().height()
        self.cancel.setIconSize(QSize(height, height))
        self.bar.setFixedSize(BAR_WIDTH * self._letter, self.fontMetrics().ascent())
        self._figures_room = 0
        self._share_room()
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Whatever it says now."""
        letters = TEXT_WIDTH + FIGURES_WIDTH + BAR_WIDTH + 8
        return QSize(letters * self._letter, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """For the beginning of the words, and the buttons."""
        return QSize(self.width_for(LEAST_TEXT), super().minimumSizeHint().height())

    def width_for(self, letters: int) -> int:
        """Pixels for so many, and the buttons."""
        return letters * self._letter + self._buttons_width()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._share_room()

    @property
    def _letter(self) -> int:
        return self.fontMetrics().averageCharWidth()

    def _buttons_width(self) -> int:
        """With the gaps before them."""
        buttons = [button for button in (self.others, self.cancel) if not button.isHidden()]
        return sum(button.sizeHint().width() + self._row.spacing() for button in buttons)

    def _share_room(self) -> None:
        """The figures keep the room that they once needed: what lies beside them stays still."""
        if not self._works:
            return
        work, gap, metrics = self._works[0], self._row.spacing(), self.fontMetrics()
        figures, right = figures_text(work, self._now(), self.tr), Qt.TextElideMode.ElideRight
        self._figures_room = max(self._figures_room, metrics.horizontalAdvance(figures) + 1)  # which is rounded
        room = self.width() - self._buttons_width()
        most = room - LEAST_TEXT * self._letter - gap
        given = min(self._figures_room, most) if most >= LEAST_FIGURES * self._letter else 0
        self._show_figures(metrics.elidedText(figures, right, given), given)
        left = room - (given + gap if given else 0)
        beside = left - self.bar.width() - gap
        barred = bool(work.total) and beside >= 2 * LEAST_TEXT * self._letter
        self.bar.setVisible(barred)  # one that only moves to and fro says nothing, and costs painting
        self.text.setText(metrics.elidedText(work.text, Qt.TextElideMode.ElideMiddle, beside if barred else left))

    def _show_figures(self, text: str, width: int) -> None:
        self.figures.setText(text)
        self.figures.setVisible(width > 0)
        if width != self.figures.minimumWidth():
            self.figures.setFixedWidth(width)

    def _show_first(self, work: Work) -> None:
        whole = whole_text(work, self._now(), self.tr)
        if work.task != self._task:
            self._task, self._figures_room = work.task, 0
        self._share_room()
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
        self.figures.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
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
