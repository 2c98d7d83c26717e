"""A widget painted once more, larger or smaller, in another window: nothing is computed again for it, and its letters
and lines are drawn for the new size."""

from __future__ import annotations

import weakref

from PySide6.QtCore import QEvent, QObject, QPoint, QRectF, QSize, QSizeF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from app.widgets.canvas import finer

MOST_A_SECOND = 15


class PanelMirror(QWidget):
    """Follows ``source`` whenever that is painted anew, at most ``MOST_A_SECOND`` times a second, and keeps its shape.

    A source that is not on screen paints nothing by itself: ``note`` tells of changes then. ``paints`` counts.
    """

    def __init__(self, source: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.source = source
        self.paints = 0
        self._painting = False
        self._watched: weakref.WeakSet[QObject] = weakref.WeakSet()
        self._pace = QTimer(self, interval=round(1000 / MOST_A_SECOND), singleShot=True)
        self._pace.timeout.connect(self.update)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._watch(source)

    @property
    def scale(self) -> float:
        """Pixels here for a pixel of the source."""
        return min(self.width() / max(1, self.source.width()), self.height() / max(1, self.source.height()))

    def note(self) -> None:
        """The source looks different now."""
        if not self._pace.isActive() and self.isVisible():
            self._pace.start()

    def close(self) -> bool:
        """Let the source alone."""
        self._pace.stop()
        for widget in filter(isValid, list(self._watched)):  # a menu of the panel is gone once it is closed
            widget.removeEventFilter(self)
        self._watched.clear()
        return super().close()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        kind = event.type()
        if kind == QEvent.Type.Paint:
            if not self._painting:
                self.note()
        elif kind == QEvent.Type.ChildPolished:
            self._watch(self.source)
        return False

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        self.paints += 1
        scale, ratio = self.scale, self.devicePixelRatioF()
        painter.translate(centred(QSizeF(self.source.size()) * scale, self.size()).topLeft())
        painter.scale(scale, scale)
        self._painting = True  # rendering tells the source to paint, which is no news
        with finer(scale * ratio / self.source.devicePixelRatioF()):
            self.source.render(painter, QPoint())
        self._painting = False
        painter.end()

    def _watch(self, source: QWidget) -> None:
        for widget in (source, *source.findChildren(QWidget)):
            if widget not in self._watched:
                self._watched.add(widget)
                widget.installEventFilter(self)


def centred(shape: QSizeF, room: QSize) -> QRectF:
    """At the top of a room, in the middle of its width."""
    return QRectF((room.width() - shape.width()) / 2, 0, shape.width(), shape.height())
