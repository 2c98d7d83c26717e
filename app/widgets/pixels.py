"""Pictures made as arrays: painted as an image, and into an SVG so that they stay sharp when it is enlarged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainterPath

from app.widgets.lettering import Painter

CELL_EDGES = 2  # pixels of the image to one of the picture, so that readers that smooth images leave cells their edges


def put_cells(painter: Painter, box: QRectF, image: QImage, source: QRectF | None = None) -> None:
    """An image with a pixel a cell, or a part of it, into a box; into an SVG as one image."""
    if not painter.vectors:
        painter.drawImage(box, image, QRectF(image.rect()) if source is None else source)
        return
    cells = image if source is None else image.copy(source.toRect())  # an SVG knows of no part of an image
    wide, high = cells.width(), cells.height()
    across, down = math.ceil(CELL_EDGES * box.width() / wide), math.ceil(CELL_EDGES * box.height() / high)
    painter.drawImage(box, cells.scaled(QSize(wide * max(1, across), high * max(1, down))))


def put_pixels(painter: Painter, corner: QPointF, words: np.ndarray) -> None:
    """``words``: uint32 0xffRRGGBB [height, width], 0 where nothing is, ``painter.ratio`` of them to a pixel; of few
    colours. Into an SVG as shapes."""
    if not words.size:
        return
    if painter.vectors:
        _put_shapes(painter, corner, words)
        return
    high, wide = words.shape
    image = QImage(words.tobytes(), wide, high, wide * 4, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(painter.ratio)
    painter.drawImage(corner, image)


def _put_shapes(painter: Painter, corner: QPointF, words: np.ndarray) -> None:
    """One path a colour, so that no gap is seen between shapes that touch."""
    paths: dict[int, QPainterPath] = {}
    x, y, ratio = corner.x(), corner.y(), painter.ratio
    for colour, left, top, wide, high in boxes(words):
        path = paths.setdefault(colour, QPainterPath())
        path.addRect(x + left / ratio, y + top / ratio, wide / ratio, high / ratio)
    for colour, path in paths.items():
        path.setFillRule(Qt.FillRule.WindingFill)
        painter.fillPath(path, QColor(colour & 0xFFFFFF))


def boxes(words: np.ndarray) -> Iterator[tuple[int, int, int, int, int]]:
    """Colour, left, top, width and height of rectangles that make up the picture, without those of nothing."""
    columns = np.ascontiguousarray(words.T)
    for left, right in pairwise(_stretches(np.any(columns[1:] != columns[:-1], axis=1))):
        column = columns[left]
        for top, bottom in pairwise(_stretches(column[1:] != column[:-1])):
            if column[top]:
                yield int(column[top]), left, top, right - left, bottom - top


def _stretches(differs: np.ndarray) -> list[int]:
    """Where stretches of equal places begin, and the end. ``differs``: bool, a place from the one before it."""
    return [0, *(np.flatnonzero(differs) + 1).tolist(), len(differs) + 1]
