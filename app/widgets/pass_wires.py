"""The flow through a layer as lines: each row of a map of stages draws its own piece of them."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF

from app.theme import Theme
from app.widgets.pass_flow import Flow, Line, Part
from app.widgets.pass_rows import State

_STREAM_WIDTH, _BRANCH_WIDTH = 3.0, 1.6  # pixels


def lane_x(lane: float, high: float) -> float:
    """Where a lane lies, for rows of this height."""
    return high * (0.85 + 0.95 * lane)


def room(lanes: int, high: float) -> float:
    """How wide so many lanes are."""
    return lane_x(lanes - 1, high) + high * 0.75


def part_colour(part: Part, theme: Theme) -> str:
    return {"stream": theme.faint, "attention": theme.attention, "mlp": theme.mlp}[part]


def draw_wires(painter: QPainter, flow: Flow, place: int, box: QRectF, theme: Theme, *, there: bool) -> None:
    """The piece of a flow that lies in the row of stage ``place`` (-1: the layer's own): whole lines where it is
    computed, else dashes."""
    painter.save()
    painter.setClipRect(box)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.translate(0.0, box.top() - place * box.height())
    for wire in flow.wires:
        painter.setPen(_line(part_colour(wire.part, theme), wire.part, there))
        painter.drawPath(_path(wire.corners, box.height()))
    painter.restore()


def draw_stream(painter: QPainter, box: QRectF, x: float, theme: Theme, *, there: bool) -> None:
    """The residual stream past a row, from its upper to its lower edge."""
    painter.setPen(_line(theme.faint, "stream", there))
    painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))


@lru_cache(maxsize=32)
def _line(colour: str, part: Part, there: bool) -> QPen:
    pen = QPen(QColor(colour), _STREAM_WIDTH if part == "stream" else _BRANCH_WIDTH)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if not there:
        pen.setDashPattern([1.2, 2.0] if part == "stream" else [2.0, 2.5])
    return pen


@lru_cache(maxsize=512)
def _path(corners: Line, high: float) -> QPainterPath:
    """Down the lanes, and in a curve from one to another; heights are of the middles of rows."""
    points = [QPointF(lane_x(lane, high), (height + 0.5) * high) for lane, height in corners]
    path = QPainterPath(points[0])
    for before, after in pairwise(points):
        half = (before.y() + after.y()) / 2
        if before.x() == after.x():
            path.lineTo(after)
        else:
            path.cubicTo(QPointF(before.x(), half), QPointF(after.x(), half), after)
    return path


# -- marks -------------------------------------------------------------------------------------------------------


def draw_mark(painter: QPainter, middle: QPointF, size: float, how: State, theme: Theme, *, here: bool) -> None:
    """A tick: computed. A triangle: the pass stands here. A circle: not computed yet, or (with a dot) partly."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(theme.panel))
    painter.drawEllipse(middle, size * 1.5, size * 1.5)  # the stream goes on below it
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if here:
        draw_here(painter, middle, size, theme)
    elif how is State.DONE:
        painter.setPen(QPen(QColor(theme.good), 2))
        painter.drawPolyline(polygon(middle, size, ((-1, 0.1), (-0.3, 0.9), (1.1, -0.9))))
    else:
        partly = how is State.PARTIAL
        painter.setPen(QPen(QColor(theme.decode if partly else theme.faint), 1.3))
        painter.drawEllipse(middle, size * 0.8, size * 0.8)
        if partly:
            painter.setBrush(QColor(theme.decode))
            painter.drawEllipse(middle, size * 0.25, size * 0.25)


def draw_here(painter: QPainter, middle: QPointF, size: float, theme: Theme) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(theme.decode))
    painter.drawPolygon(polygon(middle, size, ((-0.8, -1.1), (1.1, 0), (-0.8, 1.1))))


def draw_node(painter: QPainter, middle: QPointF, size: float, colour: str, theme: Theme, *, there: bool) -> None:
    """A dot: filled where it is computed."""
    painter.setPen(QPen(QColor(colour if there else theme.faint), 1.5))
    painter.setBrush(QColor(colour if there else theme.panel))
    painter.drawEllipse(middle, size, size)


def draw_sum(painter: QPainter, middle: QPointF, size: float, theme: Theme, *, there: bool) -> None:
    """Where something is added to the stream."""
    colour = QColor(theme.good if there else theme.faint)
    painter.setPen(QPen(colour, 1.8))
    painter.setBrush(QColor(theme.panel))
    painter.drawEllipse(middle, size, size)
    painter.drawLine(middle - QPointF(size * 0.6, 0), middle + QPointF(size * 0.6, 0))
    painter.drawLine(middle - QPointF(0, size * 0.6), middle + QPointF(0, size * 0.6))


def draw_breakpoint(painter: QPainter, middle: QPointF, size: float, theme: Theme, *, on: bool) -> None:
    """A disc; a ring where it is off."""
    painter.setPen(QPen(QColor(theme.cut), 1.6))
    painter.setBrush(QColor(theme.cut) if on else Qt.BrushStyle.NoBrush)
    painter.drawEllipse(middle, size, size)


def polygon(middle: QPointF, size: float, points: tuple[tuple[float, float], ...]) -> QPolygonF:
    return QPolygonF([QPointF(middle.x() + x * size, middle.y() + y * size) for x, y in points])
