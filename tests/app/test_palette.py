"""The palette: a few letters find whatever can be done, and do it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QApplication
from shiboken6 import isValid

from app.command_line import Options
from app.commands import COMMANDS, identity
from app.keys import portable
from app.languages import speak
from app.palette import NOT_LISTED, Entry, Found, find
from app.palette_page import PalettePage
from app.panels import PANELS
from app.preferences import MOST_USED, Preferences
from app.widgets.palette_rows import FOUND, FoundRows
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.test_window import live as live

LAYER = Entry("step_layer", "Step layer", "Compute up to the next layer", lambda: None, ("F10",), "Run")
STOP = Entry("stop", "Stop", "End the run", lambda: None, ("Shift+F5",), "Run", why="Needs a run under way")
LAYOUT = Entry("layout", "Layout Teach", "Few panels and large", lambda: None, ("Ctrl+2",), "Window")
ENTRIES = (STOP, LAYER, LAYOUT)


def names(found: list[Found]) -> list[str]:
    return [one.entry.name for one in found]


# ---- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", ["step_layer", "layout", "stop"]),  # what can be done now is first
        ("st", ["step_layer", "stop"]),
        ("lay", ["step_layer", "layout"]),
        ("layer step", ["step_layer"]),  # words in any order
        ("f10", ["step_layer"]),  # by its key
        ("end", ["stop"]),  # by a word of its help
        ("window", ["layout"]),  # by its menu
        ("slr", ["step_layer"]),
        ("xyz", []),
        ("layer xyz", []),
    ],
)
def test_what_is_typed_finds(typed: str, expected: list[str]) -> None:
    assert names(find(typed, ENTRIES)) == expected


def test_what_was_used_last_is_first_among_what_fits_as_well() -> None:
    assert names(find("lay", ENTRIES, used=["layout"])) == ["layout", "step_layer"]
    assert names(find("", ENTRIES, used=["layout", "stop"])) == ["layout", "step_layer", "stop"]
    assert names(find("f10", ENTRIES, used=["layout"])) == ["step_layer"]


def test_a_word_is_better_than_letters_and_those_than_the_help() -> None:
    teach = replace(LAYOUT, text="Teach")
    help_only = replace(LAYER, name="help", text="On", help="Teach how", keys=())
    letters = replace(LAYER, name="letters", text="The each", help="", keys=())
    assert names(find("teach", (help_only, letters, teach))) == ["layout", "letters", "help"]


def test_the_typed_letters_are_known() -> None:
    assert find("lay st", [LAYER])[0].places == (0, 1, 5, 6, 7)


def test_other_words_are_better_than_scattered_letters() -> None:
    scattered = replace(LAYER, name="scattered", text="Explore parts", help="", keys=())
    also = replace(LAYER, name="also", text="Save the picture", also="screenshot export")
    helped = replace(LAYER, name="helped", text="Save", help="To export it", keys=())
    assert names(find("export", (scattered, helped, also))) == ["also", "helped", "scattered"]
    assert find("export", (also,))[0].places == ()
    assert names(find("port", (also,))) == [], "no word begins so"


FIRST_FOUND = {
    # to take along
    "screenshot": "save_window", "save picture": "save_window", "print": "save_window", "export": "save_run",
    "export csv": "save_panel.csv", "save csv": "save_panel.csv", "csv": "save_panel.csv", "excel": "copy_table",
    "svg": "save_panel.svg", "npy": "save_panel.npy", "png": "save_panel.png", "numpy": "save_panel.npy",
    "clipboard": "copy_window", "table": "copy_table", "vector": "save_panel.svg",
    # to show and to record
    "projector": "project", "presentation": "project", "beamer": "project", "second screen": "show_audience",
    "monitor": "show_audience", "freeze": "freeze_audience", "spotlight": "spotlight", "blank": "black_screen",
    "video": "record_window", "mp4": "record_window", "gif": "record_window", "film": "record_window",
    "fullscreen": "maximise", "maximize": "maximise", "maximise": "maximise", "undock": "float_panel",
    "speaker notes": "show_presenter", "lecture": "use_layout.teach",
    # looks
    "zoom": "larger_text", "bigger": "larger_text", "font": "larger_text", "font size": "larger_text",
    "zoom out": "smaller_text", "dark": "use_theme.dark", "night": "use_theme.dark", "light mode": "use_theme.light",
    "high contrast": "use_theme.contrast", "colour blind": "use_sequential.viridis",
    "colors": "use_sequential.viridis", "chinese": "use_language.zh_CN", "language": "use_language.system",
    "layout": "use_layout.explore", "teach": "use_layout.teach", "hidden": "show_hidden", "lost": "show_hidden",
    "beginner": "use_depth.story", "pytorch": "use_depth.code", "code": "use_depth.code", "maths": "use_depth.formula",
    # to run
    "play": "run", "rerun": "run", "continue": "run", "resume": "go_on", "pause": "pause", "f5": "run",
    "next token": "panel.sampling", "step": "step_layer", "rewind": "step_back", "cancel": "cancel_file",
    "abort": "cancel_file", "halt": "pause", "stop": "stop", "what if": "branch", "speed": "slower",
    "load model": "show_models", "download": "show_models", "search": "show_models", "llama": "open_file",
    "recent": "show_models", "exit": "close", "quit": "close", "sample": "show_examples",
    # to change and to note
    "ablate": "new_edit", "zero head": "new_edit", "steer": "term.steering", "knock out": "term.knock-out",
    "bookmark": "bookmark", "ctrl+b": "bookmark", "annotate": "show_marks", "compare": "show_branches",
    # help
    "preferences": "change_keys", "options": "change_keys", "shortcuts": "change_keys", "hotkeys": "show_keys",
    "settings": "reset_settings", "safe mode": "reset_settings", "crash": "show_log", "log": "show_log",
    "about": "show_about", "version": "show_about", "license": "show_about", "bug": "copy_report",
    "manual": "show_glossary", "help": "show_glossary",
    # panels and terms
    "attention": "panel.attention", "heatmap": "panel.attention", "kv": "panel.cache", "moe": "panel.experts",
    "neurons": "panel.experts", "router": "term.router", "logit lens": "term.logit-lens",
    "softmax": "term.softmax", "temperature": "term.temperature", "top-p": "term.top-p", "top p": "term.top-p",
    "greedy": "term.greedy", "gqa": "term.gqa", "nucleus": "term.top-p", "swiglu": "term.gate",
    "yarn": "term.rope-scaling", "perplexity": "term.perplexity",
}  # fmt: skip


def test_what_people_type_finds_what_they_mean(make_window: MakeWindow) -> None:
    """As if everything were possible: what is not now stands behind what is."""
    window = make_window(panels=PANELS)
    entries = [replace(entry, why="") for entry in window.commanding.entries()]
    found = {typed: find(typed, entries)[:1] for typed in FIRST_FOUND}
    assert {typed: "".join(names(first)) for typed, first in found.items()} == FIRST_FOUND


WORDS_OF_BOTH = (
    ("截图", "save_window"),
    ("screenshot", "save_window"),
    ("save run", "save_run"),
    ("residual", "panel.residual"),
    ("温度", "term.temperature"),
)


def test_other_words_are_found_in_the_user_s_language_and_in_english(make_window: MakeWindow) -> None:
    speak("zh_CN")
    try:
        entries = [replace(entry, why="") for entry in make_window(panels=PANELS).commanding.entries()]
        for typed, name in WORDS_OF_BOTH:
            assert find(typed, entries)[0].entry.name == name
        assert "term.temperature" in names(find("temperature", entries))
    finally:
        speak("en")


# ---- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def window(make_window: MakeWindow) -> Window:
    return make_window(Options(sampling=GREEDY, size=(1280, 720)))


@pytest.fixture
def page(window: Window) -> PalettePage:
    window.bar.prompt.setFocus()
    window.actions_by_name["show_palette"].trigger()
    return window.commanding.palette


def type_in(qtbot, page: PalettePage, text: str) -> None:
    qtbot.keyClicks(page.field, text)


def test_it_lists_every_command_panel_and_recent_model(make_window: MakeWindow) -> None:
    Preferences().add_recent("/models/some-model")
    window = make_window()
    listed = {entry.name: entry for entry in window.commanding.entries()}
    assert {identity(command) for command in COMMANDS} - set(NOT_LISTED) <= listed.keys()
    assert {f"panel.{key}" for key in window.workspace.docks} <= listed.keys()
    model = listed["model./models/some-model"]
    assert (model.text, model.help) == ("Open some-model", "/models/some-model")
    assert model.why == "Needs the engine"
    assert listed["panel.attention"].why == "Needs a model"


def test_it_lists_saved_layouts_and_examples(window: Window, page: PalettePage, qtbot) -> None:
    window.preferences.set_saved_layouts({"My class": window.workspace.saveState()})
    page.begin()
    type_in(qtbot, page, "my class")
    assert [one.entry.text for one in page.rows.found] == ["Saved layout: My class"]
    page.choose()
    assert window.workspace.layout_name == "My class"
    example = window.examples[0]
    page.enter()
    type_in(qtbot, page, f"example {example.name}")
    page.choose()
    assert window.bar.prompt.toPlainText() == example.text
    assert window.focusWidget() is window.bar.prompt


def test_a_term_opens_its_entry_and_esc_goes_back(make_window: MakeWindow, qtbot) -> None:
    window = make_window(panels=PANELS)
    window.bar.prompt.setFocus()
    window.actions_by_name["show_palette"].trigger()
    page = window.commanding.palette
    type_in(qtbot, page, "top p")
    qtbot.keyClick(page.field, Qt.Key.Key_Return)
    assert window.explaining.panel.shown == "top-p"
    assert window.explaining.panel.page.isVisible()
    assert "Top-p" in window.explaining.panel.page.toPlainText()


def test_typing_and_return_do_it_and_the_focus_is_where_it_was(window: Window, page: PalettePage, qtbot) -> None:
    assert page.isVisible()
    assert window.focusWidget() is page.field
    type_in(qtbot, page, "light")
    assert page.current is not None
    assert page.current.entry.name == "use_theme.light"
    qtbot.keyClick(page.field, Qt.Key.Key_Return)
    assert not page.isVisible()
    assert window.context.theme.name == "light"
    assert window.focusWidget() is window.bar.prompt


def test_the_focus_is_back_before_the_command_is_done(window: Window, page: PalettePage) -> None:
    focused: list[object] = []
    page._entries = [Entry("look", "Look", "", lambda: focused.append(window.focusWidget()))]
    page._search()
    page.choose()
    assert focused == [window.bar.prompt]


def test_esc_closes_it_and_does_nothing_else(window: Window, page: PalettePage, qtbot) -> None:
    window.error_bar.show()
    type_in(qtbot, page, "light")
    qtbot.keyClick(page.field, Qt.Key.Key_Escape)
    assert not page.isVisible()
    assert window.error_bar.isVisible()
    assert window.focusWidget() is window.bar.prompt
    assert window.context.theme.name != "light"


def test_the_same_command_closes_it(window: Window, page: PalettePage) -> None:
    window.actions_by_name["show_palette"].trigger()
    assert not page.isVisible()


def test_tab_stays_in_the_field(window: Window, page: PalettePage, qtbot) -> None:
    qtbot.keyClick(page.field, Qt.Key.Key_Tab)
    assert page.isVisible()
    assert window.focusWidget() is page.field


def test_the_rest_of_the_window_outlives_what_had_the_focus(window: Window, page: PalettePage, qtbot) -> None:
    """The ring around the focus is deleted when the page closes: nothing else may go with it."""
    bar = window.menuBar()
    qtbot.keyClick(page.field, Qt.Key.Key_Escape)
    qtbot.wait(50)
    assert isValid(bar)
    window.projecting.project()
    window.projecting.leave()
    assert bar.isVisible()


def test_going_on_elsewhere_closes_it_and_keeps_the_focus_there(window: Window, page: PalettePage) -> None:
    window.bar.tokens.setFocus()
    assert not page.isVisible()
    assert window.focusWidget() is window.bar.tokens


def test_what_cannot_be_done_says_why_and_stays(window: Window, page: PalettePage, qtbot) -> None:
    type_in(qtbot, page, "step stage")
    qtbot.keyClick(page.field, Qt.Key.Key_Return)
    assert page.isVisible()
    assert page.words.text() == "Not now: Needs a model"
    qtbot.keyClick(page.field, Qt.Key.Key_Backspace)
    assert page.words.text() == ""


def test_nothing_found_has_a_sentence(page: PalettePage, qtbot) -> None:
    type_in(qtbot, page, "zzzz")
    assert page.rows.rowCount() == 0
    assert page.words.text().endswith(".")
    qtbot.keyClick(page.field, Qt.Key.Key_Return)  # and nothing is done
    assert page.isVisible()


def test_arrow_keys_move_through_the_rows_and_tell_what_they_are(page: PalettePage, qtbot) -> None:
    first = page.list.currentIndex().row()
    qtbot.keyClick(page.field, Qt.Key.Key_Down)
    assert page.list.currentIndex().row() == first + 1
    assert page.current is not None
    assert page.current.entry.text in page.field.accessibleDescription()
    qtbot.keyClick(page.field, Qt.Key.Key_PageDown)
    assert page.list.currentIndex().row() > first + 4
    qtbot.keyClick(page.field, Qt.Key.Key_Up)
    assert page.list.viewport().rect().contains(page.list.visualRect(page.list.currentIndex()).center())


def test_a_click_does_it(window: Window, page: PalettePage, qtbot) -> None:
    type_in(qtbot, page, "light theme")
    place = page.list.visualRect(page.rows.index(0)).center()
    qtbot.mouseClick(page.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert window.context.theme.name == "light"


def test_what_was_used_is_first_at_the_next_start(make_window: MakeWindow, qtbot) -> None:
    first = make_window()
    for words in ("light theme", "larger text"):
        first.actions_by_name["show_palette"].trigger()
        type_in(qtbot, first.commanding.palette, words)
        first.commanding.palette.choose()
    first.close()
    second = make_window()
    second.actions_by_name["show_palette"].trigger()
    shown = [one.entry.name for one in second.commanding.palette.rows.found]
    assert shown[:2] == ["larger_text", "use_theme.light"]


def test_no_more_is_remembered_than_is_of_use(window: Window) -> None:
    for number in range(100):
        window.commanding._remember(f"command {number}")
    window.commanding._remember("command 99")
    used = window.preferences.used_commands()
    assert used[:2] == ["command 99", "command 98"]
    assert len(used) == MOST_USED


def test_a_panel_is_shown_with_the_keyboard_in_it(live, qtbot) -> None:
    window, _ = live
    window.workspace.docks["cache"].close()
    window.actions_by_name["show_palette"].trigger()
    page = window.commanding.palette
    type_in(qtbot, page, "show panel cache")
    page.choose()
    QApplication.processEvents()
    assert window.workspace.docks["cache"].shown
    assert window.workspace.focused() is window.workspace.docks["cache"]


@pytest.mark.parametrize("points", [10.0, 20.0, 32.0])
def test_it_fits_with_large_text(make_window: MakeWindow, qtbot, points: float) -> None:
    Preferences().set_points(points)
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)))
    window.actions_by_name["show_palette"].trigger()
    page = window.commanding.palette
    assert window.rect().contains(page.geometry())
    rows = page.list.viewport().height() / page.list.sizeHintForRow(0)
    assert rows >= 3
    assert page.list.sizeHintForRow(0) >= 2 * page.fontMetrics().height()


def test_it_opens_by_its_key(window: Window, qtbot) -> None:
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    keys = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    assert window.actions_by_name["show_palette"].shortcut() == QKeySequence(portable("Ctrl+Shift+P"))
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_P, keys)
    assert window.commanding.palette.isVisible()


def test_the_rows_keep_qt_s_rules(qtmodeltester) -> None:
    rows = FoundRows()
    rows.show(find("", ENTRIES))
    qtmodeltester.check(rows)
    assert rows.index(0).data(FOUND).entry is LAYER
    assert rows.index(2).data(Qt.ItemDataRole.AccessibleTextRole) == "Stop, Shift+F5, Needs a run under way"


def test_letters_outside_the_basic_plane_are_painted(page: PalettePage) -> None:
    page._entries = [Entry("odd", "𝔘𝔫 model 🧪 été", "x" * 3000, lambda: None, ("F5",), "Model")]
    page.field.setText("été")
    assert page.current is not None
    assert page.current.places == (11, 12, 13)
    assert not page.grab().isNull()
