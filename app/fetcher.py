"""Downloads in a thread of their own: network only, no torch, so the engine goes on meanwhile."""

from __future__ import annotations

import traceback
from threading import Event, Thread

from app.mailbox import Mailbox
from app.notices import CancelledFrame
from engine.errors import Cancelled, EngineError
from engine.frames import ErrorFrame, FetchFrame, ProgressFrame


class Fetcher:
    """Fetches one model at a time; progress, the end and errors go to the mailbox as frames of the task "fetch"."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._cancel = Event()
        self._thread: Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def fetch(self, name: str) -> None:
        """Start fetching ``name``; refused with an ErrorFrame while another fetch is under way."""
        if self.busy:
            self._mailbox.post(ErrorFrame("fetch", "Another download is under way; wait for it or cancel it first."))
            return
        self._cancel = Event()
        self._thread = Thread(target=self._work, args=(name, self._cancel), name="fluoroscope fetch", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon; what was downloaded stays, so that the next fetch resumes."""
        self._cancel.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread; True if it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.busy

    def _work(self, name: str, cancel: Event) -> None:
        try:
            self._mailbox.post(self._fetch(name, cancel))
        except Cancelled:
            self._mailbox.post(CancelledFrame("fetch"))
        except EngineError as error:
            self._mailbox.post(ErrorFrame("fetch", str(error)))
        except Exception as error:
            sentence = f"The download of {name} failed unexpectedly: {error}."
            self._mailbox.post(ErrorFrame("fetch", sentence, traceback.format_exc()))

    def _fetch(self, name: str, cancel: Event) -> FetchFrame:
        from engine.checkpoint.fetch import fetch

        def progress(frame: ProgressFrame) -> None:
            if cancel.is_set():
                raise Cancelled
            self._mailbox.post(frame)

        fetched = fetch(name, progress=progress)
        return FetchFrame(fetched.name, str(fetched.path), fetched.origin)
