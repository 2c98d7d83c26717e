"""Lines over numbered places, labelled at their ends, with one pinned place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QPolygonF

from app.theme import Theme
from app.widgets.canvas import hatch, outline_pen, pen, tint
from app.widgets.lettering import CENTRE, LEFT, RIGHT, Painter, put, put_rotated
from app.widgets.place_picture import PlacePicture
from app.widgets.scale import figure, nice_step

_STEPS = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_PageUp: -10,
    Qt.Key.Key_PageDown: 10,
    Qt.Key.Key_Home: -(10**9),
    Qt.Key.Key_End: 10**9,
}


@dataclass(frozen=True)
class Line:
    """``x`` rising, ``y`` of the same length; ``colour`` names a field of the theme, or is "#rrggbb"."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines in [x_low, x_high] x [y_low, y_high]; ``y_log`` needs both above 0. Beyond ``computed`` is hatched.

    Where y_low is the larger of the two, small values are at the top.
    """

    lines: tuple[Line, ...]
    x_title: str
    y_title: str
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    y_log: bool = False
    computed: float = math.inf
    y_text: Callable[[float], str] = figure


class LineChart(PlacePicture):
    """Shows a Chart. The place under the mouse is told by ``place_hovered`` (an x, rounded), a click pins."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme)
        self.chart: Chart | None = None
        self.plot = QRectF()
        self.pinned: int | None = None
        self.hovered: int | None = None
        self.at: int | None = None  # what was picked last
        self._titled = True
        self._titles: tuple[str, ...] = ("", "")  # below and beside the plot, as far as they have room
        self.setAccessibleName(name)

    def show_chart(self, chart: Chart | None) -> None:
        self.chart = chart
        self.refresh()

    def mark(self, pinned: int | None, hovered: int | None) -> None:
        if (pinned, hovered) != (self.pinned, self.hovered):
            self.pinned, self.hovered = pinned, hovered
            self.refresh_marks()

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        self.plot = QRectF()
        if self.chart is None:
            return
        metrics = self.metrics()
        wide, high = metrics.horizontalAdvance, metrics.height()
        self._titled = self.height() > high * 8
        bottom = high * (2.6 if self._titled else 1.5)
        top = high * 0.7
        self._ticks = self._y_ticks(int((self.height() - top - bottom) / (high * 1.1)))
        left = max(wide(text) for _, text in self._ticks) + high * (1.8 if self._titled else 0.6)
        right = max((wide(line.name) for line in self.chart.lines), default=0.0) + high * 0.8
        self.plot = QRectF(left, top, max(4.0, self.width() - left - right), max(4.0, self.height() - top - bottom))
        self._titles = self.fit_titles(self.plot, self.chart.x_title, self.chart.y_title, titled=self._titled)

    def _y_ticks(self, room: int) -> list[tuple[float, str]]:
        """Values with their texts, for so many lines of text above the lowest."""
        assert self.chart is not None
        low, high, text = *sorted((self.chart.y_low, self.chart.y_high)), self.chart.y_text
        if self.chart.y_log:
            first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
            powers = [10.0**power for power in range(first, last + 1)]
            apart = -(-(len(powers) - 1) // room) if room > 0 else len(powers)  # every so many of them, rounded up
            values = powers[:: max(1, apart)] if len(powers) > 1 else [low, high]
        else:
            step = nice_step(high - low, min(4, max(1, room)))
            values = [low + step * index for index in range(int((high - low) / step + 1e-9) + 1)]
        return [(value, text(value)) for value in values]

    def x_of(self, value: float) -> float:
        assert self.chart is not None
        part = (value - self.chart.x_low) / (self.chart.x_high - self.chart.x_low)
        return self.plot.left() + part * self.plot.width()

    def _y_of(self, values: np.ndarray) -> np.ndarray:
        assert self.chart is not None
        low, high = self.chart.y_low, self.chart.y_high
        values = np.asarray(values, np.float64)
        if self.chart.y_log:
            least, low, high = min(low, high), math.log10(low), math.log10(high)
            values = np.log10(np.maximum(values, least))
        part = np.clip((values - low) / (high - low), 0, 1)
        return self.plot.bottom() - part * self.plot.height()

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.chart is None:
            return
        if self.chart.computed < self.chart.x_high:
            start = max(self.plot.left(), self.x_of(self.chart.computed))
            hatch(painter, QRectF(QPointF(start, self.plot.top()), self.plot.bottomRight()), self.theme)
        self._draw_axes(painter)
        for line in self.chart.lines:
            self._draw_line(painter, line)
        self._draw_names(painter)

    def _draw_axes(self, painter: Painter) -> None:
        assert self.chart is not None
        high, plot = self.metrics().height(), self.plot
        for value, text in self._ticks:
            y = float(self._y_of(np.array(value)))
            painter.setPen(pen(self.theme.line))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            put(painter, QRectF(0, y - high / 2, plot.left() - high * 0.35, high), text, RIGHT, self.theme.text)
        self._draw_x_ticks(painter)
        painter.setPen(pen(self.theme.faint))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        if self._titled:
            foot = QRectF(plot.left(), self.height() - high - 2, plot.width(), high)
            put(painter, foot, self._titles[0], CENTRE, self.theme.faint)
            side = QRectF(1, plot.top(), high, plot.height())
            put_rotated(painter, side, self._titles[1], CENTRE, self.theme.faint)

    def _draw_x_ticks(self, painter: Painter) -> None:
        assert self.chart is not None
        metrics, plot = self.metrics(), self.plot
        widest = metrics.horizontalAdvance(figure(self.chart.x_high)) + metrics.height()
        step = max(1.0, nice_step(self.chart.x_high - self.chart.x_low, max(1, int(plot.width() / widest))))
        value = math.ceil(self.chart.x_low / step) * step
        while value <= self.chart.x_high + 1e-9:
            top = plot.bottom() + metrics.height() * 0.2
            box = QRectF(self.x_of(value) - widest / 2, top, widest, metrics.height())
            put(painter, box, figure(value), CENTRE, self.theme.text)
            value += step

    def _draw_line(self, painter: Painter, line: Line) -> None:
        assert self.chart is not None
        parts = (line.x - self.chart.x_low) / (self.chart.x_high - self.chart.x_low)
        xs = self.plot.left() + parts * self.plot.width()
        points = [QPointF(x, y) for x, y in zip(xs.tolist(), self._y_of(line.y).tolist(), strict=True)]
        colour = self._colour(line)
        painter.setPen(pen(colour, 2, Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF(points))
        if len(points) <= 80:  # every point is a figure: show where they are
            painter.setBrush(tint(colour))
            painter.drawRects([QRectF(point.x() - 2, point.y() - 2, 4, 4) for point in points])

    def _draw_names(self, painter: Painter) -> None:
        """At the right end of each line, pushed apart where lines end together."""
        assert self.chart is not None
        high = self.metrics().height()
        ends = [(float(self._y_of(line.y[-1:])[0]), line) for line in self.chart.lines if len(line.y)]
        below = -math.inf
        names = []
        for y, line in sorted(ends, key=lambda end: end[0]):
            below = max(y, below + high)
            names.append((below, line))
        spill = max(0.0, (names[-1][0] - self.plot.bottom()) if names else 0.0)
        for y, line in names:
            box = QRectF(self.plot.right() + high * 0.5, y - spill - high / 2, self.width() - self.plot.right(), high)
            put(painter, box, line.name, LEFT, self._colour(line))

    def _colour(self, line: Line) -> str:
        return line.colour if line.colour.startswith("#") else getattr(self.theme, line.colour)

    def draw_marks(self, painter: Painter) -> None:
        if self.chart is None:
            return
        for place, colour in ((self.hovered, self.theme.hover), (self.pinned, self.theme.accent)):
            if place is not None and self.chart.x_low <= place <= self.chart.x_high:
                painter.setPen(outline_pen(self.theme, colour, 2))
                x = self.x_of(place)
                painter.drawLine(QPointF(x, self.plot.top()), QPointF(x, self.plot.bottom()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def place_at(self, where: QPointF) -> int | None:
        self.settle()
        if self.chart is None or not self.plot.contains(where):
            return None
        span = self.chart.x_high - self.chart.x_low
        return round(self.chart.x_low + (where.x() - self.plot.left()) / self.plot.width() * span)

    def describe(self, place: int) -> str:
        """ "layer 3: attention 5.1, MLP 12.3": what the lines have there, or had last before."""
        assert self.chart is not None
        found = ((line, int(np.searchsorted(line.x, place, side="right")) - 1) for line in self.chart.lines)
        parts = (f"{line.name} {self.chart.y_text(float(line.y[at]))}" for line, at in found if at >= 0)
        return ": ".join(filter(None, (f"{self.chart.x_title} {place}", ", ".join(parts))))

    def pick(self, place: int) -> None:
        self.at = place
        if self.chart is not None:
            self.setAccessibleDescription(self.describe(place))
        super().pick(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or self.chart is None:
            event.ignore()
            return
        start = self.pinned if self.pinned is not None else self.chart.x_low if self.at is None else self.at
        self.pick(round(min(max(start + step, self.chart.x_low), self.chart.x_high)))
