"""The commands for whoever looks for a fault: the log, the crash log, the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication, QTextCursor
from PySide6.QtWidgets import QWidget

from app import log_file
from app.about import about_text
from app.log_page import LogPage
from app.panels.panel import Context
from app.report import report
from engine.settings import Sampling


class Reporting(QObject):
    """Each public method without an argument is the command of its name. ``path``: the log; None: none is written."""

    said = Signal(str)

    def __init__(
        self,
        context: Context,
        path: Path | None,
        sampling: Callable[[], Sampling],
        settings: Callable[[], dict[str, str]],
        prompt: Callable[[], str],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._context, self._path = context, path
        self._sampling, self._settings, self._prompt = sampling, settings, prompt
        self.page = LogPage(parent)

    def show_log(self) -> None:
        """The end of the log; the same command closes it."""
        if self.page.leave():
            return
        if self._path is None:
            about = self.tr("No log is written: this is a picture, a test or the safe mode.")
            self.page.show_text(self.tr("Log"), "", about)
        else:
            about = self.tr("Its file is {0}; it holds no prompt and no tokens.").format(self._path)
            self.page.show_text(self.tr("Log"), log_file.tail(self._path), about)

    def copy_report(self) -> None:
        """On the clipboard, and on screen."""
        about = self.tr("It is on the clipboard. Read it before you send it to anybody.")
        self.page.show_report(self.tr("Report"), about, self._made)
        self.said.emit(self.tr("the report is on the clipboard"))

    def show_about(self) -> None:
        """The program, what it is built from, and the licences."""
        self.page.show_text(self.tr("About Fluoroscope"), about_text(self.tr))
        self.page.text.moveCursor(QTextCursor.MoveOperation.Start)

    def show_crash(self, text: str) -> None:
        """What Python said when the program ended."""
        about = self.tr("What every thread did when Fluoroscope ended, the innermost call first.")
        self.page.show_text(self.tr("Crash log"), text, about)

    def _made(self, private: bool) -> str:
        screen = QGuiApplication.primaryScreen()
        shown = {"screen": f"{screen.size().width()} x {screen.size().height()}, scale {screen.devicePixelRatio():g}"}
        log = "" if self._path is None else log_file.tail(self._path)
        settings = {**shown, **self._settings()}
        return report(self._context.run, self._sampling(), settings, log, self._prompt(), private)
