"""The one thread in which the engine, and so torch, runs: it takes commands from the window and posts frames.

The public methods of Worker may be called from any thread and return at once. While a run is on, the thread is inside
``session.steps``: pause, step and cancel reach it through the gate, everything else waits in the queue.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Thread
from typing import TYPE_CHECKING, Literal

from app.answering import Answering
from app.changes import Change, Changes
from app.inquiries import Inquiry
from app.inventory_reader import InventoryReader
from app.mailbox import Mailbox
from app.notices import CancelledFrame, EditsFrame, GoesOnFrame, OpenedFrame, ReadyFrame, SettledFrame
from app.saving import SaveRequest, Saving
from engine import threads as engine_threads
from engine.breakpoints import NOT_FINITE, Breakpoint, check_spot
from engine.edits import Edit
from engine.errors import Cancelled, EngineError
from engine.frames import EndFrame, ErrorFrame, ProgressFrame, RunFrame, Where
from engine.gate import Spot, StepKind
from engine.questions import OF_FILES, OF_HEADERS, OF_MODELS, AskOn, Question
from engine.run_file_facts import Beside, Branch, Compared, Mark
from engine.settings import Record, Sampling

if TYPE_CHECKING:
    import engine
    from engine.gate import Answering as Work
    from engine.loading import Loaded
    from engine.recorded_run import RecordedRun

Arm = StepKind | Literal["pause"] | Spot
Outcome = Literal["done", "cancelled", "error"]
QUIT_WITHIN_S = 2.0
REFILL_TOLD_S = 0.1  # so often it is said how far a refill is


@dataclass(frozen=True)
class LoadRequest:
    source: str
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class OpenRequest:
    """A saved run. ``others``: sources that its model may be, besides the one that it names."""

    path: Path
    others: tuple[str, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class RunRequest:
    """``prompt`` None: go on where the run stands. ``armed``: where it is to stop first; None lets it run."""

    prompt: str | None
    sampling: Sampling
    max_new_tokens: int
    chat: bool = False
    armed: Arm | None = None


class Worker:
    """The engine's thread. Every outcome, errors too, is a frame in the mailbox; the thread never dies of one."""

    def __init__(self, mailbox: Mailbox, threads: int | None = None) -> None:
        self._mailbox = mailbox
        self._threads = threads or engine_threads.default_threads()
        self._answering, self._saving = Answering(mailbox), Saving(mailbox)
        self._changes = Changes(mailbox, self._saving)
        self._reader = InventoryReader(mailbox, self._answering.inquiries)
        self._commands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._live, name="fluoroscope engine", daemon=True)
        self._lock = RLock()  # guards what follows
        self._gate: engine.Gate | None = None
        self._session: engine.Session | RecordedRun | None = None
        self._loaded: Loaded | None = None  # the model, also while a run without its model is open
        self._waiting_load: LoadRequest | OpenRequest | None = None
        self._waiting_run: RunRequest | None = None
        self._arm: Arm | None = None  # where the waiting run is to stop first
        self._sampling = Sampling()
        self._record = Record()
        self._pace: float | None = None
        self._breakpoints: tuple[Breakpoint, ...] = (NOT_FINITE,)
        self._running = False  # inside session.begin or session.steps
        self._making = self._given_up = False  # the run is being taken elsewhere; somebody stops that
        self._refill_told = 0.0  # when it was last said how far a refill is
        self._begun = False  # inside session.steps: the run that is under way is the one that is there
        self._halted = False  # the run under way is to end, whatever else is wanted of it
        self._leaving = False  # the pass under way is cancelled to take the run elsewhere, and it is not there yet
        self._onward: Arm | None = None  # how it moves on there: it stands if it stood, or was to stop
        self._quitting = False
        self._parked = 0  # answers that are begun and have their next turn in the queue; of the engine's thread
        self._has_run = False  # the session holds a run that can be asked about
        self._finish = "limit"

    # ---- commands, from any thread ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread and import the engine in it; a ReadyFrame follows."""
        self._commands.put(self._import_engine)
        self._thread.start()

    def load(self, source: str, device: str = "auto", dtype: str = "auto") -> None:
        """Load a model: stops the run under way; the old model stays until the new one is there."""
        self._want(LoadRequest(source, device, dtype))

    def open_run(self, request: OpenRequest) -> None:
        """Open a saved run, with its model where that is on this computer; else like ``load``."""
        self._want(request)

    def _want(self, request: LoadRequest | OpenRequest) -> None:
        with self._lock:
            self._waiting_run, self._waiting_load = None, request
            self._interrupt()
        self._commands.put(partial(self._load, request))

    def cancel_load(self) -> None:
        with self._lock:
            self._waiting_load = None

    def run(self, request: RunRequest) -> None:
        """Begin a new run: stops the one under way. If it cannot begin, the tokens of the old one are still there."""
        with self._lock:
            self._waiting_run, self._arm = request, request.armed
            self._interrupt()
        self._commands.put(partial(self._run, request))

    def save_run(self, path: Path, thumbnail: bytes = b"") -> None:
        """Save the run up to its last finished step, while it goes on; ProgressFrames and a SavedFrame follow."""
        self._save_soon(SaveRequest(path, thumbnail))

    def autosave(self, path: Path) -> bool:
        """The same unasked: nothing is told but a quiet SavedFrame, or an ErrorFrame for "autosave". False, and nothing
        is done, while a save is under way."""
        free = self._saving.wanted is None
        if free:
            self._save_soon(SaveRequest(path, quiet=True))
        return free

    @property
    def saves(self) -> bool:
        """Whether a save is under way."""
        return self._saving.wanted is not None

    def _save_soon(self, request: SaveRequest) -> None:
        self._saving.want(request)
        with self._lock:
            if self._begun and self._gate is not None:
                self._saving.ask_in_pass(self._gate, request, self._save_later)
            else:
                self._save_later(request)

    def set_marks(self, notes: tuple[Mark, ...], bookmarks: tuple[Mark, ...]) -> None:
        """Notes and bookmarks of the run that is there, for the files that it is saved as from now on."""
        self._saving.set_marks(notes, bookmarks)

    def set_compared(self, compared: Compared | None) -> None:
        """Which branches of it are compared, likewise."""
        self._saving.set_compared(compared)

    def cancel_save(self) -> None:
        self._saving.cancel()

    def pause(self) -> None:
        self._steer("pause")

    def resume(self) -> None:
        self._steer(None)

    def step(self, kind: StepKind) -> None:
        self._steer(kind)

    def run_to(self, layer: int | None, stage: str = "") -> None:
        """Go on to the end of this stage ("": of the layer) and stop there, in this pass or in the next one."""
        try:
            self._check_spot(layer, stage)
        except EngineError as error:
            self._mailbox.post(ErrorFrame("step", str(error)))
        else:
            self._steer((layer, stage))

    def set_pace(self, stages_per_second: float | None) -> None:
        """Go no faster than this through the stages, from the next one on; None: full speed."""
        with self._lock:
            self._pace = stages_per_second
            if self._gate is not None:
                self._gate.pace(stages_per_second)

    def set_breakpoints(self, breakpoints: tuple[Breakpoint, ...]) -> None:
        """Stop at these from the next stage on, in place of those before; a HitFrame for each hit."""
        with self._lock:
            self._breakpoints = breakpoints
            if self._gate is not None:
                self._gate.set_breakpoints(breakpoints)
                if not self._running:
                    self._commands.put(self._gate.work_off)

    def stop(self) -> None:
        """End the run under way, inside its pass, and forget one that has not begun; give up taking it elsewhere."""
        with self._lock:
            self._waiting_run, self._halted, self._given_up = None, True, self._making
            self._interrupt()

    def back(self, n_tokens: int) -> None:
        """Take the run back to so many tokens. A pass under way is cancelled for it; the run goes on then, or stands
        before the next pass where it stood still. A BackFrame and a TreeFrame follow, or an ErrorFrame for "back"."""
        self._change(self._changes.back(n_tokens))

    def branch(self, position: int, token: int | str) -> None:
        """Put another token, an id or its text, in the place of a generated one, on a new branch. As ``back``, with a
        SwitchedFrame, or an ErrorFrame for "branch"."""
        self._change(self._changes.branch(position, token))

    def switch(self, number: int) -> None:
        """Stand at the end of another branch; as ``branch``."""
        self._change(self._changes.switch(number))

    def drop_branch(self, number: int) -> None:
        """Forget a branch; from the current one the run goes to that from which it parted. As ``branch``."""
        self._change(self._changes.drop_branch(number))

    def set_sampling(self, sampling: Sampling) -> None:
        """Use these settings from the next pass on."""
        with self._lock:
            self._sampling = sampling

    def set_edits(self, edits: tuple[Edit, ...]) -> None:
        """Edit passes like this from now on, the one that stands too; an EditsFrame follows, or an ErrorFrame for
        "edit" where one does not fit: then nothing has changed."""
        with self._lock:
            edit = partial(self._edit, edits, self._session)
            if self._gate is None:
                self._commands.put(edit)
                return
            self._gate.do(edit)  # a run that has not begun yet may stop in its first pass
            if not self._running:
                self._commands.put(self._gate.work_off)

    def set_record(self, record: Record) -> None:
        """Keep so much of the run's record in memory, from the next pass on."""
        with self._lock:
            self._record = record
            if not self._running:
                self._commands.put(self._use_record)

    def where(self) -> Where | None:
        """Where the pass under way stands now; None while there is none. Costs no more than reading a variable."""
        with self._lock:
            return self._gate.where if self._running and self._gate is not None else None

    def watch(self, key: str, question: Question | None) -> int:
        """Answer this question after every pass and at every stop, until it is replaced or None. Returns its ticket."""
        if question is None:
            self._answering.inquiries.drop(key)
            with self._lock:
                if not self._running:  # else the pass under way sees to it
                    self._commands.put(self._let_maps_go)
            return 0
        return self._inquire(self._answering.inquiries.put(key, question, standing=True))

    def ask(self, key: str, question: Question) -> int:
        """Answer this question once; a newer one of the same key cancels it. Returns its ticket."""
        return self._inquire(self._answering.inquiries.put(key, question, standing=False))

    def watch_on(self, number: int, key: str, question: Question) -> int:
        """As ``watch``, about another branch: answered whenever no pass has begun to compute."""
        return self.watch(key, AskOn(number, question))

    def ask_on(self, number: int, key: str, question: Question) -> int:
        """As ``ask``, about another branch."""
        return self.ask(key, AskOn(number, question))

    def quit(self, seconds: float = QUIT_WITHIN_S) -> bool:
        """Cancel everything and wait for both threads; True if they ended in time."""
        with self._lock:
            self._waiting_load = self._waiting_run = None
            self._quitting = True
            self._interrupt()
        self._saving.cancel()
        self._reader.cancel()
        self._commands.put(None)
        deadline = time.monotonic() + seconds
        if self._thread.is_alive():
            self._thread.join(seconds)
        read = self._reader.join(max(0.0, deadline - time.monotonic()))
        return read and not self._thread.is_alive()

    def _steer(self, arm: Arm | None) -> None:
        """To the run that waits to begin, if there is one; otherwise to the one under way."""
        with self._lock:
            if self._waiting_run is not None:
                self._arm = arm
            elif self._running and self._gate is not None:
                self._onward = arm
                _move(self._gate, arm)

    def _check_spot(self, layer: int | None, stage: str) -> None:
        """Raises EngineError for a stage that the model does not have: a run would never come to it."""
        loaded = self._loaded
        if loaded is None:
            raise EngineError("No model is loaded; open one first.")
        check_spot(loaded.config, layer, stage)

    def _change(self, change: Change) -> None:
        with self._lock:
            self._changes.want(change)
            if self._running and self._gate is not None and not self._leaving:
                self._leaving, self._onward = True, "pause" if self._gate.armed else None
                self._gate.cancel()
        self._commands.put(self._make_changes)

    def _interrupt(self) -> None:
        if self._running and self._gate is not None:
            self._gate.cancel()

    def _inquire(self, inquiry: Inquiry) -> int:
        if isinstance(inquiry.question, OF_HEADERS):
            self._reader.read(inquiry)
            return inquiry.ticket
        with self._lock:
            if self._running and self._gate is not None:
                self._answering.ask_in_pass(self._gate, inquiry)
            else:
                self._commands.put(partial(self._answer, inquiry))
        return inquiry.ticket

    # ---- the engine's thread ---------------------------------------------------------------------------------

    def _live(self) -> None:
        engine_threads.prepare()
        while (command := self._commands.get()) is not None:
            command()

    def _attempt(self, task: str, work: Callable[[], None]) -> Outcome:
        """Do the work; an error becomes a frame."""
        try:
            work()
            return "done"
        except Cancelled:
            return "cancelled"
        except EngineError as error:
            self._mailbox.post(ErrorFrame(task, str(error)))
        except Exception as error:  # the thread must outlive every mistake
            sentence = f"Something unexpected went wrong in the engine ({type(error).__name__}: {error})."
            self._mailbox.post(ErrorFrame(task, sentence, traceback.format_exc()))
        return "error"

    def _import_engine(self) -> None:
        self._attempt("start", self._import_engine_now)

    def _import_engine_now(self) -> None:
        began = time.perf_counter()
        import engine
        import engine.loading  # the long part: torch
        from engine.checkpoint.fits import accelerators

        engine_threads.set_threads(self._threads)
        gate = engine.Gate()
        gate.on_stop, gate.on_slow, gate.on_hit = self._stopped, self._slowed, self._mailbox.post
        with self._lock:
            gate.pace(self._pace)
            gate.set_breakpoints(self._breakpoints)
            self._gate = gate
        self._mailbox.post(ReadyFrame(time.perf_counter() - began, self._threads, accelerators()))

    def _load(self, request: LoadRequest | OpenRequest) -> None:
        if request is not self._waiting_load:
            if self._waiting_load is None:  # cancelled before it began; otherwise a newer load replaced it
                self._mailbox.post(CancelledFrame("load"))
            return
        self._save_before()
        outcome = self._attempt("load", partial(self._replace_now, request))
        with self._lock:
            replaced = self._waiting_load is not None and self._waiting_load is not request
            if not replaced:
                self._waiting_load = None
        if outcome == "cancelled" and not replaced:
            self._mailbox.post(CancelledFrame("load"))
        if outcome != "done":
            self._answer_open()  # the old model and its run are still there, and were hurried away from

    def _replace_now(self, request: LoadRequest | OpenRequest) -> None:
        """Another model, or a saved run, in place of what is there."""
        if isinstance(request, LoadRequest):
            self._load_now(request)
        else:
            self._open_now(request)

    def _load_now(self, request: LoadRequest) -> None:
        import engine

        loaded = engine.load(
            request.source, device=request.device, dtype=request.dtype, progress=partial(self._load_progress, request)
        )
        session = engine.Session(loaded, gate=self._gate, record=self._record)
        self._attend(session)
        self._save_before()
        with self._lock:
            if request is not self._waiting_load:
                raise Cancelled
            self._waiting_load, self._session, self._has_run = None, session, False
            self._loaded = loaded
            self._answering.inquiries.clear()
        self._changes.begin()
        self._mailbox.post(loaded.model_frame())

    def _attend(self, session: engine.Session | RecordedRun) -> None:
        """What a session asks and tells while it computes."""
        session.watched, session.check = self._answering.inquiries.questions, self._check_hurry
        session.refilling = self._tell_refill

    def _open_now(self, request: OpenRequest) -> None:
        """The run in place of the one that is there, in frames as if it had just been made."""
        from engine.run_file_opening import open_run

        opened = open_run(
            request.path,
            loaded=self._loaded,
            others=request.others,
            device=request.device,
            gate=self._gate,
            record=self._record,
            progress=partial(self._load_progress, request),
        )
        facts, branch = opened.facts, opened.facts.branch
        self._attend(opened.session)
        self._save_before()
        with self._lock:
            if request is not self._waiting_load:
                raise Cancelled
            self._waiting_load, self._session, self._has_run = None, opened.session, True
            self._loaded, self._sampling = opened.loaded or self._loaded, branch.sampling
            self._answering.inquiries.clear()
        beside = Beside(branch.max_new_tokens, branch.chat, branch.reason, facts.notes, facts.bookmarks)
        self._saving.begin(beside, opened.steps)
        compared = None if facts.tree is None else facts.tree.compared
        rest = facts.notes, facts.bookmarks, _tray_of(branch), compared
        self._mailbox.post(OpenedFrame(str(request.path), opened.why, branch.sampling, branch.chat, *rest))
        run = RunFrame(opened.prompt, branch.max_new_tokens, branch.chat)
        for frame in (opened.model_frame, run, *opened.steps):
            self._mailbox.post(frame)
        try:
            self._changes.take_up(opened.session, opened.steps, opened.others)
            self._changes.tell_tree(opened.session)
        finally:
            self._mailbox.post(EndFrame(branch.reason or "stopped"))  # nothing is under way, whatever went wrong
        self._answer_all()

    def _load_progress(self, request: LoadRequest | OpenRequest, frame: ProgressFrame) -> None:
        if request is not self._waiting_load:
            raise Cancelled
        self._mailbox.post(replace(frame, task="load"))

    def _let_maps_go(self) -> None:
        if self._session is not None:
            self._session.let_maps_go()

    def _edit(self, edits: tuple[Edit, ...], session: engine.Session | RecordedRun | None) -> None:
        """``session``: whose passes were meant; those of a model that has come since are left alone."""
        if session is self._session:
            self._attempt("edit", partial(self._edit_now, edits))

    def _edit_now(self, edits: tuple[Edit, ...]) -> None:
        if self._session is None:
            raise EngineError("No model is loaded; open one first.")
        if edits != self._session.edits:
            self._session.set_edits(edits)
        self._mailbox.post(EditsFrame(edits))

    def _use_record(self) -> None:
        """Post what the record takes by now, too."""
        session = self._session
        if session is not None and session.record != self._record:
            session.set_record(self._record)
            self._mailbox.post(session.trace.use())

    def _run(self, request: RunRequest) -> None:
        if request is self._waiting_run:
            self._save_before()
        if not self._take(request):
            if self._waiting_run is None:  # stopped before it began, and answers were hurried away from for it
                self._answer_open()
            return
        if self._attempt("run", partial(self._begin, request)) == "done":
            self._let_save()
            outcome = self._attempt("run", self._steps)
            while outcome == "cancelled" and self._goes_elsewhere():
                outcome = self._attempt("run", self._steps_left)
            self._leave()
            self._use_record()
            reason = _REASONS.get(outcome, self._finish)
            self._saving.end(reason)
            self._changes.tell_tree(self._session)
            self._mailbox.post(EndFrame(reason))
        else:
            self._leave()
        self._answer_all()

    def _let_save(self) -> None:
        """From here on what is to be saved is asked for in the pass, what was wanted while the run began, too."""
        with self._lock:
            self._begun = True
            if (request := self._saving.wanted) is not None and self._gate is not None:
                self._saving.ask_in_pass(self._gate, request, self._save_later)

    def _take(self, request: RunRequest) -> bool:
        """Whether this is still the newest run that was asked for; if so the gate is made ready for it."""
        with self._lock:
            if request is not self._waiting_run:
                return False
            self._waiting_run, self._sampling, self._running = None, request.sampling, True
            self._halted = self._leaving = False
            if self._gate is not None:
                self._gate.reset()
                if self._arm is not None:
                    _move(self._gate, self._arm)
            return True

    def _begin(self, request: RunRequest) -> None:
        """Raises before anything of the old run is lost."""
        if self._session is None:
            raise EngineError("No model is loaded; open one first.")
        if request.prompt is None:
            self._begin_to_go_on(self._session, request)
            return
        prompt = self._session.begin(request.prompt, chat=request.chat)
        self._has_run = True
        self._changes.begin()
        self._saving.begin(Beside(request.max_new_tokens, request.chat))
        self._mailbox.post(RunFrame(tuple(prompt), request.max_new_tokens, request.chat))

    def _begin_to_go_on(self, session: engine.Session | RecordedRun, request: RunRequest) -> None:
        if not self._has_run:
            raise EngineError("There is no run that could go on; run a prompt first.")
        self._make_changes_now()  # those that came while it waited to begin
        session.check_room()
        most = self._saving.n_steps + request.max_new_tokens
        self._saving.beside = replace(self._saving.beside, max_new_tokens=most, reason="")
        self._mailbox.post(GoesOnFrame(most))

    def _goes_elsewhere(self) -> bool:
        """Whether the pass was cancelled to take the run elsewhere. It is there then, and the gate knows how it moves
        on."""
        with self._lock:
            if self._halted or self._hurried() or not self._leaving or self._gate is None:
                return False
            self._gate.reset()
            _move(self._gate, self._onward)
        while True:
            self._make_changes_now()
            with self._lock:
                if not self._changes.waiting:
                    self._leaving = False
                    break
        if (request := self._saving.wanted) is not None:  # it was let go with the pass, and is of the run as it is now
            self._saving.ask_in_pass(self._gate, request, self._save_later)
        return True

    def _make_changes(self) -> None:
        """While idle: whatever is wanted now."""
        if self._changes.waiting:
            self._make_changes_now()
            self._answer_all()

    def _make_changes_now(self) -> None:
        while (change := self._changes.next()) is not None:
            self._making = True
            outcome = self._attempt(change.task, partial(self._make, change))
            with self._lock:
                self._making = self._given_up = False
            if outcome == "cancelled":
                self._mailbox.post(CancelledFrame(change.task))

    def _make(self, change: Change) -> None:
        if self._session is None or not self._has_run:
            raise EngineError("There is no run that could be taken elsewhere; run a prompt first.")
        self._changes.make(self._session, change)

    def _check_hurry(self) -> None:
        """Between the passes of a long refill: what is wanted meanwhile does not wait for it, but for a run that is to
        go on from there."""
        run = self._waiting_run
        another = self._waiting_load is not None or (run is not None and run.prompt is not None)
        if another or self._quitting or self._given_up or (self._halted and self._running):
            raise Cancelled

    def _tell_refill(self, done: int, total: int) -> None:
        """Of a refill that takes so long that somebody wants to know."""
        if (now := time.monotonic()) - self._refill_told >= REFILL_TOLD_S:
            self._refill_told = now
            self._mailbox.post(
                ProgressFrame("back", "computing again what layers have let go of", done, total, "tokens")
            )

    def _steps_left(self) -> None:
        """Those that are left where the run was taken to, which may be at its end."""
        self._finish = self._saving.over
        if not self._finish:
            self._steps()

    def _steps(self) -> None:
        session, gate = self._session, self._gate
        assert session is not None, "a run has begun"
        assert gate is not None, "a session has a gate"
        session.sampling, self._finish = self._sampling, "limit"
        for step in session.steps(self._saving.n_left):
            frame = step.frame()
            self._saving.take(frame)
            self._changes.take(step, frame)
            self._mailbox.post(frame)
            self._finish = frame.finish or self._finish
            session.sampling = self._sampling
            self._use_record()
            self._answering.ask_all_in_pass(gate, always=False)

    def _leave(self) -> None:
        with self._lock:
            self._running = self._begun = False
        if self._gate is not None:
            self._gate.work_off()  # what came too late for the last pass
        self._answering.leave_pass()

    def _stopped(self, where: Where) -> None:
        """The gate calls this in the middle of the pass, each time the pass stops."""
        self._mailbox.post(where)
        if self._gate is not None:
            self._answering.ask_all_in_pass(self._gate, always=True)

    def _slowed(self, where: Where) -> None:
        """The gate calls this at each stage that a pace lets be seen."""
        self._mailbox.post(where)
        if self._gate is not None:
            self._answering.ask_all_in_pass(self._gate, always=False)

    def _answer_all(self) -> None:
        """The run is over: the watches once more, for the last step; newer commands that wait go first."""
        self._answer_open()
        self._commands.put(self._settle)

    def _settle(self) -> None:
        """Say so once nothing is left to answer."""
        if self._parked:
            self._commands.put(self._settle)
        else:
            self._mailbox.post(SettledFrame())

    def _answer_open(self) -> None:
        for inquiry in self._answering.inquiries.open():
            self._commands.put(partial(self._answer, inquiry))

    def _answer(self, inquiry: Inquiry) -> None:
        if not self._answering.inquiries.wanted(inquiry):
            return
        if isinstance(inquiry.question, OF_FILES):
            from engine import tensor_answers

            self._answer_in_turns(inquiry, tensor_answers.answering(inquiry.question))
        elif self._session is not None and (self._has_run or isinstance(inquiry.question, OF_MODELS)):
            self._answer_in_turns(inquiry, self._session.answering(inquiry.question))

    def _answer_in_turns(self, inquiry: Inquiry, work: Work) -> None:
        """A long map or tensor may take seconds: what was asked meanwhile does not wait for it."""
        if self._answering.answer_a_while(inquiry, work, self._hurried):
            self._parked += 1
            self._commands.put(partial(self._go_on_answering, inquiry, work))

    def _go_on_answering(self, inquiry: Inquiry, work: Work) -> None:
        self._parked -= 1
        self._answer_in_turns(inquiry, work)

    def _save_later(self, request: SaveRequest) -> None:
        self._commands.put(partial(self._save, request, self._session))

    def _save_before(self) -> None:
        """What is to be saved of the run that is there now: it would be too late behind another one."""
        if self._has_run and (wanted := self._saving.wanted) is not None:
            self._save(wanted, self._session)

    def _save(self, request: SaveRequest, session: engine.Session | RecordedRun | None) -> None:
        """``session``: whose run was meant."""
        if session is not None and session is self._session and self._has_run:
            self._attempt("save", partial(self._saving.save_now, session, request, lambda: self._quitting))
        elif request is self._saving.wanted:
            self._saving.cancel()  # another model or run has come meanwhile

    def _hurried(self) -> bool:
        """Whether something waits that matters more than an answer while idle."""
        return self._quitting or self._waiting_run is not None or self._waiting_load is not None


def _tray_of(branch: Branch) -> tuple[Edit, ...]:
    """The edits of a run as they were; of a file that only says which were made, those, switched off."""
    off = tuple(replace(edit, on=False) for edit in branch.interventions)
    return off if branch.tray is None else branch.tray


def _move(gate: engine.Gate, arm: Arm | None) -> None:
    if arm is None:
        gate.resume()
    elif arm == "pause":
        gate.pause()
    elif isinstance(arm, tuple):
        gate.run_to(*arm)
    else:
        gate.step(arm)


_REASONS: dict[Outcome, str] = {"cancelled": "stopped", "error": "error"}
