"""Windows with a session of their own, in this process and in others: begun, run, closed as a user does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.beginning import begin
from app.command_line import parse
from app.mailbox import Mailbox
from app.preferences import Preferences
from app.slot import take_slot
from app.window import Window
from app.worker import Worker
from engine.settings import Sampling
from tests.app import leaks

WAIT = 60_000
Start = Callable[..., Window]


def made(state: Path, first_model: Path, panels, *words: str) -> Window:
    """As the command line says; without words it opens what it opened last, at first ``first_model``."""
    slot = take_slot(state)
    options = replace(parse(list(words)), sampling=Sampling(greedy=True))
    if "model" not in options.given:
        options = replace(options, model=str(first_model))  # in the place of the model that is built in
    beginning = begin(slot, options)
    box = Mailbox()
    return Window(Worker(box, threads=1), box, Preferences(), beginning.options, panels, beginning)


def close(window: Window) -> None:
    """As the user does it, who is asked nothing."""
    window.end()
    assert window.closed_in_time
    window.deleteLater()
    leaks.settle()


def run(window: Window, qtbot, prompt: str = "hello", tokens: int = 4) -> None:
    window.bar.prompt.setPlainText(prompt)
    window.bar.tokens.setValue(tokens)
    window.run_prompt()
    qtbot.waitUntil(lambda: bool(window.context.run.steps) and window.context.run.ended is not None, timeout=WAIT)


def text_of(window: Window) -> str:
    return "".join(piece.text for piece in window.context.run.pieces)


def arrived(window: Window, n_tokens: int) -> bool:
    return window.context.run.ended is not None and window.context.run.n_tokens == n_tokens


def environment(state: Path) -> dict[str, str]:
    """Of a program that keeps its session there, and settings beside it."""
    settings = {"XDG_CONFIG_HOME": str(state.parent / "config"), "QT_QPA_PLATFORM": "offscreen"}
    return {**os.environ, **settings, "FLUOROSCOPE_STATE": str(state), "OMP_NUM_THREADS": "1"}


def program(state: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "app.main", *words]
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may be such as outlive their terminal
    try:
        return subprocess.Popen(command, env=environment(state), stderr=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGHUP, ignored)


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, "the program has ended"
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)
