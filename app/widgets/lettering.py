"""Words in pictures: set once per font and colour, then laid down as pixmaps: setting type is the slow part."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPaintDevice, QPainter, QPixmap, QTransform

_MOST_WORDS = 2000  # a set word of a label takes about 5 kB


class Metrics(QFontMetricsF):
    """Font metrics that remember: the same labels are measured again for every token."""

    def __init__(self, font: QFont) -> None:
        super().__init__(font)
        self._widths: dict[str, float] = {}
        self._height = super().height()

    def height(self) -> float:
        return self._height

    def horizontalAdvance(self, text: str) -> float:  # type: ignore[override]  # noqa: N802
        width = self._widths.get(text)
        if width is None:
            if len(self._widths) > 20_000:
                self._widths.clear()
            width = self._widths[text] = super().horizontalAdvance(text)
        return width


class Word(NamedTuple):
    """A text as a picture; sizes in logical pixels."""

    picture: QPixmap
    width: float
    height: float


class Lettering:
    """Texts in one font and one colour, ``ratio`` device pixels to a logical one."""

    def __init__(self, font: QFont, colour: str, ratio: float) -> None:
        self._font, self._colour, self._ratio = font, QColor(colour), ratio
        self._metrics = metrics_of(font)
        self._words: dict[tuple[str, bool], Word] = {}
        self._cut: dict[tuple[str, int], str] = {}

    def word(self, text: str, room: float, turned: bool = False) -> Word:
        """The text, cut with … where it is wider than the room; ``turned``: it reads from bottom to top."""
        if self._metrics.horizontalAdvance(text) > room + 1:
            text = self._shortened(text, int(room) + 1)
        word = self._words.get((text, turned))
        if word is None:
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            word = self._words[text, turned] = self._set(text, turned)
        return word

    def _shortened(self, text: str, room: int) -> str:
        cut = self._cut.get((text, room))
        if cut is None:
            if len(self._cut) >= _MOST_WORDS:
                self._cut.clear()
            cut = self._metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
            self._cut[text, room] = cut
        return cut

    def _set(self, text: str, turned: bool) -> Word:
        wide, high = self._metrics.horizontalAdvance(text), self._metrics.height()
        picture = QPixmap(math.ceil((wide + 1) * self._ratio), math.ceil(high * self._ratio))
        picture.setDevicePixelRatio(self._ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setFont(self._font)
        painter.setPen(self._colour)
        painter.drawText(QPointF(0, round(self._metrics.ascent())), text)
        painter.end()
        if not turned:
            return Word(picture, wide, high)
        picture = picture.transformed(QTransform().rotate(-90))
        picture.setDevicePixelRatio(self._ratio)
        return Word(picture, high, wide)


class Painter(QPainter):
    """A painter that knows the lettering and the metrics of its font."""

    def __init__(self, device: QPaintDevice, font: QFont) -> None:
        super().__init__(device)
        self.ratio = device.devicePixelRatioF()
        self.setFont(font)

    def setFont(self, font: QFont) -> None:  # noqa: N802
        super().setFont(font)
        self.face = font.key()
        self.metrics = metrics_of(font)

    def lettering(self, colour: str) -> Lettering:
        return _lettering(self.face, colour, self.ratio)

    def lay(self, picture: QPixmap, x: float, y: float) -> None:
        """A picture with its corner at the nearest device pixel."""
        ratio = self.ratio
        if ratio == 1.0:
            self.drawPixmap(math.floor(x + 0.5), math.floor(y + 0.5), picture)
        else:
            self.drawPixmap(QPointF(math.floor(x * ratio + 0.5) / ratio, math.floor(y * ratio + 0.5) / ratio), picture)


_fonts: dict[str, tuple[QFont, Metrics]] = {}


def metrics_of(font: QFont) -> Metrics:
    """The metrics of a font, shared by all that write in it."""
    face = font.key()
    found = _fonts.get(face)
    if found is None:
        found = _fonts[face] = (QFont(font), Metrics(font))
    return found[1]


@lru_cache(maxsize=64)
def _lettering(face: str, colour: str, ratio: float) -> Lettering:
    return Lettering(_fonts[face][0], colour, ratio)


def put(painter: Painter, box: QRectF, text: str, where: Qt.AlignmentFlag, colour: str) -> None:
    """Text in the middle line of a box, cut with … if it does not fit. ``where``: left, right or centre."""
    wide = box.width()
    word = painter.lettering(colour).word(text, wide)
    x = box.left() + _SHARES[where] * (wide - word.width)
    painter.lay(word.picture, x, box.top() + (box.height() - word.height) / 2)


def put_rotated(painter: Painter, box: QRectF, text: str, where: Qt.AlignmentFlag, colour: str) -> None:
    """Text that reads from bottom to top inside a box; RIGHT puts its end at the top."""
    high = box.height()
    word = painter.lettering(colour).word(text, high, turned=True)
    y = box.bottom() - word.height - _SHARES[where] * (high - word.height)
    painter.lay(word.picture, box.left() + (box.width() - word.width) / 2, y)


LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter
_SHARES = {LEFT: 0.0, CENTRE: 0.5, RIGHT: 1.0}  # of the free room, how much lies before the text
