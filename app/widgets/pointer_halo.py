"""A ring around the mouse pointer, to be found from the back of a room; it is full while a button is held."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.theme import Theme

ACROSS = 3.2  # heights of a line of text


class PointerHalo(QWidget):
    """Over its parent; it takes no mouse."""

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self._theme, self._held, self._parent = theme, False, parent
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.restyle(theme)
        self.hide()

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        side = round(ACROSS * self._parent.fontMetrics().height())
        self.resize(side, side)

    def follow(self, place: QPoint, held: bool) -> None:
        """The pointer is at this pixel of the parent."""
        self.move(place - self.rect().center())
        if held != self._held:
            self._held = held
            self.update()
        self.show()
        self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        width = self.width() / 14
        ring = QRectF(self.rect()).adjusted(width, width, -width, -width)
        fill = QColor(self._theme.hover)
        fill.setAlphaF(0.45 if self._held else 0.12)
        painter.setBrush(fill)
        for colour, thick in ((self._theme.window, 2 * width), (self._theme.hover, width)):  # seen on every ground
            painter.setPen(QPen(QColor(colour), thick))
            painter.drawEllipse(ring)
            painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.end()
