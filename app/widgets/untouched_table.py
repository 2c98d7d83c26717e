"""Tokens of an edited pass beside the untouched one: their probabilities, and how far their logits moved."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF

from app.theme import Theme
from app.untouched_words import Compared
from app.widgets.amounts import percent
from app.widgets.canvas import pen, tint
from app.widgets.lettering import Painter
from app.widgets.row_table import RowTable
from app.widgets.scale import exact, figure

_Columns = dict[str, tuple[float, float]]  # left and width of each column


class UntouchedTable(RowTable):
    """One row a token; bars below the figures are probabilities, and to both sides of the middle the changes."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme, name, self._words)
        self.rows: tuple[Compared, ...] = ()

    def show_rows(self, rows: tuple[Compared, ...]) -> None:
        if rows != self.rows:
            self.rows = rows
            self.rows_changed()

    @property
    def count(self) -> int:
        return len(self.rows)

    def _words(self, row: int) -> str:
        found = self.rows[row]
        if found.heading:
            return found.text
        text = self.tr("“{0}” id {1}").format(found.text, found.id)
        if found.before is not None and found.after is not None:
            text += self.tr(": untouched {0}, edited {1}").format(f"{found.before:.7g}", f"{found.after:.7g}")
        return text + self.tr(", logit {0}").format(_signed(found.changed, exact(found.changed)))

    # --- layout -----------------------------------------------------------------------------------------------

    def _columns(self) -> _Columns:
        gap, wide = self.metrics().height() * 0.5, self.metrics().horizontalAdvance
        number = max(wide("<0.01 %"), wide(self.tr("untouched")), wide(self.tr("edited")))
        change = max(wide("−0.000000"), wide(self.tr("Δ logit")))  # as long as figures get
        text = max(wide("m") * 3, self.width() - 2 * number - change - gap * 5)
        columns, left = {}, gap
        for name, width in (("text", text), ("before", number), ("after", number), ("change", change)):
            columns[name] = (left, width)
            left += width + gap
        return columns

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if not self.rows:
            return
        columns, high = self._columns(), self._high()
        titles = {"text": self.tr("token"), "before": self.tr("untouched"), "after": self.tr("edited")}
        for name, title in (titles | {"change": self.tr("Δ logit")}).items():
            left, width = columns[name]
            painter.write(left, 0, width, high, title, 0.0 if name == "text" else 1.0, self.theme.faint)
        largest = max((abs(row.changed) for row in self.rows if math.isfinite(row.changed)), default=0.0) or 1.0
        for line, row in enumerate(self.visible_rows()):
            self._draw_row(painter, self.rows[row], (line + 1) * high, columns, largest)

    def _draw_row(self, painter: Painter, row: Compared, top: float, columns: _Columns, largest: float) -> None:
        high = self._high()
        if row.heading:
            painter.setPen(pen(self.theme.line))
            painter.drawLine(QPointF(0, top + 1), QPointF(self.width(), top + 1))
            painter.write(columns["text"][0], top, self.width(), high, row.text, 0.0, self.theme.faint)
            return
        if row.chosen:
            painter.fillRect(QRectF(0, top, self.width(), high), tint(self.theme.raised))
        left, width = columns["text"]
        painter.write(left, top, width, high, row.text, 0.0, self.theme.text)
        sides = (("before", row.before, self.theme.prefill), ("after", row.after, self.theme.decode))
        for name, share, colour in sides:
            if share is not None:
                left, width = columns[name]
                painter.write(left, top, width, high, percent(share), 1.0, self.theme.text)
                self._draw_share(painter, self._bar(columns, name, top), share, colour)
        left, width = columns["change"]
        painter.write(left, top, width, high, _signed(row.changed, figure(row.changed)), 1.0, self.theme.text)
        self._draw_change(painter, self._bar(columns, "change", top), row.changed / largest)

    def _bar(self, columns: _Columns, name: str, top: float) -> QRectF:
        line, (left, width) = self.metrics().height(), columns[name]
        return QRectF(left, top + self._high() - line * 0.22, width, line * 0.18)

    def _draw_share(self, painter: Painter, ground: QRectF, share: float, colour: str) -> None:
        painter.fillRect(ground, tint(self.theme.window))
        if share > 0:
            painter.fillRect(QRectF(ground.left(), ground.top(), max(1.0, ground.width() * share), ground.height()),
                             tint(colour))  # fmt: skip

    def _draw_change(self, painter: Painter, ground: QRectF, part: float) -> None:
        """From the middle to the right where it rose, to the left where it fell; a ban fills its side."""
        painter.fillRect(ground, tint(self.theme.window))
        length = min(abs(part), 1.0) * ground.width() / 2
        middle = ground.center().x()
        left = middle - length if part < 0 else middle
        colour = self.theme.cut if part < 0 else self.theme.good
        if length:
            painter.fillRect(QRectF(left, ground.top(), max(1.0, length), ground.height()), tint(colour))
        painter.setPen(pen(self.theme.faint))
        painter.drawLine(QPointF(middle, ground.top()), QPointF(middle, ground.bottom()))


def _signed(value: float, text: str) -> str:
    """With its sign, also where it is positive; a banned token has none left."""
    if not math.isfinite(value):
        return "−∞" if value < 0 else "∞"
    return f"+{text}" if value > 0 else text
