"""Waiting for something slow while the user may cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
POLL = 0.1  # seconds


def patiently(work: Callable[[], T], check: Callable[[], None], seconds: float = float("inf")) -> T:
    """Run ``work`` in a thread and return its result; ``check`` is called ten times a second and cancels by raising.

    After a cancel, or after ``seconds`` (TimeoutError), the thread is left to end by itself: ``work`` must have a
    timeout of its own.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while thread.is_alive():
        check()
        thread.join(POLL)
        if time.monotonic() > until and thread.is_alive():
            raise TimeoutError(f"no answer within {seconds:g} s")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
