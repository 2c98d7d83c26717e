"""The pages beside the map of experts: one token's formula, all layers, the whole run, one expert."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from app.compare_arrays import sets_of
from app.compare_experts import LayersOfTwo, RowOfTwo, SharesOfTwo, UseOfTwo
from app.cursor import Cursor
from app.routing_words import alone_text, barriers_text, has_barriers, row_text, shares_text, taken_text
from app.routing_words_of_two import listed_of_two, row_of_two, set_text, shares_of_two, taken_of_two
from app.run import Run
from app.theme import Theme
from app.widgets.amounts import percent
from app.widgets.axis import Axis
from app.widgets.bar_rows import (
    BARRED,
    BELOW,
    BY_A,
    BY_B,
    BY_BOTH,
    NONE,
    TAKEN,
    BarRow,
    BarRows,
    Rows,
    bar_row,
    signed_row,
)
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
from app.widgets.heatmap import MASKED, SHOWN, Cells, Heatmap
from app.widgets.pages import Pages, fill
from app.widgets.scale import Scale, exact, signed_scale
from app.widgets.still_label import StillLabel
from app.widgets.turning import TurningSplitter
from engine.frames import ExpertUse, LayerFacts, RouterRow, RoutingLayers, RoutingShares
from engine.questions import AskExpertUse, AskRouterRow, AskRoutingLayers, AskRoutingShares, Question

MOST_LISTED = 16  # tokens of an expert whose output is recomputed
_BAR_OF_SET = np.array([BELOW, BY_BOTH, BY_A, BY_B], np.uint8)  # states of bars by NEITHER, BOTH, ONLY_A, ONLY_B


class Page(QWidget):
    """One page. It asks one question while it is on screen, and shows the answer."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__()
        self.run, self._cursor, self.theme = run, cursor, theme
        self._quantity = "weights"
        self._title = self._text()

    def name(self) -> str:
        """Of the tab."""
        raise NotImplementedError

    def help(self) -> str:
        """What the page shows, in a line."""
        raise NotImplementedError

    def layer(self) -> int | None:
        """The layer that is shown; None where nothing is, or no layer of its own."""
        return None

    def source(self) -> str:
        """Where the figures on screen are from, "" where there are none."""
        raise NotImplementedError

    def question(self, layer: int, position: int | None) -> Question | None:
        """What to watch for this place; None: nothing can be shown."""
        raise NotImplementedError

    def take(self, answer: object) -> None:
        """Show an answer; None: there is none any more."""
        raise NotImplementedError

    def mark(self) -> None:
        """The cursor moved."""

    def set_low(self, low: bool) -> None:
        """Where there is little height the picture matters more than the words above it."""
        self._title.setVisible(not low)

    def set_quantity(self, quantity: str) -> None:
        """What maps show of two branches: "weights", "scores" or "chosen"."""
        self._quantity = quantity
        self.set_theme(self.theme)

    def set_theme(self, theme: Theme) -> None:
        raise NotImplementedError

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen."""
        raise NotImplementedError

    def _facts(self, layer: int) -> LayerFacts:
        assert self.run.model is not None
        return self.run.model.layers[layer]

    def _token(self, position: int) -> str:
        return self.tr("position {0} “{1}”").format(position, self.run.label(position))

    def _numbers(self, count: int) -> Axis:
        return Axis(self.tr("expert"), count, str, numbers=True)

    def _text(self) -> StillLabel:
        label = StillLabel(wrap=True)
        label.label.setTextFormat(Qt.TextFormat.PlainText)
        label.label.setMargin(self.fontMetrics().height() // 3)
        label.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        return label

    def _pick_expert(self, expert: int) -> None:
        """A second click frees it."""
        self._cursor.pin(expert=None if self._cursor.pinned.expert == expert else expert)

    def _connect_bars(self, bars: BarRows) -> None:
        bars.place_left.connect(self._cursor.leave)


class TokenPage(Page):
    """The router's figures for one position, row by row as they follow from each other."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.row: RouterRow | None = None
        self._bars = BarRows(theme, self.tr("The router's figures by expert"), self._describe)
        self._pages = Pages(self._bars)
        fill(self, self._title, self._pages).setStretch(1, 1)
        self._connect_bars(self._bars)
        self._bars.place_hovered.connect(self._hover)
        self._bars.place_picked.connect(self._pick)

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

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self._bars.set_theme(theme)
        self._draw()

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
            return _BAR_OF_SET[row.sets]
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

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self._map.set_theme(theme)
        self._draw()

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


class RunPage(Page):
    """How evenly the experts of the layer were used in this run, and which go together."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.shares: RoutingShares | None = None
        self._bars = BarRows(theme, self.tr("Share and mean score by expert"), self._describe)
        self._together = Heatmap(theme, self.tr("Which experts are chosen together"), self._describe_pair)
        split = TurningSplitter()
        split.addWidget(self._bars)
        split.addWidget(self._together)
        split.setSizes([560, 440])
        fill(self, self._title, split).setStretch(1, 1)
        self._connect_bars(self._bars)
        self._bars.place_hovered.connect(self._hover)
        self._bars.place_picked.connect(self._pick_expert)
        self._together.cell_hovered.connect(lambda row, column: cursor.say(self._describe_pair(row, column)))
        self._together.cell_picked.connect(lambda row, column: cursor.pin(expert=row))
        self._together.cell_left.connect(cursor.leave)

    def name(self) -> str:
        return self.tr("Whole run")

    def help(self) -> str:
        return self.tr("Shares, mean scores, balance and entropy over all positions of the run")

    def layer(self) -> int | None:
        return None if self.shares is None else self.shares.layer

    def source(self) -> str:
        return "" if self.shares is None else self.shares.source

    def question(self, layer: int, position: int | None) -> Question:
        return AskRoutingShares(layer)

    def take(self, answer: object) -> None:
        self.shares = answer if isinstance(answer, RoutingShares) else None
        self._draw()

    def mark(self) -> None:
        self._bars.mark(self._cursor.pinned.expert, self._cursor.hovered.expert)
        self._together.mark((self._cursor.pinned.expert, None))

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        for picture in (self._bars, self._together):
            picture.set_theme(theme)
        self._draw()

    def values(self) -> dict[str, np.ndarray]:
        shares = self.shares
        if shares is None:
            return {}
        figures = {"balance": np.array([shares.balance]), "entropy": np.array([shares.entropy])}
        return {"share": shares.share, "mean_score": shares.mean_score, "together": shares.together, **figures}

    def _draw(self) -> None:
        shares = self.shares
        if shares is None or not shares.n:
            self._bars.show_rows(None)
            self._together.show_cells(None)
            self._title.setText("")
            return
        self._title.setText(
            shares_of_two(shares, self.tr) if isinstance(shares, SharesOfTwo) else shares_text(shares, self.tr)
        )
        self._bars.show_rows(Rows(self._rows(shares), self._numbers(len(shares.share))))
        self._draw_together(shares)
        self.mark()

    def _rows(self, shares: RoutingShares) -> tuple[BarRow, ...]:
        if isinstance(shares, SharesOfTwo):
            return self._rows_of_two(shares)
        count = len(shares.share)
        state = np.where(shares.share > 0, np.uint8(TAKEN), np.uint8(BELOW))
        even = self.tr("even: 1/{0}").format(count)
        return (
            bar_row(
                self.tr("share f of all choices ({0} a position)").format(self._facts(shares.layer).top_k),
                shares.share,
                state,
                even=1 / count,
                even_name=even,
            ),
            bar_row(self.tr("mean score s̄"), shares.mean_score, state, even=1 / count, even_name=even),
        )

    def _rows_of_two(self, shares: SharesOfTwo) -> tuple[BarRow, ...]:
        state = _BAR_OF_SET[sets_of(shares.a.share, shares.b.share)]
        share = self.tr("share f of all choices, A − B")
        return signed_row(share, shares.share, state), signed_row(
            self.tr("mean score s̄, A − B"), shares.mean_score, state
        )

    def _draw_together(self, shares: RoutingShares) -> None:
        two = isinstance(shares, SharesOfTwo)  # parts of the positions already
        values = (shares.together if two else shares.together / shares.n).astype(np.float32)
        state = np.where(np.eye(len(values), dtype=np.bool_), np.uint8(MASKED), np.uint8(SHOWN))
        values[state == MASKED] = 0
        scale = Scale(0.0, float(values.max()) or 1.0, "linear", self.theme.sequential, self.tr("together"))
        if two:
            scale = signed_scale(values, self.theme.diverging, self.tr("together, A − B"))
        rows, columns = self._numbers(len(values)), self._numbers(len(values))
        self._together.show_cells(Cells(values, rows, columns, scale, state))

    def _hover(self, expert: int) -> None:
        self._cursor.hover(expert=expert)
        self._cursor.say(self._describe(expert))

    def _describe(self, expert: int) -> str:
        shares = self.shares
        assert shares is not None
        if isinstance(shares, SharesOfTwo):
            return self._describe_two(shares, expert)
        form = self.tr("layer {0}, expert {1}: share of all choices {2}, mean score {3}, chosen by {4} positions")
        figures = (exact(float(shares.share[expert])), exact(float(shares.mean_score[expert])))
        return form.format(shares.layer, expert, *figures, shares.together[expert, expert])

    def _describe_two(self, shares: SharesOfTwo, expert: int) -> str:
        form = self.tr("A − B, layer {0}, expert {1}: share of all choices {2}, mean score {3}; chosen by {4} and {5}")
        figures = (exact(float(shares.share[expert])), exact(float(shares.mean_score[expert])))
        counts = (part.together[expert, expert] for part in (shares.a, shares.b))
        return form.format(shares.layer, expert, *figures, *counts)

    def _describe_pair(self, one: int, other: int) -> str:
        shares = self.shares
        assert shares is not None
        if isinstance(shares, SharesOfTwo):
            form = self.tr(
                "A − B, layer {0}, experts {1} and {2}: A {3} of {4} positions, B {5} of {6}; parts differ by {7}"
            )
            counts = [figure for part in (shares.a, shares.b) for figure in (part.together[one, other], part.n)]
            return form.format(shares.layer, one, other, *counts, exact(float(shares.together[one, other])))
        count = int(shares.together[one, other])
        if one == other:
            return self.tr("layer {0}: expert {1} was chosen by {2} positions").format(shares.layer, one, count)
        form = self.tr("layer {0}: experts {1} and {2} were chosen together by {3} of {4} positions ({5})")
        return form.format(shares.layer, one, other, count, shares.n, percent(count / shares.n))


class ExpertPage(Page):
    """The picked expert: the tokens it took, the strongest first, and what it adds at them."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.use: ExpertUse | None = None
        self._bars = BarRows(theme, self.tr("What the expert adds, token by token"), self._describe)
        self._pages = Pages(self._bars)
        fill(self, self._title, self._pages).setStretch(1, 1)
        self._connect_bars(self._bars)
        self._bars.place_hovered.connect(self._hover)
        self._bars.place_picked.connect(self._pick)
        self._draw()

    def name(self) -> str:
        return self.tr("One expert")

    def help(self) -> str:
        return self.tr("The tokens that the picked expert took, strongest first; its output is recomputed for these")

    def layer(self) -> int | None:
        return None if self.use is None else self.use.layer

    def source(self) -> str:
        return "" if self.use is None else self.use.source

    def question(self, layer: int, position: int | None) -> Question | None:
        expert = self._cursor.pinned.expert
        if expert is None or expert >= self._facts(layer).n_experts:
            return None
        return AskExpertUse(layer, expert, MOST_LISTED)

    def take(self, answer: object) -> None:
        self.use = answer if isinstance(answer, ExpertUse) else None
        self._draw()

    def mark(self) -> None:
        if self._cursor.pinned.expert is None and self.use is not None:
            self.take(None)
            return
        self._bars.mark(self._place(self._cursor.pinned.position), self._place(self._cursor.hovered.position))

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self._bars.set_theme(theme)
        self._draw()

    def values(self) -> dict[str, np.ndarray]:
        if self.use is None:
            return {}
        names = ("positions", "weights", "norms", "shares", *(["sets"] if isinstance(self.use, UseOfTwo) else []))
        return {f"expert_{name}": getattr(self.use, name) for name in names}

    def _place(self, position: int | None) -> int | None:
        if self.use is None or position is None:
            return None
        found = np.flatnonzero(self.use.positions == position)
        return int(found[0]) if found.size else None

    def _draw(self) -> None:
        use = self.use
        if use is None:
            self._bars.show_rows(None)
            self._title.setText("")
            self._pages.say(
                self.tr("Pick an expert: click its row in the map, or its bar, or choose its number above.")
            )
            return
        self._title.setText(self._taken_text(use))
        self._pages.say("" if use.positions.size else self._nobody(use))
        self._bars.show_rows(self._rows(use) if use.positions.size else None)
        self.mark()

    def _taken_text(self, use: ExpertUse) -> str:
        if isinstance(use, UseOfTwo):
            return taken_of_two(use, self.tr)
        return taken_text(use.layer, use.expert, use.taken, use.n, self._facts(use.layer), self.tr)

    def _nobody(self, use: ExpertUse) -> str:
        form = self.tr("No position of this run chose expert {0} of layer {1}.")
        if isinstance(use, UseOfTwo):
            form = self.tr("Of no position that both branches have is it known that expert {0} of layer {1} took it.")
        return form.format(use.expert, use.layer)

    def _rows_of_two(self, use: UseOfTwo) -> Rows:
        state, positions = _BAR_OF_SET[use.sets], use.positions
        rows = [
            signed_row(self.tr("weight, A − B"), use.weights, state),
            signed_row(self.tr("norm of what it adds, A − B"), use.norms, state),
        ]
        if use.shares.size:
            rows.append(signed_row(self.tr("its share of Δ(MLP), A − B"), use.shares, state))
        title = listed_of_two(use, self.tr)
        return Rows(tuple(rows), Axis(title, len(positions), lambda place: self.run.label(int(positions[place]))))

    def _rows(self, use: ExpertUse) -> Rows:
        if isinstance(use, UseOfTwo):
            return self._rows_of_two(use)
        state = np.full(len(use.positions), TAKEN, np.uint8)
        rows = [
            bar_row(self.tr("weight"), use.weights, state, most=1.0),
            bar_row(self.tr("norm of what it adds, weight included"), use.norms, state),
        ]
        if use.shares.size:
            rows.append(bar_row(self.tr("its share of Δ(MLP): ⟨it, Δ⟩ / ‖Δ‖²"), use.shares, state, most=1.0))
        title = self.tr("tokens it took, strongest first")
        if use.taken > len(use.positions):
            title += self.tr(" (the first {0} of {1})").format(len(use.positions), use.taken)
        positions = use.positions
        return Rows(tuple(rows), Axis(title, len(positions), lambda place: self.run.label(int(positions[place]))))

    def _hover(self, place: int) -> None:
        assert self.use is not None
        self._cursor.hover(position=int(self.use.positions[place]), expert=self.use.expert)
        self._cursor.say(self._describe(place))

    def _pick(self, place: int) -> None:
        assert self.use is not None
        self._cursor.pin(position=int(self.use.positions[place]))

    def _describe(self, place: int) -> str:
        use = self.use
        assert use is not None
        where = self.tr("layer {0}, expert {1}, {2}").format(
            use.layer, use.expert, self._token(int(use.positions[place]))
        )
        weight = exact(float(use.weights[place]))
        if isinstance(use, UseOfTwo):
            where = self.tr("A − B, {0}, {1}").format(where, set_text(int(use.sets[place]), self.tr))
        if np.isnan(use.norms[place]):
            return self.tr("{0}: weight {1}; what it adds is not computed yet").format(where, weight)
        text = self.tr("{0}: weight {1}, norm {2}").format(where, weight, exact(float(use.norms[place])))
        if not use.shares.size:
            return text
        return text + self.tr(", share of Δ(MLP) {0}").format(exact(float(use.shares[place])))


PAGES: tuple[type[Page], ...] = (TokenPage, LayersPage, RunPage, ExpertPage)
