"""One bar per labelled place, with its figure above it where there is room."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent

from app.theme import Theme
from app.widgets.axis import Axis, Labels, column_labels
from app.widgets.canvas import outline_pen, pen
from app.widgets.lettering import CENTRE, RIGHT, Painter, put, put_rotated
from app.widgets.pixels import put_pixels
from app.widgets.place_picture import PlacePicture
from app.widgets.scale import Scale, word

ABOVE, LEAST_BARS, LEAST_WORDS = 1.5, 2.0, 2.0  # lines: over the bars for figures, of the bars, of rotated words


@dataclass(frozen=True)
class Bars:
    """``values`` float32 [places], not reduced; ``left_out`` is a place that is drawn empty."""

    values: np.ndarray
    places: Axis
    scale: Scale
    left_out: int | None = None


class BarChart(PlacePicture):
    """Shows Bars. ``describe(place)`` gives the text of a bar."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme)
        self.bars: Bars | None = None
        self.describe = describe
        self.plot = QRectF()
        self.place: int | None = None
        self.hovered: int | None = None
        self._labels = Labels()
        self.setAccessibleName(name)

    def show_bars(self, bars: Bars | None) -> None:
        self.bars = bars
        if bars is None or (self.place is not None and self.place >= len(bars.values)):
            self.place = None
        self.refresh()

    def mark(self, hovered: int | None) -> None:
        if hovered != self.hovered:
            self.hovered = hovered
            self.refresh_marks()

    def pick(self, place: int) -> None:
        if self.bars is not None and 0 <= place < len(self.bars.values):
            self.place = place
            self.setAccessibleDescription(self.describe(place))
            self.place_picked.emit(place)
            self.refresh_marks()

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        self.plot = QRectF()
        if self.bars is None or not len(self.bars.values):
            return
        metrics = self.metrics()
        high = metrics.height()
        left = max(metrics.horizontalAdvance(text) for _, text in self.bars.scale.ticks()) + high * 0.7
        width = self.width() - left - high * 0.5
        self._labels = self._label(width / len(self.bars.values), self.height() - (ABOVE + LEAST_BARS + 0.5) * high)
        below = (self._labels.extent if self._labels.rotated else high) + high * 0.5
        top = high * ABOVE
        self.plot = QRectF(left, top, max(4.0, width), max(4.0, self.height() - top - below))

    def _label(self, wide: float, room: float) -> Labels:
        """Words below bars ``wide`` pixels apart, in ``room``; indices where words would leave the bars no height."""
        assert self.bars is not None
        places, metrics = self.bars.places, self.metrics()
        most = min(room, self.height() * 0.4)
        labels = column_labels(places, wide, metrics, most)
        if not labels.rotated or most >= LEAST_WORDS * metrics.height():
            return labels
        return column_labels(replace(places, label=str, numbers=True), wide, metrics, most)

    def _centre(self, place: float) -> float:
        assert self.bars is not None
        return self.plot.left() + (place + 0.5) * self.plot.width() / len(self.bars.values)

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.bars is None or self.plot.isEmpty():
            return
        self._draw_axis(painter)
        self._draw_bars(painter)
        self._draw_figures(painter)
        high = self.metrics().height()
        for place, text in zip(self._labels.cells, self._labels.texts, strict=True):
            top, extent = self.plot.bottom() + high * 0.3, self._labels.extent
            if self._labels.rotated:
                box = QRectF(self._centre(place) - high / 2, top, high, extent)
                put_rotated(painter, box, text, RIGHT, self.theme.text)
            else:
                box = QRectF(self._centre(place) - extent / 2 - 2, top, extent + 4, high)
                put(painter, box, text, CENTRE, self.theme.text)

    def _draw_axis(self, painter: Painter) -> None:
        assert self.bars is not None
        high = self.metrics().height()
        taken: list[float] = []
        ticks = self.bars.scale.ticks()
        for fraction, text in (ticks[0], ticks[-1], *ticks[1:-1]):  # the ends first: they are never left out
            y = self.plot.bottom() - fraction * self.plot.height()
            if all(abs(y - other) >= high * 0.95 for other in taken):  # nor is there a line without its figure
                taken.append(y)
                painter.setPen(pen(self.theme.line))
                painter.drawLine(QPointF(self.plot.left(), y), QPointF(self.plot.right(), y))
                box = QRectF(0, y - high / 2, self.plot.left() - high * 0.3, high)
                put(painter, box, text, RIGHT, self.theme.text)

    def _base(self) -> float:
        """Pixels of the place where bars begin: zero, or the low end of a scale that has no zero."""
        assert self.bars is not None
        return float(np.clip(self.bars.scale.fraction(np.zeros(1, np.float32)), 0, 1)[0]) * self.plot.height()

    def _heights(self) -> np.ndarray:
        """Pixels, float32 [places]: where bars end."""
        assert self.bars is not None
        heights = np.clip(self.bars.scale.fraction(np.nan_to_num(self.bars.values)), 0, 1) * np.float32(
            self.plot.height()
        )
        if self.bars.left_out is not None:
            heights[self.bars.left_out] = self._base()
        return heights

    def _draw_bars(self, painter: Painter) -> None:
        """Bars thinner than a pixel are drawn as the largest of those that share the pixel."""
        heights, pixels = self._heights(), max(1, int(self.plot.width()))
        if len(heights) > pixels:
            edges = np.arange(pixels) * len(heights) // pixels
            high, low = np.maximum.reduceat(heights, edges), np.minimum.reduceat(heights, edges)
            heights = np.where(high - self._base() >= self._base() - low, high, low)
        step = self.plot.width() / len(heights)
        words, corner = self._as_pixels(heights, step, max(1.0, step * 0.8), painter.ratio)
        put_pixels(painter, corner, words)

    def _as_pixels(self, heights: np.ndarray, step: float, wide: float, ratio: float) -> tuple[np.ndarray, QPointF]:
        """Bars as pixels: those whose middle lies in a bar. There may be a thousand bars, and Qt is slow with many."""
        left, top = math.floor(self.plot.left() * ratio), math.floor(self.plot.top() * ratio)
        xs = (np.arange(left, math.ceil(self.plot.right() * ratio)) + 0.5) / ratio - self.plot.left()
        ys = self.plot.bottom() - (np.arange(top, math.ceil(self.plot.bottom() * ratio)) + 0.5) / ratio
        bars = np.floor(xs / step).astype(np.int64).clip(0, len(heights) - 1)
        inside = np.abs(xs - (bars + 0.5) * step) <= wide / 2
        base, ends = self._base(), np.where(inside, heights[bars], self._base())
        filled = (ys[:, None] < np.maximum(ends, base)) & (ys[:, None] > np.minimum(ends, base))
        return filled * np.uint32(word(self.theme.attention)), QPointF(left / ratio, top / ratio)

    def _draw_figures(self, painter: Painter) -> None:
        assert self.bars is not None
        step = self.plot.width() / len(self.bars.values)
        metrics = self.small_metrics()
        digits = next((digits for digits in (4, 2) if metrics.horizontalAdvance("<0." + "0" * digits) < step - 2), 0)
        if not digits:
            return
        painter.use(metrics)
        high = metrics.height()
        for place, (value, height) in enumerate(zip(self.bars.values.tolist(), self._heights().tolist(), strict=True)):
            if place == self.bars.left_out:
                continue
            box = QRectF(self._centre(place) - step / 2, self.plot.bottom() - height - high, step, high)
            if value < 0:
                box.translate(0, high)
            put(painter, box, _figure(value, digits), CENTRE, self.theme.text)
        painter.use(self.metrics())

    def draw_marks(self, painter: Painter) -> None:
        if self.bars is None or self.plot.isEmpty():
            return
        step = max(3.0, self.plot.width() / len(self.bars.values))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for place, colour in ((self.hovered, self.theme.hover), (self.place, self.theme.accent)):
            if place is not None and 0 <= place < len(self.bars.values):
                painter.setPen(outline_pen(self.theme, colour, 2))
                painter.drawRect(QRectF(self._centre(place) - step / 2, self.plot.top(), step, self.plot.height()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def place_at(self, where: QPointF) -> int | None:
        self.settle()
        if self.bars is None or not self.plot.contains(where):
            return None
        count = len(self.bars.values)
        return min(count - 1, int((where.x() - self.plot.left()) / self.plot.width() * count))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None or self.bars is None:
            event.ignore()
            return
        start = 0 if self.place is None else self.place + step
        self.pick(min(max(start, 0), len(self.bars.values) - 1))


def _figure(value: float, digits: int) -> str:
    """The figure at a bar; "<0.01" where nothing is left of a positive one."""
    if 0 < value < 10**-digits:
        return f"<{10.0**-digits:.{digits}f}"
    return f"{value:.{digits}f}".replace("-", "−")
