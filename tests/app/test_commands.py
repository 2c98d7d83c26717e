"""The table of actions: unique, complete, and honest about what is possible."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence

import app
import resources
from app.commands import (
    COMMANDS,
    MENUS,
    TOOLBAR,
    Command,
    Situation,
    _always,
    described,
    identity,
    key_names,
    why_not,
)
from app.keys import OWN_KEYS, alone, portable
from app.shortcuts import keys_of
from tests.app.conftest import MakeWindow

MODEL = Situation(ready=True, has_model=True)
BY_NAME = {identity(command): command for command in COMMANDS}


def test_identities_are_unique() -> None:
    assert len(BY_NAME) == len(COMMANDS)


def test_no_key_calls_two_commands_or_what_pictures_do_themselves() -> None:
    own = {portable(key) for keys, *_ in OWN_KEYS for key in keys}
    uses = Counter(key for command in COMMANDS for key in keys_of(command))
    assert [key for key, times in uses.items() if times > 1 or key in own] == []


def test_every_key_is_known_to_qt() -> None:
    for command in COMMANDS:
        for key in (*command.keys, *filter(None, [command.picture_key])):
            assert portable(key), key


def test_no_key_is_one_that_types_a_letter_or_opens_a_terminal() -> None:
    """Ctrl+Alt is AltGr on Windows ("ś" of a Polish keyboard), and GNOME's own with T."""
    letters = [key for each in COMMANDS for key in keys_of(each) if re.fullmatch(r"Ctrl\+Alt\+(Shift\+)?.", key)]
    assert letters == []


def test_keys_that_are_also_typed_work_only_with_a_picture_focused() -> None:
    for command in COMMANDS:
        assert not any(map(alone, command.keys)), command.name
        assert not command.picture_key or alone(command.picture_key), command.name


def test_every_key_that_pictures_read_is_told_of() -> None:
    """What a widget or panel does with a plain key is in the list of the sheet, or the key of a command."""
    told = {portable(key) for keys, *_ in OWN_KEYS for key in keys} | {
        key for each in COMMANDS for key in keys_of(each)
    }
    assert [name for name in _keys_read() if portable(name) not in told] == []


def _keys_read() -> set[str]:
    """The names of the keys in the sources of panels and widgets, as texts."""
    found: set[str] = set()
    for folder in ("panels", "widgets"):
        for path in (Path(app.__file__).parent / folder).glob("*.py"):
            found |= set(re.findall(r"Key\.Key_(\w+)", path.read_text(encoding="utf-8")))
    assert {"Left", "Backspace"} <= found
    keys = (getattr(Qt.Key, f"Key_{name}") for name in found - {"Backtab"})  # Shift+Tab
    return {QKeySequence(key).toString() for key in keys}


def test_no_mark_of_a_menu_occurs_twice_in_it() -> None:
    marks = Counter((command.menu, _mark(command.text)) for command in COMMANDS)
    assert [mark for mark, times in marks.items() if times > 1 or not mark[1]] == []
    assert len({_mark(menu) for menu in MENUS}) == len(MENUS)


def _mark(text: str) -> str:
    """The letter that is marked, "" for none."""
    return text.replace("&&", "").partition("&")[2][:1].lower()


def test_no_key_of_a_command_opens_a_menu() -> None:
    opening = {f"Alt+{_mark(menu).upper()}" for menu in MENUS}
    assert opening.isdisjoint(key for command in COMMANDS for key in keys_of(command))


def test_every_command_is_in_a_menu_and_so_within_reach_of_the_keyboard(make_window: MakeWindow) -> None:
    window = make_window()
    in_menus = {entry for menu in window.menuBar().actions() for entry in menu.menu().actions()}
    assert set(window.actions_by_name) == {identity(command) for command in COMMANDS}
    assert set(window.actions_by_name.values()) <= in_menus


@pytest.mark.parametrize("command", COMMANDS, ids=identity)
def test_every_command_has_help_needs_and_icon(command: Command) -> None:
    assert command.help
    assert not command.help.endswith(".")
    assert (command.needs != "") is (command.enabled is not _always)
    assert not command.needs or (command.needs.startswith("Needs ") and not command.needs.endswith("."))
    assert command.icon == "" or resources.path(f"icons/{command.icon}.svg").is_file()


def test_toolbar_commands_exist_and_have_icons() -> None:
    assert all(BY_NAME[name].icon for name in TOOLBAR)


@pytest.mark.parametrize(
    ("name", "now", "possible"),
    [
        ("run", Situation(ready=True), False),
        ("run", MODEL, True),
        ("run", Situation(ready=True, has_model=True, loading=True), False),
        ("run", Situation(ready=True, has_model=True, state="running"), False),
        ("run", Situation(ready=True, has_model=True, state="paused"), True),
        ("pause", MODEL, False),
        ("pause", Situation(ready=True, has_model=True, state="running"), True),
        ("stop", Situation(ready=True, has_model=True, state="paused"), True),
        ("stop", MODEL, False),
        ("step_layer", MODEL, True),
        ("step_layer", Situation(), False),
        ("finish_layer", MODEL, True),
        ("run_here", MODEL, True),
        ("run_here", Situation(), False),
        ("break_here", MODEL, True),
        ("break_here", Situation(), False),
        ("toggle_breakpoints", Situation(), True),
        ("open_folder", Situation(), False),
        ("close", Situation(), True),
    ],
)
def test_what_is_possible(name: str, now: Situation, possible: bool) -> None:
    assert BY_NAME[name].enabled(now) is possible


def test_what_is_missing_is_said() -> None:
    run, gone = BY_NAME["run"], "Its model is gone."
    assert why_not(run, MODEL) == ""
    assert why_not(run, Situation()) == run.needs
    assert why_not(run, replace(MODEL, missing=gone)) == gone
    assert why_not(run, replace(MODEL, loading=True)) == "A model is being opened"
    assert why_not(BY_NAME["stop"], replace(MODEL, missing=gone)) == BY_NAME["stop"].needs


def test_the_tip_of_a_button_says_why_it_cannot_be_pressed(make_window: MakeWindow) -> None:
    stop = make_window().actions_by_name["stop"]
    assert stop.toolTip() == f"{described(BY_NAME['stop'])}\n{BY_NAME['stop'].needs}"
    assert stop.statusTip() == BY_NAME["stop"].needs


def test_help_names_the_keys() -> None:
    assert key_names(BY_NAME["pause"]) == ["F6", "Space"]
    assert described(BY_NAME["stop"]).endswith("(Shift+F5)")
