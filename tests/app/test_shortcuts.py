"""Keys that the user chose: kept, refused where they collide, dropped where they make no sense."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent

from app.commands import COMMANDS, identity, key_names
from app.keys import alone, portable, pressed
from app.preferences import Preferences
from app.shortcuts import Shortcuts, keys_of

NO, SHIFT, CTRL = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
)


@pytest.fixture
def kept() -> Preferences:
    return Preferences()


def keeping(kept: Preferences, text: str) -> Shortcuts:
    kept.set_shortcuts(text)
    return Shortcuts(kept)


def first_keys() -> dict[str, tuple[str, ...]]:
    return {identity(command): keys_of(command) for command in COMMANDS}


def keys_now(shortcuts: Shortcuts) -> dict[str, tuple[str, ...]]:
    return {identity(row): keys_of(row) for row in shortcuts.rows}


# ---- texts of keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ctrl+shift+p", "Ctrl+Shift+P"),
        ("F5", "F5"),
        ("Shift+?", "?"),
        ("Shift+F", "Shift+F"),
        ("Shift+Space", "Shift+Space"),
        ("é", "É"),
        ("", ""),
        ("Ctrl+", ""),
        ("nonsense", ""),
        ("Ctrl+K, Ctrl+C", ""),  # two keys
        ("Shift", ""),
        ("\ud800", ""),
        ("a\nb", ""),
        ("F" * 10_000, ""),
    ],
)
def test_one_way_to_write_a_key(text: str, key: str) -> None:
    assert portable(text) == key
    assert portable(key) == key


def test_keys_that_are_also_typed() -> None:
    assert all(map(alone, ("Space", "F", "Shift+F", "?", "7", "É")))
    assert not any(map(alone, ("F5", "Ctrl+F", "Alt+F", "Esc", "Left", "Ctrl+Shift+F", "Meta+F")))


@pytest.mark.parametrize(
    ("key", "modifiers", "text", "name"),
    [
        (Qt.Key.Key_F, NO, "f", "F"),
        (Qt.Key.Key_F, SHIFT, "F", "Shift+F"),
        (Qt.Key.Key_Question, SHIFT, "?", "?"),
        (Qt.Key.Key_Question, NO, "?", "?"),
        (Qt.Key.Key_Space, NO, " ", "Space"),
        (Qt.Key.Key_5, Qt.KeyboardModifier.KeypadModifier, "5", "5"),
        (Qt.Key.Key_S, CTRL, "", "Ctrl+S"),
        (Qt.Key.Key_Shift, SHIFT, "", ""),
    ],
)
def test_the_key_of_an_event(key: Qt.Key, modifiers: Qt.KeyboardModifier, text: str, name: str) -> None:
    assert pressed(QKeyEvent(QEvent.Type.KeyPress, key, modifiers, text)) == name


# ---- chosen keys -----------------------------------------------------------------------------------------------------


def test_at_first_the_keys_of_the_table(kept: Preferences) -> None:
    shortcuts = Shortcuts(kept)
    assert keys_now(shortcuts) == first_keys()
    assert shortcuts.complaint == ""
    assert not shortcuts.any_changed


def test_chosen_keys_are_kept_and_taken_back(kept: Preferences) -> None:
    shortcuts = Shortcuts(kept)
    shortcuts.set_keys("step_layer", ("ctrl+shift+k", "L"))
    for here in (shortcuts, Shortcuts(Preferences())):  # the next start
        assert key_names(here.row("step_layer")) == ["Ctrl+Shift+K", "L"]
        assert here.row("step_layer").picture_key == "L"
        assert here.by_picture_key("L") == here.row("step_layer")
        assert here.is_changed("step_layer")
    shortcuts.reset("step_layer")
    assert keys_now(Shortcuts(Preferences())) == first_keys()


def test_the_first_keys_chosen_again_are_no_change(kept: Preferences) -> None:
    shortcuts = Shortcuts(kept)
    shortcuts.set_keys("pause", ())
    assert keys_of(shortcuts.row("pause")) == ()
    assert shortcuts.is_changed("pause")
    shortcuts.set_keys("pause", ("F6", "Space"))
    assert not shortcuts.any_changed
    assert kept.shortcuts() == ""


def test_all_keys_at_once_are_those_of_the_table_again(kept: Preferences) -> None:
    shortcuts = Shortcuts(kept)
    shortcuts.set_keys("pause", ())
    shortcuts.set_keys("run", ("F6",))
    shortcuts.reset_all()
    assert keys_now(shortcuts) == keys_now(Shortcuts(Preferences())) == first_keys()


def test_another_window_loses_nothing(kept: Preferences) -> None:
    one, other = Shortcuts(kept), Shortcuts(Preferences())
    one.set_keys("stop", ("F3",))
    other.set_keys("save_window", ("F4",))
    next_start = Shortcuts(Preferences())
    assert keys_of(next_start.row("stop")) == ("F3",)
    assert keys_of(next_start.row("save_window")) == ("F4",)
    one.reset("stop")
    assert set(json.loads(kept.shortcuts())) == {"save_window"}


def test_of_two_windows_the_last_gives_a_key(kept: Preferences) -> None:
    one, other = Shortcuts(kept), Shortcuts(Preferences())
    one.set_keys("stop", ("F3",))
    other.set_keys("save_window", ("F3",))
    next_start = Shortcuts(Preferences())
    assert next_start.complaint == ""
    assert keys_of(next_start.row("save_window")) == ("F3",)
    assert keys_of(next_start.row("stop")) == first_keys()["stop"]


def test_all_keys_at_once_are_those_of_the_table_also_where_another_window_chose_some(kept: Preferences) -> None:
    one, other = Shortcuts(kept), Shortcuts(Preferences())
    one.set_keys("stop", ("F3",))
    other.set_keys("save_window", ("F4",))
    other.reset_all()
    assert keys_now(Shortcuts(Preferences())) == first_keys()


def test_a_change_is_told(kept: Preferences, qtbot) -> None:
    shortcuts = Shortcuts(kept)
    with qtbot.waitSignal(shortcuts.changed):
        shortcuts.set_keys("run", ("F7",))


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("run", "F6", "F6 already calls “Pause”"),
        ("run", "?", "? already calls “Keys”"),
        ("run", "Left", "Pictures, lists and fields use Left"),
        ("run", "Ctrl+C", "Pictures, lists and fields use Ctrl+C"),
        ("run", "A", "Pictures, lists and fields use A"),
        ("run", "Alt+F", "Alt+F opens the menu File"),
        ("run", "nonsense", "not a key"),
        ("run", "", "not a key"),
        ("run", "Esc", "Esc already calls “Undo one thing”"),
        ("undo_one", "F7", "keeps its key"),
    ],
)
def test_a_key_that_is_refused_has_a_sentence(kept: Preferences, name: str, key: str, words: str) -> None:
    sentence = Shortcuts(kept).refusal(name, key)
    assert words in sentence
    assert sentence.endswith(".")


def test_a_key_that_was_taken_away_is_free(kept: Preferences) -> None:
    shortcuts = Shortcuts(kept)
    assert shortcuts.refusal("pause", "F6") == ""  # its own
    assert shortcuts.refusal("run", "F6") != ""
    shortcuts.set_keys("pause", ("Space",))
    assert shortcuts.refusal("run", "F6") == ""
    shortcuts.set_keys("run", ("F6",))
    shortcuts.reset("pause")  # F6 stays where it is now
    assert keys_of(shortcuts.row("pause")) == ("Space",)
    assert keys_of(shortcuts.row("run")) == ("F6",)


# ---- what is kept and makes no sense ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "7", "null", "[" * 100_000, '{"run": ["F7"]}' + " " * 60_000, "\x00", '{"run":'],
    ids=["cut off", "a list", "a number", "null", "deep", "huge", "zero", "no end"],
)
def test_damaged_shortcuts_are_dropped_with_a_sentence(kept: Preferences, text: str) -> None:
    shortcuts = keeping(kept, text)
    assert keys_now(shortcuts) == first_keys()
    assert "damaged" in shortcuts.complaint


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("pause", ["nonsense"]),
        ("pause", "F7"),
        ("pause", [7]),
        ("pause", None),
        ("pause", ["Left"]),
        ("pause", ["Alt+F"]),
        ("pause", ["L", "M"]),  # two that are also typed
        ("pause", ["F8"]),  # of the command before
        ("undo_one", ["F7"]),
        ("of_an_older_version", ["F7"]),
    ],
)
def test_one_that_makes_no_sense_is_dropped_and_named(kept: Preferences, name: str, keys: object) -> None:
    shortcuts = keeping(kept, json.dumps({"run": ["F8"], name: keys}))
    assert keys_now(shortcuts) == first_keys() | {"run": ("F8",)}
    assert ("Pause" if name == "pause" else "Undo one" if name == "undo_one" else name) in shortcuts.complaint


def test_a_key_that_a_newer_table_gives_to_another_command_stays_the_user_s(kept: Preferences) -> None:
    shortcuts = keeping(kept, json.dumps({"run": ["F6"]}))  # of Pause, in this table
    assert keys_of(shortcuts.row("run")) == ("F6",)
    assert keys_of(shortcuts.row("pause")) == ("Space",)
    assert shortcuts.complaint == ""


NAMES = some.sampled_from([identity(command) for command in COMMANDS])
KEYS = some.sampled_from(("F5", "F6", "F7", "Space", "L", "?", "Ctrl+S", "Ctrl+K", "Left", "Esc", "Alt+F", "x+y"))
DEEDS = some.lists(some.tuples(NAMES, some.lists(KEYS, max_size=3), some.booleans()), max_size=12)


@settings(deadline=None, max_examples=60)
@given(DEEDS)
def test_whatever_is_chosen_no_two_commands_share_a_key(deeds: list[tuple[str, list[str], bool]]) -> None:
    shortcuts = Shortcuts(Preferences(kept=False))
    for name, keys, reset in deeds:
        free = [key for key in keys if not shortcuts.refusal(name, key)]
        if reset:
            shortcuts.reset(name)
        elif sum(map(alone, free)) <= 1:
            shortcuts.set_keys(name, free)
        used = sorted(key for row in shortcuts.rows for key in keys_of(row))
        assert all(one != other for one, other in pairwise(used))
        assert keys_of(shortcuts.row("undo_one")) == ("Esc",)


@settings(deadline=None, max_examples=60)
@given(some.dictionaries(NAMES | some.text(max_size=5), some.lists(KEYS | some.text(max_size=8), max_size=3)))
def test_whatever_is_kept_no_two_commands_share_a_key(chosen: dict[str, list[str]]) -> None:
    preferences = Preferences(kept=False)
    preferences.shortcuts = lambda: json.dumps(chosen)  # type: ignore[method-assign]
    shortcuts = Shortcuts(preferences)
    used = sorted(key for row in shortcuts.rows for key in keys_of(row))
    assert all(one != other for one, other in pairwise(used))
