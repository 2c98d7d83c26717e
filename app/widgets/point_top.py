"""Entries of a tensor as a table: where each is, a bar from zero, its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent

from app.theme import Theme
from app.widgets.canvas import pen, tint
from app.widgets.lettering import Painter
from app.widgets.row_table import RowTable


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


class EntryTable(RowTable):
    """One row an entry."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme, name, describe)
        self.entries: Entries | None = None

    def show_entries(self, entries: Entries | None) -> None:
        """Show others; the picked row stays where there is one."""
        self.entries = entries
        self.rows_changed()

    @property
    def count(self) -> int:
        return 0 if self.entries is None else len(self.entries.rows)

    # --- layout -----------------------------------------------------------------------------------------------

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

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """With Ctrl or Shift the arrows move something else."""
        if event.modifiers() == Qt.KeyboardModifier.NoModifier:
            super().keyPressEvent(event)
        else:
            event.ignore()
