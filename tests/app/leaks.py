"""What a test must not leave behind: threads, running timers, windows."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QApplication, QWidget

SECONDS = 2.0


def settle() -> None:
    """Let Qt delete what was told to be deleted."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()
    gc.collect()


def threads() -> set[threading.Thread]:
    """The program's own threads that run now."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("fluoroscope")}


def let_end(threads: Iterable[threading.Thread]) -> None:
    """One that has been told to end, and waits for a server's answer, gets that: nothing can end it sooner."""
    for thread in threads:
        thread.join(SECONDS)


def top_levels() -> set[QWidget]:
    return set(QApplication.topLevelWidgets())


def active_timers() -> list[QTimer]:
    """Timers that run now, of every object that Python knows (isinstance would wake lazy objects: type does not)."""
    return [found for found in gc.get_objects() if issubclass(type(found), QTimer) and _runs(found)]


def told(timer: QTimer) -> str:
    """Which one it is."""
    return f"every {timer.interval()} ms, of {timer.parent()!r}"


def _runs(timer: QTimer) -> bool:
    try:
        return timer.isActive()
    except RuntimeError:  # its C++ side is gone: it cannot run
        return False
