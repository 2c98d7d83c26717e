"""The program, started as by ``fluoroscope`` without arguments; presses Run, and notes when what is on screen."""

from __future__ import annotations

import json
import sys
import time

from PySide6.QtCore import QEvent, QObject, QTimer, Slot

from app import application
from app.beginning import Beginning
from app.command_line import Options
from app.main import main as program
from app.notices import ReadyFrame
from app.window import Window
from engine.frames import ErrorFrame, ModelFrame, StepFrame
from tests.bench.job import START_MARKS


class Clock(QObject):
    """Notes the marks, and does what a user does who wastes no time. ``marks``: seconds since the process started."""

    def __init__(self, started: float) -> None:
        super().__init__()
        self._started = started
        self.marks: dict[str, float] = {}
        self.complaint = ""
        self.note("imported")

    def watch(self, window: Window) -> None:
        self._window = window
        window.received.connect(self._received)
        window.installEventFilter(self)

    def note(self, mark: str) -> None:
        """The first time counts."""
        self.marks.setdefault(mark, time.time() - self._started)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Paint:
            self.note("shown")
            watched.removeEventFilter(self)
        return False

    @Slot(object)
    def _received(self, frame: object) -> None:
        if isinstance(frame, ErrorFrame):
            self._give_up(f"{frame.sentence} {frame.details}")
        elif isinstance(frame, ReadyFrame):
            self.note("engine")
        elif isinstance(frame, ModelFrame):
            QTimer.singleShot(0, self._run)  # after the paint events that it caused
        elif isinstance(frame, StepFrame):
            QTimer.singleShot(0, self._end)

    @Slot()
    def _run(self) -> None:
        self.note("model")
        if self._window.bar.prompt.toPlainText():
            self._window.actions_by_name["run"].trigger()
        else:
            self._give_up("No prompt lies ready.")

    @Slot()
    def _end(self) -> None:
        self.note("first_token")
        self._window.close()

    def _give_up(self, complaint: str) -> None:
        self.complaint = complaint
        self._window.close()


def main() -> int:
    """Run the program and print the marks as JSON; 1 where it does not come to a token."""
    clock = Clock(float(sys.argv[1]))
    make_window = application.make_window

    def watched(options: Options, beginning: Beginning | None = None) -> Window:
        window = make_window(options, beginning)
        clock.watch(window)
        return window

    application.make_window = watched
    code = program([])
    print(json.dumps(clock.marks))
    print(clock.complaint, file=sys.stderr)
    return code or int(set(clock.marks) != set(START_MARKS))


if __name__ == "__main__":
    sys.exit(main())
