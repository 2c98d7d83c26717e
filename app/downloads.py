"""Downloads, each in a thread of its own: network only, no torch, so the engine goes on meanwhile."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from threading import RLock, Thread
from typing import Literal

from app.mailbox import Mailbox
from app.notices import DownloadFrame
from engine.errors import AccessError, Cancelled, EngineError
from engine.frames import ProgressFrame

AT_ONCE = 2  # downloads share the line: more at once only make each of them late
SPEED_OVER_S = 5.0

Wish = Literal["", "pause", "cancel"]


@dataclass
class _Job:
    """One download. ``wish`` is what the user asked for meanwhile; its thread obeys with the next report.

    ``working``: the thread has not said yet how it ended. It may live on for a moment after that.
    """

    frame: DownloadFrame
    wish: Wish = ""
    thread: Thread | None = None
    working: bool = False
    arrived: deque[tuple[float, int]] = field(default_factory=deque)  # (seconds, bytes) of the last moments


class Downloads:
    """What is being downloaded; every change is a DownloadFrame in the mailbox. Methods may be called from any thread
    and return at once.

    Paused, a download keeps what arrived, also over the end of the program; cancelled, that is deleted.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._lock = RLock()
        self._jobs: dict[str, _Job] = {}
        self._closed = False

    @property
    def running(self) -> tuple[str, ...]:
        """The sources that are being downloaded now."""
        with self._lock:
            return tuple(source for source, job in self._jobs.items() if job.frame.state == "running")

    def start(self, source: str) -> None:
        """Begin, or go on with one that was paused or failed; one that is under way goes on."""
        with self._lock:
            job = self._jobs.get(source)
            if job is not None and job.working:
                job.wish = ""  # a pause that was not obeyed yet is taken back
                return
            self._jobs[source] = _Job(DownloadFrame(source, "waiting"))
            self._tell(self._jobs[source])
            self._next()

    def pause(self, source: str) -> None:
        self._ask_for(source, "pause")

    def cancel(self, source: str) -> None:
        """Stop it and delete what arrived; also one that an earlier run of the program left unfinished."""
        with self._lock:
            if source not in self._jobs:
                self._jobs[source] = _Job(DownloadFrame(source, "paused"))
        self._ask_for(source, "cancel")

    def close(self, seconds: float) -> bool:
        """Pause everything and wait for the threads; True if they ended in time."""
        with self._lock:
            self._closed = True
            for source in tuple(self._jobs):
                self._ask_for(source, "pause")
            threads = [job.thread for job in self._jobs.values() if job.thread is not None]
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # ---- the queue, under the lock ---------------------------------------------------------------------------

    def _ask_for(self, source: str, wish: Wish) -> None:
        with self._lock:
            job = self._jobs.get(source)
            if job is None:
                return
            if job.working:
                job.wish = "cancel" if job.wish == "cancel" else wish  # closing the program does not keep it
            elif wish == "cancel":
                self._begin(job, self._discarded)
            elif job.frame.state == "waiting":
                self._tell(job, state="paused")

    def _next(self) -> None:
        """Begin what waits, while there is room."""
        waiting = [job for job in self._jobs.values() if job.frame.state == "waiting"]
        for job in waiting[: max(0, AT_ONCE - len(self.running))]:
            if not self._closed:
                self._tell(job, state="running")
                self._begin(job, self._attempt)

    def _begin(self, job: _Job, work: Callable[[_Job], dict]) -> None:
        name = f"fluoroscope download {job.frame.source}"
        job.thread = Thread(target=self._run, args=(job, work), name=name, daemon=True)
        job.working, job.wish = True, ""
        job.thread.start()

    def _tell(self, job: _Job, **changes) -> None:
        job.frame = replace(job.frame, **changes)
        self._mailbox.post(job.frame)

    # ---- one download, in its thread -------------------------------------------------------------------------

    def _run(self, job: _Job, work: Callable[[_Job], dict]) -> None:
        ending = work(job)
        while not self._end(job, ending):
            ending = self._discarded(job)

    def _end(self, job: _Job, ending: dict) -> bool:
        """Say how it ended; False where it is to be discarded first. Whoever asks for more later begins anew."""
        with self._lock:
            if job.wish == "cancel" and ending["state"] in ("paused", "failed"):
                job.wish = ""
                return False
            if ending["state"] == "paused" and not job.wish and not self._closed:
                ending = {"state": "waiting"}  # the pause was taken back after it had been obeyed
            job.working = False
            self._tell(job, **ending)
            self._next()
        return True

    def _attempt(self, job: _Job) -> dict:
        """What the frame says at the end."""
        from engine.checkpoint.fetch import fetch

        try:
            fetched = fetch(job.frame.source, progress=partial(self._progress, job))
            return {"state": "done", "path": str(fetched.path), "text": fetched.origin, "speed": 0.0}
        except Cancelled:
            return {"state": "paused", "speed": 0.0}
        except AccessError as error:
            return {**_failed(job, error), "needs_token": True}
        except Exception as error:  # a mistake of ours must not leave the shelf waiting
            return _failed(job, error)

    def _discarded(self, job: _Job) -> dict:
        """What the frame says once all that arrived is deleted."""
        from engine.checkpoint.shelf import discard

        try:
            discard(job.frame.source)
            return {"state": "cancelled", "done": 0, "speed": 0.0}
        except Exception as error:
            return _failed(job, error)

    def _progress(self, job: _Job, frame: ProgressFrame) -> None:
        if job.wish:
            raise Cancelled
        if frame.text != job.frame.text:
            job.arrived.clear()  # what was there before another file's first byte did not come over the network
        speed = _speed(job.arrived, frame.done)
        self._tell(job, text=frame.text, done=frame.done, total=frame.total, speed=speed)


def _failed(job: _Job, error: Exception) -> dict:
    """What the frame says of an error; one that is a mistake of ours has its details."""
    if isinstance(error, EngineError):
        return {"state": "failed", "sentence": str(error), "speed": 0.0}
    sentence = f"The download of {job.frame.source} failed unexpectedly ({type(error).__name__}: {error})."
    return {"state": "failed", "sentence": sentence, "details": traceback.format_exc(), "speed": 0.0}


def _speed(arrived: deque[tuple[float, int]], done: int) -> float:
    """Bytes a second over the last moments; 0 before there are two of them."""
    now = time.monotonic()
    if arrived and done < arrived[-1][1]:
        arrived.clear()  # it began anew
    arrived.append((now, done))
    while now - arrived[0][0] > SPEED_OVER_S and len(arrived) > 2:
        arrived.popleft()
    seconds = now - arrived[0][0]
    return (done - arrived[0][1]) / seconds if seconds > 0 else 0.0


def left_s(frame: DownloadFrame) -> float | None:
    """Seconds until it is there at the present speed; None where that cannot be said."""
    return (frame.total - frame.done) / frame.speed if frame.speed > 0 and frame.total else None
