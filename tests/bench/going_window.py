"""The window's part of ``tests.bench.going``: a run, then pins from token to token and layer to layer, panel by panel.

Reads a job as JSON from stdin and writes milliseconds to stdout: by panel, for "token" and "layer".
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QApplication

from app.application import make_window
from app.command_line import Options
from app.window import Window
from engine.frames import ErrorFrame
from engine.settings import Sampling

SIZE = (1600, 1000)
PATIENCE_S = 300.0
PANELS = ("residual", "attention", "experts", "lens", "activations", "cache")


class Watcher:
    """Lets the window work until something holds; ends the process where the window reports an error."""

    def __init__(self, window: Window) -> None:
        self.window = window
        window.received.connect(self._look)

    def wait(self, held: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not held():
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 2)
            if time.monotonic() > end:
                raise SystemExit(f"Nothing came for {PATIENCE_S} s: {self.window.situation()}")

    def settle(self, seconds: float = 0.3) -> None:
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end and self.settled())

    def settled(self) -> bool:
        """Whether everything that was asked is answered, and shown."""
        return self.window.complete and not self.window.turns.waiting

    def _look(self, frame: object) -> None:
        if isinstance(frame, ErrorFrame):
            raise SystemExit(f"The window reports: {frame.sentence} {frame.details}")


def main() -> int:
    job = json.loads(sys.stdin.read())
    application = QApplication(["fluoroscope"])
    window = make_window(_options(job))
    watcher = Watcher(window)
    window.show()
    window.worker.start()
    watcher.wait(lambda: window.ready and window.context.run.model is not None)
    window.bar.prompt.setPlainText(job["text"])
    window.bar.tokens.setValue(job["tokens"])
    window.run_prompt()
    watcher.wait(lambda: window.context.run.ended is not None)
    figures = {_title(window, key): _panel(window, watcher, key, job["rounds"]) for key in PANELS}
    print(json.dumps(figures))
    sys.stdout.flush()
    window.close()
    application.processEvents()
    os._exit(0 if window.closed_in_time else 1)


def _panel(window: Window, watcher: Watcher, key: str, rounds: int) -> dict[str, list[float]]:
    """Another token in the same layer, another layer at the same token, each ``rounds`` times."""
    window.workspace.bring_up(key)
    watcher.settle()
    n, n_layers = window.context.run.n_read, window.context.run.model.n_layers
    figures: dict[str, list[float]] = {"token": [], "layer": []}
    for index in range(rounds):
        position = (n * (index + 1)) // (rounds + 2)
        figures["token"].append(_go(window, watcher, position=position))
        figures["layer"].append(_go(window, watcher, layer=(2 + index * 7) % n_layers))
    return figures


def _go(window: Window, watcher: Watcher, **where: int) -> float:
    """Milliseconds until all that is asked because of the pin is answered and painted."""
    began = time.perf_counter()
    window.context.cursor.pin(**where)
    watcher.wait(watcher.settled)
    QApplication.processEvents()  # paint
    took = (time.perf_counter() - began) * 1e3
    watcher.settle(0.05)
    return took


def _title(window: Window, key: str) -> str:
    return window.workspace.docks[key].panel.title()


def _options(job: dict[str, Any]) -> Options:
    return Options(
        model=job["model"],
        prompt=None,
        device="cpu",
        dtype="float32",
        threads=job["threads"],
        sampling=Sampling(greedy=True),
        sampling_given=frozenset({"greedy"}),
        size=SIZE,
        layout="explore",
    )


if __name__ == "__main__":
    sys.exit(main())
