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


def draw_legend(painter: Painter, box: QRectF, legend: Legend, theme: Theme) -> None:
    """Into a box whose bottom is the picture's bottom; its first line takes the title."""
    if isinstance(legend, Routed):
        half = box.adjusted(0, 0, 0, -box.height() / 2 - painter.metrics.height() * 0.4)
        draw_legend(painter, half, legend.weight, theme)
        draw_legend(painter, half.translated(0, box.bottom() - half.bottom()), legend.below, theme)
        return
    high = painter.metrics.height()
    left, middle = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter
    put(painter, QRectF(box.left(), box.top() + 2, box.width(), high), legend.title, left | middle, theme.faint)
    below = box.adjusted(0, high * 1.35, 0, 0)
    if isinstance(legend, Kinds):
        _draw_kinds(painter, below, legend, theme)
    else:
        _draw_bar(painter, below, legend, theme)


def _draw_kinds(painter: Painter, box: QRectF, kinds: Kinds, theme: Theme) -> None:
    high = painter.metrics.height()
    colours: list[str | None] = [*kinds.colours, None]
    for row, (name, colour) in enumerate(zip((*kinds.names, kinds.absent), colours, strict=True)):
        line = QRectF(box.left(), box.top() + row * high * 1.35, box.width(), high)
        if line.bottom() > box.bottom() + high:
            return
        patch = QRectF(line.left(), line.top() + high * 0.15, high * 0.8, high * 0.7)
        if colour is None:
            hatch(painter, patch, theme)
        else:
            painter.fillRect(patch, tint(colour))
        where = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        put(painter, line.adjusted(high * 1.1, 0, 0, 0), name, where, theme.text)


def _draw_bar(painter: Painter, box: QRectF, scale: Scale, theme: Theme) -> None:
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
    _draw_ticks(painter, bar, box, scale, theme)


def _draw_caps(painter: Painter, bar: QRectF, cap: float, colours: tuple[str, str]) -> None:
    """Pointed ends in the colours of what lies beyond the scale."""
    middle = bar.center().x()
    ends = ((bar.top(), bar.top() - cap), (bar.bottom(), bar.bottom() + cap))
    for colour, (base, tip) in zip(colours, ends, strict=True):
        painter.setBrush(tint(colour))
        painter.drawPolygon(QPolygonF([QPointF(bar.left(), base), QPointF(bar.right(), base), QPointF(middle, tip)]))


def _draw_ticks(painter: Painter, bar: QRectF, box: QRectF, scale: Scale, theme: Theme) -> None:
    """The ends always, those between where there is room."""
    high = painter.metrics.height()
    ticks = scale.ticks()
    taken: list[float] = []
    for fraction, text in (ticks[0], ticks[-1], *ticks[1:-1]):
        y = bar.bottom() - fraction * bar.height()
        if any(abs(y - other) < high * 0.95 for other in taken):
            continue
        taken.append(y)
        painter.setPen(pen(theme.text))
        painter.drawLine(QPointF(bar.right(), y), QPointF(bar.right() + high * 0.2, y))
        place = QRectF(bar.right() + high * 0.35, y - high / 2, box.right() - bar.right() - high * 0.35, high)
        put(painter, place, text, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, theme.text)
