"""A splitter that puts its parts side by side where it is wide, and below each other where it is tall."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter


class TurningSplitter(QSplitter):
    """Turns by its own shape, where it is more than ``tall`` times as high as wide; the shares of the parts stay."""

    def __init__(self, tall: float = 1.25) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._tall = tall
        self.setChildrenCollapsible(False)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        tall = self.height() > self.width() * self._tall
        wanted = Qt.Orientation.Vertical if tall else Qt.Orientation.Horizontal
        if wanted != self.orientation():
            shares = self.sizes()
            self.setOrientation(wanted)
            self.setSizes([max(1, share) * 10 for share in shares])
        super().resizeEvent(event)
