"""Edits in the window: from the tray to the pass and back, for every command and for what goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from app.command_line import Options
from app.panels.edits import EditsPanel
from app.panels.token_strip import TokenStrip
from app.window import Window
from engine.edits import Edit
from tests.app.conftest import GREEDY, MakeWindow, slow_passes
from tests.engine.run_files import made, rewritten, saved, with_facts

WAIT = 60_000
PANELS = (TokenStrip, EditsPanel)
ZERO = Edit("zero", "hook_resid_mid", layers=(1,))
LATE = Edit("zero", "hook_resid_post", layers=(2,))
TOO_DEEP = Edit("zero", "hook_resid_mid", layers=(40,))


@pytest.fixture
def window(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> Window:
    """The tiny model, nothing run yet."""
    opened = make_window(Options(model=str(tiny_model), sampling=GREEDY, tokens=4), panels=PANELS, start=True)
    qtbot.waitUntil(lambda: opened.situation().can_run, timeout=WAIT)
    opened.bar.prompt.setPlainText("editing")
    return opened


def panel_of(window: Window) -> Any:
    return next(panel for panel in window.board.panels if panel.key == "edits")


def run(window: Window, qtbot: Any) -> list[int]:
    """Run the prompt to its end; the tokens that were made."""
    before = window.context.run.steps
    window.run_prompt()
    ended = lambda: window.context.run.steps is not before and window.context.run.ended is not None  # noqa: E731
    qtbot.waitUntil(ended, timeout=WAIT)
    return [step.piece.id for step in window.context.run.steps]


def pause(window: Window, qtbot: Any, kind: str = "layer") -> None:
    window.run_prompt(kind)
    qtbot.waitUntil(lambda: window.context.run.where.state == "paused", timeout=WAIT)


def accepted(window: Window, qtbot: Any) -> None:
    """The engine has what is in the tray."""
    tray = window.context.tray
    qtbot.waitUntil(lambda: tray.accepted == tray.edits, timeout=WAIT)


def session_of(window: Window) -> Any:
    return window.worker._session


def test_edits_change_the_run_and_undo_brings_it_back(window: Window, qtbot: Any, tiny_model: Path) -> None:
    import engine

    tray = window.context.tray
    plain = run(window, qtbot)
    tray.add(ZERO)
    accepted(window, qtbot)
    edited = run(window, qtbot)
    session = engine.Session(engine.load(tiny_model, device="cpu"), GREEDY)
    session.set_edits([ZERO])
    assert edited == [step.frame().piece.id for step in session.generate("editing", max_new_tokens=4)] != plain
    assert all(step.edited for step in window.context.run.steps)
    window.editing.undo_edit()
    assert run(window, qtbot) == plain
    assert not any(step.edited for step in window.context.run.steps)
    window.editing.redo_edit()
    assert run(window, qtbot) == edited
    window.editing.switch_edits()
    assert run(window, qtbot) == plain


def test_a_token_that_never_came_up_is_known_to_the_tokenizer_before_any_run(window: Window, qtbot: Any) -> None:
    """The tiny model's tokens are single letters."""
    panel, tray = panel_of(window), window.context.tray
    window.workspace.bring_up("edits")
    panel.ask(None, "logits")
    assert window.context.run.n_tokens == 0
    panel.form.entries.setText("Q, “no one token”")
    panel.form.done.click()
    qtbot.waitUntil(lambda: "one is needed" in panel.form.wrong.text(), timeout=WAIT)
    assert "“n”, “o”" in panel.form.wrong.text()
    assert tray.edits == ()
    panel.form.entries.setText("Q")
    panel.form.done.click()
    qtbot.waitUntil(lambda: len(tray.edits) == 1, timeout=WAIT)
    assert tray.edits[0].entries == (session_of(window).loaded.tokenizer.token_of("Q"),)
    assert tray.edits[0].name == "ban Q"
    accepted(window, qtbot)
    assert window.board.complete


def test_a_pass_that_stands_is_edited_and_goes_on(window: Window, qtbot: Any) -> None:
    """What lies behind it is changed, what was computed is not."""
    plain = run(window, qtbot)
    pause(window, qtbot)
    assert (window.context.run.where.layer, window.context.run.where.stage) == (0, "add 2")
    window.context.tray.add(LATE)
    accepted(window, qtbot)
    window.run()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=WAIT)
    assert [step.piece.id for step in window.context.run.steps] != plain
    assert window.context.run.steps[0].edited
    trace = session_of(window).trace
    assert [name for name, found in trace.edits(0).items() if found] == ["blocks.2.hook_resid_post"]


def test_an_edit_while_it_runs(window: Window, qtbot: Any) -> None:
    slow_passes(window, 0.05)
    window.bar.tokens.setValue(200)
    window.run_prompt()
    qtbot.waitUntil(lambda: len(window.context.run.steps) > 2, timeout=WAIT)
    window.context.tray.add(ZERO)
    qtbot.waitUntil(lambda: window.context.run.steps[-1].edited, timeout=WAIT)
    edited = [step.edited for step in window.context.run.steps]
    assert edited == sorted(edited)
    assert not edited[0]
    window.editing.switch_edits()
    qtbot.waitUntil(lambda: not window.context.run.steps[-1].edited, timeout=WAIT)
    window.stop()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=WAIT)


def test_what_does_not_fit_is_said_and_taken_out(window: Window, qtbot: Any) -> None:
    tray = window.context.tray
    tray.add(ZERO)
    accepted(window, qtbot)
    tray.add(TOO_DEEP)
    qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)
    assert "does not fit this model" in window.error_bar.sentence.text()
    assert tray.edits == (ZERO,)
    assert session_of(window).edits == (ZERO,)
    assert not tray.can_redo
    tray.switch(0, False)
    accepted(window, qtbot)
    assert not session_of(window).edits[0].on


def test_another_model_is_left_without_the_edits_of_the_one_before(
    window: Window, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were on their way when it came, too."""
    sent: list[tuple[Edit, ...]] = []
    monkeypatch.setattr(window.worker, "set_edits", sent.append)
    window.context.tray.add(ZERO)
    assert window.context.run.model is not None
    window.editing.take_model(replace(window.context.run.model, source="another"))
    assert (window.context.tray.edits, sent) == ((), [(ZERO,), ()])


def test_the_window_says_edited_while_one_is_on(window: Window, qtbot: Any) -> None:
    strip, tray = window.strip, window.context.tray
    assert strip is not None
    assert strip.edited.isHidden()
    tray.add(ZERO)
    assert strip.edited.isVisible()
    assert window.windowTitle() == "edited — Fluoroscope"
    window.editing.switch_edits()
    assert strip.edited.isHidden()
    assert window.windowTitle() == "Fluoroscope"
    window.editing.switch_edits()
    qtbot.mouseClick(strip.edited, Qt.MouseButton.LeftButton)
    assert window.workspace.docks["edits"].shown
    run(window, qtbot)
    assert "edited" in strip.tip(window.context.run.n_prompt)
    assert strip.view._edited(window.context.run.n_prompt)
    assert not strip.view._edited(0)


def test_commands_are_possible_when_they_mean_something(window: Window, qtbot: Any) -> None:
    names = ("undo_edit", "redo_edit", "new_edit", "switch_edits", "copy_edits", "clear_edits")

    def possible() -> set[str]:
        return {name for name in names if window.actions_by_name[name].isEnabled()}

    assert possible() == {"new_edit"}
    window.context.tray.add(ZERO)
    assert possible() == {"undo_edit", "new_edit", "switch_edits", "copy_edits", "clear_edits"}
    window.actions_by_name["clear_edits"].trigger()
    assert possible() == {"undo_edit", "new_edit"}
    window.actions_by_name["undo_edit"].trigger()
    assert window.context.tray.edits == (ZERO,)


def test_the_copied_script_makes_the_same_tokens(
    window: Window, qtbot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is run as it lies on the clipboard."""
    window.context.tray.add(ZERO)
    accepted(window, qtbot)
    run(window, qtbot)
    panel_of(window).buttons["copy"].click()
    capsys.readouterr()
    exec(compile(QGuiApplication.clipboard().text(), "copied", "exec"), {})
    assert capsys.readouterr().out.strip("\n") == "".join(step.piece.text for step in window.context.run.steps)


def test_ctrl_z_in_a_text_field_is_the_fields_own(window: Window, qtbot: Any) -> None:
    window.activateWindow()
    window.context.tray.add(ZERO)
    prompt = window.bar.prompt
    prompt.clear()
    prompt.setFocus()
    qtbot.waitUntil(prompt.hasFocus)
    qtbot.keyClicks(prompt, "typed")
    qtbot.keyClick(prompt, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert prompt.toPlainText() == ""
    assert window.context.tray.edits == (ZERO,)
    strip = window.strip
    assert strip is not None
    strip.view.setFocus()
    qtbot.waitUntil(strip.view.hasFocus)
    qtbot.keyClick(strip.view, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.context.tray.edits == ()
    modifiers = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(strip.view, Qt.Key.Key_Z, modifiers)
    assert window.context.tray.edits == (ZERO,)


def test_the_form_comes_up_from_anywhere(window: Window, qtbot: Any) -> None:
    panel = panel_of(window)
    window.context.cursor.pin(layer=2, head=1)
    window.actions_by_name["new_edit"].trigger()
    assert window.workspace.docks["edits"].shown
    assert panel.form.edit() == Edit("zero", "attn.hook_z", layers=(2,), heads=(1,))
    window.editing.edit_at(1, "add 1")
    assert panel.form.edit().point == "hook_resid_mid"
    window.editing.edit_at(None, "hook_embed")
    assert panel.form.edit() == Edit("zero", "hook_embed")
    window.context.tray.asked.emit(LATE)
    assert panel.form.edit() == LATE
    window.undo_one()
    assert panel._pages.currentWidget() is not panel.form


def test_the_untouched_pass_comes_beside_the_edited_one(window: Window, qtbot: Any) -> None:
    panel = panel_of(window)
    plain = run(window, qtbot)
    window.context.tray.add(ZERO)
    edited = run(window, qtbot)
    window.workspace.bring_up("edits")
    panel.buttons["compare"].click()
    window.context.cursor.pin(position=0)  # both runs begin with the same prompt
    qtbot.waitUntil(lambda: panel.untouched.shown is not None and panel.untouched.shown.start == 0, timeout=WAIT)
    found = panel.untouched.shown
    assert (found.chosen, found.otherwise) == (edited[0], plain[0])
    assert window.complete


def test_the_same_model_again_keeps_the_edits_another_does_not(
    window: Window, qtbot: Any, tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    tray = window.context.tray
    tray.add(ZERO)
    accepted(window, qtbot)
    first = session_of(window)
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: session_of(window) is not first and not window.filing.loading, timeout=WAIT)
    qtbot.waitUntil(lambda: session_of(window).edits == (ZERO,), timeout=WAIT)
    assert tray.edits == (ZERO,)
    other = shutil.copytree(tiny_model, tmp_path / "other")
    second = session_of(window)
    window.filing.open_model(str(other))
    qtbot.waitUntil(lambda: session_of(window) is not second and not window.filing.loading, timeout=WAIT)
    qtbot.waitUntil(lambda: not tray.edits, timeout=WAIT)
    assert session_of(window).edits == ()
    assert not tray.can_undo


def test_a_saved_run_brings_its_edits_back_and_undo_those_that_were_there(
    window: Window, qtbot: Any, tmp_path: Path
) -> None:
    tray, off = window.context.tray, replace(LATE, on=False, strength=0.5, name="later")
    for each in (ZERO, off):
        tray.add(each)
    accepted(window, qtbot)
    edited = run(window, qtbot)
    window.filing.save_run_as(tmp_path / "run.fluoro")
    qtbot.waitUntil(lambda: not window.filing.saving, timeout=WAIT)
    tray.clear()
    other = replace(LATE, name="other")
    tray.add(other)
    accepted(window, qtbot)
    first = session_of(window)
    window.filing.open_model(str(tmp_path / "run.fluoro"))
    qtbot.waitUntil(lambda: session_of(window) is not first and not window.filing.loading, timeout=WAIT)
    qtbot.waitUntil(lambda: session_of(window).edits == (ZERO, off), timeout=WAIT)
    assert tray.edits == (ZERO, off)
    assert window.windowTitle().startswith("edited — ")
    assert run(window, qtbot) == edited
    window.editing.undo_edit()
    assert tray.edits == (other,)
    window.editing.redo_edit()
    assert tray.edits == (ZERO, off)


def test_edits_of_a_file_that_does_not_say_come_switched_off(
    make_window: MakeWindow, qtbot: Any, tiny_model: Path, tmp_path: Path
) -> None:
    import engine

    loaded = engine.load(tiny_model, device="cpu")
    session = engine.Session(loaded, GREEDY)
    session.set_edits([ZERO])
    steps = [step.frame() for step in session.generate("hello", 3)]
    whole = saved(tmp_path / "whole.fluoro", session, steps, reason="limit", max_new_tokens=3)
    older = rewritten(whole, tmp_path / "older.fluoro", with_facts(lambda facts: facts["branches"][0].pop("tray")))
    window = make_window(Options(model=str(older), sampling=GREEDY), panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=WAIT)
    assert window.context.tray.edits == (replace(ZERO, on=False),)
    assert not window.windowTitle().startswith("edited")
    window.editing.undo_edit()
    assert window.context.tray.edits == ()


def test_a_run_without_its_model_cannot_be_edited(
    make_window: MakeWindow, qtbot: Any, tiny_model: Path, tmp_path: Path
) -> None:
    """Said in a sentence that is about the model, not about Python."""
    import engine

    session, steps = made(engine.load(tiny_model, device="cpu"), "hello abc", 3, temperature=0.7, seed=5)
    whole = saved(tmp_path / "whole.fluoro", session, steps, reason="limit", max_new_tokens=3)
    gone = with_facts(lambda facts: facts["model"].update(source="gone"))
    orphan = rewritten(whole, tmp_path / "orphan.fluoro", gone)
    window = make_window(Options(model=str(orphan), sampling=GREEDY), panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.filing.opened is not None, timeout=WAIT)
    window.context.tray.add(ZERO)
    qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)
    assert "model" in window.error_bar.sentence.text()
    assert "AttributeError" not in window.error_bar.sentence.text()
    assert window.context.tray.edits == ()
