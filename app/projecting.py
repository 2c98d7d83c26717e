"""Projector mode: large letters, high contrast and few panels, the stage named large, the keys of a clicker, what was
pressed and where the pointer is; a spotlight on one panel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from PySide6.QtCore import QEvent, QObject, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QGuiApplication, QKeyEvent, QKeySequence, QMouseEvent, QShortcut
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget
from shiboken6 import isValid

from app.clicker import SIZES, STEPS, Pins, Size, further, nearer
from app.commands import bare
from app.depth_texts import story_of
from app.dock import PanelDock
from app.keys import native
from app.layout_shapes import PROJECTOR
from app.layouts import Workspace
from app.looks import Looks
from app.panels.panel import Context
from app.run_bar import RunBar
from app.stage_words import Headline, headline
from app.theme import CONTRAST, Theme
from app.widgets.key_echo import KeyEcho
from app.widgets.pointer_halo import PointerHalo
from app.widgets.spotlight import Spotlight
from app.widgets.stage_banner import StageBanner
from app.widgets.term_words import told
from engine.frames import Where

READABLE = 40  # text that is read from the back of a room has at least one so-many-th of the height of the picture
SMALLEST = 0.9  # of the application's font: the figures inside pictures
FIT_AFTER_MS = 60  # while a window is dragged larger the letters wait
CLICKER = {"PgDown": "further", "PgUp": "nearer", "B": "black_screen", ".": "black_screen"}
BESIDE = ("strip", "layers")  # panels that stay where they are when another one is brought up
_NAVIGATION = {
    getattr(Qt.Key, f"Key_{name}")
    for name in ("Left", "Right", "Up", "Down", "Home", "End", "PageUp", "PageDown", "Tab", "Return", "Enter")
}


def readable_points(height: int, dots_per_inch: float) -> float:
    """The size of the application's font, in points, whose smallest text has ``1 / READABLE`` of a height in pixels."""
    return math.ceil(height / READABLE / SMALLEST) * 72 / dots_per_inch


@dataclass(frozen=True)
class Before:
    """How the window was before the mode."""

    state: Qt.WindowState
    geometry: QRect
    hidden: tuple[QWidget, ...]  # what the mode hides and brings back
    focus: QWidget | None


class Projecting(QObject):
    """Each public method without an argument is the command of its name, but for ``leave``, ``undo`` and ``fit``.

    ``chrome``: what is hidden in the mode. ``whole``: whether the mode takes the whole screen. ``activity`` says what
    the program does while nothing runs. ``blacken`` makes the audience's picture black or brings it back, where there
    is one; else this window is black.
    """

    changed = Signal()  # the mode or the spotlight
    told = Signal(object)  # a Headline, for every banner

    def __init__(
        self,
        window: QMainWindow,
        context: Context,
        looks: Looks,
        workspace: Workspace,
        activity: Callable[[], str],
        whole: bool,
    ) -> None:
        super().__init__(window)
        self._window, self._context, self._looks, self._workspace = window, context, looks, workspace
        self._activity, self._whole = activity, whole
        self.blacken: Callable[[], bool] = lambda: False
        self.chrome: tuple[QWidget, ...] = ()
        self.prompt_bar: RunBar | None = None  # of the chrome, the one that comes when the prompt is to be edited
        self.size: Size = "layer"  # what was stepped last
        self._before: Before | None = None
        self._actions: Mapping[str, QAction] = {}
        self._pressed = ""  # the clicker's key that is being obeyed
        self._said: Headline | None = None
        self._stood = Where("idle")  # where the pass stopped last
        self._arranged = False  # panels stand as the mode wants them
        self.banner = StageBanner(context.theme)
        self.banner.hide()
        self.halo, self.echo = PointerHalo(window, context.theme), KeyEcho(window)
        self.light, self.black = Spotlight(workspace, context.theme), BlackScreen(window)
        self._keys: list[QShortcut] = []
        self._fit = QTimer(self, interval=FIT_AFTER_MS, singleShot=True)
        self._fit.timeout.connect(self.fit)
        self._connect()

    @property
    def on(self) -> bool:
        return self._before is not None

    def take_actions(self, actions: Mapping[str, QAction]) -> None:
        """The commands: each is echoed, and those that step say how far a clicker goes."""
        self._actions = actions
        for name, action in actions.items():
            action.triggered.connect(partial(self._follow, name))
        self._window.addActions(list(actions.values()))  # their keys work though the menus are hidden
        self._keys = [self._key(key, name) for key, name in CLICKER.items()]

    # -- the mode ----------------------------------------------------------------------------------------------------

    def project(self) -> None:
        """Enter the mode, or leave it."""
        (self.leave if self.on else self._enter)()

    def begin(self, panel: str | None) -> None:
        """The program starts in the mode, with this panel if one was asked for."""
        self._enter()
        if panel is not None:
            self._workspace.bring_up(panel)

    def leave(self) -> None:
        """All as it was before."""
        if self._before is None:
            return
        before, self._before = self._before, None
        self._arranged = False
        self._fit.stop()
        self._spot(None)
        self.black.hide()
        self.echo.drop()
        self.halo.hide()
        self.banner.hide()
        self._watch(False)
        for part in before.hidden:
            part.show()
        self._window.setWindowState(before.state)
        if before.state == Qt.WindowState.WindowNoState:
            self._window.setGeometry(before.geometry)
        self._looks.take_off()
        self._workspace.take_off()
        if before.focus is not None and isValid(before.focus) and before.focus.isVisible():
            before.focus.setFocus()
        self.changed.emit()

    def undo(self) -> bool:
        """What Esc does: the picture comes back, the spotlight goes out, the prompt is hidden, the mode ends."""
        bar = self.prompt_bar
        if self.black.isVisible():
            self.black.hide()
        elif self.light.isVisible():
            self.spotlight()
        elif self.on and bar is not None and bar.isVisible():
            self._hide_prompt()
        elif self.on:
            self.leave()
        else:
            return False
        return True

    def fit(self) -> None:
        """Letters as large as the window's height wants them."""
        points = readable_points(self._window.height(), self._window.logicalDpiY())
        if self.on and abs(points - self._looks.points) > 0.01:
            self._looks.wear(CONTRAST.name, points)
            self._share_room()

    def _share_room(self) -> None:
        """Once the banner has its height: what it takes the workspace does not have."""
        beside = self.banner.parentWidget()
        if beside is not None and (column := beside.layout()) is not None:
            column.activate()
        self._workspace.share_room()

    def _enter(self) -> None:
        window, front = self._window, self._front()
        visible = tuple(part for part in self.chrome if not part.isHidden())
        self._before = Before(window.windowState(), window.geometry(), visible, QApplication.focusWidget())
        self._workspace.wear(PROJECTOR)  # first: how the panels stand now is to be known
        for part in visible:
            part.hide()
        self.banner.show()
        self._looks.wear(CONTRAST.name, readable_points(window.height(), window.logicalDpiY()))
        if self._whole:
            window.showFullScreen()
        if self._workspace.isVisible():  # else it shares its room when it comes
            self._share_room()
        self._arranged = True
        if front is not None:
            self._workspace.bring_up(front.panel.key)
            self._swap(front, True)
            front.take_focus()
        self._watch(True)
        self.show_stage()
        self.changed.emit()

    def _front(self) -> PanelDock | None:
        """The panel that is to be seen large: the one with the focus, else the widest one."""
        docks = [dock for dock in self._workspace.docks.values() if dock.panel.key not in BESIDE]
        focused = self._workspace.maximised or self._workspace.focused()
        shown = sorted((dock for dock in docks if dock.shown), key=lambda dock: dock.width())
        if focused in docks:
            return focused
        return shown[-1] if shown else next(iter(docks), None)

    def _swap(self, dock: PanelDock, shown: bool) -> None:
        """In the mode a panel that is brought up takes the place of the one that was there: no tabs."""
        if shown and self._arranged and self._workspace.worn is PROJECTOR and dock.panel.key not in BESIDE:
            for other in self._workspace.tabifiedDockWidgets(dock):
                other.close()

    # -- a clicker ---------------------------------------------------------------------------------------------------

    def further(self) -> None:
        """One step on: look at what is computed already, else compute it."""
        pins = further(self._context.run, self._context.cursor.pinned, self.size)
        if pins is not None:
            self._look(pins)
        else:
            self._actions[STEPS[self.size]].trigger()

    def nearer(self) -> None:
        """One step back, to look; nothing is taken back."""
        pins = nearer(self._context.run, self._context.cursor.pinned, self.size)
        if pins is not None:
            self._look(pins)
        elif self.on:
            self.echo.say(self._pressed, self.tr("nothing lies before"))

    def black_screen(self) -> None:
        """Nothing but black for those who look on, until it is asked for again."""
        if not self.blacken():
            self.black.setVisible(not self.black.isVisible())

    def click(self, key: str) -> None:
        """A key of a clicker, in this window or the audience's."""
        self._pressed = native(key)
        action = self._actions[CLICKER[key]]
        if action.isEnabled():
            action.trigger()
        self._pressed = ""

    def _look(self, pins: Pins) -> None:
        self._context.cursor.pin(**pins)
        if self.on:
            self.echo.say(self._pressed, self.banner.headline.text())

    # -- the spotlight -----------------------------------------------------------------------------------------------

    def spotlight(self) -> None:
        """Dim all but the panel that has the focus, wherever it goes; or no more."""
        self._spot(None if self.light.lit is not None else self._workspace.focused() or self._front())
        self.changed.emit()

    def _spot(self, dock: PanelDock | None) -> None:
        self.light.light(dock)

    def _focus_moved(self, before: QWidget | None, now: QWidget | None) -> None:
        dock = self._workspace.focused() if now is not None and self._workspace.isAncestorOf(now) else None
        if self.light.lit is not None and dock is not None and not dock.isFloating():
            self._spot(dock)

    # -- what is told ------------------------------------------------------------------------------------------------

    def show_stage(self) -> None:
        """The run, the pass or the pinned place moved."""
        self._follow_pass()
        said = headline(self._context.run, self._context.cursor.pinned, self._activity(), self.tr)
        if self.on and self._context.run.n_tokens == 0:
            said = replace(said, words=f"{said.words} {self._way_on()}")
        if said == self._said:
            return
        self._said = said
        self.tell(self.banner)
        self.told.emit(said)

    def _way_on(self) -> str:
        """While there is no run: what is hidden in the mode, and how it comes."""
        keys = (self._actions[name].shortcut() for name in ("focus_prompt", "project"))
        named = (key.toString(QKeySequence.SequenceFormat.NativeText) for key in keys)
        return self.tr("{0} opens the field for a prompt, {1} leaves this mode.").format(*named)

    def _follow_pass(self) -> None:
        """In the mode panels show the layer that the banner names, whenever the pass stops at another place."""
        where, look = self._context.run.where, self._context.cursor.pinned
        if self.on and where.state == "paused" and where != self._stood:
            self._stood = where
            if where.layer is not None and look.position is None:
                self._context.cursor.pin(layer=where.layer)

    def tell(self, banner: StageBanner) -> None:
        """Put on a banner what is said now."""
        said, model = self._said, self._context.run.model
        if said is not None:
            place = None if model is None else said.place
            words = said.words if place is None or model is None else told(story_of(model, *place))
            banner.show_stage(said.text, said.beside, words)
            banner.rail.show_layers(0 if model is None else model.n_layers, said.done, said.layer)

    def restyle(self, theme: Theme) -> None:
        for part in (self.banner, self.halo, self.echo, self.light):
            part.restyle(theme)

    def resized(self) -> None:
        """The window has another size."""
        if self.on:
            self._fit.start()
            self.echo.place()
        self.black.setGeometry(self._window.rect())

    # -- the keys and the pointer ------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """What comes to the window as a whole: the pointer, and keys that are no command's."""
        kind = event.type()
        if isinstance(event, QMouseEvent):
            held = kind != QEvent.Type.MouseButtonRelease and event.buttons() != Qt.MouseButton.NoButton
            self.halo.follow(event.position().toPoint(), held)
        elif kind == QEvent.Type.Leave:
            self.halo.hide()
        elif isinstance(event, QKeyEvent) and kind == QEvent.Type.KeyPress and event.key() in _NAVIGATION:
            self.echo.say(QKeySequence(event.keyCombination()).toString(QKeySequence.SequenceFormat.NativeText), "")
        return False

    def _follow(self, name: str) -> None:
        """A command was given, by whatever means."""
        self.size = SIZES.get(name, self.size)
        action = self._actions[name]
        if self.on and name not in ("further", "nearer", "project"):
            key = self._pressed or action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
            self.echo.say(key, bare(action.text()).rstrip("…"))
        if self.on and name == "focus_prompt" and self.prompt_bar is not None:
            self.prompt_bar.show()
            self.prompt_bar.prompt.setFocus()

    def run_began(self) -> None:
        """The prompt was sent: the panels have its room again."""
        if self.on:
            self._hide_prompt()

    def _hide_prompt(self) -> None:
        front = self._front()
        if self.prompt_bar is not None:
            self.prompt_bar.hide()
        if front is not None:
            front.take_focus()

    def _connect(self) -> None:
        for dock in self._workspace.docks.values():
            dock.shown_changed.connect(partial(self._swap, dock))
        application = QGuiApplication.instance()
        assert isinstance(application, QApplication), "a window needs an application"
        application.focusChanged.connect(self._focus_moved)
        self._context.cursor.pinned_changed.connect(self.show_stage)
        self._looks.changed.connect(self.restyle)

    def _watch(self, on: bool) -> None:
        for key in self._keys:
            key.setEnabled(on)
        handle = self._window.windowHandle()
        if handle is not None:
            (handle.installEventFilter if on else handle.removeEventFilter)(self)

    def _key(self, key: str, name: str) -> QShortcut:
        made = QShortcut(QKeySequence(key), self._window, partial(self.click, key))
        made.setEnabled(False)
        return made


class BlackScreen(QWidget):
    """Over the whole of its parent, black."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.setAccessibleName(self.tr("Black screen"))
        self.setAutoFillBackground(True)
        ground = self.palette()
        ground.setColor(self.backgroundRole(), Qt.GlobalColor.black)
        self.setPalette(ground)
        self.hide()

    def setVisible(self, visible: bool) -> None:  # noqa: N802
        if visible:
            self.setGeometry(self._parent.rect())
            self.raise_()
        super().setVisible(visible)
