"""Side c: the program itself, its window open and painting without a display, driven as by a user."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import QEvent, QEventLoop, QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QApplication

from app.application import make_window
from app.command_line import Options
from app.notices import SettledFrame
from engine.frames import AnswerFrame, EndFrame, ErrorFrame, ModelFrame, RunFrame, StepFrame
from engine.settings import Sampling
from tests.bench.endless import load_endless
from tests.bench.job import Job
from tests.bench.timing import round_of

TICK_MS = 5
PATIENCE_MS = 120_000  # how long nothing may come from the engine
REST_MS = 300
SIZE = (1600, 1000)


class Watcher(QObject):
    """Notes when frames are posted by the engine and received by the window, and when the window was first painted."""

    def __init__(self, window: Any) -> None:
        super().__init__(window)
        self.posted: list[tuple[float, object]] = []
        self.answers = 0
        self.shown = self.first_token = self.loaded = 0.0
        self.error = ""
        self.loop = QEventLoop()
        self._patience = QTimer(self)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._give_up)
        self._window = window
        self._post = window.mailbox.post
        window.mailbox.post = self._note_post
        window.received.connect(self._note_received)
        window.installEventFilter(self)

    def wait(self) -> None:
        """Until everything about a run is on screen."""
        self._patience.start()
        self.loop.exec()
        self._patience.stop()
        if self.error:
            raise SystemExit(self.error)
        QTimer.singleShot(REST_MS, self.loop.quit)  # the window times its own painting: not to be cut off in it
        self.loop.exec()

    @Slot()
    def _give_up(self) -> None:
        last = [type(frame).__name__ for _, frame in self.posted[-3:]]
        self.error = f"Nothing came for {PATIENCE_MS} ms: {self._window.situation()}, last posted: {last}"
        self.loop.quit()

    def _note_post(self, frame: object) -> None:
        """In the posting thread."""
        if isinstance(frame, (RunFrame, StepFrame, EndFrame)):
            self.posted.append((time.perf_counter(), frame))
        self._post(frame)

    @Slot(object)
    def _note_received(self, frame: object) -> None:
        if self._patience.isActive():
            self._patience.start()
        if isinstance(frame, ErrorFrame):
            self.error = f"The window reports: {frame.sentence} {frame.details}"
            self.loop.quit()
        elif isinstance(frame, AnswerFrame):
            self.answers += 1
        elif isinstance(frame, ModelFrame):
            self.loaded = frame.seconds
        elif isinstance(frame, StepFrame):
            self.first_token = self.first_token or time.time()
        elif isinstance(frame, SettledFrame):
            self.loop.quit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Paint:
            self.shown = time.time()
            watched.removeEventFilter(self)
        return False


class Ticks(QObject):
    """How long the window's thread leaves a 5 ms timer waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[float] = []
        self._before = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._before = time.perf_counter()
        self._timer.start(TICK_MS)

    def stop(self) -> None:
        self._timer.stop()

    @Slot()
    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._before)
        self._before = now


class WindowSide:
    """The window in the layout of the job. It opens as with --model and --prompt, on the beginning of the text."""

    def __init__(self, job: Job) -> None:
        self._home = tempfile.TemporaryDirectory()
        os.environ["XDG_CONFIG_HOME"] = self._home.name  # the user's own settings neither matter nor change
        self._job = job
        if job.endless:
            load_endless()
        self._application = QApplication(["fluoroscope"])
        self._window = make_window(_options(job))
        self._watcher = Watcher(self._window)
        self._window.show()
        QTimer.singleShot(0, self._window.worker.start)
        self._watcher.wait()

    def ready(self) -> dict[str, Any]:
        return {
            "load": self._watcher.loaded,
            "shown": self._watcher.shown - self._job.spawned,
            "first_token": self._watcher.first_token - self._job.spawned,
        }

    def warm(self, most: int | None = None) -> dict[str, Any]:
        """A short run; of nothing where only ``most`` tokens are wanted: the opening has run already."""
        if most is None:
            self._run(3)
        return {}

    def round(self, threads: int) -> dict[str, Any]:
        """Prefill and decode once; the worker has had its threads since it began."""
        assert threads == self._job.threads
        return self._run(self._job.tokens + 1)

    def ticks(self) -> dict[str, Any]:
        """A run like a round, in which the window's ticks are timed (which costs speed: apart from the rounds)."""
        ticks = Ticks()
        ticks.start()
        self._run(self._job.tokens + 1)
        ticks.stop()
        return {"gaps": ticks.gaps}

    def close(self) -> None:
        self._window.close()
        if not self._window.closed_in_time:
            os._exit(1)

    def _run(self, count: int) -> dict[str, Any]:
        watcher, bar = self._watcher, self._window.bar
        watcher.posted.clear()
        watcher.answers = 0
        bar.prompt.setPlainText(self._job.text)
        bar.tokens.setValue(count)
        self._window.run_prompt()
        watcher.wait()
        return self._figures() | {"answered": watcher.answers}

    def _figures(self) -> dict[str, Any]:
        posted = self._watcher.posted
        began, run = next((at, frame) for at, frame in posted if isinstance(frame, RunFrame))
        steps = [(at, frame) for at, frame in posted if isinstance(frame, StepFrame)]
        if len(run.prompt) != len(self._job.ids):
            raise SystemExit(f"The window read {len(run.prompt)} tokens and not {len(self._job.ids)}.")
        tokens, use = [frame.piece.id for _, frame in steps], steps[-1][1].record
        figures = round_of(began, [at for at, _ in steps], tokens, len(run.prompt))
        return figures | {"kept": use.memory + use.disk}


def _options(job: Job) -> Options:
    return Options(
        model=job.model,
        prompt=job.opening,
        tokens=2,
        device="cpu",
        dtype="float32",
        threads=job.threads,
        sampling=Sampling(greedy=True),
        size=SIZE,
        layout=job.layout,
    )
