"""The sampling panel: the candidates, what cut them, the draw, and the settings of the next token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication

from app.panels.sampling import SamplingPanel, candidates_of, stretches_of
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from engine.frames import EndFrame
from engine.settings import Sampling
from tests.app.made_runs import prompted
from tests.app.panel_runs import Shown, real_run, show

DRAWN = Sampling(temperature=0.8, top_k=20, top_p=0.9, repetition_penalty=1.1, seed=7)


@pytest.fixture(scope="module")
def drawn_run(tiny_model: Path) -> Run:
    """Six tokens drawn by the tiny model."""
    import engine

    return real_run(engine.Session(engine.load(tiny_model, device="cpu"), DRAWN), "draw", 6)


@pytest.fixture(scope="module")
def greedy_run(tiny_model: Path) -> Run:
    import engine

    return real_run(engine.Session(engine.load(tiny_model, device="cpu"), Sampling(greedy=True)), "greedy", 3)


def test_figures_are_those_of_an_independent_softmax(qtbot: Any, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), Sampling(temperature=0.5, top_k=5, seed=1))
    shown = show(qtbot, SamplingPanel, real_run(session, "sampling", 3))
    ids = torch.tensor([[piece.id for piece in shown.run.pieces][: shown.run.n_read]])
    oracle = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        logits = oracle(ids).logits[0, -1].double()
    values = shown.panel.values()
    np.testing.assert_allclose(values["raw"], logits.softmax(0)[values["ids"]], atol=1e-6)
    kept = logits >= logits.topk(5).values[-1]
    final = torch.where(kept, logits / 0.5, -torch.inf).softmax(0)
    np.testing.assert_allclose(values["final"], final[values["ids"]], atol=1e-5)


def test_the_real_model_shows_its_known_candidates(qtbot: Any, smollm2_gguf: Path) -> None:
    import engine

    session = engine.Session(engine.load(smollm2_gguf, device="cpu"), Sampling(greedy=True))
    shown = show(qtbot, SamplingPanel, real_run(session, "The capital of France is", 1))
    rows = shown.panel._table.rows[:5]
    assert [row.text for row in rows] == ["␣Paris", "␣the", "␣London", "␣Le", "␣New"]
    assert [row.raw for row in rows] == pytest.approx([0.77254, 0.06452, 0.01247, 0.00985, 0.00930], abs=2e-5)
    assert rows[0].chosen
    assert len({row.id for row in shown.panel._table.rows}) == 64  # the chosen one is listed once


def test_a_pinned_position_shows_the_step_that_chose_it(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run)
    for step in drawn_run.steps:
        shown.pin(position=step.end)
        np.testing.assert_array_equal(shown.panel.values()["ids"], step.sampling.ids)
        assert f"position {step.end}" in shown.panel.caption()
    shown.pin(position=None)
    np.testing.assert_array_equal(shown.panel.values()["ids"], drawn_run.steps[-1].sampling.ids)


def test_a_prompt_token_was_not_drawn(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run)
    shown.pin(position=1)
    assert shown.panel._pages.empty
    assert "was given in the prompt" in shown.panel._pages.accessibleDescription()
    assert shown.panel.values() == {}


def test_every_cut_candidate_names_its_stage(drawn_run: Run) -> None:
    for step in drawn_run.steps:
        frame = step.sampling
        for row in candidates_of(step, {}):
            index = frame.ids.tolist().index(row.id)
            stage = int(frame.cut_by[index])
            assert row.cut_by == ("" if stage < 0 else frame.stages[stage].name)
            assert (row.final == 0) == bool(row.cut_by)
    assert any(row.cut_by for row in candidates_of(drawn_run.steps[0], {}))


def test_the_drawn_number_lies_in_the_chosen_stretch(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run)
    for step in drawn_run.steps:
        shown.pin(position=step.end)
        drawn = shown.panel._bar.drawn
        assert drawn.chosen.low <= drawn.number < drawn.chosen.high
        mine = next(stretch for stretch in stretches_of(step) if abs(stretch.low - drawn.chosen.low) < 1e-9)
        assert mine.high == pytest.approx(drawn.chosen.high)
        edges = [edge for stretch in drawn.stretches for edge in (stretch.low, stretch.high)]
        assert edges == sorted(edges)
        assert edges[-1] == pytest.approx(1)
        assert f"{drawn.number:.4f}" in shown.panel._sentence.text()


def test_greedy_says_that_nothing_was_drawn(qtbot: Any, greedy_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, greedy_run)
    assert "nothing was drawn" in shown.panel._sentence.text()
    assert shown.panel._bar.drawn.number is None
    assert not shown.panel.picture().isNull()


def test_stages_say_what_they_did(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run)
    controls, frame = shown.panel._controls, drawn_run.steps[-1].sampling
    kept = {stage.name: stage.kept for stage in frame.stages}
    assert controls._effects["top-k"].text().startswith(f"20: {kept['top-k']} kept")
    assert controls._effects["temperature"].text() == "0.8: reweighted"
    assert controls._effects["min-p"].text() == "off"
    faint = controls._effects["min-p"].palette().color(controls._effects["min-p"].foregroundRole()).name()
    assert faint == DARK.faint


def test_controls_send_settings_and_take_them(qtbot: Any) -> None:
    shown = show(qtbot, SamplingPanel, Run())
    sent: list[Sampling] = []
    shown.panel.settings_changed.connect(sent.append)
    assert shown.panel.settings() == Sampling()
    shown.panel._controls._boxes["temperature"].setValue(0.7)
    shown.panel._controls._boxes["top_k"].setValue(40)
    shown.panel._controls._boxes["presence_penalty"].setValue(-0.5)
    shown.panel._controls._greedy.setChecked(True)
    assert sent[-1] == Sampling(greedy=True, temperature=0.7, top_k=40, presence_penalty=-0.5)
    shown.panel._controls._new_seed.click()
    assert sent[-1].seed == shown.panel.settings().seed
    assert isinstance(sent[-1].seed, int)
    count = len(sent)
    shown.panel.set_settings(Sampling(top_p=0.5, seed=2**40))
    assert len(sent) == count
    assert shown.panel.settings() == Sampling(top_p=0.5, seed=2**40)
    assert shown.panel._controls._seed.value() == 2**40


def test_every_control_has_an_accessible_name(qtbot: Any) -> None:
    shown = show(qtbot, SamplingPanel, Run())
    controls = shown.panel._controls
    for control in (*controls._boxes.values(), controls._greedy, controls._new_seed):
        assert control.accessibleName()


def test_arrow_keys_and_the_mouse_read_out_candidates(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run)
    table, ids = shown.panel._table, drawn_run.steps[-1].sampling.ids
    for _ in range(3):
        qtbot.keyClick(table, Qt.Key.Key_Down)
    assert table.row == 2
    assert f"id {ids[2]}," in table.accessibleDescription()
    assert shown.said[-1] == table.accessibleDescription()
    for _ in range(60):
        qtbot.keyClick(table, Qt.Key.Key_Down)
    assert table.row in table.visible_rows()


def test_the_chosen_candidate_is_always_on_screen(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run, size=(380, 420))
    for step in drawn_run.steps:
        shown.pin(position=step.end)
        rows = [shown.panel._table.rows[row] for row in shown.panel._table.visible_rows()]
        assert any(row.chosen for row in rows)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("size", [(1000, 700), (600, 400), (360, 640)])
def test_it_paints_in_every_shape(qtbot: Any, drawn_run: Run, theme: Theme, size: tuple[int, int]) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run, theme, size)
    picture = shown.panel.picture()
    colours = {picture.pixelColor(x, y).name() for x in range(0, size[0], 3) for y in range(0, size[1], 3)}
    assert {theme.panel, theme.prefill} <= colours


def test_sentences_without_a_token(qtbot: Any) -> None:
    run = Run()
    shown: Shown = show(qtbot, SamplingPanel, run)
    assert "Open a model" in shown.panel._pages.accessibleDescription()
    shown.panel.context.run = prompted()
    shown.panel.show_run()
    assert "first token is chosen" in shown.panel._pages.accessibleDescription()
    shown.panel.context.run.absorb(EndFrame("stopped"))
    shown.panel.show_run()
    assert "ended before a token" in shown.panel._pages.accessibleDescription()


def test_another_token_is_picked_or_typed(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run)
    asked: list[tuple[int, int | str]] = []
    shown.panel.branch_asked.connect(lambda position, token: asked.append((position, token)))
    step, table, choice = drawn_run.steps[-1], shown.panel._table, shown.panel._choice
    assert not choice.button.isEnabled()
    row, other = next((row, item) for row, item in enumerate(table.rows) if not item.chosen)
    table.pick(row)
    assert choice.field.text() == other.text
    qtbot.mouseClick(choice.button, Qt.MouseButton.LeftButton)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    place = table.rect().topLeft() + QPoint(20, round(table._high() * (table.visible_rows().index(row) + 1.5)))
    qtbot.mouseDClick(table, Qt.MouseButton.LeftButton, pos=place)
    assert asked == [(step.end, other.id)] * 3
    choice.field.clear()
    QGuiApplication.clipboard().setText("␣the")
    choice.field.paste()
    qtbot.keyClick(choice.field, Qt.Key.Key_Return)
    assert asked[-1] == (step.end, " the"), "a drawn space is a space"
    shown.pin(position=drawn_run.steps[0].end)
    assert choice.field.text() == "", "another step has other candidates"
    table.pick(next(row for row, item in enumerate(table.rows) if item.chosen))
    qtbot.mouseClick(choice.button, Qt.MouseButton.LeftButton)
    assert len(asked) == 4, "the token that stands there is no other one"


def test_a_token_put_in_by_hand_was_not_drawn(qtbot: Any, drawn_run: Run) -> None:
    run = replace(drawn_run, steps=list(drawn_run.steps))
    last = run.steps[-1]
    run.steps[-1] = replace(last, sampling=replace(last.sampling, by_hand=True))
    shown = show(qtbot, SamplingPanel, run)
    assert "by hand" in shown.panel._sentence.text()
    greedy = replace(last.sampling, by_hand=True, drawn=None, low=0.0, high=1.0, chosen_final=0.0)
    run.steps = [*run.steps[:-1], replace(last, sampling=greedy)]
    shown.panel.show_run()
    chosen = shown.panel._bar.drawn.chosen
    assert (chosen.low, chosen.high) == (0, 0), "another one was the most probable: its stretch is not the whole bar"
    assert shown.panel._bar.drawn.number is None


def test_a_low_panel_leaves_its_room_to_the_candidates(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run, size=(420, 330))  # wider than high
    assert shown.panel.minimumSizeHint().width() <= 420, "it does not ask for more room than it has"
    assert len(shown.panel._table.visible_rows()) >= 3
    assert shown.panel._bar.toolTip() == shown.panel._sentence.text()


def test_as_low_as_it_goes_it_shows_the_chosen_candidate_and_others(qtbot: Any, drawn_run: Run) -> None:
    shown = show(qtbot, SamplingPanel, drawn_run, size=(420, 100))
    for step in drawn_run.steps:
        shown.pin(position=step.end)
        rows = [shown.panel._table.rows[row] for row in shown.panel._table.visible_rows()]
        assert len(rows) >= 3
        assert any(row.chosen for row in rows)
