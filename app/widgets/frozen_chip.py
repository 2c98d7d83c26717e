"""Says to the presenter, over everything, that the audience sees a still picture, or none; a press ends it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QWidget

from app.theme import Theme


class FrozenChip(QPushButton):
    """At the top of its parent, in the middle, while it is shown."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.hide()

    def say(self, text: str, tip: str) -> None:
        """ "" hides it."""
        self.setText(text)
        self.setToolTip(tip)
        self.setAccessibleName(text)
        self.setVisible(bool(text))
        self.place()

    def place(self) -> None:
        self.adjustSize()
        self.move((self._parent.width() - self.width()) // 2, 0)
        self.raise_()

    def restyle(self, theme: Theme) -> None:
        self.setStyleSheet(
            f"FrozenChip {{ color: {theme.window}; background: {theme.hover}; border: 2px solid {theme.text};"
            " padding: 4px 12px; font-weight: 600; }"
            f"FrozenChip:focus {{ border: 4px solid {theme.accent}; }}"
        )
        self.place()
