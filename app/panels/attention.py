"""Attention: all heads of a layer, one head large at any stage of its making, and where one position looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from PySide6.QtCore import QTimer
from PySide6.QtGui import QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QLabel, QMenu, QPushButton, QSpinBox, QWidget

from app.attention_stops import made_grid, made_map, made_row, stage_of_stop, unmade_of
from app.attention_words import stage_texts
from app.axis_words import axes_of, scaled
from app.break_menus import BREAK_AT, with_breaks
from app.depth_texts import panel_text
from app.edit_menus import Choice, asked_cell, edge_choices, edit_menu, head_choices, offer
from app.engine_words import sources_text
from app.layer_kinds import attention_words, first_seen, heads_text, sight_text
from app.panels.panel import Context, Panel
from app.widgets.axis import Axis
from app.widgets.bars import BarChart, Bars
from app.widgets.flow import FlowLayout
from app.widgets.head_grid import HeadGrid, Heads
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, Cells
from app.widgets.hidden_chip import Hidden
from app.widgets.least import Part
from app.widgets.pages import Pages, fill, labelled, limit
from app.widgets.pattern import attention_scale, closest_cell, map_cells, map_state, padded, pattern_state
from app.widgets.scale import Scale, beyond, exact, figure, signed_scale
from app.widgets.stage_bar import StageBar
from app.widgets.still_label import StillLabel
from app.widgets.term_words import told
from app.widgets.turning import TurningSplitter
from app.widgets.values_model import Along
from app.widgets.yielding import YieldingSplitter
from app.widgets.zoom_map import ZoomMap
from engine.breakpoints import Test
from engine.frames import Answer, AttentionGrid, AttentionMap, AttentionRow, ExactValue, LayerFacts
from engine.questions import (
    SIGNED_STAGES,
    AskAttentionGrid,
    AskAttentionMap,
    AskAttentionRow,
    AskExactValue,
    AttentionStage,
    Question,
)

Pattern = AttentionGrid | AttentionMap | AttentionRow


class AttentionPanel(Panel):
    """The heads show weights, 0 to 1; the large map and the bars the stage that is chosen, of everything or of a part.

    A reduced cell is the maximum of its block, or where figures have signs the one of largest magnitude.
    """

    key = "attention"
    compares = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._grid: AttentionGrid | None = None
        self._map: AttentionMap | None = None
        self._row: AttentionRow | None = None
        self._exact: ExactValue | None = None
        self._given: dict[type, tuple[Pattern, int | None]] = {}  # whole answers, and what the pass has yet to make
        self._asked = (0, 0)
        self._picked: tuple[int, int] | None = None  # query, key
        theme = context.theme
        self._heads = HeadGrid(theme, self.tr("Attention of every head of the layer"))
        self._large = ZoomMap(theme, self.tr("Attention of one head"), self._describe_cell)
        self._bars = BarChart(theme, self.tr("Where the pinned position looks"), self._describe_bar)
        self._row_title = StillLabel(wrap=True)
        self._row_title.label.setContentsMargins(self.fontMetrics().height() // 2, 0, 0, 0)
        self._controls = self._make_controls()
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._built = True
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
        self._stages = StageBar(self.context.theme)
        self._whole = QPushButton(self.tr("Whole map"))
        self._whole.setToolTip(
            self.tr(
                "Go into the large map with the wheel, by drawing a rectangle, or with + and −; Shift and an arrow key "
                "move on. This leaves the part (0); Esc goes one step back."
            )
        )
        self._whole.setEnabled(False)
        bar = QWidget()
        flow = FlowLayout(bar)
        for name, box in ((self.tr("Layer"), self._layer), (self.tr("Head"), self._head)):
            box.setWrapping(True)
            flow.addWidget(labelled(name, box))
        for part in (self._stages, self._root, self._leave_out, self._fit, self._whole):
            flow.addWidget(part)
        return bar

    def _make_content(self) -> QWidget:
        below = Part()
        fill(below, self._row_title, self._bars).setStretch(1, 1)
        self._right = YieldingSplitter(self._large, below)
        self._right.setSizes([600, 400])
        left = Part()
        self._sharing = QLabel(wordWrap=True)
        self._sharing.setMargin(self.fontMetrics().height() // 3)
        fill(left, self._heads, self._sharing).setStretch(0, 1)
        self._split = TurningSplitter()
        self._split.addWidget(left)
        self._split.addWidget(self._right)
        self._split.setSizes([400, 600])
        content = QWidget()
        fill(content, self._controls, self._split).setStretch(1, 1)
        return content

    def _connect(self) -> None:
        cursor = self.context.cursor
        self._layer.valueChanged.connect(lambda layer: cursor.pin(layer=layer))
        self._head.valueChanged.connect(lambda head: cursor.pin(head=head))
        for switch in (self._root, self._leave_out, self._fit):
            switch.toggled.connect(self._redraw)
        self._leave_out.toggled.connect(self.hides_changed)
        self._stages.stage_chosen.connect(self._choose_stage)
        self._whole.clicked.connect(lambda: self._large.go(None))
        self._large.view_changed.connect(self._view_changed)
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

    def main_picture(self) -> QWidget:
        return self._large

    def badge(self) -> str:
        shown, grid = self._map, self._grid
        if self._pages.empty or shown is None:
            return self._grid_badge(grid) if grid is not None and not self._pages.empty else ""
        parts = [sources_text(shown.source, self.tr)] if shown.n > shown.rows[0] else []
        if shown.every > 1:
            parts.append(self.tr("coarse: 1 query in {0} so far").format(shown.every))
        if shown.block > 1:
            parts.append(self.tr("reduced ×{0}").format(shown.block))
        if grid is not None and grid.every > 1:
            parts.append(self.tr("heads coarse: 1 query in {0} so far").format(grid.every))
        return " · ".join(parts)

    def _grid_badge(self, grid: AttentionGrid) -> str:
        """The heads come before the large map."""
        parts = [sources_text(grid.source, self.tr)] if grid.n else []
        if grid.every > 1:
            parts.append(self.tr("heads coarse: 1 query in {0} so far").format(grid.every))
        if grid.block > 1:
            parts.append(self.tr("reduced ×{0}").format(grid.block))
        return " · ".join(parts)

    def mode(self) -> str:
        return self._stages.stage

    def caption(self) -> str:
        shown = self._map
        if self._pages.empty or shown is None:
            return ""
        text = self._what_text(shown) + ", " + self._where_text(shown)
        facts = self._layer_facts(shown.layer)
        if facts.attention != "full":
            text += f", {attention_words(facts, self.tr)}"
        if shown.n < min(shown.n_total, shown.rows[1]):
            text += self.tr(", {0} queries computed").format(shown.n)
        if self._leave_out.isChecked() and shown.columns[0] == 0:
            text += self.tr(", {0} left out, colours {1} to {2}").format(
                self._first_name(shown.block), figure(self._map_scale().low), figure(self._map_scale().high)
            )
        if shown.stage in SIGNED_STAGES or self.differs:
            text += self._beyond_text()
        return text

    def _what_text(self, shown: AttentionMap) -> str:
        group = self._per_group(shown.layer)
        text = self.tr("layer {0}, head {1}").format(shown.layer, shown.head)
        if group > 1:
            text += self.tr(" reads KV head {0}").format(shown.head // group)
        return text if shown.stage == "pattern" else f"{text}, {self._stages.names()[shown.stage]}"

    def _where_text(self, shown: AttentionMap) -> str:
        (row, row_stop), (column, column_stop), n = shown.rows, shown.columns, f"{shown.n_total:,}"
        if (row_stop - row, column_stop - column) == (shown.n_total, shown.n_total):
            return self.tr("{0} × {0} positions").format(n)
        return self.tr("queries {0}–{1}, keys {2}–{3} of {4}").format(
            f"{row:,}", f"{row_stop - 1:,}", f"{column:,}", f"{column_stop - 1:,}", n
        )

    def _beyond_text(self) -> str:
        cells, scale = self._large.cells, self._map_scale()
        if cells is None or cells.state is None:
            return ""
        shown = cells.values[cells.state == SHOWN]
        return self.tr("; {0} of {1} cells beyond the scale").format(f"{beyond(scale, shown):,}", f"{shown.size:,}")

    def watches(self) -> Mapping[str, Question]:
        run, pinned = self.context.run, self.context.cursor.pinned
        if run.model is None or run.n_visible == 0:
            return {}
        (layer, head), stage, view = self._place(), self._stages.stage, self._large.view
        rows, columns = (None, None) if view is None else (view.rows, view.columns)
        position = pinned.position
        if position is not None and position >= run.n_visible:
            position = None
        return {
            "attention.grid": AskAttentionGrid(layer, self._heads.fits()),
            "attention.map": AskAttentionMap(layer, head, self._large.fits(), stage, rows, columns),
            "attention.row": AskAttentionRow(layer, position, stage),
        }

    def show_run(self) -> None:
        run = self.context.run
        if self.another_run():
            self._grid = self._map = self._row = self._exact = self._picked = None
            self._given.clear()
            self._stages.forget()
            self._fit_switches()
            self._keep_view()
            self._redraw()
        if run.model is not None:
            self._limit_controls()
            self._follow_pass()
        self._say_what_is_missing()

    def show_answer(self, key: str, answer: Answer) -> None:
        taker = _TAKERS.get(type(answer))
        if taker is not None and not self._foreign(answer):
            taker(self, answer)
            self._say_what_is_missing()

    def show_cursor(self) -> None:
        if self.context.run.model is not None:
            self._limit_controls()
            self._follow_pass()
        self._mark()

    def restyle(self) -> None:
        for part in (self._heads, self._large, self._bars, self._stages):
            part.set_theme(self.context.theme)
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

    def axes(self) -> dict[str, tuple[Along, ...]]:
        found = axes_of(self.key, self.context.run.label)
        if self._grid is not None:
            found["grid"] = scaled(found["grid"], (0, 1), (0, self._grid.block), (0, self._grid.block))
        if self._map is not None:
            (row, _), (column, _), block = self._map.rows, self._map.columns, self._map.block
            found["map"] = scaled(found["map"], (row, block), (column, block))
        return found

    def undo(self) -> bool:
        return self._large.back()

    def hides(self) -> list[Hidden]:
        left_out = Hidden(self.tr("token 0 is left out"), partial(self._leave_out.setChecked, False))
        part = Hidden(self.tr("only a part of the map is shown"), partial(self._large.go, None))
        return [*([left_out] if self._leave_out.isChecked() else []), *([part] if self._large.view else [])]

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
        self._explain_stages(layer)

    def _explain_stages(self, layer: int) -> None:
        """In the words of the depth that is chosen."""
        depth, texts = self.context.depth, stage_texts(self._layer_facts(layer), self.tr)
        if depth != "numbers":
            model = self.context.run.model
            deeper = {stage: panel_text(self.key, stage, depth, model, layer) for stage in texts}
            texts = {stage: text if depth == "code" else told(text) for stage, text in deeper.items()}
        self._stages.explain(texts, depth)

    def show_depth(self) -> None:
        if self.context.run.model is not None:
            self._explain_stages(self._place()[0])

    def _say_what_is_missing(self) -> None:
        missing = self._pages.missing(self.context.run, self.tr("where each token looks"))
        if not missing and self._map is None and self._grid is None:
            missing = self.tr("Reading the prompt: attention appears when the layer has been computed.")
        self._pages.say(missing)

    def _take_grid(self, answer: AttentionGrid) -> None:
        if self._is_new(answer):
            self._grid = made_grid(answer, self._first_unmade(answer))
            self._draw_grid()
            self.caption_changed.emit()

    def _take_map(self, answer: AttentionMap) -> None:
        if self._is_new(answer):
            self._map = made_map(answer, self._first_unmade(answer))
            self._draw_map()

    def _take_row(self, answer: AttentionRow) -> None:
        if self._is_new(answer):
            self._row = made_row(answer, self._first_unmade(answer))
            self._draw_row()

    def _is_new(self, answer: Pattern) -> bool:
        """Or the pass, which stands in its layer, has come further."""
        before, now = self._given.get(type(answer)), (answer, self._first_unmade(answer))
        self._given[type(answer)] = now
        return before is None or answer is not before[0] or now[1] != before[1]

    def _first_unmade(self, answer: Pattern) -> int | None:
        return None if self.differs else unmade_of(self.context.run, answer)

    def _follow_pass(self) -> None:
        """Look at the stage where the pass stands; what it has not made yet there is not shown."""
        run = self.context.run
        if run.where.state != "running" or run.where.layer != self._place()[0]:  # between two stops nothing flickers
            self._stages.follow(stage_of_stop(run, replace(self.context.cursor.pinned, layer=self._place()[0])))
        for answer, _ in list(self._given.values()):
            self.show_answer("", answer)

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
        """Of weights."""
        if self.differs:
            shown = maps[..., state == SHOWN]
            return signed_scale(shown, self.context.theme.diverging, self.tr("weight, A − B"))
        fit = self._fit.isChecked() or self._leave_out.isChecked()
        title = self.tr("√ weight") if self._root.isChecked() else self.tr("weight")
        colours = self.context.theme.sequential
        return attention_scale(maps, state, root=self._root.isChecked(), fit=fit, colours=colours, title=title)

    def _stage_scale(self, stage: str, values: np.ndarray, state: np.ndarray, block: int = 1) -> Scale:
        if stage == "pattern":
            return self._scale(values, state)
        if stage in SIGNED_STAGES:
            title = self.tr("q · k") if stage == "products" else self.tr("score")
            title = self.tr("{0}, A − B").format(title) if self.differs else title
            title = title if block == 1 else self.tr("{0}, max |·|").format(title)
            return signed_scale(values[state == SHOWN], self.context.theme.diverging, title)
        if self.differs:
            return signed_scale(values[state == SHOWN], self.context.theme.diverging, self.tr("‖w·v‖, A − B"))
        root, colours = self._root.isChecked(), self.context.theme.sequential
        title = self.tr("√ ‖w·v‖") if root else self.tr("‖w·v‖")
        return attention_scale(values, state, root=root, fit=True, colours=colours, title=title)

    def _state(self, answer: AttentionGrid) -> np.ndarray:
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
        lines = [heads_text(facts, self.tr)]
        if facts.reach is not None:
            lines.append(sight_text(facts, self.tr))
        if self._stages.stage != "pattern":
            lines.append(self.tr("The small maps show weights."))
        return "\n".join(lines)

    def _draw_map(self) -> None:
        answer = self._map
        if answer is None or answer.n_total == 0:
            self._large.show_cells(None)
            return
        self._large.set_extent(answer.n_total, answer.n_total)
        values = map_cells(answer)
        state = map_state(answer, values.shape, leave_out_first=self._leave_out.isChecked())
        label, block = self.context.run.label, answer.block
        rows = Axis(self.tr("query: the token that looks"), len(values), label, block=block, first=answer.rows[0])
        columns = Axis(
            self.tr("key: the token it looks at"), values.shape[1], label, block=block, first=answer.columns[0]
        )
        scale = self._stage_scale(answer.stage, values, state, block)
        self._large.show_cells(Cells(values, rows, columns, scale, state))
        self._large.cell = self._cell_of_picked(answer)
        self._mark()
        self.caption_changed.emit()

    def _cell_of_picked(self, answer: AttentionMap) -> tuple[int, int] | None:
        """The cell that the picked query and key lie in now; None where it is not among those shown."""
        if self._picked is None:
            return None
        inside = (
            start <= place < stop
            for place, (start, stop) in zip(self._picked, (answer.rows, answer.columns), strict=True)
        )
        (query, key), block = self._picked, answer.block
        return ((query - answer.rows[0]) // block, (key - answer.columns[0]) // block) if all(inside) else None

    def _draw_row(self) -> None:
        answer = self._row
        if answer is None or answer.rows.shape[1] == 0:
            self._bars.show_bars(None)
            self._row_title.setText("" if answer is None else self._not_yet_text(answer))
            return
        first = self._first_bar(answer)
        values = answer.rows[self._row_head(answer), first:]
        left_out = 0 if self._leave_out.isChecked() and len(values) > 1 and first == 0 else None
        state = np.zeros(values.shape, np.uint8)
        if left_out is not None:
            state[left_out] = MASKED
        places = Axis("", len(values), self.context.run.label, first=first)
        scale = self._stage_scale(answer.stage, values, state)
        if answer.stage in SIGNED_STAGES or self.differs:  # bars have room for the longest
            end = float(np.abs(values[state == SHOWN]).max(initial=0.0)) or 1.0
            scale = replace(scale, low=-end, high=end, clips=False)
        self._bars.show_bars(Bars(values, places, scale, left_out))
        self._row_title.setText(self._row_text(answer))

    def _not_yet_text(self, answer: AttentionRow) -> str:
        form = self.tr("Position {0} “{1}” has not reached layer {2} yet.")
        if self._first_unmade(answer) is not None:
            form = self.tr("Position {0} “{1}” has not come to this stage of layer {2} yet.")
        return form.format(answer.position, self.context.run.label(answer.position), answer.layer)

    def _first_bar(self, answer: AttentionRow) -> int:
        """Weights are 0 where a query does not look; scores it has none there."""
        return answer.sight[0] if answer.stage in SIGNED_STAGES else 0

    def _row_head(self, answer: AttentionRow) -> int:
        return min(self._place()[1], len(answer.rows) - 1)

    def _row_text(self, answer: AttentionRow) -> str:
        form = self.tr("layer {0}, head {1}: position {2} “{3}” looks at …")
        if answer.stage != "pattern":
            form = self.tr("layer {0}, head {1}: position {2} “{3}”, {4} of …")
        name, label = self._stages.names()[answer.stage], self.context.run.label(answer.position)
        return form.format(answer.layer, self._row_head(answer), answer.position, label, name)

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
        first = 0 if row is None else self._first_bar(row)
        self._bars.mark(None if hovered.position is None else hovered.position - first)
        if self._map is not None and self._large.cells is not None:
            position = run.n_visible - 1 if pinned.position is None else pinned.position
            self._large.mark((self._row_of(position), None), (self._row_of(hovered.position), None))

    def _row_of(self, position: int | None) -> int | None:
        """The row of cells that a query is in; None where it is not among those shown."""
        assert self._map is not None
        assert self._large.cells is not None
        offset = None if position is None else position - self._map.rows[0]
        return closest_cell(offset, self._map.block, len(self._large.cells.values))

    # --- the stage and the part that are looked at ------------------------------------------------------------

    def _choose_stage(self, stage: AttentionStage) -> None:
        self._fit_switches()
        self._exact = None
        if self._grid is not None:
            self._sharing.setText(self._sharing_text(self._grid.layer))
        self.watches_changed.emit()

    def _fit_switches(self) -> None:
        """What has signs has a scale of its own."""
        stage = self._stages.stage
        self._root.setEnabled(stage not in SIGNED_STAGES and not self.differs)
        self._fit.setEnabled(stage == "pattern" and not self.differs)

    def _keep_view(self) -> None:
        """The part that was looked at stays where another branch of the same run has it, too."""
        n = self.context.run.n_visible
        self._large.set_extent(n, n) if self.same_prompt else self._large.forget()

    def _view_changed(self) -> None:
        self._whole.setEnabled(self._large.view is not None)
        self.watches_changed.emit()
        self.hides_changed.emit()

    # --- the mouse --------------------------------------------------------------------------------------------

    def _hover_head(self, head: int) -> None:
        if self._heads.heads is not None:
            self.context.cursor.hover(head=head)
            self.context.cursor.say(self._heads.head_text(head))

    def _hover_cell(self, row: int, column: int) -> None:
        self.context.cursor.hover(position=self._at(row, column)[0])
        self.context.cursor.say(self._describe_cell(row, column))

    def _hover_bar(self, place: int) -> None:
        assert self._row is not None
        self.context.cursor.hover(position=place + self._first_bar(self._row))
        self.context.cursor.say(self._describe_bar(place))

    def _at(self, row: int, column: int) -> tuple[int, int]:
        """The first query and key of a cell."""
        shown = self._map
        assert shown is not None
        return shown.rows[0] + row * shown.block, shown.columns[0] + column * shown.block

    def _pick_cell(self, row: int, column: int) -> None:
        assert self._map is not None
        shown, (query, key) = self._map, self._at(row, column)
        self._picked = (query, key)
        reduced = shown.block > 1 or shown.every > 1
        if reduced and self._large.cells is not None and self._large.cells.shown(row, column):
            index = (shown.layer, shown.head, query, key)
            self.context.ask("attention.exact", AskExactValue(shown.stage, index))
        self.context.cursor.pin(position=query)
        self.context.cursor.say(self._describe_cell(row, column))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        offer(event, self.menu(event))

    def menu(self, event: QContextMenuEvent) -> QMenu | None:
        """What can be edited of the head or the cell that is asked about."""
        head = asked_cell(event, self._heads, self._heads.head_at, self._heads.pinned)
        cell = asked_cell(event, self._large, self._large.at, self._large.cell)
        choices: tuple[Choice, ...] = ()
        tests: tuple[Test, ...] = ()
        if isinstance(head, int) and self.context.run.model is not None:
            choices = head_choices(self._place()[0], head, self.tr)
            tests = (Test("attention", self._place()[0], head=head, key=0, limit=BREAK_AT),)
        elif isinstance(cell, tuple) and self._map is not None:
            query, key = self._at(*cell)
            queries, keys = (range(first, first + self._map.block) for first in (query, key))
            choices = edge_choices(self._map.layer, self._map.head, queries, keys, self.tr)
            tests = (Test("attention", self._map.layer, head=self._map.head, key=key, limit=BREAK_AT),)
        menu = edit_menu(self, self.context.tray, choices, self.tr)
        return with_breaks(menu, self.context.breaks, self.tr, *tests)

    def _pick_bar(self, place: int) -> None:
        self.context.cursor.say(self._describe_bar(place))

    def _describe_cell(self, row: int, column: int) -> str:
        shown, cells, run = self._map, self._large.cells, self.context.run
        assert shown is not None
        assert cells is not None
        query, key = self._at(row, column)
        where = self.tr("layer {0}, head {1}, query {2} “{3}”, key {4} “{5}”").format(
            shown.layer, shown.head, query, run.label(query), key, run.label(key)
        )
        if cells.state is not None and cells.state[row, column] == ABSENT:
            return self.tr("{0}: not computed yet").format(where)
        if self._unseen(shown, row, key):
            return f"{where}: {self._unseen(shown, row, key)}"
        value = exact(float(cells.values[row, column]))
        where = self.of_two(where)
        if shown.block == 1 and shown.every == 1:
            return f"{where}: {value}"
        form = self.tr("{0}: largest of {1} × {1} cells {2}")
        if shown.stage in SIGNED_STAGES:
            form = self.tr("{0}: largest in size of {1} × {1} cells {2}")
        text = form.format(where, shown.block, value)
        if shown.every > 1:
            text = self.tr("{0}: {1} so far, by one query in {2}").format(where, value, shown.every)
        return text + self._exact_text(shown.stage, (shown.layer, shown.head, query, key))

    def _unseen(self, shown: AttentionMap, row: int, key: int) -> str:
        """Why no query of a row of cells has a figure with a key; "" where one has."""
        first, last = shown.sight[row]
        if first < key + shown.block and key < last:
            return ""
        if shown.stage in ("products", "scaled"):
            return self.tr("not multiplied, the pass that read the query did not have the key")
        if key >= last:
            return self.tr("masked, a token cannot look ahead")
        return self.tr("masked, outside the {0}").format(attention_words(self._layer_facts(shown.layer), self.tr))

    def _exact_text(self, stage: AttentionStage, index: tuple[int, ...]) -> str:
        found = self._exact
        if found is None or (found.quantity, found.index) != (stage, index) or found.value is None:
            return ""
        return self.tr(", at this query and key {0}").format(exact(found.value))

    def _describe_bar(self, place: int) -> str:
        assert self._row is not None
        row, run = self._row, self.context.run
        head, key = self._row_head(row), place + self._first_bar(row)
        where = self.tr("layer {0}, head {1}, query {2} “{3}”, key {4} “{5}”").format(
            row.layer, head, row.position, run.label(row.position), key, run.label(key)
        )
        where = self.of_two(where)
        if key < row.sight[0]:
            words = attention_words(self._layer_facts(row.layer), self.tr)
            return self.tr("{0}: masked, outside the {1}").format(where, words)
        return f"{where}: {exact(row.rows[head, key])}"

    def _first_name(self, block: int) -> str:
        return self.tr("token 0") if block == 1 else self.tr("tokens 0–{0}").format(block - 1)

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._resized.start()

    def font_changed(self) -> None:
        self._right.share()
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
