"""What a test must not leave behind: threads, running timers, windows."""

from __future__ import annotations

import gc
import threading

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QApplication, QWidget


def settle() -> None:
    """Let Qt delete what was told to be deleted."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()
    gc.collect()


def threads() -> set[threading.Thread]:
    """The program's own threads that run now."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("fluoroscope")}


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
