"""Breakpoints, run to here and the speed in the whole window, on a real run of a tiny model."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.command_line import Options
from app.panels.breakpoints import BreakpointsPanel
from app.panels.layers import LayersPanel
from app.panels.sampling import SamplingPanel
from app.panels.token_strip import TokenStrip
from app.speeds import FULL, SPEEDS
from app.window import Window
from engine.breakpoints import NOT_FINITE
from engine.breakpoints import Test as Condition
from engine.frames import EndFrame, StepFrame
from tests.app.conftest import GREEDY, MakeWindow, trigger

PANELS = (TokenStrip, LayersPanel, SamplingPanel, BreakpointsPanel)
Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: Any) -> Wait:
    return lambda holds: qtbot.waitUntil(holds, timeout=30_000)


@pytest.fixture
def window(make_window: MakeWindow, wait: Wait, tiny_model: Path) -> Window:
    made = make_window(
        Options(model=str(tiny_model), sampling=GREEDY, tokens=6, size=(1280, 720)), panels=PANELS, start=True
    )
    wait(lambda: made.context.run.model is not None)
    made.bar.prompt.setPlainText("hello")
    return made


def stands(window: Window, layer: int | None, stage: str, step: int | None = None) -> bool:
    where = window.context.run.where
    at = (where.layer, where.stage) == (layer, stage) and step in (None, where.step)
    return at and window.situation().state == "paused"


def shown(window: Window) -> BreakpointsPanel:
    window.debugging.show_breakpoints()
    panel = window.workspace.docks["breakpoints"].panel
    assert isinstance(panel, BreakpointsPanel)
    return panel


def ended(window: Window) -> bool:
    return window.context.run.ended is not None


# -- breakpoints -------------------------------------------------------------------------------------------------------


def test_it_stops_says_why_counts_and_goes_on(window: Window, wait: Wait) -> None:
    panel = shown(window)
    window.debugging.break_at(1, "rope")
    trigger(window, "run")
    wait(lambda: stands(window, 1, "rope", 0))
    assert window.hit_bar.isVisible()
    assert window.hit_bar.sentence.text() == "Breakpoint 1 (hit 1): rope of layer 1 is computed"
    assert window.context.cursor.pinned.layer == 1
    assert panel.rows.rows[1].hit.isVisible()
    assert panel.rows.rows[1].hits.text() == "1 hit"
    QTest.mouseClick(window.hit_bar.go_on, Qt.MouseButton.LeftButton)
    wait(lambda: stands(window, 1, "rope", 1))
    assert window.context.breaks.hits == {1: 2}
    window.context.breaks.change(1, on=False)
    trigger(window, "run")
    wait(lambda: ended(window))
    assert window.context.breaks.standing == ()
    assert not panel.rows.rows[1].hit.isVisible()
    assert window.hit_bar.isVisible(), "nothing moved when it went on"
    assert not window.hit_bar.sentence.isEnabled()
    trigger(window, "run")
    wait(lambda: not window.hit_bar.isVisible())  # another run


def test_the_list_has_a_name_where_tab_comes_to_it(window: Window) -> None:
    window.context.breaks.add((Condition("entropy", limit=2.5),))
    rows = shown(window).rows
    rows.setFocus()
    assert window.focusWidget() is rows
    assert rows.accessibleName() == "Breakpoints"


def test_hits_that_are_ignored_are_counted(window: Window, wait: Wait) -> None:
    panel = shown(window)
    window.context.breaks.add((Condition("stage", 2, "mix"),), ignore=3)
    trigger(window, "run")
    wait(lambda: stands(window, 2, "mix", 3))
    assert window.context.breaks.hits == {1: 4}
    assert panel.values()["hits"].tolist() == [0, 4]


def test_the_chosen_token_stops_with_its_value(window: Window, wait: Wait) -> None:
    window.context.breaks.add((Condition("entropy", limit=0.01),))
    trigger(window, "run")
    wait(lambda: stands(window, None, "sampling", 0))
    assert "entropy" in window.hit_bar.sentence.text()
    assert "0.01" in window.hit_bar.sentence.text()


def test_a_breakpoint_while_the_pass_stands_is_met_by_the_same_pass(window: Window, wait: Wait) -> None:
    trigger(window, "step_stage")
    wait(lambda: window.situation().state == "paused")
    window.debugging.break_at(2, "norm 2")
    trigger(window, "run")
    wait(lambda: stands(window, 2, "norm 2", 0))


def test_nan_stops_at_its_layer_without_anybody_asking(
    make_window: MakeWindow, wait: Wait, tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    window = make_window(Options(model=str(folder), sampling=GREEDY, tokens=2), panels=PANELS, start=True)
    wait(lambda: window.context.run.model is not None)
    window.bar.prompt.setPlainText("hello")
    trigger(window, "run")
    wait(lambda: window.situation().state == "paused")
    assert (window.context.run.where.layer, window.context.breaks.standing[0].number) == (1, NOT_FINITE.number)
    assert "layer 1" in window.hit_bar.sentence.text()
    assert window.context.cursor.pinned.layer == 1
    assert "NaN" in window.hit_bar.sentence.text() or "infinit" in window.hit_bar.sentence.text()


def test_its_cost_is_told_by_its_number(window: Window, wait: Wait) -> None:
    window.context.breaks.add((Condition("norm", 1, limit=1e6),))
    frames: list[object] = []
    window.received.connect(frames.append)
    trigger(window, "run")
    wait(lambda: ended(window))
    steps = [frame for frame in frames if isinstance(frame, StepFrame)]
    parts = {part for step in steps for part, seconds in step.watch.parts if seconds > 0}
    assert "break 1" in parts
    window.context.breaks.remove_all()
    window.context.breaks.change(0, on=False)
    frames.clear()
    trigger(window, "run")
    wait(lambda: any(isinstance(frame, EndFrame) for frame in frames))
    steps = [frame for frame in frames if isinstance(frame, StepFrame)]
    assert not any(part.startswith("break") for step in steps for part, _ in step.watch.parts), "off costs nothing"


# -- moving ------------------------------------------------------------------------------------------------------------


def test_keys_move_by_layers_and_stages(window: Window, wait: Wait) -> None:
    window.bar.prompt.clearFocus()
    window.activateWindow()
    QTest.keyClick(window, Qt.Key.Key_F10)
    wait(lambda: stands(window, 0, "add 2"))
    QTest.keyClick(window, Qt.Key.Key_F11)
    wait(lambda: stands(window, 1, "norm 1"))
    QTest.keyClick(window, Qt.Key.Key_F10)
    wait(lambda: stands(window, 2, "norm 1"))
    QTest.keyClick(window, Qt.Key.Key_F11, Qt.KeyboardModifier.ShiftModifier)
    wait(lambda: stands(window, 2, "add 2"))
    QTest.keyClick(window, Qt.Key.Key_F12)
    wait(lambda: stands(window, None, "start", 1))


def test_run_to_here_begins_a_run_and_goes_on_in_one(window: Window, wait: Wait) -> None:
    window.context.cursor.pin(layer=1, point="attn.hook_q")
    trigger(window, "run_here")
    wait(lambda: stands(window, *window.debugging.here(), 0))
    assert window.context.run.where.layer == 1
    window.context.cursor.pin(layer=2, point="")
    trigger(window, "run_here")
    wait(lambda: stands(window, 2, "add 2", 0))
    window.debugging.run_to(0, "norm 1")
    wait(lambda: stands(window, 0, "norm 1", 1))


def test_the_map_of_the_pass_marks_runs_to_and_breaks(window: Window, wait: Wait) -> None:
    layers = window.workspace.docks["layers"].panel
    layers.stage_asked.emit("break", 1, "rope")
    assert window.context.breaks.at(1, "rope") is not None
    assert layers.view.picture.marks.places == {(1, "rope"): True}
    layers.stage_asked.emit("run to", -1, "final norm")
    wait(lambda: stands(window, 1, "rope", 0))
    layers.stage_asked.emit("break", 1, "rope")
    assert not layers.view.picture.marks.places
    layers.stage_asked.emit("run to", -1, "final norm")
    wait(lambda: stands(window, None, "final norm", 0))
    window.context.breaks.asked.emit(Condition("norm", 1, limit=3))
    panel = window.workspace.docks["breakpoints"].panel
    wait(panel.isVisible)
    assert panel.form.first.test() == Condition("norm", 1, limit=3)


def test_f9_sets_and_takes_away_and_the_bar_has_room_at_1280(window: Window) -> None:
    window.bar.prompt.clearFocus()
    window.context.cursor.pin(layer=2)
    QTest.keyClick(window, Qt.Key.Key_F9)
    assert window.context.breaks.at(2, "") is not None
    assert "layer 2" in window.status.value.text()
    QTest.keyClick(window, Qt.Key.Key_F9)
    assert window.debugging.breakpoints == (NOT_FINITE,)
    bar = window.bar
    assert window.width() == 1280
    for part in (bar.prompt, *bar.buttons, bar.speed, bar.tokens):
        right = part.mapTo(window, part.rect().topRight()).x()
        assert part.isVisible()
        assert right < window.width()
    assert bar.prompt.width() >= 28 * bar.fontMetrics().averageCharWidth()


def test_a_token_is_looked_up_inside_a_pass_that_stands(window: Window, wait: Wait) -> None:
    window.debugging.break_at(1, "rope")
    trigger(window, "run")
    wait(lambda: stands(window, 1, "rope", 0))
    panel = shown(window)
    panel.begin()
    first = panel.form.first
    first.kind.setCurrentIndex(first.kind.findData("token"))
    first.target.setCurrentIndex(first.target.findData("id"))
    first.word.setText("two of them")
    panel.form.accept.click()
    wait(lambda: "one is needed" in panel.form.complaint.text())
    first.word.setText("␣")
    panel.form.accept.click()
    wait(lambda: len(window.context.breaks.breakpoints) == 3)
    (test,) = window.context.breaks.breakpoints[-1].tests
    assert test.token == window.worker._session.loaded.tokenizer.token_of(" ")
    assert stands(window, 1, "rope", 0)


def test_a_wide_bar_has_the_slider_in_it_and_lets_the_window_be_narrow_again(window: Window, wait: Wait) -> None:
    bar = window.bar
    assert not bar.speed.inline
    assert bar.speed.button.isVisible()
    for width, inline in ((1600, True), (1920, True), (1280, False)):
        window.resize(width, 900)
        wait(lambda width=width: bar.width() <= width == window.width())
        wait(lambda inline=inline: bar.speed.inline == inline)
        assert bar.speed.slider.isVisible() == inline
        assert bar.prompt.width() >= 28 * bar.fontMetrics().averageCharWidth()
        assert bar.tokens.mapTo(window, bar.tokens.rect().topRight()).x() < window.width()
    window.resize(1600, 900)
    wait(lambda: bar.speed.slider.isVisible())
    QTest.keyClick(bar.speed.slider, Qt.Key.Key_Left)
    assert window.debugging.speed == FULL - 1
    trigger(window, "faster")
    assert bar.speed.slider.value() == FULL


def test_the_speed_is_obeyed_at_once_and_let_go_at_once(window: Window, wait: Wait) -> None:
    seen: set[tuple[int | None, str]] = set()
    window.received.connect(lambda frame: seen.add((window.context.run.where.layer, window.context.run.where.stage)))
    window.bar.speed.slider.setValue(SPEEDS.index(20))
    began = time.monotonic()
    trigger(window, "run")
    wait(lambda: len(seen) > 12)
    assert time.monotonic() - began > 10 / 20
    assert not window.context.run.steps
    trigger(window, "pause")
    wait(lambda: window.situation().state == "paused")
    trigger(window, "pause")
    window.bar.speed.slider.setValue(FULL)
    wait(lambda: ended(window))
    assert time.monotonic() - began < 20, "six passes of 45 stages would take longer"


def test_closing_a_slow_pass(window: Window, wait: Wait) -> None:
    window.debugging.set_speed(0)
    trigger(window, "run")
    wait(lambda: window.context.run.where.stage != "")
    began = time.monotonic()
    window.close()
    assert window.closed_in_time
    assert time.monotonic() - began < 2
