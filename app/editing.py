"""The commands about edits, and their way to the engine: what it does not take is taken out of the tray again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from app.edit_tray import Edits
from app.layouts import Workspace
from app.notices import OpenedFrame
from app.panels.edits import EditsPanel
from app.panels.panel import Context
from engine.edit_code import as_python
from engine.edits import Edit
from engine.frames import ModelFrame
from engine.settings import Sampling


class Edited(Protocol):
    """What editing needs of the worker."""

    def set_edits(self, edits: Edits) -> None: ...


class Editing(QObject):
    """Each public method but the last ones is the command of its name. ``changed``: other edits, or none are on."""

    changed = Signal()

    def __init__(
        self,
        context: Context,
        worker: Edited,
        workspace: Workspace,
        panel: EditsPanel | None,
        sampling: Callable[[], Sampling],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._sampling = sampling
        self._context, self._worker, self._workspace, self._panel = context, worker, workspace, panel
        self._of = ""  # the model that the edits were made for
        self._sent: Edits = ()
        context.tray.changed.connect(self._send)
        context.tray.asked.connect(self._begin)
        context.tray.copy_asked.connect(self.copy_edits)
        context.tray.looked_for.connect(self.show_edits)

    def new_edit(self) -> None:
        """The form, for what is pinned."""
        if self._panel is not None:
            self._bring_up()
            self._panel.new()

    def undo_edit(self) -> None:
        self._context.tray.undo()

    def redo_edit(self) -> None:
        self._context.tray.redo()

    def switch_edits(self) -> None:
        """All off, or those on again that were."""
        self._context.tray.switch_all()

    def clear_edits(self) -> None:
        self._context.tray.clear()

    def copy_edits(self) -> None:
        """A script that runs the same prompt with the same edits, on the clipboard."""
        run = self._context.run
        same: dict[str, Any] = {}
        if run.prompt:
            same = {"prompt": [piece.id for piece in run.prompt], "sampling": self._sampling()}
        if run.steps:
            same["max_new_tokens"] = len(run.steps)
        source = "" if run.model is None else run.model.source
        QGuiApplication.clipboard().setText(as_python(self._context.tray.edits, source, **same))
        self._context.cursor.say(self.tr("The edits are on the clipboard, as Python."))

    def show_edits(self) -> None:
        if self._panel is not None:
            self._workspace.turn_to(self._panel.key)

    # ---- from other parts of the window ------------------------------------------------------------------------

    def edit_at(self, layer: int | None, point: str) -> None:
        """The form for an edit at a hook point of a layer (None: outside the layers), or at the end of a stage."""
        if self._panel is not None:
            self._bring_up()
            self._panel.ask(layer, point)

    def _begin(self, edit: Edit) -> None:
        if self._panel is not None:
            self._bring_up()
            self._panel.begin(edit)

    def _bring_up(self) -> None:
        if self._panel is not None:
            self._workspace.bring_up(self._panel.key)

    # ---- the engine ----------------------------------------------------------------------------------------------

    def take_model(self, frame: ModelFrame) -> None:
        """A model comes without edits: those of the same model are put on again, others mean nothing any more."""
        same, sent = frame.source == self._of, self._sent
        self._of, self._sent = frame.source, ()
        if not same:
            self._context.tray.reset()
        if sent and not self._context.tray.edits:
            self._worker.set_edits(())  # the last of them may have come when the new model was there already
        self._send()

    def take_file(self, opened: OpenedFrame) -> None:
        """The edits of a saved run, on and off as they were; what was in the tray before comes back with Undo.

        Of a run without its model nothing can be edited.
        """
        if opened.edits is not None and not opened.why:
            self._context.tray.put_back(opened.edits)

    def take_accepted(self, edits: Edits) -> None:
        """The engine does these from now on."""
        self._context.tray.accepted = edits

    def take_refusal(self) -> None:
        """The engine left everything as it was; the sentence is shown by the window."""
        self._sent = self._context.tray.accepted
        self._context.tray.refuse()

    def _send(self) -> None:
        """Only where the engine would do something else."""
        edits = self._context.tray.edits
        if edits != self._sent:
            self._sent = edits
            self._worker.set_edits(edits)
        self.changed.emit()
