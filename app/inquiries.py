"""What panels ask of the engine: standing and single questions by key, each with a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from threading import Lock

from engine.questions import OF_HEADERS, Question


@dataclass(frozen=True)
class Inquiry:
    """One question of one panel. A newer one of the same key has a larger ticket, and replaces it."""

    key: str
    ticket: int
    question: Question
    standing: bool  # a watch: asked again after every pass and at every stop


class Inquiries:
    """The newest inquiry of each key; safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tickets = count(1)
        self._current: dict[str, Inquiry] = {}

    def put(self, key: str, question: Question, standing: bool) -> Inquiry:
        """Take a question in; an older one of the same key is forgotten."""
        with self._lock:
            inquiry = Inquiry(key, next(self._tickets), question, standing)
            self._current[key] = inquiry
        return inquiry

    def drop(self, key: str) -> None:
        with self._lock:
            self._current.pop(key, None)

    def clear(self) -> None:
        """Another model: questions about the old one mean nothing now."""
        with self._lock:
            self._current.clear()

    def settle(self, inquiry: Inquiry) -> bool:
        """An answer is there: True if it is still wanted. A single question is then done with."""
        with self._lock:
            if self._current.get(inquiry.key) is not inquiry:
                return False
            if not inquiry.standing:
                del self._current[inquiry.key]
            return True

    def wanted(self, inquiry: Inquiry) -> bool:
        with self._lock:
            return self._current.get(inquiry.key) is inquiry

    def questions(self) -> tuple[Question, ...]:
        """What is wanted now."""
        with self._lock:
            return tuple(one.question for one in self._current.values())

    def open(self) -> tuple[Inquiry, ...]:
        """Every watch, and every single question without an answer yet; not those that another thread answers."""
        with self._lock:
            return tuple(one for one in self._current.values() if not isinstance(one.question, OF_HEADERS))
