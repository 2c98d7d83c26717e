"""The pages of one token beside the map of experts: what its router said, and every layer's choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.compare_arrays import sets_of
from app.compare_experts import LayersOfTwo, RowOfTwo
from app.cursor import Cursor
from app.routing_words import alone_text, barriers_text, has_barriers, row_text
from app.routing_words_of_two import row_of_two, set_text
from app.run import Run
from app.theme import Theme
from app.widgets.axis import Axis
from app.widgets.bar_rows import (
    BARRED,
    BELOW,
    BY_BOTH,
    NONE,
    TAKEN,
    BarRow,
    BarRows,
    Rows,
    bar_row,
    signed_row,
)
from app.widgets.canvas import Canvas
from app.widgets.experts_map import (
    ExpertMap,
    expert_axis,
    layer_state,
    quantity_of,
    routed_scale,
    signed,
    two_scale,
    with_shared,
)
from app.widgets.experts_page import BAR_OF_SET, Page
from app.widgets.heatmap import SHOWN, Cells
from app.widgets.pages import Pages, fill
from app.widgets.scale import exact
from engine.frames import LayerFacts, RouterRow, RoutingLayers
from engine.questions import AskRouterRow, AskRoutingLayers, Question


class TokenPage(Page):
    """The router's figures for one position, row by row as they follow from each other."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.row: RouterRow | None = None
        self._bars = BarRows(theme, self.tr("The router's figures by expert"), self._describe)
        self._pages = Pages(self._bars)
        fill(self, self._title, self._pages).setStretch(1, 1)
        self._connect_bars(self._bars, self._hover, self._pick)

    def name(self) -> str:
        return self.tr("This token")

    def help(self) -> str:
        return self.tr("The router's logits, scores, choice and weights for the pinned position")

    def layer(self) -> int | None:
        return None if self.row is None else self.row.layer

    def source(self) -> str:
        return "" if self.row is None else self.row.source

    def question(self, layer: int, position: int | None) -> Question:
        return AskRouterRow(layer, position)

    def take(self, answer: object) -> None:
        self.row = answer if isinstance(answer, RouterRow) else None
        self._draw()

    def mark(self) -> None:
        self._bars.mark(self._cursor.pinned.expert, self._cursor.hovered.expert)

    def _pictures(self) -> tuple[Canvas, ...]:
        return (self._bars,)

    def values(self) -> dict[str, np.ndarray]:
        if self.row is None:
            return {}
        names = ("logits", "scores", "choice", "ids", "weights", *(["sets"] if isinstance(self.row, RowOfTwo) else []))
        return {f"router_{name}": getattr(self.row, name) for name in names}

    def _draw(self) -> None:
        row = self.row
        if row is None or not row.ids.size:
            self._bars.show_rows(None)
            self._title.setText("")
            self._pages.say(self._missing(row))
            return
        self._pages.say("")
        facts = self._facts(row.layer)
        text = row_of_two(row, self.tr) if isinstance(row, RowOfTwo) else row_text(row, facts, self.tr)
        self._title.setText(f"{self._token(row.position)} · {text}")
        assert facts.experts is not None
        shared = facts.experts.shared is not None
        rows, places = self._rows(row, facts), expert_axis(self.tr("expert"), len(row.logits), shared)
        if shared:
            rows = (
                *(self._beside(bars, row, NONE) for bars in rows[:-1]),
                self._beside(rows[-1], row, BY_BOTH if isinstance(row, RowOfTwo) else TAKEN),
            )
        self._bars.show_rows(Rows(rows, places))
        self.mark()

    def _missing(self, row: RouterRow | None) -> str:
        if row is None:
            return " "
        if isinstance(row, RowOfTwo):
            return self.tr("The pinned position has not been routed in this layer of both branches yet.")
        return self.tr("The pinned position has not been routed in this layer yet.")

    def _rows(self, row: RouterRow, facts: LayerFacts) -> tuple[BarRow, ...]:
        """In the order in which the model computes them."""
        assert facts.experts is not None
        spec, state, two = facts.experts, self._state(row), isinstance(row, RowOfTwo)
        make = signed_row if two else bar_row
        rows = [make(self._named(self.tr("router logits")), row.logits, state)]
        if not spec.score_chosen:
            score = self.tr("scores: softmax of the logits") if spec.score == "softmax" else self.tr("scores: sigmoids")
            rows.append(make(self._named(score), row.scores, state))
        if has_barriers(spec):
            barred = np.where(np.isinf(row.choice) if two else np.isneginf(row.choice), np.uint8(BARRED), state)
            rows.append(make(self._named(barriers_text(spec, self.tr)), row.choice, barred))
        weights = np.zeros(len(row.logits), np.float32)
        weights[row.ids] = row.weights
        there = np.where(state == BELOW, np.uint8(NONE), state)
        if two:
            rows.append(signed_row(self._named(self.tr("weights of those chosen in either")), weights, there))
        else:
            title = self.tr("weights: the {0} chosen").format(len(row.ids))
            rows.append(bar_row(title, weights, there, most=1.0))
        return tuple(rows)

    def _named(self, title: str) -> str:
        return self.tr("{0}, A − B").format(title) if isinstance(self.row, RowOfTwo) else title

    def _beside(self, bars: BarRow, row: RouterRow, state: int) -> BarRow:
        """With the shared expert apart: it has no place in the choice, only a gate (or 1) beside the weights."""
        always = 0.0 if isinstance(row, RowOfTwo) else 1.0
        gate = np.array(always if row.shared_gate is None else row.shared_gate)
        states = with_shared(bars.state, np.array(state), NONE)
        return replace(bars, values=with_shared(bars.values, gate, 0.0), state=states)

    def _state(self, row: RouterRow) -> np.ndarray:
        if isinstance(row, RowOfTwo):
            return BAR_OF_SET[row.sets]
        state = np.full(len(row.logits), BELOW, np.uint8)
        state[row.ids] = TAKEN
        return state

    def _pick(self, place: int) -> None:
        if self.row is not None and place < len(self.row.logits):
            self._pick_expert(place)

    def _hover(self, place: int) -> None:
        assert self.row is not None
        self._cursor.hover(expert=place if place < len(self.row.logits) else None)
        self._cursor.say(self._describe(place))

    def _describe(self, expert: int) -> str:
        row = self.row
        assert row is not None
        if isinstance(row, RowOfTwo):
            return self._describe_two(row, expert)
        if expert >= len(row.logits):
            where = self._token(row.position)
            if row.shared_gate is not None and np.isnan(row.shared_gate):
                return self.tr("layer {0}, {1}, shared expert: not computed yet").format(row.layer, where)
            gate = exact(1.0 if row.shared_gate is None else row.shared_gate)
            return self.tr("layer {0}, {1}, shared expert: reads every token, × {2}").format(row.layer, where, gate)
        figures = [(self.tr("logit"), row.logits[expert]), (self.tr("score"), row.scores[expert])]
        figures.append((self.tr("chosen by"), row.choice[expert]))
        slots = np.flatnonzero(row.ids == expert)
        text = ", ".join(f"{name} {exact(float(value))}" for name, value in figures)
        text += (
            self.tr(", weight {0}").format(exact(float(row.weights[slots[0]])))
            if slots.size
            else self.tr(", not chosen")
        )
        return self.tr("layer {0}, {1}, expert {2}: {3}").format(row.layer, self._token(row.position), expert, text)

    def _describe_two(self, row: RowOfTwo, expert: int) -> str:
        where = self._token(row.position)
        if expert >= len(row.logits):
            gate = exact(row.shared_gate or 0.0)
            return self.tr("A − B, layer {0}, {1}, shared expert: gate {2}").format(row.layer, where, gate)
        weights = row.weights[row.ids == expert]
        figures = (row.logits[expert], row.scores[expert], row.choice[expert], weights[0] if weights.size else 0.0)
        form = self.tr("A − B, layer {0}, {1}, expert {2}: logit {3}, score {4}, chosen by {5}, weight {6}; {7}")
        told = (exact(float(figure)) for figure in figures)
        return form.format(row.layer, where, expert, *told, set_text(int(row.sets[expert]), self.tr))


class LayersPage(Page):
    """One position in every layer that has experts."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.answer: RoutingLayers | None = None
        self._map = ExpertMap(theme, self.tr("Experts of every layer for one position"), self._describe)
        fill(self, self._title, self._map).setStretch(1, 1)
        self._map.cell_hovered.connect(self._hover)
        self._map.cell_picked.connect(self._pick)
        self._map.cell_left.connect(cursor.leave)

    def name(self) -> str:
        return self.tr("Across layers")

    def help(self) -> str:
        return self.tr("Which experts took the pinned position, layer by layer")

    def source(self) -> str:
        return "" if self.answer is None else self.answer.source

    def question(self, layer: int, position: int | None) -> Question:
        return AskRoutingLayers(position)

    def take(self, answer: object) -> None:
        self.answer = answer if isinstance(answer, RoutingLayers) else None
        self._draw()

    def mark(self) -> None:
        if self.answer is not None and self._map.cells is not None:
            self._write_title(self.answer)
            pinned, hovered = self._cursor.pinned, self._cursor.hovered
            self._map.mark((self._row(pinned.layer), pinned.expert), (self._row(hovered.layer), hovered.expert))

    def _pictures(self) -> tuple[Canvas, ...]:
        return (self._map,)

    def values(self) -> dict[str, np.ndarray]:
        if self.answer is None:
            return {}
        answer = self.answer
        found = {"layer_weights": answer.weights, "layer_scores": answer.scores, "layers": answer.layers}
        return {**found, "layer_sets": self._sets(answer)} if isinstance(answer, LayersOfTwo) else found

    def _sets(self, answer: LayersOfTwo) -> np.ndarray:
        return sets_of(answer.chosen, answer.other)

    def _row(self, layer: int | None) -> int | None:
        assert self.answer is not None
        found = np.flatnonzero(self.answer.layers == layer)
        return int(found[0]) if layer is not None and found.size else None

    def _draw(self) -> None:
        shown = self.answer
        if shown is None or not shown.weights.size:
            self._map.show_cells(None)
            self._title.setText("")
            return
        state = layer_state(shown.known, shown.n_experts, shown.weights.shape[1])
        layers = shown.layers
        rows = Axis(self.tr("layer"), len(layers), lambda row: str(layers[min(row, len(layers) - 1)]), numbers=True)
        columns = self._numbers(shown.weights.shape[1])
        if isinstance(shown, LayersOfTwo):
            self._draw_two(shown, rows, columns, state)
        else:
            values = signed(shown.weights, shown.scores, shown.chosen, runners_up=True)
            scale = routed_scale(values[state == SHOWN], self.theme, runners_up=True)
            self._map.show_routed(values, rows, columns, scale, state)
        self.mark()

    def _draw_two(self, shown: LayersOfTwo, rows: Axis, columns: Axis, state: np.ndarray) -> None:
        sets = self._sets(shown)
        values = quantity_of(self._quantity, shown.weights, shown.scores, sets)
        scale = two_scale(self._quantity, values[state == SHOWN], self.theme)
        self._map.show_two(Cells(values, rows, columns, scale, state), sets)

    def _write_title(self, shown: RoutingLayers) -> None:
        words = alone_text(self._cursor.pinned.layer, self.tr)
        self._title.setText(f"{self._token(shown.position)} · {words}")

    def _hover(self, row: int, expert: int) -> None:
        assert self.answer is not None
        exists = expert < self.answer.n_experts[row]
        self._cursor.hover(layer=int(self.answer.layers[row]), expert=expert if exists else None)
        self._cursor.say(self._describe(row, expert))

    def _pick(self, row: int, expert: int) -> None:
        assert self.answer is not None
        exists = expert < self.answer.n_experts[row]
        self._cursor.pin(layer=int(self.answer.layers[row]), expert=expert if exists else None)

    def _describe(self, row: int, expert: int) -> str:
        shown = self.answer
        assert shown is not None
        where = self.tr("layer {0}, expert {1}, {2}").format(shown.layers[row], expert, self._token(shown.position))
        if expert >= shown.n_experts[row]:
            return self.tr("layer {0} has no expert {1}").format(shown.layers[row], expert)
        if not shown.known[row]:
            return self.tr("{0}: not computed yet").format(where)
        score, weight = exact(float(shown.scores[row, expert])), exact(float(shown.weights[row, expert]))
        if isinstance(shown, LayersOfTwo):
            in_which = set_text(int(sets_of(shown.chosen[row, expert], shown.other[row, expert])), self.tr)
            return self.tr("A − B, {0}: weight {1}, score {2}; {3}").format(where, weight, score, in_which)
        if not shown.chosen[row, expert]:
            return self.tr("{0}: score {1}, not chosen").format(where, score)
        return self.tr("{0}: weight {1}, score {2}").format(where, weight, score)
