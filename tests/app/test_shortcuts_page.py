"""Other keys, chosen by pressing them: what they call follows at once, in the menus, on pictures, in tips."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from app.command_line import Options
from app.preferences import Preferences
from app.shortcuts_page import COMMAND, KEYS, STATE, ShortcutsPage
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.test_window import live as live
from tests.app.test_window import press

CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def window(make_window: MakeWindow) -> Window:
    made = make_window(Options(sampling=GREEDY, size=(1280, 720)))
    made.bar.prompt.setFocus()
    made.actions_by_name["change_keys"].trigger()
    return made


@pytest.fixture
def page(window: Window) -> ShortcutsPage:
    return window.commanding.changes


def use(qtbot, page: ShortcutsPage, name: str, key: Qt.Key, modifiers=Qt.KeyboardModifier.NoModifier) -> None:
    page.pick(name)
    page.key.setFocus()
    qtbot.keyClick(page.key, key, modifiers)
    qtbot.keyClick(page.key, Qt.Key.Key_Return)


def row(page: ShortcutsPage, name: str) -> tuple[str, str, str]:
    item = page._items[name]
    return item.text(COMMAND), item.text(KEYS), item.text(STATE)


def test_a_pressed_key_calls_the_command_from_now_on(window: Window, page: ShortcutsPage, qtbot) -> None:
    use(qtbot, page, "use_theme.light", Qt.Key.Key_F7)
    assert row(page, "use_theme.light") == ("Light theme", "F7", "changed")
    assert "(F7)" in window.actions_by_name["use_theme.light"].toolTip()
    assert "F7" in page.words.text()
    window.actions_by_name["undo_one"].trigger()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_F7)
    assert window.context.theme.name == "light"


def test_the_old_key_calls_nothing_any_more(window: Window, page: ShortcutsPage, qtbot) -> None:
    use(qtbot, page, "show_keys", Qt.Key.Key_K, CTRL)
    window.actions_by_name["undo_one"].trigger()
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_F1, CTRL)
    assert not window.commanding.sheet.isVisible()
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_K, CTRL)
    assert window.commanding.sheet.isVisible()


def test_a_button_of_the_toolbar_tells_the_new_key(window: Window, page: ShortcutsPage, qtbot) -> None:
    use(qtbot, page, "step_layer", Qt.Key.Key_F7)
    button = next(one for one in window.bar.buttons if one.defaultAction() is window.actions_by_name["step_layer"])
    assert "(F7)" in button.toolTip()
    assert button.toolTip().endswith("Needs a model")  # and why it cannot be pressed


def test_a_key_of_another_command_is_refused_by_name(page: ShortcutsPage, qtbot) -> None:
    page.pick("run")
    page.key.setFocus()
    qtbot.keyClick(page.key, Qt.Key.Key_F6)
    assert page.words.text().startswith("F6 already calls “Pause”")
    assert not page.use.isEnabled()
    assert not page.add.isEnabled()
    qtbot.keyClick(page.key, Qt.Key.Key_Return)
    assert row(page, "run") == ("Run", "F5", "")


def test_a_key_is_added_beside_the_others(window: Window, page: ShortcutsPage, qtbot) -> None:
    page.pick("pause")
    page.key.setFocus()
    qtbot.keyClick(page.key, Qt.Key.Key_F7)
    page.add.click()
    assert row(page, "pause") == ("Pause", "F6  F7  Space", "changed")
    qtbot.keyClick(page.key, Qt.Key.Key_L)
    assert "where a picture" in page.words.text()
    page.add.click()  # instead of Space: of keys that are also typed there is one
    assert row(page, "pause") == ("Pause", "F6  F7  L", "changed")


def test_no_key_the_first_keys_and_the_first_keys_of_all(window: Window, page: ShortcutsPage, qtbot) -> None:
    page.pick("pause")
    assert not page.first.isEnabled()
    page.none.click()
    assert row(page, "pause") == ("Pause", "", "changed")
    assert not page.none.isEnabled()
    page.first.click()
    assert row(page, "pause") == ("Pause", "F6  Space", "")
    use(qtbot, page, "stop", Qt.Key.Key_F7)
    page.all_first.click()
    assert row(page, "stop") == ("Stop", "Shift+F5", "")
    assert not page.all_first.isEnabled()
    assert Preferences().shortcuts() == ""


def test_esc_keeps_its_key_and_closes_the_page(window: Window, page: ShortcutsPage, qtbot) -> None:
    page.pick("undo_one")
    assert not page.none.isEnabled()
    page.key.setFocus()
    qtbot.keyClick(page.key, Qt.Key.Key_Escape)
    assert not page.isVisible()
    assert window.focusWidget() is window.bar.prompt


def test_nobody_is_caught_in_the_field_for_a_key(page: ShortcutsPage, qtbot) -> None:
    page.key.setFocus()
    qtbot.keyClick(page.key, Qt.Key.Key_Tab)
    assert page.window().focusWidget() is not page.key
    page.key.setFocus()
    qtbot.keyClick(page.key, Qt.Key.Key_Backtab, Qt.KeyboardModifier.ShiftModifier)
    assert page.window().focusWidget() is not page.key


def test_tab_goes_round_on_the_page(window: Window, page: ShortcutsPage, qtbot) -> None:
    page.pick("pause")
    page.field.setFocus()
    walked = []
    for _ in range(12):
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        walked.append(window.focusWidget())
    assert all(page.isAncestorOf(part) for part in walked)
    assert {page.field, page.list, page.none, page.done} <= set(walked)
    assert any(part is page.key or page.key.isAncestorOf(part) for part in walked)
    qtbot.keyClick(page.field, Qt.Key.Key_Backtab, Qt.KeyboardModifier.ShiftModifier)
    assert page.isAncestorOf(window.focusWidget())


def test_while_a_key_is_pressed_there_it_calls_nothing(window: Window, page: ShortcutsPage, qtbot) -> None:
    page.pick("run")
    page.key.setFocus()
    qtbot.keyClick(page.key, Qt.Key.Key_F1, CTRL)
    assert page.isVisible()
    assert not window.commanding.sheet.isVisible()
    assert "already calls “Keys”" in page.words.text()


def test_letters_find_a_command(page: ShortcutsPage, qtbot) -> None:
    qtbot.keyClicks(page.field, "f10")
    shown = [name for name, item in page._items.items() if not item.isHidden()]
    assert "step_layer" in shown
    assert "stop" not in shown
    assert page.picked is not None
    page.field.setText("xyzzy")
    assert page.picked is None
    assert not page.use.isEnabled()


def test_the_next_start_has_them_and_tells_of_damaged_ones(make_window: MakeWindow) -> None:
    Preferences().set_shortcuts('{"stop": ["F7"], "pause": ["nonsense"]}')
    window = make_window()
    assert window.actions_by_name["stop"].shortcut().toString() == "F7"
    assert window.actions_by_name["pause"].shortcut().toString() == "F6"
    assert "Pause" in window.notice_bar.sentences.text()
    again = make_window()
    assert again.actions_by_name["stop"].shortcut().toString() == "F7"


@pytest.mark.parametrize("points", [10.0, 20.0, 26.0])
def test_it_fits_with_large_text(make_window: MakeWindow, points: float) -> None:
    Preferences().set_points(points)
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)))
    window.actions_by_name["change_keys"].trigger()
    page = window.commanding.changes
    QApplication.processEvents()
    assert window.rect().contains(page.geometry())
    for part in (page.use, page.add, page.none, page.first, page.all_first, page.done):
        assert page.rect().contains(part.geometry())
        assert part.width() >= part.sizeHint().width()


def test_another_key_on_pictures(live, qtbot) -> None:
    window, _ = live
    window.commanding.shortcuts.set_keys("maximise", ("Ctrl+Shift+M", "Shift+L"))
    window.workspace.docks["attention"].panel.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    window.workspace.docks["attention"].panel.setFocus()
    press(window, "attention", Qt.Key.Key_F, "f")
    assert window.workspace.maximised is None
    qtbot.keyClick(window.workspace.docks["attention"], Qt.Key.Key_L, Qt.KeyboardModifier.ShiftModifier)
    assert window.workspace.maximised is window.workspace.docks["attention"]
