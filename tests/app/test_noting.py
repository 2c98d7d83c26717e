"""Notes and bookmarks in the window: made, gone to, kept in files, on branches, in the strip and the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication, QFileDialog

from app.command_line import Options
from app.notes import LONGEST_TEXT, MOST_NOTES, Note, Notes, at
from app.panels import PANELS
from app.panels.notes import NotesPanel
from app.panels.token_strip import TokenStrip
from app.theme import LIGHT
from app.widgets.note_table import NoteModel, NoteTable, Row
from engine.frames import SwitchedFrame
from engine.run_file_facts import MOST_MARKS, Mark
from engine.run_file_opening import RunFile
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.made_runs import context, generated
from tests.app.test_branching import Driver, branched

HOSTILE = "<b>bold</b> & \u202e\n" * 3


@pytest.fixture
def driver(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> Driver:
    """A window after a run of six tokens."""
    options = Options(model=str(tiny_model), sampling=GREEDY, tokens=6, size=(1280, 720), prompt="hello abc")
    made = Driver(make_window(options, panels=PANELS, start=True), qtbot)
    qtbot.waitUntil(lambda: made.run.model is not None, timeout=60_000)
    made.ends("run")
    made.settle()
    return made


def notes(driver: Driver) -> Notes:
    return driver.window.context.notes


def pin(driver: Driver, position: int | None, layer: int = 0, head: int = 0) -> None:
    driver.window.context.cursor.pin(position=position, layer=layer, head=head)


def write(driver: Driver, text: str, **wanted: bool) -> Note:
    """A note about what is pinned, as one types it."""
    panel = driver.panel("notes")
    before = set(notes(driver))
    for name, box in panel.form.axes.items():
        box.setChecked(wanted.get(name, True))
    panel.form.field.setPlainText(text)
    driver.qtbot.keyClick(panel.form.field, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    (made,) = set(notes(driver)) - before
    return made


def save(driver: Driver, path: Path) -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    driver.window.filing.save_run_as(path)
    driver.qtbot.waitUntil(lambda: not driver.window.filing.saving, timeout=30_000)
    with RunFile(path) as file:
        return file.facts.notes, file.facts.bookmarks


# ---- the commands ----------------------------------------------------------------------------------------------------


def test_a_bookmark_comes_and_goes_with_the_same_key(driver: Driver) -> None:
    pin(driver, 4, 2, 1)
    driver.trigger("bookmark")
    assert [note.place for note in notes(driver)] == [(4, 2, 1)]
    assert "bookmark at token 4" in driver.window.status.state.text()
    assert driver.window.strip.view.marks.flags == {4}
    pin(driver, 4, 1, 1)
    driver.trigger("bookmark")
    pin(driver, 4, 2, 1)
    driver.trigger("bookmark")
    assert [note.place for note in notes(driver)] == [(4, 1, 1)], "another layer is another place"
    driver.panel("notes").buttons["undo"].click()
    assert len(notes(driver)) == 2


def test_there_is_nothing_to_mark_before_a_run(make_window: MakeWindow) -> None:
    window = make_window(Options(sampling=GREEDY), PANELS)
    for name in ("bookmark", "next_mark", "previous_mark"):
        assert not window.actions_by_name[name].isEnabled()
    assert window.actions_by_name["show_marks"].isEnabled()


def test_one_jumps_along_the_marks_and_no_further(driver: Driver) -> None:
    places = [(2, 1, 1), (4, 0, 0), (4, 2, 1), (9, 1, 0)]
    for place in reversed(places):
        pin(driver, *place)
        driver.trigger("bookmark")
    pin(driver, 0)
    look = driver.window.context.cursor
    seen = []
    for _ in range(5):
        driver.trigger("next_mark")
        seen.append((look.pinned.position, look.pinned.layer, look.pinned.head))
    assert seen == [*places, places[-1]]
    assert "no note further on" in driver.window.status.state.text()
    for place in reversed(places[:-1]):
        driver.trigger("previous_mark")
        assert (look.pinned.position, look.pinned.layer, look.pinned.head) == place
    driver.trigger("previous_mark")
    assert "no note further back" in driver.window.status.state.text()


def test_marks_on_whole_tokens_do_not_hold_one_fast(driver: Driver) -> None:
    for position in (3, 6):
        pin(driver, position, 2, 1)
        write(driver, f"token {position}", layer=False)
    pin(driver, 8, 1, 1)
    for position in (6, 3):
        driver.trigger("previous_mark")
        look = driver.window.context.cursor.pinned
        assert (look.position, look.layer, look.head) == (position, 1, 1), "layer and head stay"
    driver.trigger("next_mark")
    assert driver.window.context.cursor.pinned.position == 6


def test_too_many_are_refused_in_a_sentence(driver: Driver) -> None:
    notes(driver).take(Note(0, "", position=0, layer=1) for _ in range(MOST_NOTES))
    pin(driver, 3)
    driver.trigger("bookmark")
    assert str(MOST_NOTES) in driver.window.error_bar.sentence.text()
    form = driver.panel("notes").form
    assert form.field.isReadOnly()
    assert str(MOST_NOTES) in form.refusal.text()
    assert not form.refusal.isHidden()
    driver.panel("notes").table.pick((1,), 1)
    driver.panel("notes").buttons["delete"].click()
    assert not form.field.isReadOnly()
    assert form.refusal.isHidden()


def test_of_a_file_with_more_none_is_lost_and_it_is_told_how_many_are_too_many(driver: Driver) -> None:
    notes(driver).take(Note(0, "", position=0, layer=1) for _ in range(MOST_NOTES + 700))
    assert driver.panel("notes").table.notes.rowCount() == MOST_NOTES + 700
    pin(driver, 3)
    driver.trigger("bookmark")
    sentence = driver.window.error_bar.sentence.text()
    assert sentence.startswith("There are 1,200 notes and bookmarks")
    assert "Delete 701 first" in sentence
    assert driver.panel("notes").form.refusal.text() == sentence
    notes(driver).remove(range(1, 702))
    driver.trigger("bookmark")
    assert len(notes(driver)) == MOST_NOTES


# ---- the panel -------------------------------------------------------------------------------------------------------


def test_a_note_is_written_changed_and_deleted(driver: Driver) -> None:
    driver.trigger("show_marks")
    panel = driver.bring_up("notes")
    assert panel.form.field.hasFocus()
    pin(driver, 3, 2, 1)
    made = write(driver, "  look here\nagain ", head=False)
    assert (made.place, made.text, made.bookmark) == ((3, 2, None), "look here\nagain", False)
    assert panel.form.field.toPlainText() == ""
    assert panel.table.picked == (made.number,)
    pin(driver, 8, 0, 0)
    panel.buttons["change"].click()
    panel.form.field.setPlainText("other words")
    panel.form.keep.click()
    assert notes(driver).find(made.number).place == (3, 2, None), "only its text has changed"
    assert notes(driver).find(made.number).text == "other words"
    panel.buttons["change"].click()
    driver.trigger("undo_one")
    assert panel.form.leave.isHidden()
    assert notes(driver).find(made.number).text == "other words"
    panel.table.setFocus()
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert len(notes(driver)) == 0
    panel.buttons["undo"].click()
    assert notes(driver).find(made.number).text == "other words"
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Home)
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    look = driver.window.context.cursor.pinned
    assert (look.position, look.layer) == (3, 2)


def test_a_text_that_is_too_long_is_refused_and_stays(driver: Driver) -> None:
    form = driver.bring_up("notes").form
    form.field.setPlainText("a" * (LONGEST_TEXT + 15))
    assert "4,015" in form.refusal.text()
    assert "4,000" in form.refusal.text()
    assert not form.keep.isEnabled()
    driver.qtbot.keyClick(form.field, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert len(notes(driver)) == 0
    assert len(form.field.toPlainText()) == LONGEST_TEXT + 15, "nothing of it is lost"
    form.field.setPlainText("a" * LONGEST_TEXT)
    assert form.refusal.isHidden()
    form.keep.click()
    assert [len(note.text) for note in notes(driver)] == [LONGEST_TEXT]


def test_the_row_that_looks_picked_is_picked(driver: Driver) -> None:
    """A bookmark made by its key, and the list: Enter, Delete and the buttons are about the row with the focus."""
    for position in (2, 4, 5):
        pin(driver, position, 1, 0)
        driver.trigger("bookmark")
    first, _, third = (note.number for note in notes(driver))
    panel = driver.bring_up("notes")
    assert panel.table.picked == ()
    driver.trigger("show_marks")
    assert panel.table.picked == (first,) == (panel.table.current,)
    assert all(panel.buttons[what].isEnabled() for what in ("go", "change", "delete"))
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Down)
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert [note.number for note in notes(driver)] == [first, third]
    assert panel.table.picked == (third,), "what has come into its place"
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert panel.table.picked == (first,)
    driver.qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert (panel.table.picked, len(notes(driver))) == ((), 0)


def test_coming_to_the_list_by_keyboard_picks_a_row(driver: Driver) -> None:
    pin(driver, 2, 1, 0)
    driver.trigger("bookmark")
    panel = driver.bring_up("notes")
    panel.form.field.setFocus()
    assert panel.table.picked == ()
    panel.table.setFocus(Qt.FocusReason.MouseFocusReason)
    assert panel.table.picked == (), "a click picks by itself"
    panel.form.field.setFocus()
    panel.table.setFocus(Qt.FocusReason.TabFocusReason)
    assert panel.table.picked == (notes(driver).notes[0].number,)


def test_the_form_says_what_a_note_would_be_about(driver: Driver) -> None:
    panel = driver.bring_up("notes")
    pin(driver, 2, 1, 2)
    texts = [box.text() for box in panel.form.axes.values()]
    assert texts == ["token 2 “l”", "layer 1", "head 2"]
    panel.form.axes["layer"].setChecked(False)
    assert not panel.form.axes["head"].isEnabled()
    assert not panel.form.keep.isEnabled(), "a note needs words"


def test_the_list_tells_where_its_places_are(driver: Driver) -> None:
    panel = driver.bring_up("notes")
    pin(driver, driver.run.n_prompt + 4, 1, 1)
    write(driver, HOSTILE)
    branched(driver, driver.run.n_prompt + 2)
    driver.bring_up("notes")
    row = panel.table.notes.rows[0]
    assert row.absent == "on branch 0"
    index = panel.table.notes.index(0, 0)
    assert "(on branch 0)" in index.data()
    assert "&lt;b&gt;" in index.data(Qt.ItemDataRole.ToolTipRole)
    assert panel.values()["present"].tolist() == [False]


def test_the_model_of_the_list_is_sound(qtbot: Any) -> None:
    shown = context(generated(2))
    model = NoteModel(shown.theme)
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    model.show_rows([Row(1, True, "bookmark", "token 1", ""), Row(2, False, "note", "layer 1", "x\ny", "elsewhere")])
    assert model.rowCount() == 2
    assert model.index(1, 0).data() == "layer 1 (elsewhere)\nx ⏎ y"
    model.show_rows([])
    assert tester is not None


def many_rows(count: int) -> list[Row]:
    """Every third one a bookmark without a text."""
    texts = ("", "text", "text\nof two lines")
    return [Row(n, n % 3 == 0, "note", f"layer {n}", texts[n % 3]) for n in range(count)]


def test_with_hundreds_of_notes_only_those_in_sight_are_looked_at(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = NoteTable(context(generated(1)).theme)
    qtbot.addWidget(table)
    table.resize(300, 400)
    table.show()
    asked: list[int] = []
    before = NoteModel.data
    monkeypatch.setattr(NoteModel, "data", lambda *which: (asked.append(which[1].row()), before(*which))[1])
    table.show_rows(many_rows(500))
    table.pick((40,), 40)
    QApplication.processEvents()
    assert 0 < len(set(asked)) < 60
    table.show_rows(many_rows(499))
    QApplication.processEvents()
    assert len(set(asked)) < 60


def test_a_row_has_the_height_of_its_lines_and_follows_letters_and_theme(qtbot: Any) -> None:
    table = NoteTable(context(generated(1)).theme)
    qtbot.addWidget(table)
    table.show_rows(many_rows(3))
    before = [table.rowHeight(row) for row in range(3)]
    line = table.fontMetrics().lineSpacing()
    assert line < before[0] < 2 * line < before[1] == before[2]
    assert all(table.sizeHintForRow(row) <= height for row, height in enumerate(before))
    dark = table.notes.index(0, 0).data(Qt.ItemDataRole.DecorationRole).pixmap(16).toImage()
    font = table.font()
    font.setPointSizeF(2 * font.pointSizeF())
    table.setFont(font)
    table.restyle(LIGHT)
    assert all(table.sizeHintForRow(row) <= table.rowHeight(row) for row in range(3))
    assert table.rowHeight(0) > 1.6 * before[0]
    assert table.notes.index(0, 0).data(Qt.ItemDataRole.DecorationRole).pixmap(16).toImage() != dark


def test_values_of_no_notes_have_their_form(qtbot: Any) -> None:
    panel = NotesPanel(context(generated(1)))
    qtbot.addWidget(panel)
    assert {name: array.shape for name, array in panel.values().items()} == dict.fromkeys(panel.values(), (0,))
    assert not panel.picture().isNull()


# ---- the strip -------------------------------------------------------------------------------------------------------


def test_the_strip_flags_tokens_and_tells_their_notes(qtbot: Any) -> None:
    shown = context(generated(3))
    strip = TokenStrip(shown)
    qtbot.addWidget(strip)
    strip.resize(800, 200)
    strip.show_run()
    strip.show()
    before = strip.view.grab().toImage()
    note = shown.notes.add(at(shown.run, shown.cursor.pinned))
    assert note is not None
    shown.notes.change(note.number, text=HOSTILE, position=2)
    assert strip.view.marks.flags == frozenset(), "its token was another one"
    shown.notes.change(note.number, token=2)
    assert strip.view.marks.flags == {2}
    box = strip.view.box(2)
    flag = strip.view.grab().toImage()
    changed = [
        (x, y) for x in range(flag.width()) for y in range(flag.height()) if flag.pixel(x, y) != before.pixel(x, y)
    ]
    assert changed
    assert all(box.left() <= x <= box.center().x() and y < box.center().y() + 1 for x, y in changed)
    assert "&lt;b&gt;bold" in strip.tip(2)
    assert "note" in strip.tip(2)
    assert "bold" not in strip.tip(1)
    shown.notes.remove([note.number])
    assert strip.view.grab().toImage() == before


# ---- branches, other runs --------------------------------------------------------------------------------------------


def test_going_to_a_note_of_another_branch_stands_on_it(driver: Driver) -> None:
    position = driver.run.n_prompt + 4
    pin(driver, position, 2, 1)
    note = write(driver, "here")
    branched(driver, driver.run.n_prompt + 2)
    assert driver.window.strip.view.marks.flags == frozenset()
    pin(driver, 1)
    driver.until(SwitchedFrame, lambda: driver.panel("notes").jump_asked.emit(note.number))
    look = driver.window.context.cursor
    driver.qtbot.waitUntil(lambda: look.pinned.position == position)
    assert driver.run.tree.current == 0
    assert driver.window.strip.view.marks.flags == {position}
    assert (look.pinned.layer, look.pinned.head) == (2, 1)


def test_a_place_that_no_branch_has_is_a_sentence(driver: Driver) -> None:
    pin(driver, driver.run.n_tokens - 1)
    note = write(driver, "the end")
    driver.window.branching.back_to(driver.run.n_prompt + 1)
    driver.qtbot.waitUntil(lambda: len(driver.run.steps) == 1)
    driver.panel("notes").jump_asked.emit(note.number)
    assert "This run has no token" in driver.window.error_bar.sentence.text()


def test_the_same_prompt_keeps_its_notes_and_another_puts_them_away(driver: Driver) -> None:
    pin(driver, 4, 1, 1)
    driver.trigger("bookmark")
    pin(driver, 4, 2, 0)
    write(driver, "about the layer", token=False)
    driver.ends("run")
    assert len(notes(driver)) == 2
    assert driver.window.strip.view.marks.flags == {4}
    driver.window.bar.prompt.setPlainText("another")
    driver.ends("run")
    assert [note.text for note in notes(driver)] == ["about the layer"]
    assert driver.window.strip.view.marks.flags == frozenset()
    notes(driver).undo()
    assert driver.panel("notes").values()["present"].tolist() == [True, False]


def test_another_model_puts_all_away(driver: Driver, tiny_model: Path) -> None:
    pin(driver, 4, 1, 1)
    driver.trigger("bookmark")
    driver.window.filing.open_model(str(tiny_model))
    driver.qtbot.waitUntil(lambda: driver.run.n_tokens == 0, timeout=30_000)
    driver.qtbot.waitUntil(lambda: len(notes(driver)) == 0)
    assert notes(driver).can_undo


# ---- files -----------------------------------------------------------------------------------------------------------


def test_notes_are_saved_and_opened_with_the_run(driver: Driver, tmp_path: Path) -> None:
    pin(driver, 4, 2, 1)
    driver.trigger("bookmark")
    pin(driver, driver.run.n_prompt + 1, 1, 0)
    write(driver, HOSTILE, head=False)
    position = driver.run.n_prompt + 1
    assert save(driver, tmp_path / "a.fluoro") == (
        (Mark(HOSTILE.strip(), position, 1, None),),
        (Mark("", 4, 2, 1),),
    )
    notes(driver).remove([note.number for note in notes(driver)])
    assert save(driver, tmp_path / "b.fluoro") == ((), ())
    driver.window.filing.open_model(str(tmp_path / "a.fluoro"))
    driver.qtbot.waitUntil(lambda: len(notes(driver)) == 2, timeout=30_000)
    driver.qtbot.waitUntil(lambda: driver.window.strip.view.marks.flags == {4, position}, timeout=30_000)
    assert [note.word for note in notes(driver)] == ["o", driver.run.label(position)]
    assert driver.window.actions_by_name["next_mark"].isEnabled()
    assert save(driver, tmp_path / "c.fluoro")[0] == (Mark(HOSTILE.strip(), position, 1, None),)


def test_a_file_keeps_the_notes_of_other_branches(driver: Driver, tmp_path: Path) -> None:
    position = driver.run.n_prompt + 3
    pin(driver, position, 1, 0)
    word = driver.run.label(position)
    write(driver, "of the first branch")
    branched(driver, driver.run.n_prompt + 2)
    written, _ = save(driver, tmp_path / "a.fluoro")
    assert written == (Mark("of the first branch", position, 1, 0, "", 0),)
    (before,) = notes(driver)
    notes(driver).take(())
    driver.window.filing.open_model(str(tmp_path / "a.fluoro"))
    driver.qtbot.waitUntil(lambda: [note.token for note in notes(driver)] == [before.token], timeout=30_000)
    (note,) = notes(driver)
    assert (note.word, note.branch) == (word, 0)
    panel = driver.panel("notes")
    assert panel.table.notes.rows[0].place == f"token {position} “{word}” · layer 1 · head 0"
    assert panel.table.notes.rows[0].absent == "on branch 0"
    driver.until(SwitchedFrame, lambda: driver.window.noting.jump(note.number))
    driver.qtbot.waitUntil(lambda: driver.window.context.cursor.pinned.position == position, timeout=30_000)
    assert driver.run.tree.current == 0


def test_notes_are_taken_along_as_text_and_table(driver: Driver, tmp_path: Path, monkeypatch) -> None:
    pin(driver, 4, 2, 1)
    write(driver, "look")
    panel = driver.panel("notes")
    panel.buttons["copy"].click()
    text = QApplication.clipboard().text()
    assert text.endswith("\n\nnote: token 4 “o” · layer 2 · head 1\nlook\n")
    assert "prompt: hello abc\n" in text
    for name, kind, written in (
        ("a", "Table (*.csv)", "a.csv"),
        ("b", "Text (*.txt)", "b.txt"),
        ("c.csv", "Text (*.txt)", "c.csv"),
    ):
        monkeypatch.setattr(
            QFileDialog, "getSaveFileName", lambda *_, name=name, kind=kind: (str(tmp_path / name), kind)
        )
        panel.buttons["save"].click()
        assert (tmp_path / written).is_file()
    assert "note,4,o,2,1,look," in (tmp_path / "c.csv").read_text("utf-8")
    driver.window.noting.save(tmp_path / "none" / "x.txt")
    assert "could not be written" in driver.window.error_bar.sentence.text()


def test_those_of_the_last_session_come_with_its_model(driver: Driver) -> None:
    kept = (Note(7, "of \ud800 all"), Note(8, "nowhere", layer=-1), *[Note(9, "more")] * MOST_MARKS)
    driver.window.noting.restore(kept)
    assert len(notes(driver)) == 0, "the model is not there yet"
    driver.window.noting.follow(driver.window.context.run.model)
    assert [note.text for note in notes(driver)] == ["of ? all", *["more"] * (MOST_MARKS - 1)]
    driver.window.noting.follow(driver.window.context.run.model)
    assert len(notes(driver)) == 0, "another one has none"
