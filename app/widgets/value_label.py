"""One line that is cut where there is no room: in its middle where it ends with a figure."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy


class ValueLabel(QLabel):
    """Takes the room that it is given, whatever its text needs; ``text()`` is the whole line."""

    def __init__(self, cut: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle) -> None:
        super().__init__()
        self._cut = cut
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def needed(self) -> int:
        """Pixels in which nothing is cut; 0 without a text."""
        margins = self.contentsMargins()
        sides = margins.left() + margins.right() + 1
        return self.fontMetrics().horizontalAdvance(self.text()) + sides if self.text() else 0

    def shown(self) -> str:
        """The text as it is cut now."""
        return self.fontMetrics().elidedText(self.text(), self._cut, self.contentsRect().width())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setPen(self.palette().windowText().color())
        painter.drawText(self.contentsRect(), int(self.alignment()), self.shown())
        painter.end()
