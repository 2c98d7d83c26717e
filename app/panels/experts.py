"""Experts: which of them read each token, by which figures; where a layer has one MLP, its neurons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QMenu, QSpinBox, QSplitter, QTabWidget, QWidget

from app.axis_words import axes_of, scaled
from app.break_menus import with_breaks
from app.compare_arrays import NEITHER, sets_of
from app.compare_experts import RoutingOfTwo
from app.edit_menus import asked_cell, edit_menu, expert_choices, offer
from app.engine_words import sources_text
from app.panels.panel import Context, Panel
from app.routing_words import alone_text, formula_text
from app.routing_words_of_two import set_text
from app.widgets.axis import Axis
from app.widgets.experts_map import (
    ExpertMap,
    expert_axis,
    position_state,
    quantity_of,
    routed_scale,
    signed,
    two_scale,
    widened,
    with_shared,
)
from app.widgets.experts_page import Page
from app.widgets.experts_pages import PAGES
from app.widgets.flow import FlowLayout
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, Cells
from app.widgets.least import OneOf
from app.widgets.neurons_view import NeuronsView
from app.widgets.pages import Pages, fill, fill_box, joined_sources, labelled, limit
from app.widgets.pattern import closest_cell
from app.widgets.scale import exact
from app.widgets.still_label import StillLabel
from app.widgets.values_model import Along
from engine.breakpoints import Test
from engine.frames import Answer, ExactValue, LayerFacts, NeuronLayers, Neurons, Routing
from engine.questions import AskExactValue, AskRouting, Question

_NO_EXPERT = -1  # on the spin box
_LOW_LINES = 26  # a panel of fewer lines of text is low: words give way to the pictures
_LEAST_ROW = 4  # pixels: in thinner rows the grey of the runners-up hides what was chosen


class ExpertsPanel(Panel):
    """The map of the pinned layer: weights that are used, scores below the cut. Beside it one page at a time."""

    key = "experts"
    compares = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._routing: Routing | None = None
        self._exact: ExactValue | None = None
        theme, run, cursor = context.theme, context.run, context.cursor
        self._map = ExpertMap(theme, self.tr("Experts by position"), self._describe_cell)
        self._words = StillLabel(wrap=True)
        self._built = True
        self._words.label.setTextFormat(Qt.TextFormat.PlainText)
        self._words.label.setMargin(self.fontMetrics().height() // 3)
        self.pages: tuple[Page, ...] = tuple(make(run, cursor, theme) for make in PAGES)
        self.neurons = NeuronsView(run, cursor, theme)
        self.neurons.show_depth(context.depth)
        self._controls = self._make_controls()
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._resized.timeout.connect(self._size_settled)
        self.show_run()

    # --- building ---------------------------------------------------------------------------------------------

    def _make_controls(self) -> QWidget:
        self._layer, self._expert = QSpinBox(), QSpinBox()
        self._expert.setSpecialValueText(self.tr("none"))
        self._expert.setToolTip(self.tr("Pick an expert of this layer; another layer's experts are others"))
        self._runners_up = QCheckBox(self.tr("runners-up"))
        self._runners_up.setChecked(True)
        self._runners_up.setToolTip(self.tr("In grey: the scores of the experts that were not chosen"))
        self._quantity = QComboBox()
        texts = (self.tr("weights"), self.tr("scores"), self.tr("who chose"))
        fill_box(self._quantity, zip(texts, ("weights", "scores", "chosen"), strict=True))
        self._quantity.setToolTip(self.tr("What the maps show of the two branches"))
        bar = QWidget()
        flow = FlowLayout(bar)
        self._expert_box = labelled(self.tr("Expert"), self._expert)
        flow.addWidget(labelled(self.tr("Layer"), self._layer))
        flow.addWidget(self._expert_box)
        flow.addWidget(self._runners_up)
        self._quantity_box = labelled(self.tr("A − B of"), self._quantity)
        flow.addWidget(self._quantity_box)
        return bar

    def _make_content(self) -> QWidget:
        self._tabs = QTabWidget()
        self._tabs.setDocumentMode(True)
        self._tabs.setAccessibleName(self.tr("What to see of the experts"))
        self._tabs.tabBar().setAccessibleName(self._tabs.accessibleName())
        for index, page in enumerate(self.pages):
            self._tabs.addTab(page, page.name())
            self._tabs.setTabToolTip(index, page.help())
        self._split = QSplitter(Qt.Orientation.Vertical)
        self._split.addWidget(self._map)
        self._split.addWidget(self._tabs)
        self._split.setSizes([420, 580])
        self._split.setChildrenCollapsible(False)
        self._kinds = OneOf()
        self._kinds.addWidget(self._split)
        self._kinds.addWidget(self.neurons)
        content = QWidget()
        fill(content, self._controls, self._words, self._kinds).setStretch(2, 1)
        return content

    def _connect(self) -> None:
        cursor = self.context.cursor
        self._layer.valueChanged.connect(lambda layer: cursor.pin(layer=layer))
        self._expert.valueChanged.connect(lambda expert: cursor.pin(expert=None if expert == _NO_EXPERT else expert))
        self._runners_up.toggled.connect(self._size_settled)
        self._quantity.currentIndexChanged.connect(self._turn_quantity)
        self._tabs.currentChanged.connect(self._turn_page)
        self._map.cell_hovered.connect(self._hover_cell)
        self._map.cell_picked.connect(self._pick_cell)
        self._map.cell_left.connect(cursor.leave)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Experts / MLP")

    def main_picture(self) -> QWidget:
        return self._map

    def badge(self) -> str:
        if self._pages.empty:
            return ""
        if self._dense():
            return self.neurons.badge()
        if self._routing is None:
            return ""
        reduced = [self.tr("reduced ×{0}").format(self._routing.block)] if self._routing.block > 1 else []
        sources = joined_sources(self._routing.source, self._page().source())
        return " · ".join([sources_text(sources, self.tr), *reduced])

    def mode(self) -> str:
        return "neurons" if self.context.run.model is not None and self._dense() else "experts"

    def caption(self) -> str:
        if self._pages.empty:
            return ""
        if self._dense():
            return self.neurons.caption()
        shown = self._routing
        if shown is None:
            return ""
        facts = self._facts(shown.layer)
        text = self.tr("layer {0}, {1} of {2} experts for each of {3} positions").format(
            shown.layer, facts.top_k, facts.n_experts, shown.n_total
        )
        text += self.tr(", {0} routed").format(shown.n) if shown.n < shown.n_total else ""
        if self.differs:
            return text
        left_out = self._runners_up.isChecked() and not self._with_runners_up()
        return text + (self.tr(", rows too thin for runners-up") if left_out else "")

    def watches(self) -> Mapping[str, Question]:
        run = self.context.run
        if run.model is None or run.n_visible == 0:
            return {}
        if self._dense():
            return self.neurons.watches(self.key, self.differs)
        layer, position = self._place()
        found: dict[str, Question] = {"experts.map": AskRouting(layer, self._map.fits())}
        question = self._page().question(layer, position)
        return found if question is None else {**found, "experts.page": question}

    def show_run(self) -> None:
        run = self.context.run
        if self.another_run():
            self._routing = self._exact = None
            self._map.show_cells(None)
            self.neurons.clear()
            for page in self.pages:
                page.take(None)
        if run.model is not None:
            self._follow_layer()
        self._say_what_is_missing()

    def show_answer(self, key: str, answer: Answer) -> None:
        if self._foreign(answer):
            return
        if isinstance(answer, Routing):
            self._take_map(answer)
        elif isinstance(answer, ExactValue):
            self._take_exact(answer)
        elif isinstance(answer, Neurons | NeuronLayers):
            self.neurons.take(answer)
        else:
            self._page().take(answer)
        self._say_what_is_missing()
        self.caption_changed.emit()

    def show_cursor(self) -> None:
        if self.context.run.model is not None:
            self._follow_layer()
        self._mark()
        self.neurons.mark()
        for page in self.pages:
            page.mark()

    def restyle(self) -> None:
        theme = self.context.theme
        self._map.set_theme(theme)
        self.neurons.set_theme(theme)
        for page in self.pages:
            page.set_theme(theme)
        self._draw_map()

    def show_depth(self) -> None:
        self.neurons.show_depth(self.context.depth)

    def values(self) -> dict[str, np.ndarray]:
        if self._dense():
            return self.neurons.values()
        found: dict[str, np.ndarray] = {}
        if self._routing is not None:
            names = ("weights", "scores", "chosen", *(["shared"] if self._routing.shared.size else []))
            found |= {name: getattr(self._routing, name) for name in names}
        if isinstance(self._routing, RoutingOfTwo):
            found |= {"chosen_b": self._routing.other, "sets": sets_of(self._routing.chosen, self._routing.other)}
        return found | self._page().values()

    def axes(self) -> dict[str, tuple[Along, ...]]:
        found, routing = axes_of(self.key, self.context.run.label), self._routing
        if routing is not None:
            for name in ("weights", "scores", "chosen", "chosen_b", "sets"):
                found[name] = scaled(found[name], (0, 1), (0, routing.block))
            found["shared"] = scaled(found["shared"], (0, routing.block), (0, 1))
        return found

    # --- what is shown ----------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int | None]:
        """The pinned layer and position, within what there is."""
        pinned = self.context.cursor.pinned
        return self.context.run.within(pinned.layer, pinned.position)

    def _facts(self, layer: int) -> LayerFacts:
        assert self.context.run.model is not None
        return self.context.run.model.layers[layer]

    def _dense(self) -> bool:
        """Whether the pinned layer has one MLP."""
        return self.context.run.model is not None and self._facts(self._place()[0]).experts is None

    def _page(self) -> Page:
        return self.pages[self._tabs.currentIndex()]

    def _foreign(self, answer: Answer) -> bool:
        """Whether an answer is of a model that has gone, or of a layer that is no longer looked at."""
        model, layer = self.context.run.model, getattr(answer, "layer", None)
        return model is None or (layer is not None and layer != self._place()[0])

    def _turn_page(self) -> None:
        self._page().mark()
        self.watches_changed.emit()
        self.caption_changed.emit()

    def _turn_quantity(self) -> None:
        for page in self.pages:
            page.set_quantity(self._quantity.currentData())
        self._draw_map()
        self.caption_changed.emit()

    def _follow_layer(self) -> None:
        """Controls and words of the pinned layer; what is drawn of another one goes."""
        layer, _ = self._place()
        facts, expert = self._facts(layer), self.context.cursor.pinned.expert
        if self._routing is not None and self._routing.layer != layer:
            self._routing = None
            self._map.show_cells(None)
        for page in self.pages:
            if page.layer() not in (None, layer):
                page.take(None)
        self._kinds.setCurrentIndex(1 if facts.experts is None else 0)
        self._expert_box.setVisible(facts.experts is not None)
        self._runners_up.setVisible(facts.experts is not None and not self.differs)
        self._quantity_box.setVisible(facts.experts is not None and self.differs)
        assert self.context.run.model is not None
        limit(self._layer, 0, self.context.run.model.n_layers - 1, layer)
        if facts.experts is not None:
            limit(self._expert, _NO_EXPERT, facts.n_experts - 1, _NO_EXPERT if expert is None else expert)
        words = self._layer_words(layer, facts)
        self._words.setText(words)
        self._map.say_about(words)
        self._show_words()

    def _layer_words(self, layer: int, facts: LayerFacts) -> str:
        if facts.experts is None:
            form = self.tr("Layer {0} has one MLP, {1} wide, and no experts: every token goes through all of it.")
            return form.format(layer, facts.d_mlp)
        words = formula_text(facts.experts, self.tr)
        alone = alone_text(layer, self.tr) if self.context.cursor.pinned.expert is not None else ""
        return self.tr("Layer {0}: {1}.").format(layer, words) + (f" {alone}" if alone else "")

    def _say_what_is_missing(self) -> None:
        missing = self._pages.missing(self.context.run, self.tr("which experts read each token"))
        if not missing and not self._dense() and self._routing is None:
            missing = self.tr("Reading the prompt: the routing appears when the layer has been computed.")
        self._pages.say(missing)

    def _take_map(self, answer: Routing) -> None:
        if answer is not self._routing:
            self._routing = answer
            self._draw_map()

    def _take_exact(self, answer: ExactValue) -> None:
        self._exact = answer
        if self._map.cell is not None and self._routing is not None:
            self._map.tell()
            self.context.cursor.say(self._describe_cell(*self._map.cell))

    def _draw_map(self) -> None:
        shown = self._routing
        if shown is None or shown.n_total == 0:
            self._map.show_cells(None)
            return
        state = position_state(len(shown.weights), shown.n, shown.n_total, shown.block)
        if isinstance(shown, RoutingOfTwo):
            self._draw_two(shown, state)
            return
        parts = [widened(part, state.shape[1]) for part in (shown.weights, shown.scores, shown.chosen)]
        runners_up = self._with_runners_up()
        values = signed(*parts, runners_up=runners_up)
        scale = routed_scale(values[state == SHOWN], self.context.theme, runners_up=runners_up)
        rows, columns = self._axes(shown, state)
        if self._has_shared(shown):
            gates, computed = self._shared(shown, state)
            values, state = with_shared(values, np.abs(gates), 0.0), with_shared(state, computed, MASKED)
        self._map.show_routed(values, rows, columns, scale, state)
        self._mark()

    def _draw_two(self, shown: RoutingOfTwo, state: np.ndarray) -> None:
        """What the two branches differ by; the shared expert's gate is a weight, and never a choice."""
        columns = state.shape[1]
        weights, scores, of_a, of_b = (
            widened(part, columns) for part in (shown.weights, shown.scores, shown.chosen, shown.other)
        )
        sets, quantity = sets_of(of_a, of_b), self._quantity.currentData()
        values = quantity_of(quantity, weights, scores, sets)
        scale = two_scale(quantity, values[state == SHOWN], self.context.theme)
        axes = self._axes(shown, state)
        if self._has_shared(shown):
            gates, computed = self._shared(shown, state)
            told = gates if quantity == "weights" else np.zeros_like(gates)
            computed = computed if quantity == "weights" else np.full_like(computed, MASKED)
            values, state = with_shared(values, told, 0.0), with_shared(state, computed, MASKED)
            sets = with_shared(sets, np.zeros(columns, np.uint8), NEITHER)
        self._map.show_two(Cells(values, *axes, scale, state), sets)
        self._mark()

    def _has_shared(self, shown: Routing) -> bool:
        spec = self._facts(shown.layer).experts
        return spec is not None and spec.shared is not None

    def _shared(self, shown: Routing, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shared expert's gates and the states of its cells."""
        gates = widened(shown.shared[None], state.shape[1])[0]
        computed = np.where(np.arange(state.shape[1]) < len(shown.shared), np.uint8(SHOWN), np.uint8(ABSENT))
        return gates, computed

    def _axes(self, shown: Routing, state: np.ndarray) -> tuple[Axis, Axis]:
        title = self.tr("expert of layer {0}").format(shown.layer)
        rows = expert_axis(title, len(shown.weights), self._has_shared(shown))
        return rows, Axis(self.tr("token"), state.shape[1], self.context.run.label, block=shown.block)

    def _with_runners_up(self) -> bool:
        rows = 1 if self._routing is None else len(self._routing.weights)
        return self._runners_up.isChecked() and self._map.height() / rows >= _LEAST_ROW

    # --- marks and mouse --------------------------------------------------------------------------------------

    def _mark(self) -> None:
        shown, pinned, hovered = self._routing, self.context.cursor.pinned, self.context.cursor.hovered
        if shown is None or self._map.cells is None:
            return
        columns = self._map.cells.values.shape[1]
        newest = shown.n_total - 1
        place = closest_cell(newest if pinned.position is None else pinned.position, shown.block, columns)
        previewed = hovered.expert if hovered.layer in (None, shown.layer) else None
        over = (previewed, closest_cell(hovered.position, shown.block, columns))
        self._map.mark((pinned.expert, place), over)

    def _hover_cell(self, expert: int, column: int) -> None:
        shown = self._routing
        assert shown is not None
        exists = expert < len(shown.weights)
        self.context.cursor.hover(position=column * shown.block, expert=expert if exists else None)
        self.context.cursor.say(self._describe_cell(expert, column))

    def _pick_cell(self, expert: int, column: int) -> None:
        shown = self._routing
        assert shown is not None
        position = column * shown.block
        where = {"position": position} if position < self.context.run.n_tokens else {}
        if expert < len(shown.weights):
            where["expert"] = expert
        self.context.cursor.pin(**where)
        self.context.cursor.say(self._describe_cell(expert, column))
        if shown.block > 1 and expert < len(shown.weights):
            question = AskExactValue("expert_weight", (shown.layer, expert, position))
            self.context.ask("experts.exact", question)

    def _describe_cell(self, expert: int, column: int) -> str:
        shown = self._routing
        assert shown is not None
        position = column * shown.block
        label = self.context.run.label(position)
        if expert >= len(shown.weights):
            return self._describe_shared(column)
        where = self.tr("layer {0}, expert {1}, position {2} “{3}”").format(shown.layer, expert, position, label)
        if self._map.cells is None or not self._map.cells.shown(expert, column):
            return self.tr("{0}: not computed yet").format(where)
        figures = (exact(float(shown.weights[expert, column])), exact(float(shown.scores[expert, column])))
        if isinstance(shown, RoutingOfTwo):
            return self.of_two(self._describe_two(shown, where, figures, expert, column))
        if shown.block > 1:
            return self._describe_block(where, figures, expert, column)
        if not shown.chosen[expert, column]:
            return self.tr("{0}: score {1}, not chosen").format(where, figures[1])
        return self.tr("{0}: weight {1}, score {2}").format(where, *figures)

    def _describe_shared(self, column: int) -> str:
        shown = self._routing
        assert shown is not None
        position = column * shown.block
        where = self.tr("layer {0}, shared expert, position {1} “{2}”").format(
            shown.layer, position, self.context.run.label(position)
        )
        if column >= len(shown.shared):
            return self.tr("{0}: not computed yet").format(where)
        form = self.tr("{0}: gate {1}") if self.differs else self.tr("{0}: reads every token, × {1}")
        return self.of_two(form.format(where, exact(float(shown.shared[column]))))

    def _describe_block(self, where: str, figures: tuple[str, str], expert: int, column: int) -> str:
        shown = self._routing
        assert shown is not None
        form = self.tr("{0} and the {1} after it: chosen by {2}, largest weight {3}, largest score {4}")
        text = form.format(where, shown.block - 1, int(shown.chosen[expert, column]), *figures)
        return text + self._exact_text(shown, expert, column)

    def _describe_two(self, shown: RoutingOfTwo, where: str, figures: tuple[str, str], expert: int, column: int) -> str:
        of_a, of_b = int(shown.chosen[expert, column]), int(shown.other[expert, column])
        if shown.block == 1:
            kind = int(sets_of(np.array(of_a), np.array(of_b)))
            return self.tr("{0}: weight {1}, score {2}; {3}").format(where, *figures, set_text(kind, self.tr))
        form = self.tr("{0} and the {1} after it: chosen by {2} in A and {3} in B, largest weights {4}, scores {5}")
        text = form.format(where, shown.block - 1, of_a, of_b, *figures)
        return text + self._exact_text(shown, expert, column)

    def _exact_text(self, shown: Routing, expert: int, column: int) -> str:
        place = (shown.layer, expert, column * shown.block)
        if self._exact is None or self._exact.index != place or self._exact.value is None:
            return ""
        return self.tr(" · weight at the first: {0}").format(exact(self._exact.value))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        offer(event, self.menu(event))

    def menu(self, event: QContextMenuEvent) -> QMenu | None:
        """What can be edited of the expert that is asked about."""
        shown, cell = self._routing, asked_cell(event, self._map, self._map.at, self._map.cell)
        if shown is None or not isinstance(cell, tuple) or cell[0] >= len(shown.weights):
            return None
        menu = edit_menu(self, self.context.tray, expert_choices(shown.layer, cell[0], self.tr), self.tr)
        return with_breaks(menu, self.context.breaks, self.tr, Test("expert", shown.layer, expert=cell[0]))

    def _low(self) -> bool:
        return self.height() < _LOW_LINES * self.fontMetrics().height()

    def _show_words(self) -> None:
        """Where there is little height the formula is in the map's tip; that there are no experts is always said."""
        self._words.setVisible(not self._low() or self._dense())

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        for page in self.pages:
            page.set_low(self._low())
        self._show_words()
        self._resized.start()

    def font_changed(self) -> None:
        self._words.label.setMargin(self.fontMetrics().height() // 3)

    def _size_settled(self) -> None:
        if self._routing is not None:
            self._draw_map()
            self.caption_changed.emit()
            self.watches_changed.emit()
