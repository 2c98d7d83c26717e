"""Depth and the glossary in the real window: the control, keys, menus, what obeys, F1, links, Esc, kept settings."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, QSize, Qt, QUrl
from PySide6.QtGui import QFontMetricsF
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

from app.command_line import Options
from app.depth import DEPTHS
from app.panels import PANELS
from app.panels.glossary import FIRST
from app.preferences import Preferences
from app.term_rows import TextsError
from app.theme import DARK
from app.widgets import explanation, term_page
from app.widgets.explanation import Explanation
from app.widgets.pages import fill
from app.widgets.pass_rows import TOKEN
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow

TERM = "term:"


@pytest.fixture
def window(make_window: MakeWindow, tiny_model: Path, qtbot: Any) -> Window:
    """A real run in the real window."""
    options = Options(model=str(tiny_model), prompt="The depth", tokens=3, size=(1600, 900), sampling=GREEDY)
    made = make_window(options, panels=PANELS, start=True)
    qtbot.waitUntil(lambda: made.context.run.model is not None, timeout=20_000)
    made.run_prompt()
    qtbot.waitUntil(lambda: made.context.run.ended is not None and made.board.complete, timeout=20_000)
    return made


def line_of(window: Window, key: str) -> Explanation:
    return window.workspace.docks[key].explanation


class Tips:
    """In the place of QToolTip: the platform of the tests cannot put a tip in front."""

    text = ""

    @classmethod
    def showText(cls, place: QPoint, text: str, widget: QWidget) -> None:  # noqa: N802
        cls.text = text

    @classmethod
    def hideText(cls) -> None:  # noqa: N802
        cls.text = ""


def press(window: Window, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(window.focusWidget() or window, key, modifiers)
    QApplication.processEvents()


# -- depth ---------------------------------------------------------------------------------------------------------


def test_at_first_all_is_as_it_was(window: Window) -> None:
    assert window.context.depth == "numbers"
    assert window.bar.depths.currentText() == "Numbers"
    assert all(dock.explanation.isHidden() for dock in window.workspace.docks.values())
    assert window.actions_by_name["use_depth.numbers"].isChecked()


def test_one_control_a_key_and_a_menu_choose_the_depth(window: Window) -> None:
    window.activateWindow()
    window.bar.depths.setCurrentIndex(0)
    window.bar.depths.activated.emit(0)
    assert window.context.depth == "story"
    assert [window.actions_by_name[f"use_depth.{depth}"].isChecked() for depth in DEPTHS] == [True, False, False, False]
    seen = []
    for _ in range(4):
        window.actions_by_name["next_depth"].trigger()
        seen.append((window.context.depth, window.bar.depths.currentData()))
    assert seen == [(depth, depth) for depth in ("numbers", "formula", "code", "story")]
    window.actions_by_name["use_depth.code"].trigger()
    assert window.bar.depths.currentText() == "Code"


def test_panels_say_what_they_show_at_the_depth(window: Window) -> None:
    line = line_of(window, "attention")
    window.explaining.use_depth("story")
    assert line.isVisible()
    assert "Who looks at whom" in line.text()
    window.explaining.use_depth("code")
    assert "pattern = scores.softmax(dim=-1)" in line.text()
    assert line.textFormat() == Qt.TextFormat.PlainText
    window.explaining.use_depth("formula")
    assert "exp(s[p, j])" in line.text()
    window.explaining.use_depth("numbers")
    assert line.isHidden()
    assert window.workspace.docks["attention"].panel.caption()


@pytest.mark.parametrize("key", ["activations", "cache"])
def test_a_story_is_told_without_signs_of_formulas(window: Window, qtbot: Any, key: str) -> None:
    window.workspace.bring_up(key)
    dock, signs = window.workspace.docks[key], ("Σ", " · ", "hook_", "act(", " = ")

    def told() -> list[str]:
        labels = (label.text() for label in dock.content.findChildren(QLabel) if label.isVisible())
        return [text for text in (dock.panel.caption(), *labels) if any(sign in text for sign in signs)]

    qtbot.waitUntil(lambda: window.board.complete and bool(told()), timeout=20_000)
    caption = dock.panel.caption()
    window.explaining.use_depth("story")
    qtbot.waitUntil(lambda: not told(), timeout=5_000)
    assert dock.panel.caption()
    window.explaining.use_depth("numbers")
    qtbot.waitUntil(lambda: bool(told()), timeout=5_000)
    assert dock.panel.caption() == caption


def test_the_line_follows_what_the_panel_shows(window: Window) -> None:
    window.explaining.use_depth("story")
    panel, line = window.workspace.docks["attention"].panel, line_of(window, "attention")
    assert panel.mode() == "pattern"
    before = line.text()
    button = next(button for button in panel.findChildren(QAbstractButton) if button.text() == "mask")
    button.click()
    assert panel.mode() == "masked"
    assert "may look at itself and back, never ahead" in line.text() != before
    assert "never ahead" in button.toolTip()
    window.explaining.use_depth("code")
    assert "masked_fill(~seen, -torch.inf)" in button.toolTip()
    window.explaining.use_depth("numbers")
    assert button.toolTip().startswith("Only what a query sees is left")


def test_tips_of_the_map_and_its_card_obey(window: Window) -> None:
    view = window.workspace.docks["layers"].panel.view
    numbers = view.describe(0, "rope")
    assert "hook_rot_q" in numbers
    told = {}
    for depth in DEPTHS:
        window.explaining.use_depth(depth)
        told[depth] = view.describe(0, "rope")
    assert told["numbers"] == numbers
    assert "turned by an angle" in told["story"]
    assert "q = R(p) q" in told["formula"]
    assert "rot_q = torch.cat(" in told["code"]
    window.explaining.use_depth("story")
    assert "floor of the model" in view.tip(QPointF(20, view.row_box(2).center().y()))
    assert "known to the model by its number" in view.describe(None, TOKEN)


def test_a_tip_of_code_is_never_taken_for_tags(window: Window, qtbot: Any) -> None:
    window.explaining.use_depth("code")
    view = window.workspace.docks["layers"].panel.view
    tip = view._dressed(view.describe(0, "scores"))
    assert "key_positions &lt;= positions" in tip
    assert tip.startswith("<pre")


def test_the_inspector_obeys(window: Window, qtbot: Any) -> None:
    window.workspace.bring_up("activations")
    window.context.cursor.pin(layer=1, point="attn.hook_pattern")
    panel = window.workspace.docks["activations"].panel
    qtbot.waitUntil(lambda: panel.view.facts is not None and panel.view.facts.name == "attn.hook_pattern", timeout=9000)
    words = panel.view._words
    assert "softmax of the scores over keys" in words.text()
    told = {}
    for depth in DEPTHS:
        window.explaining.use_depth(depth)
        told[depth] = words.text()
    assert "shares" in told["story"]
    assert told["code"] == "pattern = scores.softmax(dim=-1)"
    assert told["formula"].splitlines()[1].startswith("a[p, j] = exp(")
    assert len(set(told.values())) == 4
    assert line_of(window, "activations").isHidden()


def test_the_stages_of_sampling_obey(window: Window) -> None:
    controls = window.workspace.docks["sampling"].panel._controls
    box = controls._boxes["top_p"]
    window.explaining.use_depth("story")
    assert "crosses the line stays" in box.toolTip()
    window.explaining.use_depth("formula")
    assert "Σ p ≥ top-p" in box.toolTip()
    window.explaining.use_depth("code")
    assert "cumsum(0) &lt;= 1 - top_p" in box.toolTip()


def test_the_depth_is_kept(make_window: MakeWindow) -> None:
    first = make_window(Options(), panels=PANELS)
    first.explaining.use_depth("formula")
    first.close()
    assert Preferences().depth() == "formula"
    second = make_window(Options(), panels=PANELS)
    assert second.context.depth == "formula"
    assert second.bar.depths.currentText() == "Formula"
    second.close()
    Preferences().set_depth("very deep")
    assert make_window(Options(), panels=PANELS).context.depth == "numbers"


def test_what_has_no_room_is_cut_and_its_tip_has_all_of_it(window: Window, qtbot: Any) -> None:
    dock, line = window.workspace.docks["attention"], line_of(window, "attention")
    line.say("code", "\n".join(f"step_{index} = 0" for index in range(40)))
    room = dock.content.height() // 6
    assert line.text().startswith("…\n")
    assert line.text().endswith("step_39 = 0"), "what the rest leads to"
    assert 1 < len(line.text().splitlines()) <= room // line.fontMetrics().lineSpacing()
    assert "step_0 " in line.toolTip()
    line.say("story", "word " * 600)
    assert line.text().endswith(" …")
    assert line.heightForWidth(line.width()) <= room + line.fontMetrics().lineSpacing()
    line.say("code", "a = 1")
    assert line.toolTip() == ""
    assert line.text() == "a = 1"


def test_the_keyboard_opens_what_there_was_no_room_for(window: Window, monkeypatch: Any) -> None:
    monkeypatch.setattr(explanation, "QToolTip", Tips)
    line = line_of(window, "attention")
    line.say("code", "\n".join(f"step_{index} = 0" for index in range(40)))
    assert line.focusPolicy() & Qt.FocusPolicy.TabFocus
    Tips.text = ""
    QTest.keyClick(line, Qt.Key.Key_Space)
    assert "step_0 " in Tips.text
    assert "step_39" in Tips.text
    line.say("code", "a = 1")
    Tips.text = ""
    QTest.keyClick(line, Qt.Key.Key_Space)
    assert Tips.text == ""


def test_in_one_line_the_last_statement_stays(qtbot: Any) -> None:
    line = Explanation(DARK)
    qtbot.addWidget(line)
    line._size = QSize(500, 120)
    line.say("code", "scores = q @ k\nseen = p\npattern = scores.softmax(dim=-1)")
    assert line.text() == "… pattern = scores.softmax(dim=-1)"


def test_a_low_panel_gives_the_line_one_line(qtbot: Any) -> None:
    frame = QWidget()
    qtbot.addWidget(frame)
    line = Explanation(DARK)
    fill(frame, line, QWidget())
    frame.installEventFilter(line)
    line.say("story", "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen.")
    frame.resize(300, 900)
    frame.show()
    assert line.text().endswith("fifteen.")
    frame.resize(300, 120)
    assert line.text().startswith("One two")
    assert line.text().endswith(" …")
    assert "fifteen" in line.toolTip()
    assert line.heightForWidth(300) <= 2 * line.fontMetrics().lineSpacing()


@pytest.mark.parametrize("quarters", range(32, 160, 3))
def test_letters_of_any_size_leave_it_the_words_that_fit(qtbot: Any, quarters: int) -> None:
    """A font of 16.5 points has lines of a fraction of a pixel."""
    frame = QWidget()
    qtbot.addWidget(frame)
    font = frame.font()
    font.setPointSizeF(quarters / 4)
    frame.setFont(font)
    line = Explanation(DARK)
    fill(frame, line, QWidget())
    frame.installEventFilter(line)
    text = "One two three four five six seven eight nine ten eleven twelve"
    line.say("story", text)
    for lines, parts in ((9, 1), (24, 4)):  # of the panel; into how many lines the text may go
        width = round(QFontMetricsF(font).horizontalAdvance(text) / parts * 1.35) + 40
        frame.resize(width, ceil(lines * QFontMetricsF(font).lineSpacing()))
        frame.show()
        assert line.text() == text, (lines, line.text())
    frame.resize(width, round(9 * QFontMetricsF(font).lineSpacing()))
    assert len(line.text().split()) >= 3, "a line of the four"


# -- the glossary --------------------------------------------------------------------------------------------------


def show(window: Window, qtbot: Any) -> Any:
    qtbot.waitUntil(lambda: window.workspace.docks["glossary"].shown, timeout=5000)
    return window.explaining.panel


def test_f1_opens_the_entry_of_the_panel_with_the_focus_and_esc_goes_back(window: Window, qtbot: Any) -> None:
    window.activateWindow()
    window.workspace.docks["attention"].take_focus()
    focused = window.focusWidget()
    front = window.workspace.in_front_of("glossary")
    window.actions_by_name["show_glossary"].trigger()
    panel = show(window, qtbot)
    assert panel.shown == "attention-pattern"
    assert "Attention pattern" in panel.page.toPlainText()
    assert window.focusWidget() is panel.page
    window.undo_one()
    docks = window.workspace.docks
    qtbot.waitUntil(lambda: docks[front].shown and not docks["glossary"].shown, timeout=5000)
    assert window.focusWidget() is focused


@pytest.mark.parametrize(
    ("find", "key"),
    [
        (lambda window: window.workspace.docks["sampling"].panel._controls._boxes["min_p"], "min-p"),
        (lambda window: window.workspace.docks["sampling"].panel._controls._seed, "seed"),
        (lambda window: window.bar.prompt, "prompt"),
        (lambda window: window.bar.chat, "chat-template"),
    ],
)
def test_a_control_has_an_entry_of_its_own(window: Window, find: Any, key: str) -> None:
    assert window.explaining.term_of(find(window)) == key


def test_the_map_of_the_pass_tells_of_the_picked_stage(window: Window) -> None:
    panel = window.workspace.docks["layers"].panel
    assert window.explaining.term_of(panel.view) == "pass"
    window.context.cursor.pin(layer=0, point="attn.hook_rot_k")
    assert window.explaining.term_of(panel.view) == "rope"
    assert window.explaining.term_of(QWidget()) == ""


def test_every_panel_has_an_entry(window: Window) -> None:
    for panel in window.board.panels:
        if panel.key not in ("glossary", "notes"):
            assert panel.term(), panel.key


def test_a_marked_word_tells_and_leads_to_its_entry(window: Window, qtbot: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(explanation, "QToolTip", Tips)
    window.explaining.use_depth("story")
    line = line_of(window, "attention")
    assert 'href="term:token"' in line.text()
    line.linkHovered.emit("term:token")
    assert "piece of text" in Tips.text
    line.linkHovered.emit("")
    assert Tips.text == ""
    line.linkActivated.emit("term:token")
    panel = show(window, qtbot)
    assert panel.shown == "token"


def test_links_back_and_the_panels_where_a_term_is_seen(window: Window, qtbot: Any) -> None:
    window.explaining.show_term("gqa")
    panel = show(window, qtbot)
    assert 'href="term:kv-cache"' in panel.page.toHtml()
    panel.page.anchorClicked.emit(QUrl("term:kv-cache"))
    assert panel.shown == "kv-cache"
    panel.back.click()
    assert panel.shown == "gqa"
    assert not panel.back.isEnabled()
    panel.page.anchorClicked.emit(QUrl("panel:cache"))
    assert window.workspace.docks["cache"].shown
    panel.page.anchorClicked.emit(QUrl("https://example.org"))
    panel.page.anchorClicked.emit(QUrl("term:nothing such"))
    assert panel.shown == "gqa"


def test_search_by_keyboard(window: Window, qtbot: Any) -> None:
    window.activateWindow()
    window.explaining.show_term("token")
    panel = show(window, qtbot)
    window.actions_by_name["show_glossary"].trigger()  # in the glossary: to its search
    assert window.focusWidget() is panel.list.field
    QTest.keyClicks(panel.list.field, "top")
    assert panel.list.count() > 2
    assert panel.shown == panel.list._terms[0].key
    press(window, Qt.Key.Key_Down)
    assert panel.shown == panel.list._terms[1].key
    assert [hidden.text for hidden in panel.hides()] == ["only terms with “top”"]
    QTest.keyClicks(panel.list.field, "zzz")
    assert "No term has" in panel.page.toPlainText()
    assert panel.undo()
    assert panel.list.field.text() == ""
    assert panel.list.count() > 60
    assert panel.shown


def test_a_link_out_of_what_was_searched_for_clears_the_search(window: Window, qtbot: Any) -> None:
    window.explaining.show_term("token")
    panel = show(window, qtbot)
    panel.list.field.setText("nucleus")
    assert panel.shown == "top-p"
    panel.show_term("temperature")
    assert panel.list.field.text() == ""
    assert panel.shown == "temperature"


def test_the_glossary_works_without_a_model_and_esc_leads_to_the_start_page(make_window: MakeWindow) -> None:
    window = make_window(Options(), panels=PANELS)
    window.actions_by_name["show_glossary"].trigger()
    QApplication.processEvents()
    panel = window.explaining.panel
    assert panel.isVisible()
    assert panel.shown
    window.undo_one()
    assert window.pages.currentWidget() is window.start_page


def test_wide_the_list_stands_beside_the_entry(window: Window, qtbot: Any) -> None:
    window.explaining.show_term("token")
    panel = show(window, qtbot)
    assert panel.halves.orientation() == Qt.Orientation.Vertical
    window.workspace.toggle_maximised(window.workspace.docks["glossary"])
    QApplication.processEvents()
    assert panel.halves.orientation() == Qt.Orientation.Horizontal


def test_without_its_file_the_window_says_so_and_opens(make_window: MakeWindow, monkeypatch: Any) -> None:
    def broken() -> None:
        raise TextsError("The explanations in resources/x cannot be read; install Fluoroscope again.")

    import app.depth_texts as depth_texts
    import app.panels.glossary as panel_file

    monkeypatch.setattr(panel_file, "glossary", broken)
    monkeypatch.setattr(depth_texts, "glossary", broken)
    depth_texts._texts.cache_clear()
    try:
        window = make_window(Options(), panels=PANELS)
        assert "cannot be read" in window.error_bar.sentence.text()
        window.explaining.use_depth("story")
        assert all(dock.explanation.isHidden() for dock in window.workspace.docks.values())
        window.explaining.show_glossary()
        assert "cannot be read" in window.explaining.panel.page.toPlainText()
    finally:
        depth_texts._texts.cache_clear()


def test_hovering_a_link_of_the_page_tells_its_short_text(window: Window, qtbot: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(term_page, "QToolTip", Tips)
    window.explaining.show_term("gqa")
    panel = show(window, qtbot)
    panel.page.highlighted.emit(QUrl("term:mqa"))
    assert "single set of keys" in Tips.text
    panel.page.highlighted.emit(QUrl(""))
    assert Tips.text == ""


def test_f1_in_a_panel_is_about_it_also_where_nothing_in_it_takes_the_focus(window: Window) -> None:
    for key, term in (("branches", "branch"), ("edits", "edit"), ("notes", FIRST)):
        window.explaining.show_term("seed")
        press(window, Qt.Key.Key_Escape)
        window.workspace.bring_up(key)
        window.workspace.docks[key].take_focus()
        window.explaining.show_glossary()
        assert window.explaining.panel.shown == term, key
        press(window, Qt.Key.Key_Escape)
