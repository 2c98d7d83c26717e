"""Layouts: the program's own and the user's, of this version and of older ones; nothing off the screen; reminders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QRect, QSettings, Qt
from PySide6.QtWidgets import QApplication, QDockWidget, QLabel, QMainWindow, QTabBar

from app.command_line import Options, parse
from app.layout_names import NAMES, present_name
from app.layout_shapes import LAYOUTS, mates
from app.layouts import knows
from app.on_screen import HANDLE, bring_back, placed, rooms
from app.panels import PANELS
from app.panels.panel import Context, Panel
from app.preferences import Preferences
from app.window import Window
from tests.app.conftest import GREEDY, PLAIN_PANELS, MakeWindow, panel_class

MORE = (*PLAIN_PANELS, *(panel_class(key) for key in ("experts", "branches", "notes")))
FLOATS = pytest.mark.qt_log_ignore(r"raise\(\)", extend=True)  # a window of its own: this plugin cannot put it in front


def trigger(window: Window, name: str) -> None:
    window.actions_by_name[name].trigger()
    QApplication.processEvents()


def shown(window: Window) -> set[str]:
    QApplication.processEvents()
    return {key for key, dock in window.workspace.docks.items() if dock.shown}


def opened(make_window: MakeWindow, layout: str | None = "explore", panels=MORE) -> Window:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720), layout=layout), panels)
    window.pages.setCurrentWidget(window.workspace)
    QApplication.processEvents()
    return window


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "name"), [("focus", "explore"), ("grid", "all"), *((name, name) for name in NAMES)])
def test_the_command_line_knows_the_layouts_and_their_old_names(word: str, name: str) -> None:
    assert parse(["--layout", word]).layout == name


def test_a_layout_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--layout", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["focus", "grid", *NAMES])
def test_every_word_opens_a_window_in_that_layout(make_window: MakeWindow, word: str) -> None:
    window = opened(make_window, word)
    assert window.workspace.layout_name == present_name(word)
    named = {key for column in LAYOUTS[present_name(word)].columns for stack in column for key in stack}
    open_docks = {key for key, dock in window.workspace.docks.items() if not dock.isHidden()}
    assert open_docks == (named | {"strip"}) & window.workspace.docks.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_names_no_panel_twice_and_none_that_nobody_knows(name: str) -> None:
    layout = LAYOUTS[name]
    keys = [*layout.top, *(key for column in layout.columns for stack in column for key in stack)]
    assert len(keys) == len(set(keys))
    assert set(keys) <= {panel.key for panel in PANELS} | {"notes", "glossary"}
    assert len(layout.widths) == len(layout.columns)


@pytest.mark.parametrize("name", ["explore", "all"])
def test_the_layouts_with_everything_name_every_panel(name: str) -> None:
    layout = LAYOUTS[name]
    keys = {*layout.top, *(key for column in layout.columns for stack in column for key in stack)}
    assert {panel.key for panel in PANELS} <= keys


# ---- panels that are closed ----------------------------------------------------------------------------------------


def test_a_panel_that_the_layout_closes_comes_up_in_the_place_of_its_mates(make_window: MakeWindow) -> None:
    window = opened(make_window, "teach")
    assert shown(window) == {"strip", "layers", "attention", "sampling"}
    window.workspace.bring_up("experts")
    assert shown(window) == {"strip", "layers", "experts", "sampling"}
    window.workspace.bring_up("branches")
    assert shown(window) == {"strip", "layers", "experts", "branches"}
    assert not any(dock.isFloating() for dock in window.workspace.docks.values())


def test_the_status_bar_reminds_of_closed_panels_and_opens_them_again(make_window: MakeWindow) -> None:
    window = opened(make_window)
    chip = window.status.hidden
    assert chip.isHidden()
    window.workspace.docks["residual"].close()
    window.workspace.docks["notes"].close()
    QApplication.processEvents()
    assert not chip.isHidden()
    assert "2 panels" in chip.accessibleName()
    chip.menu().aboutToShow.emit()
    texts = [action.text() for action in chip.menu().actions()]
    assert "Show again: Residual" in texts
    next(action for action in chip.menu().actions() if "Residual" in action.text()).trigger()
    assert "residual" in shown(window)
    assert "1 panel" in chip.accessibleName()
    trigger(window, "show_all_panels")
    assert chip.isHidden()
    assert not any(dock.isHidden() for dock in window.workspace.docks.values())


def test_a_maximised_panel_is_a_reminder_and_esc_restores_the_others(make_window: MakeWindow) -> None:
    window = opened(make_window)
    window.workspace.docks["attention"].take_focus()
    before = shown(window)
    window.workspace.docks["attention"].maximise_asked.emit()
    assert shown(window) == {"attention"}
    assert "maximised" in window.status.hidden.accessibleName()
    trigger(window, "undo_one")
    assert shown(window) == before
    assert window.status.hidden.isHidden()


def test_the_focus_goes_to_the_panel_that_takes_the_place_of_a_closed_one(make_window: MakeWindow) -> None:
    window = opened(make_window, panels=PANELS)
    docks = window.workspace.docks
    docks["attention"].take_focus()
    assert window.workspace.focused() is docks["attention"]
    trigger(window, "close_panel")
    heir = window.workspace.focused()
    assert heir is not None
    assert heir.shown
    assert heir.panel.key in mates("attention")
    docks["layers"].take_focus()
    docks["layers"].toggleViewAction().trigger()  # alone in its place
    assert window.workspace.focused() is docks["strip"]
    trigger(window, "close_panel")
    heir = window.workspace.focused()
    assert heir is not None
    assert heir.shown


def test_closing_the_window_with_a_maximised_panel_keeps_all_of_them(make_window: MakeWindow) -> None:
    first = opened(make_window, None)
    first.workspace.toggle_maximised(first.workspace.docks["attention"])
    first.close()
    second = opened(make_window, None)
    assert shown(second) == {"strip", "layers", "attention", "sampling"}


def test_what_is_left_out_of_a_picture_is_a_reminder(make_window: MakeWindow) -> None:
    window = opened(make_window, panels=PANELS)
    chip, attention = window.status.hidden, window.workspace.docks["attention"].panel
    trigger(window, "fold_timeline")
    attention._leave_out.setChecked(True)  # type: ignore[attr-defined]
    window.workspace.docks["tensors"].panel._search.setText("q_proj")  # type: ignore[attr-defined]
    QApplication.processEvents()
    chip.menu().aboutToShow.emit()
    texts = "\n".join(action.text() for action in chip.menu().actions())
    for words in ("the timeline is folded", "token 0 is left out", "rows are filtered"):
        assert words in texts
        assert words in chip.accessibleName()
    next(a for a in chip.menu().actions() if "everything" in a.text()).trigger()
    QApplication.processEvents()
    assert chip.isHidden()
    assert not attention._leave_out.isChecked()  # type: ignore[attr-defined]


def test_nothing_hidden_is_said(make_window: MakeWindow) -> None:
    window = opened(make_window)
    trigger(window, "show_hidden")
    assert window.status.value.text() == "Nothing is hidden"


# ---- saved layouts -------------------------------------------------------------------------------------------------


def test_a_layout_is_saved_under_a_name_used_deleted_and_brought_back(make_window: MakeWindow) -> None:
    window = opened(make_window)
    window.workspace.docks["residual"].close()
    window.arranging.save_layout_as("  My   lesson ")
    assert window.arranging.saved == ["My lesson"]
    trigger(window, "use_layout.all")
    assert "residual" in shown(window)
    window.arranging.use_layout("My lesson")
    assert window.workspace.docks["residual"].isHidden()
    assert window.workspace.layout_name == "My lesson"
    window.workspace.docks["cache"].close()
    trigger(window, "reset_layout")
    assert not window.workspace.docks["cache"].isHidden()
    window.arranging.delete_layout("My lesson")
    assert window.arranging.saved == []
    window.arranging.undo_layout()
    assert window.arranging.saved == ["My lesson"]
    window.arranging.undo_layout()  # of the saving
    assert window.arranging.saved == []


def test_layouts_are_saved_for_the_session_where_no_settings_are_kept() -> None:
    preferences = Preferences(kept=False)
    preferences.set_saved_layouts({"one": QByteArray(b"state")})
    assert preferences.saved_layouts() == {"one": QByteArray(b"state")}


def test_saved_layouts_are_there_at_the_next_start_and_in_use(make_window: MakeWindow) -> None:
    first = opened(make_window, None)
    first.workspace.docks["residual"].close()
    first.arranging.save_layout_as("Ümläut / slash")
    first.close()
    second = opened(make_window, None)
    assert second.arranging.saved == ["Ümläut / slash"]
    assert second.workspace.layout_name == "Ümläut / slash"
    assert second.workspace.docks["residual"].isHidden()
    second.arranging.menu.aboutToShow.emit()
    assert [(a.text(), a.isChecked()) for a in second.arranging.menu.actions()] == [("Ümläut / slash", True)]


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "needs a name"), ("x" * 41, "needs a name"), ("a\x00b", "needs a name"), ("Teach", "of the program"),
     ("grid", "of the program")],
)  # fmt: skip
def test_a_name_that_cannot_be_is_refused_with_a_sentence(make_window: MakeWindow, name: str, words: str) -> None:
    window = opened(make_window)
    trigger(window, "save_layout")
    dialog = window.arranging._dialog
    assert dialog is not None
    window.arranging.save_layout_as(name)
    assert words in dialog.words.text()
    assert window.arranging.saved == []
    dialog.close()


def test_the_page_of_saved_layouts_works_by_keyboard(make_window: MakeWindow, qtbot) -> None:
    window = opened(make_window)
    trigger(window, "save_layout")
    dialog = window.arranging._dialog
    assert dialog is not None
    assert not dialog.isModal()
    qtbot.keyClicks(dialog.field, "Lesson 1")
    qtbot.keyClick(dialog.field, Qt.Key.Key_Return)
    assert window.arranging.saved == ["Lesson 1"]
    window.workspace.docks["residual"].close()
    dialog.list.setCurrentRow(0)
    dialog.use.click()
    assert not window.workspace.docks["residual"].isHidden()
    dialog.delete.click()
    assert dialog.list.count() == 0
    dialog.undo.click()
    assert [dialog.list.item(0).text()] == ["Lesson 1"]
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert dialog.isHidden()


def test_a_damaged_saved_layout_changes_nothing_and_is_told(make_window: MakeWindow) -> None:
    window = opened(make_window)
    window.preferences.set_saved_layouts({"broken": QByteArray(b"rubbish")})
    before = shown(window)
    window.arranging.use_layout("broken")
    assert shown(window) == before
    assert window.workspace.layout_name == "explore"
    assert "damaged" in window.notice_bar.sentences.text()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', '"a"', '{"a": "%%%"}'])
def test_saved_layouts_that_are_damaged_in_the_file_are_left_out(text: str) -> None:
    preferences = Preferences()
    preferences._write("layouts", text)
    assert all(state.isEmpty() for state in preferences.saved_layouts().values())


# ---- states of other versions --------------------------------------------------------------------------------------


def older_state(window: Window) -> QByteArray:
    """As a version without the panels of notes and experts has written it, the tab of sampling in front."""
    other = QMainWindow()
    other.setDockNestingEnabled(True)
    docks = {}
    for key, dock in window.workspace.docks.items():
        if key not in ("notes", "experts"):
            docks[key] = QDockWidget()
            docks[key].setObjectName(dock.objectName())
            docks[key].setWidget(QLabel())
            other.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, docks[key])
    other.tabifyDockWidget(docks["attention"], docks["residual"])
    other.tabifyDockWidget(docks["sampling"], docks["branches"])
    docks["cache"].close()
    other.show()
    docks["sampling"].raise_()
    QApplication.processEvents()
    state = other.saveState()
    other.close()
    other.deleteLater()
    return state


@pytest.mark.parametrize("group", ["layout/5", "layout/3", "layout"])
def test_a_layout_of_an_older_version_is_kept_and_new_panels_are_tabs_beside_their_mates(
    make_window: MakeWindow, group: str
) -> None:
    window = opened(make_window)
    state = older_state(window)
    assert knows(state, window.workspace.docks["cache"])
    assert not knows(state, window.workspace.docks["notes"])
    window.close()
    preferences = Preferences()
    preferences._file.clear()  # type: ignore[union-attr]
    preferences._write(f"{group}/name", "focus")
    preferences._write(f"{group}/state", state)
    del preferences
    second = opened(make_window, None)
    assert second.workspace.layout_name == "explore"
    docks = second.workspace.docks
    assert docks["cache"].isHidden()  # as the user left it
    assert docks["sampling"] in second.workspace.tabifiedDockWidgets(docks["notes"])
    assert docks["attention"] in second.workspace.tabifiedDockWidgets(docks["experts"])
    assert "sampling" in shown(second)  # and not the new one, which nobody has asked for
    assert "notes" not in shown(second)


def test_a_state_knows_a_dock_by_its_whole_name(make_window: MakeWindow) -> None:
    window = opened(make_window)
    state = window.workspace.save()
    longer = QDockWidget()
    longer.setObjectName("dock.attention2")
    shorter = QDockWidget()
    shorter.setObjectName("dock.attent")
    assert knows(state, window.workspace.docks["attention"])
    assert not knows(state, longer)
    assert not knows(state, shorter)


# ---- screens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "moved"),
    [
        (QRect(100, 100, 1280, 720), False),
        (QRect(2000, 100, 1280, 720), False),  # on the second screen
        (QRect(1900, 100, 1280, 720), False),  # on both
        (QRect(5000, 100, 1280, 720), True),
        (QRect(100, -500, 1280, 720), True),  # its top cannot be reached
        (QRect(100, 1070, 1280, 720), True),
        (QRect(-1250, 100, 1280, 720), True),
        (QRect(9000, 9000, 4000, 3000), True),
    ],
)
def test_a_window_is_placed_where_it_can_be_reached(frame: QRect, moved: bool) -> None:
    screens = [QRect(0, 0, 1920, 1080), QRect(1920, 0, 1920, 1080)]
    better = placed(frame, screens)
    assert (better != frame) == moved
    assert any((better & screen).width() >= HANDLE.width() for screen in screens)
    if moved:
        assert screens[0].contains(better)
        assert better.size() == frame.size().boundedTo(screens[0].size())


def test_without_any_screen_nothing_is_moved() -> None:
    assert placed(QRect(7, 7, 70, 70), []) == QRect(7, 7, 70, 70)


def test_a_window_that_was_left_on_a_screen_that_is_gone_comes_back(make_window: MakeWindow) -> None:
    first = opened(make_window, None)
    first.move(40_000, 30_000)
    first.close()
    second = make_window(Options(sampling=GREEDY), MORE)
    assert placed(second.frameGeometry(), rooms()) == second.frameGeometry()
    second.move(40_000, 30_000)
    bring_back(second)  # as when a screen is unplugged
    assert placed(second.frameGeometry(), rooms()) == second.frameGeometry()


@FLOATS
def test_a_floating_panel_that_was_left_on_a_screen_that_is_gone_comes_back(make_window: MakeWindow) -> None:
    first = opened(make_window, None)
    dock = first.workspace.docks["residual"]
    dock.setFloating(True)
    dock.move(40_000, 30_000)
    QApplication.processEvents()
    first.close()
    second = opened(make_window, None)
    dock = second.workspace.docks["residual"]
    assert dock.isFloating()
    assert placed(dock.frameGeometry(), rooms()) == dock.frameGeometry()


@FLOATS
def test_a_panel_floats_and_docks_again_and_closes(make_window: MakeWindow) -> None:
    window = opened(make_window)
    dock = window.workspace.docks["attention"]
    dock.take_focus()
    trigger(window, "float_panel")
    assert dock.isFloating()
    dock.setFloating(False)
    dock.take_focus()
    trigger(window, "close_panel")
    assert dock.isHidden()
    assert "1 panel" in window.status.hidden.accessibleName()


def test_settings_of_layouts_are_text_that_can_be_read(make_window: MakeWindow, tmp_path: Path) -> None:
    window = opened(make_window)
    window.arranging.save_layout_as("one")
    window.close()
    file = QSettings(str(tmp_path / "settings" / "fluoroscope" / "window.ini"), QSettings.Format.IniFormat)
    assert list(json.loads(str(file.value("layouts")))) == ["one"]


class Hiding(Panel):
    key = "hiding"

    def __init__(self, context: Context) -> None:
        super().__init__(context)


def test_a_panel_hides_nothing_unless_it_says_so(make_window: MakeWindow) -> None:
    window = opened(make_window)
    assert Hiding(window.context).hides() == []


def test_larger_letters_and_back_leave_the_panels_as_they_were(make_window: MakeWindow, qtbot) -> None:
    window = opened(make_window, panels=PANELS)
    qtbot.wait(100)
    docks = [window.workspace.docks[key] for key in ("layers", "attention", "sampling")]
    before = [dock.width() for dock in docks]
    for _ in range(5):
        trigger(window, "larger_text")
        qtbot.wait(20)
    assert docks[1].width() < before[1] - 20
    trigger(window, "normal_text")
    qtbot.waitUntil(lambda: all(abs(dock.width() - was) <= 3 for dock, was in zip(docks, before, strict=True)))


def test_no_bar_of_tabs_is_left_over_a_panel_by_layouts_that_were_chosen_unseen(make_window: MakeWindow, qtbot) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720), layout="explore"), PANELS)
    for name in ("explore", "teach", "debug", "all"):  # the page of the start is seen
        trigger(window, f"use_layout.{name}")
    window.pages.setCurrentWidget(window.workspace)
    qtbot.wait(100)
    docks = [dock.geometry() for dock in window.workspace.docks.values() if dock.shown]
    bars = window.workspace.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
    seen = [bar.geometry() for bar in bars if bar.isVisible() and bar.count()]
    assert len(seen) == 3
    assert not any(bar.intersects(dock) for bar in seen for dock in docks)
