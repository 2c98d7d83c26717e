"""How often numbers occur: bars between edges, on a linear or a logarithmic scale of counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent

from app.theme import Theme
from app.widgets.amounts import grouped
from app.widgets.canvas import outline_pen, pen, tint
from app.widgets.lettering import CENTRE, LEFT, RIGHT, Painter, put
from app.widgets.place_picture import PlacePicture
from app.widgets.scale import figure, nice_step

_STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Home: -(10**9), Qt.Key.Key_End: 10**9}


@dataclass(frozen=True)
class Counted:
    """``edges`` float64 [bins + 1] and ``counts`` int64 [bins]; ``mean`` is marked."""

    edges: np.ndarray
    counts: np.ndarray
    mean: float
    log: bool


class Histogram(PlacePicture):
    """Shows Counted. ``describe(bin)`` gives the text of a bin."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme)
        self.shown: Counted | None = None
        self.describe = describe
        self.plot = QRectF()
        self.pinned: int | None = None
        self.hovered: int | None = None
        self.setAccessibleName(name)
        self.place_hovered.connect(self._hover)
        self.place_left.connect(lambda: self._hover(None))

    def show_counted(self, counted: Counted | None) -> None:
        self.shown, self.hovered = counted, None
        if counted is None or (self.pinned is not None and self.pinned >= len(counted.counts)):
            self.pinned = None
        self.refresh()

    def _hover(self, place: int | None) -> None:
        if place != self.hovered:
            self.hovered = place
            self.refresh_marks()

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        self.plot = QRectF()
        if self.shown is None:
            return
        metrics, high = self.metrics(), self.metrics().height()
        left = max(metrics.horizontalAdvance(text) for _, text in self._ticks()) + high * 0.7
        self.plot = QRectF(left, high * 1.4, max(4.0, self.width() - left - high), max(4.0, self.height() - high * 4.2))

    def _ticks(self) -> list[tuple[float, str]]:
        """Counts and their texts at the left."""
        assert self.shown is not None
        most = int(self.shown.counts.max(initial=1)) or 1
        if self.shown.log:
            return [(0.0, "0"), *((10.0**power, grouped(10**power)) for power in range(int(math.log10(most)) + 1))]
        step = max(1.0, nice_step(most, 4))
        return [(step * index, grouped(round(step * index))) for index in range(int(most / step) + 1)]

    def _share(self, counts: np.ndarray) -> np.ndarray:
        """Heights of bars, 0..1; on the logarithmic scale a count of 1 has a height too."""
        assert self.shown is not None
        most = float(self.shown.counts.max(initial=1)) or 1.0
        if not self.shown.log:
            return counts / most
        decades = math.log10(most) + 0.5
        return np.where(counts > 0, (np.log10(np.maximum(counts, 1)) + 0.5) / decades, 0.0)

    def _x(self, value: float) -> float:
        assert self.shown is not None
        low, high = float(self.shown.edges[0]), float(self.shown.edges[-1])
        return self.plot.left() + (value - low) / ((high - low) or 1.0) * self.plot.width()

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.shown is None:
            return
        self._draw_counts(painter)
        step, shares = self.plot.width() / len(self.shown.counts), self._share(self.shown.counts.astype(np.float64))
        for place, share in enumerate(shares.tolist()):
            if share:
                tall = max(1.0, share * self.plot.height())
                left = self.plot.left() + place * step
                painter.fillRect(
                    QRectF(left, self.plot.bottom() - tall, max(1.0, step - (step > 3)), tall), tint(self.theme.accent)
                )
        self._draw_values(painter)
        self._draw_mean(painter)

    def _draw_counts(self, painter: Painter) -> None:
        high, below = self.metrics().height(), math.inf
        for count, text in self._ticks():
            y = self.plot.bottom() - float(self._share(np.array(count))) * self.plot.height()
            painter.setPen(pen(self.theme.line))
            painter.drawLine(QPointF(self.plot.left(), y), QPointF(self.plot.right(), y))
            if below - y >= high:
                below = y
                box = QRectF(0, y - high / 2, self.plot.left() - high * 0.35, high)
                put(painter, box, text, RIGHT, self.theme.text)
        put(painter, QRectF(2, 0, self.width(), high), self._title(), LEFT, self.theme.faint)

    def _title(self) -> str:
        return self.tr("how many (log scale)") if self.shown is not None and self.shown.log else self.tr("how many")

    def _draw_values(self, painter: Painter) -> None:
        assert self.shown is not None
        metrics, high = self.metrics(), self.metrics().height()
        low, end = float(self.shown.edges[0]), float(self.shown.edges[-1])
        widest = max(metrics.horizontalAdvance(figure(value)) for value in (low, end)) + high
        step = nice_step(end - low, max(1, int(self.plot.width() / widest)))
        for index in range(math.ceil(low / step - 1e-9), math.floor(end / step + 1e-9) + 1):
            x = self._x(index * step)
            painter.setPen(pen(self.theme.faint if index == 0 else self.theme.line))
            painter.drawLine(QPointF(x, self.plot.bottom()), QPointF(x, self.plot.bottom() + high * 0.2))
            box = QRectF(x - widest / 2, self.plot.bottom() + high * 0.2, widest, high)
            put(painter, box, figure(index * step), CENTRE, self.theme.text)
        foot = QRectF(self.plot.left(), self.height() - high * 1.15, self.plot.width(), high)
        put(painter, foot, self.tr("value"), CENTRE, self.theme.faint)

    def _draw_mean(self, painter: Painter) -> None:
        assert self.shown is not None
        x, high = self._x(self.shown.mean), self.metrics().height()
        painter.setPen(pen(self.theme.hover, 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, self.plot.top()), QPointF(x, self.plot.bottom()))
        text = self.tr("mean {0}").format(figure(self.shown.mean))
        wide = self.metrics().horizontalAdvance(text) + 4
        title = self.metrics().horizontalAdvance(self._title()) + high
        if title + wide > self.width():
            return  # the line says where it is
        left = min(max(x - wide / 2, title), self.width() - wide)
        put(painter, QRectF(left, self.plot.top() - high * 1.1, wide, high), text, CENTRE, self.theme.hover)

    def draw_marks(self, painter: Painter) -> None:
        if self.shown is None:
            return
        step = self.plot.width() / len(self.shown.counts)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for place, colour in ((self.hovered, self.theme.hover), (self.pinned, self.theme.text)):
            if place is not None:
                painter.setPen(outline_pen(self.theme, colour, 2))
                painter.drawRect(QRectF(self.plot.left() + place * step, self.plot.top(), step, self.plot.height()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def place_at(self, where: QPointF) -> int | None:
        self.settle()
        if self.shown is None or not self.plot.left() <= where.x() < self.plot.right():
            return None
        count = len(self.shown.counts)
        return min(count - 1, int((where.x() - self.plot.left()) / self.plot.width() * count))

    def pick(self, place: int) -> None:
        self.pinned = place
        self.setAccessibleDescription(self.describe(place))
        self.refresh_marks()
        super().pick(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or self.shown is None:
            event.ignore()
            return
        start = -1 if self.pinned is None else self.pinned
        self.pick(min(max(start + step, 0), len(self.shown.counts) - 1))
