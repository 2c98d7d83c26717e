"""The hand-over from the engine's threads to the window: events are never dropped, pictures are latest wins.

No Qt here: the window passes a callback that only says "there is something new".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from threading import Lock

from app.notices import DownloadFrame
from app.shelf import ShelfFrame
from engine.breakpoints import HitFrame
from engine.frames import AnswerFrame, ProgressFrame, Where


class Mailbox:
    """Frames in the order of their posting. Of frames with the same slot only the newest is kept.

    ``wake`` is called, in the posting thread, each time the box goes from empty to not empty. Size is bounded: one
    frame per slot, plus events, of which a run posts one per token.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self._wake = wake
        self._lock = Lock()
        self._frames: dict[tuple, object] = {}
        self._numbers = count()

    def listen(self, wake: Callable[[], None] | None) -> None:
        """Replace the callback; it is called at once if something already waits."""
        with self._lock:
            self._wake, waiting = wake, bool(self._frames)
        if wake is not None and waiting:
            wake()

    def post(self, frame: object) -> None:
        """Put a frame in, from any thread."""
        with self._lock:
            was_empty = not self._frames
            slot = slot_of(frame) or ("event", next(self._numbers))
            self._frames.pop(slot, None)  # so that the newer one stands last: order is what the window relies on
            self._frames[slot] = frame
            wake = self._wake if was_empty else None
        if wake is not None:
            wake()

    def drain(self) -> list[object]:
        """Take everything out, oldest first."""
        with self._lock:
            frames, self._frames = list(self._frames.values()), {}
        return frames

    def holds_answer(self, key: str) -> bool:
        """Whether an answer for this key still waits: the window is behind, a newer one need not be computed."""
        with self._lock:
            return ("answer", key) in self._frames


def slot_of(frame: object) -> tuple | None:
    """The slot in which a newer frame replaces an older one; None for events, which are never dropped."""
    rule = _SLOTS.get(type(frame))
    return rule(frame) if rule is not None else None


_SLOTS: dict[type, Callable] = {
    Where: lambda frame: ("where",),
    ProgressFrame: lambda frame: ("progress", frame.task),
    AnswerFrame: lambda frame: ("answer", frame.key),
    DownloadFrame: lambda frame: ("download", frame.source),
    ShelfFrame: lambda frame: ("shelf",),
    HitFrame: lambda frame: None if frame.stops else ("hit", frame.number),  # else only the count is new
}
