"""Qt's side of the start: the application, the window, the way out."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType

from PySide6.QtCore import QSocketNotifier, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import resources
from app.command_line import Options, program_version
from app.errand import Errand
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.screenshot import Screenshot
from app.window import Window
from app.worker import Worker
from engine.frames import ErrorFrame


def run_application(options: Options) -> int:
    """Show the window until it is closed; the exit code."""
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    application = QApplication(sys.argv[:1])
    application.setApplicationName("fluoroscope")
    application.setApplicationDisplayName("Fluoroscope")
    application.setApplicationVersion(program_version())
    application.setWindowIcon(QIcon(str(resources.path("icons/fluoroscope.svg"))))
    window = make_window(options)
    sys.excepthook = partial(show_exception, window)
    with closing_on_interrupt(window.close):
        window.show()
        QTimer.singleShot(0, window.worker.start)  # the window is on screen before torch is imported
        code = application.exec()
    leave(code, window.closed_in_time)
    return code


def make_window(options: Options) -> Window:
    """The window with its worker (not started yet), and what the command line asked for."""
    if options.verb == "self-test":
        return _tested_window(options)
    mailbox = Mailbox()
    window = Window(Worker(mailbox, options.threads), mailbox, Preferences(options.screenshot is None), options, PANELS)
    errand = Errand(window, options)
    if options.screenshot is not None:
        Screenshot(window, errand, options.screenshot)
    return window


def _tested_window(options: Options) -> Window:
    """The window, driven from check to check; it neither reads settings nor keeps any."""
    from app import self_checks
    from app.self_test import SelfTest

    mailbox = Mailbox()
    comparable = self_checks.options(options)
    window = Window(Worker(mailbox, options.threads), mailbox, Preferences(kept=False), comparable, PANELS)
    SelfTest(window, self_checks.checks(window))
    return window


def leave(code: int, closed_in_time: bool) -> None:
    """A thread that still computes would crash in the interpreter's farewell: then leave without one."""
    if not closed_in_time:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def show_exception(
    window: Window, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A mistake in the window's own code: told like any other error, in the window, or by ending a screenshot."""
    sentence = f"Something unexpected went wrong in the window ({kind.__name__}: {error})."
    window.receive([ErrorFrame("window", sentence, "".join(traceback.format_exception(kind, error, trace)))])


@contextmanager
def closing_on_interrupt(close: Callable[[], object]) -> Iterator[None]:
    """Ctrl+C and a termination signal close the window, though Python sleeps in Qt's event loop meanwhile."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    before_fd = signal.set_wakeup_fd(pythons.fileno())
    before = {name: signal.signal(name, lambda *_: close()) for name in (signal.SIGINT, signal.SIGTERM)}
    notifier = QSocketNotifier(ours.fileno(), QSocketNotifier.Type.Read)
    notifier.activated.connect(lambda: ours.recv(64))  # back in Python, the handler above is run
    try:
        yield
    finally:
        notifier.setEnabled(False)
        signal.set_wakeup_fd(before_fd)
        for name, handler in before.items():
            signal.signal(name, handler)
        ours.close()
        pythons.close()
