"""Parameters per component: a table whose bars are the shares, with what one token uses of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QKeyEvent

from app.engine_words import said
from app.theme import Theme, mix
from app.widgets.amounts import bytes_text, grouped, percent
from app.widgets.canvas import outline_pen, pen, tint
from app.widgets.lettering import Painter
from app.widgets.row_picture import RowPicture
from app.widgets.treemap import component_colour

if TYPE_CHECKING:
    from engine.checkpoint.inventory import Inventory

_STEPS = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}


@dataclass(frozen=True)
class _Row:
    name: str
    parameters: int
    active: int
    size: int
    cells: tuple[str, ...]


class ShareTable(RowPicture):
    """One row a component, the whole at the end. Below a row a bar as long as its share; hatched what is not active."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self.rows: tuple[_Row, ...] = ()
        self.titles: tuple[str, ...] = ()
        self._short: tuple[str, ...] = ()  # where there is little room
        self.row: int | None = None
        self._total = 1
        self.setAccessibleName(self.tr("Parameters by component"))

    def show_inventory(self, inventory: Inventory | None) -> None:
        self.rows, self.row, self.hovered = (), None, None
        if inventory is not None and inventory.components:
            self._take(inventory)
        self.refresh()

    def _take(self, inventory: Inventory) -> None:
        self._total = inventory.parameters or 1
        routed = inventory.active != inventory.parameters
        rows = [self._row(part.name, part.parameters, part.active, part.size, routed) for part in inventory.components]
        if inventory.config is not None and inventory.config.tied:
            tied = (self.tr("unembedding"), self.tr("tied"), *([""] * (3 if routed else 2)))
            rows.append(_Row("unembedding", 0, 0, 0, tied))
        stored = sum(part.size for part in inventory.components)
        rows.append(self._row(self.tr("total"), inventory.parameters, inventory.active, stored, routed))
        titles = (self.tr("component"), self.tr("parameters"), self.tr("share"))
        self.titles = (*titles, *([self.tr("active per token")] if routed else []), self.tr("bytes in file"))
        self._short = (*titles, *([self.tr("active")] if routed else []), self.tr("bytes"))
        self.rows = tuple(rows)

    def _row(self, name: str, parameters: int, active: int, size: int, routed: bool) -> _Row:
        cells = (said(name, self.tr), grouped(parameters), percent(parameters / self._total))
        return _Row(name, parameters, active, size, (*cells, *([grouped(active)] if routed else []), bytes_text(size)))

    def describe(self, row: int) -> str:
        """A row in one line."""
        return ", ".join(
            f"{title} {cell}" for title, cell in zip(self.titles, self.rows[row].cells, strict=True) if cell
        )

    # --- layout -----------------------------------------------------------------------------------------------

    def _high(self) -> float:
        return min(self.metrics().height() * 2.4, self.height() / (len(self.rows) + 1))

    def _line(self) -> float:
        """Of text in a row."""
        return self._high() * 0.62

    def _fitting_titles(self) -> tuple[str, ...]:
        room = self.width() - self.metrics().height() * (1.2 + (len(self.titles) + 1) * 0.5)
        return self.titles if sum(self._widths(self.titles)) < room else self._short

    def _widths(self, titles: tuple[str, ...]) -> list[float]:
        wide = self.metrics().horizontalAdvance
        table = [titles, *(row.cells for row in self.rows)]
        return [max(wide(line[column]) for line in table) for column in range(len(titles))]

    def _columns(self, titles: tuple[str, ...]) -> list[tuple[float, float]]:
        """Left and width of each column."""
        gap, widths = self.metrics().height(), self._widths(titles)
        patch = gap * 1.2
        spare = self.width() - sum(widths) - patch - gap * (len(widths) + 1)
        gap = max(4.0, gap + min(spare / (len(widths) + 1), gap * 3))
        columns, left = [], 6 + patch
        for width in widths:
            columns.append((left, width))
            left += width + gap
        return columns

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if not self.rows:
            return
        titles, high = self._fitting_titles(), self._high()
        columns = self._columns(titles)
        for number, title in enumerate(titles):
            self._write(painter, columns[number], 0, title, self.theme.faint, to_the_right=number > 0)
        for number, row in enumerate(self.rows):
            self._draw_row(painter, row, (number + 1) * high, columns, last=number == len(self.rows) - 1)

    def _write(
        self, painter: Painter, column: tuple[float, float], top: float, text: str, colour: str, to_the_right: bool
    ) -> None:
        painter.write(column[0], top, column[1], self._line(), text, 1.0 if to_the_right else 0.0, colour)

    def _draw_row(
        self, painter: Painter, row: _Row, top: float, columns: list[tuple[float, float]], last: bool
    ) -> None:
        high = self._high()
        if last:
            painter.setPen(pen(self.theme.line))
            painter.drawLine(QPointF(0, top), QPointF(self.width(), top))
        for number, cell in enumerate(row.cells):
            self._write(painter, columns[number], top, cell, self.theme.text, to_the_right=number > 0)
        colour = self.theme.faint if last else component_colour(row.name, self.theme)
        side = self.metrics().height() * 0.7
        if not last:
            patch = QRectF(columns[0][0] - side * 1.5, top + (self._line() - side) / 2, side, side)
            painter.fillRect(patch, tint(colour))
        ground = QRectF(6, top + high * 0.64, self.width() - 12, high * 0.2)
        self._draw_bar(painter, row, ground, colour)

    def _draw_bar(self, painter: Painter, row: _Row, ground: QRectF, colour: str) -> None:
        if ground.width() < 8:
            return
        painter.fillRect(ground, tint(self.theme.window))
        whole = QRectF(ground.topLeft(), ground.bottomRight())
        whole.setWidth(row.parameters / self._total * ground.width())
        painter.fillRect(whole, mix(colour, self.theme.panel, 0.65))
        painter.fillRect(whole, QBrush(tint(colour), Qt.BrushStyle.BDiagPattern))
        whole.setWidth(row.active / self._total * ground.width())
        painter.fillRect(whole, tint(colour))

    def draw_marks(self, painter: Painter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for row, colour in ((self.hovered, self.theme.hover), (self.row, self.theme.accent)):
            if row is not None and row < len(self.rows):
                painter.setPen(outline_pen(self.theme, colour))
                painter.drawRect(QRectF(1, (row + 1) * self._high(), self.width() - 2, self._high()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def row_at(self, place: QPointF) -> int | None:
        if not self.rows:
            return None
        row = int(place.y() / self._high()) - 1
        return row if 0 <= row < len(self.rows) else None

    def pick(self, row: int) -> None:
        self.row = row
        self.setAccessibleDescription(self.describe(row))
        self.row_picked.emit(row)
        self.refresh_marks()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or not self.rows:
            event.ignore()
            return
        self.pick(min(max(0 if self.row is None else self.row + step, 0), len(self.rows) - 1))
