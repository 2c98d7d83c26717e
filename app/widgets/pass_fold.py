"""Layers that are folded together: a cell each, ten in a line, so that a layer's place tells its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFontMetrics, QPainter, QPen, QRegion

from app.theme import Theme
from app.widgets.pass_rows import FOLD, Row, State
from app.widgets.pass_wires import draw_breakpoint, draw_here, lane_x

_LINE = 0.72  # of a row's height


@dataclass(frozen=True)
class Cell:
    """What a layer's cell shows. ``rare``: it is of another kind than most; ``stops``: its breakpoints are on, off
    (False), or there are none (None)."""

    how: State
    here: bool
    hovered: bool
    rare: bool
    stops: bool | None


def fold_height(row: Row, high: float) -> float:
    """How tall the row of a fold is."""
    return row.lines * high * _LINE + high * 0.3


def label_width(metrics: QFontMetrics) -> float:
    """The room for the number before a line of cells."""
    return metrics.horizontalAdvance("000")


def cell_box(row: Row, layer: int, box: QRectF, high: float, label: float) -> QRectF:
    """Where the cell of a layer is drawn in the box of its fold."""
    assert row.layer is not None
    left = lane_x(0, high) + high * 0.5 + label
    wide = max(4.0, (box.right() - high * 0.35 - left) / FOLD)
    line, column = layer // FOLD - row.layer // FOLD, layer % FOLD
    return QRectF(left + column * wide, box.top() + high * (0.15 + line * _LINE), wide, high * _LINE)


def layer_at(row: Row, place: QPointF, box: QRectF, high: float, label: float) -> int | None:
    """The folded layer under a place."""
    assert row.layer is not None
    assert row.last is not None
    for layer in range(row.layer, row.last + 1):
        if cell_box(row, layer, box, high, label).contains(place):
            return layer
    return None


def draw_fold(
    painter: QPainter, row: Row, cells: Mapping[int, Cell], box: QRectF, high: float, theme: Theme, dirty: QRegion
) -> None:
    """Cells with their numbers, where these have room; the number of the first one before each line. Only what lies in
    the region that is ``dirty``."""
    metrics = painter.fontMetrics()
    wide, widest = label_width(metrics), metrics.horizontalAdvance("0" * len(str(row.last)))
    for layer, cell in cells.items():
        place = cell_box(row, layer, box, high, wide)
        heads = layer == row.layer or layer % FOLD == 0
        if not dirty.intersects(place.adjusted(-place.left() if heads else 0, 0, 0, 0).toAlignedRect()):
            continue
        if heads:
            label = QRectF(lane_x(0, high) + high * 0.3, place.top(), wide, place.height())
            painter.setPen(QColor(theme.faint))
            painter.drawText(label, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), str(layer))
        numbered = widest <= place.width() - 2
        _draw_cell(painter, str(layer) if numbered else "", cell, place.adjusted(1, 1, -1, -1), theme)


def _draw_cell(painter: QPainter, number: str, cell: Cell, box: QRectF, theme: Theme) -> None:
    """Filled: computed. A triangle: the pass is in it. Hatched: not computed yet."""
    if cell.how is State.ABSENT:
        painter.fillRect(box, QBrush(QColor(theme.absent), Qt.BrushStyle.BDiagPattern))
    elif cell.how is State.DONE:
        painter.fillRect(box, _pale(theme.good))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(_edge(cell, theme)), 2.0 if cell.hovered else 1.0))
    painter.drawRect(box)
    if cell.here:
        draw_here(painter, box.center(), min(box.height(), box.width()) * 0.3, theme)
    else:
        painter.setPen(QColor(theme.faint if cell.how is State.ABSENT else theme.text))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), number)
    if cell.rare:
        painter.fillRect(QRectF(box.left() + 1, box.bottom() - 3, box.width() - 2, 2), QColor(theme.accent))
    if cell.stops is not None:
        draw_breakpoint(painter, box.topRight() + QPointF(-4, 4), 2.5, theme, on=cell.stops)


def _edge(cell: Cell, theme: Theme) -> str:
    if cell.hovered:
        return theme.hover
    return theme.decode if cell.here else theme.good if cell.how is State.DONE else theme.line


def _pale(colour: str) -> QColor:
    pale = QColor(colour)
    pale.setAlphaF(0.28)
    return pale
