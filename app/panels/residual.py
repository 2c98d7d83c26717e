"""The residual stream: how it grows from layer to layer, what one position carries, and what each layer adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QMenu, QSplitter, QWidget

from app.axis_words import axes_of, scaled
from app.break_menus import rounded, with_breaks
from app.edit_menus import asked_cell, edit_menu, offer, stream_choices
from app.engine_words import sources_text
from app.panels.panel import Context, Panel
from app.widgets.axis import Axis
from app.widgets.heatmap import ABSENT, SHOWN, Cells, Heatmap
from app.widgets.line_chart import Chart, Line, LineChart
from app.widgets.pages import Pages, fill
from app.widgets.pattern import closest_cell
from app.widgets.scale import Scale, beyond, exact, figure, log_scale, nice_step, signed_scale
from app.widgets.turning import TurningSplitter
from app.widgets.values_model import Along
from engine.breakpoints import Test
from engine.frames import Answer, ExactValue, ResidualNorms, ResidualVectors
from engine.questions import AskExactValue, AskResidualNorms, AskResidualVectors, Question


class ResidualPanel(Panel):
    """Row l of both maps is the stream that enters layer l; the last row leaves the last layer."""

    key = "residual"
    compares = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._norms: ResidualNorms | None = None
        self._vectors: ResidualVectors | None = None
        self._exact: dict[str, ExactValue] = {}
        self._drawn_deltas: tuple[ResidualNorms | None, int | None] | None = None
        self._asked = (0, 0)
        theme = context.theme
        self._map = Heatmap(theme, self.tr("Norm of the residual stream"), self._describe_norm)
        self._column = Heatmap(theme, self.tr("Residual stream of the pinned position"), self._describe_entry)
        self._deltas = LineChart(theme, self.tr("What each layer adds at the pinned position"))
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._resized.timeout.connect(self._size_settled)
        self.show_run()

    def _make_content(self) -> QSplitter:
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(self._column)
        right.addWidget(self._deltas)
        right.setSizes([500, 500])
        both = TurningSplitter()
        both.addWidget(self._map)
        both.addWidget(right)
        both.setSizes([500, 500])
        right.setChildrenCollapsible(False)
        return both

    def _connect(self) -> None:
        cursor = self.context.cursor
        self._map.cell_hovered.connect(self._hover_norm)
        self._map.cell_picked.connect(self._pick_norm)
        self._column.cell_hovered.connect(self._hover_entry)
        self._column.cell_picked.connect(self._pick_entry)
        self._deltas.place_hovered.connect(self._hover_delta)
        self._deltas.place_picked.connect(lambda layer: cursor.pin(layer=layer))
        for leaving in (self._map.cell_left, self._column.cell_left, self._deltas.place_left):
            leaving.connect(self.context.cursor.leave)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Residual stream")

    def main_picture(self) -> QWidget:
        return self._map

    def badge(self) -> str:
        if self._pages.empty or self._norms is None:
            return ""
        blocks = [self._norms.block] + ([self._vectors.block] if self._vectors is not None else [])
        reduced = [self.tr("reduced ×{0}").format(max(blocks))] if max(blocks) > 1 else []
        return " · ".join([sources_text(self._norms.source, self.tr), *reduced])

    def caption(self) -> str:
        shown, column = self._norms, self._vectors
        if self._pages.empty or shown is None:
            return ""
        text = self.tr("{0} boundaries × {1} positions").format(len(shown.norms), shown.n)
        if column is None or self._column.cells is None or not len(column.vectors):
            return text
        scale = self._column.cells.scale
        clipped = beyond(scale, column.vectors) if isinstance(scale, Scale) else 0
        return text + self.tr("; position {0} “{1}”: {2} of {3} cells beyond the scale").format(
            column.position, self.context.run.label(column.position), clipped, column.vectors.size
        )

    def watches(self) -> Mapping[str, Question]:
        run, position = self.context.run, self.context.cursor.pinned.position
        if run.model is None or run.n_visible == 0:
            return {}
        if position is not None and position >= run.n_visible:
            position = None
        return {
            "residual.norms": AskResidualNorms(self._map.fits()),
            "residual.vectors": AskResidualVectors(position, self._column.fits()),
        }

    def show_run(self) -> None:
        if self.another_run():
            self._norms = self._vectors = None
            self._exact.clear()
            self._redraw()
        self._say_what_is_missing()

    def show_answer(self, key: str, answer: Answer) -> None:
        taker = _TAKERS.get(type(answer))
        if taker is not None and self.context.run.model is not None:
            taker(self, answer)
            self._say_what_is_missing()

    def show_cursor(self) -> None:
        self._mark()

    def restyle(self) -> None:
        for picture in (self._map, self._column, self._deltas):
            picture.set_theme(self.context.theme)
        self._redraw()

    def values(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        if self._norms is not None:
            found |= {"norms": self._norms.norms, "delta_attention": self._norms.delta_attention}
            found |= {"delta_mlp": self._norms.delta_mlp}
        if self._vectors is not None:
            found["vectors"] = self._vectors.vectors
        return found

    def axes(self) -> dict[str, tuple[Along, ...]]:
        found = axes_of(self.key, self.context.run.label)
        norms, vectors = self._norms, self._vectors
        if norms is not None:
            for name in ("norms", "delta_attention", "delta_mlp"):
                found[name] = scaled(found[name], (0, 1), (0, norms.block))
        if vectors is not None:
            found["vectors"] = scaled(found["vectors"], (0, 1), (0, vectors.block))
        return found

    # --- what is shown ----------------------------------------------------------------------------------------

    def _say_what_is_missing(self) -> None:
        missing = self._pages.missing(self.context.run, self.tr("the residual stream"))
        if not missing and self._norms is None:
            missing = self.tr("Reading the prompt: the residual stream appears with the first layer.")
        self._pages.say(missing)

    def _take_norms(self, answer: ResidualNorms) -> None:
        if answer is not self._norms:
            self._norms = answer
            self._draw_norms()
            self._draw_deltas()

    def _take_vectors(self, answer: ResidualVectors) -> None:
        if answer is not self._vectors:
            self._vectors = answer
            self._draw_vectors()
            self._draw_deltas()

    def _take_exact(self, answer: ExactValue) -> None:
        self._exact[answer.quantity] = answer
        picture = self._column if answer.quantity == "residual" else self._map
        if picture.cell is not None:
            picture.tell()
            self.context.cursor.say(picture.describe(*picture.cell))

    def _redraw(self) -> None:
        self._drawn_deltas = None
        self._draw_norms()
        self._draw_vectors()
        self._draw_deltas()

    def _boundary(self, row: int) -> str:
        model = self.context.run.model
        return self.tr("final") if model is not None and row >= model.n_layers else str(row)

    def _rows(self, count: int) -> Axis:
        return Axis(self.tr("entering layer"), count, self._boundary, numbers=True)

    def _draw_norms(self) -> None:
        answer = self._norms
        if answer is None or answer.norms.shape[1] == 0:
            self._map.show_cells(None)
            return
        columns = answer.norms.shape[1]
        reached = -(-answer.reach // answer.block)
        state = np.where(np.arange(columns) < reached[:, None], SHOWN, ABSENT).astype(np.uint8)
        scale = self._norm_scale(answer.norms[state == SHOWN])
        positions = Axis(self.tr("position"), columns, self.context.run.label, block=answer.block)
        self._map.show_cells(Cells(answer.norms, self._rows(len(answer.norms)), positions, scale, state))
        self._mark()
        self.caption_changed.emit()

    def _norm_scale(self, shown: np.ndarray) -> Scale:
        """Of norms, which are positive, or of what those of two branches differ by."""
        if self.differs:
            return signed_scale(shown, self.context.theme.diverging, self.tr("L2 norm, A − B"))
        return log_scale(shown, self.context.theme.sequential, self.tr("L2 norm"))

    def _draw_vectors(self) -> None:
        answer = self._vectors
        if answer is None or answer.vectors.shape[1] == 0:
            self._column.show_cells(None)
            return
        rows, columns = answer.vectors.shape
        values = np.zeros((answer.rows_total, columns), np.float32)
        values[:rows] = answer.vectors
        state = np.full(values.shape, SHOWN, np.uint8)
        state[rows:] = ABSENT
        name = self.tr("value, A − B") if self.differs else self.tr("value")
        scale = signed_scale(answer.vectors, self.context.theme.diverging, name)
        title = self.tr("dimension at position {0} “{1}”").format(
            answer.position, self.context.run.label(answer.position)
        )
        dimensions = Axis(title, columns, str, numbers=True, block=answer.block)
        self._column.show_cells(Cells(values, self._rows(len(values)), dimensions, scale, state))
        self._mark()
        self.caption_changed.emit()

    def _delta_column(self) -> int | None:
        """The column of the pinned position in the norms."""
        if self._norms is None:
            return None
        pinned = self.context.cursor.pinned.position
        position = self._norms.n - 1 if pinned is None else pinned
        return closest_cell(position, self._norms.block, self._norms.norms.shape[1])

    def _draw_deltas(self) -> None:
        answer, column = self._norms, self._delta_column()
        if self._drawn_deltas is not None and self._drawn_deltas[0] is answer and self._drawn_deltas[1] == column:
            return
        self._drawn_deltas = (answer, column)
        if answer is None or column is None:
            self._deltas.show_chart(None)
            return
        lines = tuple(
            line
            for line in (
                self._delta_line(answer, column, self.tr("attention"), "attention"),
                self._delta_line(answer, column, self.tr("MLP"), "mlp"),
            )
            if len(line.y)
        )
        self._deltas.show_chart(self._chart(answer, column, lines))

    def _delta_line(self, answer: ResidualNorms, column: int, name: str, which: str) -> Line:
        values: np.ndarray = getattr(answer, f"delta_{which}")[:, column]
        reach: np.ndarray = getattr(answer, f"reach_{which}")
        (layers,) = np.nonzero((-(-reach // answer.block) > column) & np.isfinite(values))
        return Line(name, layers.astype(np.float64), values[layers], which, dashed=which == "mlp")

    def _chart(self, answer: ResidualNorms, column: int, lines: tuple[Line, ...]) -> Chart:
        n_layers = len(answer.delta_attention)
        every = np.concatenate([line.y for line in lines]) if lines else np.zeros(0, np.float32)
        scale = _around_zero(every) if self.differs else log_scale(every, "", "")
        title = self._delta_title(column * answer.block, answer.block)
        computed = max((float(line.x[-1]) for line in lines), default=-1.0)
        return Chart(
            lines,
            title,
            self.tr("L2 norm added, A − B") if self.differs else self.tr("L2 norm added"),
            x_low=0,
            x_high=max(1, n_layers - 1),
            y_low=scale.low,
            y_high=scale.high,
            y_log=not self.differs,
            computed=computed + 0.5 if computed < n_layers - 1 else np.inf,
        )

    def _delta_title(self, position: int, block: int) -> str:
        if block > 1:
            return self.tr("layer (largest of positions {0} to {1})").format(position, position + block - 1)
        return self.tr("layer (position {0} “{1}”)").format(position, self.context.run.label(position))

    # --- marks ------------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        pinned, hovered = self.context.cursor.pinned, self.context.cursor.hovered
        self._draw_deltas()
        self._deltas.mark(pinned.layer, hovered.layer)
        self._column.mark((pinned.layer, None), (hovered.layer, None))
        if self._norms is not None:
            block, columns = self._norms.block, self._norms.norms.shape[1]
            over = closest_cell(hovered.position, block, columns)
            self._map.mark((pinned.layer, self._delta_column()), (hovered.layer, over))

    # --- the mouse --------------------------------------------------------------------------------------------

    def _layer(self, row: int) -> int:
        """The layer that a boundary enters; the last boundary belongs to the last layer."""
        model = self.context.run.model
        return row if model is None else min(row, model.n_layers - 1)

    def _hover_norm(self, row: int, column: int) -> None:
        assert self._norms is not None
        self.context.cursor.hover(layer=self._layer(row), position=column * self._norms.block)
        self.context.cursor.say(self._describe_norm(row, column))

    def _hover_entry(self, row: int, column: int) -> None:
        self.context.cursor.hover(layer=self._layer(row))
        self.context.cursor.say(self._describe_entry(row, column))

    def _hover_delta(self, layer: int) -> None:
        self.context.cursor.hover(layer=layer)
        self.context.cursor.say(self._describe_delta(layer))

    def _pick_norm(self, row: int, column: int) -> None:
        assert self._norms is not None
        position = column * self._norms.block
        if self._norms.block > 1:
            self.context.ask("residual.exact_norm", AskExactValue("residual_norm", (row, position)))
        self.context.cursor.pin(layer=self._layer(row), position=position)
        self.context.cursor.say(self._describe_norm(row, column))

    def _pick_entry(self, row: int, column: int) -> None:
        assert self._vectors is not None
        index = (row, self._vectors.position, column * self._vectors.block)
        if self._vectors.block > 1:
            self.context.ask("residual.exact_entry", AskExactValue("residual", index))
        self.context.cursor.pin(layer=self._layer(row))
        self.context.cursor.say(self._describe_entry(row, column))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        offer(event, self.menu(event))

    def menu(self, event: QContextMenuEvent) -> QMenu | None:
        """What can be edited of the stream at the cell that is asked about."""
        shown, cell = self._norms, asked_cell(event, self._map, self._map.at, self._map.cell)
        if shown is None or not isinstance(cell, tuple):
            return None
        row, column = cell
        point = "hook_resid_pre" if row == self._layer(row) else "hook_resid_post"
        positions = range(column * shown.block, min((column + 1) * shown.block, shown.n))
        choices = stream_choices(self._layer(row), positions, point, self.tr)
        menu = edit_menu(self, self.context.tray, choices, self.tr)
        if row == 0:  # nothing leaves a layer there
            return menu
        beyond = Test("norm", row - 1, limit=rounded(float(shown.norms[row, column])))
        return with_breaks(menu, self.context.breaks, self.tr, beyond)

    # --- texts ------------------------------------------------------------------------------------------------

    def _row_text(self, row: int) -> str:
        model = self.context.run.model
        if model is not None and row >= model.n_layers:
            return self.tr("leaving the last layer")
        return self.tr("entering layer {0}").format(row)

    def _describe_norm(self, row: int, column: int) -> str:
        shown, cells = self._norms, self._map.cells
        assert shown is not None
        assert cells is not None
        position = column * shown.block
        where = self.tr("{0}, position {1} “{2}”").format(
            self._row_text(row), position, self.context.run.label(position)
        )
        if not cells.shown(row, column):
            return self.tr("{0}: not computed yet").format(where)
        value = exact(float(shown.norms[row, column]))
        if shown.block == 1:
            return self.of_two(self.tr("{0}: norm {1}").format(where, value))
        text = self.tr("{0}: largest norm of {1} positions {2}").format(where, shown.block, value)
        return self.of_two(text) + self._exact_text("residual_norm", (row, position), self.tr(", at this position {0}"))

    def _describe_entry(self, row: int, column: int) -> str:
        shown, cells = self._vectors, self._column.cells
        assert shown is not None
        assert cells is not None
        dimension = column * shown.block
        where = self.tr("{0}, position {1}, dimension {2}").format(self._row_text(row), shown.position, dimension)
        if not cells.shown(row, column):
            return self.tr("{0}: not computed yet").format(where)
        value = exact(float(cells.values[row, column]))
        if shown.block == 1:
            return self.of_two(f"{where}: {value}")
        text = self.tr("{0}: largest of {1} dimensions {2}").format(where, shown.block, value)
        return self.of_two(text) + self._exact_text(
            "residual", (row, shown.position, dimension), self.tr(", in this one {0}")
        )

    def _describe_delta(self, layer: int) -> str:
        column = self._delta_column()
        if self._norms is None or column is None or not 0 <= layer < len(self._norms.delta_attention):
            return ""
        text = self.tr("layer {0} adds: attention {1}, MLP {2} (L2 norm)").format(
            layer,
            figure(float(self._norms.delta_attention[layer, column])),
            figure(float(self._norms.delta_mlp[layer, column])),
        )
        return self.of_two(text)

    def _exact_text(self, quantity: str, index: tuple[int, ...], form: str) -> str:
        found = self._exact.get(quantity)
        if found is None or found.index != index or found.value is None:
            return ""
        return form.format(exact(found.value))

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._resized.start()

    def _size_settled(self) -> None:
        asked = (self._map.fits(), self._column.fits())
        if asked != self._asked:
            self._asked = asked
            self.watches_changed.emit()


def _around_zero(values: np.ndarray) -> Scale:
    """Symmetric, the ends on steps of the axis."""
    end = float(np.abs(values).max(initial=0.0)) or 1.0
    step = nice_step(2 * end, 4)
    end = float(np.ceil(end / step - 1e-9)) * step
    return Scale(-end, end, "linear", "", "")


_TAKERS: dict[type, Callable[..., None]] = {
    ResidualNorms: ResidualPanel._take_norms,
    ResidualVectors: ResidualPanel._take_vectors,
    ExactValue: ResidualPanel._take_exact,
}
