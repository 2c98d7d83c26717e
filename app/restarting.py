"""The program once more: this window ends and comes back in a new process, or another session gets a window."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QMenu, QWidget

from app import again
from app.command_line import Options
from app.keeping import Keeping
from app.long_work import LongWork
from app.sessions import Kept, kept_sessions

LOOK_EVERY_MS = 50
PATIENCE_S = 90.0  # for the new process to be there
SAVE_WITHIN_S = 20.0  # that it waits then for the run to be saved
NAMES = 60  # letters of what a session is called

TASK = "again"


class Restarting(QObject):
    """``offered``: a sentence, with which the user may start again at once; "": not any more; ``said``: one without
    that. ``failed``: why there is no new process, one sentence; the window stays then.

    ``options()``: those of the present window; ``active()``: whether a run is under way, which ``stop()`` ends.
    """

    offered = Signal(str)
    said = Signal(str)
    failed = Signal(str)

    def __init__(
        self,
        keeping: Keeping,
        long_work: LongWork,
        options: Callable[[], Options],
        active: Callable[[], bool],
        stop: Callable[[], None],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._keeping, self._long_work, self._window = keeping, long_work, window
        self._options, self._active, self._stop = options, active, stop
        self._changes: dict[str, object] = {}  # of the options, for the new process
        self._process: subprocess.Popen | None = None
        self._folder, self._comes_back = Path(), False
        self._began = self._there = 0.0
        self._look = QTimer(self, interval=LOOK_EVERY_MS)
        self._look.timeout.connect(self._follow)
        self.menu = QMenu(self.tr("Sess&ions"), window)
        self.menu.aboutToShow.connect(self._fill_menu)

    # ---- this window once more -----------------------------------------------------------------------------------

    def offer(self, sentence: str, **changes: object) -> None:
        """Say what needs a new start, which takes ``changes`` of the options; without a session there is none to come
        back to."""
        self._changes = changes
        (self.said if self._keeping.beginning is None else self.offered).emit(sentence)

    def start_again(self) -> None:
        """A run is stopped and kept; the window closes once its successor is there."""
        beginning = self._keeping.beginning
        if beginning is None or self._is_busy():
            return
        self._keeping.hurry()
        if self._keeping.unkept:
            self.failed.emit(
                self.tr("This run is not saved by itself and would be lost: save it first, then start again.")
            )
            return
        self._stop()
        options = replace(self._options(), **self._changes)  # type: ignore[arg-type]
        self._start(beginning.slot.folder, again.words(options, beginning.slot.number), comes_back=True)

    # ---- another session -----------------------------------------------------------------------------------------

    def sessions(self) -> list[Kept]:
        """Those of windows that are closed, the latest first."""
        beginning = self._keeping.beginning
        return [] if beginning is None else kept_sessions(beginning.slot.folder)

    def names(self) -> list[str]:
        return [self._name(kept) for kept in self.sessions()]

    def open_named(self, name: str) -> None:
        """In a window of its own."""
        kept = next((kept for kept in self.sessions() if self._name(kept) == name), None)
        if kept is None:
            self.failed.emit(self.tr("This session is open in another window by now, or gone."))
        elif not self._is_busy():
            self._start(kept.folder, again.words(self._options(), kept.number), comes_back=False)

    def _is_busy(self) -> bool:
        if self._process is not None:
            self.said.emit(self.tr("Another window is being opened: try again once it is there."))
        return self._process is not None

    def _name(self, kept: Kept) -> str:
        prompt = " ".join(kept.session.prompt.split(maxsplit=NAMES)[:NAMES])  # it may be as long as a book
        words = [self.tr("Window {0}").format(kept.number), Path(kept.session.model).name, prompt]
        text = " · ".join(word for word in words if word)
        return text if len(text) <= NAMES else f"{text[: NAMES - 1]}…"

    def _fill_menu(self) -> None:
        self.menu.clear()
        names = self.names()
        for name in names:
            self.menu.addAction(name.replace("&", "&&"), partial(self.open_named, name))
        if not names:
            self.menu.addAction(self.tr("No other window has left a session")).setEnabled(False)

    # ---- the new process -----------------------------------------------------------------------------------------

    def _start(self, folder: Path, words: list[str], comes_back: bool) -> None:
        try:
            self._process = again.start([*again.program(), *words], folder)
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        self._folder, self._comes_back = folder, comes_back
        self._began, self._there = time.monotonic(), 0.0
        text = self.tr("starting again") if comes_back else self.tr("opening the session")
        self._long_work.begin(TASK, text, cancel=self._give_up)
        self._look.start()

    def _follow(self) -> None:
        assert self._process is not None, "it is looked for one"
        code, now = self._process.poll(), time.monotonic()
        if code is not None:
            self._fail(again.what_it_said(self._folder) or self.tr("it ended with code {0}").format(code))
        elif not again.is_ready(self._folder):
            if now - self._began > PATIENCE_S:
                self._give_up()
                self._fail(self.tr("it did not come within {0} seconds").format(int(PATIENCE_S)))
        else:
            self._there = self._there or now
            self._is_there(now - self._there)

    def _is_there(self, seconds: float) -> None:
        """The run is kept first; where that is not possible nothing ends."""
        if not self._comes_back:
            self._leave_off()
        elif self._active():
            self._stop()
        elif self._keeping.unkept or (self._keeping.pending and seconds > SAVE_WITHIN_S):
            self._give_up()
            self._fail(self.tr("the run could not be saved"))
        elif self._keeping.pending:
            self._keeping.keep_run()
        else:
            self._leave_off()
            self._window.close()

    def _give_up(self) -> None:
        """The new process is not wanted any more."""
        process = self._process
        self._leave_off()
        if process is not None:
            process.kill()
            process.wait()

    def _leave_off(self) -> None:
        self._look.stop()
        self._long_work.end(TASK)
        self._process = None

    def _fail(self, reason: str) -> None:
        self._leave_off()
        self.failed.emit(
            self.tr("Fluoroscope could not be started once more ({0}), so this window stays.").format(
                reason.rstrip(".")
            )
        )

    def close(self) -> None:
        """The window closes, and not for its successor."""
        if self._comes_back:
            self._give_up()
        self._leave_off()
