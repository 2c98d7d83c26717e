"""What the user waits for, as long work: models, files, downloads, the prompt, a run that is taken back, questions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QObject

from app.board import Board
from app.engine_words import said
from app.long_work import LongWork
from app.notices import CancelledFrame, DownloadFrame, SavedFrame
from app.run import Run
from engine.frames import (
    AnswerFrame,
    BackFrame,
    EndFrame,
    ErrorFrame,
    ModelFrame,
    ProgressFrame,
    RunFrame,
    StepFrame,
    SwitchedFrame,
    Where,
)

Cancels = dict[str, Callable[[], object]]

PROMPT, QUESTION, DOWNLOAD = "prompt", "question", "download"
ASKED_FOR = ("save", "load")  # these have begun before anything is heard of them


class Waiting(QObject):
    """Told every frame. ``cancels``: how work of the worker is given up, by its task.

    ``stop`` ends the run; ``pause`` stops the download of a source, which can go on later.
    """

    def __init__(
        self,
        work: LongWork,
        run: Run,
        board: Board,
        cancels: Cancels,
        stop: Callable[[], object],
        pause: Callable[[str], object],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._work, self._run, self._board = work, run, board
        self._cancels, self._stop, self._pause = cancels, stop, pause
        board.on_waiting = self._look_at_questions

    def begin(self, task: str, text: str) -> None:
        """The worker was told to."""
        self._work.begin(task, text, unit="bytes", cancel=self._cancels.get(task))

    def take(self, frame: object) -> None:
        """Whatever comes from the worker."""
        taker = _TAKERS.get(type(frame))
        if taker is not None:
            taker(self, frame)

    # ---- the worker's tasks ----------------------------------------------------------------------------------------

    def _moved(self, frame: ProgressFrame) -> None:
        """A refill begins with its first progress; what was told to begin may be given up by now."""
        text = said(frame.text, self.tr)
        if frame.task not in self._work.tasks and frame.task not in ASKED_FOR:
            self._work.begin(frame.task, text, frame.total, frame.unit, self._cancels.get(frame.task))
        self._work.move(frame.task, frame.done, frame.total, text, frame.unit)

    def _ended(self, frame: CancelledFrame | ErrorFrame) -> None:
        self._work.end(frame.task)
        if frame.task in ("branch", "run"):
            self._elsewhere(frame)

    def _saved(self, frame: SavedFrame) -> None:
        if not frame.quiet:
            self._work.end("save")

    def _loaded(self, frame: ModelFrame) -> None:
        """What was under way with the model before is over, too."""
        for task in ("load", PROMPT, "back"):
            self._work.end(task)

    def _elsewhere(self, frame: object) -> None:
        self._work.end("back")

    def _download(self, frame: DownloadFrame) -> None:
        task = f"{DOWNLOAD} {frame.source}"
        if frame.state not in ("waiting", "running"):
            self._work.end(task)
            return
        text = self.tr("downloading {0}").format(frame.source)
        if task not in self._work.tasks:
            self._work.begin(task, text, frame.total, "bytes", partial(self._pause, frame.source))
        self._work.move(task, frame.done, frame.total, text)

    # ---- the prompt ------------------------------------------------------------------------------------------------

    def _begun(self, frame: RunFrame) -> None:
        self._elsewhere(frame)
        self._begin_prompt()

    def _begin_prompt(self) -> None:
        self._work.begin(PROMPT, self.tr("reading the prompt"), self._run.n_prompt, "tokens", self._stop)

    def _passed(self, frame: Where) -> None:
        """A pass that stands still is nothing that is waited for; when it moves on, it is again."""
        if self._run.ended is not None or frame.kind != "prefill" or self._run.model is None:
            return
        if frame.state != "running":
            self._work.end(PROMPT)
            return
        if PROMPT not in self._work.tasks and not self._run.steps:
            self._begin_prompt()
        layers = 0 if frame.layer is None else frame.layer + 1
        self._work.move(PROMPT, frame.start + (frame.end - frame.start) * layers // self._run.model.n_layers)

    def _stepped(self, frame: StepFrame | EndFrame) -> None:
        """A pass may have begun with a refill, which is over with it."""
        self._work.end(PROMPT)
        self._elsewhere(frame)

    # ---- questions -------------------------------------------------------------------------------------------------

    def _look_at_questions(self, panels: tuple[str, ...]) -> None:
        """``panels``: titles of those that wait for an answer, the one that has waited longest first. While passes go
        on, pictures follow them as fast as they can: nobody waits."""
        waits = bool(panels) and self._run.where.state != "running"
        if not waits:
            self._work.end(QUESTION)
        elif QUESTION not in self._work.tasks:
            text = self.tr("computing for {0}").format(panels[0])
            self._work.begin(QUESTION, text, cancel=self._board.give_up)

    def _answered(self, frame: AnswerFrame) -> None:
        """A map that comes in parts tells how many of its queries it has."""
        done, total = getattr(frame.answer, "n", 0), getattr(frame.answer, "n_total", 0)
        if not frame.whole and total:
            self._work.move(QUESTION, done, total)


_TAKERS: dict[type, Callable[[Waiting, Any], None]] = {
    ProgressFrame: Waiting._moved,
    CancelledFrame: Waiting._ended,
    ErrorFrame: Waiting._ended,
    SavedFrame: Waiting._saved,
    ModelFrame: Waiting._loaded,
    BackFrame: Waiting._elsewhere,
    SwitchedFrame: Waiting._elsewhere,
    DownloadFrame: Waiting._download,
    RunFrame: Waiting._begun,
    Where: Waiting._passed,
    StepFrame: Waiting._stepped,
    EndFrame: Waiting._stepped,
    AnswerFrame: Waiting._answered,
}
