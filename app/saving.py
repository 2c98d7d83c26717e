"""Saving the run of the worker's session: in slices inside its passes, or at once while the engine is idle. No torch.

What is saved is the run up to its last finished step, though it may go on meanwhile.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from app.mailbox import Mailbox
from app.notices import CancelledFrame, SavedFrame
from engine.errors import EngineError
from engine.frames import ErrorFrame, ProgressFrame, Saved, StepFrame
from engine.questions import AskSaved
from engine.run_file_facts import Beside, Compared, Mark

if TYPE_CHECKING:
    import engine
    from engine.recorded_run import RecordedRun

TASK, QUIET_TASK = "save", "autosave"


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """``thumbnail``: a PNG picture, or nothing. ``quiet``: nobody has asked for it, so only its end is told."""

    path: Path
    thumbnail: bytes = b""
    quiet: bool = False

    @property
    def task(self) -> str:
        return QUIET_TASK if self.quiet else TASK


class Saving:
    """One save at a time; a newer one takes the place of one that is under way."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._lock = Lock()  # guards what follows
        self._wanted: SaveRequest | None = None
        self._future: Future | None = None
        self._steps: list[StepFrame] = []  # of the run as it stands; a new run has a list of its own
        self.beside = Beside()
        self.others: Mapping[int, StepFrame] = {}  # frames of the steps of all branches; of the engine's thread
        self._marks: tuple[tuple[Mark, ...], tuple[Mark, ...]] = ((), ())  # notes and bookmarks
        self._compared: Compared | None = None

    # ---- the run, in the engine's thread -----------------------------------------------------------------------

    def begin(self, beside: Beside, steps: tuple[StepFrame, ...] = ()) -> None:
        """Another run: what it was begun with, and the steps that it has already."""
        self._steps, self.beside, self._marks = list(steps), beside, (beside.notes, beside.bookmarks)

    def take(self, frame: StepFrame) -> None:
        """A step of it is done."""
        self._steps.append(frame)

    @property
    def n_steps(self) -> int:
        return len(self._steps)

    @property
    def n_left(self) -> int:
        """How many more tokens it is to have."""
        return max(0, self.beside.max_new_tokens - self.n_steps)

    @property
    def over(self) -> str:
        """Why it cannot or should not go on behind its last token; "" where it can."""
        finish = self._steps[-1].finish if self._steps else None
        return finish if finish in ("end of sequence", "full context") else ""

    def end(self, reason: str) -> None:
        """It has ended, for the time being."""
        self.beside = replace(self.beside, reason=reason)

    # ---- commands, from any thread -----------------------------------------------------------------------------

    def set_marks(self, notes: tuple[Mark, ...], bookmarks: tuple[Mark, ...]) -> None:
        """What somebody has noted of the run by now; it goes into the files from now on."""
        self._marks = (notes, bookmarks)

    def set_compared(self, compared: Compared | None) -> None:
        """Which branches are compared by now."""
        self._compared = compared

    def want(self, request: SaveRequest) -> None:
        with self._lock:
            before, self._wanted = self._future, request
        if before is not None:
            before.cancel()

    def cancel(self) -> None:
        with self._lock:
            cancelled, self._wanted = self._wanted, None
            future = self._future
        if future is not None:
            future.cancel()
        if cancelled is not None:
            self._mailbox.post(CancelledFrame(cancelled.task))

    @property
    def wanted(self) -> SaveRequest | None:
        """The one that is not done yet."""
        return self._wanted

    def ask_in_pass(self, gate: engine.Gate, request: SaveRequest, later: Callable[[SaveRequest], None]) -> None:
        """Let the pass under way save between its layers; ``later`` is called if it ends without having done so."""
        future = gate.ask(self._question(request), partial(self._moved, request), TASK)
        with self._lock:
            self._future = future
        future.add_done_callback(partial(self._came, request, later))

    # ---- the engine's thread -----------------------------------------------------------------------------------

    def save_now(self, session: engine.Session | RecordedRun, request: SaveRequest, hurry: Callable[[], bool]) -> None:
        """While idle; given up when nobody wants it any more, or on ``hurry``."""
        if request is not self._wanted:
            return
        work = session.answering(self._question(request))
        try:
            while request is self._wanted and not hurry():
                self._moved(request, next(work))
            work.close()
        except StopIteration as done:
            self._done(request, done.value)
        except Exception as error:  # whoever waits for it is told, whatever went wrong
            self._failed(request, error)

    def _question(self, request: SaveRequest) -> AskSaved:
        notes, bookmarks = self._marks
        beside = replace(
            self.beside, thumbnail=request.thumbnail, notes=notes, bookmarks=bookmarks, compared=self._compared
        )
        return AskSaved(str(request.path), self._steps, beside, self.others)

    def _moved(self, request: SaveRequest, part: object) -> None:
        if isinstance(part, Saved) and request is self._wanted and not request.quiet:
            self._mailbox.post(ProgressFrame(TASK, f"saving {request.path.name}", part.done, part.size))

    def _came(self, request: SaveRequest, later: Callable[[SaveRequest], None], future: Future) -> None:
        try:
            self._done(request, future.result())
        except CancelledError:
            if request is self._wanted:  # the pass was cancelled, not the saving
                later(request)
        except Exception as error:
            self._failed(request, error)

    def _done(self, request: SaveRequest, answer: Saved) -> None:
        if self._settle(request):
            self._mailbox.post(SavedFrame(answer.path, answer.size, answer.seconds, request.quiet))

    def _failed(self, request: SaveRequest, error: Exception) -> None:
        if not self._settle(request):
            return
        known = isinstance(error, EngineError)
        sentence = str(error) if known else f"The run could not be saved ({type(error).__name__}: {error})."
        details = "" if known else "".join(traceback.format_exception(error))
        self._mailbox.post(ErrorFrame(request.task, sentence, details))

    def _settle(self, request: SaveRequest) -> bool:
        """Whether this is still the one that is wanted; it is done with then."""
        with self._lock:
            if request is not self._wanted:
                return False
            self._wanted = self._future = None
            return True
