"""The activations panel: its tensors against hooks in the pass, its list, walking through layers, what is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.panels.activations import DEFAULT, ActivationsPanel
from app.point_words import facts_text, shape_text
from app.run import Run
from app.theme import LIGHT
from app.widgets.heatmap import ABSENT, MASKED
from app.widgets.point_rows import point_rows
from engine.config import MLPSpec, MoESpec
from engine.frames import Points, PointTensor, Where, Worked
from engine.point_table import layer_points
from engine.questions import AskExactValue, AskPoint, AskPointOver, AskPoints
from tests.app.panel_runs import Shown, real_run, show

Seen = list[tuple[int, int, dict[str, Any]]]


def session_of(source: Any) -> Any:
    import engine

    return engine.Session(engine.load(source, device="cpu", dtype="float32"), engine.Sampling(greedy=True))


def hooked(source: Any, prompt: str, steps: int) -> Seen:
    """Start, end and every tensor of each pass, by hooks in it."""
    session, seen, passes = session_of(source), {}, []
    points = session.loaded.model.points
    with session.loaded.model.hooks(dict.fromkeys(points, lambda x, point: seen.update({point.name: x.clone()}))):
        for step in session.generate(prompt, steps):
            passes.append((step.start, step.end, dict(seen)))
    return passes


def at(passes: Seen, name: str, position: int) -> Any:
    """The tensor ``[batch, pos, ...]`` of a point at a position of its pass."""
    start, _, seen = next(one for one in passes if one[0] <= position < one[1])
    return seen[name][0, position - start].numpy()


@pytest.fixture(scope="module")
def demo() -> Any:
    """A run of the built-in model, which has experts."""
    session = session_of("demo")
    return session, real_run(session, "Once upon a time, there was", 4)


def opened(qtbot: Any, demo: Any, **where: Any) -> Shown:
    session, run = demo
    shown = show(qtbot, ActivationsPanel, run)
    shown.pin(**where)
    shown.answer(session)
    return shown


def names(shown: Shown) -> list[str]:
    return [row.full_name for row in shown.panel.list.rows if row.facts is not None]


# ---- truth -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["attn.hook_q", "attn.hook_rot_k", "attn.hook_z", "mlp.hook_post", "hook_mlp_out"])
def test_what_is_shown_is_what_hooks_saw_in_the_pass(qtbot: Any, tiny_model: Path, point: str) -> None:
    passes, session = hooked(tiny_model, "activations", 4), session_of(tiny_model)
    shown = show(qtbot, ActivationsPanel, real_run(session, "activations", 4))
    for layer, position in ((0, 3), (2, 10), (1, 12)):
        shown.pin(layer=layer, position=position, point=point)
        shown.answer(session)
        wanted = at(passes, f"blocks.{layer}.{point}", position)
        values = shown.panel.values()["values"]
        np.testing.assert_allclose(values, wanted.reshape(values.shape), rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
        assert shown.panel.caption().startswith(f"blocks.{layer}.{point}, position {position}")


def test_the_real_model_in_prefill_and_decode(qtbot: Any, smollm2_gguf: Path) -> None:
    prompt = "The capital of France is"
    passes, session = hooked(smollm2_gguf, prompt, 3), session_of(smollm2_gguf)
    shown = show(qtbot, ActivationsPanel, real_run(session, prompt, 3))
    for position in (2, 6):
        for point in ("hook_resid_pre", "ln1.hook_normalized", "attn.hook_rot_q", "attn.hook_z", "mlp.hook_post"):
            shown.pin(layer=17, position=position, point=point)
            shown.answer(session)
            wanted = at(passes, f"blocks.17.{point}", position)
            values = shown.panel.values()["values"]
            np.testing.assert_allclose(values, wanted.reshape(values.shape), rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_head_over_positions(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, layer=2, head=3, point="attn.hook_k")
    shown.panel._over.setChecked(True)
    assert shown.panel.watches()["activations.tensor"] == AskPointOver(
        "blocks.2.attn.hook_k", 1, 0, None, shown.panel.view.fits()
    )  # six query heads on two of keys
    shown.answer(demo[0])
    cells = shown.panel.view.map.cells
    assert cells.values.shape == (32, demo[1].n_read)
    for position in (1, 8):
        one = demo[0].answer(AskPoint("blocks.2.attn.hook_k", position))
        np.testing.assert_allclose(cells.values[:, position], one.values[1], atol=1e-5)
    assert cells.columns.label(2) == demo[1].label(2)


# ---- the list ----------------------------------------------------------------------------------------------------


def test_the_list_is_the_pass_in_its_order_with_the_experts_that_were_chosen(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, position=3)
    experts = session.answer(AskPoints(1, 3)).experts
    wanted = [
        name
        for name, info in session.loaded.model.hook_points.items()
        if info.layer in (None, 1) and (".experts." not in name or int(name.split(".")[4]) in experts)
    ]
    assert sorted(names(shown)) == sorted(wanted)
    plain = [name for name in wanted if ".experts." not in name]
    assert [name for name in names(shown) if ".experts." not in name] == plain
    assert any("6 other experts" in row.text for row in shown.panel.list.rows)
    assert shown.panel.list.current.name == DEFAULT


def test_128_experts_make_no_longer_list(demo: Any) -> None:
    session, run = demo
    config, model = session.loaded.config, run.model
    spec = replace(config.layers[0], mlp=MoESpec(128, 8, MLPSpec(64, "silu")))
    layer = replace(model.layers[0], points=layer_points(replace(config, layers=(spec,)), 0), n_experts=128)
    many = replace(model, layers=(layer,))
    before = point_rows(many, 0, None, "", str)
    states = Points(0, 0, (), np.zeros(0, np.int64), (5, 99, 7, 8, 9, 10, 11, 127))
    after = point_rows(many, 0, states, "", str)
    assert len(after) == len(before) + 8 * 4 + 1 < 100
    assert "mlp.experts.99.hook_out" in [row.name for row in after]
    assert "mlp.experts.3.hook_out" in [row.name for row in point_rows(many, 0, states, "mlp.experts.3.hook_out", str)]


def test_every_point_has_words_and_a_formula(demo: Any) -> None:
    model = demo[1].model
    points = [*model.points_before, *(point for layer in model.layers for point in layer.points), *model.points_behind]
    assert all(point.formula and point.meaning and point.group for point in points)
    query = next(point for point in points if point.name == "attn.hook_q")
    assert shape_text(query) == "[batch, pos, n_heads 6, d_head 32]"
    assert facts_text("attn.hook_q", query, str).splitlines()[1].startswith("q = W_Q x")


# ---- walking -----------------------------------------------------------------------------------------------------


def test_walking_goes_through_all_layers_and_back_the_same_way(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=3, point="hook_tokens")
    forth = []
    for _ in range(1000):
        shown.answer(session)
        row = shown.panel._current()
        if forth and forth[-1] == row.full_name:
            break
        forth.append(row.full_name)
        shown.panel.walk(+1)
    order = {name: place for place, name in enumerate(session.loaded.model.hook_points)}
    places = [order[name] for name in forth if ".experts." not in name]
    assert places == sorted(places)
    assert forth[-1] == "sampler.hook_token"
    assert {name.split(".")[1] for name in forth if name.startswith("blocks.")} == set("012345")
    back = [forth[-1]]
    for _ in range(len(forth) - 1):
        shown.panel.walk(-1)
        shown.answer(session)
        back.append(shown.panel._current().full_name)
    assert back == forth[::-1]


def test_another_layer_keeps_the_point(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, layer=1, point="mlp.hook_router_logits")
    shown.pin(layer=4)
    assert shown.panel.watches()["activations.tensor"].name == "blocks.4.mlp.hook_router_logits"
    assert not any(key == "activations.exact" for key, _ in shown.asked)


def test_arrow_keys_in_the_list_pin_points(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, layer=1, point="attn.hook_q")
    qtbot.keyClick(shown.panel.list, Qt.Key.Key_Down)
    assert shown.cursor.pinned.point == "attn.hook_k"
    for _ in range(3):
        qtbot.keyClick(shown.panel.list, Qt.Key.Key_Down)  # over the heading of the next stage
    assert shown.cursor.pinned.point == "attn.hook_rot_k"


def test_a_stage_opens_the_point_that_it_ends_with(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo)
    for layer, stage, point in (
        (2, "rope", "attn.hook_rot_k"),
        (2, "cache", "kv.hook_k"),
        (4, "", "hook_resid_post"),
        (None, "sampling", "sampler.hook_token"),
        (None, "embed", "hook_embed_scaled"),
    ):
        shown.panel.show_stage(layer, stage)
        assert shown.cursor.pinned.point == point
    assert shown.cursor.pinned.layer == 4


# ---- what is not there -------------------------------------------------------------------------------------------


def test_inside_a_pass_what_comes_later_is_not_computed_yet(qtbot: Any) -> None:
    import engine

    gate = engine.Gate()
    session = engine.Session(engine.load("demo", device="cpu"), engine.Sampling(greedy=True), gate=gate)
    shown, seen = show(qtbot, ActivationsPanel, Run()), {}
    shown.run.absorb(session.loaded.model_frame())
    from engine.frames import RunFrame

    shown.run.absorb(RunFrame(session.begin("Once upon a time"), 1, False))

    def stopped(where: Where) -> None:
        if (where.layer, where.stage) != (1, "rope"):
            gate.step("stage")
            return
        shown.run.absorb(where)
        shown.panel.show_run()
        for point in ("attn.hook_rot_q", "attn.hook_z"):
            shown.pin(layer=1, point=point)
            shown.answer(session)
            seen[point] = shown.panel.view.tensor
        seen["rows"] = {row.full_name: row.absent for row in shown.panel.list.rows}
        seen["picture"] = shown.panel.view.absent.hatched
        shown.panel._over.setChecked(True)
        shown.pin(layer=2, point="attn.hook_q")
        shown.answer(session)
        seen["over"] = shown.panel.view.tensor
        gate.resume()

    gate.on_stop = stopped
    gate.step("stage")
    list(session.steps(1))
    rows = seen["rows"]
    assert not rows["hook_embed"]
    assert not rows["blocks.1.attn.hook_rot_k"]
    assert rows["blocks.1.attn.hook_attn_scores"]
    assert rows["sampler.hook_token"]
    assert seen["attn.hook_rot_q"].values.size
    assert "has not been computed" in seen["attn.hook_z"].sentence
    assert seen["picture"]
    assert "has not been computed" in seen["over"].sentence


def test_an_expert_that_was_not_chosen_says_so(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    free = next(e for e in range(8) if e not in session.answer(AskPoints(1, 3)).experts)
    shown = opened(qtbot, demo, layer=1, position=3, point=f"mlp.experts.{free}.hook_out")
    shown.answer(session)
    assert "was not chosen" in shown.panel.view.absent.sentence
    assert not shown.panel.view.absent.hatched
    shown.panel._over.setChecked(True)
    shown.answer(session)
    state = shown.panel.view.map.cells.state
    assert (state[:, 3] == MASKED).all()


def test_positions_that_are_still_to_come_are_hatched(qtbot: Any, demo: Any) -> None:
    session, run = demo
    shown = opened(qtbot, demo, layer=1, point="attn.hook_z")
    shown.panel._over.setChecked(True)
    part = session.answer(AskPointOver("blocks.1.attn.hook_z", 0, 0, 5, 256))
    shown.panel.show_answer("activations.tensor", part)
    assert (shown.panel.view.map.cells.state[:, 5:] == ABSENT).all()
    assert f"0 … 4 of {run.n_read}" in shown.panel.caption()
    assert shown.panel.view.describe_cell(0, 6).endswith("not computed yet")


def test_without_a_run_one_sentence_says_what_to_do(qtbot: Any) -> None:
    shown = show(qtbot, ActivationsPanel, Run())
    assert "Open a model" in shown.panel._pages.accessibleDescription()
    assert shown.panel.watches() == shown.panel.values() == {}
    assert shown.panel.badge() == shown.panel.caption() == ""


# ---- kinds of figures --------------------------------------------------------------------------------------------


def test_logits_are_the_highest_tokens_with_their_text(qtbot: Any, demo: Any) -> None:
    session, run = demo
    shown = opened(qtbot, demo, point="hook_logits_final")
    shown.answer(session)
    first = shown.panel.view.list.entries.rows[0]
    assert run.steps[-1].piece.text.strip() in first.place
    assert first.place.endswith(str(run.steps[-1].piece.id))
    assert shown.panel.badge().startswith("captured")
    shown.pin(position=2)
    shown.answer(session)
    assert shown.panel.badge().startswith("recomputed")


def test_masks_are_kept_or_cut_and_tokens_are_text(qtbot: Any, demo: Any) -> None:
    session, run = demo
    shown = opened(qtbot, demo, point="sampler.hook_topk_mask")
    shown.answer(session)
    assert "4\u202f096 kept, 0 cut" in shown.panel.view._figures.text()
    assert shown.panel.view.list.entries.rows[0].text == "kept"
    shown.pin(point="hook_tokens", position=1)
    shown.answer(session)
    assert shown.panel.view.list.entries.rows[0].place == f"“{run.label(1)}”"
    shown.pin(point="mlp.hook_expert_indices", layer=2)
    shown.answer(session)
    chosen = session.answer(AskPoints(2, 1)).experts
    assert [int(row.text) for row in shown.panel.view.list.entries.rows] == list(chosen)


def test_a_single_figure_is_written_out(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, position=2, point="ln1.hook_scale")
    shown.answer(session)
    (only,) = shown.panel.view.list.entries.rows
    assert float(only.text) == pytest.approx(float(session.answer(AskPoint("blocks.1.ln1.hook_scale", 2)).values[0, 0]))
    assert only.place == "what norm 1 divides by"


def test_scores_of_experts_stand_out_where_they_were_chosen(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=2, position=1, point="mlp.hook_router_scores")
    shown.answer(session)
    bars = shown.panel.view.bars.shown.rows[0]
    assert set(np.flatnonzero(bars.state == 0).tolist()) == set(session.answer(AskPoints(2, 1)).experts)
    assert (bars.low, bars.high) == (0.0, 1.0)


def test_nan_and_infinity_are_counted_and_marked(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, layer=1, point="attn.hook_q")
    tensor = shown.panel.view.tensor
    values = tensor.values.copy()
    values[2, 3] = np.nan
    figures = replace(tensor.figures, nans=1)
    shown.panel.show_answer("activations.tensor", replace(tensor, values=values, figures=figures))
    assert "NaN\N{NO-BREAK SPACE}1" in shown.panel.view._figures.text()
    assert not np.isfinite(shown.panel.view.map.cells.values[2, 3])


# ---- the cursor --------------------------------------------------------------------------------------------------


def test_a_picked_row_pins_its_head_and_tells_the_figure(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, layer=1, point="attn.hook_q")
    shown.panel.view.map.pick(4, 7)
    assert shown.cursor.pinned.head == 4
    told = shown.said[-1].replace("−", "-")
    assert "head 4, dimension 7" in told
    assert told.endswith(f": {shown.panel.values()['values'][4, 7]:.7g}")
    assert not any(key == "activations.exact" for key, _ in shown.asked)


def test_hovering_asks_nothing_and_a_picked_cell_of_several_asks_for_its_figure(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="attn.hook_q")
    reduced = session.answer(AskPoint("blocks.1.attn.hook_q", None, 0, 8))
    assert reduced.block == (1, 4)
    shown.panel.show_answer("activations.tensor", reduced)
    assert "reduced 1 × 4" in shown.panel.badge()
    shown.panel.view.map.cell_hovered.emit(2, 3)
    assert not any(key == "activations.exact" for key, _ in shown.asked)
    shown.panel.view.map.pick(2, 3)
    question = AskExactValue("point", (reduced.position, 2, 12), "blocks.1.attn.hook_q")
    assert [one for one in shown.asked if one[0] == "activations.exact"] == [("activations.exact", question)]
    shown.panel.show_answer("activations.exact", session.answer(question))
    exact = session.answer(AskPoint("blocks.1.attn.hook_q", None)).values[2, 12]
    assert shown.said[-1].replace("−", "-").endswith(f"{exact:.7g}")


def test_an_answer_about_another_point_is_let_be(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="attn.hook_q")
    shown.panel.show_answer("activations.tensor", session.answer(AskPoint("blocks.3.attn.hook_q", None)))
    assert shown.panel.view.tensor.name == "blocks.1.attn.hook_q"


def test_a_narrow_panel_keeps_names_and_places(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, point="attn.hook_z")
    points, table = shown.panel.list, shown.panel.view.top
    assert not points.isColumnHidden(1)
    points.setFixedWidth(150)
    qtbot.waitUntil(lambda: points.isColumnHidden(1))
    points.setFixedWidth(300)
    qtbot.waitUntil(lambda: not points.isColumnHidden(1))
    table.resize(260, 200)
    place, bar, _ = table._columns(table.entries)
    assert place >= max(table.metrics().horizontalAdvance(row.place) for row in table.entries.rows[:5])
    assert bar >= 0


@pytest.mark.parametrize("over", [False, True])
def test_every_point_can_be_drawn_in_both_themes(qtbot: Any, demo: Any, over: bool) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=2)
    shown.panel._over.setChecked(over)
    for name in [row.name for row in shown.panel.list.rows if row.facts is not None]:
        shown.pin(point=name)
        shown.answer(session)
        assert isinstance(shown.panel.view.tensor, PointTensor)
        assert not shown.panel.picture().isNull()
        assert shown.panel.view._words.text().startswith(name)
        if not shown.panel.view.tensor.sentence:
            assert shown.panel.values()["values"].size
            assert shown.panel.badge()
    shown.panel.context.theme = LIGHT
    shown.panel.restyle()
    assert not shown.panel.picture().isNull()


# -- where a tensor comes from, goes to, and how a figure comes about ------------------------------------------------


def test_links_lead_to_the_points_before_and_behind(qtbot: Any, demo: Any) -> None:
    shown = opened(qtbot, demo, layer=1, point="attn.hook_rot_q")
    names = [button.text() for button in shown.panel.view.links.buttons()]
    assert names == ["attn.hook_q", "attn.hook_attn_scores"]
    qtbot.mouseClick(shown.panel.view.links.buttons()[1], Qt.MouseButton.LeftButton)
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.point) == (1, "attn.hook_attn_scores")


def test_links_lead_over_the_edge_of_a_layer_and_out_of_the_layers(qtbot: Any, demo: Any) -> None:
    last = demo[1].model.n_layers - 1
    for layer, point, texts, there in (
        (2, "hook_resid_pre", ["layer 1 · hook_resid_post"], (1, "hook_resid_post")),
        (0, "hook_resid_pre", ["hook_embed_scaled"], (0, "hook_embed_scaled")),
        (last, "ln_final.hook_normalized", [f"layer {last} · hook_resid_post"], (last, "hook_resid_post")),
    ):
        shown = opened(qtbot, demo, layer=layer, point=point)
        buttons = shown.panel.view.links.buttons()
        assert [button.text() for button in buttons][: len(texts)] == texts
        buttons[0].click()
        assert (shown.cursor.pinned.layer, shown.cursor.pinned.point) == there


def test_links_of_experts_are_those_that_were_chosen(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=2, point="mlp.hook_routed_out")
    chosen = session.answer(AskPoints(2, None)).experts
    names = [button.text() for button in shown.panel.view.links.buttons()]
    assert [name for name in names if name.endswith("hook_out")] == [f"mlp.experts.{e}.hook_out" for e in chosen]


def worked_out(shown: Shown, session: Any) -> Worked:
    """The newest question for a figure, answered."""
    question = [one for key, one in shown.asked if key == "activations.worked"][-1]
    answer = session.answer(question)
    shown.panel.show_answer("activations.worked", answer)
    return answer


def test_the_strongest_entry_is_worked_out_and_then_the_picked_one(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="hook_resid_mid")
    view = shown.panel.view
    worked_out(shown, session)
    place = int(view.tensor.top[0][0])
    value = view.values()["values"][0, place]
    text = view.sum.text().replace("−", "-")
    assert text.startswith(f"dimension {place}: x + Δ(attention) = ")
    assert text.endswith(f"= {value:.5g}")
    view.map.pick(0, 7)
    found = worked_out(shown, session)
    assert found.place == (7,)
    assert view.sum.text().startswith("dimension 7: ")
    rows = [row.place for row in view.terms.entries.rows]
    assert rows == ["x", "Δ(attention)", "sum of 2", "in the pass"]
    assert view.terms.entries.rows[2].text == view.terms.entries.rows[3].text


def test_a_picked_row_of_the_strongest_is_worked_out(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="attn.hook_q")
    view = shown.panel.view
    view.top.row_picked.emit(2)
    found = worked_out(shown, session)
    assert found.place == tuple(view.tensor.top[2].tolist())
    assert found.value == pytest.approx(float(view.tensor.top_values[2]))
    assert "W_Q[" in view.sum.text()
    assert "others = " in view.sum.text()


def test_over_positions_the_picked_position_is_worked_out(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="hook_resid_mid")
    shown.panel._over.setChecked(True)
    shown.answer(session)
    shown.panel.view.map.pick(3, 2)
    found = worked_out(shown, session)
    assert (found.position, found.place) == (2, (3,))


def test_nothing_is_worked_out_while_the_pass_runs(qtbot: Any, demo: Any) -> None:
    session, run = demo
    shown = opened(qtbot, demo, layer=1, point="hook_resid_mid")
    shown.asked.clear()
    before = run.where
    try:
        run.where = Where("running", 4, "decode", run.n_read, run.n_read + 1, 0, "rope")
        shown.panel.show_answer("activations.tensor", session.answer(AskPoint("blocks.1.hook_resid_mid", None)))
        assert shown.asked == []
        run.where = before
        shown.panel.show_run()
        assert [key for key, _ in shown.asked] == ["activations.worked"]
    finally:
        run.where = before


def test_what_is_no_figure_says_so(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="mlp.hook_expert_indices")
    worked_out(shown, session)
    assert "no figure that is worked out" in shown.panel.view.sum.text()
    assert shown.panel.view.terms.entries is None


def test_the_menu_of_a_point_asks_for_an_edit(qtbot: Any, demo: Any) -> None:
    shown, told = opened(qtbot, demo, layer=1, point="attn.hook_q"), []
    shown.panel.stage_asked.connect(lambda *what: told.append(what))
    row = next(row for row in shown.panel.list.rows if row.name == "attn.hook_z")
    shown.panel.list.menu_of(row).actions()[-1].trigger()
    assert told == [("edit", 1, "attn.hook_z")]
    assert shown.panel.list.menu_of(shown.panel.list.rows[0]) is None


def test_bars_that_are_no_number_are_marked(qtbot: Any, demo: Any) -> None:
    session, _ = demo
    shown = opened(qtbot, demo, layer=1, point="mlp.hook_router_logits")
    answer = session.answer(AskPoint("blocks.1.mlp.hook_router_logits", None))
    values = answer.values.copy()
    values[0, 1] = np.nan
    red = shown.panel.context.theme.cut

    def marked() -> bool:
        picture = shown.panel.view.bars.grab().toImage()
        return any(picture.pixelColor(x, picture.height() // 2).name() == red for x in range(picture.width()))

    assert not marked()
    shown.panel.show_answer("activations.tensor", replace(answer, values=values))
    assert marked()
