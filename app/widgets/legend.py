"""What colours mean: a colour bar with its figures, or a list of kinds with their colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPolygonF

from app.theme import Theme
from app.widgets.canvas import hatch, pen, tint
from app.widgets.lettering import Painter, put
from app.widgets.scale import Scale, colour_words, marks, word

_PITCH = 0.95  # of figures beside a bar, in lines
_BETWEEN = 0.8  # lines between two bars


@dataclass(frozen=True)
class Kinds:
    """Cells of a few kinds: the value of a cell is the index of its kind. ``absent`` names the hatching."""

    names: tuple[str, ...]
    colours: tuple[str, ...]
    title: str
    absent: str

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """uint32 words 0xffRRGGBB of the same shape."""
        return np.array([word(colour) for colour in self.colours], np.uint32).take(values.astype(np.int64))


@dataclass(frozen=True)
class Routed:
    """Cells of experts: what was chosen has a value of 0 or more on ``weight``; what was not, minus its score.

    The score's sign is negative, for a score of 0 too (-0.0), and its size lies on ``below``.
    """

    weight: Scale
    below: Scale

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """uint32 words 0xffRRGGBB of the same shape."""
        return np.where(np.signbit(values), self.below.pixels(-values), self.weight.pixels(values))


Legend = Scale | Kinds | Routed


def legend_width(legend: Legend, metrics: QFontMetricsF) -> float:
    """Pixels that the legend needs beside the picture."""
    wide = metrics.horizontalAdvance
    if isinstance(legend, Kinds):
        return metrics.height() * 1.8 + max(wide(name) for name in (*legend.names, legend.absent))
    if isinstance(legend, Routed):
        return max(legend_width(legend.weight, metrics), legend_width(legend.below, metrics))
    ticks = max(wide(text) for _, text in legend.ticks())
    bar = metrics.height() * 1.5 + ticks
    return max(bar, min(wide(legend.title), metrics.height() * 6)) + metrics.height() * 0.4


def draw_legend(painter: Painter, box: QRectF, legend: Legend, theme: Theme, *, below: float = 1.0) -> None:
    """Into a box whose bottom is the picture's bottom; its first line takes the title. Figures may take so many lines
    ``below`` it."""
    if isinstance(legend, Routed):
        half = box.adjusted(0, 0, 0, -box.height() / 2 - painter.metrics.height() * _BETWEEN / 2)
        draw_legend(painter, half, legend.weight, theme, below=_BETWEEN)
        draw_legend(painter, half.translated(0, box.bottom() - half.bottom()), legend.below, theme)
        return
    high = painter.metrics.height()
    left, middle = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter
    put(painter, QRectF(box.left(), box.top() + 2, box.width(), high), legend.title, left | middle, theme.faint)
    rest = box.adjusted(0, high * 1.35, 0, 0)
    if isinstance(legend, Kinds):
        _draw_kinds(painter, rest, legend, theme)
    else:
        _draw_bar(painter, rest, legend, theme, box.bottom() + below * high)


def _draw_kinds(painter: Painter, box: QRectF, kinds: Kinds, theme: Theme) -> None:
    high = painter.metrics.height()
    colours: list[str | None] = [*kinds.colours, None]
    pitch = min(1.35 * high, max(high, box.height() / len(colours)))  # closer together before one is left out
    for row, (name, colour) in enumerate(zip((*kinds.names, kinds.absent), colours, strict=True)):
        line = QRectF(box.left(), box.top() + row * pitch, box.width(), high)
        if line.bottom() > box.bottom() + high:
            return
        patch = QRectF(line.left(), line.top() + high * 0.15, high * 0.8, high * 0.7)
        if colour is None:
            hatch(painter, patch, theme)
        else:
            painter.fillRect(patch, tint(colour))
        where = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        put(painter, line.adjusted(high * 1.1, 0, 0, 0), name, where, theme.text)


def _draw_bar(painter: Painter, box: QRectF, scale: Scale, theme: Theme, lowest: float) -> None:
    high = painter.metrics.height()
    cap = high * 0.4 if scale.clips else high * 0.2
    bar = QRectF(box.left(), box.top() + cap, high * 0.7, max(1.0, box.height() - 2 * cap))
    words = np.ascontiguousarray(colour_words(scale.colours)[1:-1][::-1].reshape(-1, 1))
    painter.drawImage(bar, QImage(words.data, 1, len(words), 4, QImage.Format.Format_RGB32))
    painter.setPen(pen(theme.line))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(bar)
    if scale.clips:
        _draw_caps(painter, bar, cap, marks(scale.colours))
    _draw_ticks(painter, bar, box, scale, theme, lowest)


def _draw_caps(painter: Painter, bar: QRectF, cap: float, colours: tuple[str, str]) -> None:
    """Pointed ends in the colours of what lies beyond the scale."""
    middle = bar.center().x()
    ends = ((bar.top(), bar.top() - cap), (bar.bottom(), bar.bottom() + cap))
    for colour, (base, tip) in zip(colours, ends, strict=True):
        painter.setBrush(tint(colour))
        painter.drawPolygon(QPolygonF([QPointF(bar.left(), base), QPointF(bar.right(), base), QPointF(middle, tip)]))


def _draw_ticks(painter: Painter, bar: QRectF, box: QRectF, scale: Scale, theme: Theme, lowest: float) -> None:
    """The ends wherever both have room down to ``lowest``, those between where there is room for them, too."""
    high = painter.metrics.height()
    ticks = scale.ticks()
    places = [bar.bottom() - fraction * bar.height() for fraction, _ in ticks]
    middles = _apart(places, high * _PITCH, box.top() + high * 0.15, lowest - high * 0.5)
    taken: list[float] = []
    for index in (0, len(ticks) - 1, *range(1, len(ticks) - 1)):
        y, middle, text = places[index], middles[index], ticks[index][1]
        if any(abs(middle - other) < high * _PITCH * 0.99 for other in taken):
            continue
        taken.append(middle)
        painter.setPen(pen(theme.text))
        painter.drawLine(QPointF(bar.right(), y), QPointF(bar.right() + high * 0.2, y))
        place = QRectF(bar.right() + high * 0.35, middle - high / 2, box.right() - bar.right() - high * 0.35, high)
        put(painter, place, text, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, theme.text)


def _apart(places: list[float], pitch: float, highest: float, lowest: float) -> list[float]:
    """Where the words of ticks stand, from the lowest to the highest: those of the ends not over each other, as far as
    that is possible between these heights."""
    lower, upper = places[0], places[-1]
    highest = max((lower + upper - pitch) / 2, highest)
    if not 0 < lower - upper < pitch or highest + pitch > lowest:
        return places
    return [highest + pitch, *places[1:-1], highest]
