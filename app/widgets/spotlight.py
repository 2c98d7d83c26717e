"""All but one part of a window dimmed."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRect, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QRegion
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from app.theme import Theme

DIMMED = 0.78  # how much of what lies below is taken away


class Spotlight(QWidget):
    """Lies over its parent, with a hole where the lit widget is; it takes no mouse, and follows both in size."""

    def __init__(self, parent: QWidget, theme: Theme) -> None:
        super().__init__(parent)
        self._theme, self._parent = theme, parent
        self.lit: QWidget | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.hide()

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self.update()

    def light(self, widget: QWidget | None) -> None:
        """Dim all but this descendant of the parent; None: dim nothing."""
        if widget is not self.lit:
            self._watch(self.lit, widget)
            self.lit = widget
        self.setVisible(widget is not None)
        if widget is not None:
            self.place()
            self.raise_()

    def place(self) -> None:
        """Over the whole parent but for the lit widget, and a frame around it."""
        self.setGeometry(self._parent.rect())
        self.setMask(QRegion(self.rect()).subtracted(QRegion(self._hole())))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        moved = event.type() in (QEvent.Type.Resize, QEvent.Type.Move, QEvent.Type.Show, QEvent.Type.Hide)
        if moved and isValid(self._parent):  # while a window is taken apart, its parts go one by one
            self.place()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        shade = QColor(self._theme.window)
        shade.setAlphaF(DIMMED)
        painter.fillRect(self.rect(), shade)
        hole = self._hole()
        if not hole.isNull():
            painter.setPen(QPen(QColor(self._theme.hover), 6))  # its outer half is seen
            painter.drawRect(hole)
        painter.end()

    def _hole(self) -> QRect:
        """Where the lit widget is; nothing while none is seen."""
        if self.lit is None or not self.lit.isVisible():
            return QRect()
        return self.lit.rect().translated(self.lit.mapTo(self._parent, self.lit.rect().topLeft()))

    def _watch(self, before: QWidget | None, now: QWidget | None) -> None:
        if before is not None:
            before.removeEventFilter(self)
        self._parent.removeEventFilter(self)
        if now is not None:
            now.installEventFilter(self)
            self._parent.installEventFilter(self)
