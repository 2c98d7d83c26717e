"""The experts panel on real runs: its figures are the hook tensors of the pass, at 8 to 256 experts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt

import engine
from app.panels.experts import ExpertsPanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.bar_rows import BARRED, NONE, TAKEN
from app.widgets.experts_of_run import MOST_LISTED
from app.widgets.heatmap import ABSENT, MASKED
from engine.frames import RunFrame
from engine.questions import AskExpertUse, AskRouterRow, AskRouting, AskRoutingLayers, AskRoutingShares
from tests.app.conftest import write_tokenizer
from tests.app.kinds import PROMPT, KindsOnDisk
from tests.app.panel_runs import Shown, real_run, show
from tests.engine.families.oracle import build
from tests.engine.families.variants import VARIANTS, Variant
from tests.engine.runner import Run as Stopped

TOKEN, LAYERS, RUN, EXPERT = range(4)  # the pages
SOFTMAX, SIGMOID, CHOSEN_FIRST, MIXED = (
    "mixtral-default",
    "deepseek_v3-default",
    "gpt_oss-default",
    "llama4_text-default",
)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsOnDisk:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


def opened(
    qtbot: Any, kinds: KindsOnDisk, variant: str, theme: Theme = DARK, size: tuple[int, int] = (1000, 700)
) -> tuple[Shown, engine.Session]:
    """The panel on a run of prompt and six tokens, at the last layer, which has experts."""
    session, run = kinds[variant].run()
    shown = show(qtbot, ExpertsPanel, run, theme, size)
    shown.pin(layer=run.model.n_layers - 1)
    shown.answer(session)
    return shown, session


def turn(shown: Shown, session: engine.Session, page: int) -> Any:
    shown.panel._tabs.setCurrentIndex(page)
    shown.answer(session)
    return shown.panel.pages[page]


def tensors(session: engine.Session, layer: int) -> dict[str, torch.Tensor]:
    """What passes the hook points of a layer's experts when all that was read is read again at once."""
    seen: dict[str, torch.Tensor] = {}

    def keep(tensor: torch.Tensor, point: Any) -> None:
        seen[point.name.rpartition("hook_")[2]] = tensor[0].float()

    names = [name for name in session.loaded.model.hook_points if name.startswith(f"blocks.{layer}.mlp.hook_")]
    ids = torch.tensor([(session.prompt + session.output)[: session.cache.length]])
    with session.loaded.model.hooks(dict.fromkeys(names, keep)):
        session.loaded.model(ids)
    return seen


@pytest.mark.parametrize("variant", [SOFTMAX, SIGMOID, CHOSEN_FIRST, MIXED])
def test_the_map_shows_the_weights_of_the_pass(qtbot: Any, kinds: KindsOnDisk, variant: str) -> None:
    shown, session = opened(qtbot, kinds, variant)
    layer = shown.cursor.pinned.layer
    seen, values = tensors(session, layer), shown.panel.values()
    ids, n_experts = seen["expert_indices"].long(), values["weights"].shape[0]
    used = torch.zeros(len(ids), n_experts).scatter_(1, ids, seen["expert_weights"]).T.numpy()
    np.testing.assert_allclose(values["weights"], used, atol=1e-5)
    np.testing.assert_allclose(values["scores"], seen["router_scores"].T.numpy(), atol=1e-5)
    cells = shown.panel._map.cells
    chosen = used != 0
    shown_there = cells.values[:n_experts]
    np.testing.assert_allclose(shown_there[chosen], np.abs(used[chosen]), atol=1e-5)
    np.testing.assert_allclose(-shown_there[~chosen], seen["router_scores"].T.numpy()[~chosen], atol=1e-5)
    np.testing.assert_array_equal(shown.panel._map._chosen[:n_experts], chosen)
    assert (len(cells.values) > n_experts) == (shown.run.model.layers[layer].experts.shared is not None)
    assert shown.panel.badge() == "captured + recomputed"
    assert f"layer {layer}, " in shown.panel.caption()


def test_the_cells_are_told_apart_and_said(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, _ = opened(qtbot, kinds, SOFTMAX)
    panel, weights = shown.panel, shown.panel.values()["weights"]
    expert, position = map(int, np.argwhere(weights > 0)[0])
    below = int(np.flatnonzero(weights[:, position] == 0)[0])
    assert f"weight {weights[expert, position]:.7g}" in panel._describe_cell(expert, position)
    assert panel._describe_cell(below, position).endswith("not chosen")
    words = panel._map.cells.scale.pixels(panel._map.cells.values)
    red, green, blue = (int(words[below, position]) >> shift & 0xFF for shift in (16, 8, 0))
    assert max(red, green, blue) - min(red, green, blue) < 16, "runners-up are grey"
    panel._runners_up.setChecked(False)
    assert np.signbit(panel._map.cells.values[below, position])
    assert panel._map.cells.values[below, position] == 0


def test_a_token_in_the_order_of_its_formula(qtbot: Any, kinds: KindsOnDisk) -> None:
    for variant, titles in (
        (SOFTMAX, ["router logits", "scores: softmax of the logits", "weights: the 3 chosen"]),
        (
            SIGMOID,
            [
                "router logits",
                "scores: sigmoids",
                "chosen by: score plus a learned bias, barred groups hatched",
                "weights: the",
            ],
        ),
        (CHOSEN_FIRST, ["router logits", "weights: the"]),
    ):
        shown, session = opened(qtbot, kinds, variant)
        shown.pin(position=7)
        page = turn(shown, session, TOKEN)
        rows = page._bars.shown.rows
        assert [row.title[: len(title)] for row, title in zip(rows, titles, strict=True)] == titles
        seen = tensors(session, shown.cursor.pinned.layer)
        n_experts = seen["router_logits"].shape[1]
        np.testing.assert_allclose(rows[0].values[:n_experts], seen["router_logits"][7], atol=1e-5)
        ids, weights = seen["expert_indices"][7].long().tolist(), seen["expert_weights"][7]
        np.testing.assert_allclose(rows[-1].values[ids], weights, atol=1e-5)
        assert set(np.flatnonzero(rows[-1].state[:n_experts] == TAKEN).tolist()) == set(ids)
        assert set(rows[-1].state.tolist()) == {TAKEN, NONE}
        if variant == SIGMOID:
            barred = np.isneginf(seen["router_choice"][7].numpy())
            np.testing.assert_array_equal(rows[2].state[:n_experts] == BARRED, barred)
            assert (rows[2].state == BARRED).any()
        text = page._describe(ids[0])
        assert f"expert {ids[0]}:" in text
        assert f"weight {float(page.row.weights[0]):.7g}".replace("-", "−") in text


def test_the_pinned_token_across_layers(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, MIXED)
    shown.pin(position=5)
    page = turn(shown, session, LAYERS)
    routed = [layer for layer, facts in enumerate(shown.run.model.layers) if facts.experts is not None]
    assert 0 < len(routed) < shown.run.model.n_layers
    assert page.answer.layers.tolist() == routed
    for row, layer in enumerate(routed):
        seen = tensors(session, layer)
        expected = np.zeros(page.answer.weights.shape[1], np.float32)
        expected[seen["expert_indices"][5].long()] = seen["expert_weights"][5]
        np.testing.assert_allclose(page.answer.weights[row], expected, atol=1e-5)
    assert "nothing to do with expert 3 of another layer" in page._title.text()
    page._map.pick(0, 1)
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.expert) == (routed[0], 1)


def test_the_whole_run(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX)
    page = turn(shown, session, RUN)
    seen, values = tensors(session, shown.cursor.pinned.layer), shown.panel.values()
    counts = torch.bincount(seen["expert_indices"].long().flatten(), minlength=6).double()
    share, mean = counts / counts.sum(), seen["router_scores"].double().mean(0)
    np.testing.assert_allclose(values["share"], share, atol=1e-9)
    np.testing.assert_allclose(values["mean_score"], mean, atol=1e-6)
    assert values["balance"][0] == pytest.approx(6 * float((share * mean).sum()), rel=1e-5)
    spread = -(seen["router_scores"] * seen["router_scores"].log()).sum(-1).mean()
    assert values["entropy"][0] == pytest.approx(float(spread), rel=1e-4)
    assert f"= {values['balance'][0]:.3g} (1 when even)" in page._title.text()
    marks = torch.zeros(len(seen["expert_indices"]), 6).scatter_(1, seen["expert_indices"].long(), 1)
    np.testing.assert_array_equal(values["together"], (marks.T @ marks).numpy())
    assert (np.diag(page._together.cells.state) == MASKED).all()


def test_a_picked_expert_and_nothing_more_is_recomputed(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX)
    layer, values = shown.cursor.pinned.layer, shown.panel.values()
    expert = int(values["weights"].sum(1).argmax())
    shown.pin(expert=expert)
    for page, kind in (
        (TOKEN, AskRouterRow),
        (LAYERS, AskRoutingLayers),
        (RUN, AskRoutingShares),
        (EXPERT, AskExpertUse),
    ):
        shown.panel._tabs.setCurrentIndex(page)
        asked = shown.panel.watches()
        assert {type(question) for question in asked.values()} == {AskRouting, kind}
    assert asked["experts.page"] == AskExpertUse(layer, expert, MOST_LISTED)
    page = turn(shown, session, EXPERT)
    use, weights = page.use, values["weights"][expert]
    assert f"expert {expert} of layer {layer} took {np.count_nonzero(weights)} of {len(weights)}" in page._title.text()
    strongest = np.argsort(-weights, kind="stable")[: len(use.positions)]
    np.testing.assert_array_equal(use.positions, strongest)
    seen: dict[str, torch.Tensor] = {}
    names = (f"blocks.{layer}.mlp.experts.{expert}.hook_out", f"blocks.{layer}.hook_mlp_out")
    ids = torch.tensor([(session.prompt + session.output)[: session.cache.length]])
    with session.loaded.model.hooks({name: lambda t, point: seen.__setitem__(point.name, t) for name in names}):
        session.loaded.model(ids)
    rows = {position: row for row, position in enumerate(np.flatnonzero(weights).tolist())}
    for place, position in enumerate(use.positions.tolist()):
        adds = seen[names[0]][rows[position]] * float(weights[position])
        delta = seen[names[1]][0, position]
        assert use.norms[place] == pytest.approx(float(adds.norm()), rel=1e-3)
        assert use.shares[place] == pytest.approx(float(adds @ delta / (delta @ delta)), rel=1e-2, abs=1e-3)
    page._bars.pick(1)
    assert shown.cursor.pinned.position == use.positions[1]


def test_a_shared_expert_lies_apart_with_its_gate(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, "qwen2_moe-default")
    panel, n_experts = shown.panel, shown.run.model.layers[-1].n_experts
    gate = tensors(session, shown.cursor.pinned.layer)["shared_gate"][:, 0].numpy()
    cells = panel._map.cells
    assert len(cells.values) == n_experts + 2
    assert (cells.state[n_experts] == MASKED).all(), "a gap lies between"
    np.testing.assert_allclose(cells.values[n_experts + 1], gate, atol=1e-5)
    np.testing.assert_allclose(panel.values()["shared"], gate, atol=1e-5)
    assert cells.rows.label(n_experts + 1) == "shared"
    assert panel._describe_cell(n_experts + 1, 3).endswith(f"× {panel._routing.shared[3]:.7g}")
    assert "times its gate" in panel._words.text()
    shown.pin(position=3, expert=1)
    page = turn(shown, session, TOKEN)
    weights = page._bars.shown.rows[-1]
    assert weights.values[n_experts + 1] == pytest.approx(gate[3], abs=1e-5)
    assert all(row.state[n_experts + 1] == NONE for row in page._bars.shown.rows[:-1]), "it is not chosen"
    panel._map.pick(n_experts + 1, 2)
    page._bars.pick(n_experts + 1)
    assert (shown.cursor.pinned.expert, shown.cursor.pinned.position) == (1, 2), "it is no expert to pick"
    always_on, other = opened(qtbot, kinds, SIGMOID)
    assert (always_on.panel._map.cells.values[-1] == 1).all(), "without a gate it counts whole"
    assert other is not None


def test_no_expert_stays_picked_in_another_layer(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX)
    panel = shown.panel
    panel._map.pick(2, 4)
    shown.answer(session)
    assert (shown.cursor.pinned.expert, shown.cursor.pinned.position) == (2, 4)
    assert panel._expert.value() == 2
    assert "expert 3 of layer 2 has nothing to do with expert 3 of another layer" in panel._words.text()
    panel._layer.setValue(0)
    assert shown.cursor.pinned.expert is None
    assert panel._expert.text() == "none"
    assert panel._map.cells is None, "the map of another layer has gone"
    shown.answer(session)
    assert "layer 0" in panel.caption()
    turn(shown, session, EXPERT)
    assert "Pick an expert" in panel.pages[EXPERT]._pages._sentence.text()
    assert set(panel.watches()) == {"experts.map"}


def test_a_dense_layer_gets_a_sentence_and_its_neurons(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, MIXED)
    dense = next(layer for layer, facts in enumerate(shown.run.model.layers) if facts.experts is None)
    shown.pin(layer=dense)
    shown.answer(session)
    panel = shown.panel
    assert "has one MLP" in panel._words.text()
    assert panel._kinds.currentWidget() is panel.neurons
    assert not panel._expert_box.isVisible()
    assert set(panel.watches()) == {"experts.neurons", "experts.neuron_layers"}
    strongest = session.answer(panel.watches()["experts.neurons"])
    np.testing.assert_array_equal(panel.values()["post"], strongest.post)
    assert panel.badge()
    assert panel.caption()


def test_what_is_not_computed_yet_is_hatched(qtbot: Any, kinds: KindsOnDisk) -> None:
    """Stopped inside the second pass, after layer 0: its map reaches the new position, layer 1's does not."""
    loaded = kinds[SOFTMAX].loaded
    ids = loaded.tokenizer.encode(PROMPT)
    with Stopped(loaded, ids, tokens=3, arm=lambda gate: gate.step("token")) as running:
        running.stopped()
        where = running.step("layer")
        run = Run()
        run.absorb(loaded.model_frame())
        run.absorb(RunFrame(tuple(loaded.tokenizer.piece(i) for i in ids), 3, False))
        run.absorb(running.steps[0].frame())
        run.absorb(where)
        shown = show(qtbot, ExpertsPanel, run)
        for layer, routed in ((0, len(ids) + 1), (1, len(ids))):
            shown.pin(layer=layer)
            for key, question in shown.panel.watches().items():
                shown.panel.show_answer(key, running.gate.ask(question).result(timeout=30))
            state = shown.panel._map.cells.state
            assert (state[:, :routed] != ABSENT).all()
            assert (state[:, routed:] == ABSENT).all()
            assert state.shape[1] == len(ids) + 1
        assert "not computed yet" in shown.panel._describe_cell(0, len(ids))
        assert "has not been routed in this layer yet" in shown.panel.pages[TOKEN]._pages._sentence.text()
        running.gate.resume()
        running.join()


def many(folder: Path, n_experts: int) -> Path:
    """A tiny model with so many experts; 256 of them in groups, as DeepSeek V3 has."""
    grouped = n_experts == 256
    family, name = ("deepseek_v3", "n_routed_experts") if grouped else ("qwen3_moe", "num_experts")
    more = {"n_group": 8, "topk_group": 4} if grouped else {}
    config = VARIANTS[f"{family}-default"].config | {
        name: n_experts,
        "num_experts_per_tok": min(8, n_experts // 4),
        **more,
    }
    build(Variant(family, f"experts-{n_experts}", config), folder)
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("n_experts", [8, 60, 128, 256])
@pytest.mark.parametrize("size", [(700, 480), (1100, 800)])
def test_readable_at_every_number_of_experts(qtbot: Any, tmp_path: Path, n_experts: int, size: tuple[int, int]) -> None:
    session = engine.Session(engine.load(many(tmp_path, n_experts), device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, ExpertsPanel, real_run(session, PROMPT * 2, 4), LIGHT, size)
    panel = shown.panel
    shown.pin(layer=shown.run.model.n_layers - 1)
    for page in (TOKEN, LAYERS, RUN):
        turn(shown, session, page)
        panel.grab()
    panel._tabs.setCurrentIndex(TOKEN)
    shown.answer(session)
    picture = panel._map
    picture.settle()
    shared = n_experts == 256
    assert picture.cells.values.shape == (n_experts + (2 * (n_experts // 12) if shared else 0), shown.run.n_read)
    assert ("shared" in picture._rows.texts) == shared
    named = zip(picture._row_places, picture._rows.texts, strict=True)
    tops = sorted((y, high) for (_, y, _, high), text in named if text)
    assert len(tops) >= 2
    assert all(y + high <= following + 1 for (y, high), (following, _) in pairwise(tops))
    thin = picture.height() / n_experts < 4
    assert ("rows too thin" in panel.caption()) == thin
    runners_up = np.signbit(picture.cells.values) & (picture.cells.values != 0)
    assert runners_up.any() != thin, "grey does not drown what was chosen"
    bars = panel.pages[TOKEN]._bars
    bars.settle()
    assert bars._step() >= 1.5, "every expert has a bar that can be seen"
    assert all(plot.height() >= 8 for plot in bars.plots)
    for place in (0, n_experts - 1):
        assert bars.place_at(bars._column(place).center()) == place


def test_long_runs_are_reduced_and_exact_where_picked(qtbot: Any, kinds: KindsOnDisk) -> None:
    session, run = kinds[SOFTMAX].run()
    shown = show(qtbot, ExpertsPanel, run, size=(420, 420))
    shown.pin(layer=1)
    answer = session.answer(AskRouting(1, most=8))
    assert answer.block > 1
    shown.panel.show_answer("experts.map", answer)
    assert f"reduced ×{answer.block}" in shown.panel.badge()
    expert = int(answer.chosen[:, 1].argmax())
    shown.panel._map.pick(expert, 1)
    key, question = shown.asked[-1]
    assert key == "experts.exact"
    shown.panel.show_answer(key, session.answer(question))
    value = session.answer(question).value
    assert f"weight at the first: {value:.7g}" in shown.said[-1]
    assert f"chosen by {answer.chosen[expert, 1]}" in shown.said[-1]


def test_keyboard_and_empty(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX)
    panel = shown.panel
    panel._map.setFocus()
    qtbot.keyClick(panel._map, Qt.Key.Key_Down)
    assert shown.cursor.pinned.expert is not None
    bars = panel.pages[TOKEN]._bars
    bars.setFocus()
    before = shown.cursor.pinned.expert
    qtbot.keyClick(bars, Qt.Key.Key_Right)
    assert shown.cursor.pinned.expert == min(before + 1, 5)
    for child in (panel._map, bars, panel._tabs, panel._layer, panel._expert):
        assert child.accessibleName()
    empty = show(qtbot, ExpertsPanel, Run())
    assert empty.panel.watches() == {}
    assert (empty.panel.badge(), empty.panel.caption()) == ("", "")
    assert "Open a model" in empty.panel._pages._sentence.text()
    shown.panel.restyle()
    assert session is not None


def test_a_low_panel_shows_what_the_formula_leads_to(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX, size=(360, 300))
    page = turn(shown, session, TOKEN)
    page._bars.settle()
    assert len(page._bars.plots) < len(page._bars.shown.rows)
    assert page._bars._left_out == len(page._bars.shown.rows) - len(page._bars.plots)
    assert all(plot.height() > 8 for plot in page._bars.plots)
    assert not shown.panel._words.isVisible()
    assert "softmax over 6 experts" in shown.panel._map.toolTip()
    mixed, _ = opened(qtbot, kinds, MIXED, size=(360, 300))
    mixed.pin(layer=next(layer for layer, facts in enumerate(mixed.run.model.layers) if facts.experts is None))
    assert mixed.panel._words.isVisible(), "that there are no experts is always said"
    shown.panel.resize(900, 800)
    shown.panel.grab()
    assert len(page._bars.plots) == 3
    assert shown.panel._words.isVisible()


def test_across_layers_stays_when_a_layer_is_pinned(qtbot: Any, kinds: KindsOnDisk) -> None:
    """Its question knows no layer, so nobody asks it again; the pages of one layer go."""
    shown, session = opened(qtbot, kinds, SOFTMAX)
    run_page = turn(shown, session, RUN)
    page = turn(shown, session, LAYERS)
    page._map.pick(0, 1)
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.expert) == (0, 1)
    assert page.answer is not None
    assert page._map.cells is not None
    assert "expert 3 of layer 0" in page._title.text()
    assert run_page.shares is None


def test_keys_move_and_never_free(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX)
    page = turn(shown, session, RUN)
    for _ in range(8):
        qtbot.keyClick(page._bars, Qt.Key.Key_Right)
    assert shown.cursor.pinned.expert == 5, "at the end it stays"
    page._together.pick(2, 1)
    page._together.pick(2, 2)
    assert shown.cursor.pinned.expert == 2
    page._bars.pick(2)
    assert shown.cursor.pinned.expert is None, "a second click frees"


def test_places_that_are_no_expert_are_not_hovered(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, "qwen2_moe-default")
    n_experts = shown.run.model.layers[-1].n_experts
    shown.panel._hover_cell(n_experts + 1, 2)
    assert (shown.cursor.hovered.expert, shown.cursor.hovered.position) == (None, 2)
    page = turn(shown, session, TOKEN)
    page._hover(n_experts + 1)
    assert shown.cursor.hovered.expert is None


def test_badges_tell_what_is_recomputed(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = opened(qtbot, kinds, SOFTMAX)
    for page in (TOKEN, LAYERS, RUN):
        turn(shown, session, page)
        assert shown.panel.badge() == "captured + recomputed"
