"""The most probable tokens before and after the sampling stages, as a table of bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent, QWheelEvent

from app.theme import Theme
from app.widgets.amounts import percent
from app.widgets.canvas import outline_pen, pen, tint
from app.widgets.lettering import Painter
from app.widgets.row_picture import RowPicture

_LEAST_ROWS = 3


@dataclass(frozen=True)
class Candidate:
    """``raw`` and ``final`` are probabilities; ``cut_by`` names the stage that cut it, "" if none did."""

    rank: int
    id: int
    text: str
    raw: float
    final: float
    cut_by: str
    chosen: bool


_Columns = dict[str, tuple[float, float]]  # left and width of each column


class CandidateTable(RowPicture):
    """One row a candidate. The chosen one is always on screen: below the others if it lies further down.

    ``row_taken``: a double click on a row, or Enter on the picked one.
    """

    row_taken = Signal(int)

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme)
        self.rows: tuple[Candidate, ...] = ()
        self.first = 0
        self.row: int | None = None
        self._thin = False
        self.setAccessibleName(name)

    def show_candidates(self, rows: tuple[Candidate, ...]) -> None:
        self.rows = rows
        self.first = 0
        self._bring_chosen()
        self.hovered = self.row = None
        self.refresh()

    def describe(self, row: int) -> str:
        """Everything about one candidate in words."""
        item = self.rows[row]
        text = self.tr("“{0}” id {1}, rank {2}: raw {3}, final {4}").format(
            item.text, item.id, item.rank, f"{item.raw:.7g}", f"{item.final:.7g}"
        )
        if item.cut_by:
            text += self.tr(", cut by {0}").format(item.cut_by)
        return text + (self.tr(", chosen") if item.chosen else "")

    # --- layout -----------------------------------------------------------------------------------------------

    def _high(self) -> float:
        return self.metrics().height() * 1.35

    def fits(self) -> int:
        """Rows below the heading."""
        return max(1, int((self.height() - self._high()) / self._high()))

    def visible_rows(self) -> list[int]:
        """Which candidates are on screen, from top to bottom."""
        shown = list(range(self.first, min(self.first + self.fits(), len(self.rows))))
        chosen = self._chosen()
        if shown and chosen is not None and chosen > shown[-1] and len(shown) > 1:
            shown[-1] = chosen
        return shown

    def _bring_chosen(self) -> None:
        """Where there is one line only it is the chosen one's."""
        chosen = self._chosen()
        if chosen is not None and chosen not in self.visible_rows():
            self.first = max(0, chosen - self.fits() + 1)

    def _chosen(self) -> int | None:
        return next((row for row, item in enumerate(self.rows) if item.chosen), None)

    def _columns(self) -> _Columns:
        """Left and width of each column."""
        wide = self.metrics().horizontalAdvance
        gap = self.metrics().height() * 0.35
        rank, text = wide("000"), min(wide("m") * 10, self.width() * 0.26)
        number = max(wide("99.9 %"), wide("0.00 %"), wide("<0.01 %"))
        rest = (self.width() - rank - text - 2 * number - gap * 7) / 2
        self._thin = rest < number  # no room for bars of their own: they underline the figures
        bar = 0.0 if self._thin else rest
        number = max(number, (self.width() - rank - text - gap * 5) / 2) if self._thin else number
        left, columns = gap, {}
        for name, width in (
            ("rank", rank),
            ("text", text),
            ("raw", bar),
            ("raw %", number),
            ("final", bar),
            ("final %", number),
        ):
            columns[name] = (left, width)
            left += width + (gap if width else 0.0)
        return columns

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        columns, high, shown = self._columns(), self._high(), self.visible_rows()
        chosen = next((line for line, row in enumerate(shown) if self.rows[row].chosen), None)
        if chosen is not None:
            painter.fillRect(QRectF(0, (chosen + 1) * high, self.width(), high), tint(self.theme.raised))
        ground = tuple((self.rows[row].rank, bool(self.rows[row].cut_by)) for row in shown)
        self.part(painter, "ground", self.area(), ground, lambda own: self._draw_ground(own, ground, columns))
        last = self.first - 1
        for line, row in enumerate(shown):
            top = (line + 1) * high
            if row != last + 1:  # the chosen one lies further down
                painter.setPen(pen(self.theme.faint, 1, Qt.PenStyle.DashLine))
                painter.drawLine(QPointF(0, top), QPointF(self.width(), top))
            last = row
            self._draw_row(painter, self.rows[row], top, columns)

    def _draw_ground(self, painter: Painter, ground: tuple[tuple[int, bool], ...], columns: _Columns) -> None:
        """What is the same for most tokens: the heading, the ranks, the ground of the bars."""
        high = self._high()
        for name, title in (("text", self.tr("token")), ("raw", self.tr("raw")), ("final", self.tr("final"))):
            left, width = columns[name]
            width += columns.get(f"{name} %", (0.0, 0.0))[1]
            painter.write(left, 0, width, high, title, 0.0, self.theme.faint)
        for line, (rank, cut) in enumerate(ground):
            top = (line + 1) * high
            painter.write(columns["rank"][0], top, columns["rank"][1], high, str(rank), 1.0, self.theme.faint)
            for name in ("raw",) if cut else ("raw", "final"):
                painter.fillRect(QRectF(*self._bar(columns, name, top)), tint(self.theme.window))

    def _draw_row(self, painter: Painter, item: Candidate, top: float, columns: _Columns) -> None:
        high, colour = self._high(), self.theme.faint if item.cut_by else self.theme.text

        def write(name: str, text: str, share: float) -> None:
            left, width = columns[name]
            painter.write(left, top, width, high, text, share, colour)

        write("text", item.text, 0.0)
        self._draw_bar(painter, self._bar(columns, "raw", top), item.raw, self.theme.prefill)
        write("raw %", percent(item.raw), 1.0)
        if item.cut_by:
            left = columns["final"][0]
            width = sum(columns["final %"]) - left
            painter.write(left, top, width, high, self.tr("✂ {0}").format(item.cut_by), 0.0, self.theme.cut)
            return
        self._draw_bar(painter, self._bar(columns, "final", top), item.final, self.theme.decode)
        write("final %", percent(item.final), 1.0)

    def _bar(self, columns: _Columns, name: str, top: float) -> tuple[float, float, float, float]:
        """The ground of a bar: left, top, width, height."""
        line, high = self.metrics().height(), self._high()
        left, width = columns[f"{name} %" if self._thin else name]
        if self._thin:
            return left, top + high - line * 0.22, width, line * 0.18
        return left, top + high / 2 - line * 0.35, width, line * 0.7

    def _draw_bar(self, painter: Painter, ground: tuple[float, float, float, float], share: float, colour: str) -> None:
        if share > 0:
            left, top, width, high = ground
            painter.fillRect(QRectF(left, top, max(1.0, width * share), high), tint(colour))

    def draw_marks(self, painter: Painter) -> None:
        shown = self.visible_rows()
        painter.setBrush(Qt.BrushStyle.NoBrush)
        chosen = next((row for row in shown if self.rows[row].chosen), None)
        marks = ((chosen, self.theme.accent, 2), (self.hovered, self.theme.hover, 1), (self.row, self.theme.accent, 1))
        for row, colour, width in marks:
            if row in shown:
                top = (shown.index(row) + 1) * self._high()
                painter.setPen(outline_pen(self.theme, colour, width))
                painter.drawRect(QRectF(1, top, self.width() - 2, self._high()))

    # --- size, mouse and keys ---------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._bring_chosen()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """A heading and a few rows."""
        return super().minimumSizeHint().expandedTo(QSize(0, math.ceil(self._high() * (1 + _LEAST_ROWS))))

    def row_at(self, place: QPointF) -> int | None:
        line = int(place.y() / self._high()) - 1
        shown = self.visible_rows()
        return shown[line] if 0 <= line < len(shown) else None

    def pick(self, row: int) -> None:
        """Pick a row and bring it on screen."""
        self.row = row
        if row not in self.visible_rows():
            self.first = max(0, row - self.fits() + 1) if row > self.first else row
            self.refresh()
        self.setAccessibleDescription(self.describe(row))
        self.row_picked.emit(row)
        self.refresh_marks()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        row = self.row_at(event.position())
        if row is not None:
            self.row_taken.emit(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.row is not None:
            self.row_taken.emit(self.row)
            return
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if step is None or not self.rows:
            event.ignore()
            return
        self.pick(min(max((-1 if self.row is None else self.row) + step, 0), len(self.rows) - 1))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        lines = -round(event.angleDelta().y() / 40)
        self.first = min(max(self.first + lines, 0), max(0, len(self.rows) - self.fits()))
        self.refresh()
        event.accept()
