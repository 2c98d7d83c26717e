"""The strongest neurons of an MLP as rows: a signed bar of what each gives, and the figures it is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, QRectF

from app.compare_neurons import NeuronsOfTwo
from app.theme import Theme
from app.widgets.canvas import pen, tint
from app.widgets.lettering import Painter
from app.widgets.row_table import RowTable
from app.widgets.scale import figure
from engine.frames import Neurons

_FIGURES = ("post", "gate", "up", "a", "b")
_GIVE_WAY = ("up", "gate", "share", "b", "a")  # columns without room for all, the first of them first
_LEAST_GAP = 2.0  # pixels
_Columns = dict[str, tuple[float, float]]  # left and width of each column


class NeuronTable(RowTable):
    """One row a neuron: post = act(gate) · up in the order of the formula, then how much of the output it writes.

    Of two branches: what their posts differ by, then what each of them is.
    """

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme, name, describe)
        self.neurons: Neurons | None = None
        self._meaning = ""
        self.titles: dict[str, str] = {}  # headings of the columns that are shown

    def explain(self, meaning: str) -> None:
        """What the columns mean, for the tip."""
        self._meaning = meaning
        self.refresh()

    def show_neurons(self, neurons: Neurons | None) -> None:
        """Show other neurons; the picked row stays where there is one."""
        self.neurons = neurons
        self.rows_changed()

    @property
    def count(self) -> int:
        return 0 if self.neurons is None else len(self.neurons.ids)

    # --- layout -----------------------------------------------------------------------------------------------

    def _titles(self) -> dict[str, str]:
        """Headings by column; the columns of a plain MLP are fewer."""
        if isinstance(self.neurons, NeuronsOfTwo):
            return {"id": self.tr("neuron"), "post": self.tr("post, A − B"), "a": "A", "b": "B"}
        gated = self.neurons is not None and len(self.neurons.up) > 0
        inner = {"gate": self.tr("gate"), "up": self.tr("up")} if gated else {"gate": self.tr("pre")}
        return {"id": self.tr("neuron"), "post": self.tr("post"), **inner, "share": self.tr("writes")}

    def arrange(self) -> None:
        """The columns that fit: none is cut off, the tip names those that are left out."""
        titles = self._titles()
        self.titles, left_out = dict(titles), []
        for name in (name for name in _GIVE_WAY if name in titles):
            if self._needed() <= self.width():
                break
            left_out.append(name)
            del self.titles[name]
        names = self.tr("No room for: {0}").format(", ".join(titles[name] for name in left_out))
        self.say_about("\n".join(filter(None, (self._meaning, names if left_out else ""))))

    def _needed(self) -> float:
        """Pixels of the columns, and of the sign for others."""
        widths = self._widths(self.titles)
        more = self._more() if len(widths) < len(self._titles()) else 0.0
        return sum(widths.values()) + _LEAST_GAP * (len(widths) + 2) + more

    def _more(self) -> float:
        return self.metrics().horizontalAdvance("…") + _LEAST_GAP

    def _widths(self, titles: dict[str, str]) -> dict[str, float]:
        wide = self.metrics().horizontalAdvance
        number = wide("−0.0000")
        least = {"a": wide("−0.00e−00"), "b": wide("−0.00e−00")}
        return {name: max(least.get(name, number), wide(title)) for name, title in titles.items()}

    def _columns(self, titles: dict[str, str]) -> _Columns:
        """The bars take what the figures leave; where that is little they underline the figures of post."""
        gap, number = self.metrics().height() * 0.5, self.metrics().horizontalAdvance("−0.0000")
        widths = self._widths(titles)
        room = self.width() - (self._more() if len(titles) < len(self._titles()) else 0.0)
        rest = room - sum(widths.values()) - gap * (len(widths) + 2)
        if rest < 0:  # closer together before a column is left out
            gap = max(_LEAST_GAP, gap + rest / (len(widths) + 2))
        bar = rest if rest > number else 0.0
        if not bar:
            widths["post"] += max(0.0, rest)
        columns, left = {}, gap
        for name in ("id", "bar", *list(titles)[1:]):
            width = bar if name == "bar" else widths[name]
            columns[name] = (left, width)
            left += width + (gap if width else 0.0)
        return columns

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.neurons is None:
            return
        columns, high = self._columns(self.titles), self._high()
        for name, title in self.titles.items():
            painter.write(columns[name][0], 0, columns[name][1], high, title, 1.0, self.theme.faint)
        if len(self.titles) < len(self._titles()):
            painter.write(self.width() - self._more(), 0, self._more(), high, "…", 0.0, self.theme.faint)
        largest = float(np.abs(self.neurons.post).max(initial=0.0)) or 1.0
        for line, row in enumerate(self.visible_rows()):
            self._draw_row(painter, self.neurons, row, (line + 1) * high, columns, largest)

    def _draw_row(
        self, painter: Painter, shown: Neurons, row: int, top: float, columns: _Columns, largest: float
    ) -> None:
        self._draw_bar(painter, self._bar(columns, top), float(shown.post[row]) / largest)
        texts = {"id": str(shown.ids[row])}
        texts |= {name: figure(float(getattr(shown, name)[row])) for name in _FIGURES if name in columns}
        if "share" in columns:
            texts["share"] = share_text(float(shown.share[row]))
        for name, text in texts.items():
            left, width = columns[name]
            painter.write(left, top, width, self._high(), text, 1.0, self.theme.text)

    def _bar(self, columns: _Columns, top: float) -> QRectF:
        """The ground of a bar."""
        line, high = self.metrics().height(), self._high()
        left, width = columns["bar"]
        if width:
            return QRectF(left, top + high / 2 - line * 0.35, width, line * 0.7)
        left, width = columns["post"]
        return QRectF(left, top + high - line * 0.22, width, line * 0.18)

    def _draw_bar(self, painter: Painter, ground: QRectF, part: float) -> None:
        """From the middle to the right where positive, to the left where negative; ``part`` is -1..1."""
        painter.fillRect(ground, tint(self.theme.window))
        middle = ground.center().x()
        length = min(abs(part), 1.0) * ground.width() / 2 if np.isfinite(part) else 0.0
        left = middle - length if part < 0 else middle
        colour = self.theme.prefill if part < 0 else self.theme.mlp
        painter.fillRect(QRectF(left, ground.top(), max(1.0, length), ground.height()), tint(colour))
        painter.setPen(pen(self.theme.faint))
        painter.drawLine(QPointF(middle, ground.top()), QPointF(middle, ground.bottom()))


def share_text(share: float) -> str:
    """A length against another in percent, which may be more than 100."""
    return f"{share * 100:.1f} %"
