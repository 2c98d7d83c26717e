"""The attention panel: figures of a real run against transformers, masks, reduction, groups, keys and sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor

from app.panels.attention import AttentionPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.heatmap import ABSENT, MASKED, SHOWN
from app.widgets.zoom_map import View
from engine.frames import ExactValue, RunFrame
from engine.questions import AskAttentionMap, AskAttentionRow, AskExactValue
from tests.app.panel_runs import Shown, attention_answers, patterns, read_run, real_run, reduced, show


def figures(qtbot: Any, *, n: int = 8, n_total: int | None = None, block: int = 1, theme: Theme = DARK) -> Shown:
    """A panel that shows random patterns of n positions."""
    total = n_total or n
    shown = show(qtbot, AttentionPanel, read_run(total), theme)
    for key, answer in attention_answers(patterns(total), n=n, n_total=total, block=block).items():
        shown.panel.show_answer(key, answer)
    return shown


def centre(heatmap: Any, row: int, column: int) -> QPointF:
    heatmap.settle()
    return heatmap.box(row, column).center()


def test_maps_and_rows_are_those_of_transformers(qtbot: Any, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, AttentionPanel, real_run(session, "attention", 5))
    ids = torch.tensor([[piece.id for piece in shown.run.pieces][: shown.run.n_read]])
    oracle = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        expected = oracle(ids, output_attentions=True).attentions
    for layer in range(3):
        for head in (0, 3):
            shown.pin(layer=layer, head=head)
            shown.answer(session)
            values = shown.panel.values()
            np.testing.assert_allclose(values["grid"], expected[layer][0], atol=2e-6)
            np.testing.assert_allclose(values["map"], expected[layer][0, head], atol=2e-6)
            np.testing.assert_allclose(values["row"], expected[layer][0, :, -1], atol=2e-6)


def test_the_real_model_shows_its_known_row_and_its_true_heads(qtbot: Any, smollm2_gguf: Path) -> None:
    import engine

    session = engine.Session(engine.load(smollm2_gguf, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, AttentionPanel, real_run(session, "The capital of France is", 1))
    shown.pin(layer=3, head=4)
    shown.answer(session)
    known = [0.96988, 0.00158, 0.00266, 0.00878, 0.01710]
    np.testing.assert_allclose(shown.panel.values()["row"][4], known, atol=2e-5)
    np.testing.assert_allclose(shown.panel.values()["map"][4], known, atol=2e-5)
    assert "9 query heads, each 64 wide, share 3 KV heads: 3 query heads read each" in shown.panel._sharing.text()
    assert "head 4 reads KV head 1" in shown.panel.caption()
    assert shown.panel._heads.heads.per_group == 3


def test_later_keys_are_blank_and_later_queries_are_hatched(qtbot: Any) -> None:
    shown = figures(qtbot, n=5, n_total=8)
    state = shown.panel._large.cells.state
    assert (state[:5][np.triu_indices(5, 1, 8)] == MASKED).all()
    assert (state[5:] == ABSENT).all()
    picture = shown.panel._large.grab().toImage()
    blank = picture.pixelColor(centre(shown.panel._large, 1, 6).toPoint())
    assert blank == QColor(DARK.panel)
    hatched = {picture.pixelColor(centre(shown.panel._large, 6, 1).toPoint() + QPoint(x, 0)).name() for x in range(8)}
    assert len(hatched) > 1
    assert DARK.panel not in hatched
    assert "5 queries computed" in shown.panel.caption()


def test_a_layer_that_was_not_reached_is_hatched_as_a_whole(qtbot: Any) -> None:
    shown = show(qtbot, AttentionPanel, read_run(6))
    answers = attention_answers(patterns(6), n=0, n_total=6)
    for key in ("attention.grid", "attention.map"):
        shown.panel.show_answer(key, answers[key])
    assert (shown.panel._large.cells.state == ABSENT).all()
    assert (shown.panel._heads.heads.state == ABSENT).all()
    assert shown.panel.badge() == ""


def test_the_heads_say_what_they_are_before_the_large_map_is_there(qtbot: Any) -> None:
    shown = show(qtbot, AttentionPanel, read_run(64))
    told: list[str] = []
    shown.panel.caption_changed.connect(lambda: told.append(shown.panel.badge()))
    answers = attention_answers(patterns(64), n=64, n_total=64, block=4)
    shown.panel.show_answer("attention.grid", replace(answers["attention.grid"], every=8))
    assert told[-1] == "recomputed · heads coarse: 1 query in 8 so far · reduced ×4"


def test_a_layer_that_was_not_reached_names_the_position_though_none_is_pinned(qtbot: Any) -> None:
    shown = figures(qtbot, n=8)
    empty = replace(shown.panel._row, layer=2, rows=np.zeros((9, 0), np.float32))
    shown.panel.show_answer("attention.row", empty)
    assert "pinned" not in shown.panel._row_title.text()
    assert shown.panel._row_title.text().endswith("has not reached layer 2 yet.")


@pytest.mark.parametrize("width", [1000, 340])
def test_no_stage_is_cut_off_in_a_narrow_panel(qtbot: Any, width: int) -> None:
    shown = figures(qtbot)
    stages = shown.panel._stages
    assert shown.panel.minimumSizeHint().width() < stages.sizeHint().width()
    shown.panel.resize(max(width, shown.panel.minimumSizeHint().width()), 700)
    qtbot.waitUntil(lambda: all(arrow.isVisible() == (width > 500) for arrow in stages._arrows))
    last = stages.button("contribution")
    assert last.mapTo(shown.panel, last.rect().bottomRight()).x() < shown.panel.width()


def test_a_reduced_picture_says_so_and_a_pick_asks_for_the_exact_value(qtbot: Any) -> None:
    shown = figures(qtbot, n=21, block=4)
    large = shown.panel._large
    assert "reduced ×4" in shown.panel.badge()
    np.testing.assert_array_equal(shown.panel.values()["map"], reduced(patterns(21), 4)[0])
    large.on_move(centre(large, 3, 2))
    assert shown.asked == []  # hovering never asks
    large.pick(3, 2)
    index = (0, 0, 12, 8)
    assert shown.asked == [("attention.exact", AskExactValue("pattern", index))]
    shown.panel.show_answer("attention.exact", ExactValue("pattern", index, 0.125, "recomputed"))
    assert "at this query and key 0.125" in shown.said[-1]
    assert shown.said[-1] == large.accessibleDescription()
    large.pick(1, 3)
    assert len(shown.asked) == 1  # nothing to ask about a masked cell


def test_the_value_under_the_mouse_is_the_one_on_screen(qtbot: Any) -> None:
    shown = figures(qtbot)
    large = shown.panel._large
    large.on_move(centre(large, 6, 2))
    assert f"{patterns(8)[0, 6, 2]:.7g}" in shown.said[-1]
    assert shown.cursor.hovered.position == 6
    large.on_leave()
    assert shown.said[-1] == ""
    assert shown.cursor.hovered.position is None


def test_arrow_keys_move_the_picked_cell_and_pin_its_query(qtbot: Any) -> None:
    shown = figures(qtbot)
    large = shown.panel._large
    large.pick(4, 1)
    qtbot.keyClick(large, Qt.Key.Key_Down)
    qtbot.keyClick(large, Qt.Key.Key_Right)
    assert large.cell == (5, 2)
    assert shown.cursor.pinned.position == 5
    assert "query 5" in large.accessibleDescription()
    qtbot.keyClick(large, Qt.Key.Key_End)
    assert large.cell == (5, 7)
    assert "cannot look ahead" in large.accessibleDescription()
    assert shown.panel.watches()["attention.row"] == AskAttentionRow(0, 5)


def test_arrow_keys_and_clicks_pick_heads(qtbot: Any) -> None:
    shown = figures(qtbot)
    heads = shown.panel._heads
    heads.settle()
    qtbot.mouseClick(heads, Qt.MouseButton.LeftButton, pos=heads.tile(4).center().toPoint())
    assert shown.cursor.pinned.head == 4
    qtbot.keyClick(heads, Qt.Key.Key_Right)
    assert shown.cursor.pinned.head == 5
    assert heads.accessibleDescription() == "head 5, KV head 1"
    assert shown.panel._head.value() == 5


def test_leaving_token_0_out_fits_the_colours_and_changes_no_value(qtbot: Any) -> None:
    shown = figures(qtbot)
    before = shown.panel.values()["map"].copy()
    scale = shown.panel._large.cells.scale
    assert (scale.low, scale.high, scale.curve) == (0, 1, "root")
    shown.panel._leave_out.setChecked(True)
    rest = patterns(8)[0][:, 1:].max()
    assert shown.panel._large.cells.scale.high == pytest.approx(float(rest))
    assert (shown.panel._large.cells.state[:, 0] == MASKED).all()
    assert "token 0 left out" in shown.panel.caption()
    np.testing.assert_array_equal(shown.panel.values()["map"], before)
    shown.panel._root.setChecked(False)
    assert shown.panel._large.cells.scale.curve == "linear"


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize(("n", "block"), [(1, 1), (2000, 16)])
def test_one_token_and_two_thousand(qtbot: Any, n: int, block: int, theme: Theme) -> None:
    shown = show(qtbot, AttentionPanel, read_run(n), theme)
    for key, answer in attention_answers(patterns(n, 3 if n > 100 else 9), n=n, n_total=n, block=block).items():
        shown.panel.show_answer(key, answer)
    picture = shown.panel.picture()
    assert (picture.width(), picture.height()) == (1000, 700)
    assert f"{n:,} × {n:,} positions" in shown.panel.caption()


def test_without_a_run_one_sentence_says_what_to_do(qtbot: Any) -> None:
    run = Run()
    shown = show(qtbot, AttentionPanel, run)
    assert shown.panel.watches() == {}
    assert shown.panel._pages.empty
    assert "Open a model" in shown.panel._pages.accessibleDescription()
    run.absorb(read_run(3).model)
    shown.panel.show_run()
    assert "press Run" in shown.panel._pages.accessibleDescription()
    assert shown.panel.caption() == shown.panel.badge() == ""


def test_a_new_theme_recolours_what_is_shown(qtbot: Any) -> None:
    shown = figures(qtbot)
    shown.panel.context.theme = LIGHT
    shown.panel.restyle()
    picture = shown.panel._large.grab().toImage()
    assert picture.pixelColor(centre(shown.panel._large, 0, 7).toPoint()) == QColor(LIGHT.panel)


# -- stages ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(qtbot: Any, tiny_model: Path) -> tuple[Shown, Any]:
    """A real run of 40 positions, 32 of them read at once, and a panel that is answered by it."""
    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, AttentionPanel, real_run(session, "abcdefghijklmnopqrstuvwxyz012345", 9))
    shown.pin(layer=1, head=3)
    shown.answer(session)
    return shown, session


def choose(shown: Shown, session: Any, stage: str) -> None:
    shown.panel._stages.choose(stage)
    shown.answer(session)


def test_every_stage_is_shown_with_a_scale_of_its_own(running: tuple[Shown, Any]) -> None:
    shown, session = running
    panel, pattern = shown.panel, shown.panel.values()["map"].copy()
    choose(shown, session, "scaled")
    scores = panel.values()["map"]
    scale = panel._large.cells.scale
    assert (scale.colours, scale.clips, scale.low) == (DARK.diverging, True, -scale.high)
    state = panel._large.cells.state
    assert (state[:32, :32] == SHOWN).all(), "before the mask also later keys of the pass"
    assert (state[32:][np.triu_indices(8, 33, 40)] == MASKED).all()
    assert "scaled score" in panel.caption()
    assert "cells beyond the scale" in panel.caption()
    assert "small maps show weights" in panel._sharing.text()
    choose(shown, session, "masked")
    assert (panel._large.cells.state == np.where(np.tri(40), SHOWN, MASKED)).all()
    weights = np.exp(np.where(np.tri(40), panel.values()["map"], -np.inf))
    np.testing.assert_allclose(weights / weights.sum(1, keepdims=True), pattern, atol=1e-6)
    np.testing.assert_allclose(panel.values()["row"][3], scores[39], rtol=1e-5, atol=1e-6)
    choose(shown, session, "contribution")
    assert panel._large.cells.scale.colours == DARK.sequential
    assert "‖weight · value‖" in panel.caption()
    assert "‖weight · value‖" in panel._row_title.text()
    choose(shown, session, "pattern")
    assert "small maps" not in panel._sharing.text()
    np.testing.assert_array_equal(panel.values()["map"], pattern)


def test_a_product_that_no_pass_made_says_so(running: tuple[Shown, Any]) -> None:
    shown, session = running
    choose(shown, session, "products")
    assert "not multiplied" in shown.panel._describe_cell(35, 38)
    assert "not multiplied" not in shown.panel._describe_cell(5, 20)
    assert "masked" not in shown.panel._describe_cell(5, 20)
    bars = shown.panel._bars.bars
    assert bars.scale.low == -bars.scale.high
    assert bars.scale.high == pytest.approx(float(np.abs(bars.values).max()))


def test_stages_are_chosen_by_keys_and_explained_by_the_layers_numbers(qtbot: Any, running: tuple[Shown, Any]) -> None:
    shown, _ = running
    bar = shown.panel._stages
    button = bar.button("pattern")
    button.setFocus()
    qtbot.keyClick(button, Qt.Key.Key_Left)
    assert bar.stage == "masked"
    assert shown.panel.watches()["attention.map"].stage == "masked"
    assert shown.panel.watches()["attention.row"].stage == "masked"
    qtbot.mouseClick(bar.button("products"), Qt.MouseButton.LeftButton)
    assert bar.stage == "products"
    assert "× 0.354" in bar.button("scaled").toolTip()
    assert "Kobayashi et al. 2020" in bar.button("contribution").toolTip()
    assert "scores are recomputed" in bar.button("products").accessibleDescription()


@pytest.mark.parametrize("stage", ["products", "scaled", "masked", "pattern", "contribution"])
def test_a_reduced_stage_keeps_the_largest_and_says_how(running: tuple[Shown, Any], stage: str) -> None:
    shown, session = running
    choose(shown, session, stage)
    whole = shown.panel.values()["map"]
    answer = session.answer(AskAttentionMap(1, 3, 8, stage))
    shown.panel.show_answer("attention.map", answer)
    assert answer.block == 8
    blocks = np.zeros((40, 40), np.float32)
    blocks[: whole.shape[0], : whole.shape[1]] = whole
    blocks = blocks.reshape(5, 8, 5, 8).transpose(0, 2, 1, 3).reshape(5, 5, 64)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)[..., 0]
    np.testing.assert_allclose(shown.panel._large.cells.values, largest, rtol=1e-5, atol=1e-6)
    assert "reduced ×8" in shown.panel.badge()
    signed = stage in ("products", "scaled", "masked")
    assert ("max |·|" in shown.panel._large.cells.scale.title) == signed
    assert ("in size of 8 × 8" in shown.panel._describe_cell(4, 0)) == signed
    shown.panel._large.pick(4, 1)
    index = (1, 3, 32, 8)
    assert shown.asked[-1] == ("attention.exact", AskExactValue(stage, index))
    shown.panel.show_answer("attention.exact", session.answer(shown.asked[-1][1]))
    told = shown.said[-1].rpartition("at this query and key ")[2].replace("−", "-")
    assert float(told) == pytest.approx(float(whole[32, 8]), rel=1e-5, abs=1e-6)


# -- coarse, and parts -----------------------------------------------------------------------------------------------


def test_a_coarse_map_says_so_until_it_is_fine(qtbot: Any, running: tuple[Shown, Any]) -> None:
    shown, session = running
    fine = session.answer(shown.panel.watches()["attention.map"])
    shown.panel.show_answer("attention.map", replace(fine, every=16))
    assert "coarse: 1 query in 16 so far" in shown.panel.badge()
    assert "so far, by one query in 16" in shown.panel._describe_cell(30, 2)
    shown.panel.show_answer("attention.map", fine)
    assert "coarse" not in shown.panel.badge()
    grid = session.answer(shown.panel.watches()["attention.grid"])
    shown.panel.show_answer("attention.grid", replace(grid, every=8))
    assert "heads coarse: 1 query in 8 so far" in shown.panel.badge()


def test_a_part_is_asked_for_drawn_and_left(qtbot: Any, running: tuple[Shown, Any]) -> None:
    shown, session = running
    panel, whole = shown.panel, shown.panel.values()["map"].copy()
    asked: list[None] = []
    panel.watches_changed.connect(lambda: asked.append(None))
    panel._large.go(View((20, 32), (10, 22)))
    assert asked
    question = panel.watches()["attention.map"]
    assert (question.rows, question.columns) == ((20, 32), (10, 22))
    assert panel._whole.isEnabled()
    shown.answer(session)
    np.testing.assert_allclose(panel.values()["map"], whole[20:32, 10:22], atol=1e-6)
    assert "queries 20–31, keys 10–21 of 40" in panel.caption()
    assert panel._large.cells.rows.text(panel._large.cells.rows.entry(2), indexed=True) == f"22 {shown.run.label(22)}"
    panel._large.pick(4, 3)
    assert "query 24" in shown.said[-1]
    assert "key 13" in shown.said[-1]
    assert f"{whole[24, 13]:.5g}"[:6] in shown.said[-1]
    assert shown.cursor.pinned.position == 24
    assert panel._large.pinned == (4, None)
    shown.pin(position=39)
    assert panel._large.pinned == (None, None), "the pinned query is not in this part"
    assert panel.undo()
    shown.answer(session)
    assert panel._large.cell == (24, 13), "the picked place is the same"
    np.testing.assert_allclose(panel.values()["map"], whole, atol=1e-6)
    assert not panel.undo()
    assert not panel._whole.isEnabled()


def test_a_part_keeps_its_place_while_the_run_goes_on(running: tuple[Shown, Any]) -> None:
    shown, session = running
    shown.panel._large.go(View((30, 40), (30, 40)))
    shown.answer(session)
    before = shown.panel.values()["map"].copy()
    for step in session.steps(4):
        shown.run.absorb(step.frame())
        shown.panel.show_run()
        shown.answer(session)
    np.testing.assert_array_equal(shown.panel.values()["map"], before)
    assert "queries 30–39, keys 30–39 of 44" in shown.panel.caption()
    shown.panel._large.go(None)
    shown.answer(session)
    assert "44 × 44 positions" in shown.panel.caption()


def test_another_run_is_shown_as_a_whole(qtbot: Any, running: tuple[Shown, Any]) -> None:
    shown, session = running
    shown.panel._large.go(View((20, 32), (10, 22)))
    shown.run.absorb(RunFrame(session.begin("abc"), 1, False))
    for step in session.steps(1):
        shown.run.absorb(step.frame())
    shown.panel.show_run()
    assert shown.panel.watches()["attention.map"].rows is None
    shown.answer(session)
    assert "3 × 3 positions" in shown.panel.caption()
