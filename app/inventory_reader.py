"""Headers of models in a thread of their own: no torch, so neither the window nor the engine waits for them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from threading import Lock, Thread
from typing import TYPE_CHECKING

from app.inquiries import Inquiries, Inquiry
from app.mailbox import Mailbox
from engine.errors import Cancelled, EngineError
from engine.frames import AnswerFrame, ErrorFrame, Listed
from engine.questions import AskInventory

if TYPE_CHECKING:
    from engine.checkpoint.inventory import Inventory


class InventoryReader:
    """Answers AskInventory, one at a time: of several that wait only the newest, and one that nobody wants any more is
    given up. What cannot be read is an answer too, with the sentence that says why.
    """

    def __init__(self, mailbox: Mailbox, inquiries: Inquiries) -> None:
        self._mailbox, self._inquiries = mailbox, inquiries
        self._lock = Lock()  # guards what follows
        self._waiting: Inquiry | None = None
        self._thread: Thread | None = None
        self._closed = False

    def read(self, inquiry: Inquiry) -> None:
        """Take it on, from any thread; returns at once."""
        with self._lock:
            self._waiting = inquiry
            if self._thread is None and not self._closed:
                self._thread = Thread(target=self._work, name="fluoroscope headers", daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Nothing is read any more, for good."""
        with self._lock:
            self._closed, self._waiting = True, None

    def join(self, seconds: float) -> bool:
        """Wait for the thread; True if it has ended."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def _work(self) -> None:
        while (inquiry := self._next()) is not None:
            self._answer(inquiry)

    def _next(self) -> Inquiry | None:
        with self._lock:
            inquiry, self._waiting = self._waiting, None
            if inquiry is None:
                self._thread = None
            return inquiry

    def _check(self, inquiry: Inquiry) -> None:
        if self._closed or not self._inquiries.wanted(inquiry):
            raise Cancelled

    def _answer(self, inquiry: Inquiry) -> None:
        assert isinstance(inquiry.question, AskInventory)
        source = inquiry.question.source
        try:
            answer = listed(source, lambda: self._check(inquiry))
        except Cancelled:
            return
        except EngineError as error:
            answer = Listed(source, None, sentence=str(error))
        except Exception as error:  # the thread must outlive every mistake
            sentence = f"The headers of {source} could not be read ({type(error).__name__}: {error})."
            self._mailbox.post(ErrorFrame("headers", sentence, traceback.format_exc()))
            answer = Listed(source, None, sentence=sentence)
        if not self._closed and self._inquiries.settle(inquiry):
            self._mailbox.post(AnswerFrame(inquiry.key, inquiry.ticket, 0, answer))


def listed(source: str, check: Callable[[], None]) -> Listed:
    """The inventory with its two outlines. Raises EngineError, and what ``check`` raises."""
    from engine.checkpoint.outline import by_component, by_layer

    found = read_inventory(source, check)
    check()
    layers = by_layer(found.entries)
    check()
    return Listed(source, found, layers, by_component(found.entries))


def read_inventory(source: str, check: Callable[[], None]) -> Inventory:
    """What the model's files hold; those on the hub where the model is not on this machine. Raises EngineError."""
    from engine.checkpoint.inventory import inventory
    from engine.checkpoint.remote import remote_inventory
    from engine.checkpoint.shelf import cached
    from engine.checkpoint.source import hub_id, resolve

    found = resolve(source)
    hub = found.hub if found.entry is None else hub_id(found.entry.hub)
    if hub is not None and found.path is None and cached(found.text) is None:
        return remote_inventory(hub, check)
    return inventory(source, check)
