"""Entries of a tensor as a table: where each is, a bar from zero, its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QWheelEvent

from app.theme import Theme
from app.widgets.canvas import pen, tint
from app.widgets.lettering import Painter
from app.widgets.row_picture import RowPicture

_STEPS = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -10, Qt.Key.Key_PageDown: 10}


@dataclass(frozen=True)
class Entry:
    """``place``: where in the tensor, in words; ``text``: its figure; ``value``: for the bar, NaN for none."""

    place: str
    text: str
    value: float


@dataclass(frozen=True)
class Entries:
    """Rows with the headings of their two columns."""

    rows: tuple[Entry, ...]
    place: str
    value: str


class EntryTable(RowPicture):
    """One row an entry. ``describe(row)`` gives its text for screen readers and the status bar."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme)
        self.entries: Entries | None = None
        self.describe = describe
        self.first = 0
        self.row: int | None = None
        self.setAccessibleName(name)

    def show_entries(self, entries: Entries | None) -> None:
        """Show others; the picked row stays where there is one."""
        self.entries, self.hovered = entries, None
        self.first = min(self.first, self._last_first())
        if self.row is not None and self.row >= self.count:
            self.row = None
        self.refresh()

    @property
    def count(self) -> int:
        return 0 if self.entries is None else len(self.entries.rows)

    # --- layout -----------------------------------------------------------------------------------------------

    def _high(self) -> float:
        return self.metrics().height() * 1.35

    def fits(self) -> int:
        """Rows below the heading."""
        return max(1, int((self.height() - self._high()) / self._high()))

    def visible_rows(self) -> range:
        """Which rows are on screen."""
        return range(self.first, min(self.first + self.fits(), self.count))

    def _last_first(self) -> int:
        return max(0, self.count - self.fits())

    def _columns(self, entries: Entries) -> tuple[float, float, float]:
        """Widths of place, bar and figure: the bar takes what is left, and gives way first."""
        wide, gap = self.metrics().horizontalAdvance, self.metrics().height() * 0.5
        shown = [entries.rows[row] for row in self.visible_rows()]
        place = max([wide(entries.place), *(wide(row.place) for row in shown)]) + gap
        figure = max([wide(entries.value), *(wide(row.text) for row in shown)]) + gap
        place = min(place, max(self.width() * 0.45, self.width() - figure - gap * 2))
        return place, max(0.0, self.width() - place - figure - 2 * gap), figure

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.entries is None:
            return
        columns, high, gap = self._columns(self.entries), self._high(), self.metrics().height() * 0.5
        place, bar, figure = columns
        painter.write(gap, 0, place, high, self.entries.place, 0.0, self.theme.faint)
        painter.write(gap + place + bar, 0, figure, high, self.entries.value, 1.0, self.theme.faint)
        values = np.array([row.value for row in self.entries.rows])
        finite = values[np.isfinite(values)]
        span = min(0.0, float(finite.min(initial=0.0))), max(0.0, float(finite.max(initial=0.0)))
        for line, row in enumerate(self.visible_rows()):
            top, entry = (line + 1) * high, self.entries.rows[row]
            painter.write(gap, top, place - gap * 0.4, high, entry.place, 0.0, self.theme.text)
            painter.write(gap + place + bar, top, figure, high, entry.text, 1.0, self.theme.text)
            self._draw_bar(painter, QRectF(gap + place, top + high * 0.24, bar, high * 0.52), entry.value, span)

    def _draw_bar(self, painter: Painter, ground: QRectF, value: float, span: tuple[float, float]) -> None:
        """From zero to the right where positive, to the left where negative."""
        low, high = span
        if not np.isfinite(value) or high == low or ground.width() < self.metrics().height():
            return
        painter.fillRect(ground, tint(self.theme.window))
        zero = ground.left() - low / (high - low) * ground.width()
        length = value / (high - low) * ground.width()
        colour = self.theme.prefill if value < 0 else self.theme.mlp
        painter.fillRect(
            QRectF(min(zero, zero + length), ground.top(), max(1.0, abs(length)), ground.height()), tint(colour)
        )
        if low < 0 < high:
            painter.setPen(pen(self.theme.faint))
            painter.drawLine(QPointF(zero, ground.top()), QPointF(zero, ground.bottom()))

    def draw_marks(self, painter: Painter) -> None:
        self.draw_focus(painter)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for row, colour in ((self.hovered, self.theme.hover), (self.row, self.theme.accent)):
            if row in self.visible_rows():
                painter.setPen(pen(colour))
                top = (row - self.first + 1) * self._high()  # type: ignore[operator]  # None is in no range
                painter.drawRect(QRectF(1, top, self.width() - 2, self._high()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def row_at(self, place: QPointF) -> int | None:
        row = self.first + int(place.y() / self._high()) - 1
        return row if row in self.visible_rows() else None

    def pick(self, row: int) -> None:
        """Pick a row and bring it on screen."""
        if not 0 <= row < self.count:
            return
        self.row = row
        first = min(max(self.first, row - self.fits() + 1), row)
        if first != self.first:
            self.first = first
            self.refresh()
        self.setAccessibleDescription(self.describe(row))
        self.row_picked.emit(row)
        self.refresh_marks()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or not self.count or event.modifiers() != Qt.KeyboardModifier.NoModifier:
            event.ignore()
            return
        self.pick(min(max(0 if self.row is None else self.row + step, 0), self.count - 1))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        lines = -round(event.angleDelta().y() / 40)
        self.first = min(max(self.first + lines, 0), self._last_first())
        self.refresh()
        event.accept()
