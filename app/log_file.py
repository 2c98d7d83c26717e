"""The log: a file that is turned over before it grows large. What goes wrong is in it, never a prompt or a token."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from PySide6.QtCore import QMessageLogContext, QtMsgType, qInstallMessageHandler

from app.notices import DownloadFrame, OpenedFrame, ReadyFrame, SavedFrame
from engine.frames import EndFrame, ErrorFrame, ModelFrame, RunFrame

LARGEST, OLDER = 500_000, 2  # bytes of a file, and how many older ones are kept beside it
SHOWN = 200_000  # bytes at its end that are looked at
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OURS = ("app", "engine")

_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}
_OF_TEXTS = ("branch", "edit", "run")  # tasks whose errors may quote what somebody has typed
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|“[^”]*”")

log = logging.getLogger(__name__)
for _name in OURS:
    logging.getLogger(_name).addHandler(logging.NullHandler())  # without a file nothing is written anywhere


def begin(path: Path) -> Callable[[], None]:
    """Write to this file from now on, also what Qt says and what threads die of. Call what is returned to end it.

    Raises OSError where the file cannot be written.
    """
    handler = RotatingFileHandler(
        path, maxBytes=LARGEST, backupCount=OLDER, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    before, hook = qInstallMessageHandler(_take_qt), threading.excepthook
    threading.excepthook = _take_thread

    def end() -> None:
        qInstallMessageHandler(before)
        threading.excepthook = hook
        root.removeHandler(handler)
        handler.close()

    return end


def tail(path: Path, most: int = SHOWN) -> str:
    """The end of the log, whole lines; "" where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if size > most else text


def note(frame: object) -> None:
    """Write down what a frame means for whoever reads the log later."""
    line = _LINES.get(type(frame))
    if line is not None:
        line(frame)


def _take_qt(kind: QtMsgType, context: QMessageLogContext, text: str | None) -> None:
    logging.getLogger("qt").log(_QT_LEVELS.get(kind, logging.WARNING), "%s", text)
    if kind != QtMsgType.QtDebugMsg:
        print(text, file=sys.stderr)


def _take_thread(arguments: threading.ExceptHookArgs) -> None:
    name = "a thread" if arguments.thread is None else arguments.thread.name
    if arguments.exc_value is not None:
        log.error("%s ended", name, exc_info=arguments.exc_value)


def _error(frame: ErrorFrame) -> None:
    sentence = _QUOTED.sub("…", frame.sentence) if frame.task in _OF_TEXTS else frame.sentence
    log.error("%s: %s%s", frame.task, sentence, f"\n{frame.details}" if frame.details else "")


def _model(frame: ModelFrame) -> None:
    facts = (frame.name, frame.family, f"{frame.parameters:,} parameters", frame.stored_as, frame.dtype, frame.device)
    log.info("model: %s, loaded in %.1f s", ", ".join(facts), frame.seconds)


_LINES: dict[type, Callable[[Any], None]] = {
    ErrorFrame: _error,
    ModelFrame: _model,
    ReadyFrame: lambda frame: log.info("the engine is ready after %.1f s, %d threads", frame.seconds, frame.threads),
    RunFrame: lambda frame: log.info("run: %d prompt tokens, at most %d new", len(frame.prompt), frame.max_new_tokens),
    EndFrame: lambda frame: log.info("the run ended: %s", frame.reason),
    OpenedFrame: lambda frame: log.info("run file opened: %s", frame.path),
    SavedFrame: lambda frame: log.info("run saved: %s, %d bytes, %.2f s", frame.path, frame.size, frame.seconds),
    DownloadFrame: lambda frame: (
        log.info("download of %s: %s", frame.source, frame.state) if frame.state not in ("running", "waiting") else None
    ),
}
