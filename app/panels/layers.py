"""The map of the pass: what it reads, the layers, the stages of the pinned one, and where the pass stands in them."""

from __future__ import annotations

from functools import partial

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage, QResizeEvent
from PySide6.QtWidgets import QMenu, QVBoxLayout

from app.breakpoint_words import place_text
from app.depth_texts import stage_term
from app.engine_words import said
from app.panels.panel import Context, Panel
from app.pass_words import Reading, ending_point, place_of
from app.widgets.pass_marks import Place, marks_of
from app.widgets.pass_rows import TOKEN, Row, pass_rows, stages_computed, state
from app.widgets.pass_view import PassView
from app.widgets.still_label import StillLabel

_LOW_LINES = 40  # a panel of fewer lines of text leaves them all to the map
_LEAST_EMS = 10


class LayersPanel(Panel):
    """Token, embed, layers, final norm, logits, sampling. Click, Up and Down pin a layer and open its stages; a click
    on a stage, or Enter, asks for the tensor that it ends with; Left and Right go from stage to stage."""

    key = "layers"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.head, self.card = StillLabel(wrap=True), StillLabel(wrap=True)
        for label in (self.head.label, self.card.label):
            label.setContentsMargins(8, 4, 8, 4)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.card.setAccessibleName(self.tr("Tensors of the stage"))
        self.view = PassView(context.theme, self)
        self.view.setAccessibleName(self.tr("Map of the pass"))
        self.view.hovered.connect(self._hover)
        self.view.pressed.connect(self._pin)
        self.view.picked.connect(self._pick)
        self.view.opened.connect(self.stage_opened)
        self.view.asked.connect(self.stage_asked)
        self.view.menu_opening.connect(self._add_commands)
        context.breaks.changed.connect(self._show_breakpoints)
        self.setFocusProxy(self.view)
        self.setAccessibleName(self.title())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.head)
        column.addWidget(self.view, 1)
        column.addWidget(self.card)
        self.restyle()

    # -- the contract of a panel ---------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Pass")

    def badge(self) -> str:
        return self.tr("captured") if self.context.run.in_pass or self.context.run.steps else ""

    def caption(self) -> str:
        """What the pass under way, or the last one, reads and chooses: "token 7 · decode · reads position 6"."""
        run = self.context.run
        if run.model is None:
            return self.tr("No model yet")
        if not run.in_pass and not run.steps:
            return self.tr("Nothing is computed yet")
        step = run.where if run.in_pass else run.steps[-1]
        return " · ".join(
            (self.tr("token {0}").format(step.end), said(step.kind, self.tr), self._reads(step.start, step.end))
        )

    def _reads(self, start: int, end: int) -> str:
        if end - start == 1:
            return self.tr("reads position {0}").format(start)
        return self.tr("reads positions {0} … {1}").format(start, end - 1)

    def show_run(self) -> None:
        run, reading = self.context.run, self._reading()
        inside = run.in_pass
        stopped = inside and run.where.state == "paused"
        self.view.show_pass(run.model, stages_computed(run), inside, stopped, reading, self._token(reading))
        words = self.caption()
        if words != self.head.text():
            self.head.setText(words)
            self._describe()
            self.caption_changed.emit()
        self._show_card()

    def _reading(self) -> Reading | None:
        """The positions that the pass under way, or the last one, reads."""
        run = self.context.run
        if not run.in_pass:
            return Reading(run.steps[-1].start, run.steps[-1].end) if run.steps else None
        return Reading(run.where.start, run.where.end)

    def _token(self, reading: Reading | None) -> str:
        """What is read, in words: the token, or the first and the last one."""
        if reading is None:
            return ""
        label, last = self.context.run.label, reading.end - 1
        if reading.start == last:
            return f"“{label(last)}”"
        return f"“{label(reading.start)}” … “{label(last)}”"

    def show_cursor(self) -> None:
        cursor = self.context.cursor
        self.view.show_look(cursor.pinned.layer, cursor.hovered.layer, self._picked())
        self._describe()
        self._show_card()

    def _describe(self) -> None:
        """What is picked and what the pass reads, for screen readers."""
        place = place_text(*self.view.current(), self.tr) if self.context.run.model is not None else ""
        self.view.setAccessibleDescription(" · ".join(filter(None, (place, self.head.text()))))

    def _show_breakpoints(self) -> None:
        """Mark the stages and layers that have one."""
        self.view.show_marks(marks_of(self.context.breaks.breakpoints))

    def term(self) -> str:
        """That of the picked stage, else of the pass."""
        model, picked = self.context.run.model, self._picked()
        return super().term() if model is None or picked is None else stage_term(model, *picked)

    def show_depth(self) -> None:
        self.view.show_depth(self.context.depth)
        self._show_card()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Wide enough for the names of the stages."""
        return super().minimumSizeHint().expandedTo(QSize(_LEAST_EMS * self.fontMetrics().height(), 0))

    def restyle(self) -> None:
        for label in (self.head, self.card):
            label.setStyleSheet(f"color: {self.context.theme.faint};")
        self.view.restyle(self.context.theme)
        self.show_cursor()
        self.show_run()

    def values(self) -> dict[str, np.ndarray]:
        """Per layer, stage of the pinned layer, and what lies around the layers: its name, int64 ``layer`` (-1 outside
        the layers), ``state`` (0 absent, 1 partly, 2 done) and that in words."""
        rows = pass_rows(self.context.run.model, self.context.cursor.pinned.layer)
        computed = stages_computed(self.context.run)
        states = [state(row, computed) for row in rows]
        words = (self.tr("not computed"), self.tr("partly"), self.tr("computed"))
        return {
            "stage": np.array([self._row_title(row) for row in rows], np.str_),
            "layer": np.array([-1 if row.layer is None else row.layer for row in rows], np.int64),
            "state": np.array(states, np.int64),
            "computed": np.array([words[each] for each in states], np.str_),
        }

    def _row_title(self, row: Row) -> str:
        whole = row.layer is not None and not row.stage
        return self.tr("layer {0}").format(row.layer) if whole else place_text(row.layer, row.stage, self.tr)

    def picture(self) -> QImage:
        return self.grab().toImage()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(self.view.sizeHint().width(), 400)

    # -- the picked stage ----------------------------------------------------------------------------------------

    def _picked(self) -> Place | None:
        """The stage of the pinned point."""
        model, pinned = self.context.run.model, self.context.cursor.pinned
        if model is None or not pinned.point:
            return None
        if pinned.point == "hook_tokens":
            return (None, TOKEN)
        return place_of(model, min(pinned.layer, model.n_layers - 1), pinned.point)

    def _show_card(self) -> None:
        """The tensors of the picked stage, where the panel is tall enough for that beside the map."""
        tall = self.height() >= _LOW_LINES * self.fontMetrics().height()
        picked = self._picked() if tall else None
        words = "" if picked is None else self.view.describe(*picked)
        if words != self.card.text():
            self.card.setText(words)
            self.card.start_afresh()
        self.card.setVisible(bool(words))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._show_card()

    # -- the cursor ----------------------------------------------------------------------------------------------

    def _hover(self, layer: int) -> None:
        if layer < 0:
            self.context.cursor.hover()
        else:
            self.context.cursor.hover(layer=layer)

    def _pin(self, layer: int) -> None:
        self.context.cursor.pin(layer=layer)

    def _add_commands(self, menu: QMenu, layer: int, stage: str) -> None:
        """Those that act on what is pinned, which is the place of the menu by then."""
        pin = partial(self._pick, layer, stage) if stage else partial(self._pin, layer)
        self.context.add_commands(menu, "pass", pin)

    def _pick(self, layer: int, stage: str) -> None:
        """Pin the point that a stage ends with."""
        model = self.context.run.model
        point = None if model is None else ending_point(model, None if layer < 0 else layer, stage)
        if point is not None:
            self.context.cursor.pin(point=point, **({} if layer < 0 else {"layer": layer}))
