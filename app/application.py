"""Qt's side of the start: the application, the window, the way out."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType

from PySide6.QtCore import QSocketNotifier, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import resources
from app import crash_log, log_file
from app.beginning import Beginning, begin
from app.command_line import Options, program_version
from app.errand import Errand
from app.languages import language_of, speak
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.report import versions
from app.screenshot import Screenshot
from app.slot import CRASH, Slot, state_folder, take_slot
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
    options = as_held(options, QGuiApplication.queryKeyboardModifiers())
    windows: list[Window] = []
    asked: list[bool] = []  # to close, once or more
    with closing_on_interrupt(partial(_close, windows, asked)):  # in the middle of Qt's work an exception would crash
        beginning, trouble = beginning_of(options)  # a folder that is taken is left again, whenever the interrupt comes
        endings = [] if beginning is None else watched(beginning.slot)
        window = make_window(options, beginning)
        windows.append(window)
        if trouble:
            window.notice_bar.say(trouble)
        sys.excepthook = partial(show_exception, window)
        window.show()
        if options.projector:
            window.projecting.begin(options.panel)
        QTimer.singleShot(0, partial(_set_out, window, asked))  # it is on screen before torch is imported
        code = application.exec()
    for end in endings:
        end()
    leave(code, window.closed_in_time)
    return code


def _close(windows: Sequence[Window], asked: list[bool]) -> None:
    asked.append(True)
    for window in windows:
        window.close()


def _set_out(window: Window, asked: Sequence[bool]) -> None:
    """Unless there was an interrupt before there was a window."""
    (window.close if asked else window.worker.start)()


def as_held(options: Options, keys: Qt.KeyboardModifier) -> Options:
    """Shift that is held while the program starts asks for the safe mode, as far as the desktop tells."""
    return replace(options, safe_mode=True) if keys & Qt.KeyboardModifier.ShiftModifier else options


def beginning_of(options: Options) -> tuple[Beginning | None, str]:
    """What the window begins with, and the sentence about a session that cannot be kept; (None, "") where none is to
    be: for a picture, a self-test, in safe mode."""
    if options.verb == "self-test" or options.screenshot is not None or options.safe_mode:
        return None, ""
    folder = state_folder()
    try:
        return begin(take_slot(folder), options), ""
    except OSError as error:
        reason = error.strerror or error
        return None, f"The session will not be kept, because {folder} cannot be used ({reason}); check that folder."


def watched(slot: Slot) -> list[Callable[[], None]]:
    """Write down what goes wrong from now on; what is returned ends it. A disk without room is no reason to stop."""
    endings: list[Callable[[], None]] = []
    for watch, path in ((crash_log.watch, slot.folder / CRASH), (log_file.begin, slot.log)):
        try:
            endings.append(watch(path))
        except OSError as error:
            print(f"fluoroscope: {path} cannot be written ({error.strerror or error}).", file=sys.stderr)
    logging.getLogger(__name__).info("%s", ", ".join(versions()))
    return endings


def make_window(options: Options, beginning: Beginning | None = None) -> Window:
    """The window with its worker (not started yet), and what the command line asked for."""
    if options.verb == "self-test":
        return _tested_window(options)
    mailbox = Mailbox()
    preferences = Preferences(kept=options.screenshot is None and not options.safe_mode)
    complaint = speak(language_of(options.language or preferences.language()))  # texts are made with the window
    first = options if beginning is None else beginning.options
    window = Window(Worker(mailbox, options.threads), mailbox, preferences, first, PANELS, beginning)
    if complaint:
        window.notice_bar.say(complaint)
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
