"""The table of actions: unique, complete, and honest about what is possible."""

from __future__ import annotations

from collections import Counter

import pytest
from PySide6.QtGui import QKeySequence

import resources
from app.branching import Branching
from app.commands import COMMANDS, TOOLBAR, Situation, by_picture_key, described, identity, key_names
from app.debugging import Debugging
from app.editing import Editing
from app.going import Going
from app.window import Window

MODEL = Situation(ready=True, has_model=True)
BY_NAME = {identity(command): command for command in COMMANDS}


def test_identities_are_unique() -> None:
    assert len(BY_NAME) == len(COMMANDS)


def test_no_key_is_used_twice() -> None:
    keys = Counter(QKeySequence(key).toString() for command in COMMANDS for key in command.keys)
    assert [key for key, uses in keys.items() if uses > 1] == []


def test_every_key_is_known_to_qt() -> None:
    for command in COMMANDS:
        for key in (*command.keys, *filter(None, [command.picture_key])):
            assert QKeySequence(key)[0].key() != 0, key


def test_letters_and_space_work_only_with_a_picture_focused() -> None:
    for command in COMMANDS:
        assert not {"Space", "F", "?"} & set(command.keys)
    assert {by_picture_key(key).name for key in ("Space", "F", "?")} == {"pause", "maximise", "show_keys"}
    assert by_picture_key("Q") is None


@pytest.mark.parametrize("command", COMMANDS, ids=identity)
def test_every_command_has_a_handler_help_and_icon(command) -> None:
    assert any(
        callable(getattr(handler, command.name, None)) for handler in (Window, Going, Debugging, Branching, Editing)
    )
    assert command.help
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


def test_help_names_the_keys() -> None:
    assert key_names(BY_NAME["pause"]) == ["F6", "Space"]
    assert described(BY_NAME["stop"]).endswith("(Shift+F5)")
