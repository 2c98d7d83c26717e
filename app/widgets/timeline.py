"""The timeline: a column a token with its surprise, its entropy and the time of its pass, below the tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QMouseEvent

from app.theme import Theme
from app.token_figures import TokenFigures
from app.widgets import timeline_columns as cut
from app.widgets.canvas import hatch, outline_pen, pen, tint
from app.widgets.lettering import CENTRE, LEFT, RIGHT, Painter, put
from app.widgets.pixels import put_pixels
from app.widgets.place_picture import PlacePicture
from app.widgets.scale import figure, nice_step, word

Mode = Literal["all", "surprise", "entropy", "time"]
MODES: tuple[Mode, ...] = ("all", "surprise", "entropy", "time")
LEAST_EMS, MOST_EMS = 2.4, 11.0  # height in lines of text: what it needs, and beyond what it gains nothing

_NUMBERS_EMS = 3.2  # from this height on there are numbers below the picture
_LEGEND_EMS = 5.0  # from this height on there is a line of words above the picture
_TIME_EMS = 5.5  # from this height on "all" has room for the band of times
_LEAST_NATS, _LEAST_MS = 2.0, 1.0  # ends of the scales


@dataclass(frozen=True)
class Extent:
    """How far the run goes. ``waiting``: why the prompt's figures are not computed yet, in the hatched part."""

    expected: int
    over: bool
    waiting: str = ""


@dataclass(frozen=True)
class Band:
    """A part of the picture with an axis from 0 to ``top``; ``figures`` names what it shows."""

    box: QRectF
    top: float
    unit: str
    figures: tuple[str, ...]


class Timeline(PlacePicture):
    """Shows TokenFigures. ``place_picked``: a click, or the mouse with its button down over another token.

    A column that stands for several tokens shows the largest figure among them, and a click goes to that token.
    """

    def __init__(self, theme: Theme, describe: Callable[[int], str]) -> None:
        super().__init__(theme)
        self.describe = describe
        self.figures = TokenFigures()
        self.extent = Extent(0, over=True)
        self.mode: Mode = "all"
        self.bands: list[Band] = []
        self.columns = cut.columns(1, 1, 1)
        self.plot = QRectF()
        self.pinned: int | None = None
        self.hovered: int | None = None
        self.empty_text = ""
        self._drawn: Hashable = None
        self.setAccessibleName(self.tr("Timeline: surprise, entropy and time of every token"))

    # --- what is shown ----------------------------------------------------------------------------------------

    def show_figures(self, figures: TokenFigures, extent: Extent) -> None:
        """Draws anew only for other figures."""
        state = (id(figures), figures.n, figures.n_prompt, figures.prompt_known, extent)
        if state != self._drawn:
            self._drawn = state
            self.figures, self.extent = figures, extent
            self.refresh()

    def show_mode(self, mode: Mode) -> None:
        if mode != self.mode:
            self.mode = mode
            self.refresh()

    def mark(self, pinned: int | None, hovered: int | None) -> None:
        if (pinned, hovered) == (self.pinned, self.hovered):
            return
        if pinned != self.pinned:
            known = pinned is not None and pinned < self.figures.n
            self.setAccessibleDescription(self.describe(pinned) if known and pinned is not None else "")
        self.pinned, self.hovered = pinned, hovered
        self.refresh_marks()

    @property
    def block(self) -> int:
        """How many tokens a column stands for."""
        self.settle()
        return self.columns.block

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(600, round(self.metrics().height() * 7))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(100, 0)

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        em = self.metrics().height()
        self.bands = []
        if not self.figures.n:
            return
        self._legend_height = em * 1.25 if self.height() >= em * _LEGEND_EMS else em * 0.35
        scales = self._scales(self.height() >= em * _TIME_EMS)
        wide = self.metrics().horizontalAdvance
        labels = [_end_text(top, unit) for _, top, unit in scales]
        left = max(map(wide, [*labels, self.tr("token")])) + em * 0.6
        self._numbered = self.height() >= em * _NUMBERS_EMS
        bottom = em * 1.15 if self._numbered else 3.0
        room = QRectF(
            left,
            self._legend_height,
            max(4.0, self.width() - left - em * 0.5),
            max(4.0, self.height() - self._legend_height - bottom),
        )
        self.plot = room
        room_tokens = cut.room_for(self.figures.n, self.extent.expected, self.extent.over)
        self.columns = cut.columns(room_tokens, room.width(), em)
        self.bands = _stacked(room, scales, em * 0.45)

    def _scales(self, with_time: bool) -> list[tuple[tuple[str, ...], float, str]]:
        """What each band shows, the end of its axis, and the unit."""
        shown = self.figures
        nats: tuple[str, ...] = {"surprise": ("surprise",), "entropy": ("entropy",), "time": ()}.get(
            self.mode, ("surprise", "entropy")
        )
        scales = []
        if nats:
            top = max(cut.top_of(getattr(shown, name), _LEAST_NATS) for name in nats)
            scales.append((nats, top, self.tr("nats")))
        if self.mode == "time" or (self.mode == "all" and with_time):
            scales.append((("seconds",), cut.usual_top(shown.seconds * 1000, _LEAST_MS), self.tr("ms")))
        return scales

    def column_box(self, position: int) -> QRectF:
        """Where a token's column lies, all bands."""
        left = self.plot.left() + self.columns.of(position) * self.columns.step
        return QRectF(left, self.plot.top(), self.columns.step, self.plot.height())

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        painter.setPen(pen(self.theme.line))
        painter.drawLine(QPointF(0, 0), QPointF(self.width(), 0))  # the tokens above may end in half a line
        if not self.bands:
            put(painter, self.area().adjusted(6, 0, -6, 0), self.empty_text, CENTRE, self.theme.faint)
            return
        for band in self.bands:
            self._draw_axis(painter, band)
            self._draw_band(painter, band)
        if self._numbered:
            self._draw_positions(painter)
        self._draw_passes(painter)
        if self._legend_height > painter.metrics.height():
            self._draw_legend(painter)

    def _draw_axis(self, painter: Painter, band: Band) -> None:
        high, left = painter.metrics.height(), band.box.left()
        painter.setPen(pen(self.theme.line))
        for y in (band.box.top(), band.box.bottom()):
            painter.drawLine(QPointF(left, y), QPointF(band.box.right(), y))
        label = QRectF(0, band.box.top() - high * 0.4, left - high * 0.3, high)
        put(painter, label, _end_text(band.top, band.unit), RIGHT, self.theme.text)
        if band.box.height() > high * 1.7:
            zero = QRectF(0, band.box.bottom() - high * 0.75, left - high * 0.3, high)
            put(painter, zero, "0", RIGHT, self.theme.faint)

    def _draw_band(self, painter: Painter, band: Band) -> None:
        if band.unit == self.tr("nats"):
            self._draw_missing(painter, band)
        put_pixels(painter, band.box.topLeft(), self._as_pixels(band, painter.ratio))
        if "seconds" in band.figures:
            self._draw_prefill_time(painter, band)

    def _as_pixels(self, band: Band, ratio: float) -> np.ndarray:
        """The figures as pixels: a picture of a thousand bars is drawn as fast as one of ten."""
        spread = cut.pixels(self.columns, self.figures.n, band.box.height(), ratio)
        image = np.zeros((spread.height, spread.width), np.uint32)
        thick = max(1, round(2 * ratio))
        for name in band.figures:
            scale = 1000.0 if name == "seconds" else 1.0
            values = cut.largest(getattr(self.figures, name), self.columns.block) * scale
            if name == "entropy":
                joined = self.columns.step * ratio >= 3
                image[cut.dash_mask(spread, values, band.top, thick, joined)] = word(self.theme.text)
                continue
            mask = cut.bar_mask(spread, values, band.top)
            np.copyto(image, self._colours(spread)[None, :], where=mask)
            image[cut.beyond_mask(spread, values, band.top, 2 * thick)] = word(self.theme.cut)
        return image

    def _colours(self, spread: cut.Pixels) -> np.ndarray:
        """uint32 by pixel: what the prompt brought and what was generated."""
        generated = spread.column * self.columns.block >= self.figures.n_prompt
        return np.where(generated, np.uint32(word(self.theme.decode)), np.uint32(word(self.theme.prefill)))

    def _draw_missing(self, painter: Painter, band: Band) -> None:
        """Prompt tokens whose figures are not computed yet."""
        first, last = self.figures.prompt_known, self.figures.n_prompt - 1
        if first > last:
            return
        box = self.column_box(first).united(self.column_box(last))
        box = QRectF(box.left(), band.box.top(), box.width(), band.box.height())
        hatch(painter, box, self.theme)
        wide = painter.metrics.horizontalAdvance(self.extent.waiting) + painter.metrics.height()
        if self.extent.waiting and wide <= box.width() and box.height() > painter.metrics.height():
            words = QRectF(0, 0, wide, painter.metrics.height() * 1.1)
            words.moveCenter(box.center())
            painter.fillRect(words, tint(self.theme.panel))
            put(painter, words, self.extent.waiting, CENTRE, self.theme.text)

    def _draw_prefill_time(self, painter: Painter, band: Band) -> None:
        """One pass read the whole prompt: its time belongs to none of its tokens."""
        n_prompt = self.figures.n_prompt
        if self.figures.n == n_prompt or not n_prompt:
            return
        words = self.tr("one pass: {0}").format(seconds_text(float(self.figures.seconds[n_prompt])))
        box = self.column_box(0).united(self.column_box(n_prompt - 1))
        box = QRectF(box.left(), band.box.top(), box.width(), band.box.height())
        if painter.metrics.horizontalAdvance(words) + 8 <= box.width():
            put(painter, box, words, CENTRE, self.theme.faint)

    def _draw_positions(self, painter: Painter) -> None:
        """Numbers of tokens below, and what they are at the left."""
        high, top = painter.metrics.height(), self.plot.bottom() + 1
        put(painter, QRectF(0, top, self.plot.left() - high * 0.3, high), self.tr("token"), RIGHT, self.theme.faint)
        widest = painter.metrics.horizontalAdvance(str(self.columns.room)) + high
        taken = self._pass_words(painter)
        per_column = self.columns.step / self.columns.block
        step = max(1, round(nice_step(self.columns.room, max(1, int(self.columns.room * per_column / widest)))))
        for position in range(0, self.columns.room, step):
            middle = self.column_box(position).center().x()
            box = QRectF(middle - widest / 2, top, widest, high)
            if position == 0:  # beside the word at the left, not over it
                box.moveLeft(max(box.left(), self.plot.left() - widest / 2 + high * 0.4))
            if box.right() <= self.width() and not any(box.intersects(words) for words, _, _ in taken):
                put(painter, box, str(position), CENTRE, self.theme.text)
                painter.setPen(pen(self.theme.faint))
                painter.drawLine(QPointF(middle, self.plot.bottom()), QPointF(middle, self.plot.bottom() + 2))

    def _pass_words(self, painter: Painter) -> list[tuple[QRectF, str, str]]:
        """Where the names of the passes stand, beside the line between them, in the colours of their tokens."""
        high, x = painter.metrics.height(), self.column_box(self.figures.n_prompt).left()
        found = []
        for name, colour, left in ((self.tr("prefill"), "prefill", True), (self.tr("decode"), "decode", False)):
            wide = painter.metrics.horizontalAdvance(name)
            box = QRectF(x - wide - 5 if left else x + 5, self.plot.bottom() + 1, wide + 1, high)
            if box.left() >= self.plot.left() - 1 and box.right() <= self.width():
                found.append((box, name, getattr(self.theme, colour)))
        return found

    def _draw_passes(self, painter: Painter) -> None:
        if not 0 < self.figures.n_prompt <= self.figures.n:
            return
        x = self.column_box(self.figures.n_prompt).left()
        painter.setPen(pen(self.theme.text, 1.5))
        painter.drawLine(QPointF(x, self.plot.top() - 2), QPointF(x, self.plot.bottom() + painter.metrics.height()))
        for box, name, colour in self._pass_words(painter) if self._numbered else ():
            put(painter, box, name, LEFT, colour)

    def _draw_legend(self, painter: Painter) -> None:
        high, x = painter.metrics.height(), self.plot.left()
        for kind, words in self.legend():
            x = self._draw_sample(painter, kind, x, high)
            room = self.width() - x - high * 0.4
            put(painter, QRectF(x, 2, max(0.0, room), high), words, LEFT, self.theme.faint)
            x += painter.metrics.horizontalAdvance(words) + high * 1.1

    def _draw_sample(self, painter: Painter, kind: str, x: float, high: float) -> float:
        """What a kind of mark looks like, before its words; where they begin."""
        if kind == "words":
            return x
        if kind == "dash":
            painter.fillRect(QRectF(x, high * 0.5 + 1, high * 0.7, 2), tint(self.theme.text))
            return x + high * 0.95
        for index, colour in enumerate((self.theme.prefill, self.theme.decode)):
            bar = QRectF(x + index * high * 0.32, high * 0.25 + 2, high * 0.26, high * 0.55)
            if kind == "bar" or index:
                painter.fillRect(bar, tint(colour))
        if kind == "cut":
            painter.fillRect(QRectF(x + high * 0.32, high * 0.25 + 2, high * 0.26, 3), tint(self.theme.cut))
        return x + high * 0.85

    def legend(self) -> list[tuple[str, str]]:
        """Kinds of marks and what they mean; how many tokens a column stands for."""
        self.settle()
        shown = {name for band in self.bands for name in band.figures}
        rows = []
        if "surprise" in shown:
            rows.append(("bar", self.tr("surprise −ln p of the token")))
        if "entropy" in shown:
            rows.append(("dash", self.tr("entropy: the surprise to be expected")))
        if "seconds" in shown:
            below = self.tr("below: time of the pass") if len(self.bands) > 1 else self.tr("time of the pass")
            rows.append(("words" if len(self.bands) > 1 else "bar", below))
        elif self.mode == "all":
            rows.append(("words", self.tr("time of the pass: needs a higher strip")))
        if self._some_beyond():
            rows.append(("cut", self.tr("longer than the scale")))
        if self.columns.block > 1:
            rows.append(("words", self.tr("each column: the largest of {0} tokens").format(self.columns.block)))
        return rows

    def _some_beyond(self) -> bool:
        return any(
            "seconds" in band.figures and bool(np.any(self.figures.seconds * 1000 > band.top * (1 + 1e-9)))
            for band in self.bands
        )

    def draw_marks(self, painter: Painter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for place, colour in ((self.hovered, self.theme.hover), (self.pinned, self.theme.accent)):
            if self.bands and place is not None and 0 <= place < self.figures.n:
                self._draw_mark(painter, self.column_box(place), colour)

    def _draw_mark(self, painter: Painter, column: QRectF, colour: str) -> None:
        """A frame around a wide column, a line through a narrow one, a head above both."""
        if column.width() >= 7:
            painter.setPen(outline_pen(self.theme, colour, 2))
            painter.drawRect(column.adjusted(-1, -1, 0, 1))
        else:
            painter.fillRect(QRectF(column.center().x() - 1, column.top(), 2, column.height()), tint(colour))
        head = QRectF(column.center().x() - 4, column.top() - 4, 8, 4)
        painter.fillRect(head, tint(colour))

    # --- the mouse --------------------------------------------------------------------------------------------

    def place_at(self, where: QPointF) -> int | None:
        """The token under a pixel: of a column's, the one with the largest figure."""
        self.settle()
        if not self.bands or not self.plot.left() <= where.x() <= self.plot.right():
            return None
        column = math.floor((where.x() - self.plot.left()) / self.columns.step)
        return self._place_in(column)

    def _place_in(self, column: int) -> int | None:
        positions = self.columns.positions(column, self.figures.n)
        return cut.peak(self._leading(), positions) if len(positions) else None

    def _leading(self) -> np.ndarray:
        """What decides which token of a column is meant: the first figure that is shown."""
        return getattr(self.figures, self.bands[0].figures[0])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._scrub(event.position())
        super().mouseMoveEvent(event)

    def _scrub(self, where: QPointF) -> None:
        """The pin follows the mouse, also past both ends."""
        self.settle()
        if not self.bands:
            return
        column = math.floor((where.x() - self.plot.left()) / self.columns.step)
        last = self.columns.of(self.figures.n - 1)
        place = self._place_in(min(max(column, 0), last))
        if place is not None and place != self.pinned:
            self.place_picked.emit(place)


def _end_text(top: float, unit: str) -> str:
    return f"{figure(top)} {unit}"


def _stacked(room: QRectF, scales: list[tuple[tuple[str, ...], float, str]], gap: float) -> list[Band]:
    """Bands one above the other; the upper of two has most of the room."""
    shares = [0.72, 0.28] if len(scales) > 1 else [1.0]
    free, y, bands = room.height() - gap * (len(scales) - 1), room.top(), []
    for share, (figures, top, unit) in zip(shares, scales, strict=True):
        bands.append(Band(QRectF(room.left(), y, room.width(), free * share), top, unit, figures))
        y += free * share + gap
    return bands


def seconds_text(seconds: float) -> str:
    """ "38.2 ms" or "1.23 s"; "" for what took no pass."""
    if not math.isfinite(seconds):
        return ""
    return f"{figure(seconds)} s" if seconds >= 1 else f"{figure(seconds * 1000)} ms"


def nats_text(value: float) -> str:
    """ "2.303 nats", "∞ nats"; "" where there is no figure."""
    if math.isnan(value):
        return ""
    return f"{value:.4g} nats" if math.isfinite(value) else "∞ nats"
