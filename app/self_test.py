"""``--self-test``: the real window is driven from check to check, and what it shows is compared with what it must."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QTimer, QtMsgType, qInstallMessageHandler

from app.window import Window
from engine.frames import ErrorFrame, StepFrame

TICK_MS = 10
# What Qt says about a platform without real windows; whatever else it warns of fails the test.
HARMLESS = ("This plugin does not support propagateSizeHints", "This plugin does not support raise()")

Waiting = Generator[Callable[[], bool], None, None]


@dataclass(frozen=True)
class Check:
    """``work`` presses and looks; it yields what must become true before it goes on. AssertionError: it failed.

    ``seconds``: how long all of it may take on a slow machine.
    """

    name: str
    work: Callable[[Window], Waiting]
    seconds: float = 30.0


@dataclass
class Marks:
    """Seconds from the start of the process until something was on screen for the first time."""

    window: float | None = None
    token: float | None = None

    def text(self) -> str:
        return ", ".join(
            f"first {name} {seconds:.2f} s" if seconds is not None else f"no {name}"
            for name, seconds in (("window", self.window), ("token", self.token))
        )


@dataclass
class Complaints:
    """What Qt, the engine or the window complained about; the first fails the test."""

    sentences: list[str] = field(default_factory=list)

    def from_qt(self, kind: QtMsgType, context: object, text: str) -> None:
        if kind not in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg) and not any(known in text for known in HARMLESS):
            self.sentences.append(f"Qt: {text}")

    def from_frame(self, frame: object) -> None:
        if isinstance(frame, ErrorFrame):
            self.sentences.append(" ".join((frame.sentence, frame.details)).strip())


class SelfTest(QObject):
    """Ends the program: with 0 after every check held, with 1 after the first that did not."""

    def __init__(self, window: Window, checks: Iterable[Check]) -> None:
        super().__init__(window)
        self._window, self._checks = window, iter(checks)
        self._marks, self._complaints = Marks(), Complaints()
        self._check: Check | None = None
        self._steps: Waiting = iter(())  # type: ignore[assignment]
        self._awaited: Callable[[], bool] = lambda: True
        self._began = time.monotonic()
        self._n_held = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MS)
        window.received.connect(self._receive)
        window.installEventFilter(self)
        self._handler = qInstallMessageHandler(self._complaints.from_qt)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Paint:
            self._marks.window = process_age()
            watched.removeEventFilter(self)
        return False

    def _receive(self, frame: object) -> None:
        if isinstance(frame, StepFrame) and self._marks.token is None:
            self._marks.token = process_age()
        self._complaints.from_frame(frame)

    def _tick(self) -> None:
        """Go on as far as it goes without waiting."""
        try:
            while self._goes_on():
                pass
        except StopIteration:
            self._end(0)
        except Exception as error:  # whatever a check runs into, it did not hold
            self._fail(str(error) or type(error).__name__)

    def _goes_on(self) -> bool:
        """One piece of a check; False where something is waited for. StopIteration: no check is left."""
        assert not self._complaints.sentences, self._complaints.sentences[0]
        if self._check is None:
            self._check = next(self._checks)
            self._steps, self._awaited, self._began = self._check.work(self._window), lambda: True, time.monotonic()
        if not self._awaited():
            assert time.monotonic() - self._began < self._check.seconds, f"not within {self._check.seconds:.0f} s"
            return False
        self._awaited = next(self._steps, _held)
        if self._awaited is _held:
            self._tell("ok", self._check.name)
            self._check, self._n_held = None, self._n_held + 1
        return True

    def _tell(self, verdict: str, text: str) -> None:
        print(f"{verdict:<6}{time.monotonic() - self._began:6.2f} s  {text}", flush=True)

    def _fail(self, reason: str) -> None:
        name = self._check.name if self._check is not None else "between two checks"
        self._tell("FAILED", f"{name}: {reason}")
        self._end(1)

    def _end(self, code: int) -> None:
        self._timer.stop()
        self._window.received.disconnect(self._receive)
        qInstallMessageHandler(self._handler)
        print(self._marks.text(), flush=True)
        print(f"self-test {'FAILED' if code else 'passed'}: {self._n_held} checks held", flush=True)
        self._window.close()
        QCoreApplication.exit(code)


def _held() -> bool:
    """Stands for the end of a check."""
    return True


def process_age() -> float:
    """Seconds since this process began."""
    if sys.platform == "linux":  # to a hundredth of a second; what psutil gives there is rounded to whole ones
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    return time.time() - psutil.Process().create_time()
