"""The window as a film: a picture whenever it was painted, at most ten a second. Nothing is painted for it."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QRect, QSize, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QImage
from PySide6.QtWidgets import QWidget

from app import unfinished
from app.asking import ask_where_last
from app.panels.panel import Context
from app.preferences import Preferences
from app.provenance import facts_of_window
from app.recording import PER_SECOND, Recording, RecordingError
from app.widgets.record_chip import RecordChip

TELL_EVERY_MS = 1000  # how far it is; each time is a picture, too
CLOSE_WITHIN_S = 20.0  # that the program waits at its end for a film to be completed

log = logging.getLogger(__name__)


class Filming(QObject):
    """Public methods without an argument are the commands of their names; ``chip`` belongs into the status bar.

    ``changed``: other commands are possible; ``said``: a line for the status bar; ``failed``: one sentence.
    ``finishing``: a film of so many pictures is being completed; ``completed``: so many of them are; ``finished``.
    """

    changed = Signal()
    said = Signal(str)
    failed = Signal(str)
    finishing = Signal(str, int)
    completed = Signal(int)
    finished = Signal()
    _told = Signal()  # from the thread of the recording

    def __init__(self, context: Context, preferences: Preferences, window: QWidget, folder: Path | None = None) -> None:
        super().__init__(window)
        self._folder = folder  # of the session, where a film that is made is noted; None: nothing is kept
        self._context, self._preferences, self._window = context, preferences, window
        self.recording: Recording | None = None
        self._began = self._taken = 0.0
        self._finishing = False  # and the window knows
        self._next, self._tell = QTimer(self, singleShot=True), QTimer(self, interval=TELL_EVERY_MS)
        self._next.timeout.connect(self._take)
        self._tell.timeout.connect(self._show)
        self._stop, self._discard = QAction(self), QAction(self)
        self._stop.triggered.connect(self.stop)
        self._discard.triggered.connect(self.discard_recording)
        self.chip = RecordChip(self._stop, self._discard)
        self._told.connect(self._follow)

    # ---- commands ------------------------------------------------------------------------------------------------

    def record_window(self) -> None:
        """Ask for a file and begin; the same command stops."""
        if self.recording is not None:
            self.stop()
            return
        title, kinds = self.tr("Record the window"), {".mp4": self.tr("Film"), ".gif": self.tr("Moving picture")}
        path = ask_where_last(self._preferences, self._window, title, "fluoroscope.mp4", kinds)
        if path is not None:
            self.begin(path)

    def discard_recording(self) -> None:
        """Give it up; no file is left."""
        if self.recording is not None:
            self.recording.give_up()

    # ---- what the commands do ----------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether something is recorded, or a recording is being completed."""
        return self.recording is not None

    def begin(self, path: Path) -> None:
        """Record into this file; what goes wrong is told by ``failed``."""
        picture = as_painted(self._window)
        try:
            self.recording = Recording(path, picture.size(), self._told.emit)
        except RecordingError as error:
            self.failed.emit(str(error))
            return
        self._note(self.recording)
        self._began = time.monotonic()
        self._put(picture)
        self._window.installEventFilter(self)
        self._tell.start()
        self._show()
        self.changed.emit()

    def stop(self) -> None:
        """Keep what was recorded; ``said`` tells when the file is there."""
        if self.recording is None or not self._tell.isActive():
            return
        self._leave_off()
        self.recording.finish(time.monotonic() - self._began, facts_of_window(self._context))
        self.chip.show_finishing(self.recording.path.name)

    def close(self) -> None:
        """The program ends: a film is completed first, within reason."""
        if self.recording is None:
            return
        self.stop()
        if not self.recording.wait(CLOSE_WITHIN_S):
            self.recording.give_up()
            if not self.recording.wait(CLOSE_WITHIN_S):
                return  # the next start takes what there is
        self._forget()

    def restyle(self, theme) -> None:
        self.chip.restyle(theme)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """The window is about to paint what has changed: worth a picture once that is done."""
        if event.type() == QEvent.Type.UpdateRequest and not self._next.isActive():
            since = time.monotonic() - self._taken
            self._next.start(max(0, round(1000 * (1 / PER_SECOND - since))))
        return False

    def _take(self) -> None:
        self._put(as_painted(self._window))

    def _put(self, picture: QImage) -> None:
        if self.recording is not None:
            self._taken = time.monotonic()
            taken = self.recording.put(picture, self._taken - self._began)
            if not taken and self.recording.progress.state == "recording":
                self._next.start(round(1000 / PER_SECOND))  # the newest picture must not be missing in the end

    def _show(self) -> None:
        if self.recording is not None:
            done = self.recording.progress
            self.chip.show_recording(time.monotonic() - self._began, done.frames, done.bytes)

    @Slot()
    def _follow(self) -> None:
        """Another state of the recording, in the window's thread."""
        recording = self.recording
        if recording is None or recording.progress.state == "recording":
            return
        if recording.progress.state == "finishing":
            self._tell_finishing(recording)
            return
        self._finishing = False
        self.finished.emit()
        self._leave_off()
        self._forget()
        self.chip.hide()
        state, sentence = recording.progress.state, recording.progress.sentence
        if state == "done":
            self.said.emit(self.tr("recorded {0}").format(recording.path.name))
        elif state == "failed":
            self.failed.emit(sentence)
        else:
            self.said.emit(self.tr("the recording was given up"))
        self.changed.emit()

    def _tell_finishing(self, recording: Recording) -> None:
        if not self._finishing:
            self._finishing = True
            self.finishing.emit(self.tr("writing {0}").format(recording.path.name), recording.progress.film)
        self.completed.emit(recording.progress.completed)

    def _note(self, recording: Recording) -> None:
        """If the program is killed, the next start finds what there is of it."""
        if self._folder is not None:
            try:
                unfinished.note(self._folder, recording.part, recording.path)
            except OSError as error:
                log.warning("the recording could not be noted: %s", error)

    def _forget(self) -> None:
        """It has come to its end, one way or the other."""
        self.recording = None
        if self._folder is not None:
            unfinished.forget(self._folder)

    def _leave_off(self) -> None:
        """No more pictures."""
        self._window.removeEventFilter(self)
        self._next.stop()
        self._tell.stop()


def as_painted(window: QWidget) -> QImage:
    """What the window painted last, in pixels of the screen, without painting again where the system keeps that."""
    size = window.size() * window.devicePixelRatio()
    store = None if sys.platform == "darwin" else window.backingStore()  # there it is valid while painting only
    kept = None if store is None else store.paintDevice()
    if isinstance(kept, QImage) and _covers(kept.size(), size):
        return kept.copy(QRect(0, 0, size.width(), size.height()))
    return window.grab().toImage()


def _covers(one: QSize, other: QSize) -> bool:
    return one.width() >= other.width() and one.height() >= other.height()
