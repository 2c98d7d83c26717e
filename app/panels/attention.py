"""Attention: all heads of a layer, one head large, and where one position looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QLabel, QSpinBox, QSplitter, QWidget

from app.layer_kinds import attention_words, first_seen, heads_text, sight_text
from app.panels.panel import Context, Panel
from app.widgets.axis import Axis
from app.widgets.bars import BarChart, Bars
from app.widgets.flow import FlowLayout
from app.widgets.head_grid import HeadGrid, Heads
from app.widgets.heatmap import ABSENT, MASKED, Cells, Heatmap
from app.widgets.pages import Pages, fill, labelled, limit
from app.widgets.pattern import attention_scale, closest_cell, padded, pattern_state
from app.widgets.scale import Scale, exact, figure
from app.widgets.still_label import StillLabel
from app.widgets.turning import TurningSplitter
from engine.frames import Answer, AttentionGrid, AttentionMap, AttentionRow, ExactValue, LayerFacts
from engine.questions import AskAttentionGrid, AskAttentionMap, AskAttentionRow, AskExactValue, Question


class AttentionPanel(Panel):
    """Every figure is a weight of softmax(Q·Kᵀ/√d), 0..1; a reduced cell is the maximum of its block."""

    key = "attention"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._grid: AttentionGrid | None = None
        self._map: AttentionMap | None = None
        self._row: AttentionRow | None = None
        self._exact: ExactValue | None = None
        self._asked = (0, 0)
        theme = context.theme
        self._heads = HeadGrid(theme, self.tr("Attention of every head of the layer"))
        self._large = Heatmap(theme, self.tr("Attention of one head"), self._describe_cell)
        self._bars = BarChart(theme, self.tr("Where the pinned position looks"), self._describe_bar)
        self._row_title = StillLabel(wrap=True)
        self._row_title.label.setContentsMargins(self.fontMetrics().height() // 2, 0, 0, 0)
        self._controls = self._make_controls()
        self._pages = Pages(self._make_content())
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._resized.timeout.connect(self._size_settled)
        self.show_run()

    # --- building ---------------------------------------------------------------------------------------------

    def _make_controls(self) -> QWidget:
        self._layer, self._head = QSpinBox(), QSpinBox()
        self._root = QCheckBox(self.tr("√ colour"))
        self._root.setChecked(True)
        self._root.setToolTip(self.tr("Colour and bars by the square root, so that small weights can be seen"))
        self._leave_out = QCheckBox(self.tr("leave token 0 out"))
        self._leave_out.setToolTip(self.tr("Hide what goes to the first token and fit the scale to the rest"))
        self._fit = QCheckBox(self.tr("fit scale"))
        self._fit.setToolTip(self.tr("Scale to the largest weight on screen instead of 0 to 1"))
        bar = QWidget()
        flow = FlowLayout(bar)
        for name, box in ((self.tr("Layer"), self._layer), (self.tr("Head"), self._head)):
            box.setWrapping(True)
            flow.addWidget(labelled(name, box))
        for switch in (self._root, self._leave_out, self._fit):
            flow.addWidget(switch)
        return bar

    def _make_content(self) -> QWidget:
        below = QWidget()
        fill(below, self._row_title, self._bars).setStretch(1, 1)
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(self._large)
        right.addWidget(below)
        right.setSizes([680, 320])
        left = QWidget()
        self._sharing = QLabel(wordWrap=True)
        self._sharing.setMargin(self.fontMetrics().height() // 3)
        fill(left, self._heads, self._sharing).setStretch(0, 1)
        self._split = TurningSplitter()
        self._split.addWidget(left)
        self._split.addWidget(right)
        self._split.setSizes([400, 600])
        right.setChildrenCollapsible(False)
        content = QWidget()
        fill(content, self._controls, self._split).setStretch(1, 1)
        return content

    def _connect(self) -> None:
        cursor = self.context.cursor
        self._layer.valueChanged.connect(lambda layer: cursor.pin(layer=layer))
        self._head.valueChanged.connect(lambda head: cursor.pin(head=head))
        for switch in (self._root, self._leave_out, self._fit):
            switch.toggled.connect(self._redraw)
        self._heads.head_hovered.connect(self._hover_head)
        self._heads.head_picked.connect(lambda head: cursor.pin(head=head))
        self._large.cell_hovered.connect(self._hover_cell)
        self._large.cell_picked.connect(self._pick_cell)
        self._bars.place_hovered.connect(self._hover_bar)
        self._bars.place_picked.connect(self._pick_bar)
        for leaving in (self._heads.head_left, self._large.cell_left, self._bars.place_left):
            leaving.connect(self.context.cursor.leave)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Attention")

    def badge(self) -> str:
        if self._pages.empty or self._map is None:
            return ""
        parts = [self._map.source] if self._map.n else []
        if self._map.block > 1:
            parts.append(self.tr("reduced ×{0}").format(self._map.block))
        return " · ".join(parts)

    def caption(self) -> str:
        shown = self._map
        if self._pages.empty or shown is None:
            return ""
        grouped = self.tr("layer {0}, head {1} reads KV head {2}, {3} × {3} positions")
        form = self.tr("layer {0}, head {1}, {3} × {3} positions") if self._per_group(shown.layer) == 1 else grouped
        text = form.format(shown.layer, shown.head, shown.head // self._per_group(shown.layer), shown.n_total)
        facts = self._layer_facts(shown.layer)
        if facts.attention != "full":
            text += f", {attention_words(facts, self.tr)}"
        if shown.n < shown.n_total:
            text += self.tr(", {0} queries computed").format(shown.n)
        if self._leave_out.isChecked():
            text += self.tr(", {0} left out, colours 0 to {1}").format(
                self._first_name(shown.block), figure(self._map_scale().high)
            )
        return text

    def watches(self) -> Mapping[str, Question]:
        run, pinned = self.context.run, self.context.cursor.pinned
        if run.model is None or run.n_visible == 0:
            return {}
        layer, head = self._place()
        position = pinned.position
        if position is not None and position >= run.n_visible:
            position = None
        return {
            "attention.grid": AskAttentionGrid(layer, self._heads.fits()),
            "attention.map": AskAttentionMap(layer, head, self._large.fits()),
            "attention.row": AskAttentionRow(layer, position),
        }

    def show_run(self) -> None:
        run = self.context.run
        if self.another_run():
            self._grid = self._map = self._row = self._exact = None
            self._redraw()
        if run.model is not None:
            self._limit_controls()
        self._say_what_is_missing()

    def show_answer(self, key: str, answer: Answer) -> None:
        taker = _TAKERS.get(type(answer))
        if taker is not None and not self._foreign(answer):
            taker(self, answer)
            self._say_what_is_missing()

    def show_cursor(self) -> None:
        if self.context.run.model is not None:
            self._limit_controls()
        self._mark()

    def restyle(self) -> None:
        for picture in (self._heads, self._large, self._bars):
            picture.set_theme(self.context.theme)
        self._redraw()

    def values(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        if self._grid is not None:
            found["grid"] = self._grid.maps
        if self._map is not None:
            found["map"] = self._map.map
        if self._row is not None:
            found["row"] = self._row.rows
        return found

    # --- what is shown ----------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int]:
        """The pinned layer and head, within what the model has."""
        assert self.context.run.model is not None
        layers, pinned = self.context.run.model.layers, self.context.cursor.pinned
        layer = min(max(pinned.layer, 0), len(layers) - 1)
        return layer, min(max(pinned.head, 0), layers[layer].n_heads - 1)

    def _per_group(self, layer: int) -> int:
        assert self.context.run.model is not None
        facts = self.context.run.model.layers[layer]
        return max(1, facts.n_heads // max(1, facts.n_kv_heads))

    def _foreign(self, answer: Answer) -> bool:
        """Whether an answer is of a model that has gone."""
        model = self.context.run.model
        return model is None or getattr(answer, "layer", 0) >= model.n_layers

    def _limit_controls(self) -> None:
        assert self.context.run.model is not None
        layer, head = self._place()
        limits = (len(self.context.run.model.layers) - 1, self.context.run.model.layers[layer].n_heads - 1)
        for box, value, most in zip((self._layer, self._head), (layer, head), limits, strict=True):
            limit(box, 0, most, value)

    def _say_what_is_missing(self) -> None:
        missing = self._pages.missing(self.context.run, self.tr("where each token looks"))
        if not missing and self._map is None and self._grid is None:
            missing = self.tr("Reading the prompt: attention appears when the layer has been computed.")
        self._pages.say(missing)

    def _take_grid(self, answer: AttentionGrid) -> None:
        if answer is not self._grid:
            self._grid = answer
            self._draw_grid()

    def _take_map(self, answer: AttentionMap) -> None:
        if answer is not self._map:
            self._map = answer
            self._draw_map()

    def _take_row(self, answer: AttentionRow) -> None:
        if answer is not self._row:
            self._row = answer
            self._draw_row()

    def _take_exact(self, answer: ExactValue) -> None:
        self._exact = answer
        if self._large.cell is not None:
            self._large.tell()
            self.context.cursor.say(self._describe_cell(*self._large.cell))

    def _redraw(self) -> None:
        self._draw_grid()
        self._draw_map()
        self._draw_row()

    def _scale(self, maps: np.ndarray, state: np.ndarray) -> Scale:
        fit = self._fit.isChecked() or self._leave_out.isChecked()
        title = self.tr("√ weight") if self._root.isChecked() else self.tr("weight")
        colours = self.context.theme.sequential
        return attention_scale(maps, state, root=self._root.isChecked(), fit=fit, colours=colours, title=title)

    def _state(self, answer: AttentionGrid | AttentionMap) -> np.ndarray:
        cells = -(-answer.n_total // answer.block)
        facts = self._layer_facts(answer.layer)
        seen_from = None if facts.reach is None else first_seen(facts, np.arange(cells) * answer.block)
        return pattern_state(
            cells, answer.n, answer.block, leave_out_first=self._leave_out.isChecked(), seen_from=seen_from
        )

    def _layer_facts(self, layer: int) -> LayerFacts:
        assert self.context.run.model is not None
        return self.context.run.model.layers[layer]

    def _map_scale(self) -> Scale:
        assert self._large.cells is not None
        scale = self._large.cells.scale
        assert isinstance(scale, Scale)
        return scale

    def _draw_grid(self) -> None:
        answer = self._grid
        if answer is None or answer.n_total == 0:
            self._heads.show_heads(None)
            return
        assert self.context.run.model is not None
        maps, state = padded(answer.maps, answer.n_total, answer.block), self._state(answer)
        n_kv_heads = self.context.run.model.layers[answer.layer].n_kv_heads
        self._heads.show_heads(Heads(maps, state, self._scale(maps, state), n_kv_heads))
        self._sharing.setText(self._sharing_text(answer.layer))
        self._mark()

    def _sharing_text(self, layer: int) -> str:
        """Who reads whose keys and values, in the numbers of this model."""
        facts = self._layer_facts(layer)
        sharing = heads_text(facts, self.tr)
        return sharing if facts.reach is None else f"{sharing}\n{sight_text(facts, self.tr)}"

    def _draw_map(self) -> None:
        answer = self._map
        if answer is None or answer.n_total == 0:
            self._large.show_cells(None)
            return
        values, state = padded(answer.map, answer.n_total, answer.block), self._state(answer)
        label = self.context.run.label
        rows = Axis(self.tr("query: the token that looks"), len(values), label, block=answer.block)
        columns = Axis(self.tr("key: the token it looks at"), len(values), label, block=answer.block)
        self._large.show_cells(Cells(values, rows, columns, self._scale(values, state), state))
        self._mark()
        self.caption_changed.emit()

    def _draw_row(self) -> None:
        answer = self._row
        if answer is None or answer.rows.shape[1] == 0:
            self._bars.show_bars(None)
            self._row_title.setText(self.tr("The pinned position has not reached this layer yet.") if answer else "")
            return
        values = answer.rows[self._row_head(answer)]
        left_out = 0 if self._leave_out.isChecked() and len(values) > 1 else None
        state = np.zeros(values.shape, np.uint8)
        if left_out is not None:
            state[left_out] = MASKED
        places = Axis("", len(values), self.context.run.label)
        self._bars.show_bars(Bars(values, places, self._scale(values, state), left_out))
        self._row_title.setText(self._row_text(answer))

    def _row_head(self, answer: AttentionRow) -> int:
        return min(self._place()[1], len(answer.rows) - 1)

    def _row_text(self, answer: AttentionRow) -> str:
        return self.tr("layer {0}, head {1}: position {2} “{3}” looks at …").format(
            answer.layer, self._row_head(answer), answer.position, self.context.run.label(answer.position)
        )

    # --- marks ------------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        run, pinned, hovered = self.context.run, self.context.cursor.pinned, self.context.cursor.hovered
        if run.model is None:
            return
        head = self._place()[1]
        self._heads.mark(head, hovered.head)
        row = self._row
        if row is not None and self._bars.bars is not None and self._row_title.text() != self._row_text(row):
            self._draw_row()  # another head is pinned
        self._bars.mark(hovered.position)
        if self._map is not None and self._large.cells is not None:
            block, cells = self._map.block, len(self._large.cells.values)
            position = run.n_visible - 1 if pinned.position is None else pinned.position
            query, over = closest_cell(position, block, cells), closest_cell(hovered.position, block, cells)
            self._large.mark((query, None), (over, None))

    # --- the mouse --------------------------------------------------------------------------------------------

    def _hover_head(self, head: int) -> None:
        if self._heads.heads is not None:
            self.context.cursor.hover(head=head)
            self.context.cursor.say(self._heads.head_text(head))

    def _hover_cell(self, row: int, column: int) -> None:
        assert self._map is not None
        self.context.cursor.hover(position=row * self._map.block)
        self.context.cursor.say(self._describe_cell(row, column))

    def _hover_bar(self, place: int) -> None:
        self.context.cursor.hover(position=place)
        self.context.cursor.say(self._describe_bar(place))

    def _pick_cell(self, row: int, column: int) -> None:
        assert self._map is not None
        block, shown = self._map.block, self._map
        if block > 1 and self._large.cells is not None and self._large.cells.shown(row, column):
            index = (shown.layer, shown.head, row * block, column * block)
            self.context.ask("attention.exact", AskExactValue("pattern", index))
        self.context.cursor.pin(position=row * block)
        self.context.cursor.say(self._describe_cell(row, column))

    def _pick_bar(self, place: int) -> None:
        self.context.cursor.say(self._describe_bar(place))

    def _describe_cell(self, row: int, column: int) -> str:
        shown, cells, run = self._map, self._large.cells, self.context.run
        assert shown is not None
        assert cells is not None
        query, key = row * shown.block, column * shown.block
        where = self.tr("layer {0}, head {1}, query {2} “{3}”, key {4} “{5}”").format(
            shown.layer, shown.head, query, run.label(query), key, run.label(key)
        )
        if cells.state is not None and cells.state[row, column] == ABSENT:
            return self.tr("{0}: not computed yet").format(where)
        if column > row:
            return self.tr("{0}: masked, a token cannot look ahead").format(where)
        if key + shown.block <= first_seen(self._layer_facts(shown.layer), query):
            return self._unseen(where, shown.layer)
        if shown.block == 1:
            return f"{where}: {exact(float(cells.values[row, column]))}"
        text = self.tr("{0}: largest of {1} × {1} cells {2}").format(
            where, shown.block, exact(float(cells.values[row, column]))
        )
        return text + self._exact_text((shown.layer, shown.head, query, key))

    def _unseen(self, where: str, layer: int) -> str:
        """The read-out of a key that lies before the window or chunk."""
        words = attention_words(self._layer_facts(layer), self.tr)
        return self.tr("{0}: masked, outside the {1}").format(where, words)

    def _exact_text(self, index: tuple[int, ...]) -> str:
        found = self._exact
        if found is None or found.index != index or found.value is None:
            return ""
        return self.tr(", at this query and key {0}").format(exact(found.value))

    def _describe_bar(self, place: int) -> str:
        assert self._row is not None
        row, run = self._row, self.context.run
        head = self._row_head(row)
        where = self.tr("layer {0}, head {1}, query {2} “{3}”, key {4} “{5}”").format(
            row.layer, head, row.position, run.label(row.position), place, run.label(place)
        )
        if place < first_seen(self._layer_facts(row.layer), row.position):
            return self._unseen(where, row.layer)
        return f"{where}: {exact(row.rows[head, place])}"

    def _first_name(self, block: int) -> str:
        return self.tr("token 0") if block == 1 else self.tr("tokens 0–{0}").format(block - 1)

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._resized.start()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_resized"):
            self._resized.start()

    def _size_settled(self) -> None:
        asked = (self._heads.fits(), self._large.fits())
        if asked != self._asked:
            self._asked = asked
            self.watches_changed.emit()


_TAKERS: dict[type, Callable[..., None]] = {
    AttentionGrid: AttentionPanel._take_grid,
    AttentionMap: AttentionPanel._take_map,
    AttentionRow: AttentionPanel._take_row,
    ExactValue: AttentionPanel._take_exact,
}
