"""The menu bar and the context menus are made of the table of commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QApplication, QMenu

import app.menus
from app.command_line import Options
from app.commands import COMMANDS, identity
from app.menus import add_commands
from app.panels import PANELS
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow, with_model, with_run
from tests.app.test_window import live as live


def texts(menu: QMenu) -> list[str]:
    return [action.text() for action in menu.actions() if not action.isSeparator()]


def entry(menu: QMenu, text: str):
    return next(action for action in menu.actions() if action.text().replace("&", "").startswith(text))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Window, str], QMenu]:
    """Gives the menu of a panel's title, as a press of the right button opens it, without its window on screen."""
    popped: list[QMenu] = []

    def popup(menu: QMenu, place: QPoint) -> None:
        popped.append(menu)
        menu.aboutToShow.emit()

    def by_right_button(window: Window, key: str) -> QMenu:
        bar, place = window.workspace.docks[key].bar, QPoint(5, 5)
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, bar.mapToGlobal(place))
        QApplication.sendEvent(bar, event)
        return popped[-1]

    monkeypatch.setattr(QMenu, "popup", popup)
    return by_right_button


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch):
    """Makes the table one in which a single command has a place in context menus."""

    def place(name: str, *places: str) -> None:
        changed = tuple(replace(c, places=places if identity(c) == name else ()) for c in COMMANDS)
        monkeypatch.setattr(app.menus, "COMMANDS", changed)

    return place


def test_every_menu_has_its_commands_in_their_order(make_window: MakeWindow) -> None:
    window = make_window()
    for action in window.menuBar().actions():
        shown = [entry.objectName() for entry in action.menu().actions() if entry.objectName()]
        rows = [identity(command) for command in COMMANDS if command.menu == action.text()]
        assert rows
        assert [name for name in shown if name in window.actions_by_name] == rows


def test_every_menu_fits_into_a_small_window(make_window: MakeWindow) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)), PANELS)
    bar = window.menuBar()
    for action in bar.actions():
        assert action.menu().sizeHint().height() <= 720 - bar.height(), action.text()


def test_every_panel_can_be_opened_from_a_menu(make_window: MakeWindow) -> None:
    window = make_window(Options(sampling=GREEDY), PANELS)
    menus = [menu for menu in window.menuBar().findChildren(QMenu) if menu.title().startswith("Panels")]
    assert [texts(menu) for menu in menus] == [[dock.panel.title() for dock in window.workspace.docks.values()]]


def test_the_menu_of_a_panel_s_title_acts_on_that_panel(live, opened) -> None:
    window, _ = live
    window.workspace.docks["layers"].panel.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    window.workspace.docks["layers"].panel.setFocus()
    menu = opened(window, "attention")
    rows = [command for command in COMMANDS if "panel" in command.places]
    assert {identity(row) for row in rows} >= {"maximise", "toggle_table"} & set(window.actions_by_name)
    maximise = entry(menu, "Maximise panel")
    assert maximise.text().endswith("\tCtrl+Shift+M")
    assert not maximise.shortcuts()  # a second action with that key would make it ambiguous
    maximise.trigger()
    assert window.workspace.maximised is window.workspace.docks["attention"]


def test_its_entries_are_as_possible_as_the_commands(make_window: MakeWindow, opened) -> None:
    window = make_window()
    window.pages.setCurrentWidget(window.workspace)
    menu = opened(window, "attention")
    assert not entry(menu, "Maximise panel").isEnabled()  # without a model


def test_the_menu_shows_a_changed_key(live, opened) -> None:
    window, _ = live
    window.commanding.shortcuts.set_keys("maximise", ("F7",))
    menu = opened(window, "attention")
    assert entry(menu, "Maximise panel").text().endswith("\tF7")


def test_a_command_of_the_tokens_pins_where_the_menu_was_opened(make_window: MakeWindow, placed) -> None:
    placed("break_here", "tokens")
    window = make_window(Options(sampling=GREEDY), PANELS)
    there: list[int | None] = []
    action = window.actions_by_name["break_here"]
    action.setEnabled(True)
    action.triggered.connect(lambda: there.append(window.context.cursor.pinned.position))
    assert window.strip is not None
    menu = window.strip.menu(3)
    assert window.context.cursor.pinned.position is None  # to look at a menu changes nothing
    entry(menu, "Breakpoint here").trigger()
    assert there == [3]


@pytest.mark.parametrize(("stage", "pinned"), [("", 2), ("rope", 2)])
def test_a_command_of_the_pass_pins_where_the_menu_was_opened(
    live_panels: Window, placed, stage: str, pinned: int
) -> None:
    placed("show_edits", "pass")
    window = live_panels
    there: list[int] = []
    window.actions_by_name["show_edits"].triggered.connect(lambda: there.append(window.context.cursor.pinned.layer))
    view = window.workspace.docks["layers"].panel.view
    menu = view.menu_of((2, stage))
    assert menu is not None
    entry(menu, "Edits").trigger()
    assert there == [pinned]


@pytest.fixture
def live_panels(make_window: MakeWindow, qtbot, tiny_model) -> Window:
    """A window of the real panels with the tiny model loaded."""
    return with_model(make_window, qtbot, tiny_model, PANELS, tokens=2)


def test_a_menu_without_commands_stays_as_it_is(make_window: MakeWindow, placed, qtbot) -> None:
    placed("show_edits", "pass")
    window, menu = make_window(), QMenu()
    qtbot.addWidget(menu)
    menu.addAction("own")
    add_commands(menu, "tokens", window.actions_by_name)
    assert [action.text() for action in menu.actions()] == ["own"]
    add_commands(menu, "pass", window.actions_by_name)
    assert [action.isSeparator() for action in menu.actions()] == [False, True, False]


# ---- where nothing in a panel has a menu of its own ------------------------------------------------------------------


def test_the_menu_of_a_panel_opens_wherever_it_has_none_of_its_own(
    make_window: MakeWindow, qtbot, tiny_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = with_run(make_window, qtbot, tiny_model, PANELS, tokens=4, layout="explore")
    popped: list[QMenu] = []
    monkeypatch.setattr(QMenu, "popup", lambda menu, place: popped.append(menu))
    for key in ("attention", "lens", "cache", "experts", "residual", "layers", "sampling"):
        window.show_panel(key)
        qtbot.waitUntil(lambda: window.complete, timeout=20_000)
        dock = window.workspace.docks[key]
        picture = dock.panel.main_picture() or dock.panel
        corner = picture.rect().bottomRight() - QPoint(3, 3)
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, corner, picture.mapToGlobal(corner))
        QApplication.sendEvent(picture, event)
        assert popped == [dock.bar._export.menu()], key
        popped.pop().aboutToShow.emit()
        assert any("picture" in text for text in texts(dock.bar._export.menu())), key
