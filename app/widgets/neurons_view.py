"""The neurons of layers that have one MLP: the strongest of the pinned layer, and the strongest over all layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtWidgets import QWidget

from app.compare_arrays import NEITHER
from app.compare_neurons import NeuronLayersOfTwo, NeuronsOfTwo
from app.cursor import Cursor
from app.depth import USUAL, Depth
from app.engine_words import sources_text
from app.run import Run
from app.theme import Theme
from app.widgets.amounts import grouped, percent
from app.widgets.axis import Axis
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, Cells
from app.widgets.legend import Legend
from app.widgets.neuron_table import NeuronTable, share_text
from app.widgets.pages import Pages, fill, joined_sources
from app.widgets.scale import Scale, beyond, exact, figure, signed_scale
from app.widgets.sets import SetMap, set_kinds, set_names
from app.widgets.still_label import StillLabel
from app.widgets.turning import TurningSplitter
from engine.frames import Answer, NeuronLayers, Neurons
from engine.questions import AskNeuronLayers, AskNeurons, Question


class NeuronsView(QWidget):
    """What a panel shows of a dense MLP. The panel passes on answers, cursor and theme; the view asks through it."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__()
        self._run, self._cursor, self._theme = run, cursor, theme
        self._neurons: Neurons | None = None
        self._layers: NeuronLayers | None = None
        self._prompt = run.prompt  # of the run that the layers are of
        self._depth: Depth = USUAL
        self._figures = StillLabel(wrap=True)
        self._figures.label.setMargin(self.fontMetrics().height() // 3)
        self._table = NeuronTable(theme, self.tr("Strongest neurons of the layer"), self._describe_neuron)
        self._table.explain(
            self.tr(
                "post: what a neuron gives. writes: the length of what it adds, post · w, against the length of what "
                "the MLP gives. Lengths cancel when they are added, so these need not come to 100 %."
            )
        )
        self._map = SetMap(theme, self.tr("Strongest neurons of every layer"), self._describe_cell)
        self._pages = Pages(self._table)
        halves = TurningSplitter()
        halves.addWidget(self._pages)
        halves.addWidget(self._map)
        halves.setSizes([560, 440])
        fill(self, self._figures, halves).setStretch(1, 1)
        self._connect()

    def _connect(self) -> None:
        self._table.row_hovered.connect(self._say_neuron)
        self._table.row_picked.connect(self._say_neuron)
        self._map.cell_hovered.connect(self._hover_cell)
        self._map.cell_picked.connect(self._pick_cell)
        for leaving in (self._table.row_left, self._map.cell_left):
            leaving.connect(self._cursor.leave)

    # --- for the panel ----------------------------------------------------------------------------------------

    def watches(self, prefix: str, two: bool = False) -> dict[str, Question]:
        """Standing questions about the pinned layer and position; none before anything is read.

        ``two``: about two branches. Neurons are then asked for all of them, since the strongest need not be the same.
        Layers are asked about no more when a pinned position has them all: that is half a token's work.
        """
        if self._run.model is None or self._run.n_visible == 0:
            return {}
        layer, position = self._place()
        found: dict[str, Question] = {}
        if layer in self._dense():
            found[f"{prefix}.neurons"] = (
                AskNeurons(layer, position, self._width(layer), False) if two else AskNeurons(layer, position)
            )
        if self._dense() and not self._complete(position):
            found[f"{prefix}.neuron_layers"] = AskNeuronLayers(position)
        return found

    def take(self, answer: Answer) -> bool:
        """Show an answer; False where it is not for this view, or of a model that has gone."""
        if isinstance(answer, Neurons) and answer.layer in self._dense():
            self._neurons = answer
            self._draw_neurons()
        elif isinstance(answer, NeuronLayers) and set(answer.layers.tolist()) <= set(self._dense()):
            self._layers, self._prompt = answer, self._run.prompt
            self._draw_layers()
        else:
            return False
        return True

    def clear(self) -> None:
        """Another model or run: what was shown is gone."""
        self._neurons = self._layers = None
        self._redraw()

    def mark(self) -> None:
        """The cursor moved."""
        dense, pinned, hovered = self._dense(), self._cursor.pinned.layer, self._cursor.hovered.layer
        places = [dense.index(layer) if layer in dense else None for layer in (pinned, hovered)]
        self._map.mark((places[0], None), (places[1], None))

    def set_theme(self, theme: Theme) -> None:
        """Other colours."""
        self._theme = theme
        self._table.set_theme(theme)
        self._map.set_theme(theme)
        self._redraw()

    def show_depth(self, depth: Depth) -> None:
        """How deep things are explained."""
        self._depth = depth
        self._draw_neurons()

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen, by name."""
        found: dict[str, np.ndarray] = {}
        if self._neurons is not None:
            shown = self._neurons
            found |= {"neurons": shown.ids, "post": shown.post, "gate": shown.gate, "up": shown.up}
            found |= (
                {"post_a": shown.a, "post_b": shown.b} if isinstance(shown, NeuronsOfTwo) else {"share": shown.share}
            )
        if self._layers is not None:
            found |= {"layers": self._layers.layers, "layer_neurons": self._layers.ids, "layer_post": self._layers.post}
        if isinstance(self._layers, NeuronLayersOfTwo):
            found |= {"layer_sets": self._layers.sets, "layer_post_b": self._layers.other}
        return found

    def caption(self) -> str:
        """Which layer and position, of how many neurons how many."""
        shown = self._neurons
        if shown is None:
            return ""
        two = isinstance(shown, NeuronsOfTwo)
        form = self.tr("layer {0}, position {1} “{2}”: {3} of {4} neurons by |post|")
        text = (self.tr("layer {0}, position {1} “{2}”: {3} of {4} neurons by |A − B|") if two else form).format(
            shown.layer,
            shown.position,
            self._run.label(shown.position),
            len(shown.ids),
            grouped(shown.n_neurons),
        )
        clipped = self._clipped()
        return text + (self.tr("; over layers {0} beyond the scale").format(clipped) if clipped else "")

    def badge(self) -> str:
        """Where the figures are from; "" where there are none."""
        answers = (answer for answer in (self._neurons, self._layers) if answer is not None)
        return sources_text(joined_sources(*(answer.source for answer in answers)), self.tr)

    # --- what is shown ----------------------------------------------------------------------------------------

    def _dense(self) -> tuple[int, ...]:
        """Layers with one MLP."""
        layers = () if self._run.model is None else self._run.model.layers
        return tuple(layer for layer, facts in enumerate(layers) if facts.experts is None)

    def _width(self, layer: int) -> int:
        """How many neurons a layer has."""
        assert self._run.model is not None
        return self._run.model.layers[layer].d_mlp

    def _place(self) -> tuple[int, int | None]:
        """The pinned layer and position, within what there is."""
        return self._run.within(self._cursor.pinned.layer, self._cursor.pinned.position)

    def _complete(self, position: int | None) -> bool:
        """Whether every layer of a pinned position of this run is on screen; the newest position changes."""
        shown, same_run = self._layers, self._prompt is self._run.prompt
        return shown is not None and same_run and (shown.position, len(shown.layers)) == (position, len(self._dense()))

    def _redraw(self) -> None:
        self._draw_neurons()
        self._draw_layers()

    def _draw_neurons(self) -> None:
        shown = self._neurons
        known = shown is not None and len(shown.ids) > 0
        self._table.show_neurons(shown if known else None)
        self._table.tell()
        self._figures.setText(self._figures_text(shown) if shown is not None and known else "")
        self._pages.say("" if shown is None or known else self._missing_text(shown))

    def _missing_text(self, shown: Neurons) -> str:
        if isinstance(shown, NeuronsOfTwo):
            form = self.tr("The MLP of layer {0} has not been computed at position {1} of both branches yet.")
            return form.format(shown.layer, shown.position)
        return self.tr("The MLP of layer {0} has not been computed at position {1} yet.").format(
            shown.layer, shown.position
        )

    def _figures_text(self, shown: Neurons) -> str:
        """How much the MLP gives, and how much of it in how few neurons."""
        if self._depth == "story":
            return self._story_text(shown)
        form = self.tr("post = act(gate) · up") if len(shown.up) else self.tr("post = act(pre)")
        if isinstance(shown, NeuronsOfTwo):
            return self._two_text(shown, form)
        return self.tr(
            "{0} · the MLP's output has norm {1} · the {2} neurons listed hold {3} of Σ|post| · half of it is in {4} "
            "of {5} neurons"
        ).format(
            form,
            figure(shown.output_norm),
            len(shown.ids),
            percent(shown.held),
            grouped(shown.half),
            grouped(shown.n_neurons),
        )

    def _story_text(self, shown: Neurons) -> str:
        """In how few neurons most of it is, without a sign."""
        form = self.tr("the {0} neurons listed hold {1} of what all neurons give · half of it is in {2} of {3} neurons")
        if isinstance(shown, NeuronsOfTwo):
            form = self.tr(
                "the {0} neurons listed hold {1} of what A and B differ by · half of it is in {2} of {3} neurons"
            )
        return form.format(len(shown.ids), percent(shown.held), grouped(shown.half), grouped(shown.n_neurons))

    def _two_text(self, shown: NeuronsOfTwo, form: str) -> str:
        """How far apart the MLPs are, and in how few neurons."""
        return self.tr(
            "{0} · the MLP's output has norm {1} in A and {2} in B · the {3} neurons listed hold {4} of Σ|A − B| · "
            "half of it is in {5} of {6} neurons"
        ).format(
            form,
            figure(shown.output_norm),
            figure(shown.other_norm),
            len(shown.ids),
            percent(shown.held),
            grouped(shown.half),
            grouped(shown.n_neurons),
        )

    def _draw_layers(self) -> None:
        shown, dense = self._layers, self._dense()
        if shown is None or not shown.ids.shape[1]:
            self._map.show_sets(None)
            return
        rows = Axis(self.tr("layer"), len(dense), lambda row: str(dense[row]), numbers=True)
        ranks = Axis(self._rank_title(shown), shown.ids.shape[1], lambda rank: str(rank + 1), numbers=True)
        values, state = self._layer_cells(shown)
        self._show_layers(shown, Cells(values, rows, ranks, self._layers_scale(shown), state))

    def _rank_title(self, shown: NeuronLayers) -> str:
        form = self.tr("rank by |post|, position {0} “{1}”")
        if isinstance(shown, NeuronLayersOfTwo):
            form = self.tr("strongest of both, of A, of B, position {0} “{1}”")
        return form.format(shown.position, self._run.label(shown.position))

    def _layer_cells(self, shown: NeuronLayers) -> tuple[np.ndarray, np.ndarray]:
        """Values and states of [dense layers, ranks]."""
        dense = self._dense()
        values = np.zeros((len(dense), shown.ids.shape[1]), np.float32)
        state = np.full(values.shape, ABSENT, np.uint8)
        where = [dense.index(layer) for layer in shown.layers.tolist()]
        if isinstance(shown, NeuronLayersOfTwo):
            values[where] = shown.sets
            state[where] = np.where(shown.sets == NEITHER, np.uint8(MASKED), np.uint8(SHOWN))
        else:
            values[where], state[where] = shown.post, SHOWN
        return values, state

    def _show_layers(self, shown: NeuronLayers, cells: Cells) -> None:
        if isinstance(shown, NeuronLayersOfTwo):
            self._map.show_sets(cells)
        else:
            self._map.show_sets(cells, np.zeros((0, 0), np.uint8))
        self.mark()

    def _layers_scale(self, shown: NeuronLayers) -> Legend:
        if isinstance(shown, NeuronLayersOfTwo):
            top = shown.ids.shape[1] // 2
            return set_kinds(self._theme, self.tr("in the {0} strongest of").format(top))
        return replace(signed_scale(shown.post, self._theme.diverging, self.tr("√ post")), curve="root")

    def _clipped(self) -> int:
        """Cells of the map that lie beyond its scale."""
        cells = self._map.cells
        return beyond(cells.scale, cells.values) if cells is not None and isinstance(cells.scale, Scale) else 0

    # --- mouse and texts --------------------------------------------------------------------------------------

    def _say_neuron(self, row: int) -> None:
        self._cursor.say(self._describe_neuron(row))

    def _hover_cell(self, row: int, column: int) -> None:
        self._cursor.hover(layer=self._dense()[row])
        self._cursor.say(self._describe_cell(row, column))

    def _pick_cell(self, row: int, column: int) -> None:
        self._cursor.pin(layer=self._dense()[row])
        self._cursor.say(self._describe_cell(row, column))

    def _describe_neuron(self, row: int) -> str:
        shown = self._neurons
        assert shown is not None
        if isinstance(shown, NeuronsOfTwo):
            return self._describe_two(shown, row)
        form = self.tr("neuron {0} of layer {1}, position {2}: post {3} = act(gate {4}) · up {5}; it writes {6}")
        plain = self.tr("neuron {0} of layer {1}, position {2}: post {3} = act(pre {4}); it writes {6}")
        return (form if len(shown.up) else plain).format(
            shown.ids[row],
            shown.layer,
            shown.position,
            exact(float(shown.post[row])),
            exact(float(shown.gate[row])),
            exact(float(shown.up[row])) if len(shown.up) else "",
            self.tr("{0} of the output's length").format(share_text(float(shown.share[row]))),
        )

    def _describe_two(self, shown: NeuronsOfTwo, row: int) -> str:
        form = self.tr("A − B, neuron {0} of layer {1}, position {2}: post {3}; A {4}, B {5}")
        figures = (exact(float(array[row])) for array in (shown.post, shown.a, shown.b))
        return form.format(shown.ids[row], shown.layer, shown.position, *figures)

    def _describe_cell(self, row: int, column: int) -> str:
        shown, layer = self._layers, self._dense()[row]
        assert shown is not None
        where = shown.layers.tolist()
        if layer not in where:
            return self.tr("layer {0}, position {1}: not computed yet").format(layer, shown.position)
        place = where.index(layer), column
        if isinstance(shown, NeuronLayersOfTwo):
            return self._describe_set(shown, layer, place)
        return self.tr("layer {0}, position {1}, rank {2}: neuron {3}, post {4}").format(
            layer, shown.position, column + 1, shown.ids[place], exact(float(shown.post[place]))
        )

    def _describe_set(self, shown: NeuronLayersOfTwo, layer: int, place: tuple[int, int]) -> str:
        """A neuron that is among the strongest of one branch, or of both."""
        where = self.tr("layer {0}, position {1}").format(layer, shown.position)
        kind, neuron = int(shown.sets[place]), shown.ids[place]
        if kind == NEITHER:
            return self.tr("{0}: no more neurons").format(where)
        posts = {"A": float(shown.post[place]), "B": float(shown.other[place])}
        told = ", ".join(f"{name} {exact(post)}" for name, post in posts.items() if not np.isnan(post))
        form = self.tr("{0}: neuron {1} is among the {2} strongest of {3}; post: {4}")
        return form.format(where, neuron, shown.ids.shape[1] // 2, set_names()[kind], told)
