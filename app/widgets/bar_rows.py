"""Rows of bars over the same places, one row below the other: the figures of a formula in its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent

from app.theme import Theme
from app.widgets.axis import Axis, Labels, column_labels
from app.widgets.canvas import hatch, outline_pen, pen, tint
from app.widgets.lettering import CENTRE, LEFT, RIGHT, Painter, put, put_rotated, title_in
from app.widgets.place_picture import PlacePicture
from app.widgets.scale import figure
from app.widgets.sets import set_colours

_LEAST_LINES = 2.4  # height of a row in lines of text, its title included
TAKEN, BELOW, BARRED, NONE = 0, 1, 2, 3  # states of a bar: chosen, below the cut, not allowed, no figure here
BY_BOTH, BY_A, BY_B = 4, 5, 6  # of a difference: chosen in both branches, in one of them


@dataclass(frozen=True)
class BarRow:
    """``values`` float [places]; ``state`` uint8 [places]. The row spans ``low`` to ``high``; 0 is its base line.

    ``even``: a dashed line at this height, with ``even_name``.
    """

    title: str
    values: np.ndarray
    state: np.ndarray
    low: float
    high: float
    even: float | None = None
    even_name: str = ""

    @property
    def span(self) -> float:
        return self.high - self.low or 1.0


def bar_row(
    title: str,
    values: np.ndarray,
    state: np.ndarray,
    *,
    most: float | None = None,
    even: float | None = None,
    even_name: str = "",
) -> BarRow:
    """A row from 0 (or the least value) to ``most`` (or the largest); what is not finite is left out of the span."""
    finite = values[np.isfinite(values) & (state != NONE)]
    low, high = min(0.0, float(finite.min(initial=0.0))), max(0.0, float(finite.max(initial=0.0)))
    high = high if most is None else max(high, most)
    return BarRow(title, values, state, low, high if high > low else low + 1.0, even, even_name)


def signed_row(title: str, values: np.ndarray, state: np.ndarray) -> BarRow:
    """A row of differences, as far below 0 as above it."""
    shown = np.abs(values[np.isfinite(values) & (state != NONE) & (state != BARRED)])
    most = float(shown.max(initial=0.0)) or 1.0
    return BarRow(title, values, state, -most, most)


@dataclass(frozen=True)
class Rows:
    """Rows over the same places."""

    rows: tuple[BarRow, ...]
    places: Axis


def bar_colours(theme: Theme) -> dict[int, str]:
    """By state."""
    _, _, only_a, only_b = set_colours(theme)
    return {TAKEN: theme.accent, BELOW: theme.faint, BY_BOTH: theme.text, BY_A: only_a, BY_B: only_b}


class BarRows(PlacePicture):
    """Shows Rows. ``describe(place)`` gives the text of a place: every row's figure there.

    Where there is no room for all rows the last ones are shown, since they are what the others lead to; the title of
    the first that is shown says how many are left out.
    """

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme)
        self.shown: Rows | None = None
        self.describe = describe
        self.plots: list[QRectF] = []
        self.pinned: int | None = None
        self.hovered: int | None = None
        self._labels = Labels()
        self._left_out = 0
        self.setAccessibleName(name)

    def show_rows(self, rows: Rows | None) -> None:
        self.shown = rows if rows is not None and rows.places.count and rows.rows else None
        self.refresh()

    def mark(self, pinned: int | None, hovered: int | None) -> None:
        if (pinned, hovered) != (self.pinned, self.hovered):
            self.pinned, self.hovered = pinned, hovered
            self.refresh_marks()

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        self.plots = []
        if self.shown is None:
            return
        metrics, high = self.metrics(), self.metrics().height()
        ends = [figure(end) for row in self.shown.rows for end in (row.low, row.high)]
        left = max(map(metrics.horizontalAdvance, ends)) + high * 0.7
        width = max(4.0, self.width() - left - high * 0.5)
        self._labels = column_labels(self.shown.places, width / self.shown.places.count, metrics, self.height() * 0.25)
        below = (self._labels.extent if self._labels.rotated else high) + high * 1.7
        fitting = int((self.height() - below) / (high * _LEAST_LINES))
        count = min(len(self.shown.rows), max(1, fitting))
        self._left_out = len(self.shown.rows) - count
        room, head = max(4.0, (self.height() - below) / count), high * 1.25
        self.plots = [
            QRectF(left, index * room + head, width, max(2.0, room - head - high * 0.35)) for index in range(count)
        ]

    def _step(self) -> float:
        assert self.shown is not None
        return self.plots[0].width() / self.shown.places.count

    def _column(self, place: int) -> QRectF:
        """All rows of a place."""
        step, first, last = self._step(), self.plots[0], self.plots[-1]
        return QRectF(first.left() + place * step, first.top(), step, last.bottom() - first.top())

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.shown is None:
            return
        for row, plot in zip(self.shown.rows[self._left_out :], self.plots, strict=True):
            self._draw_row(painter, row, plot)
        self._draw_labels(painter)

    def _draw_row(self, painter: Painter, row: BarRow, plot: QRectF) -> None:
        high = painter.metrics.height()
        title = QRectF(plot.left(), plot.top() - high * 1.2, plot.width(), high)
        hidden = self._left_out if plot is self.plots[0] else 0
        before = " " + self.tr("({0} above need more room)").format(hidden) if hidden else ""
        fits = painter.metrics.horizontalAdvance(row.title + before) <= title.width()
        put(painter, title, row.title + before * fits, LEFT, self.theme.text)
        zero = plot.bottom() - (0 - row.low) / row.span * plot.height()
        painter.setPen(pen(self.theme.line))
        for end, y in ((row.high, plot.top()), (row.low, plot.bottom())):
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            if plot.height() > high * 1.8 or end == row.high:
                put(
                    painter,
                    QRectF(0, y - high / 2, plot.left() - high * 0.3, high),
                    figure(end),
                    RIGHT,
                    self.theme.faint,
                )
        self._draw_bars(painter, row, plot, zero)
        painter.setPen(pen(self.theme.faint))
        painter.drawLine(QPointF(plot.left(), zero), QPointF(plot.right(), zero))
        self._draw_even(painter, row, plot)

    def _draw_bars(self, painter: Painter, row: BarRow, plot: QRectF, zero: float) -> None:
        step = self._step()
        gap = min(step * 0.12, 3.0)
        colours = {state: tint(colour) for state, colour in bar_colours(self.theme).items()}
        for place, (value, state) in enumerate(zip(row.values.tolist(), row.state.tolist(), strict=True)):
            left, wide = plot.left() + place * step + gap, max(1.0, step - 2 * gap)
            if state == BARRED:
                hatch(painter, QRectF(left, plot.top(), wide, plot.height()), self.theme)
            elif state != NONE and np.isfinite(value):
                y = plot.bottom() - (value - row.low) / row.span * plot.height()
                painter.fillRect(QRectF(left, min(y, zero), wide, abs(y - zero)), colours[state])
                self._draw_figure(painter, QRectF(left - gap, y, step, zero - y), value, plot)
            elif state != NONE:  # NaN or infinite: no height could be right
                painter.fillRect(QRectF(left, plot.top(), wide, plot.height()), tint(self.theme.cut))

    def _draw_figure(self, painter: Painter, bar: QRectF, value: float, plot: QRectF) -> None:
        """The figure at the end of its bar, inside where there is no room outside."""
        metrics = self.small_metrics()
        text = figure(value)
        if metrics.horizontalAdvance(text) > bar.width() - 2 or plot.height() < metrics.height() * 1.6:
            return
        painter.use(metrics)
        high = metrics.height()
        top = bar.top() - high if value >= 0 else bar.top()
        top = min(max(top, plot.top() - high * 0.1), plot.bottom() - high)
        box = QRectF(bar.left(), top, bar.width(), high)
        ground = QRectF(
            box.center().x() - metrics.horizontalAdvance(text) / 2 - 1, top, metrics.horizontalAdvance(text) + 2, high
        )
        painter.fillRect(ground, tint(self.theme.panel))
        put(painter, box, text, CENTRE, self.theme.text)
        painter.use(self.metrics())

    def _draw_even(self, painter: Painter, row: BarRow, plot: QRectF) -> None:
        if row.even is None or not row.low <= row.even <= row.high:
            return
        y = plot.bottom() - (row.even - row.low) / row.span * plot.height()
        painter.setPen(pen(self.theme.hover, 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
        high = painter.metrics.height()
        box = QRectF(plot.left(), plot.top() - high * 1.2, plot.width(), high)
        put(painter, box, row.even_name, RIGHT, self.theme.hover)

    def _draw_labels(self, painter: Painter) -> None:
        assert self.shown is not None
        high, top = painter.metrics.height(), self.plots[-1].bottom() + painter.metrics.height() * 0.3
        for place, text in zip(self._labels.cells, self._labels.texts, strict=True):
            middle, extent = self._column(place).center().x(), self._labels.extent
            if self._labels.rotated:
                put_rotated(painter, QRectF(middle - high / 2, top, high, extent), text, RIGHT, self.theme.text)
            else:
                put(painter, QRectF(middle - extent / 2 - 2, top, extent + 4, high), text, CENTRE, self.theme.text)
        title = QRectF(self.plots[0].left(), self.height() - high * 1.15, self.plots[0].width(), high)
        text = title_in(self.shown.places.title, painter.metrics, title.width())
        put(painter, title, text, CENTRE, self.theme.faint)

    def draw_marks(self, painter: Painter) -> None:
        if self.shown is None or not self.plots:
            return
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for place, colour in ((self.hovered, self.theme.hover), (self.pinned, self.theme.accent)):
            if place is not None and 0 <= place < self.shown.places.count:
                painter.setPen(outline_pen(self.theme, colour, 2))
                painter.drawRect(self._column(place).adjusted(-1, -2, 1, 2))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def place_at(self, where: QPointF) -> int | None:
        """The place under a pixel."""
        self.settle()
        if self.shown is None or not self.plots:
            return None
        place = int((where.x() - self.plots[0].left()) // self._step())
        return place if 0 <= place < self.shown.places.count else None

    def pick(self, place: int) -> None:
        """As a click or an arrow key does."""
        if self.shown is not None and 0 <= place < self.shown.places.count:
            self.setAccessibleDescription(self.describe(place))
            self.place_picked.emit(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None or self.shown is None:
            event.ignore()
            return
        start = 0 if self.pinned is None else self.pinned + step
        place = min(max(start, 0), self.shown.places.count - 1)
        if place != self.pinned:  # at the end: picking it again might free it
            self.pick(place)
