"""The draw: a number in [0, 1) that falls into one token's stretch of the cumulative distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPolygonF

from app.theme import Theme
from app.widgets.canvas import Canvas, pen, tint
from app.widgets.lettering import CENTRE, LEFT, Painter, put


@dataclass(frozen=True)
class Stretch:
    """One token's part [low, high) of the cumulative distribution."""

    text: str
    low: float
    high: float


@dataclass(frozen=True)
class Drawn:
    """``stretches`` rising and not overlapping; what they leave free belongs to tokens that are not listed."""

    stretches: tuple[Stretch, ...]
    chosen: Stretch
    number: float | None  # None: there was no draw
    sentence: str


class DrawBar(Canvas):
    """Shows Drawn; its sentence is also its accessible description."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme)
        self.drawn: Drawn | None = None
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(name)

    def show_draw(self, drawn: Drawn | None) -> None:
        self.drawn = drawn
        self.setAccessibleDescription("" if drawn is None else drawn.sentence)
        self.refresh()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(round(self.metrics().height() * 8), round(self.metrics().height() * 2.8))

    def sizeHint(self) -> QSize:  # noqa: N802
        return self.minimumSizeHint()

    def _bar(self) -> QRectF:
        high = self.metrics().height()
        return QRectF(high * 0.5, high * 1.15, max(4.0, self.width() - high), high * 1.3)

    def _box(self, stretch: Stretch) -> QRectF:
        bar = self._bar()
        left = bar.left() + stretch.low * bar.width()
        return QRectF(left, bar.top(), (stretch.high - stretch.low) * bar.width(), bar.height())

    def draw(self, painter: Painter) -> None:
        if self.drawn is None:
            return
        bar = self._bar()
        painter.fillRect(bar, tint(self.theme.raised))
        left, wide = bar.left(), bar.width()
        for index, stretch in enumerate(self.drawn.stretches):
            if stretch.low != self.drawn.chosen.low and _holds_a_pixel(stretch, left, wide, painter.ratio):
                self._draw_stretch(painter, stretch, self.theme.line if index % 2 else self.theme.raised)
        painter.fillRect(self._box(self.drawn.chosen), tint(self.theme.decode))
        self._name(painter, self.drawn.chosen, self.theme.panel)
        painter.setPen(pen(self.theme.faint))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(bar)
        if self.drawn.number is not None:
            self._draw_number(painter, self.drawn.number)

    def _draw_stretch(self, painter: Painter, stretch: Stretch, colour: str) -> None:
        painter.fillRect(self._box(stretch), tint(colour))
        self._name(painter, stretch, self.theme.text)

    def _name(self, painter: Painter, stretch: Stretch, colour: str) -> None:
        box = self._box(stretch)
        if box.width() > self.metrics().horizontalAdvance(stretch.text) + 4:
            put(painter, box, stretch.text, CENTRE, colour)

    def _draw_number(self, painter: Painter, number: float) -> None:
        """A pointer from above, so that it does not hide what it points at."""
        high, bar = self.metrics().height(), self._bar()
        x = bar.left() + number * bar.width()
        tip = [QPointF(x, bar.top() + 2), QPointF(x - high * 0.35, bar.top() - high * 0.45)]
        painter.setPen(pen(self.theme.panel))
        painter.setBrush(tint(self.theme.accent))
        painter.drawPolygon(QPolygonF([*tip, QPointF(x + high * 0.35, bar.top() - high * 0.45)]))
        painter.setPen(pen(self.theme.accent, 2))
        painter.drawLine(QPointF(x, bar.top()), QPointF(x, bar.bottom()))
        text = f"{number:.4f}"
        wide = self.metrics().horizontalAdvance(text) + 4
        left = x + high * 0.5 if x + high * 0.5 + wide < self.width() else x - high * 0.5 - wide
        put(painter, QRectF(left, bar.top() - high * 1.1, wide, high), text, LEFT, self.theme.accent)


def _holds_a_pixel(stretch: Stretch, left: float, wide: float, ratio: float) -> bool:
    """Whether the middle of a pixel lies in a stretch: most of the likeliest tokens have none in the bar."""
    first, last = (left + stretch.low * wide) * ratio, (left + stretch.high * wide) * ratio
    return math.floor(first + 0.5) != math.floor(last + 0.5)
