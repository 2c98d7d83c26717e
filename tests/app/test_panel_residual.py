"""The residual panel: norms, one position's stream and what layers add, against transformers' hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.panels.residual import ResidualPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.heatmap import ABSENT
from app.widgets.scale import marks, word
from engine.frames import ExactValue, ResidualNorms, ResidualVectors
from engine.questions import AskExactValue, AskResidualVectors
from tests.app.panel_runs import Shown, read_run, real_run, show


def norms(n: int, *, block: int = 1, layers: int = 6, reached: int | None = None) -> ResidualNorms:
    """Random norms; only the boundaries up to ``reached`` have been computed."""
    random, last = np.random.default_rng(n), layers if reached is None else reached
    columns = -(-n // block)
    stream = random.uniform(2, 2000, (layers + 1, columns)).astype(np.float32)
    added = random.uniform(0.1, 50, (2, layers, columns)).astype(np.float32)
    reach = np.where(np.arange(layers + 1) <= last, n, 0)
    stream[reach == 0] = 0
    return ResidualNorms(n, block, stream, added[0], added[1], reach, reach[1:], reach[1:])


def figures(qtbot: Any, n: int = 8, theme: Theme = DARK, **kind: Any) -> Shown:
    shown = show(qtbot, ResidualPanel, read_run(n), theme)
    rows = np.random.default_rng(1).normal(size=(7, 288)).astype(np.float32)
    shown.panel.show_answer("residual.norms", norms(n, **kind))
    shown.panel.show_answer("residual.vectors", ResidualVectors(n - 1, rows, 7, 2))
    return shown


def test_figures_are_those_of_transformers(qtbot: Any, tiny_model: Path) -> None:
    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, ResidualPanel, real_run(session, "residual", 4))
    streams, attention, mlp = oracle(tiny_model, [piece.id for piece in shown.run.pieces][: shown.run.n_read])
    shown.answer(session)
    values = shown.panel.values()
    np.testing.assert_allclose(values["norms"], np.linalg.norm(streams, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(values["delta_attention"], np.linalg.norm(attention, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(values["delta_mlp"], np.linalg.norm(mlp, axis=-1), rtol=1e-5)
    for position in (0, 5):
        shown.pin(position=position)
        shown.answer(session)
        np.testing.assert_allclose(shown.panel.values()["vectors"], streams[:, position], atol=1e-5)


def oracle(folder: Path, ids: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Streams at every boundary [layers + 1, pos, d_model], and what attention and MLP add [layers, pos, d_model]."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    final: list[Any] = []
    added: dict[str, list[Any]] = {"self_attn": [], "mlp": []}
    model.model.norm.register_forward_pre_hook(lambda module, inputs: final.append(inputs[0][0]))
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(lambda module, inputs, out: added["self_attn"].append(out[0][0]))
        layer.mlp.register_forward_hook(lambda module, inputs, out: added["mlp"].append(out[0]))
    with torch.no_grad():
        streams = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    every = torch.stack([*(stream[0] for stream in streams[:-1]), final[0]])
    return every.numpy(), torch.stack(added["self_attn"]).numpy(), torch.stack(added["mlp"]).numpy()


def test_the_real_model_shows_its_known_norms(qtbot: Any, smollm2_gguf: Path) -> None:
    import engine

    session = engine.Session(engine.load(smollm2_gguf, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, ResidualPanel, real_run(session, "The capital of France is", 1))
    shown.answer(session)
    assert shown.panel.values()["norms"][:2, -1] == pytest.approx([2.601, 35.194], abs=6e-4)
    assert shown.panel.values()["vectors"].shape[0] == 31
    assert "31 boundaries × 5 positions" in shown.panel.caption()


def test_boundaries_beyond_the_reach_are_hatched(qtbot: Any) -> None:
    shown = figures(qtbot, reached=2)
    state = shown.panel._map.cells.state
    assert (state[3:] == ABSENT).all()
    assert not (state[:3] == ABSENT).any()
    assert "not computed yet" in shown.panel._map.describe(4, 0)
    chart = shown.panel._deltas.chart
    assert chart.computed == 1.5
    assert [len(line.y) for line in chart.lines] == [2, 2]


def test_cells_beyond_the_scale_are_marked_and_counted(qtbot: Any) -> None:
    shown = figures(qtbot)
    vectors, scale = shown.panel.values()["vectors"], shown.panel._column.cells.scale
    assert scale.low == -scale.high == pytest.approx(-np.quantile(np.abs(vectors), 0.99))
    clipped = int((np.abs(vectors) > scale.high).sum())
    assert clipped > 0
    assert f"{clipped} of {vectors.size} cells beyond the scale" in shown.panel.caption()
    words = shown.panel._column._words
    over, under = marks(DARK.diverging)
    np.testing.assert_array_equal(np.isin(words, [word(over), word(under)]), np.abs(vectors) > scale.high)


def test_a_pick_pins_layer_and_position_and_asks_where_reduced(qtbot: Any) -> None:
    shown = figures(qtbot, n=40, block=4)
    shown.panel._map.pick(3, 2)
    assert shown.asked == [("residual.exact_norm", AskExactValue("residual_norm", (3, 8)))]
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.position) == (3, 8)
    shown.panel.show_answer("residual.exact_norm", ExactValue("residual_norm", (3, 8), 1.5, "captured"))
    assert "at this position 1.5" in shown.said[-1]
    qtbot.keyClick(shown.panel._map, Qt.Key.Key_Up)
    assert shown.cursor.pinned.layer == 2
    shown.panel._column.pick(6, 10)
    assert shown.asked[-1] == ("residual.exact_entry", AskExactValue("residual", (6, 39, 20)))
    assert shown.cursor.pinned.layer == 5  # the last boundary belongs to the last layer
    assert shown.panel.watches()["residual.vectors"] == AskResidualVectors(8, shown.panel._column.fits())


def test_hovering_asks_nothing(qtbot: Any) -> None:
    shown = figures(qtbot, n=40, block=4)
    for picture in (shown.panel._map, shown.panel._column):
        picture.settle()
        picture.on_move(picture.box(2, 1).center())
        assert shown.said[-1]
        picture.on_leave()
    assert shown.asked == []


def test_the_lines_follow_the_pinned_position(qtbot: Any) -> None:
    shown = figures(qtbot)
    shown.pin(position=2)
    for line, name in zip(shown.panel._deltas.chart.lines, ("delta_attention", "delta_mlp"), strict=True):
        np.testing.assert_array_equal(line.y, shown.panel.values()[name][:, 2])


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize(("n", "block"), [(1, 1), (2000, 4)])
def test_one_token_and_two_thousand(qtbot: Any, n: int, block: int, theme: Theme) -> None:
    shown = figures(qtbot, n, theme, block=block)
    assert not shown.panel.picture().isNull()
    assert f"{n} positions" in shown.panel.caption()


def test_without_a_run_one_sentence_says_what_to_do(qtbot: Any) -> None:
    shown = show(qtbot, ResidualPanel, Run())
    assert "Open a model" in shown.panel._pages.accessibleDescription()
    assert shown.panel.watches() == shown.panel.values() == {}
