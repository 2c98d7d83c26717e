"""Qt's side of the start: the application, the window, the way out."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QEvent, QLocale, QObject, QSocketNotifier, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import resources
from app import again, crash_log, log_file, overrides
from app.beginning import Beginning, begin
from app.command_line import Options, program_version
from app.errand import Errand
from app.languages import language_of, speak
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.report import versions
from app.screenshot import Screenshot
from app.slot import CRASH, Slot, folder_of, state_folder, take_slot
from app.window import Window
from app.worker import Worker
from engine.frames import ErrorFrame

SHIFT_WITHIN_S = 10.0  # of the window's beginning; later it is held for something else
WAIT_FOR_FOLDER_S = 120.0  # the program before may still save its run


def run_application(options: Options) -> int:
    """Show the window until it is closed; the exit code."""
    overrides.guard()
    QLocale.setDefault(QLocale.c())  # fields write figures as all else in the window and its files does
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
        if beginning is not None:
            beginning.slot.endings += watched(beginning.slot)
        window = make_window(options, beginning)
        windows.append(window)
        if trouble:
            window.notice_bar.say(trouble)
        sys.excepthook = partial(show_exception, window)
        if beginning is not None:
            HeldLate(window)
        window.show()
        if options.projector:
            window.projecting.begin(options.panel)
        QTimer.singleShot(0, partial(_set_out, window, asked))  # it is on screen before torch is imported
        code = application.exec()
    leave(code, window.closed_in_time)
    return code


def _close(windows: Sequence[Window], asked: list[bool]) -> None:
    asked.append(True)
    for window in windows:
        window.end()


def _set_out(window: Window, asked: Sequence[bool]) -> None:
    """Unless there was an interrupt before there was a window."""
    (window.end if asked else window.worker.start)()


def as_held(options: Options, keys: Qt.KeyboardModifier) -> Options:
    """Shift that is held while the program starts asks for the safe mode, as far as the desktop tells."""
    return replace(options, safe_mode=True) if keys & Qt.KeyboardModifier.ShiftModifier else options


class HeldLate(QObject):
    """Some desktops (Wayland) tell which keys are held only once the window has the keyboard: Shift that is held by
    then offers the safe mode."""

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self._window, self._until = window, time.monotonic() + SHIFT_WITHIN_S
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.WindowActivate:
            watched.removeEventFilter(self)
            held = QGuiApplication.queryKeyboardModifiers() & Qt.KeyboardModifier.ShiftModifier
            if held and time.monotonic() < self._until:
                sentence = self.tr("Shift is held: start again for the safe mode, which restores and keeps nothing.")
                self._window.restarting.offer(sentence, safe_mode=True)
        return False


def beginning_of(options: Options) -> tuple[Beginning | None, str]:
    """What the window begins with, and the sentence about a session that cannot be kept; (None, "") where none is to
    be: for a picture, a self-test, in safe mode."""
    folder = state_folder()
    if options.verb == "self-test" or options.screenshot is not None or options.safe_mode:
        if options.window is not None:  # whoever has started this waits to hear that it is there
            with suppress(OSError):
                again.tell_ready(folder_of(folder, options.window))
        return None, ""
    try:
        return begin(_slot(folder, options.window), options), ""
    except OSError as error:
        reason = error.strerror or error
        return None, f"The session will not be kept, because {folder} cannot be used ({reason}); check that folder."


def _slot(folder: Path, number: int | None) -> Slot:
    """A certain one may still be used by the program that has started this one, and waits to hear of it."""
    if number is None:
        return take_slot(folder)
    own = folder_of(folder, number)
    again.tell_ready(own)  # for as long as this program has the folder: who waits to hear of it looks now and then
    try:
        slot = take_slot(folder, number, WAIT_FOR_FOLDER_S)
    except OSError:
        again.forget_ready(own)
        raise
    slot.endings.append(partial(again.forget_ready, own))
    return slot


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


def _endings() -> list[signal.Signals]:
    """The signals that ask a program to end; that of a terminal that is closed unless it was started to outlive it."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)  # not on Windows
    outlives = hangup is None or signal.getsignal(hangup) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if hangup is None or outlives else [hangup])]


@contextmanager
def closing_on_interrupt(close: Callable[[], object]) -> Iterator[None]:
    """Ctrl+C, a termination signal and the end of its terminal close the window, though Python sleeps in Qt's event
    loop meanwhile."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    before_fd = signal.set_wakeup_fd(pythons.fileno())
    before = {name: signal.signal(name, lambda *_: close()) for name in _endings()}
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
