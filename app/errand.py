"""What the command line asked for, done step by step as frames come: run the prompt, pin, stop in a layer."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from app.command_line import Options, is_run_file
from app.window import Window
from app.worker import Arm
from engine.frames import EndFrame, ErrorFrame, ModelFrame, RunFrame, Where


class Errand(QObject):
    """``arrived``: the run has ended, or has stopped where it should. ``failed``: one sentence."""

    arrived = Signal()
    failed = Signal(str)

    def __init__(self, window: Window, options: Options) -> None:
        super().__init__(window)
        self._window = window
        self._options = options
        self._of_file = options.model is not None and is_run_file(options.model)
        self._done = options.prompt is None and not self._of_file
        window.received.connect(self._take)

    def _take(self, frame: object) -> None:
        taker = _TAKERS.get(type(frame))
        if taker is not None and not self._done:
            taker(self, frame)

    def _model_ready(self, frame: ModelFrame) -> None:
        complaint = unfitting(self._options, frame)
        if complaint:
            self._fail(ErrorFrame("run", complaint))
            return
        if self._of_file:
            return  # its run comes by itself
        self._window.run_prompt(self._first_stop())

    def _first_stop(self) -> Arm | None:
        if self._options.pause_at is None:
            return None
        return "token" if self._options.tokens > 1 else "layer"

    def _run_began(self, frame: RunFrame) -> None:
        pin = dict(self._options.pin)
        position = pin.get("position")
        last = len(frame.prompt) + (frame.max_new_tokens if self._of_file else self._options.tokens) - 1
        if position is not None and position > last:
            self._fail(ErrorFrame("run", f"There is no position {position}: the run ends at position {last}."))
            return
        self._window.context.cursor.pin(**pin)

    def _moved(self, where: Where) -> None:
        """Token by token to the last one, then layer by layer to the one that was asked for."""
        if where.state != "paused" or self._options.pause_at is None:
            return
        if where.step < self._options.tokens - 1:
            self._window.worker.step("token")
        elif where.layer is None or where.layer < self._options.pause_at:
            self._window.worker.step("layer")
        else:
            self._arrive()

    def _ended(self, frame: EndFrame) -> None:
        if frame.reason != "error":
            self._arrive()

    def _fail(self, frame: ErrorFrame) -> None:
        self._done = True
        if frame.task == "run":
            self._window.error_bar.show_error(frame)
        self.failed.emit(frame.sentence)

    def _arrive(self) -> None:
        self._done = True
        self.arrived.emit()


def unfitting(options: Options, model: ModelFrame) -> str | None:
    """The sentence about a layer or head that this model does not have."""
    for name, layer in (("--layer", options.pin.get("layer")), ("--pause-at", options.pause_at)):
        if layer is not None and layer >= model.n_layers:
            return f"{name} {layer} does not exist: {model.name} has layers 0 to {model.n_layers - 1}."
    n_heads = model.layers[options.pin.get("layer", 0)].n_heads
    head = options.pin.get("head")
    if head is not None and head >= n_heads:
        return f"--head {head} does not exist: that layer of {model.name} has heads 0 to {n_heads - 1}."
    n_experts, expert = model.layers[options.pin.get("layer", 0)].n_experts, options.pin.get("expert")
    if expert is not None and expert >= n_experts:
        return f"--expert {expert} does not exist: that layer of {model.name} has {n_experts or 'no'} experts."
    if options.chat and not model.has_chat_template:
        return f"{model.name} has no chat template; leave --chat out."
    return None


_TAKERS: dict[type, Callable] = {
    ModelFrame: Errand._model_ready,
    RunFrame: Errand._run_began,
    Where: Errand._moved,
    EndFrame: Errand._ended,
    ErrorFrame: Errand._fail,
}
