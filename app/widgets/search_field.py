"""A field for a few letters, above the list in which they are found."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit

_WAYS = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
_MOST = 100  # letters


class SearchField(QLineEdit):
    """``moved``: Up, Down, Page Up and Page Down, which are for the list; all other keys stay."""

    moved = Signal(QKeyEvent)

    def __init__(self) -> None:
        super().__init__()
        self.setMaxLength(_MOST)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in _WAYS:
            self.moved.emit(event)
        else:
            super().keyPressEvent(event)
