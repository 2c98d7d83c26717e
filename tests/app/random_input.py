"""Random mouse and keyboard on the whole window, with its real engine's thread: nothing may break.

``python -m tests.app.random_input --events 10000 --seed 1`` prints what it has done, and fails on an exception, on
something Qt complains about, or on an error that nobody foresaw. Files and folders are asked for by dialogs of the
desktop, which answer at random here; nothing outside a folder of its own is touched.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from unittest import mock

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QPoint, QPointF, QSettings, Qt, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget
from shiboken6 import isValid

from app import overrides
from app.command_line import Options
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.window import Window
from app.worker import Worker
from engine.frames import ErrorFrame
from engine.settings import Sampling
from tests.app.dialogs import dialogs

KEYS = (
    *range(Qt.Key.Key_0, Qt.Key.Key_9 + 1),
    *range(Qt.Key.Key_A, Qt.Key.Key_Z + 1),
    *range(Qt.Key.Key_F1, Qt.Key.Key_F12 + 1),
    *(Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Tab, Qt.Key.Key_Backtab, Qt.Key.Key_Delete, Qt.Key.Key_Backspace),
    *(Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown, Qt.Key.Key_Plus, Qt.Key.Key_Minus),
    *(Qt.Key.Key_Question, Qt.Key.Key_Period, Qt.Key.Key_Slash, Qt.Key.Key_Comma, Qt.Key.Key_Equal),
    *(Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down) * 6,
    *(Qt.Key.Key_Escape,) * 8,
)
MODIFIERS = (
    *(Qt.KeyboardModifier.NoModifier,) * 6,
    *(Qt.KeyboardModifier.ControlModifier,) * 3,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.AltModifier,
    Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier,
)
TEXTS = (
    "the cat",
    "3",
    "-1",
    "0.5",
    "4-6",
    "",
    "x" * 200,
    "\u4f60\u597d \U0001f408",
    "1e99",
    "nan",
    "{0} & <b>",
    "\t\n",
)
SIZES = ((960, 600), (1280, 720), (1600, 1000), (1920, 1080), (700, 400))
LAST = 40  # events that are told when something breaks


class Hand:
    """``events`` of them, one after the other; a dialog that is open does not stop it."""

    def __init__(self, window: Window, seed: int, events: int) -> None:
        self.window, self.random, self.left = window, random.Random(seed), events
        self.done: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=LAST)
        self.seen: list[QWidget] = []
        self.troubles: list[str] = []
        self.deeds: dict[Callable[[QWidget, QPoint], None], int] = {
            self.click: 40, self.press_key: 30, self.move: 8, self.wheel: 6, self.drag: 5, self.double_click: 4,
            self.right_click: 4, self.type_text: 3, self.resize: 1,
        }  # fmt: skip

    def begin(self) -> None:
        QTimer.singleShot(0, self.window, self.next)

    def next(self) -> None:
        """The next one is arranged before this one is done: it may open a dialog, and come back much later."""
        if self.left <= 0 or self.troubles:
            self.leave()
            return
        self.left -= 1
        QTimer.singleShot(self.random.choice((0, 0, 0, 2, 20)), self.window, self.next)
        widget = self.target()
        if widget is None:
            return
        place = QPoint(self.random.randrange(widget.width()), self.random.randrange(widget.height()))
        deed = self.random.choices(list(self.deeds), list(self.deeds.values()))[0]
        self.done[deed.__name__] += 1
        self.last.append(f"{deed.__name__} {type(widget).__name__} {widget.objectName()!r} at {place.x()}, {place.y()}")
        deed(widget, place)

    def leave(self) -> None:
        """Whoever waits for the answer of a dialog goes on once there is none: else nobody would be told."""
        over = lying_over()
        if over is not None:
            over.close()
            QTimer.singleShot(20, self.window, self.leave)

    def target(self) -> QWidget | None:
        """One that can be seen, of what would get the event: an open menu, a dialog, else any window."""
        top = lying_over()
        tops = [top] if top is not None else [each for each in QApplication.topLevelWidgets() if each.isVisible()]
        if not tops:
            return None
        chosen = self.random.choice(tops)
        inside = [each for each in chosen.findChildren(QWidget) if each.isVisible() and each.width() and each.height()]
        self.seen = [chosen, *inside]  # Qt's own parts are known to Python only as long as what they lie in is
        chosen = self.random.choice(self.seen)
        sized = isValid(chosen) and chosen.width() > 0 and chosen.height() > 0
        return chosen if sized else None

    # -- what it does ------------------------------------------------------------------------------------------------

    def click(self, widget: QWidget, place: QPoint) -> None:
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, self.random.choice(MODIFIERS), place)

    def right_click(self, widget: QWidget, place: QPoint) -> None:
        """As a mouse does it; what it opens is clicked in later."""
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, widget.mapToGlobal(place))
        QApplication.sendEvent(widget, event)

    def double_click(self, widget: QWidget, place: QPoint) -> None:
        QTest.mouseDClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    def move(self, widget: QWidget, place: QPoint) -> None:
        QTest.mouseMove(widget, place)

    def drag(self, widget: QWidget, place: QPoint) -> None:
        to = QPoint(self.random.randrange(widget.width()), self.random.randrange(widget.height()))
        QTest.mousePress(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
        QTest.mouseMove(widget, to)
        QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, to)

    def wheel(self, widget: QWidget, place: QPoint) -> None:
        turn = QPoint(0, self.random.choice((-120, 120, -960)))
        at, everywhere = QPointF(place), QPointF(widget.mapToGlobal(place))
        no, modifiers = Qt.MouseButton.NoButton, self.random.choice(MODIFIERS)
        event = QWheelEvent(at, everywhere, QPoint(), turn, no, modifiers, Qt.ScrollPhase.NoScrollPhase, False)
        QApplication.sendEvent(widget, event)

    def press_key(self, widget: QWidget, place: QPoint) -> None:
        focused = QApplication.focusWidget() or widget
        QTest.keyClick(focused, Qt.Key(self.random.choice(KEYS)), self.random.choice(MODIFIERS))

    def type_text(self, widget: QWidget, place: QPoint) -> None:
        focused = QApplication.focusWidget() or widget
        for letter in self.random.choice(TEXTS)[:20]:  # as an input method gives letters that no key has
            for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
                QApplication.sendEvent(focused, QKeyEvent(kind, 0, Qt.KeyboardModifier.NoModifier, letter))

    def resize(self, widget: QWidget, place: QPoint) -> None:
        self.window.resize(*self.random.choice(SIZES))

    # -- what may not happen -----------------------------------------------------------------------------------------

    def take(self, frame: object) -> None:
        if isinstance(frame, ErrorFrame) and "Traceback" in frame.details:
            self.troubles.append(f"{frame.sentence}\n{frame.details}")

    def broke(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.troubles.append("".join(traceback.format_exception(kind, error, trace)))

    def qt_says(self, kind: QtMsgType, context: object, message: str) -> None:
        if kind != QtMsgType.QtDebugMsg and "This plugin does not support" not in message:
            self.troubles.append(f"Qt: {message}")

    def check(self) -> None:
        told = "\n".join(self.last)
        assert not self.troubles, f"{self.troubles[0]}\nafter\n{told}"


def lying_over() -> QWidget | None:
    """The menu or dialog that gets every event."""
    return QApplication.activePopupWidget() or QApplication.activeModalWidget()


def run(model: Path, folder: Path, events: int, seed: int) -> Counter[str]:
    """A window of its own; how many events of each kind. Raises AssertionError with what broke."""
    mailbox = Mailbox()
    options = Options(model=str(model), sampling=Sampling(seed=seed), tokens=12, prompt=None)
    stays = mock.patch.object(Window, "close", _stay)
    with dialogs(folder, model, seed), stays, mock.patch.object(sys, "excepthook", sys.excepthook):
        window = Window(Worker(mailbox, threads=1), mailbox, Preferences(), options, PANELS)
        hand = Hand(window, seed, events)
        window.received.connect(hand.take)
        sys.excepthook = hand.broke
        before = qInstallMessageHandler(hand.qt_says)
        try:
            window.show()
            window.worker.start()
            _until(lambda: window.context.run.model is not None, 60)
            window.bar.prompt.setPlainText("the cat sat")
            window.run_prompt()
            hand.begin()
            deadline = time.monotonic() + 60 + events * 0.5
            while hand.left > 0 and not hand.troubles:
                QApplication.processEvents()
                time.sleep(0.0005)
                if time.monotonic() > deadline:
                    faulthandler.dump_traceback()
                    hand.troubles.append("the events took too long")
        finally:
            qInstallMessageHandler(before)
            _put_away(window)
    hand.check()
    assert window.closed_in_time, "the engine's thread did not end in time"
    return hand.done


def _stay(window: Window) -> bool:
    """Instead of closing: else the run would end. A function: PySide looks at what a class of its own has."""
    return False


def _put_away(window: Window) -> None:
    """Whatever lies over it first."""
    for _ in range(20):
        over = lying_over()
        if over is None:
            break
        over.close()
        QApplication.processEvents()
    QMainWindow.close(window)
    window.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def _until(there: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not come in time"
        QApplication.processEvents()
        time.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first window; each further one adds 1")
    options = parser.parse_args()
    from tests.app.state_machine import two_models

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update({"HOME": name, "FLUOROSCOPE_CACHE": f"{name}/cache", "HF_HUB_OFFLINE": "1"})
        overrides.guard()
        application = QApplication([])
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, f"{name}/settings")
        models, done, seed, all_done = two_models(folder), 0, options.seed, Counter[str]()
        while done < options.events:
            count = min(1000, options.events - done)
            print(f"seed {seed} from event {done} on", flush=True)
            own = folder / "files"
            own.mkdir()
            all_done += run(models[seed % 2], own, count, seed)
            shutil.rmtree(own)
            done, seed = done + count, seed + 1
        print(f"{done} events, seeds {options.seed} to {seed - 1}: clean; {dict(all_done)}")
        del application


if __name__ == "__main__":
    main()
