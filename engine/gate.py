"""The gate: pause, step, cancel and questions, from any thread, inside the pass.

The gate sits at every stage of the pass. It holds no lock while the pass computes, and costs one attribute test and
one store at a stage while nothing is asked of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from typing import Any, Literal

from engine.errors import Cancelled
from engine.frames import Answer, Kind, Where
from engine.hooks import LAST_STAGE, HookPoint
from engine.meter import ANSWER, Meter
from engine.questions import Question

StepKind = Literal["stage", "layer", "token"]
Answering = Generator[Answer | None, None, Answer]
Partly = Callable[[Answer], None]

_SLICE_SECONDS = 0.02  # how long questions may hold up a running pass at the end of a layer
_WAKE_SECONDS = 0.1  # a stopped pass looks up this often even if nobody wakes it

START = "start"  # the stage before a pass has computed anything


class Gate:
    """Decides at each stage whether the pass goes on. All public methods may be called from any thread.

    ``on_stop(where)`` is called in the engine's thread whenever the pass stops, before it waits.
    """

    def __init__(self) -> None:
        self.on_stop: Callable[[Where], None] | None = None
        self._changed = threading.Condition()
        self._mode: Literal["run", "pause", "stage", "layer", "token"] = "run"
        self._cancelled = False
        self._stopped = False
        self.waited = 0.0  # seconds that passes have spent stopped here
        self.meter = Meter()  # of the pass under way
        self._jobs: deque[_Job] = deque()
        self._quiet = True
        self._pass: tuple[int, Kind, int, int] | None = None
        self._layer: int | None = None
        self._stage = START
        self._first = False
        self._answering: Callable[[Question], Answering] | None = None

    # -- commands ------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop at the next stage."""
        self._command("pause")

    def resume(self) -> None:
        """Go on without stopping."""
        self._command("run")

    def step(self, kind: StepKind) -> None:
        """Go on to the end of the next stage, of the layer, or to the beginning of the next token's pass, and stop.

        Before a run this arms it: the next pass stops there.
        """
        self._command(kind)

    def cancel(self) -> None:
        """Raise Cancelled inside the pass at the next stage; the session can go on from its last finished step."""
        with self._changed:
            self._cancelled = True
            self._wake()

    def reset(self) -> None:
        """Forget a pause, an armed step and a cancel."""
        with self._changed:
            self._mode, self._cancelled = "run", False
            self._wake()

    def ask(self, question: Question, partly: Partly | None = None, asker: str = "") -> Future[Answer]:
        """Ask about the run. Answered while stopped, between layers while running, or by ``serve`` when idle.

        ``partly`` is called in the engine's thread with each answer that is not whole yet, where there are such.
        ``asker``: under which name its time in the pass is metered; the class of the question if not given.
        Cancelling the future drops the question.
        """
        job = _Job(question, partly, ANSWER + (asker or type(question).__name__))
        with self._changed:
            self._jobs.append(job)
            self._wake()
        return job.future

    @property
    def where(self) -> Where:
        """Where the pass stands now."""
        running = self._pass
        if running is None:
            return Where("idle")
        return Where("paused" if self._stopped else "running", *running, self._layer, self._stage)

    # -- the engine's side: call these from its thread only ----------------------------------------------------------

    def begin_pass(
        self,
        step: int,
        kind: Kind,
        start: int,
        end: int,
        answering: Callable[[Question], Answering],
        *,
        first: bool = False,
    ) -> None:
        """A pass is about to read [start, end); may stop here. Raises Cancelled.

        Before the ``first`` pass of a run only a pause stops: an armed step wants something computed first.
        """
        self._answering, self._first = answering, first
        self._pass, self._layer, self._stage = (step, kind, start, end), None, START
        if not self._quiet:
            self._attend()

    def arrive(self, point: HookPoint) -> None:
        """A stage has been computed; may stop here. Raises Cancelled."""
        info = point.info
        self._layer, self._stage = info.layer, info.stage
        if not self._quiet:
            self._attend()

    def end_pass(self) -> None:
        """No pass is under way any more."""
        self._pass = None

    def serve(self, answering: Callable[[Question], Answering] | None = None) -> None:
        """Answer everything that was asked, with no pass under way. A cancel ends it: the rest is let go."""
        self._answering = answering or self._answering
        while self._jobs and not self._cancelled:
            self._serve_slice()
        if self._jobs:
            self.reset()
            self.drop()

    def drop(self) -> None:
        """Let go of every question that is not answered yet: its future is cancelled."""
        with self._changed:
            jobs, self._jobs = self._jobs, deque()
            self._wake()
        for job in jobs:
            job.future.cancel()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _command(self, mode: Literal["run", "pause", "stage", "layer", "token"]) -> None:
        with self._changed:
            self._mode = mode
            self._wake()

    def _wake(self) -> None:
        """Call with the condition held."""
        self._quiet = self._mode == "run" and not self._cancelled and not self._jobs
        self._changed.notify_all()

    def _attend(self) -> None:
        self._raise_if_cancelled()
        if self._at_stop():
            self._wait()
        elif self._between_layers():
            self._serve_slice()

    def _raise_if_cancelled(self) -> None:
        if not self._cancelled:
            return
        with self._changed:
            self._cancelled = False
            self._wake()
        raise Cancelled

    def _between_layers(self) -> bool:
        return self._stage in (START, LAST_STAGE)

    def _at_stop(self) -> bool:
        if self._stage == START and self._first:
            return self._mode == "pause"
        if self._mode == "token":
            return self._stage == START
        if self._mode == "layer":
            return self._between_layers()
        return self._mode in ("pause", "stage")

    def _wait(self) -> None:
        """Stay in the pass until a command lets it go, answering questions meanwhile."""
        with self._changed:
            if not self._at_stop():  # a command came in between
                return
            self._mode = "pause"
        self._stopped = True
        began = time.perf_counter()
        try:
            with self.meter.time(""):  # a pass that is stopped is not made slower
                self._stay()
        finally:
            self._stopped = False
            self.waited += time.perf_counter() - began

    def _stay(self) -> None:
        if self.on_stop is not None:
            self.on_stop(self.where)
        while self._mode == "pause":
            self._raise_if_cancelled()
            if self._jobs:
                self._serve_slice()
                continue
            with self._changed:
                if self._mode == "pause" and not self._cancelled and not self._jobs:
                    self._changed.wait(_WAKE_SECONDS)
        self._raise_if_cancelled()

    def _serve_slice(self) -> None:
        deadline = time.monotonic() + _SLICE_SECONDS
        while self._jobs and time.monotonic() < deadline:
            self._advance(self._jobs[0], deadline)

    def _advance(self, job: _Job, deadline: float) -> None:
        """Work on the question whose turn it is until it is answered or the slice is over."""
        assert self._answering is not None, "a question is served by a session"
        with self.meter.time(job.part):
            answered = job.advance(self._answering, deadline)
        if answered:
            with self._changed:
                self._jobs.popleft()
                self._wake()
        else:
            with self._changed:
                self._jobs.rotate(-1)  # a long one does not keep the others waiting


class _Job:
    """A question and the work on its answer so far."""

    def __init__(self, question: Question, partly: Partly | None, part: str) -> None:
        self.question, self.part = question, part
        self._partly = partly
        self.future: Future[Answer] = Future()
        self._work: Answering | None = None

    def advance(self, answering: Callable[[Question], Answering], deadline: float) -> bool:
        """Go on until ``deadline`` (seconds of time.monotonic); True when the question is done with."""
        if self._work is None:
            self._work = answering(self.question)
        while not self.future.cancelled():
            try:
                part = next(self._work)
                if part is not None and self._partly is not None:
                    self._partly(part)
            except StopIteration as done:
                self._settle(self.future.set_result, done.value)
                return True
            except Exception as error:
                self._settle(self.future.set_exception, error)
                return True
            if time.monotonic() >= deadline:
                return False
        self._work.close()
        return True

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        try:
            settle(outcome)
        except InvalidStateError:
            return  # cancelled between the last look and now: nobody wants the answer
