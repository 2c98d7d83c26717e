"""Pages over the window: one at a time, gone when somebody goes on behind them, and also for floating panels."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from app.window import Window
from tests.app.conftest import MakeWindow, trigger

OPENED = ("show_palette", "show_keys", "change_keys", "show_log", "show_cost")
FLOATING = pytest.mark.qt_log_ignore("does not support raise", extend=True)  # of the platform without a screen


def pages(window: Window) -> dict[str, object]:
    commanding = window.commanding
    shown = (commanding.palette, commanding.sheet, commanding.changes, window.reporting.page, window.meter_page)
    return dict(zip(OPENED, shown, strict=True))


def show(window: Window, name: str) -> None:
    """As its command does; what watching costs can be shown without a run here."""
    owner = {"show_cost": window, "show_log": window.reporting}.get(name, window.commanding)
    getattr(owner, name)()


@pytest.fixture
def window(make_window: MakeWindow, qtbot) -> Window:
    made = make_window()
    made.pages.setCurrentWidget(made.workspace)
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    made.workspace.docks["attention"].take_focus()
    return made


@pytest.mark.parametrize("other", OPENED)
def test_only_one_lies_there(window: Window, other: str) -> None:
    for name in OPENED:
        if name != other:
            show(window, name)
            show(window, other)
            assert [key for key, page in pages(window).items() if page.isVisible()] == [other], name
            window.undo_one()
            assert not any(page.isVisible() for page in pages(window).values())
    assert window.workspace.focused() is window.workspace.docks["attention"], "the keyboard is where it was"


@pytest.mark.parametrize("name", OPENED)
def test_it_leaves_when_somebody_goes_on_behind_it(window: Window, name: str) -> None:
    """But for what watching costs, which is looked at meanwhile."""
    show(window, name)
    window.bar.prompt.setFocus()
    assert pages(window)[name].isVisible() is (name == "show_cost")
    assert window.bar.prompt.hasFocus()


def test_the_presenters_page_does_not_lie_under_one(window: Window) -> None:
    show(window, "show_cost")
    window.actions_by_name["show_presenter"].triggered.emit()
    assert not window.meter_page.isVisible()
    page = window.attending.page
    assert page is not None
    assert page.widget().autoFillBackground()


def floating(window: Window, qtbot, key: str = "residual"):
    """A panel in a window of its own, with the keyboard."""
    dock = window.workspace.docks[key]
    dock.setFloating(True)
    dock.show()
    dock.activateWindow()
    qtbot.waitUntil(dock.isActiveWindow)
    dock.take_focus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is not None and dock.isAncestorOf(QApplication.focusWidget()))
    return dock


@FLOATING
def test_commands_act_on_the_floating_panel_that_has_the_keyboard(window: Window, qtbot) -> None:
    dock = floating(window, qtbot)
    assert window.workspace.focused() is dock
    trigger(window, "copy_picture")
    assert QApplication.clipboard().image().size() == dock.panel.picture().size()
    trigger(window, "close_panel")
    assert not dock.isVisible()
    assert window.workspace.docks["attention"].isVisible()


@FLOATING
@pytest.mark.parametrize("name", OPENED)
def test_a_page_takes_the_keyboard_from_a_floating_panel_and_gives_it_back(window: Window, qtbot, name: str) -> None:
    dock = floating(window, qtbot)
    show(window, name)
    qtbot.waitUntil(window.isActiveWindow)
    page = pages(window)[name]
    qtbot.waitUntil(lambda: QApplication.focusWidget() is not None and page.holds(QApplication.focusWidget()))
    if name == "show_palette":
        qtbot.keyClicks(QApplication.focusWidget(), "pause")
        assert page.field.text() == "pause"
        qtbot.keyClick(page.field, Qt.Key.Key_Down)
    window.undo_one()
    qtbot.waitUntil(dock.isActiveWindow)
    assert window.workspace.focused() is dock
