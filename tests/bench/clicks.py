"""A user who clicks around while a run goes on: pins, scrubs, zooms, opens panels, pauses, steps, changes the view.

What happens is drawn from a seed; where the mouse goes is a place inside a picture. Nothing is done that would end the
run, or open a dialog that waits for an answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from PySide6.QtCore import QObject, QPoint, QPointF, Qt, QTimer, Slot
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.theme import THEMES
from app.widgets.canvas import Canvas
from app.widgets.token_view import TokenView
from app.window import Window
from engine.frames import EndFrame, StepFrame

GO = ("previous_position", "next_position", "previous_layer", "next_layer", "follow", "undo_one")
STOPS = ("pause", "step_token", "step_layer", "step_stage")
VIEWS = ("use_layout.explore", "use_layout.all", "larger_text", "normal_text", "colour_by_expert", "show_keys")
KEYS = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End)
CLOSED = ("models", "tensors")  # they are about files, and not about the run

Act = Callable[["Clicks"], None]


class Clicks(QObject):
    """Does something every ``every_ms`` from a run's first token to its end; ``done`` counts what, by kind."""

    def __init__(self, window: Window, every_ms: int, seed: int = 0) -> None:
        super().__init__(window)
        self.window = window
        self.done: Counter[str] = Counter()
        self.chance = random.Random(seed)
        self._timer = QTimer(self)
        self._timer.setInterval(every_ms)
        self._timer.timeout.connect(self._act)
        window.received.connect(self._follow)

    @Slot(object)
    def _follow(self, frame: object) -> None:
        if isinstance(frame, StepFrame) and frame.index == 0:
            self._timer.start()
        elif isinstance(frame, EndFrame):
            self._timer.stop()

    @Slot()
    def _act(self) -> None:
        """A stop does not last: half of what is done while the run is paused lets it go on."""
        if self.window.situation().state == "paused" and self.chance.random() < 0.5:
            self.trigger("run")
            self.done["went on"] += 1
            return
        name = self.chance.choices(list(ACTS), [weight for weight, _ in ACTS.values()])[0]
        ACTS[name][1](self)
        self.done[name] += 1

    def trigger(self, name: str) -> None:
        """A command, if it is possible now."""
        action = self.window.actions_by_name[name]
        if action.isEnabled():
            action.trigger()

    def at_a_picture(self, act: Callable[[QWidget], None]) -> None:
        """Do it to something that can be clicked on the screen now; nothing where there is no such."""
        seen = [widget for widget in _pictures(self.window) if not widget.visibleRegion().isEmpty()]
        if seen:
            act(self.chance.choice(seen))

    def place(self, widget: QWidget) -> QPoint:
        """Somewhere in the part of it that is seen."""
        seen = widget.visibleRegion().boundingRect()
        return QPoint(self.chance.randint(seen.left(), seen.right()), self.chance.randint(seen.top(), seen.bottom()))


def _pictures(window: Window) -> Iterator[QWidget]:
    yield from window.findChildren(Canvas)
    for view in window.findChildren(TokenView):
        yield view.viewport()


def _click(user: Clicks, picture: QWidget) -> None:
    QTest.mouseClick(picture, Qt.MouseButton.LeftButton, pos=user.place(picture))


def _double_click(user: Clicks, picture: QWidget) -> None:
    QTest.mouseDClick(picture, Qt.MouseButton.LeftButton, pos=user.place(picture))


def _drag(user: Clicks, picture: QWidget) -> None:
    QTest.mousePress(picture, Qt.MouseButton.LeftButton, pos=user.place(picture))
    QTest.mouseMove(picture, user.place(picture))
    QTest.mouseRelease(picture, Qt.MouseButton.LeftButton, pos=user.place(picture))


def _hover(user: Clicks, picture: QWidget) -> None:
    QTest.mouseMove(picture, user.place(picture))


def _wheel(user: Clicks, picture: QWidget) -> None:
    """Zoom or scroll, with and without Control."""
    place, turned = QPointF(user.place(picture)), QPoint(0, user.chance.choice((-120, 120)))
    held = user.chance.choice((Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier))
    event = QWheelEvent(
        place, picture.mapToGlobal(place), QPoint(), turned, Qt.MouseButton.NoButton, held,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(picture, event)


def _key(user: Clicks, picture: QWidget) -> None:
    QTest.keyClick(picture, user.chance.choice(KEYS))


def _pin(user: Clicks) -> None:
    """A place anywhere in the run, as scrubbing over the timeline reaches it."""
    run, cursor = user.window.context.run, user.window.context.cursor
    if run.model is not None and run.n_tokens:
        layer = user.chance.randrange(run.model.n_layers)
        head = user.chance.randrange(run.model.layers[layer].n_heads)
        cursor.pin(position=user.chance.randrange(run.n_tokens), layer=layer, head=head)


def _open_panel(user: Clicks) -> None:
    workspace = user.window.workspace
    workspace.bring_up(user.chance.choice([key for key in workspace.docks if key not in CLOSED]))


def _maximise(user: Clicks) -> None:
    shown = [dock for dock in user.window.workspace.docks.values() if dock.shown]
    if shown:
        user.window.workspace.toggle_maximised(user.chance.choice(shown))


def _theme(user: Clicks) -> None:
    user.trigger(f"use_theme.{user.chance.choice(list(THEMES))}")


def _one_of(names: tuple[str, ...]) -> Act:
    return lambda user: user.trigger(user.chance.choice(names))


def _at(act: Callable[[Clicks, QWidget], None]) -> Act:
    return lambda user: user.at_a_picture(partial(act, user))


ACTS: dict[str, tuple[int, Act]] = {  # how often, and what
    "clicked": (20, _at(_click)),
    "hovered": (20, _at(_hover)),
    "pinned": (12, _pin),
    "moved": (12, _one_of(GO)),
    "pressed a key": (8, _at(_key)),
    "turned the wheel": (8, _at(_wheel)),
    "dragged": (4, _at(_drag)),
    "double-clicked": (2, _at(_double_click)),
    "opened a panel": (6, _open_panel),
    "paused or stepped": (4, _one_of(STOPS)),
    "changed the view": (2, _one_of(VIEWS)),
    "maximised": (1, _maximise),
    "changed the theme": (1, _theme),
}
