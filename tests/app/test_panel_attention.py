"""The attention panel: figures of a real run against transformers, masks, reduction, groups, keys and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor

from app.panels.attention import AttentionPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.heatmap import ABSENT, MASKED
from engine.frames import ExactValue
from engine.questions import AskAttentionRow, AskExactValue
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
    assert "9 query heads of 64 share 3 KV heads" in shown.panel._sharing.text()
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
    assert f"{n} × {n} positions" in shown.panel.caption()


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
