"""Weights, cache and working space of a model as bars, one for each type, against the memory that is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt

from app.engine_words import said
from app.theme import Theme
from app.widgets.amounts import bytes_text
from app.widgets.canvas import Canvas, pen, tint
from app.widgets.lettering import CENTRE, LEFT, RIGHT, Painter, put

if TYPE_CHECKING:
    from engine.checkpoint.fits import Fit

PARTS = ("weights", "cache", "working")


class RoomBars(Canvas):
    """A bar that is longer than what is free ends at the rim, with an arrow; the line stands where memory ends."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme)
        self.fits: tuple[Fit, ...] = ()
        self.bars: list[QRectF] = []
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def show_fits(self, fits: Sequence[Fit]) -> None:
        if tuple(fits) != self.fits:
            self.fits = tuple(fits)
            self.setAccessibleDescription(" ".join(said(fit.sentence, self.tr) for fit in fits))
            self.updateGeometry()
            self.refresh()

    @property
    def scale(self) -> float:
        """Bytes that the whole width stands for: what is free and a third more, less where every bar is short."""
        free = self.fits[0].device.free
        most = max(fit.needed for fit in self.fits)
        return max(1.0, min(free * 1.33, max(free * 1.05, most * 1.1)))

    def arrange(self) -> None:
        high = self.metrics().height()
        left = self.metrics().horizontalAdvance("bfloat16") + high * 0.6
        right = self.metrics().horizontalAdvance("8.88 GB") + high * 0.6
        wide = max(10.0, self.width() - left - right)
        tops = (high * (1.5 + 1.45 * place) for place in range(len(self.fits)))
        self.bars = [QRectF(left, top, wide, high) for top in tops]

    def draw(self, painter: Painter) -> None:
        if not self.fits:
            return
        for fit, bar in zip(self.fits, self.bars, strict=True):
            self._draw_bar(painter, fit, bar)
        self._draw_free(painter)
        self._draw_legend(painter)

    def _draw_bar(self, painter: Painter, fit: Fit, bar: QRectF) -> None:
        high = bar.height()
        put(painter, QRectF(0, bar.top(), bar.left() - high * 0.4, high), fit.dtype, RIGHT, self.theme.text)
        painter.fillRect(bar, tint(self.theme.raised))
        left = bar.left()
        for colour, count in zip(self._colours(), (fit.weights, fit.cache, fit.working), strict=True):
            wide = min(count / self.scale * bar.width(), bar.right() - left)
            painter.fillRect(QRectF(left, bar.top(), wide, high), tint(colour))
            left += wide
        box = QRectF(bar.right() + high * 0.3, bar.top(), self.width() - bar.right() - high * 0.3, high)
        colour = self.theme.cut if fit.verdict == "does not fit" else self.theme.text
        put(painter, box, bytes_text(fit.needed), LEFT, colour)

    def _draw_free(self, painter: Painter) -> None:
        device, first, last = self.fits[0].device, self.bars[0], self.bars[-1]
        x = first.left() + device.free / self.scale * first.width()
        painter.setPen(pen(self.theme.hover, 2, Qt.PenStyle.DashLine))
        painter.drawLine(round(x), round(first.top() - first.height() * 0.25), round(x), round(last.bottom() + 2))
        text = self.tr("{0} free").format(bytes_text(device.free))
        wide = self.metrics().horizontalAdvance(text)
        left = min(max(first.left(), x - wide / 2), self.width() - wide)
        put(painter, QRectF(left, 0, wide + 2, first.height()), text, CENTRE, self.theme.hover)

    def _draw_legend(self, painter: Painter) -> None:
        high, left = self.metrics().height(), self.bars[0].left()
        top = self.bars[-1].bottom() + high * 0.35
        names = (self.tr("weights"), self.tr("cache"), self.tr("to work in"))
        for colour, name in zip(self._colours(), names, strict=True):
            wide = self.metrics().horizontalAdvance(name)
            painter.fillRect(QRectF(left, top + high * 0.2, high * 0.6, high * 0.6), tint(colour))
            put(painter, QRectF(left + high * 0.8, top, wide + 2, high), name, LEFT, self.theme.faint)
            left += high * 1.8 + wide

    def _colours(self) -> tuple[str, str, str]:
        return self.theme.prefill, self.theme.decode, self.theme.good

    def sizeHint(self) -> QSize:  # noqa: N802
        high = self.metrics().height()
        return QSize(round(high * 13), round(high * (3.0 + 1.45 * max(1, len(self.fits)))))

    minimumSizeHint = sizeHint  # noqa: N815
