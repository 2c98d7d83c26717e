"""One hook point's tensor: what it is, its picture, its statistics, how its figures spread, and the strongest."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabBar, QWidget

from app.cursor import Cursor
from app.depth import USUAL, Depth
from app.engine_words import said
from app.point_words import axis_word, exact_text, figures_text, left_axes, place_text, point_text
from app.run import Run, written
from app.theme import Theme, mono_font
from app.widgets.absent_view import AbsentView
from app.widgets.amounts import grouped
from app.widgets.bar_rows import BarRows
from app.widgets.heatmap import Heatmap
from app.widgets.histogram import Counted, Histogram
from app.widgets.pages import fill
from app.widgets.pattern import closest_cell
from app.widgets.point_cells import Form, Look, bars_of, cells_of, clipped, form_of, place_of, whole_place
from app.widgets.point_entries import entries_of, strongest_of
from app.widgets.point_links import PointLinks
from app.widgets.point_top import EntryTable
from app.widgets.scale import figure
from app.widgets.still_label import StillLabel
from app.worked_words import term_text, worked_entries, worked_line
from engine.frames import ExactValue, PointFacts, PointTensor, Worked

_LEAST_COUNTED = 32  # numbers that a histogram is worth drawing of
_LOW_LINES = 26  # a view of fewer lines of text is low: the histogram gives way to the picture
_PAGES: dict[Form, int] = {"map": 0, "over": 0, "keys": 0, "folded": 0, "bars": 1, "entries": 2, "nothing": 3}


class PointView(QWidget):
    """``exact_asked`` carries (position, place on each axis) of a picked cell that stands for several entries,
    ``entry_picked`` the same of every picked entry; ``point_asked`` the full name of a point to look at."""

    exact_asked = Signal(object)
    entry_picked = Signal(object)
    point_asked = Signal(str)

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__()
        self._run, self._cursor, self._theme = run, cursor, theme
        self.tensor: PointTensor | None = None
        self.facts: PointFacts | None = None
        self._name = ""
        self._told: tuple[Depth, str] = (USUAL, "")
        self._exact: ExactValue | None = None
        self._taken: tuple[int, ...] | None = None
        self._picked: tuple[int, ...] | None = None  # the position and place of the entry that was picked
        self.worked: Worked | None = None
        self._words, self._figures, self.sum = (StillLabel(wrap=True) for _ in range(3))
        self.links = PointLinks()
        self.links.point_asked.connect(self.point_asked)
        self.sum.setAccessibleName(self.tr("The figure worked out"))
        for label in (self._words.label, self._figures.label, self.sum.label):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setMargin(self.fontMetrics().height() // 4)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._make_pictures(theme)
        self._make_content()
        self._connect()

    def _make_pictures(self, theme: Theme) -> None:
        self.map = Heatmap(theme, self.tr("Tensor of the point"), self.describe_cell)
        self.bars = BarRows(theme, self.tr("Figures of the point"), lambda place: self.describe_cell(0, place))
        self.list = EntryTable(theme, self.tr("Entries of the point"), self._describe_listed)
        self.absent = AbsentView(theme)
        self.histogram = Histogram(theme, self.tr("How the figures spread"), self._describe_bin)
        self.top = EntryTable(theme, self.tr("Strongest entries"), self._describe_top)
        self.terms = EntryTable(theme, self.tr("The figure worked out"), self._term)
        self._parts = (self.map, self.bars, self.list, self.absent, self.histogram, self.top, self.terms)

    def _make_content(self) -> None:
        self._main = QStackedWidget()
        for part in self._parts[:4]:
            self._main.addWidget(part)
        self._below, self._halves = QSplitter(Qt.Orientation.Horizontal), QSplitter(Qt.Orientation.Vertical)
        self._below.addWidget(self.histogram)
        self._below.addWidget(self._make_tabs())
        self._halves.addWidget(self._main)
        self._halves.addWidget(self._below)
        self._halves.setSizes([620, 380])
        for splitter in (self._below, self._halves):
            splitter.setChildrenCollapsible(False)
        fill(self, self._words, self.links, self._halves, self.sum, self._figures).setStretch(2, 1)

    def _make_tabs(self) -> QWidget:
        """The strongest entries, or one of them worked out."""
        self._tabs, self._tables, self._listing = QTabBar(), QStackedWidget(), QWidget()
        for title, table in ((self.tr("Strongest entries"), self.top), (self.tr("Worked out"), self.terms)):
            self._tabs.addTab(title)
            self._tables.addWidget(table)
        self._tabs.setDrawBase(False)
        self._tabs.setAccessibleName(self.tr("Entries"))
        self._tabs.currentChanged.connect(self._tables.setCurrentIndex)
        fill(self._listing, self._tabs, self._tables).setStretch(1, 1)
        return self._listing

    def _connect(self) -> None:
        self.map.cell_hovered.connect(self._hover_cell)
        self.map.cell_picked.connect(self._pick_cell)
        self.bars.place_hovered.connect(lambda place: self._hover_cell(0, place))
        self.bars.place_picked.connect(lambda place: self._pick_cell(0, place))
        for table, describe in (
            (self.list, self._describe_listed),
            (self.top, self._describe_top),
            (self.terms, self._term),
        ):
            table.row_hovered.connect(lambda row, describe=describe: self._cursor.say(describe(row)))
            table.row_picked.connect(lambda row, describe=describe: self._cursor.say(describe(row)))
        self.top.row_picked.connect(self._pick_listed)
        self.list.row_picked.connect(self._pick_listed)
        self.histogram.place_hovered.connect(lambda place: self._cursor.say(self._describe_bin(place)))
        self.histogram.place_picked.connect(lambda place: self._cursor.say(self._describe_bin(place)))
        for left in (
            self.map.cell_left,
            self.bars.place_left,
            self.list.row_left,
            self.top.row_left,
            self.terms.row_left,
        ):
            left.connect(self._cursor.leave)
        self.histogram.place_left.connect(self._cursor.leave)

    # --- for the panel ----------------------------------------------------------------------------------------

    def main_picture(self) -> QWidget:
        """The tensor, as a map, bars or a list."""
        return self._main.currentWidget()

    def fits(self) -> int:
        """How many cells the longer axis can show."""
        return self.map.fits()

    def take(self, tensor: PointTensor, facts: PointFacts, name: str, taken: tuple[int, ...] | None) -> None:
        """Show a tensor under its name; ``taken``: experts that stand out among bars."""
        if tensor is self.tensor:
            return
        other = self.tensor is None or (self.tensor.name, self.tensor.symbols) != (tensor.name, tensor.symbols)
        self.tensor, self.facts, self._taken = tensor, facts, taken
        if other:
            self.map.cell = self.bars.pinned = None
            self.map.hovered = (None, None)
            self._picked = None
            self._tabs.setCurrentIndex(0)
        self.take_worked(self.worked)
        self._name = name
        self._say_words()
        self._draw()

    def tell(self, depth: Depth, story: str) -> None:
        """How the words above the picture explain the point from now on; ``story``: its stage in plain words."""
        if (depth, story) == self._told:  # said with every answer
            return
        self._told = (depth, story)
        self._show_sum()
        if self.facts is not None:
            self._say_words()

    def _say_words(self) -> None:
        assert self.facts is not None
        depth, story = self._told
        self._words.label.setFont(mono_font() if depth == "code" else self.font())
        self._words.setText(point_text(self._name, self.facts, depth, story, self.tr))

    def wanted(self) -> tuple[int, ...] | None:
        """(position, place on each axis) of the entry to work out: the picked one, or the strongest."""
        tensor, facts = self.tensor, self.facts
        if tensor is None or facts is None or not len(tensor.top):
            return None
        if self._picked is None:
            return whole_place(tensor, facts, tuple(tensor.top[0].tolist()))
        over = tensor.symbols[0] == "pos"
        return self._picked if over else (tensor.position, *self._picked[1:])

    def take_worked(self, answer: Worked | None) -> None:
        """The wanted entry worked out; what is of another one is shown no more."""
        fits = answer is not None and self.tensor is not None and answer.name == self.tensor.name
        self.worked = answer if fits and answer is not None and self._of(answer) == self.wanted() else None
        self.sum.setText("" if self.worked is None else self._sum_text(self.worked))
        self._show_sum()
        told = self.worked is not None and not self.worked.sentence
        self.terms.show_entries(worked_entries(self.worked, self.tr) if told and self.worked is not None else None)
        self._tabs.setTabEnabled(1, told)

    def _of(self, answer: Worked) -> tuple[int, ...]:
        return (answer.position, *answer.place)

    def _sum_text(self, worked: Worked) -> str:
        """Which entry, and how its figure comes about."""
        facts = self.facts
        assert facts is not None
        if worked.sentence:
            return said(worked.sentence, self.tr)
        words = ", ".join(self._entry_words(axis, at) for axis, at in zip(left_axes(facts), worked.place, strict=False))
        return self.tr("{0}: {1}").format(words or said(facts.meaning, self.tr), worked_line(worked, self.tr))

    def take_exact(self, answer: ExactValue) -> None:
        """The figure of the picked cell."""
        self._exact = answer
        if self.map.cell is not None and self.map.cells is not None:
            self.map.tell()
            self._cursor.say(self.describe_cell(*self.map.cell))

    def clear(self) -> None:
        """Another model or run: what was shown is gone."""
        self.tensor = self.facts = self._exact = self._picked = None
        self.take_worked(None)
        self.links.show_links(None, (), ())
        self._draw()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        for part in self._parts:
            part.set_theme(theme)
        self._draw()

    def clipped(self) -> int:
        """Cells beyond the scale."""
        shown = self._main.currentWidget() is self.map and self.map.cells is not None
        return clipped(self.map.cells) if shown and self.map.cells is not None else 0

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen, by name."""
        tensor = self.tensor
        if tensor is None or not tensor.values.size:
            return {}
        found = {"values": tensor.values, "top": tensor.top, "top_values": tensor.top_values}
        if tensor.figures is not None and tensor.figures.counts.size:
            found |= {"edges": tensor.figures.edges, "counts": tensor.figures.counts}
        return found

    # --- what is shown ----------------------------------------------------------------------------------------

    def _look(self) -> Look:
        return Look(self._run.label, self._run.n_visible, self._theme, self.tr)

    def _draw(self) -> None:
        tensor, facts = self.tensor, self.facts
        if tensor is None or facts is None:
            self.map.show_cells(None)
            self.bars.show_rows(None)
            for table in (self.list, self.top):
                table.show_entries(None)
            self.histogram.show_counted(None)
            for label in (self._words, self._figures):
                label.setText("")
            return
        form, look = form_of(tensor, facts), self._look()
        self._main.setCurrentIndex(_PAGES[form])
        self.absent.say(said(tensor.sentence, self.tr), hatched=tensor.absent)
        self.map.show_cells(cells_of(tensor, facts, look) if _PAGES[form] == 0 else None)
        self.bars.show_rows(bars_of(tensor, facts, look, self._taken) if form == "bars" else None)
        self.list.show_entries(entries_of(tensor, facts, self._run.label, self.tr) if form == "entries" else None)
        self._draw_below(tensor, facts, form)
        self.mark()

    def _draw_below(self, tensor: PointTensor, facts: PointFacts, form: Form) -> None:
        figures = tensor.figures
        telling = figures is not None and facts.kind not in ("tokens", "ids", "event")
        self._figures.setText(figures_text(figures, facts, self.tr) if figures is not None and telling else "")
        spread = (
            figures is not None
            and telling
            and facts.kind != "mask"
            and figures.counts.size
            and figures.count >= _LEAST_COUNTED
        )
        counted = (
            Counted(figures.edges, figures.counts, figures.mean, log=True) if figures is not None and spread else None
        )
        self.histogram.show_counted(counted)
        listed = form not in ("entries", "nothing") and figures is not None and figures.count > 1
        self.top.show_entries(strongest_of(tensor, facts, self._run.label, self.tr) if listed else None)
        self.histogram.setVisible(counted is not None)
        self._listing.setVisible(listed)
        self._show_below()

    def _show_below(self) -> None:
        """Where there is something to show, and room for it."""
        wanted = self.histogram.shown is not None or self.top.entries is not None
        self._below.setVisible(self._tall() and wanted)
        self._show_sum()

    def _show_sum(self) -> None:
        """In a low view the picture comes first, until an entry of it is picked; a story has no formulas."""
        room = self._tall() or self._picked is not None
        self.sum.setVisible(self.worked is not None and room and self._told[0] != "story")

    def _tall(self) -> bool:
        return self.height() >= _LOW_LINES * self.fontMetrics().height()

    # --- marks and mouse --------------------------------------------------------------------------------------

    def mark(self) -> None:
        """The cursor moved."""
        tensor = self.tensor
        if tensor is None or self.facts is None or self.map.cells is None:
            return
        pinned, hovered = self._cursor.pinned, self._cursor.hovered
        position = self._run.n_visible - 1 if pinned.position is None else pinned.position
        self.map.mark(self._marked(pinned.head, position), self._marked(hovered.head, hovered.position))

    def _marked(self, head: int | None, position: int | None) -> tuple[int | None, int | None]:
        """Row and column of a head and a position, where the picture has such axes."""
        tensor, form = self.tensor, form_of(self.tensor, self.facts)  # type: ignore[arg-type]  # mark() has looked
        assert tensor is not None
        assert self.map.cells is not None
        rows, columns = self.map.cells.values.shape
        if form in ("over", "keys"):
            place = None if position is None else position - tensor.position
            cell = closest_cell(place, tensor.block[0], columns if form == "over" else rows)
            return (None, cell) if form == "over" else (cell, None)
        return (self._row_of(head, rows) if form == "map" else None), None

    def _row_of(self, head: int | None, rows: int) -> int | None:
        """The row of a query head: its own, or that of the keys and values that it reads."""
        tensor, model = self.tensor, self._run.model
        if head is None or tensor is None or model is None or tensor.symbols[0] not in ("n_heads", "n_kv_heads"):
            return None
        return head * rows // self._heads() if tensor.symbols[0] == "n_kv_heads" else min(head, rows - 1)

    def _heads(self) -> int:
        assert self._run.model is not None
        return max(1, self._run.model.layers[min(self._cursor.pinned.layer, self._run.model.n_layers - 1)].n_heads)

    def _hover_cell(self, row: int, column: int) -> None:
        self._cursor.hover(**self._where(row, column))
        self._cursor.say(self.describe_cell(row, column))

    def _pick_cell(self, row: int, column: int) -> None:
        tensor, facts = self.tensor, self.facts
        assert tensor is not None
        assert facts is not None
        where = self._where(row, column)
        form = form_of(tensor, facts)
        if form == "map":
            where.pop("position", None)  # a key: to look at it is not to go there
        if where.get("position", 0) < self._run.n_tokens:
            self._cursor.pin(**where)
        if form == "bars":
            self.bars.mark(column, self.bars.hovered)
        self._cursor.say(self.describe_cell(row, column))
        place = place_of(tensor, facts, row, column)
        if place is not None:
            self._pick(place)
        if tensor.block != (1, 1) and place is not None:
            self.exact_asked.emit(place)

    def _pick_listed(self, row: int) -> None:
        """An entry of a table was picked."""
        tensor, facts = self.tensor, self.facts
        if tensor is not None and facts is not None and row < len(tensor.top):
            self._pick(whole_place(tensor, facts, tuple(tensor.top[row].tolist())))

    def _pick(self, place: tuple[int, ...]) -> None:
        self._picked = place
        self.entry_picked.emit(place)

    def _where(self, row: int, column: int) -> dict[str, int]:
        """The head and position behind a cell, for the cursor."""
        tensor, facts = self.tensor, self.facts
        assert tensor is not None
        assert facts is not None
        form = form_of(tensor, facts)
        if form in ("over", "keys"):
            return {"position": tensor.position + (column if form == "over" else row) * tensor.block[0]}
        found: dict[str, int] = {}
        if form == "map" and tensor.symbols[0] in ("n_heads", "n_kv_heads"):
            groups = self._heads() // tensor.shape[0] if tensor.symbols[0] == "n_kv_heads" else 1
            pinned = self._cursor.pinned.head
            found["head"] = pinned if pinned // groups == row else row * groups
        for axis, entry in enumerate((row, column)):
            if form == "map" and tensor.symbols[axis] == "key":
                found["position"] = tensor.first[axis] + entry * tensor.block[axis]
        return found

    # --- texts ------------------------------------------------------------------------------------------------

    def describe_cell(self, row: int, column: int) -> str:
        """A cell for the status bar and screen readers."""
        tensor, facts = self.tensor, self.facts
        place = None if tensor is None or facts is None else place_of(tensor, facts, row, column)
        if tensor is None or facts is None or place is None:
            return self.tr("nothing here")
        position, *inner = place
        where = self.tr("{0}, position {1} “{2}”").format(tensor.name, position, self._run.label(position))
        words = ", ".join(self._entry_words(axis, entry) for axis, entry in zip(left_axes(facts), inner, strict=False))
        return ", ".join(filter(None, (where, words))) + ": " + self._cell_figure(tensor, facts, row, column, place)

    def _entry_words(self, axis: str, entry: int) -> str:
        word = axis_word(axis, self.tr)
        return f"{word} {entry} “{self._run.label(entry)}”" if axis == "key" else f"{word} {entry}" if word else ""

    def _cell_figure(
        self, tensor: PointTensor, facts: PointFacts, row: int, column: int, place: tuple[int, ...]
    ) -> str:
        form = form_of(tensor, facts)
        if form == "folded":
            row, column = 0, row * 64 + column
        elif form == "over":
            row, column = column, row
        if row >= tensor.values.shape[0] or column >= tensor.values.shape[1]:
            return self.tr("not computed yet")
        if tensor.blank.size and tensor.blank[row, column]:
            return self.tr("nothing by definition")
        value = float(tensor.values[row, column])
        if tensor.block == (1, 1):
            return exact_text(facts, value, self.tr)
        known = self._exact is not None and (self._exact.name, self._exact.index) == (tensor.name, place)
        if known and self._exact is not None and self._exact.value is not None:
            return exact_text(facts, self._exact.value, self.tr)
        cells = tensor.block[0] * tensor.block[1]
        return self.tr("{0}, the largest in magnitude of {1}").format(figure(value), grouped(cells))

    def _describe_listed(self, row: int) -> str:
        return _entry_line(self.list, row)

    def _term(self, row: int) -> str:
        """With its factors."""
        shown = () if self.worked is None else self.worked.terms
        return term_text(shown[row], self.tr) if row < len(shown) else _entry_line(self.terms, row)

    def _describe_top(self, row: int) -> str:
        """With all digits."""
        tensor, facts = self.tensor, self.facts
        if tensor is None or facts is None or row >= len(tensor.top_values):
            return _entry_line(self.top, row)
        place = place_text(tensor, tuple(tensor.top[row].tolist()), self._run.label, self.tr)
        token = f"“{written(tensor.pieces[row])}” " if row < len(tensor.pieces) else ""
        return f"{tensor.name}, {token}{place}: {exact_text(facts, float(tensor.top_values[row]), self.tr)}"

    def _describe_bin(self, place: int) -> str:
        counted = self.histogram.shown
        if counted is None:
            return ""
        low, high = counted.edges[place], counted.edges[place + 1]
        return self.tr("{0} to {1}: {2} numbers").format(
            figure(float(low)), figure(float(high)), grouped(int(counted.counts[place]))
        )

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._show_below()


def _entry_line(table: EntryTable, row: int) -> str:
    entry = None if table.entries is None or row >= table.count else table.entries.rows[row]
    return "" if entry is None else f"{entry.place}: {entry.text}"
