"""The logit lens: which token the model would choose if it ended at this layer, for a window of positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QScrollBar, QToolButton, QWidget

from app.axis_words import axes_of, scaled
from app.engine_words import sources_text
from app.panels.panel import Context, Panel
from app.widgets.axis import Axis
from app.widgets.flow import FlowLayout
from app.widgets.heatmap import SHOWN, Cells
from app.widgets.lens_column import LensColumnView
from app.widgets.lens_grid import LensGrid, spread, steps_on
from app.widgets.lens_scales import QUANTITIES, Quantity, coloured, difference_scale, differing, names
from app.widgets.lens_words import LensWords, boundary_axis, boundary_text
from app.widgets.pages import Pages, fill, labelled
from app.widgets.turning import TurningSplitter
from app.widgets.values_model import Along
from engine.frames import Answer, Lens, LensColumn
from engine.questions import AskLens, AskLensColumn, Question

_MOST_COLUMNS = 48
_SMALL = 42  # lines of text: a panel that is neither so wide nor so high has room for the grid only


class LensPanel(Panel):
    """Row l of the grid is the stream that enters layer l, as in the residual panel; the last one is the model's own.

    Only the window of positions that is seen is computed. ``_first`` None: it follows the newest position.
    """

    key = "lens"
    compares = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lens: Lens | None = None
        self._less: Lens | None = None  # of the branch that is subtracted
        self._first: int | None = None
        self._pinned: int | None = None  # when the window was last moved for it
        self._count = 8
        self._boundaries = np.zeros(0, np.int64)  # that have a row
        self._asked: dict[str, Question] = {}
        self._words = LensWords(context.run)
        theme = context.theme
        self._grid = LensGrid(theme, self.tr("First choice by layer and position"), self._describe_cell)
        self._column = LensColumnView(context.run, context.cursor, self._words, theme)
        self._bar = QScrollBar(Qt.Orientation.Horizontal)
        self._bar.setAccessibleName(self.tr("Which positions are seen"))
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._built = True
        self._resized.timeout.connect(self._size_settled)
        for picture in (self._grid, self._column.table):
            picture.resized.connect(self._resized.start)
        self.show_run()

    # --- building ---------------------------------------------------------------------------------------------

    def _make_content(self) -> QWidget:
        left, content = QWidget(), QWidget()
        fill(left, self._grid, self._bar).setStretch(0, 1)
        self._split = TurningSplitter()
        self._split.addWidget(left)
        self._split.addWidget(self._column)
        self._split.setSizes([560, 440])
        fill(content, self._make_controls(), self._words_about, self._split).setStretch(2, 1)
        return content

    def _make_controls(self) -> QWidget:
        bar = QWidget()
        flow = FlowLayout(bar)
        self._quantity = QComboBox()
        for quantity in QUANTITIES:
            self._quantity.addItem(names(self.tr)[quantity.key][0], quantity.key)
        self._every = QCheckBox(self.tr("every layer"))
        self._every.setToolTip(self.tr("Show every layer, without words where there is no room for them"))
        self._about = QToolButton()
        self._about.setText(self.tr("What is this?"))
        self._about.setCheckable(True)
        self._about.setToolTip(self._about_text())
        self._about.setAccessibleDescription(self._about_text())
        self._words_about = QLabel(self._about_text(), wordWrap=True)
        self._words_about.hide()
        self._words_about.setMargin(self.fontMetrics().height() // 2)
        flow.addWidget(labelled(self.tr("Colour"), self._quantity))
        self._lines_box = labelled(self.tr("Lines"), self._column.scale)
        flow.addWidget(self._lines_box)
        flow.addWidget(self._every)
        flow.addWidget(self._about)
        return bar

    def _about_text(self) -> str:
        return self.tr(
            "The logit lens takes the residual stream between two layers and reads it with the last layer's norm and "
            "unembedding, as if the model ended there. A word in a cell is what would then be the first choice. "
            "It is a reading, not what the model “thinks”: the layers in between need not keep the stream in a form "
            "that suits the last layer, and the first rows often show nothing that makes sense. "
            "The last row is the model's own distribution."
        )

    def _connect(self) -> None:
        self._quantity.currentIndexChanged.connect(self._draw_grid)
        self._every.toggled.connect(self._size_settled)
        self._about.toggled.connect(self._words_about.setVisible)
        self._bar.valueChanged.connect(self._scrolled)
        self._grid.cell_hovered.connect(self._hover_cell)
        self._grid.cell_picked.connect(self._pick_cell)
        self._grid.cell_left.connect(self.context.cursor.leave)
        self._column.words_changed.connect(self.watches_changed)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Lens")

    def main_picture(self) -> QWidget:
        return self._grid

    def badge(self) -> str:
        return "" if self._pages.empty or self._lens is None else sources_text(self._lens.source, self.tr)

    def caption(self) -> str:
        shown = self._lens
        if self._pages.empty or shown is None:
            return ""
        rows, count = shown.ids.shape
        of = self.tr("{0} of {1}").format(len(self._boundaries), rows) if len(self._boundaries) < rows else str(rows)
        text = self.tr("{0} boundaries, positions {1} to {2} of {3}").format(
            of, shown.start, shown.start + count - 1, shown.n_total
        )
        text += self.tr("; from the line down the final choice is first")
        return text + (self.tr("; a larger panel shows one position, too") if self._small() else "")

    def watches(self) -> Mapping[str, Question]:
        run = self.context.run
        if run.model is None or run.n_visible == 0:
            return {}
        self._follow_pin()
        self._fit()
        window: dict[str, Question] = {"lens.window": AskLens(self._first, self._count)}
        if self._small() or self.differs:
            return window
        position = run.within(0, self.context.cursor.pinned.position)[1]
        return {"lens.column": AskLensColumn(position, words=self._words.followed), **window}

    def show_run(self) -> None:
        if self.another_run():
            self._lens, self._less = None, None
            kept = self._first is not None and self._first + self._count <= self.context.run.n_visible
            self._first = self._first if kept and self.same_prompt else None
            self._fit_parts()
            self._words.forget_of_other_models()
            self._column.take(None)
            self._draw_grid()
        self._say_what_is_missing()

    def show_answer(self, key: str, answer: Answer) -> None:
        if self.context.run.model is None:
            return
        if isinstance(answer, Lens) and answer is not self._lens:
            self._lens = answer if answer.ids.shape[1] else None
            self._words.learn(answer.pieces)
            self._draw_grid()
        elif isinstance(answer, LensColumn):
            self._words.learn(answer.pieces)
            self._column.take(answer)
        self._say_what_is_missing()
        self.caption_changed.emit()

    def show_difference(self, key: str, a: Answer, b: Answer) -> None:
        """Figures are subtracted; words of both stand beside each other."""
        if not isinstance(a, Lens) or not isinstance(b, Lens) or (a.start, a.ids.shape) != (b.start, b.ids.shape):
            super().show_difference(key, a, b)
            return
        self.set_aside(key, "")
        self._less = b
        self._words.learn(b.pieces)
        self.show_answer(key, a)

    def show_cursor(self) -> None:
        self._follow_pin()
        self._mark()
        self._column.mark()

    def undo(self) -> bool:
        """Let go of the word that is followed since last."""
        if not self._words.followed or self._small():
            return False
        self._words.toggle(self._words.followed[-1])
        self.watches_changed.emit()
        return True

    def restyle(self) -> None:
        self._grid.set_theme(self.context.theme)
        self._column.set_theme(self.context.theme)
        self._draw_grid()

    def values(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        if self._lens is not None:
            text = np.vectorize(self._words.text, otypes=[np.str_])
            found = {name: text(getattr(self._lens, of)) for name, of in _WORDS.items()}
            found |= {name: getattr(self._lens, name) for name in _FIELDS}
        if self._lens is not None and self._less is not None:
            found["difference"] = differing(self._shown_quantity(), self._lens, self._less)[0]
        return found if self._small() or self.differs else found | self._column.values()

    def axes(self) -> dict[str, tuple[Along, ...]]:
        start = 0 if self._lens is None else self._lens.start
        whole = axes_of(self.key, self.context.run.label)
        of_window = {name: axes for name, axes in whole.items() if not name.startswith("column_")}
        return whole | {name: (*axes[:-1], *scaled(axes[-1:], (start, 1))) for name, axes in of_window.items()}

    # --- the window of positions ------------------------------------------------------------------------------

    def _n_total(self) -> int:
        return self.context.run.n_visible if self._lens is None else max(self._lens.n_total, 1)

    def _start(self) -> int:
        """The first position of the window that is asked for."""
        return max(0, self._n_total() - self._count) if self._first is None else self._first

    def _follow_pin(self) -> None:
        """A pinned position comes into view; while one is pinned the window stands, without one it follows."""
        pinned = self.context.cursor.pinned.position
        if pinned is not None and pinned >= self.context.run.n_visible:
            pinned = None  # it comes into view when it is read
        if pinned == self._pinned:
            return
        self._pinned = pinned
        self._first = None if pinned is None else self._around(pinned)
        self._limit_bar()

    def _around(self, position: int) -> int:
        """Where the window begins to hold this position: where it is, if it does and no part of it stays empty."""
        most = max(0, max(self._n_total(), position + 1) - self._count)
        start = min(self._start(), most)
        if start <= position < start + self._count:
            return start
        return min(max(0, position - self._count // 2), most)

    def _limit_bar(self) -> None:
        most, start = max(0, self._n_total() - self._count), self._start()
        self._bar.blockSignals(True)
        self._bar.setRange(0, most)
        self._bar.setPageStep(self._count)
        self._bar.setValue(min(start, most))
        self._bar.blockSignals(False)
        self._bar.setVisible(most > 0)

    def _scrolled(self, start: int) -> None:
        at_the_end = start >= self._bar.maximum() and self.context.cursor.pinned.position is None
        self._first = None if at_the_end else start
        self.watches_changed.emit()

    # --- what is shown ----------------------------------------------------------------------------------------

    def _say_what_is_missing(self) -> None:
        missing = self._pages.missing(self.context.run, self.tr("what every layer would choose"))
        if not missing and self._lens is None:
            missing = self.tr("Reading the prompt: the lens shows a pass that has ended, or is stopped.")
        self._pages.say(missing)

    def _shown_quantity(self) -> Quantity:
        return QUANTITIES[self._quantity.currentIndex()]

    def _draw_grid(self) -> None:
        shown, model = self._lens, self.context.run.model
        if shown is None or model is None:
            self._grid.show_words(None, [])
            return
        quantity, rows = self._shown_quantity(), self._shown_rows(len(shown.ids))
        self._boundaries = rows
        title, less = names(self.tr)[quantity.key][1], self._less
        values, state = coloured(quantity, shown) if less is None else differing(quantity, shown, less)
        scale = quantity.scale(self.context.theme, title, model.d_vocab)
        if less is not None:
            scale = difference_scale(self.context.theme, title, values[state == SHOWN])
        count = shown.ids.shape[1]
        columns = Axis(self._columns_title(shown), count, self._column_label(shown.start, count))
        cells = Cells(values[rows], boundary_axis(rows, self.tr), columns, scale, state[rows])
        texts = [self._texts(row) for row in rows.tolist()]
        self._grid.show_words(cells, texts, steps_on(rows, shown.settled))
        self._limit_bar()
        self._mark()
        self.caption_changed.emit()

    def _texts(self, row: int) -> list[str]:
        """The words of a boundary; of two branches both, where they are not the same."""
        assert self._lens is not None
        words = [self._words.text(id) for id in self._lens.ids[row].tolist()]
        if self._less is None:
            return words
        others = [self._words.text(id) for id in self._less.ids[row].tolist()]
        return [word if word == other else f"{word} | {other}" for word, other in zip(words, others, strict=True)]

    def _column_label(self, start: int, count: int) -> Callable[[int], str]:
        return lambda column: self._grid.cut(self.context.run.label(start + column), count)

    def _columns_title(self, shown: Lens) -> str:
        last = shown.start + shown.ids.shape[1] - 1
        return self.tr("token read at positions {0} to {1}").format(shown.start, last)

    def _shown_rows(self, total: int) -> np.ndarray:
        """The boundaries that are to have a row of the grid."""
        return spread(total, total if self._every.isChecked() else self._grid.rows_that_fit())

    # --- marks and mouse --------------------------------------------------------------------------------------

    def _mark(self) -> None:
        shown, pinned, hovered = self._lens, self.context.cursor.pinned, self.context.cursor.hovered
        if shown is None:
            return
        newest = shown.n_total - 1
        place = self._cell_of(newest if pinned.position is None else pinned.position)
        over = self._row_of(hovered.layer), self._cell_of(hovered.position)
        self._grid.mark((self._row_of(pinned.layer), place), over)

    def _row_of(self, boundary: int | None) -> int | None:
        (rows,) = np.nonzero(self._boundaries == boundary)
        return int(rows[0]) if len(rows) else None

    def _cell_of(self, position: int | None) -> int | None:
        shown = self._lens
        if shown is None or position is None:
            return None
        column = position - shown.start
        return column if 0 <= column < shown.ids.shape[1] else None

    def _layer(self, row: int) -> int:
        """The layer that a row's boundary enters; the last boundary belongs to the last layer."""
        boundary, model = int(self._boundaries[row]), self.context.run.model
        return boundary if model is None else min(boundary, model.n_layers - 1)

    def _hover_cell(self, row: int, column: int) -> None:
        assert self._lens is not None
        self.context.cursor.hover(layer=self._layer(row), position=self._lens.start + column)
        self.context.cursor.say(self._describe_cell(row, column))

    def _pick_cell(self, row: int, column: int) -> None:
        assert self._lens is not None
        said = self._describe_cell(row, column)
        self.context.cursor.pin(layer=self._layer(row), position=self._lens.start + column)
        self.context.cursor.say(said)

    def _describe_cell(self, row: int, column: int) -> str:
        assert self._lens is not None
        shown, run = self._lens, self.context.run
        position, boundary = shown.start + column, int(self._boundaries[row])
        where = self.tr("{0}, position {1} “{2}”").format(
            boundary_text(boundary, len(shown.ids), self.tr), position, run.label(position)
        )
        if shown.ids[boundary, column] < 0:
            return self.tr("{0}: not computed yet").format(where)
        text = self._figures_text(shown, boundary, column)
        if self._less is None or self._less.ids[boundary, column] < 0:
            return f"{where}: {text}"
        return self.tr("{0}: A {1}; B {2}").format(where, text, self._figures_text(self._less, boundary, column))

    def _figures_text(self, shown: Lens, row: int, column: int) -> str:
        words, id = self._words, int(shown.ids[row, column])
        parts = [words.first_choice(id, float(shown.probabilities[row, column]), self.tr)]
        if shown.next_rank[row, column] >= 0:
            next_id, rank = int(shown.next_ids[column]), int(shown.next_rank[row, column])
            parts.append(words.next_token(next_id, float(shown.next_probability[row, column]), rank, self.tr))
        parts.append(words.spread(float(shown.entropy[row, column]), float(shown.divergence[row, column]), self.tr))
        return " · ".join(parts)

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit_parts()
        self._resized.start()

    def _fit_parts(self) -> None:
        """The grid alone where there is little room; one position is told of one branch only."""
        for part in (self._column, self._lines_box):
            part.setVisible(not self._small() and not self.differs)

    def font_changed(self) -> None:
        self._resized.start()

    def _size_settled(self) -> None:
        asked = dict(self.watches())
        self._draw_grid()
        self._column.fit()
        if asked != self._asked:
            self._asked = asked
            self.watches_changed.emit()

    def _small(self) -> bool:
        return max(self.width(), self.height()) < _SMALL * self.fontMetrics().height()

    def _fit(self) -> None:
        """As many positions as there is room for; the pinned one stays in view."""
        model = self.context.run.model
        rows = self._shown_rows(1 if model is None else model.n_layers + 1)
        fitting = self._grid.columns_that_fit(len(rows))
        count = min(_MOST_COLUMNS, max(2, fitting // 2) if self.differs else fitting)  # with room for two words
        if count != self._count:
            self._count = count
            if self._pinned is not None:
                self._first = self._around(self._pinned)
            elif self._first is not None:
                self._first = min(self._first, max(0, self._n_total() - count))


_WORDS = {"words": "ids", "next_words": "next_ids"}
_FIELDS = (
    "ids",
    "probabilities",
    "next_ids",
    "next_probability",
    "next_rank",
    "entropy",
    "divergence",
    "settled",
)
