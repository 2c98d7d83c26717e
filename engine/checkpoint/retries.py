"""Trying again where a server is busy or a connection was lost, while the user may cancel."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar

from engine.checkpoint.patience import POLL
from engine.errors import NetworkError

WAITS = (1.0, 2.0, 4.0)  # seconds before the second, third and fourth try
LONGEST_WAIT = 60.0  # seconds that are waited because a server asks for it
ADVANCE = 2**20  # bytes: after so many more the tries are counted anew

T = TypeVar("T")
Say = Callable[[str], None]  # what is being waited for; raising it cancels


class Transient(NetworkError):  # noqa: N818
    """It may work in a moment. ``notice`` is what is said meanwhile, before the seconds; ``asked``: seconds that the
    server asks to wait, None where it names none."""

    def __init__(self, sentence: str, notice: str, asked: float | None = None) -> None:
        super().__init__(sentence)
        self.notice, self.asked = notice, asked


def persistently(work: Callable[[], T], say: Say, there: Callable[[], int] = lambda: 0) -> T:
    """The result of ``work``, which is tried again after a Transient error; ``there`` counts the bytes it has so far.

    Raises the last Transient error where it does not get better, or where the server asks to wait for too long.
    """
    tries, before = 0, there()
    while True:
        try:
            return work()
        except Transient as error:
            if there() - before >= ADVANCE:
                tries, before = 0, there()
            if tries >= len(WAITS) or (error.asked or 0) > LONGEST_WAIT:
                raise
            _wait(WAITS[tries] if error.asked is None else error.asked, error.notice, say)
        tries += 1


def _wait(seconds: float, notice: str, say: Say) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        say(f"{notice} {math.ceil(left)} s")
        time.sleep(min(POLL, left))


class Fields(Protocol):
    """The headers of an answer, in any letter case."""

    def get(self, name: str, /) -> str | None: ...


def asked_wait(headers: Fields) -> float | None:
    """Seconds that an answer asks to wait: Retry-After (RFC 9110, a number or a date), or the reset of RateLimit."""
    text = (headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        reset = re.search(r"\bt=(\d{1,9})\b", headers.get("RateLimit") or "")
        return float(reset[1]) if reset else None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
