"""The sheet of keys: every key by menu, found by a few letters, in as many columns as there is room for."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

from app.command_line import Options
from app.commands import COMMANDS, key_names
from app.keys import OWN_KEYS
from app.keys_page import KeysPage, Line, shared
from app.preferences import Preferences
from app.shortcuts import plain_text
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow


@pytest.fixture
def window(make_window: MakeWindow) -> Window:
    return make_window(Options(sampling=GREEDY, size=(1280, 720)))


@pytest.fixture
def page(window: Window) -> KeysPage:
    window.actions_by_name["show_keys"].trigger()
    return window.commanding.sheet


def texts(page: KeysPage) -> list[str]:
    return [label.text() for label in page.area.widget().findChildren(QLabel)]


def test_every_key_is_on_it(page: KeysPage) -> None:
    shown = texts(page)
    for command in COMMANDS:
        if key_names(command):
            assert " ".join(key_names(command)) in shown
            assert plain_text(command) in shown
    assert {shown_as for _, shown_as, _ in OWN_KEYS} <= set(shown)


def test_it_fits_into_a_small_window_in_columns(window: Window, page: KeysPage) -> None:
    assert window.rect().contains(page.geometry())
    assert page.area.widget().width() <= page.area.viewport().width()
    assert len({label.x() for label in page.area.widget().findChildren(QLabel) if label.font().weight() > 500}) == 3


def test_letters_leave_what_they_are_found_in(window: Window, page: KeysPage, qtbot) -> None:
    before = page.size()
    qtbot.keyClicks(page.field, "f10")
    assert "Step layer" in texts(page)
    assert "Stop" not in texts(page)
    assert page.size() == before  # it does not jump while one types
    page.field.setText("xyzzy")
    assert texts(page) == ["No key is called so"] or page.area.widget().text() == "No key is called so"


def test_what_was_changed_says_so_at_once(window: Window, page: KeysPage) -> None:
    window.commanding.shortcuts.set_keys("stop", ("Ctrl+Alt+X",))
    assert "Stop · changed" in texts(page)
    assert "Ctrl+Alt+X" in texts(page)
    window.commanding.shortcuts.set_keys("stop", ())
    assert "no key" in texts(page)
    window.commanding.shortcuts.reset_all()
    assert "Stop" in texts(page)


def test_another_size_of_the_window_gives_other_columns(window: Window, page: KeysPage) -> None:
    window.resize(960, 600)
    assert window.rect().contains(page.geometry())
    assert page.area.widget().width() <= page.area.viewport().width()


@pytest.mark.parametrize("points", [20.0, 32.0])
def test_large_text_gives_fewer_columns_and_a_bar(make_window: MakeWindow, qtbot, points: float) -> None:
    Preferences().set_points(points)
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)))
    window.actions_by_name["show_keys"].trigger()
    page = window.commanding.sheet
    assert window.rect().contains(page.geometry())
    qtbot.keyClick(page.field, Qt.Key.Key_PageDown)
    assert page.area.verticalScrollBar().value() > 0


def test_esc_closes_it_and_the_button_leads_to_other_keys(window: Window, page: KeysPage, qtbot) -> None:
    qtbot.keyClick(page.field, Qt.Key.Key_Escape)
    assert not page.isVisible()
    window.actions_by_name["show_keys"].trigger()
    page.change.click()
    assert not page.isVisible()
    assert window.commanding.changes.isVisible()


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_lines_are_shared_in_their_order(columns: int) -> None:
    groups = [(f"menu {size}", [Line(str(at), f"{size} {at}") for at in range(size)]) for size in (7, 1, 20, 3)]
    parts = shared(groups, columns)
    assert len(parts) == columns
    assert [line for part in parts for _, lines in part for line in lines] == [line for _, ls in groups for line in ls]
    assert all(lines for part in parts for _, lines in part)  # no title without a line
    heights = [sum(len(lines) + 1 for _, lines in part) for part in parts]
    assert max(heights) <= sum(heights) / columns + 4
