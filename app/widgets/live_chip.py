"""Where one looks: live at the newest token, or back at an earlier one while the run goes on; and the way back."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QWidget

from app.theme import Theme, icon
from app.widgets.still_label import StillLabel
from app.widgets.tips import plain_tip


@dataclass(frozen=True)
class LiveState:
    """``icon`` and ``colour`` (a field of the theme) say what ``words`` say; ``jump`` is on the button, "" without."""

    words: str
    icon: str
    colour: str
    jump: str = ""


class LiveChip(QWidget):
    """The words with an icon, and a button while one looks back."""

    jump_asked = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._state = LiveState("", "", "text")
        self._icon, self._words = QLabel(), StillLabel()
        self._words.label.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setMinimumWidth(1)  # long words are cut off before they widen the window; the tool tip has them
        self.jump = QToolButton()
        self.jump.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.jump.clicked.connect(self.jump_asked)
        self.jump.setToolTip(self.tr("Free the pinned token and follow the newest one"))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for widget in (self._icon, self._words, self.jump):
            row.addWidget(widget)
        self._dress()

    def text(self) -> str:
        return self._words.text()

    def show_state(self, state: LiveState) -> None:
        if state == self._state:
            return
        before, self._state = self._state, state
        self._words.setText(state.words)
        self.setAccessibleName(state.words)
        self._words.setToolTip(plain_tip(state.words))
        if (before.icon, before.colour, before.jump) != (state.icon, state.colour, state.jump):
            self._words.start_afresh()
            self._dress()

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self._dress()

    def _dress(self) -> None:
        state, theme = self._state, self._theme
        side = self.fontMetrics().height()
        self._icon.setVisible(bool(state.icon))
        if state.icon:
            self._icon.setPixmap(icon(state.icon, theme, getattr(theme, state.colour)).pixmap(QSize(side, side)))
            self.jump.setIcon(icon("follow-live", theme))
        self.jump.setText(state.jump)
        self.jump.setAccessibleName(state.jump)
        self.jump.setVisible(bool(state.jump))
        self._words.label.setStyleSheet(f"color: {getattr(theme, state.colour)}; font-weight: 600;")
