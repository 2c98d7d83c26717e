"""How inquiries get their answers: in slices inside a running pass, or at once while the engine is idle."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING

from app.inquiries import Inquiries, Inquiry
from app.mailbox import Mailbox
from engine.errors import Cancelled, EngineError, NotNow, PositionError
from engine.frames import Answer, AnswerFrame, ErrorFrame, Unreadable
from engine.questions import BETWEEN_RUNS, OF_FILES, AskOn, Question

if TYPE_CHECKING:
    import engine
    from engine.gate import Answering as Work


TURN_S = 0.02  # after so long another question has its turn


class Answering:
    """Asks the engine what panels want to know, and posts the answers that are still wanted when they come."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.inquiries = Inquiries()
        self._mailbox = mailbox
        self._lock = RLock()
        self._asked: dict[str, tuple[Inquiry, Future]] = {}

    def ask_in_pass(self, gate: engine.Gate, inquiry: Inquiry) -> None:
        """Hand the question to the pass under way; an older one of the same key is cancelled.

        One that cannot be answered in slices stays open until the run has ended; one about another branch, until a pass
        stops before it computes anything.
        """
        with self._lock:
            before = self._asked.get(inquiry.key)
            if before is not None and before[0] is inquiry and not before[1].done():
                return  # the engine is behind: the answer that is under way will do
            if before is not None:
                before[1].cancel()
            if _must_wait(gate, inquiry.question):
                return
            future = gate.ask(inquiry.question, partial(self._deliver_part, inquiry), inquiry.key)
            self._asked[inquiry.key] = (inquiry, future)
        future.add_done_callback(partial(self._came, inquiry))

    def ask_all_in_pass(self, gate: engine.Gate, always: bool) -> None:
        """Every open inquiry; unless ``always``, not those whose last answer the window has not taken yet."""
        for inquiry in self.inquiries.open():
            if always or not self._mailbox.holds_answer(inquiry.key):
                self.ask_in_pass(gate, inquiry)

    def leave_pass(self) -> None:
        """The pass is over: what it has not answered is cancelled, and must be answered while idle."""
        with self._lock:
            asked, self._asked = self._asked, {}
        for _, future in asked.values():
            future.cancel()

    def answer_a_while(self, inquiry: Inquiry, work: Work, hurry: Callable[[], bool]) -> bool:
        """In the engine's thread, while idle. Given up between two slices once nobody wants it, or on ``hurry``.

        True where there is more to do, after others have had their turn.
        """
        end = time.monotonic() + TURN_S
        try:
            while self.inquiries.wanted(inquiry) and not hurry():
                self._deliver_part(inquiry, next(work))
                if time.monotonic() >= end:
                    return True
            work.close()
        except StopIteration as done:
            self._deliver(inquiry, done.value)
        except Exception as error:
            self._failed(inquiry, error)
        return False

    def waiting(self) -> bool:
        """Whether a question of the pass under way has no answer yet."""
        with self._lock:
            return any(not future.done() for _, future in self._asked.values())

    def _came(self, inquiry: Inquiry, future: Future) -> None:
        try:
            self._deliver(inquiry, future.result())
        except (CancelledError, Cancelled, NotNow):
            return
        except Exception as error:
            self._failed(inquiry, error)

    def _deliver(self, inquiry: Inquiry, answer: Answer) -> None:
        if self.inquiries.settle(inquiry):
            self._mailbox.post(AnswerFrame(inquiry.key, inquiry.ticket, 0, answer))

    def _deliver_part(self, inquiry: Inquiry, part: Answer | None) -> None:
        """An answer that is not whole yet, where the work has one to show; the whole one is still awaited."""
        if part is not None and self.inquiries.wanted(inquiry):
            self._mailbox.post(AnswerFrame(inquiry.key, inquiry.ticket, 0, part, whole=False))

    def _failed(self, inquiry: Inquiry, error: Exception) -> None:
        """A watch that fails is dropped, so that it does not fail again after every pass."""
        if isinstance(error, Cancelled) or not self.inquiries.settle(inquiry):
            return
        self.inquiries.drop(inquiry.key)
        if isinstance(error, PositionError):  # a click on a run that a shorter one has just replaced means nothing now
            return
        known = isinstance(error, EngineError)
        details = "" if known else "".join(traceback.format_exception(error))
        sentence = str(error) if known else f"A figure could not be computed ({type(error).__name__}: {error})."
        self._mailbox.post(ErrorFrame("question", sentence, details))
        if isinstance(inquiry.question, OF_FILES):  # whoever waits for it says so, too
            answer = Unreadable(inquiry.question.tensor, sentence)
            self._mailbox.post(AnswerFrame(inquiry.key, inquiry.ticket, 0, answer))


def _must_wait(gate: engine.Gate, question: Question) -> bool:
    """Whether this cannot be answered where the pass stands."""
    if not isinstance(question, AskOn):
        return isinstance(question, BETWEEN_RUNS)
    where = gate.where
    return where.state != "paused" or where.stage != "start" or isinstance(question.question, BETWEEN_RUNS)
