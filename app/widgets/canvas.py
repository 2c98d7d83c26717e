"""The ground of every picture: a pyqtgraph view with one item for the picture and one for the marks over it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPen, QWheelEvent
from PySide6.QtWidgets import QGraphicsItem, QGraphicsView, QSizePolicy, QStyleOptionGraphicsItem, QWidget

from app.theme import Theme


class _Layer(pg.GraphicsObject):
    """A sheet over the whole view that is drawn by a function."""

    def __init__(self, draw: Callable[[QPainter], None], area: Callable[[], QRectF]) -> None:
        super().__init__()
        self._draw = draw
        self._area = area

    def boundingRect(self) -> QRectF:  # noqa: N802
        return self._area()

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        self._draw(painter)


class Metrics(QFontMetricsF):
    """Font metrics that remember widths: the same labels are measured again for every token."""

    def __init__(self, font: QFont) -> None:
        super().__init__(font)
        self._widths: dict[str, float] = {}

    def horizontalAdvance(self, text: str) -> float:  # type: ignore[override]  # noqa: N802
        width = self._widths.get(text)
        if width is None:
            if len(self._widths) > 20_000:
                self._widths.clear()
            width = self._widths[text] = super().horizontalAdvance(text)
        return width


class Canvas(pg.GraphicsView):
    """A picture in pixel coordinates. Subclasses fill in ``arrange``, ``draw`` and ``draw_marks``.

    The picture is kept as a pixmap, so that marks follow the mouse without drawing it again.
    """

    def __init__(self, theme: Theme) -> None:
        super().__init__(background=None)
        self.theme = theme
        self._stale = True
        self._metrics: Metrics | None = None
        self._base = _Layer(self.draw, self.area)
        self._base.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self._marks = _Layer(self.draw_marks, self.area)
        self.scene().addItem(self._base)
        self.scene().addItem(self._marks)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setBackground(theme.panel)

    # --- for subclasses ---------------------------------------------------------------------------------------

    def arrange(self) -> None:
        """Work out where things lie: the size, the data or the font changed."""

    def draw(self, painter: QPainter) -> None:
        """Draw the picture."""

    def draw_marks(self, painter: QPainter) -> None:
        """Draw what changes without the data: outlines, the focus ring."""

    # --- for all ----------------------------------------------------------------------------------------------

    def area(self) -> QRectF:
        return QRectF(0, 0, self.width(), self.height())

    def metrics(self) -> Metrics:
        if self._metrics is None:
            self._metrics = Metrics(self.font())
        return self._metrics

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.setBackground(theme.panel)
        self.refresh()

    def refresh(self) -> None:
        """Lay out and draw again, when it is next painted."""
        self._stale = True
        self._base.update()
        self._marks.update()

    def settle(self) -> None:
        """Lay out now if something changed: before painting, and before a pixel is asked for."""
        if self._stale:
            self._stale = False
            self.arrange()

    def refresh_marks(self) -> None:
        self._marks.update()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        metrics = self.metrics()
        return QSize(round(metrics.height() * 8), round(metrics.height() * 4))

    def sizeHint(self) -> QSize:  # noqa: N802
        return self.minimumSizeHint() * 2

    def draw_focus(self, painter: QPainter) -> None:
        """The focus ring, at the rim of the canvas."""
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(pen(self.theme.accent))
            painter.drawRect(self.area().adjusted(0.5, 0.5, -1.5, -1.5))

    def close(self) -> bool:
        """As every other widget: pyqtgraph's own way takes the viewport off, and Qt may crash on that."""
        return QGraphicsView.close(self)

    # --- events -----------------------------------------------------------------------------------------------

    def paintEvent(self, event: QEvent) -> None:  # noqa: N802
        self.settle()
        super().paintEvent(event)

    def resizeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if hasattr(self, "_marks"):  # pyqtgraph resizes while it is being built
            for layer in (self._base, self._marks):
                layer.prepareGeometryChange()
            self.refresh()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_marks"):
            self._metrics = None
            self.refresh()

    def focusInEvent(self, event: QEvent) -> None:  # noqa: N802
        super().focusInEvent(event)
        self.refresh_marks()

    def focusOutEvent(self, event: QEvent) -> None:  # noqa: N802
        super().focusOutEvent(event)
        self.refresh_marks()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        event.ignore()  # the area around it scrolls

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self.on_move(event.position())

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() == Qt.MouseButton.LeftButton:
            self.setFocus(Qt.FocusReason.MouseFocusReason)
            self.on_click(event.position())
        else:
            event.ignore()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        event.ignore()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        self.on_leave()

    def on_move(self, place: QPointF) -> None:
        """The mouse moved to this pixel."""

    def on_click(self, place: QPointF) -> None:
        """The left button went down at this pixel."""

    def on_leave(self) -> None:
        """The mouse left the canvas."""


def pen(colour: str, width: float = 1.0, style: Qt.PenStyle = Qt.PenStyle.SolidLine) -> QPen:
    line = QPen(QColor(colour), width, style)
    line.setCosmetic(True)
    return line


def hatch(painter: QPainter, box: QRectF, theme: Theme) -> None:
    """What is not there yet: a ground of its own with lines across, to be told from blank by more than colour."""
    painter.fillRect(box, QColor(theme.absent))
    lines = QColor(theme.faint)
    lines.setAlphaF(0.55)
    painter.fillRect(box, QBrush(lines, Qt.BrushStyle.BDiagPattern))


def small(font: QFont) -> QFont:
    """The same font a step smaller, for figures inside pictures."""
    smaller = QFont(font)
    if font.pointSizeF() > 0:
        smaller.setPointSizeF(font.pointSizeF() * 0.9)
    else:
        smaller.setPixelSize(round(font.pixelSize() * 0.9))
    return smaller


def put(painter: QPainter, box: QRectF, text: str, where: Qt.AlignmentFlag, colour: str | None = None) -> None:
    """Text inside a box, cut with … if it does not fit."""
    if colour is not None:
        painter.setPen(QColor(colour))
    painter.drawText(box, _single_line(where), _elided(text, int(box.width()) + 1, painter.font().toString()))


@lru_cache
def _single_line(where: Qt.AlignmentFlag) -> int:
    """The flags of one line as a number; joining enums costs as much as drawing."""
    return where.value | Qt.TextFlag.TextSingleLine.value


@lru_cache(maxsize=8192)
def _elided(text: str, width: int, font: str) -> str:
    made = QFont()
    made.fromString(font)
    return QFontMetricsF(made).elidedText(text, Qt.TextElideMode.ElideRight, width)


def put_rotated(painter: QPainter, box: QRectF, text: str, where: Qt.AlignmentFlag, colour: str | None = None) -> None:
    """Text that reads from bottom to top inside a box; AlignRight puts its end at the top."""
    painter.save()
    painter.translate(box.left(), box.bottom())
    painter.rotate(-90)
    put(painter, QRectF(0, 0, box.height(), box.width()), text, where, colour)
    painter.restore()
