"""One position under the lens: the most probable tokens at every layer, and the way of some of them through it."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QSplitter, QWidget

from app.cursor import Cursor
from app.run import Run
from app.theme import Theme
from app.widgets.axis import Axis
from app.widgets.heatmap import ABSENT, SHOWN, Cells
from app.widgets.lens_grid import LensGrid, spread
from app.widgets.lens_scales import probability
from app.widgets.lens_words import LensWords, boundary_axis, boundary_text
from app.widgets.line_chart import Chart, Line, LineChart
from app.widgets.pages import fill
from app.widgets.scale import exact
from app.widgets.still_label import StillLabel
from engine.frames import LensColumn

_NAME = 12  # characters of a token at the end of its line


class LensColumnView(QWidget):
    """``words_changed``: the user follows other tokens. ``scale`` is the control of what the lines show."""

    words_changed = Signal()

    def __init__(self, run: Run, cursor: Cursor, words: LensWords, theme: Theme) -> None:
        super().__init__()
        self._run, self._cursor, self._words, self._theme = run, cursor, words, theme
        self._shown: LensColumn | None = None
        self._boundaries = np.zeros(0, np.int64)  # that have a row of the table
        self._title = StillLabel(wrap=True)
        self._title.label.setTextFormat(Qt.TextFormat.PlainText)
        self._title.label.setMargin(self.fontMetrics().height() // 3)
        self.table = LensGrid(theme, self.tr("Most probable tokens at every layer"), self._describe_cell)
        self._lines = LineChart(theme, self.tr("Words over the layers"))
        self.scale = QComboBox()
        self.scale.addItem(self.tr("place"), "place")
        self.scale.addItem(self.tr("probability"), "probability")
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.table)
        split.addWidget(self._lines)
        split.setSizes([600, 400])
        split.setChildrenCollapsible(False)
        fill(self, self._title, split).setStretch(1, 1)
        self._connect()

    def _connect(self) -> None:
        self.scale.currentIndexChanged.connect(self._draw_lines)
        self.table.cell_hovered.connect(self._hover_cell)
        self.table.cell_picked.connect(self._pick_cell)
        self.table.cell_chosen.connect(self._toggle_word)
        self._lines.place_hovered.connect(self._hover_place)
        self._lines.place_picked.connect(lambda row: self._cursor.pin(layer=self._layer(row)))
        for leaving in (self.table.cell_left, self._lines.place_left):
            leaving.connect(self._cursor.leave)

    # --- for the panel ----------------------------------------------------------------------------------------

    def take(self, answer: LensColumn | None) -> None:
        """Show another answer; None shows nothing."""
        if answer is None or answer is not self._shown:
            self._shown = answer if answer is not None and len(answer.ids) else None
            self._draw()

    def mark(self) -> None:
        """The cursor moved."""
        pinned, hovered = self._cursor.pinned.layer, self._cursor.hovered.layer
        self.table.mark((self._row_of(pinned), None), (self._row_of(hovered), None))
        self._lines.mark(pinned, hovered)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.table.set_theme(theme)
        self._lines.set_theme(theme)
        self._draw()

    def fit(self) -> None:
        """Another size: as many ranks as have room for their words."""
        self._draw_table()

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen, by name."""
        if self._shown is None:
            return {}
        text = np.vectorize(self._words.text, otypes=[np.str_])
        texts = {"texts": text(self._shown.ids), "word_texts": text(self._shown.words)}
        found = texts | {name: getattr(self._shown, name) for name in _FIELDS}
        return {f"column_{name}": array for name, array in found.items()}

    # --- what is shown ----------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._title.setText(self._title_text())
        self._draw_table()
        self._draw_lines()

    def _title_text(self) -> str:
        shown = self._shown
        if shown is None:
            return ""
        text = self.tr("After position {0} “{1}”").format(shown.position, self._run.label(shown.position))
        if shown.next_id >= 0:
            text += self.tr(" follows “{0}”").format(self._words.text(shown.next_id))
        return f"{text}. {self._settled_text(shown)}"

    def _settled_text(self, shown: LensColumn) -> str:
        if shown.settled < 0:
            return self.tr("The last layers are not computed yet.")
        first = self._words.text(int(shown.ids[-1, 0]))
        if shown.settled >= shown.rows_total - 1:
            return self.tr("“{0}” is the first choice only after the last layer.").format(first)
        return self.tr("“{0}” is the first choice from layer {1} on.").format(first, shown.settled)

    def _draw_table(self) -> None:
        shown = self._shown
        if shown is None:
            self.table.show_words(None, [])
            return
        rows = self._shown_rows(shown.rows_total)
        columns = min(self.table.columns_that_fit(len(rows)), shown.ids.shape[1])
        values, state = np.zeros((len(rows), columns), np.float32), np.full((len(rows), columns), ABSENT, np.uint8)
        known = rows[rows < len(shown.ids)]
        values[: len(known)], state[: len(known)] = shown.probabilities[known, :columns], SHOWN
        texts = [[self._words.text(id) for id in row] for row in shown.ids[known, :columns].tolist()]
        ranks = Axis(
            self.tr("place · click a word to follow it"), columns, lambda column: str(column + 1), numbers=True
        )
        scale = probability(self._theme, self.tr("probability"))
        self.table.show_words(Cells(values, boundary_axis(rows, self.tr), ranks, scale, state), texts)
        self.mark()

    def _shown_rows(self, total: int) -> np.ndarray:
        """The boundaries that have a row of the table."""
        self._boundaries = spread(total, self.table.rows_that_fit())
        return self._boundaries

    def _row_of(self, boundary: int | None) -> int | None:
        (rows,) = np.nonzero(self._boundaries == boundary)
        return int(rows[0]) if len(rows) else None

    def _draw_lines(self) -> None:
        shown = self._shown
        if shown is None:
            self._lines.show_chart(None)
            return
        by_place = self.scale.currentData() == "place"
        known, layers = len(shown.ids), shown.rows_total - 1
        self._lines.show_chart(
            Chart(
                tuple(self._line(shown, index, by_place) for index in range(len(shown.words))),
                self.tr("entering layer ({0}: after the last)").format(layers),
                self.tr("place") if by_place else self.tr("probability"),
                x_low=0,
                x_high=max(1, layers),
                y_low=self._deepest(shown) if by_place else 0.0,
                y_high=1.0,
                y_log=by_place,
                computed=known - 0.5 if known <= layers else np.inf,
            )
        )
        self.mark()

    def _deepest(self, shown: LensColumn) -> float:
        """The power of ten that holds every place; the last place, if that is less."""
        power = 10.0 ** max(1, math.ceil(math.log10(int(shown.word_rank.max(initial=0)) + 1)))
        return power if self._run.model is None else min(power, float(max(2, self._run.model.d_vocab)))

    def _line(self, shown: LensColumn, index: int, by_place: bool) -> Line:
        word, groups = int(shown.words[index]), self._theme.groups
        y = shown.word_rank[index] + 1.0 if by_place else shown.word_probability[index]
        text = self._words.text(word)
        name = text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
        x = np.arange(len(y), dtype=np.float64)
        return Line(name, x, y, groups[index % len(groups)], dashed=word in self._words.followed)

    # --- mouse and texts --------------------------------------------------------------------------------------

    def _layer(self, row: int) -> int:
        """The layer that a boundary enters; the last boundary belongs to the last layer."""
        return row if self._run.model is None else min(row, self._run.model.n_layers - 1)

    def _hover_cell(self, row: int, column: int) -> None:
        self._cursor.hover(layer=self._layer(int(self._boundaries[row])))
        self._cursor.say(self._describe_cell(row, column))

    def _hover_place(self, row: int) -> None:
        self._cursor.hover(layer=self._layer(row))
        self._cursor.say(self._describe_row(row))

    def _pick_cell(self, row: int, column: int) -> None:
        self._cursor.pin(layer=self._layer(int(self._boundaries[row])))
        self._cursor.say(self._describe_cell(row, column))

    def _toggle_word(self, row: int, column: int) -> None:
        shown, boundary = self._shown, int(self._boundaries[row])
        if shown is not None and boundary < len(shown.ids):
            self._words.toggle(int(shown.ids[boundary, column]))
            self.words_changed.emit()

    def _describe_cell(self, row: int, column: int) -> str:
        shown = self._shown
        assert shown is not None
        boundary = int(self._boundaries[row])
        where = self.tr("{0}, position {1}").format(boundary_text(boundary, shown.rows_total, self.tr), shown.position)
        if boundary >= len(shown.ids):
            return self.tr("{0}: not computed yet").format(where)
        id = int(shown.ids[boundary, column])
        return self.tr("{0}, place {1}: “{2}” (id {3}), probability {4}, logit {5}").format(
            where,
            column + 1,
            self._words.text(id),
            id,
            exact(float(shown.probabilities[boundary, column])),
            exact(float(shown.logits[boundary, column])),
        )

    def _describe_row(self, row: int) -> str:
        """Every line at one boundary."""
        shown = self._shown
        if shown is None or not 0 <= row < shown.rows_total:
            return ""
        where = boundary_text(row, shown.rows_total, self.tr)
        if row >= len(shown.ids):
            return self.tr("{0}: not computed yet").format(where)
        parts = [
            self.tr("“{0}” place {1}, {2}").format(
                self._words.text(int(word)),
                f"{shown.word_rank[index, row] + 1:,}",
                exact(float(shown.word_probability[index, row])),
            )
            for index, word in enumerate(shown.words)
        ]
        return f"{where}: {' · '.join(parts)}"


_FIELDS = (
    "ids",
    "logits",
    "probabilities",
    "entropy",
    "divergence",
    "next_probability",
    "next_rank",
    "words",
    "word_probability",
    "word_rank",
)
