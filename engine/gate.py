"""The gate: pause, step, cancel and questions, from any thread, inside the pass.

The gate sits at every stage of the pass. It holds no lock while the pass computes, and costs one attribute test and
one store at a stage while nothing is asked of it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from engine.breakpoints import Breakpoint, Found, HitFrame, Hits
from engine.errors import Cancelled, EngineError
from engine.frames import Answer, Kind, Where
from engine.hooks import LAST_STAGE, HookPoint, PointInfo
from engine.meter import ANSWER, Meter
from engine.questions import Question

StepKind = Literal["stage", "layer", "next layer", "token"]
Mode = Literal["run", "pause", "stage", "layer", "token", "to"]
Spot = tuple[int | None, str]  # the end of a stage: layer (None: outside the layers) and stage
Answering = Generator[Answer | None, None, Answer]
Partly = Callable[[Answer], None]
Holds = Callable[[Breakpoint, int, Found], None]
Attach = Callable[[Sequence[Breakpoint], Holds], list[Callable[[], None]]]

_SLICE_SECONDS = 0.02  # how long questions may hold up a running pass at the end of a layer
_WAKE_SECONDS = 0.1  # a stopped pass looks up this often even if nobody wakes it

START = "start"  # the stage before a pass has computed anything
_FINAL_NORM = "final norm"  # the stage behind the last layer
_AT_START = PointInfo("", None, (), "", "", stage=START)


class Gate:
    """Decides at each stage whether the pass goes on. All public methods may be called from any thread.

    Called in the engine's thread: ``on_stop(where)`` whenever the pass stops, before it waits; ``on_slow(where)`` at
    each stage while a pace is set, before it waits for the next one; ``on_hit(frame)`` for each hit of a breakpoint,
    before ``on_stop``.
    """

    def __init__(self) -> None:
        self.on_stop: Callable[[Where], None] | None = None
        self.on_slow: Callable[[Where], None] | None = None
        self.on_hit: Callable[[HitFrame], None] | None = None
        self._changed = threading.Condition()
        self._mode: Mode = "run"
        self._to: frozenset[Spot] = frozenset()  # where the mode "to" stops
        self._orders = 0  # how many commands to move there were
        self._pace: float | None = None  # stages a second
        self._moved = 0.0  # when the last stage was let go, while there is a pace
        self._cancelled = False
        self._stopped = False
        self.waited = 0.0  # seconds that passes have spent stopped here
        self.meter = Meter()  # of the pass under way
        self._jobs: deque[_Job] = deque()
        self._works: deque[Callable[[], None]] = deque()
        self._quiet = True
        self._pass: tuple[int, Kind, int, int] | None = None
        self._at = _AT_START
        self._first = False
        self.passes = 0  # how many have begun
        self._answering: Callable[[Question], Answering] | None = None
        self._hits = Hits()
        self._attach: Attach | None = None
        self._detach: list[Callable[[], None]] = []

    # -- commands ------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop at the next stage."""
        self._command("pause")

    def resume(self) -> None:
        """Go on without stopping."""
        self._command("run")

    def step(self, kind: StepKind) -> None:
        """Go on to the end of the next stage, of the layer (at its end: of the next one), to the same stage one layer
        further ("next layer"), or to the beginning of the next token's pass, and stop.

        A next layer that has no such stage is gone through to its end; behind the last layer it is the final norm;
        outside the layers, the end of the first one. Before a run this arms it: the next pass stops there.
        """
        if kind == "next layer":
            at = self._at if self._pass is not None else _AT_START
            self._command("to", _one_layer_further(at.layer, at.stage))
        else:
            self._command(kind)

    def run_to(self, layer: int | None, stage: str = "") -> None:
        """Go on to the end of this stage and stop there: in this pass if it is still ahead, else in the next.

        "" is the last stage of the layer, or without a layer the beginning of a pass.
        """
        self._command("to", frozenset({(layer, stage or (START if layer is None else LAST_STAGE))}))

    def pace(self, stages_per_second: float | None) -> None:
        """Wait at each stage, so that so many pass in a second at most; None: full speed.

        What is commanded or asked meanwhile is done at once. Raises EngineError for a rate that is none.
        """
        if stages_per_second is not None and not 0 < stages_per_second < math.inf:
            raise EngineError(f"A pace of {stages_per_second} stages a second was given; it must be above 0.")
        with self._changed:
            self._pace = stages_per_second
            self._wake()

    def set_breakpoints(self, breakpoints: Sequence[Breakpoint]) -> None:
        """Look out for these from the next stage on, in place of those before. Raises EngineError for one number
        given twice."""
        numbers = [each.number for each in breakpoints]
        twice = next((number for number in numbers if numbers.count(number) > 1), None)
        if twice is not None:
            raise EngineError(f"Two breakpoints have the number {twice}; each needs its own.")
        self.do(partial(self._use, tuple(breakpoints)))

    @property
    def hits(self) -> dict[int, int]:
        """How often each breakpoint was hit, by number."""
        return dict(self._hits.counts)

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

    def do(self, work: Callable[[], None]) -> None:
        """Call ``work`` in the engine's thread at the next stage the pass comes to, or at once where it stands.

        With no pass under way it is called when the next one begins, or by ``serve`` or ``work_off``. Works are called
        in order, before anything else at that stage, and once each; an error that one raises ends the pass.
        """
        with self._changed:
            self._works.append(work)
            self._wake()

    @property
    def armed(self) -> bool:
        """Whether the pass stands, or has been told where to stop."""
        return self._mode != "run"

    @property
    def where(self) -> Where:
        """Where the pass stands now."""
        running = self._pass
        if running is None:
            return Where("idle")
        at = self._at
        return Where("paused" if self._stopped else "running", *running, at.layer, at.stage)

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
        self._at, self._pass = _AT_START, (step, kind, start, end)
        self.passes += 1
        self._hits.begin_pass()
        if not self._quiet:
            with self._changed:
                self._wake()  # hits of a pass that was cancelled are told to nobody
            self._attend()

    def arrive(self, point: HookPoint) -> None:
        """A stage has been computed; may stop here. Raises Cancelled."""
        self._at = point.info
        if not self._quiet:
            self._attend()

    def end_pass(self) -> None:
        """No pass is under way any more; of the run and its model nothing is kept."""
        self._pass = self._answering = None

    def look_out(self, attach: Attach) -> Callable[[], None]:
        """A run begins to move: ``attach`` hangs breakpoints on its model, and gives back what takes them away again.

        It is called now and whenever there are others, with those that are on and with whom to tell when a test holds.
        Call the result when the run does not move any more.
        """
        self._attach = attach
        self._hang()
        return self._look_away

    def work_off(self) -> None:
        """Do what ``do`` was given and is not done yet."""
        while self._works:
            with self._changed:
                work = self._works.popleft()
                self._wake()
            work()

    def serve(self, answering: Callable[[Question], Answering] | None = None) -> None:
        """Answer everything that was asked, with no pass under way. A cancel ends it: the rest is let go."""
        self._answering = answering or self._answering
        self.work_off()
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

    def _command(self, mode: Mode, to: frozenset[Spot] = frozenset()) -> None:
        with self._changed:
            self._mode, self._to = mode, to
            self._orders += 1
            self._wake()

    def _wake(self) -> None:
        """Call with the condition held."""
        due = bool(self._cancelled or self._jobs or self._works or self._hits.waiting)
        self._quiet = self._mode == "run" and self._pace is None and not due
        self._changed.notify_all()

    def _attend(self) -> None:
        self._raise_if_cancelled()
        if self._works:
            with self._apart():
                self.work_off()
        if self._hits.waiting:
            self._report()
        if self._at_stop():
            self._wait()
        elif self._pace is not None:
            self._go_slowly()
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
        return self._at.stage in (START, LAST_STAGE)

    def _at_stop(self) -> bool:
        at = self._at
        if at.stage == START and self._first:
            return self._mode == "pause"
        if self._mode == "token":
            return at.stage == START
        if self._mode == "layer":
            return self._between_layers()
        if self._mode == "to":
            return (at.layer, at.stage) in self._to
        return self._mode in ("pause", "stage")

    def _wait(self) -> None:
        """Stay in the pass until a command lets it go, answering questions meanwhile."""
        with self._changed:
            if not self._at_stop():  # a command came in between
                return
            self._mode = "pause"
        self._stopped = True
        try:
            with self._apart():
                self._stay()
        finally:
            self._stopped = False

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """What takes time inside is neither the pass's nor anybody's watching it."""
        began = time.perf_counter()
        try:
            with self.meter.time(""):
                yield
        finally:
            self.waited += time.perf_counter() - began

    def _stay(self) -> None:
        if self.on_stop is not None:
            self.on_stop(self.where)
        self._linger(lambda: math.inf if self._mode == "pause" else 0.0)

    def _go_slowly(self) -> None:
        """Let the stage be seen, and wait until it is time for the next one; a command ends that at once."""
        orders = self._orders
        with self._apart():
            if self.on_slow is not None:
                self.on_slow(self.where)
            self._linger(lambda: self._until_next() if self._orders == orders else 0.0)
        self._moved = time.monotonic()
        if self._mode == "pause":
            self._wait()

    def _linger(self, left: Callable[[], float]) -> None:
        """Do what is asked and given while there are seconds ``left``. Raises Cancelled."""
        while (seconds := left()) > 0:
            self._raise_if_cancelled()
            self.work_off()
            if self._jobs:
                self._serve_slice()
                continue
            with self._changed:
                if left() > 0 and not (self._cancelled or self._jobs or self._works):
                    self._changed.wait(min(seconds, _WAKE_SECONDS))
        self._raise_if_cancelled()
        self.work_off()  # what was given before the command to go on is done before it

    def _until_next(self) -> float:
        """Seconds until the pace lets the next stage be computed."""
        pace = self._pace
        return 0.0 if pace is None else self._moved + 1 / pace - time.monotonic()

    # -- breakpoints -------------------------------------------------------------------------------------------------

    def _use(self, breakpoints: tuple[Breakpoint, ...]) -> None:
        self._hits.use(breakpoints)
        self._hang()

    def _hang(self) -> None:
        """What is on, on the model of the run that moves; nothing where none does."""
        detach, self._detach = self._detach, []
        for undo in detach:
            undo()
        on = [each for each in self._hits.breakpoints if each.on]
        if self._attach is not None and on:
            self._detach = self._attach(on, self._holds)

    def _look_away(self) -> None:
        self._attach = None
        self._hang()

    def _holds(self, breakpoint: Breakpoint, index: int, found: Found) -> None:
        self._hits.holds(breakpoint, index, found)
        if self._hits.waiting:
            with self._changed:
                self._wake()

    def _report(self) -> None:
        """Tell of the hits at this stage, and stop at it if one of them wants that."""
        frames = self._hits.taken(self.where)
        with self._changed:
            if any(frame.stops for frame in frames):
                self._mode = "pause"
            self._wake()
        for frame in frames:
            if self.on_hit is not None:
                self.on_hit(frame)

    # -- questions ---------------------------------------------------------------------------------------------------

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


def _one_layer_further(layer: int | None, stage: str) -> frozenset[Spot]:
    """Where a pass stops that stands there; the spot that it comes to first."""
    if layer is None:
        return frozenset({(0, LAST_STAGE)})
    return frozenset({(layer + 1, stage), (layer + 1, LAST_STAGE), (None, _FINAL_NORM)})


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
