"""The patterns of all heads of a layer from one image, the query heads that share a KV head framed together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent

from app.theme import Theme
from app.widgets.canvas import Canvas, hatch, outline_pen, pen
from app.widgets.heatmap import ABSENT, MASKED
from app.widgets.lettering import LEFT, RIGHT, Painter, put
from app.widgets.pixels import put_cells
from app.widgets.scale import Scale, word


@dataclass(frozen=True)
class Heads:
    """``maps`` float32 [n_heads, rows, columns]; ``state`` uint8 [rows, columns], the same for every head."""

    maps: np.ndarray
    state: np.ndarray
    scale: Scale
    n_kv_heads: int

    @property
    def per_group(self) -> int:
        """Query heads that share one KV head."""
        return max(1, len(self.maps) // max(1, self.n_kv_heads))

    @property
    def grouped(self) -> bool:
        return self.per_group > 1


@dataclass(frozen=True)
class _Tiling:
    """A group is ``down`` x ``across`` tiles of ``side`` pixels; ``groups`` of them lie side by side."""

    side: float
    across: int
    down: int
    groups: int


@lru_cache(maxsize=256)
def _tiling(n_groups: int, per_group: int, width: float, height: float, gap: float, header: float) -> _Tiling:
    """The tiling with the largest tiles; of equals the one whose groups are single rows."""

    def side(across: int, groups: int) -> float:
        down, lines = math.ceil(per_group / across), math.ceil(n_groups / groups)
        wide = (width / groups - gap * 3) / across - gap
        high = (height / lines - gap * 3 - header) / down - gap
        return max(2.0, min(wide, high))

    choices = [(across, groups) for across in range(per_group, 0, -1) for groups in range(1, n_groups + 1)]
    across, groups = max(choices, key=lambda choice: side(*choice))
    return _Tiling(side(across, groups), across, math.ceil(per_group / across), groups)


class HeadGrid(Canvas):
    """Shows Heads; a click or an arrow key picks a head."""

    head_hovered = Signal(int)
    head_left = Signal()
    head_picked = Signal(int)

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme)
        self.heads: Heads | None = None
        self.pinned: int | None = None
        self.hovered: int | None = None
        self._image = QImage()
        self._words = np.zeros((0, 0), np.uint32)
        self._tiling = _Tiling(2, 1, 1, 1)
        self.setAccessibleName(name)

    def show_heads(self, heads: Heads | None) -> None:
        self.heads = heads
        self._colour()
        self.refresh()

    def mark(self, pinned: int | None, hovered: int | None) -> None:
        if (pinned, hovered) != (self.pinned, self.hovered):
            self.pinned, self.hovered = pinned, hovered
            self.setAccessibleDescription("" if pinned is None or self.heads is None else self.head_text(pinned))
            self.refresh_marks()

    def head_text(self, head: int) -> str:
        assert self.heads is not None
        if not self.heads.grouped:
            return self.tr("head {0}").format(head)
        return self.tr("head {0}, KV head {1}").format(head, head // self.heads.per_group)

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self._colour()
        super().set_theme(theme)

    def fits(self) -> int:
        """How many cells a tile can show: a power of two, so that resizing seldom changes it."""
        self.settle()
        return 2 ** int(math.log2(min(max(self._tiling.side, 16.0), 256.0)))

    # --- layout -----------------------------------------------------------------------------------------------

    def _gap(self) -> float:
        return max(2.0, self.metrics().height() * 0.2)

    def _header(self) -> float:
        return self.metrics().height() if self.heads is not None and self.heads.grouped else 0.0

    def arrange(self) -> None:
        if self.heads is not None and len(self.heads.maps):
            n_groups = len(self.heads.maps) // self.heads.per_group
            self._tiling = _tiling(
                n_groups, self.heads.per_group, self.width(), self.height(), self._gap(), self._header()
            )

    def group_box(self, group: int) -> QRectF:
        gap, tiling = self._gap(), self._tiling
        wide = tiling.across * (tiling.side + gap) + gap
        high = tiling.down * (tiling.side + gap) + gap + self._header()
        line, place = divmod(group, tiling.groups)
        return QRectF(gap + place * (wide + gap * 2), gap + line * (high + gap * 2), wide, high)

    def tile(self, head: int) -> QRectF:
        """The pixels of a head."""
        assert self.heads is not None
        group, place = divmod(head, self.heads.per_group)
        row, column = divmod(place, self._tiling.across)
        gap, side, box = self._gap(), self._tiling.side, self.group_box(group)
        left, top = box.left() + gap, box.top() + self._header() + gap / 2
        return QRectF(left + column * (side + gap), top + row * (side + gap), side, side)

    def head_at(self, place: QPointF) -> int | None:
        if self.heads is None:
            return None
        self.settle()
        return next((head for head in range(len(self.heads.maps)) if self.tile(head).contains(place)), None)

    # --- drawing ----------------------------------------------------------------------------------------------

    def _colour(self) -> None:
        if self.heads is None:
            self._image = QImage()
            return
        words = self.heads.scale.pixels(self.heads.maps)
        words[~np.isfinite(self.heads.maps)] = word(self.theme.cut)
        words[:, self.heads.state == MASKED] = word(self.theme.panel)
        absent = self.heads.state == ABSENT
        words[:, absent] = 0
        n_heads, rows, columns = words.shape
        self._words = words.reshape(n_heads * rows, columns)
        kind = QImage.Format.Format_ARGB32_Premultiplied if absent.any() else QImage.Format.Format_RGB32
        self._image = QImage(self._words.data, columns, n_heads * rows, columns * 4, kind)

    def draw(self, painter: Painter) -> None:
        if self.heads is None:
            return
        painter.use(self.small_metrics())
        if self.heads.grouped:
            self._draw_groups(painter)
        n_heads, rows, columns = self.heads.maps.shape
        for head in range(n_heads):
            self._draw_tile(painter, self.tile(head), head, QRectF(0, head * rows, columns, rows))

    def _draw_groups(self, painter: Painter) -> None:
        assert self.heads is not None
        for group in range(len(self.heads.maps) // self.heads.per_group):
            colour = self.theme.groups[group % len(self.theme.groups)]
            box, gap = self.group_box(group), self._gap()
            painter.setPen(pen(colour, 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(box)
            title = QRectF(box.left() + gap * 1.5, box.top() + 1, box.width() - gap * 2, self._header())
            put(painter, title, self._group_text(group, title.width()), LEFT, colour)

    def _group_text(self, group: int, width: float) -> str:
        """The longest name of a group that fits."""
        assert self.heads is not None
        first, last = group * self.heads.per_group, (group + 1) * self.heads.per_group - 1
        whole = self.tr("KV {0} · heads {1}–{2}").format(group, first, last)
        return whole if self.metrics().horizontalAdvance(whole) < width else self.tr("KV {0}").format(group)

    def _draw_tile(self, painter: Painter, box: QRectF, head: int, source: QRectF) -> None:
        if self._image.hasAlphaChannel():
            hatch(painter, box, self.theme)
        put_cells(painter, box, self._image, source)
        painter.setPen(pen(self.theme.line))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(box)
        if box.width() > self.metrics().height() * 2.4:  # the blank triangle above the diagonal has room for it
            corner = box.adjusted(box.width() / 2, 1, -self._gap(), 0)
            corner.setHeight(self.metrics().height())
            put(painter, corner, str(head), RIGHT, self.theme.text)

    def draw_marks(self, painter: Painter) -> None:
        for head, colour in ((self.hovered, self.theme.hover), (self.pinned, self.theme.accent)):
            if self.heads is not None and head is not None and head < len(self.heads.maps):
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(pen(self.theme.panel, 5))
                painter.drawRect(self.tile(head))
                painter.setPen(outline_pen(self.theme, colour, 3))
                painter.drawRect(self.tile(head))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def on_move(self, place: QPointF) -> None:
        head = self.head_at(place)
        if head is None:
            self.head_left.emit()
        else:
            self.head_hovered.emit(head)

    def on_leave(self) -> None:
        self.head_left.emit()

    def on_click(self, place: QPointF) -> None:
        head = self.head_at(place)
        if head is not None:
            self.head_picked.emit(head)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        direction = _DIRECTIONS.get(Qt.Key(event.key()))
        if direction is None or self.heads is None:
            event.ignore()
            return
        self.settle()
        side = self._tiling.side + self._gap() * 4 + self._header()
        start = self.tile(self.pinned or 0).center()
        found = self._nearest(start, direction, side)
        if found is not None:
            self.head_picked.emit(found)

    def _nearest(self, start: QPointF, direction: tuple[int, int], reach: float) -> int | None:
        """The nearest head in a direction: neighbours first, whatever the tiling."""
        assert self.heads is not None
        dx, dy = direction
        best: tuple[float, int] | None = None
        for head in range(len(self.heads.maps)):
            offset = self.tile(head).center() - start
            along, aside = offset.x() * dx + offset.y() * dy, abs(offset.x() * dy) + abs(offset.y() * dx)
            if along > 1 and aside < reach / 2:
                best = min(best or (math.inf, 0), (along + aside * 2, head))
        return None if best is None else best[1]


_DIRECTIONS = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}
