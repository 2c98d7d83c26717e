"""The KV cache: which layer has stored which position, what that costs, and the vectors of one cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from app.cache_facts import facts_text, stored_text
from app.engine_words import sources_text
from app.layer_kinds import bytes_after, let_go_text, position_bytes
from app.panels.panel import Context, Panel
from app.theme import mix
from app.widgets.amounts import bytes_text, grouped
from app.widgets.axis import Axis
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, Cells, Heatmap
from app.widgets.legend import Kinds
from app.widgets.line_chart import Chart, Line, LineChart
from app.widgets.pages import Pages, fill
from app.widgets.pattern import closest_cell
from app.widgets.scale import beyond, exact, nice_step, signed_scale
from app.widgets.still_label import StillLabel
from app.widgets.turning import TurningSplitter
from engine.frames import Answer, CacheState, CacheVectors, LayerFacts
from engine.questions import AskCacheState, AskCacheVectors, Question

_PREFILL, _DECODE, _FILLING, _LET_GO = 0, 1, 2, 3


class CachePanel(Panel):
    """A cell is one position of one layer: keys and values of every KV head, or the latent they are made from."""

    key = "cache"
    compares = True  # the vectors; what is stored is told of A

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._state: CacheState | None = None
        self._vectors: CacheVectors | None = None
        self._block = 1
        self._asked = 0
        theme = context.theme
        self._map = Heatmap(theme, self.tr("Positions stored by each layer"), self._describe_cell)
        self._facts = StillLabel(wrap=True)
        self._facts.label.setTextFormat(Qt.TextFormat.PlainText)
        self._facts.label.setMargin(self.fontMetrics().height() // 3)
        self._facts.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._growth = LineChart(theme, self.tr("Bytes stored against positions"))
        self._latent = Heatmap(theme, self.tr("Latent and rotated key of the picked cell"), self._describe_latent)
        self._latent.hide()
        self._keys = Heatmap(theme, self.tr("Keys of the picked cell"), self._describe_key)
        self._values = Heatmap(theme, self.tr("Values of the picked cell"), self._describe_value)
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._resized.timeout.connect(self._size_settled)
        self.show_run()

    def _make_content(self) -> QWidget:
        vectors, upper, both = QSplitter(Qt.Orientation.Vertical), TurningSplitter(), QSplitter(Qt.Orientation.Vertical)
        for part in (self._latent, self._keys, self._values):
            vectors.addWidget(part)
        self._vector_pages = Pages(vectors)
        for half in (self._map, self._growth):
            upper.addWidget(half)
        both.addWidget(upper)
        both.addWidget(self._vector_pages)
        upper.setSizes([620, 380])
        vectors.setSizes([380, 310, 310])
        both.setSizes([500, 500])
        for splitter in (vectors, upper, both):
            splitter.setChildrenCollapsible(False)
        content = QWidget()
        fill(content, self._facts, both).setStretch(1, 1)
        return content

    def _connect(self) -> None:
        self._map.cell_hovered.connect(self._hover_cell)
        self._map.cell_picked.connect(self._pick_cell)
        self._growth.place_hovered.connect(self._hover_growth)
        self._growth.place_picked.connect(lambda positions: self.context.cursor.pin(position=max(0, positions - 1)))
        for picture in (self._latent, self._keys, self._values):
            picture.cell_hovered.connect(
                lambda row, column, of=picture: self.context.cursor.say(of.describe(row, column))
            )
            picture.cell_picked.connect(
                lambda row, column, of=picture: self.context.cursor.say(of.describe(row, column))
            )
        for leaving in (self._map, self._latent, self._keys, self._values):
            leaving.cell_left.connect(self.context.cursor.leave)
        self._growth.place_left.connect(self.context.cursor.leave)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("KV cache")

    def main_picture(self) -> QWidget:
        return self._map

    def badge(self) -> str:
        if self._pages.empty or self._state is None:
            return ""
        reduced = [self.tr("reduced ×{0}").format(self._block)] if self._block > 1 else []
        source = self._state.source if self._vectors is None else self._vectors.source
        return " · ".join([sources_text(source, self.tr), *reduced])

    def caption(self) -> str:
        state = self._state
        if self._pages.empty or state is None:
            return ""
        text = self.tr("{0} layers × {1} positions, {2}").format(
            len(state.lengths), state.committed, bytes_text(state.bytes_now)
        )
        filling = int(np.count_nonzero(state.lengths > state.committed))
        text += self.tr(", {0} layers have stored this pass").format(filling) if filling else ""
        letting = int(np.count_nonzero(state.firsts))
        text += self.tr(", {0} layers have let go of positions").format(letting) if letting else ""
        return text + (self.tr("; map and bytes are those of A") if self.differs else "")

    def watches(self) -> Mapping[str, Question]:
        run, pinned = self.context.run, self.context.cursor.pinned
        if run.model is None or run.n_visible == 0:
            return {}
        position = pinned.position
        if position is not None and position >= run.n_visible:
            position = None
        layer = min(max(pinned.layer, 0), run.model.n_layers - 1)
        return {"cache.state": AskCacheState(), "cache.vectors": AskCacheVectors(layer, position)}

    def show_run(self) -> None:
        if self.another_run():
            self._state = self._vectors = None
            self._redraw()
        self._say_what_is_missing()

    def show_answer(self, key: str, answer: Answer) -> None:
        taker = _TAKERS.get(type(answer))
        if taker is not None and self.context.run.model is not None:
            taker(self, answer)
            self._say_what_is_missing()
            self.caption_changed.emit()  # after what decides whether there is one

    def show_cursor(self) -> None:
        self._mark()

    def show_depth(self) -> None:
        self._write_facts()

    def restyle(self) -> None:
        for picture in (self._map, self._growth, self._latent, self._keys, self._values):
            picture.set_theme(self.context.theme)
        self._redraw()

    def values(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        if self._state is not None:
            found |= {"lengths": self._state.lengths, "firsts": self._state.firsts, "growth": self._state.growth}
        if self._vectors is not None:
            found |= {"keys": self._vectors.keys, "values": self._vectors.values}
            found |= {"latent": self._vectors.latent} if self._vectors.latent.size else {}
        return found

    # --- what is shown ----------------------------------------------------------------------------------------

    def _say_what_is_missing(self) -> None:
        missing = self._pages.missing(self.context.run, self.tr("what the cache stores"))
        if not missing and self._state is None:
            missing = self.tr("Reading the prompt: the cache fills with the first layer.")
        self._pages.say(missing)

    def _take_state(self, answer: CacheState) -> None:
        if answer is not self._state:
            self._state = answer
            self._draw_state()
            self._vector_pages.say(self._why_empty())

    def _take_vectors(self, answer: CacheVectors) -> None:
        if answer is not self._vectors:
            self._vectors = answer
            self._draw_vectors()
            self._write_facts()

    def _redraw(self) -> None:
        self._draw_state()
        self._draw_vectors()

    def _draw_state(self) -> None:
        state = self._state
        if state is None or self.context.run.model is None:
            self._facts.setText("")
            self._map.show_cells(None)
            self._growth.show_chart(None)
            return
        self._write_facts()
        self._draw_map(state)
        self._draw_growth(state)
        self._mark()

    def _write_facts(self) -> None:
        model, state = self.context.run.model, self._state
        if model is not None and state is not None:
            story = self.context.depth == "story"
            self._facts.setText(stored_text(state, self.tr) if story else facts_text(model, state, self.tr))

    def _rotated(self) -> int:
        """How many of the picked latent's last entries are the rotated key."""
        model = self.context.run.model
        return 0 if model is None or self._vectors is None else model.layers[self._vectors.layer].d_rope

    def _room(self, state: CacheState) -> int:
        """Positions that the map shows: what the run may come to, so that one sees it fill."""
        run = self.context.run
        assert run.model is not None
        wanted = min(run.n_prompt + run.max_new_tokens, run.model.n_ctx)
        return max(int(state.lengths.max(initial=0)), run.n_visible, wanted, 1)

    def _draw_map(self, state: CacheState) -> None:
        positions = self._room(state)
        self._asked = self._map.fits()
        self._block = 1
        while self._block * self._asked < positions:
            self._block *= 2
        starts = np.arange(-(-positions // self._block)) * self._block
        stored = starts < state.lengths[:, None]
        kinds = np.where(starts < state.n_prompt, _PREFILL, _DECODE).astype(np.float32)
        kinds = np.where(starts < state.committed, kinds, np.float32(_FILLING)) * stored
        if state.firsts.any():
            kinds[starts + self._block <= state.firsts[:, None]] = _LET_GO
        cells = np.where(stored, SHOWN, ABSENT).astype(np.uint8)
        rows = Axis(self.tr("layer"), len(kinds), str, numbers=True)
        columns = Axis(self.tr("position"), len(starts), self.context.run.label, block=self._block)
        self._map.show_cells(Cells(kinds.astype(np.float32), rows, columns, self._kinds(), cells))

    def _kinds(self) -> Kinds:
        theme = self.context.theme
        names = [self.tr("prefill"), self.tr("decode"), self.tr("this pass")]
        colours = [theme.prefill, theme.decode, theme.good]
        if self._lets_go():
            names.append(self.tr("let go"))
            colours.append(mix(theme.panel, theme.faint, 0.45).name())
        return Kinds(tuple(names), tuple(colours), self.tr("written by"), self.tr("not yet"))

    def _lets_go(self) -> bool:
        model = self.context.run.model
        return model is not None and any(layer.reach is not None for layer in model.layers)

    def _draw_growth(self, state: CacheState) -> None:
        growth = np.concatenate([np.zeros((1, 2), np.int64), state.growth])
        line = Line(self.tr("stored"), growth[:, 0].astype(np.float64), growth[:, 1].astype(np.float64), "accent")
        most = max(1, self._room(state))
        top = max(1, self._most_bytes(most))
        step = nice_step(top, 4)
        chart = Chart(
            (line,),
            self.tr("positions"),
            self.tr("bytes"),
            x_low=0,
            x_high=most,
            y_low=0,
            y_high=np.ceil(top / step) * step,
            y_text=bytes_text,
        )
        self._growth.show_chart(chart)

    def _most_bytes(self, positions: int) -> int:
        """What the layers can come to hold within so many positions."""
        model = self.context.run.model
        assert model is not None
        most = (min(positions, layer.reach or positions) for layer in model.layers)
        return sum(n * position_bytes(layer, model.kv_itemsize) for n, layer in zip(most, model.layers, strict=True))

    def _draw_vectors(self) -> None:
        shown = self._vectors
        self._vector_pages.say(self._why_empty())
        for picture, name in ((self._keys, "keys"), (self._values, "values")):
            array = np.zeros(0) if shown is None else getattr(shown, name)
            picture.show_cells(self._vector_cells(shown, name, array) if shown is not None and array.size else None)
        latent = None if shown is None or not shown.latent.size else self._latent_cells(shown)
        if latent is not None or self._latent.cells is not None:
            self._latent.show_cells(latent)
            self._latent.setVisible(latent is not None)

    def _why_empty(self) -> str:
        """Why the picked cell has no vectors; "" where it has."""
        shown, state, model = self._vectors, self._state, self.context.run.model
        if shown is None or len(shown.keys) or model is None:
            return ""
        if state is not None and shown.position < state.firsts[shown.layer]:
            said = let_go_text(model.layers[shown.layer], shown.layer, self.tr)
            return f"{said[0].upper()}{said[1:]}."
        return self.tr("Layer {0} has not stored position {1} yet.").format(shown.layer, shown.position)

    def _layer_facts(self, layer: int) -> LayerFacts:
        assert self.context.run.model is not None
        return self.context.run.model.layers[layer]

    def _vector_form(self, shown: CacheVectors, name: str) -> str:
        """The title of a picture of vectors, before layer and position."""
        if shown.latent.size:
            made = self.tr("keys made from the latent, the last {3} rotated: dimension, layer {0}, position {1} “{2}”")
            return {
                "keys": made,
                "values": self.tr("values made from the latent: dimension, layer {0}, position {1} “{2}”"),
            }[name]
        rope = "rope" in self._layer_facts(shown.layer).stages
        keys = self.tr("keys after rope: dimension, layer {0}, position {1} “{2}”")
        plain = self.tr("keys: dimension, layer {0}, position {1} “{2}”")
        return {
            "keys": keys if rope else plain,
            "values": self.tr("values: dimension, layer {0}, position {1} “{2}”"),
        }[name]

    def _vector_cells(self, shown: CacheVectors, name: str, array: np.ndarray) -> Cells:
        title = self._vector_form(shown, name).format(
            shown.layer, shown.position, self.context.run.label(shown.position), self._rotated()
        )
        letter = {"keys": "K", "values": "V"}[name]
        scale = signed_scale(array, self.context.theme.diverging, f"{letter}, A − B" if self.differs else letter)
        title = self.of_two(title)
        clipped = beyond(scale, array)
        if clipped:
            title += self.tr(" · {0} beyond the scale").format(clipped)
        rows = Axis(self.tr("head") if shown.latent.size else self.tr("KV head"), len(array), str, numbers=True)
        return Cells(array, rows, Axis(title, array.shape[1], str, numbers=True), scale)

    def _latent_cells(self, shown: CacheVectors) -> Cells:
        """What is stored, in two rows: the latent, and below it the rotated key that all heads share."""
        rotated = self._rotated()
        parts = (shown.latent[: len(shown.latent) - rotated], shown.latent[len(shown.latent) - rotated :])
        values = np.zeros((2 if rotated else 1, max(map(len, parts))), np.float32)
        state = np.full(values.shape, MASKED, np.uint8)
        for row, part in enumerate(parts[: len(values)]):
            values[row, : len(part)], state[row, : len(part)] = part, SHOWN
        names = (self.tr("latent"), self.tr("rotated"))
        title = self.tr("stored: latent and rotated key, dimension, layer {0}, position {1} “{2}”").format(
            shown.layer, shown.position, self.context.run.label(shown.position)
        )
        scale = signed_scale(shown.latent, self.context.theme.diverging, self.of_two(self.tr("stored")))
        rows = Axis(self.tr("part"), len(values), names.__getitem__, numbers=True)
        return Cells(values, rows, Axis(title, values.shape[1], str, numbers=True), scale, state)

    # --- marks and mouse --------------------------------------------------------------------------------------

    def _mark(self) -> None:
        if self._map.cells is None:
            return
        run, pinned, hovered = self.context.run, self.context.cursor.pinned, self.context.cursor.hovered
        columns = self._map.cells.values.shape[1]
        position = run.n_visible - 1 if pinned.position is None else pinned.position
        place = closest_cell(position, self._block, columns)
        self._map.mark((pinned.layer, place), (hovered.layer, closest_cell(hovered.position, self._block, columns)))
        self._growth.mark(None if position is None else position + 1, None)

    def _hover_cell(self, row: int, column: int) -> None:
        self.context.cursor.hover(layer=row, position=column * self._block)
        self.context.cursor.say(self._describe_cell(row, column))

    def _pick_cell(self, row: int, column: int) -> None:
        position = column * self._block
        where = {"position": position} if position < self.context.run.n_tokens else {}
        self.context.cursor.pin(layer=row, **where)
        self.context.cursor.say(self._describe_cell(row, column))

    def _hover_growth(self, positions: int) -> None:
        if self._state is not None and self.context.run.model is not None:
            size = grouped(bytes_after(self.context.run.model, positions))
            self.context.cursor.say(self.tr("{0} positions: {1} bytes").format(positions, size))

    # --- texts ------------------------------------------------------------------------------------------------

    def _describe_cell(self, row: int, column: int) -> str:
        cells = self._map.cells
        assert cells is not None
        position = column * self._block
        where = self.tr("layer {0}, position {1} “{2}”").format(row, position, self.context.run.label(position))
        if self._block > 1:
            where += self.tr(" and the {0} after it").format(self._block - 1)
        if not cells.shown(row, column):
            return self.tr("{0}: not stored yet").format(where)
        if int(cells.values[row, column]) == _LET_GO:
            return f"{where}: {let_go_text(self._layer_facts(row), row, self.tr)}"
        return f"{where}: {self._kinds().names[int(cells.values[row, column])]}{self._partly_gone(row, position)}"

    def _partly_gone(self, row: int, position: int) -> str:
        """For a cell of several positions: how many of them its layer keeps no more."""
        gone = 0 if self._state is None else int(self._state.firsts[row]) - position
        return self.tr(", the first {0} let go").format(gone) if gone > 0 else ""

    def _describe_key(self, row: int, column: int) -> str:
        return self._describe_entry(self.tr("K"), "keys", row, column)

    def _describe_value(self, row: int, column: int) -> str:
        return self._describe_entry(self.tr("V"), "values", row, column)

    def _describe_latent(self, row: int, column: int) -> str:
        shown = self._vectors
        assert shown is not None
        entry = column + row * (len(shown.latent) - self._rotated())
        if self._latent.cells is None or not self._latent.cells.shown(row, column):
            return self.tr("no such dimension")
        forms = (
            self.tr("latent of layer {0}, position {1}, dimension {2}: {3}"),
            self.tr("rotated key of layer {0}, position {1}, dimension {2}: {3}"),
        )
        return self.of_two(forms[row].format(shown.layer, shown.position, column, exact(float(shown.latent[entry]))))

    def _describe_entry(self, letter: str, name: str, row: int, column: int) -> str:
        shown = self._vectors
        assert shown is not None
        form = self.tr("{0} of layer {1}, position {2}, KV head {3}, dimension {4}: {5}")
        if shown.latent.size:
            form = self.tr("{0} of layer {1}, position {2}, head {3}, dimension {4}: {5}, made from the latent")
        text = form.format(
            letter, shown.layer, shown.position, row, column, exact(float(getattr(shown, name)[row, column]))
        )
        return self.of_two(text)

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._resized.start()

    def _size_settled(self) -> None:
        if self._state is not None and self._map.fits() != self._asked:
            self._draw_state()


_TAKERS: dict[type, Callable[..., None]] = {
    CacheState: CachePanel._take_state,
    CacheVectors: CachePanel._take_vectors,
}
