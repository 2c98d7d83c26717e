"""The tokens of a run as boxes that wrap like text: drawn, found under the mouse, scrolled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QStaticText,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip, QWidget

from app.run import Run, written
from app.theme import Theme, ink, lut
from app.widgets.canvas import outline_pen, small
from app.widgets.lines import Lines
from engine.frames import Piece, StepFrame

LONGEST_EMS = 22  # a longer token is shortened on screen; its tool tip has all of it
_FEW = 64  # up to so many changed boxes are repainted one by one


@dataclass(frozen=True)
class Marks:
    """What the view shows beside the tokens. ``reading`` are positions of the pass under way, ``flags`` those with a
    note or a bookmark."""

    pinned: int | None = None
    hovered: int | None = None
    reading: range = range(0)
    kind: str = "prefill"
    n_read: int = 0
    flags: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Notes:
    """Fills and short words of the boxes, by position, instead of the colours of probability.

    ``widest`` is the longest word there may be: room is kept for it. A fill of None leaves the box plain, and so does
    a position that the notes do not reach.
    """

    widest: str
    words: tuple[str, ...] = ()
    fills: tuple[str | None, ...] = ()


class TokenView(QAbstractScrollArea):
    """Boxes of tokens. Tells what the mouse does; keeps no selection of its own."""

    hovered = Signal(int)  # a position, -1 when the mouse is on none
    pressed = Signal(int)
    walked = Signal(int)  # with an arrow key, Home or End
    freed = Signal()

    def __init__(self, run: Run, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run, self.theme, self.marks = run, theme, Marks()
        self.notes: Notes | None = None
        self.tip = lambda position: ""
        self.empty_text = ""
        self._prompt: tuple[Piece, ...] = ()
        self._steps: list[StepFrame] = []
        self._advances: dict[str, float] = {}
        self._set_texts: dict[str, QStaticText] = {}
        self._texts: list[str] = []
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # painted here, all of it
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.restyle(theme)

    # -- what is shown -------------------------------------------------------------------------------------------

    def restyle(self, theme: Theme) -> None:
        """Another theme or font: measure everything afresh."""
        self.theme = theme
        self._metrics = QFontMetricsF(self.font())
        self._small_font = small(self.font())
        self._small = QFontMetricsF(self._small_font)
        fills = [QColor(int(word) & 0xFFFFFF) for word in lut(theme.sequential)]
        self._shades = [(fill, ink(fill)) for fill in fills]
        self._neutral = QColor(theme.raised), ink(theme.raised)
        self._advances.clear()
        self._set_texts.clear()
        self._line_step = round(self._metrics.height() * 1.75)
        self._box_height = round(self._metrics.height() * 1.35)
        self.verticalScrollBar().setSingleStep(self._line_step)
        self._renew()

    def sync(self) -> None:
        """Take up what the run has gained; starts afresh where it is another run."""
        if self.run.prompt is not self._prompt or self.run.steps is not self._steps:
            self._renew()
            return
        first = len(self._texts)
        following = self.is_at_end()
        self._add_from(first)
        if len(self._texts) > first:
            self._update(range(first, len(self._texts)))
            self._fit_scroll_bar(following)

    def mark(self, marks: Marks) -> None:
        """Show other marks, repainting only the boxes that look different."""
        old, self.marks = self.marks, marks
        changed = {old.pinned, marks.pinned, old.hovered, marks.hovered} - {None} | (old.flags ^ marks.flags)
        if (old.reading, old.kind) != (marks.reading, marks.kind):
            changed |= {*old.reading, *marks.reading}
        changed |= set(range(min(old.n_read, marks.n_read), max(old.n_read, marks.n_read)))
        self._update(changed)

    def show_notes(self, notes: Notes | None) -> None:
        """Show other notes; boxes move only where more or less room is needed for them."""
        if notes == self.notes:
            return
        before, self.notes = self.notes, notes
        if before is None or notes is None or before.widest != notes.widest:
            self._renew()
            return
        old, new = (list(zip(found.words, found.fills, strict=True)) for found in (before, notes))
        self._update(place for place, (was, now) in enumerate(zip_longest(old, new)) if was != now)

    def _renew(self) -> None:
        self._prompt, self._steps = self.run.prompt, self.run.steps
        self._texts = []
        self._lines = Lines(self._room(), round(self._metrics.height() * 0.25))
        self._add_from(0)
        self._fit_scroll_bar(follow=self.marks.pinned is None)
        self.viewport().update()

    def _add_from(self, first: int) -> None:
        for position in range(first, self.run.n_tokens):
            text = written(self.run.piece(position))
            self._texts.append(text)
            self._lines.add(self._width(text), self._lead(position))

    def _width(self, text: str) -> float:
        em = self._metrics.height()
        return min(self._advance(text) + em * 0.6, em * LONGEST_EMS) + self._note_room()

    def _note_room(self) -> float:
        """Pixels at the right end of every box that belong to its note."""
        return self._small.horizontalAdvance(self.notes.widest) + 5 if self.notes is not None else 0.0

    def _advance(self, text: str) -> float:
        if text not in self._advances:
            self._advances[text] = self._metrics.horizontalAdvance(text)
        return self._advances[text]

    def _lead(self, position: int) -> float:
        tag = self._tag(position)
        return self._advance(tag) + self._metrics.height() * 0.9 if tag else 0.0

    def _tag(self, position: int) -> str:
        """The word before the first token of the prompt and of the answer."""
        if position == self.run.n_prompt:
            return self.tr("generated →")
        return self.tr("prompt") if position == 0 else ""

    # -- places --------------------------------------------------------------------------------------------------

    def position_at(self, point: QPointF) -> int | None:
        """The token under a point of the viewport."""
        line, inside = divmod(point.y() + self.verticalScrollBar().value() - self._margin(), self._line_step)
        if inside > self._box_height:
            return None
        return self._lines.at(int(line), point.x() - self._margin())

    def box(self, position: int) -> QRectF:
        """Where a token's box is drawn in the viewport now."""
        line, left, width = self._lines.place(position)
        top = line * self._line_step + self._margin() - self.verticalScrollBar().value()
        return QRectF(left + self._margin(), top, width, self._box_height)

    def above_or_below(self, position: int, lines: int) -> int:
        """The token that many lines further down (up where negative). One that came since the last picture stands where
        the last one does."""
        if not len(self._lines):
            return position
        line, left, width = self._lines.place(min(position, len(self._lines) - 1))
        target = min(max(line + lines, 0), self._lines.n_lines - 1)
        return position if target == line else self._lines.nearest(target, left + width / 2)

    def show_position(self, position: int) -> None:
        """Scroll only as far as needed, by whole lines."""
        if not 0 <= position < len(self._texts):
            return
        top = self._lines.place(position)[0] * self._line_step
        bar, page = self.verticalScrollBar(), self.viewport().height()
        bar.setValue(min(max(bar.value(), self._whole_lines(top + self._line_step + self._margin() - page)), top))

    def show_end(self) -> None:
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    def is_at_end(self) -> bool:
        """Whether the newest line is in sight; then it stays in sight."""
        bar = self.verticalScrollBar()
        return bar.value() >= bar.maximum() - self._line_step // 2

    @property
    def n_lines(self) -> int:
        """That the tokens take at this width, and one where there are none."""
        return max(1, self._lines.n_lines)

    def lines_height(self, lines: int) -> int:
        """Pixels that so many lines need."""
        return lines * self._line_step + 2 * self._margin()

    def _margin(self) -> int:
        return 5

    def _room(self) -> float:
        return max(40.0, self.viewport().width() - 2 * self._margin())

    def _fit_scroll_bar(self, follow: bool) -> None:
        bar, page = self.verticalScrollBar(), self.viewport().height()
        bar.setPageStep(page)
        last = self._line_step * max(0, self._lines.n_lines - 1)
        bar.setRange(0, min(last, self._whole_lines(self.lines_height(self._lines.n_lines) - page)))
        if follow:
            self.show_end()

    def _whole_lines(self, pixels: int) -> int:
        """So many or more: no line is cut through at the top."""
        return max(0, -(-pixels // self._line_step) * self._line_step)

    def _update(self, positions: Iterable[int | None]) -> None:
        known = [p for p in positions if p is not None and 0 <= p < len(self._texts)]
        if len(known) > _FEW:
            self.viewport().update()
            return
        for position in known:
            lead = self._lead(position)
            self.viewport().update(self.box(position).adjusted(-5 - lead, -5, 5, 6).toAlignedRect())

    # -- painting ------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), QColor(self.theme.panel))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.font())
        if not self._texts:
            painter.setPen(QColor(self.theme.faint))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, self.empty_text)
        region = event.region()
        for line in self._lines_within(event.rect().top(), event.rect().bottom()):
            for position in self._lines.line(line):
                box = self.box(position)
                around = box.adjusted(-6 - self._lead(position), -6, 6, 7).toAlignedRect()
                if region.intersects(around):
                    self._draw(painter, position, box)
        painter.end()

    def _lines_within(self, top: int, bottom: int) -> range:
        offset = self.verticalScrollBar().value() - self._margin()
        first = (top + offset - 6) // self._line_step
        last = (bottom + offset + 6) // self._line_step
        return range(max(0, first), min(self._lines.n_lines, last + 1))

    def _draw(self, painter: QPainter, position: int, box: QRectF) -> None:
        fill, letters = self._shade(position)
        painter.setPen(self._border(position))
        painter.setBrush(fill)
        radius = box.height() / 2 if self.run.piece(position).special else 3.0
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)
        painter.setPen(letters)
        self._draw_text(painter, box.adjusted(0, 0, -self._note_room(), 0), self._texts[position])
        self._draw_note(painter, position, box)
        self._draw_tag(painter, position, box)
        self._draw_marks(painter, position, box)

    def _shade(self, position: int) -> tuple[QColor, QColor]:
        """Fill and ink of a box."""
        if self.notes is not None:
            fill = self.notes.fills[position] if position < len(self.notes.fills) else None
            return self._neutral if fill is None else (QColor(fill), ink(fill))
        step = self.run.step_choosing(position)
        if step is None:
            return self._neutral
        return self._shades[round(min(max(step.sampling.chosen_raw, 0.0), 1.0) * 255)]

    def _border(self, position: int) -> QPen:
        if position < self.marks.n_read or position in self.marks.reading:
            return QPen(QColor(self.theme.line), 1)
        pen = QPen(QColor(self.theme.text), 1.6)
        pen.setDashPattern([2.5, 2.0])
        return pen

    def _draw_text(self, painter: QPainter, box: QRectF, text: str) -> None:
        laid = self._laid_out(text, box.width() - self._metrics.height() * 0.3)
        size = laid.size()
        top_left = QPointF(
            box.left() + (box.width() - size.width()) / 2, box.top() + (box.height() - size.height()) / 2
        )
        tall = size.height() > box.height()
        if tall:  # stacked accents and tall scripts stay inside their box
            painter.setClipRect(box)
        painter.drawStaticText(top_left, laid)
        if tall:
            painter.setClipping(False)

    def _laid_out(self, text: str, room: float) -> QStaticText:
        """The text, shortened in the middle where it does not fit; kept, because setting type is the slow part."""
        if self._advance(text) > room:
            text = self._metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, room)
        laid = self._set_texts.get(text)
        if laid is None:
            laid = self._set_texts[text] = QStaticText(text)
            laid.setTextFormat(Qt.TextFormat.PlainText)
            laid.prepare(font=self.font())
        return laid

    def _draw_note(self, painter: QPainter, position: int, box: QRectF) -> None:
        """The word of the notes, at the right end, in the ink of the box."""
        if self.notes is None or position >= len(self.notes.words):
            return
        painter.setFont(self._small_font)
        place = box.adjusted(box.width() - self._note_room(), 0, -3, 0)
        painter.drawText(
            place, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), self.notes.words[position]
        )
        painter.setFont(self.font())

    def _draw_tag(self, painter: QPainter, position: int, box: QRectF) -> None:
        tag = self._tag(position)
        if not tag:
            return
        place = QRectF(box.left() - self._lead(position), box.top(), self._lead(position), box.height())
        painter.setPen(QColor(self.theme.faint))
        painter.drawText(place, int(Qt.AlignmentFlag.AlignCenter), tag)
        if position > 0:
            painter.setPen(QPen(QColor(self.theme.text), 2))
            painter.drawLine(place.topLeft() + QPointF(2, 0), place.bottomLeft() + QPointF(2, 0))

    def _draw_marks(self, painter: QPainter, position: int, box: QRectF) -> None:
        marks, theme = self.marks, self.theme
        if position in marks.reading:
            colour = theme.prefill if marks.kind == "prefill" else theme.decode
            painter.fillRect(QRectF(box.left(), box.bottom() + 2, box.width(), 3), QColor(colour))
        if self._edited(position):
            self._draw_edited(painter, box)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for marked, colour, width in ((marks.hovered, theme.hover, 2.0), (marks.pinned, theme.accent, 3.0)):
            if marked == position:
                painter.setPen(outline_pen(theme, colour, width))
                painter.drawRoundedRect(box.adjusted(-1.5, -1.5, 1.5, 1.5), 4, 4)
        if position in marks.flags:
            self._draw_flag(painter, box)

    def _edited(self, position: int) -> bool:
        """Whether something was replaced in the pass that chose the token."""
        step = self.run.step_choosing(position)
        return step is not None and step.edited

    def _draw_edited(self, painter: QPainter, box: QRectF) -> None:
        """A corner of its own colour with a rim, to be seen on every fill."""
        side = box.height() * 0.42
        corner = QPolygonF([box.topRight(), box.topRight() - QPointF(side, 0), box.topRight() + QPointF(0, side)])
        painter.setPen(QPen(QColor(self.theme.panel), 1.5))
        painter.setBrush(QColor(self.theme.cut))
        painter.drawPolygon(corner)

    def _draw_flag(self, painter: QPainter, box: QRectF) -> None:
        """A ribbon that hangs over the upper edge, with a rim to be seen on every fill and on the ring of the pin."""
        width, height = box.height() * 0.34, box.height() * 0.5
        ribbon = QRectF(box.left() + 2, box.top() - box.height() * 0.22, width, height)
        notch = QPointF(ribbon.center().x(), ribbon.bottom() - width * 0.4)
        shape = QPolygonF([ribbon.topLeft(), ribbon.topRight(), ribbon.bottomRight(), notch, ribbon.bottomLeft()])
        painter.setPen(QPen(QColor(self.theme.panel), 1.5))
        painter.setBrush(QColor(self.theme.accent))
        painter.drawPolygon(shape)

    # -- events --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if self._room() != self._lines.width:
            self._renew()
        else:
            self._fit_scroll_bar(follow=self.marks.pinned is None and self.is_at_end())
        if self.marks.pinned is not None:
            self.show_position(self.marks.pinned)

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: N802
        self.viewport().scroll(0, dy)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        position = self.position_at(event.position())
        self.hovered.emit(-1 if position is None else position)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        position = self.position_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and position is not None:
            self.pressed.emit(position)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Left and right from token to token, Home and End; what else there is scrolls."""
        count, pinned = self.run.n_tokens, self.marks.pinned
        start = count - 1 if pinned is None else pinned
        places: dict[int, int] = {
            Qt.Key.Key_Left: start - 1,
            Qt.Key.Key_Right: start + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: count - 1,
        }
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if count and plain and event.key() in places:
            self.walked.emit(min(max(places[event.key()], 0), count - 1))
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() == Qt.MouseButton.LeftButton:
            self.freed.emit()

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            self._show_tip(event.pos(), event.globalPos())
            return True
        return super().viewportEvent(event)

    def _show_tip(self, point: QPoint, on_screen: QPoint) -> None:
        position = self.position_at(QPointF(point))
        if position is None:
            QToolTip.hideText()
        else:
            QToolTip.showText(on_screen, self.tip(position), self.viewport(), self.box(position).toAlignedRect())
