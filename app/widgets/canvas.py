"""The ground of every picture: a widget that keeps the picture as a pixmap and draws marks over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFocusEvent,
    QFont,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme import Theme
from app.widgets.lettering import Metrics, Painter, metrics_of, title_in
from app.widgets.tips import plain_tip

MOST_PARTS = 16  # pictures of parts that a canvas keeps
HATCHING = 0.55  # how much of their colour the lines across what is not there yet have

_times = 1.0


@contextmanager
def finer(times: float) -> Iterator[None]:
    """Canvases that are painted meanwhile, into something that enlarges them, draw so many pixels for one of theirs."""
    global _times
    before, _times = _times, max(1.0, times)
    try:
        yield
    finally:
        _times = before


class Canvas(QWidget):
    """A picture in pixel coordinates. Subclasses fill in ``arrange``, ``draw`` and ``draw_marks``.

    The picture is kept as a pixmap, so that marks follow the mouse without drawing it again. A plain widget: a scene
    with items costs half a millisecond each time it is painted, and there are ten pictures in the window.
    """

    told = Signal(str)  # what the keys or a click have picked, while it has the focus: for the status bar

    def __init__(self, theme: Theme) -> None:
        self._pictures: dict[float, QPixmap] = {}  # by device pixels to a pixel: the screen's, and an enlargement's
        self._parts: dict[tuple[str, float], tuple[Hashable, QPointF, QPixmap]] = {}
        super().__init__()
        self.theme = theme
        self._stale = True
        self._about = self._titles_tip = ""
        self._read_font()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # what lies behind need not be painted
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    # --- for subclasses ---------------------------------------------------------------------------------------

    def arrange(self) -> None:
        """Work out where things lie: the size, the data or the font changed."""

    def draw(self, painter: Painter) -> None:
        """Draw the picture."""

    def draw_marks(self, painter: Painter) -> None:
        """Draw what changes without the data: outlines of places."""

    # --- for all ----------------------------------------------------------------------------------------------

    def setAccessibleDescription(self, description: str) -> None:  # noqa: N802
        """What is picked; where the focus is, the status bar says it too."""
        changed = description != self.accessibleDescription()
        super().setAccessibleDescription(description)
        if changed and self.hasFocus():
            self.told.emit(description)

    def fit_titles(self, plot: QRectF, across: str, down: str, *, titled: bool) -> tuple[str, ...]:
        """What can be read of the axes' titles below and beside a plot; the tip has all of them where that is less."""
        rooms = ((across, plot.width()), (down, plot.height()))
        seen = tuple(title_in(title, self.metrics(), room) if titled else "" for title, room in rooms)
        forms = ((self.tr("Across: {0}"), across), (self.tr("Down: {0}"), down))
        whole = seen == (across, down)
        self._titles_tip = "" if whole else "\n".join(form.format(title) for form, title in forms if title)
        self._show_tip()
        return seen

    def say_about(self, words: str) -> None:
        """The first line of the tip."""
        self._about = words
        self._show_tip()

    def _show_tip(self) -> None:
        tip = plain_tip("\n".join(filter(None, (self._about, self._titles_tip))))
        if tip != self.toolTip():
            self.setToolTip(tip)

    def area(self) -> QRectF:
        return QRectF(0, 0, self.width(), self.height())

    def _read_font(self) -> None:
        self._metrics, self._small = metrics_of(self.font()), metrics_of(small(self.font()))

    def metrics(self) -> Metrics:
        return self._metrics

    def small_metrics(self) -> Metrics:
        """Of the font for figures inside the picture."""
        return self._small

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self._parts.clear()
        self.refresh()

    def refresh(self) -> None:
        """Lay out and draw again, when it is next painted."""
        self._stale = True
        self._pictures.clear()
        self.update()

    def settle(self) -> None:
        """Lay out now if something changed: before painting, and before a pixel is asked for."""
        if self._stale:
            self._stale = False
            self.arrange()

    def refresh_marks(self) -> None:
        self.update()

    def part(self, painter: Painter, name: str, box: QRectF, key: Hashable, draw: Callable[[Painter], None]) -> None:
        """A part of the picture that seldom changes: drawn anew only for another ``key``, another box or theme."""
        if painter.vectors:
            draw(painter)
            return
        ratio = painter.ratio
        key = (key, box.getRect(), painter.metrics.face, ratio)
        kept = self._parts.get((name, ratio))
        if kept is None or kept[0] != key:
            corner = QPointF(math.floor(box.left() * ratio) / ratio, math.floor(box.top() * ratio) / ratio)
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            kept = self._parts[name, ratio] = (key, corner, self._draw_part(painter, box, corner, draw))
        painter.drawPixmap(kept[1], kept[2])

    def _draw_part(self, painter: Painter, box: QRectF, corner: QPointF, draw: Callable[[Painter], None]) -> QPixmap:
        wide, high = box.right() - corner.x() + 1, box.bottom() - corner.y() + 1
        made = _blank(wide, high, painter.ratio)
        pencil = Painter(made, painter.metrics)
        pencil.translate(-corner)
        draw(pencil)
        pencil.end()
        return made

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        metrics = self.metrics()
        return QSize(round(metrics.height() * 8), round(metrics.height() * 4))

    def sizeHint(self) -> QSize:  # noqa: N802
        return self.minimumSizeHint() * 2

    def _kept(self, ratio: float) -> QPixmap:
        """The picture at so many device pixels to a pixel; the one before it is kept as well."""
        if ratio not in self._pictures:
            self._pictures = {**dict(list(self._pictures.items())[-1:]), ratio: self._draw_picture(ratio)}
        return self._pictures[ratio]

    def _draw_picture(self, ratio: float) -> QPixmap:
        made = _blank(self.width(), self.height(), ratio)
        painter = Painter(made, self._metrics)
        self.draw(painter)
        painter.end()
        return made

    # --- events -----------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        self.settle()
        painter = Painter(self, self._metrics)
        painter.fillRect(self.rect(), tint(self.theme.panel))
        if painter.vectors:
            self.draw(painter)
        else:
            painter.ratio = self.devicePixelRatioF() * _times
            painter.drawPixmap(0, 0, self._kept(painter.ratio))
        self.draw_marks(painter)
        painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._read_font()
            self.refresh()

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusInEvent(event)
        self.refresh_marks()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
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


def _blank(width: float, height: float, ratio: float) -> QPixmap:
    """A transparent pixmap of logical pixels: on an opaque one Qt's letters are bolder than those that are kept."""
    made = QPixmap(max(1, math.ceil(width * ratio)), max(1, math.ceil(height * ratio)))
    made.setDevicePixelRatio(ratio)
    made.fill(Qt.GlobalColor.transparent)
    return made


@lru_cache(maxsize=256)
def pen(colour: str, width: float = 1.0, style: Qt.PenStyle = Qt.PenStyle.SolidLine) -> QPen:
    """A pen that is as wide on every screen; shared, not to be changed."""
    line = QPen(QColor(colour), width, style)
    line.setCosmetic(True)
    return line


def outline_pen(theme: Theme, colour: str, width: float = 1.0) -> QPen:
    """Of a frame around a place: what is under the mouse is dashed and what is picked is not, besides the colour."""
    return pen(colour, width, Qt.PenStyle.DashLine if colour == theme.hover else Qt.PenStyle.SolidLine)


@lru_cache(maxsize=256)
def tint(colour: str) -> QColor:
    """The colour of "#rrggbb"; shared, not to be changed."""
    return QColor(colour)


def hatch(painter: QPainter, box: QRectF, theme: Theme) -> None:
    """What is not there yet: a ground of its own with lines across, to be told from blank by more than colour."""
    painter.fillRect(box, tint(theme.absent))
    painter.fillRect(box, _hatching(theme.faint))


@lru_cache(maxsize=8)
def _hatching(colour: str) -> QBrush:
    lines = QColor(colour)
    lines.setAlphaF(HATCHING)
    return QBrush(lines, Qt.BrushStyle.BDiagPattern)


def small(font: QFont) -> QFont:
    """The same font a step smaller, for figures inside pictures."""
    smaller = QFont(font)
    if font.pointSizeF() > 0:
        smaller.setPointSizeF(font.pointSizeF() * 0.9)
    else:
        smaller.setPixelSize(round(font.pixelSize() * 0.9))
    return smaller
