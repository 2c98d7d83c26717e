"""``--screenshot``: wait until what was asked for is on screen, complete, and write it as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from app.errand import Errand
from app.export import atomically, png_bytes
from app.window import Window
from engine.frames import ErrorFrame

SETTLE_MS = 150  # after the last answer: layouts and paint events that it caused
PATIENCE_MS = 300_000  # without any frame for so long, something hangs


class Screenshot(QObject):
    """Ends the program: with 0 after the file was written, with 1 and one sentence on stderr otherwise."""

    def __init__(self, window: Window, errand: Errand, path: Path) -> None:
        super().__init__(window)
        self._window, self._path = window, path
        self._arrived = False
        self._settle = self._timer(SETTLE_MS, self._take)
        self._patience = self._timer(PATIENCE_MS, self._give_up)
        self._patience.start()
        errand.arrived.connect(self._arrive)
        errand.failed.connect(self._fail)
        window.received.connect(self._look)

    def _timer(self, milliseconds: int, slot) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer

    def _arrive(self) -> None:
        self._arrived = True
        self._settle.start()

    def _look(self, frame: object) -> None:
        self._patience.start()
        if isinstance(frame, ErrorFrame):
            self._fail(frame.sentence)
        elif self._arrived:
            self._settle.start()

    def _take(self) -> None:
        if not self._window.complete:
            return  # the next answer starts the clock again
        try:
            atomically(self._path.resolve(), png_bytes(self._window.grab().toImage()))
        except OSError as error:
            self._fail(f"The picture {self._path} could not be written: {error.strerror or error}.")
            return
        self._end(0)

    def _give_up(self) -> None:
        self._fail("The picture was given up because nothing happened for five minutes; try fewer tokens.")

    def _fail(self, sentence: str) -> None:
        print(f"fluoroscope: {sentence}", file=sys.stderr)
        self._end(1)

    def _end(self, code: int) -> None:
        self._window.received.disconnect(self._look)
        self._settle.stop()
        self._patience.stop()
        self._window.close()
        QCoreApplication.exit(code)
