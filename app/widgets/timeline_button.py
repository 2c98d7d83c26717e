"""The one control of the timeline: what it shows, or that it is folded."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from app.widgets.timeline import MODES

FOLDED = "none"
TIMELINES = (*MODES, FOLDED)
_ROOM = "\u00a0\u00a0"  # after the text, for the mark of the menu


class TimelineButton(QToolButton):
    """Shows a choice out of TIMELINES; ``chosen`` tells one that the user made."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.choice: str = TIMELINES[0]
        self._unfolded = self.choice  # what a folded timeline shows when it is unfolded
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._has_room = True
        self.setMenu(self._menu())
        self.show_choice(self.choice)

    @property
    def folded(self) -> bool:
        return self.choice == FOLDED

    def show_choice(self, choice: str) -> None:
        """What is not one of TIMELINES is the first of them: it may come from a settings file."""
        self.choice = choice if choice in TIMELINES else TIMELINES[0]
        if not self.folded:
            self._unfolded = self.choice
        self._say()
        self.setAccessibleName(self.tr("The timeline shows: {0}").format(self._texts()[self.choice]))
        for action in self.menu().actions():
            action.setChecked(action.data() == self.choice)

    def show_room(self, has_room: bool) -> None:
        """Whether the strip is high enough for it."""
        if has_room != self._has_room:
            self._has_room = has_room
            self._say()

    def _say(self) -> None:
        tight = not (self._has_room or self.folded)
        self.setText((self.tr("timeline: no room") if tight else self._short()[self.choice]) + _ROOM)
        what = self.tr("What the timeline below the tokens shows")
        self.setToolTip(self.tr("Make the tokens' panel higher to see the timeline") if tight else what)

    def fold(self) -> None:
        """As the user does: fold it, or show what it showed before."""
        self.chosen.emit(self._unfolded if self.folded else FOLDED)

    def _menu(self) -> QMenu:
        menu, group = QMenu(self), QActionGroup(self)
        for choice, text in self._texts().items():
            action = menu.addAction(text)
            action.setCheckable(True)
            action.setData(choice)
            group.addAction(action)
        group.triggered.connect(lambda action: self.chosen.emit(action.data()))
        return menu

    def _texts(self) -> dict[str, str]:
        return {
            "all": self.tr("Surprise, entropy and time"),
            "surprise": self.tr("Surprise"),
            "entropy": self.tr("Entropy"),
            "time": self.tr("Time of the pass"),
            FOLDED: self.tr("Nothing: fold the timeline"),
        }

    def _short(self) -> dict[str, str]:
        return {
            "all": self.tr("timeline: all"),
            "surprise": self.tr("timeline: surprise"),
            "entropy": self.tr("timeline: entropy"),
            "time": self.tr("timeline: time"),
            FOLDED: self.tr("timeline"),
        }
