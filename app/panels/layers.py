"""The list of layers: what the pass has computed, where it stands, and the stages of the pinned layer."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QVBoxLayout

from app.panels.panel import Context, Panel
from app.widgets.pass_rows import stages_computed, state
from app.widgets.pass_view import PassView
from app.widgets.still_label import StillLabel


class LayersPanel(Panel):
    """Embed, layers, final norm, logits, sampling. Click, Up and Down pin a layer and open its stages; a double
    click, or Enter, asks for the tensor that a stage ends with."""

    key = "layers"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.head = StillLabel(wrap=True)
        self.head.label.setContentsMargins(8, 4, 8, 4)
        self.view = PassView(context.theme, self)
        self.view.setAccessibleName(self.tr("Layers of the pass"))
        self.view.hovered.connect(self._hover)
        self.view.pressed.connect(self._pin)
        self.view.opened.connect(self.stage_opened)
        self.setFocusProxy(self.view)
        self.setAccessibleName(self.title())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.head)
        column.addWidget(self.view, 1)
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
            (self.tr("token {0}").format(step.end), self.tr(step.kind), self._reads(step.start, step.end))
        )

    def _reads(self, start: int, end: int) -> str:
        if end - start == 1:
            return self.tr("reads position {0}").format(start)
        return self.tr("reads positions {0} … {1}").format(start, end - 1)

    def show_run(self) -> None:
        run = self.context.run
        inside = run.in_pass
        self.view.show_pass(run.model, stages_computed(run), inside, inside and run.where.state == "paused")
        words = self.caption()
        if words != self.head.text():
            self.head.setText(words)
            self.view.setAccessibleDescription(words)
            self.caption_changed.emit()

    def show_cursor(self) -> None:
        cursor = self.context.cursor
        self.view.show_look(cursor.pinned.layer, cursor.hovered.layer)

    def restyle(self) -> None:
        self.head.setStyleSheet(f"color: {self.context.theme.faint};")
        self.view.restyle(self.context.theme)
        self.show_cursor()
        self.show_run()

    def values(self) -> dict[str, np.ndarray]:
        """Per row on screen: int64 ``layer`` (-1 outside the layers), ``state`` (0 absent, 1 partly, 2 done)."""
        rows, computed = self.view.rows, stages_computed(self.context.run)
        return {
            "layer": np.array([-1 if row.layer is None else row.layer for row in rows], np.int64),
            "state": np.array([state(row, computed) for row in rows], np.int64),
        }

    def picture(self) -> QImage:
        return self.grab().toImage()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(self.view.sizeHint().width(), 400)

    # -- the cursor ----------------------------------------------------------------------------------------------

    def _hover(self, layer: int) -> None:
        if layer < 0:
            self.context.cursor.hover()
        else:
            self.context.cursor.hover(layer=layer)

    def _pin(self, layer: int) -> None:
        self.context.cursor.pin(layer=layer)
