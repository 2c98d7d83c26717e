"""Where the panels stand in the audience's window: each as large as can be, in its own shape."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSizeF

FLAT = 4.0  # times as wide as high: it has a row of its own, at the top
FLAT_SHARE = 0.3  # of the height, for all of those together
GAP = 12.0


def places(area: QRectF, shapes: list[QSizeF]) -> list[QRectF]:
    """A box for each, in the same order, within the area; what is in it keeps its shape.

    Flat ones lie one below the other at the top; for the others, the number of columns is taken that lets the smallest
    of them be enlarged most.
    """
    flat = [index for index, shape in enumerate(shapes) if shape.width() >= FLAT * shape.height()]
    rest = [index for index in range(len(shapes)) if index not in flat]
    found: dict[int, QRectF] = {}
    top = area.top()
    for index in flat:
        share = FLAT_SHARE * area.height() / len(flat) if rest else area.height() / len(flat)
        high = min(share, area.width() * shapes[index].height() / shapes[index].width())
        found[index] = QRectF(area.left(), top, area.width(), high)
        top += high + GAP
    left = QRectF(area.left(), top, area.width(), max(1.0, area.bottom() - top))
    found.update(zip(rest, _grid(left, [shapes[index] for index in rest]), strict=True))
    return [found[index] for index in range(len(shapes))]


def _grid(area: QRectF, shapes: list[QSizeF]) -> list[QRectF]:
    arrangements = [_columns(area, len(shapes), columns) for columns in range(1, len(shapes) + 1)]
    return max(arrangements, key=lambda boxes: min(map(_scale, boxes, shapes)), default=[])


def _columns(area: QRectF, count: int, columns: int) -> list[QRectF]:
    rows = -(-count // columns)
    wide, high = (area.width() + GAP) / columns, (area.height() + GAP) / rows
    return [
        QRectF(area.left() + index % columns * wide, area.top() + index // columns * high, wide - GAP, high - GAP)
        for index in range(count)
    ]


def _scale(box: QRectF, shape: QSizeF) -> float:
    return min(box.width() / max(1.0, shape.width()), box.height() / max(1.0, shape.height()))
