"""Slow things that need no torch, each kind in a thread of its own: looking through folders, asking the hub."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from threading import Event, Lock, Thread

from app.mailbox import Mailbox
from engine.errors import Cancelled, EngineError
from engine.frames import ErrorFrame

Check = Callable[[], None]  # raises Cancelled when the result is not wanted any more
Post = Callable[[object], None]
Work = Callable[[Check, Post], None]


class Backstage:
    """One piece of work of a kind at a time: a newer one takes the place of the older, whose results are dropped.

    Methods may be called from any thread and return at once.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._lock = Lock()
        self._newest: dict[str, Event] = {}  # set: not wanted any more
        self._threads: set[Thread] = set()

    def do(self, kind: str, work: Work) -> None:
        """Begin ``work(check, post)``; an EngineError of it becomes an ErrorFrame of the task ``kind``."""
        unwanted = Event()
        thread = Thread(target=self._run, args=(kind, work, unwanted), name=f"fluoroscope {kind}", daemon=True)
        with self._lock:
            self._forget(kind)
            self._newest[kind] = unwanted
            self._threads = {other for other in self._threads if other.is_alive()} | {thread}
            thread.start()

    def cancel(self, kind: str) -> None:
        """What was begun of this kind posts nothing any more and ends soon."""
        with self._lock:
            self._forget(kind)

    def close(self, seconds: float) -> bool:
        """Cancel all and wait for the threads; True if they ended in time."""
        with self._lock:
            for kind in tuple(self._newest):
                self._forget(kind)
            threads = tuple(self._threads)
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _forget(self, kind: str) -> None:
        unwanted = self._newest.pop(kind, None)
        if unwanted is not None:
            unwanted.set()

    def _run(self, kind: str, work: Work, unwanted: Event) -> None:
        def check() -> None:
            if unwanted.is_set():
                raise Cancelled

        def post(frame: object) -> None:
            with self._lock:  # after a cancel, nothing of the old work may come
                check()
                self._mailbox.post(frame)

        try:
            work(check, post)
        except Cancelled:
            return
        except EngineError as error:
            self._fail(post, ErrorFrame(kind, str(error)))
        except Exception as error:  # a mistake of ours is told, and the program goes on
            sentence = f"Something unexpected went wrong ({type(error).__name__}: {error})."
            self._fail(post, ErrorFrame(kind, sentence, traceback.format_exc()))

    def _fail(self, post: Post, frame: ErrorFrame) -> None:
        try:
            post(frame)
        except Cancelled:
            return
