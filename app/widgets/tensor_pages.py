"""The pages beside the tree of tensors: the map, the components, and one tensor in figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton, QSpinBox, QToolButton, QWidget

from app.cursor import Cursor
from app.engine_words import said, sources_text
from app.tensor_words import (
    below_text,
    entry_facts,
    figures_text,
    node_facts,
    node_text,
    seven,
    spectrum_text,
)
from app.terminal import shown
from app.theme import Theme
from app.widgets.amounts import bytes_text, grouped, percent
from app.widgets.axis import Axis
from app.widgets.flow import FlowLayout
from app.widgets.heatmap import Cells, Heatmap
from app.widgets.histogram import Counted, Histogram
from app.widgets.line_chart import Chart, Line, LineChart
from app.widgets.pages import Pages, fill, labelled, limit
from app.widgets.scale import Scale, signed_scale
from app.widgets.share_table import ShareTable
from app.widgets.still_label import StillLabel, words_label
from app.widgets.treemap import Treemap
from app.widgets.turning import TurningSplitter
from engine.checkpoint.facts import facts
from engine.frames import SingularValues, TensorBlock, TensorFigures, TensorHistogram, Unreadable
from engine.questions import (
    MOST_SIDE,
    AskSingularValues,
    AskTensorBlock,
    AskTensorFigures,
    AskTensorHistogram,
    Question,
)

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry
    from engine.checkpoint.inventory import Inventory
    from engine.checkpoint.outline import Outline
    from engine.checkpoint.stored import Stored

Ask = Callable[[str, Question], None]  # (what for, question)
ALL = -1  # on the spin box: all matrices together
_READ, _PRODUCT, _EIGEN = 1.5e-8, 3e-11, 1e-10  # seconds a number, a multiplication, a cubed side: on two cores


class ShelfPage(QWidget):
    """One page of the shelf."""

    def __init__(self, cursor: Cursor, theme: Theme) -> None:
        super().__init__()
        self._cursor, self.theme = cursor, theme

    def name(self) -> str:
        """Of the tab."""
        raise NotImplementedError

    def help(self) -> str:
        """What the page shows, in a line."""
        raise NotImplementedError

    def badge(self) -> str:
        """Where the figures on screen are from."""
        raise NotImplementedError

    def set_theme(self, theme: Theme) -> None:
        raise NotImplementedError

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen."""
        raise NotImplementedError


class MapPage(ShelfPage):
    """The model as a map. ``node_picked`` with the number of a node; ``opened`` when a tensor is to be looked into."""

    node_picked = Signal(int)
    opened = Signal(int)

    def __init__(self, cursor: Cursor, theme: Theme) -> None:
        super().__init__(cursor, theme)
        tr = self.tr
        self.map = Treemap(
            theme, tr("Map of the model"), lambda node: node_text(node, tr), lambda node: node_facts(node, tr)
        )
        self._weight = QComboBox()
        self._weight.addItem(tr("bytes"), "size")
        self._weight.addItem(tr("parameters"), "parameters")
        self._back = QToolButton()
        self._back.setText(tr("Back"))
        self._back.setToolTip(tr("One level out (Backspace); a double click or Enter goes in"))
        self._back.setAccessibleName(tr("One level out of the map"))
        self._path = StillLabel()
        self._path.label.setTextFormat(Qt.TextFormat.PlainText)
        bar = QWidget()
        row = QHBoxLayout(bar)
        row.setContentsMargins(6, 3, 6, 3)
        row.addWidget(labelled(tr("Areas are"), self._weight))
        row.addWidget(self._back)
        row.addWidget(self._path, 1)
        fill(self, bar, self.map).setStretch(1, 1)
        self._connect()

    def _connect(self) -> None:
        self._weight.currentIndexChanged.connect(lambda: self.map.weigh(self._weight.currentData()))
        self._back.clicked.connect(self._leave)
        self.map.left.connect(self._leave)
        self.map.entered.connect(self._enter)
        self.map.node_picked.connect(self.node_picked)
        self.map.node_hovered.connect(self._hover)
        self.map.node_left.connect(self._cursor.leave)

    def name(self) -> str:
        return self.tr("Map")

    def help(self) -> str:
        return self.tr("Areas are bytes or parameters, colours are components; a double click goes in")

    def badge(self) -> str:
        return self.tr("from headers")

    def show_outline(self, outline: Outline | None) -> None:
        self.map.show_outline(outline)
        self._show_path()

    def mark(self, number: int | None) -> None:
        """Outline the node that is picked, going out as far as it takes to see it."""
        if number is not None and self.map.outline is not None and self.map.root and not self.map.path(number):
            self._enter(0)
        self.map.mark(number)

    def set_theme(self, theme: Theme) -> None:
        self.map.set_theme(theme)

    def values(self) -> dict[str, np.ndarray]:
        """Left, top, width and height in pixels, bytes and parameters of each area."""
        self.map.settle()
        outline, tiles = self.map.outline, self.map.tiles
        nodes = [] if outline is None else [outline.nodes[tile.number] for tile in tiles]
        return {
            "areas": np.array([tile.box.getRect() for tile in tiles], np.float64).reshape(-1, 4),
            "area_bytes": np.array([node.size for node in nodes], np.int64),
            "area_parameters": np.array([node.parameters for node in nodes], np.int64),
        }

    def _enter(self, number: int) -> None:
        self.map.enter(number)
        self._show_path()

    def _leave(self) -> None:
        if self.map.outline is not None and self.map.root:
            self._enter(self.map.outline.nodes[self.map.root].parent)

    def _show_path(self) -> None:
        outline = self.map.outline
        self._back.setEnabled(outline is not None and self.map.root != 0)
        if outline is None:
            self._path.setText("")
            return
        number, names = self.map.root, list[str]()
        while number >= 0:
            names.append(node_text(outline.nodes[number], self.tr))
            number = outline.nodes[number].parent
        self._path.setText(" › ".join(reversed(names)))

    def _hover(self, number: int) -> None:
        if self.map.outline is not None:
            self._cursor.say(node_facts(self.map.outline.nodes[number], self.tr))


class ComponentsPage(ShelfPage):
    """Parameters per component, and what the model is in a few words."""

    def __init__(self, cursor: Cursor, theme: Theme) -> None:
        super().__init__(cursor, theme)
        self._inventory: Inventory | None = None
        self.table = ShareTable(theme)
        self._title, self._below = (words_label(self.fontMetrics()) for _ in range(2))
        self._pages = Pages(self.table)
        fill(self, self._title, self._pages, self._below).setStretch(1, 1)
        self.table.row_hovered.connect(lambda row: cursor.say(self.table.describe(row)))
        self.table.row_left.connect(cursor.leave)

    def name(self) -> str:
        return self.tr("Components")

    def help(self) -> str:
        return self.tr("Parameters of each part of the model, their share, and how many one token uses")

    def badge(self) -> str:
        return self.tr("from headers")

    def show_inventory(self, inventory: Inventory | None) -> None:
        self._inventory = inventory
        self.table.show_inventory(inventory)
        known = inventory is not None and inventory.config is not None
        self._title.setText(_facts_text(inventory, self.tr) if inventory is not None and known else "")
        self._below.setText(below_text(inventory, self.tr) if inventory is not None and inventory.components else "")
        sentence = self.tr(
            "What its parts are is not known: the model's configuration cannot be used, or weights lack."
        )
        self._pages.say("" if inventory is None or inventory.components else sentence)

    def set_theme(self, theme: Theme) -> None:
        self.table.set_theme(theme)

    def values(self) -> dict[str, np.ndarray]:
        """Parameters, active parameters and bytes of each component, in the order of the table."""
        parts = () if self._inventory is None else self._inventory.components
        return {
            name: np.array([getattr(part, own) for part in parts], np.int64)
            for name, own in (("component_parameters", "parameters"), ("component_active", "active"))
        } | {"component_bytes": np.array([part.size for part in parts], np.int64)}


def _facts_text(inventory: Inventory, tr: Callable[[str], str]) -> str:
    assert inventory.config is not None
    pairs = [f"{said(label, tr)} {said(value, tr)}" for label, value in facts(inventory.config).items()]
    first = f"{inventory.config.family}, {inventory.stored_as}"
    return "    ".join(pair.replace(" ", "\N{NO-BREAK SPACE}") for pair in (first, *pairs))


class TensorPage(ShelfPage):
    """What pages of one tensor share: which one, and which of its matrices. ``ask`` asks the engine for the page."""

    matrix_chosen = Signal(object)
    shown_changed = Signal()

    def __init__(self, cursor: Cursor, theme: Theme, ask: Ask) -> None:
        super().__init__(cursor, theme)
        self._ask, self._title = ask, words_label(self.fontMetrics())
        self.entry: Entry | None = None
        self.tensor: Stored | None = None
        self.matrix: int | None = 0
        self._box = QSpinBox()
        self._box.setSpecialValueText(self.tr("all"))
        self._box.valueChanged.connect(self._choose)
        self._chosen = labelled(self.tr("Matrix"), self._box)
        self._box.setToolTip(self.tr("Which matrix of the pile, for example which expert; all: figures of the whole"))

    def show_tensor(self, entry: Entry | None, tensor: Stored | None, sentence: str = "") -> None:
        """Another tensor; ``sentence`` says why its numbers cannot be read, where ``tensor`` is None."""
        self.entry, self.tensor, self.matrix = entry, tensor, 0
        count = 1 if tensor is None else tensor.matrices[0]
        limit(self._box, ALL, max(0, count - 1), 0)
        self._chosen.setVisible(count > 1)
        self.clear(sentence or ("" if tensor is not None else self.tr("Pick a tensor in the tree or on the map.")))

    def choose(self, matrix: int | None) -> None:
        """Another matrix of the same tensor."""
        if matrix != self.matrix:
            self.matrix = matrix
            limit(self._box, ALL, self._box.maximum(), ALL if matrix is None else matrix)
            self.clear("")

    def clear(self, sentence: str) -> None:
        """Nothing is known of the tensor yet, or never will be."""
        raise NotImplementedError

    def start(self) -> None:
        """Ask for what is missing; the page is on screen."""

    def take(self, answer: Any) -> None:
        """Show an answer, if it is about this tensor and matrix."""
        raise NotImplementedError

    def _choose(self, number: int) -> None:
        self.matrix_chosen.emit(None if number == ALL else number)

    def _mine(self, answer: Any) -> bool:
        return answer.tensor == self.tensor and getattr(answer, "matrix", self.matrix) == self.matrix

    def _which(self) -> str:
        """The tensor in a line."""
        assert self.entry is not None
        name = f"{shown(self.entry.name)} · " if self.entry.role else ""
        where = f"{name}{entry_facts(self.entry, self.tr)} · {bytes_text(self.entry.size)}"
        tensor = self.tensor
        if tensor is None or tensor.dtype == self.entry.dtype:
            return where
        return where + self.tr(" · read as {0} {1}").format(tensor.dtype, list(tensor.shape))


class FiguresPage(TensorPage):
    """Statistics, a histogram, and the blocks of a matrix."""

    def __init__(self, cursor: Cursor, theme: Theme, ask: Ask) -> None:
        super().__init__(cursor, theme, ask)
        self.figures: TensorFigures | None = None
        self.counted: TensorHistogram | None = None
        self._block: TensorBlock | None = None
        self._failed = False
        tr = self.tr
        self._log = QCheckBox(tr("log counts"))
        self._log.toggled.connect(self._draw_histogram)
        self._quantity = QComboBox()
        for label, quantity in ((tr("root mean square"), "rms"), (tr("mean"), "means"), (tr("largest |x|"), "peaks")):
            self._quantity.addItem(label, quantity)
        self._quantity.currentIndexChanged.connect(self._draw_blocks)
        self.histogram = Histogram(theme, tr("How often values occur"), self._describe_bin)
        self.blocks = Heatmap(theme, tr("Blocks of the matrix"), self._describe_block)
        bar = QWidget()
        flow = FlowLayout(bar)
        for widget in (self._chosen, self._log, labelled(tr("Blocks show"), self._quantity)):
            flow.addWidget(widget)
        halves = TurningSplitter(tall=0.75)
        for picture in (self.histogram, self.blocks):
            halves.addWidget(picture)
        halves.setSizes([500, 500])
        content = QWidget()
        fill(content, self._title, bar, halves).setStretch(2, 1)
        self._pages = Pages(content)
        fill(self, self._pages)
        self.histogram.place_hovered.connect(lambda place: cursor.say(self._describe_bin(place)))
        self.histogram.place_left.connect(cursor.leave)
        self.blocks.cell_hovered.connect(lambda row, column: cursor.say(self._describe_block(row, column)))
        self.blocks.cell_picked.connect(self._pick_block)
        self.blocks.cell_left.connect(cursor.leave)

    def name(self) -> str:
        return self.tr("One tensor")

    def help(self) -> str:
        return self.tr("Statistics, histogram and blocks of the picked tensor, read from its file in slices")

    def badge(self) -> str:
        found = self.figures
        if found is None:
            return ""
        reduced = max(found.block) > 1 and found.rms.size
        text = sources_text(found.source, self.tr)
        return text + (self.tr(" · reduced {0} × {1}").format(*found.block) if reduced else "")

    def clear(self, sentence: str) -> None:
        self.figures = self.counted = self._block = None
        self._failed = bool(sentence)
        self._pages.say(sentence or self.tr("Reading the tensor from its file…"))
        self._draw_histogram()
        self.blocks.show_cells(None)
        self.shown_changed.emit()

    def start(self) -> None:
        if self.tensor is None or self._failed:
            return
        if self.figures is None:
            self._ask("figures", AskTensorFigures(self.tensor, self.matrix, min(256, self.blocks.fits())))
        elif self.counted is None and math.isfinite(self.figures.high - self.figures.low):
            question = AskTensorHistogram(self.tensor, self.matrix, self.figures.low, self.figures.high)
            self._ask("histogram", question)

    def take(self, answer: Any) -> None:
        if not self._mine(answer):
            return
        if isinstance(answer, Unreadable):
            self.clear(said(answer.sentence, self.tr))
        elif isinstance(answer, TensorFigures):
            self._take_figures(answer)
        elif isinstance(answer, TensorHistogram):
            self.counted = answer
            self._draw_histogram()
        elif isinstance(answer, TensorBlock):
            self._take_block(answer)
        self.shown_changed.emit()

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        for picture in (self.histogram, self.blocks):
            picture.set_theme(theme)
        self._draw_blocks()

    def values(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        if self.figures is not None:
            names = ("count", "nans", "infinities", "zeros", "low", "high", "mean", "deviation", "peak", "norm")
            found |= {name: np.array([getattr(self.figures, name)]) for name in names}
            found |= {f"block_{name}": getattr(self.figures, name) for name in ("rms", "means", "peaks")}
        if self.counted is not None:
            found |= {"edges": self.counted.edges, "counts": self.counted.counts}
        return found

    def _take_figures(self, answer: TensorFigures) -> None:
        self.figures = answer
        self._title.setText(f"{self._which()}\n{figures_text(answer, self.tr)}")
        self._pages.say("")
        self._draw_blocks()
        self.start()

    def _take_block(self, answer: TensorBlock) -> None:
        self._block = answer
        if self.blocks.cell is not None:
            self.blocks.tell()
            self._cursor.say(self._describe_block(*self.blocks.cell))

    def _draw_histogram(self) -> None:
        found = self.counted
        if found is None or self.figures is None:
            self.histogram.show_counted(None)
        else:
            self.histogram.show_counted(Counted(found.edges, found.counts, self.figures.mean, self._log.isChecked()))

    def _draw_blocks(self) -> None:
        found = self.figures
        self.blocks.setVisible(found is None or bool(found.rms.size))
        if found is None or not found.rms.size:
            self.blocks.show_cells(None)
            return
        quantity = self._quantity.currentData()
        with np.errstate(over="ignore"):  # what float32 cannot hold is drawn like what is not finite
            values = getattr(found, quantity).astype(np.float32)
        title = self._quantity.currentText()
        if quantity == "means":
            scale = signed_scale(values, self.theme.diverging, title)
        else:
            most = float(values[np.isfinite(values)].max(initial=0.0)) or 1.0
            scale = Scale(0.0, most, "linear", self.theme.sequential, title)
        rows, columns = (self._axis(axis) for axis in (0, 1))
        self.blocks.show_cells(Cells(values, rows, columns, scale))

    def _axis(self, axis: int) -> Axis:
        assert self.figures is not None
        assert self.entry is not None
        name = (self.tr("row"), self.tr("column"))[axis]
        whole = (
            self.entry.symbols if self.tensor is not None and len(self.entry.symbols) == len(self.tensor.shape) else ()
        )
        symbol = ((("",) * 2 + whole)[-2:])[axis]
        title = f"{name} ({symbol})" if symbol else name
        return Axis(title, self.figures.rms.shape[axis], str, numbers=True, block=self.figures.block[axis])

    def _describe_bin(self, place: int) -> str:
        found = self.counted
        assert found is not None
        low, high, count = float(found.edges[place]), float(found.edges[place + 1]), int(found.counts[place])
        share = percent(count / max(1, int(found.counts.sum())))
        return self.tr("{0} to {1}: {2} numbers ({3})").format(seven(low), seven(high), grouped(count), share)

    def _span(self, place: int, axis: int) -> tuple[int, int]:
        """Rows or columns [start, stop) of a block."""
        assert self.figures is not None
        assert self.tensor is not None
        step, count = self.figures.block[axis], self.tensor.matrices[1 + axis]
        return place * step, min((place + 1) * step, count)

    def _describe_block(self, row: int, column: int) -> str:
        found = self.figures
        assert found is not None
        rows, columns = self._span(row, 0), self._span(column, 1)
        means = seven(float(found.means[row, column]))
        if (rows[1] - rows[0], columns[1] - columns[0]) == (1, 1):
            return self.tr("row {0}, column {1}: {2}").format(rows[0], columns[0], means)
        form = self.tr("rows {0}, columns {1}: root mean square {2}, mean {3}, largest |x| {4}")
        figures = seven(float(found.rms[row, column])), means, seven(float(found.peaks[row, column]))
        text = form.format(_range(rows), _range(columns), *figures)
        block = self._block
        if block is None or (block.rows, block.columns) != (rows, columns):
            return text
        more = self.tr(" · {0} at row {1}, column {2}; from {3} to {4}")
        return text + more.format(seven(block.peak), block.row, block.column, seven(block.low), seven(block.high))

    def _pick_block(self, row: int, column: int) -> None:
        self._cursor.say(self._describe_block(row, column))
        if self.tensor is not None and self.matrix is not None:
            question = AskTensorBlock(self.tensor, self.matrix, self._span(row, 0), self._span(column, 1))
            self._ask("block", question)


def _range(span: tuple[int, int]) -> str:
    first, last = span[0], span[1] - 1
    return str(first) if first == last else f"{first}–{last}"


class SpectrumPage(TensorPage):
    """Singular values of one matrix, when they are asked for."""

    def __init__(self, cursor: Cursor, theme: Theme, ask: Ask) -> None:
        super().__init__(cursor, theme, ask)
        self.found: SingularValues | None = None
        self._asked = self._busy = False
        self._pace = 1.0  # how much slower than the machine of the estimate this one is
        self._button = QPushButton(self.tr("Compute"))
        self._button.clicked.connect(self._compute)
        self._button.setToolTip(self.tr("The eigenvalues of AᵀA, summed in float64 from slices of the file"))
        self.chart = LineChart(theme, self.tr("Singular values"))
        bar = QWidget()
        flow = FlowLayout(bar)
        flow.addWidget(self._chosen)
        flow.addWidget(self._button)
        self._pages = Pages(self.chart)
        fill(self, self._title, bar, self._pages).setStretch(2, 1)
        self.chart.place_hovered.connect(self._hover)
        self.chart.place_picked.connect(self._pick)
        self.chart.place_left.connect(self._leave)

    def name(self) -> str:
        return self.tr("Singular values")

    def help(self) -> str:
        return self.tr("How many directions the picked matrix really uses: its singular values, on request")

    def badge(self) -> str:
        return "" if self.found is None else sources_text(self.found.source, self.tr)

    def clear(self, sentence: str) -> None:
        self.found, self._asked = None, False
        self.chart.show_chart(None)
        self._title.setText("" if self.entry is None else self._which())
        refusal = sentence or self._refusal()
        self._button.setEnabled(not refusal)
        self._pages.say(refusal or self._cost())
        self.shown_changed.emit()

    def set_busy(self, busy: bool) -> None:
        """Whether a run is on: the last step cannot be cut into slices, so it waits."""
        if busy != self._busy:
            self._busy = busy
            if self._asked:
                self._pages.say(self._waiting())

    def start(self) -> None:
        """What was asked for and got lost, is asked again."""
        if self._asked and self.found is None and self.tensor is not None and self.matrix is not None:
            self._ask("spectrum", AskSingularValues(self.tensor, self.matrix))

    def take(self, answer: Any) -> None:
        if not self._mine(answer):
            return
        if isinstance(answer, Unreadable):
            self.clear(said(answer.sentence, self.tr))
        elif isinstance(answer, SingularValues):
            self._pace = max(0.2, answer.seconds / self._estimate() * self._pace)
            self.found, self._asked = answer, False
            self._button.setEnabled(True)
            self._title.setText(f"{self._which()}\n{spectrum_text(answer, self.tr)}")
            self._draw()
        self.shown_changed.emit()

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.chart.set_theme(theme)

    def values(self) -> dict[str, np.ndarray]:
        return {} if self.found is None else {"singular_values": self.found.values}

    def _refusal(self) -> str:
        """Why there can be none, "" where there can."""
        if self.tensor is None:
            return self.tr("Pick a tensor in the tree or on the map.")
        _, rows, columns = self.tensor.matrices
        if self.matrix is None:
            return self.tr("Choose one matrix: all of them together have no singular values.")
        if min(rows, columns) < 2:
            return self.tr("A vector has no singular values to speak of: only its length, the norm.")
        if min(rows, columns) > MOST_SIDE:
            form = self.tr("The shorter side is {0}; singular values are computed up to {1}, for the time they take.")
            return form.format(grouped(min(rows, columns)), grouped(MOST_SIDE))
        return ""

    def _estimate(self) -> float:
        """Seconds: reading, the Gram matrix, its eigenvalues."""
        assert self.tensor is not None
        _, rows, columns = self.tensor.matrices
        short, long = min(rows, columns), max(rows, columns)
        return self._pace * (short * long * _READ + short * short * long * _PRODUCT + short**3 * _EIGEN + 0.01)

    def _cost(self) -> str:
        assert self.tensor is not None
        _, rows, columns = self.tensor.matrices
        form = self.tr("The singular values of {0} × {1} take about {2} s. Press Compute.")
        text = form.format(grouped(rows), grouped(columns), f"{self._estimate():.2g}")
        last = self._pace * min(rows, columns) ** 3 * _EIGEN
        if last < 0.5:
            return text
        return text + self.tr(" The last {0} s of it cannot be interrupted: a run would wait.").format(f"{last:.1g}")

    def _waiting(self) -> str:
        if self._busy:
            return self.tr("Computed as soon as the run has ended: the last step of it cannot be interrupted.")
        return self.tr("Computing, about {0} s…").format(f"{self._estimate():.2g}")

    def _compute(self) -> None:
        self._asked, self.found = True, None
        self._button.setEnabled(False)
        self._pages.say(self._waiting())
        self.start()

    def _draw(self) -> None:
        assert self.found is not None
        values = self.found.values
        self._pages.say("")
        largest = float(values[0])
        if not largest:
            self._pages.say(self.tr("Every number of the matrix is 0, and so is every singular value."))
            return
        least = max(float(values[-1]), largest * 1e-8)
        low, high = (least * 0.8, largest * 1.25) if least < largest else (largest * 0.5, largest * 2)
        line = Line("", np.arange(1, len(values) + 1), np.maximum(values, low), "accent")
        titles = self.tr("singular value, the largest first"), self.tr("σ (log scale)")
        self.chart.show_chart(Chart((line,), *titles, 1, max(2, len(values)), low, high, y_log=True))

    def _hover(self, place: int) -> None:
        self.chart.mark(self.chart.pinned, place)
        self._cursor.say(self._describe(place))

    def _pick(self, place: int) -> None:
        self.chart.mark(place, self.chart.hovered)
        self.chart.setAccessibleDescription(self._describe(place))
        self._cursor.say(self._describe(place))

    def _leave(self) -> None:
        self.chart.mark(self.chart.pinned, None)
        self._cursor.leave()

    def _describe(self, place: int) -> str:
        if self.found is None or not 1 <= place <= len(self.found.values):
            return ""
        value = float(self.found.values[place - 1])
        held = float((self.found.values[:place] ** 2).sum() / ((self.found.values**2).sum() or 1.0))
        form = self.tr("singular value {0} of {1}: {2}; the first {0} hold {3} of the squared norm")
        return form.format(place, len(self.found.values), seven(value), percent(held))
