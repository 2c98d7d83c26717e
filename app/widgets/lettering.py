"""Words in pictures: what is written again and again is kept as a pixmap, because setting type is the slow part."""

from __future__ import annotations

import math
import re
from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPaintDevice, QPaintEngine, QPainter, QPixmap, QTransform

_MOST_WORDS = 2000  # a kept word takes about 5 kB
_FINE = 4.0  # parts of a pixel to which a vector picture is exact, where it is made of them


class Metrics(QFontMetricsF):
    """A font's metrics that remember: the same labels are measured again for every token."""

    def __init__(self, font: QFont) -> None:
        super().__init__(font)
        self.font = QFont(font)
        self.face = font.key()
        self._height = super().height()
        self._widths: dict[str, float] = {}

    def height(self) -> float:
        return self._height

    def horizontalAdvance(self, text: str) -> float:  # type: ignore[override]  # noqa: N802
        width = self._widths.get(text)
        if width is None:
            if len(self._widths) > 20_000:
                self._widths.clear()
            width = self._widths[text] = super().horizontalAdvance(text)
        return width


_metrics: dict[str, Metrics] = {}


def metrics_of(font: QFont) -> Metrics:
    """The metrics of a font, shared by all that write in it."""
    face = font.key()
    found = _metrics.get(face)
    if found is None:
        found = _metrics[face] = Metrics(font)
    return found


class Lettering:
    """Texts in one font and one colour, ``ratio`` device pixels to a logical one."""

    def __init__(self, metrics: Metrics, colour: str, ratio: float) -> None:
        self.colour = QColor(colour)
        self._metrics, self._ratio = metrics, ratio
        self._words: dict[tuple[str, bool], QPixmap | None] = {}
        self._shortened: dict[tuple[str, int], str] = {}

    def shortened(self, text: str, room: int) -> str:
        """The text cut with … to so many pixels."""
        cut = self._shortened.get((text, room))
        if cut is None:
            if len(self._shortened) >= _MOST_WORDS:
                self._shortened.clear()
            cut = self._shortened[text, room] = self._metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
        return cut

    def word(self, text: str, turned: bool) -> QPixmap | None:
        """The text as a pixmap, ``turned``: from bottom to top.

        None the first time if it lies: many are never asked for again. Letters that Qt turns look bolder than others.
        """
        key = (text, turned)
        word = self._words.get(key)
        if word is None:
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            word = self._words[key] = self._set(text, turned) if turned or key in self._words else None
        return word

    def _set(self, text: str, turned: bool) -> QPixmap:
        wide, high = self._metrics.horizontalAdvance(text), self._metrics.height()
        made = QPixmap(math.ceil((wide + 1) * self._ratio), math.ceil(high * self._ratio))
        made.setDevicePixelRatio(self._ratio)
        made.fill(Qt.GlobalColor.transparent)
        painter = QPainter(made)
        painter.setFont(self._metrics.font)
        painter.setPen(self.colour)
        painter.drawText(QPointF(0, self._metrics.ascent()), text)
        painter.end()
        if turned:
            made = made.transformed(QTransform().rotate(-90))
            made.setDevicePixelRatio(self._ratio)
        return made


@lru_cache(maxsize=64)
def _lettering(face: str, colour: str, ratio: float) -> Lettering:
    return Lettering(_metrics[face], colour, ratio)


class Painter(QPainter):
    """A painter that writes: it begins in a font, whose metrics it has at hand.

    ``vectors``: it paints into an SVG, also where ``device`` is a widget that is rendered into one; nothing may be
    painted as pixels there that can be a shape or a text.
    """

    def __init__(self, device: QPaintDevice, metrics: Metrics) -> None:
        super().__init__(device)
        self.vectors = self.isActive() and self.paintEngine().type() == QPaintEngine.Type.SVG
        self.ratio = _FINE if self.vectors else device.devicePixelRatioF()
        self.use(metrics)

    def use(self, metrics: Metrics) -> None:
        """Write in another font."""
        self.metrics = metrics
        self.setFont(metrics.font)

    def write(
        self, x: float, y: float, room: float, high: float, text: str, share: float, colour: str, turned: bool = False
    ) -> None:
        """One line in the middle of a box ``room`` long and ``high`` high, cut with … where it does not fit.

        ``share`` of the free room lies before the text. ``turned``: from bottom to top, and ``high`` is the width.
        """
        metrics, lettering = self.metrics, _lettering(self.metrics.face, colour, self.ratio)
        wide = metrics.horizontalAdvance(text)
        if wide > room + 1:
            text = lettering.shortened(text, int(room) + 1)
            wide = metrics.horizontalAdvance(text)
        along, aside = share * (room - wide), (high - metrics.height()) / 2
        if self.vectors:
            start = QPointF(x + aside, y + room - along) if turned else QPointF(x + along, y + aside)
            self._set_text(start, text, lettering.colour, turned)
            return
        x, y = (x + aside, y + room - wide - along) if turned else (x + along, y + aside)
        ratio = self.ratio
        x, y = math.floor(x * ratio + 0.5) / ratio, math.floor(y * ratio + 0.5) / ratio
        word = lettering.word(text, turned)
        if word is not None:
            self.drawPixmap(QPointF(x, y), word)
        else:
            self.setPen(lettering.colour)
            self.drawText(QPointF(x, y + metrics.ascent()), text)

    def _set_text(self, start: QPointF, text: str, colour: QColor, turned: bool) -> None:
        """As a text, from the corner where it begins."""
        self.save()
        self.translate(start)
        self.rotate(-90 if turned else 0)
        self.setPen(colour)
        self.drawText(QPointF(0, self.metrics.ascent()), text)
        self.restore()


def put(painter: Painter, box: QRectF, text: str, where: Qt.AlignmentFlag, colour: str) -> None:
    """Text in the middle line of a box, cut with … if it does not fit. ``where``: LEFT, CENTRE or RIGHT."""
    painter.write(box.x(), box.y(), box.width(), box.height(), text, SHARES[where], colour)


_ASIDE = re.compile(r"\s*[:：(（,，]")  # what follows says more of what is named before


def title_in(text: str, metrics: Metrics, room: float) -> str:
    """As much of a title as can be read in so many pixels: all of it, what it names, or nothing: no half words."""
    for title in (text, _ASIDE.split(text, maxsplit=1)[0]):
        if metrics.horizontalAdvance(title) <= room:
            return title
    return ""


def put_rotated(painter: Painter, box: QRectF, text: str, where: Qt.AlignmentFlag, colour: str) -> None:
    """Text that reads from bottom to top inside a box; RIGHT puts its end at the top."""
    painter.write(box.x(), box.y(), box.height(), box.width(), text, SHARES[where], colour, turned=True)


LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter
SHARES = {LEFT: 0.0, CENTRE: 0.5, RIGHT: 1.0}  # of the free room, how much lies before the text
