"""The map of the pass: the flow of every family, live shapes against hooks in it, menu, keys, marks, card, folds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QRegion

from app.panels.layers import LayersPanel
from app.pass_words import Reading, built_text, ending_point, live_shape, made_by, numbers_text, stage_text
from app.run import Run
from app.theme import LIGHT
from app.widgets.pass_flow import Wire, flow_of
from app.widgets.pass_marks import marks_of
from app.widgets.pass_painter import PassPainter
from app.widgets.pass_rows import TOKEN, map_rows
from engine.breakpoints import NOT_FINITE, Breakpoint
from engine.breakpoints import Test as Condition
from engine.families import read_config
from engine.frames import ModelFrame, RunFrame, Where
from engine.hooks import layer_stages
from engine.loading import layer_facts
from engine.point_table import outer_points
from tests.app.made_runs import prompted
from tests.app.panel_runs import Shown, show
from tests.engine.families.hub_configs import HUB
from tests.engine.families.variants import VARIANTS

SHAPES = ("llama-default", "gpt_neox-parallel", "gemma3_text-default", "deepseek_v3-default", "llama4_text-default")


def frame_of(values: dict[str, Any]) -> ModelFrame:
    """A model's frame from its config alone."""
    config = read_config(values)
    before, behind = outer_points(config)
    layers = tuple(layer_facts(config, layer) for layer in range(config.n_layers))
    sizes = (config.d_model, config.d_vocab, config.n_ctx, layers, 1, 1, 4)
    told = ("float32", "cpu", "", False, 1.0)
    return ModelFrame("made", "", config.family, *sizes, *told, points_before=before, points_behind=behind)


def variant(name: str) -> ModelFrame:
    return frame_of({"model_type": VARIANTS[name].family, **VARIANTS[name].config})


def opened(qtbot: Any, model: ModelFrame, where: Where | None = None, **look: Any) -> Shown:
    run, prompt = Run(), prompted().prompt
    run.absorb(model)
    run.absorb(RunFrame(prompt, 10, False))
    if where is not None:
        run.absorb(where)
    shown = show(qtbot, LayersPanel, run, size=(300, 900))
    shown.pin(**look)
    shown.panel.show_run()
    return shown


# -- flow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_every_family_flows_from_the_stream_into_the_stream(name: str) -> None:
    config = read_config({"model_type": VARIANTS[name].family, **VARIANTS[name].config})
    for layer in range(config.n_layers):
        spec, stages = config.layers[layer], layer_stages(config, layer)
        flow = flow_of(stages, 2)
        assert len(flow.nodes) == len(stages)
        assert flow.nodes[-1].adds
        assert flow.lanes == (3 if spec.parallel else 2)
        assert sum(node.adds for node in flow.nodes) == (1 if spec.parallel else 2)
        for wire in flow.wires:
            heights = [height for _, height in wire.corners]
            assert heights == sorted(heights), (stages, wire)
        for part in ("attention", "mlp"):
            ends = [wire.corners[-1] for wire in flow.wires if wire.part == part]
            added = stages.index("add 1") if part == "attention" and not spec.parallel else len(stages) - 1
            assert (0.0, float(added)) in ends
            begins = {wire.corners[0] for wire in flow.wires if wire.part == part}
            shared = spec.parallel and spec.norm2 is None and spec.norm1 is not None and part == "mlp"
            assert (1.0, 0.0) in begins if shared else any(lane == 0 for lane, _ in begins)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_dot_lies_on_a_wire_of_its_branch(name: str) -> None:
    config = read_config({"model_type": VARIANTS[name].family, **VARIANTS[name].config})
    for layer in range(config.n_layers):
        flow = flow_of(layer_stages(config, layer), 3)
        for place, node in enumerate(flow.nodes):
            for lane in node.lanes:
                near = [abs(lane - at) for wire in flow.wires if wire.part == node.part for at in lanes_at(wire, place)]
                assert min(near) < 0.02, (layer_stages(config, layer)[place], lane)


def lanes_at(wire: Wire, height: float) -> list[float]:
    """Where a wire is at a height."""
    found = []
    for (lane, top), (other, bottom) in zip(wire.corners, wire.corners[1:], strict=False):
        if top <= height <= bottom:
            found.append(lane + (other - lane) * ((height - top) / (bottom - top) if bottom > top else 0.0))
    return found


def test_what_is_not_known_is_one_line() -> None:
    assert flow_of(("norm 1", "mix", "add 2")).lanes == 1


# -- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_live_shapes_are_those_of_the_pass(kinds: Any, name: str) -> None:
    import engine

    loaded = kinds[name].loaded
    session, seen = engine.Session(loaded, engine.Sampling(greedy=True)), {}
    model = loaded.model_frame()

    def keep(tensor: Any, point: Any) -> None:
        seen[point.name] = tuple(tensor.shape)

    with loaded.model.hooks(dict.fromkeys(loaded.model.points, keep)):
        for step in session.generate([5, 6, 7] * 6, 3):
            reading, told = Reading(step.start, step.end), 0
            for layer, facts in enumerate(model.layers):
                for point in facts.points:
                    full = f"blocks.{layer}.{point.name}"
                    if full in seen:
                        assert live_shape(point, facts, reading) == seen[full], full
                        told += 1
            for point in (*model.points_before, *model.points_behind):
                assert live_shape(point, None, reading) == seen[point.name], point.name
            assert told > 10
            seen.clear()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.app.kinds import KindsOnDisk

    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


def test_shapes_in_symbols_and_numbers() -> None:
    model = frame_of(HUB["meta-llama/Llama-3.2-1B"][0])
    text = stage_text(model.layers[3].points, model.layers[3], "softmax", Reading(5, 6))
    assert text.startswith("attn.hook_pattern  [batch, n_heads, pos, key] = [1, 32, 1, 6]    a[p, j] = exp(")
    made = made_by(model.layers[3].points, "q k v")
    shapes = [numbers_text(point, live_shape(point, model.layers[3], Reading(0, 5))) for point in made]
    assert shapes == ["[1, 5, 32, 64]", "[1, 5, 8, 64]"]
    assert [point.name for point in made_by(model.layers[3].points, "cache")] == ["kv.hook_k"]


def test_the_point_that_a_stage_ends_with() -> None:
    model = variant("llama-default")
    assert ending_point(model, 1, "rope") == "attn.hook_rot_k"
    assert ending_point(model, 1, "cache") == "kv.hook_k"
    assert ending_point(model, 1, "") == "hook_resid_post"
    assert ending_point(model, None, TOKEN) == "hook_tokens"
    assert ending_point(model, None, "sampling") == "sampler.hook_token"
    assert ending_point(model, 1, "latent") is None


def test_how_a_layer_is_built_is_said() -> None:
    told = {
        "gpt_neox-parallel": "side by side",
        "gemma2-default": "norms before and after each branch",
        "olmo2-default": "norms behind each branch only",
        "deepseek_v3-default": "from one latent",
    }
    for name, words in told.items():
        assert words in built_text(variant(name), 1, str)
    llama4 = variant("llama4_text-default")
    assert "no rope" in built_text(llama4, 3, str)
    assert "no rope" not in built_text(llama4, 0, str)


# -- rows ----------------------------------------------------------------------------------------------------------


def test_a_deep_model_is_folded_but_for_what_is_looked_at() -> None:
    model = variant("llama-default")
    deep = replace(model, layers=model.layers[:1] * 126)
    rows = map_rows(deep, 20, 60)
    layers = [(row.layer, row.last) for row in rows if row.layer is not None and not row.stage]
    assert layers == [(0, 19), (20, None), (21, 59), (60, None), (61, 125)]
    assert [row.stage for row in rows if row.layer is None] == ["token", "embed", "final norm", "logits", "sampling"]
    assert sum(row.count for row in rows if row.layer is None or not row.stage) == 126 * len(model.layers[0].stages) + 4
    assert all(row.last is None for row in map_rows(model, 0, None))


@pytest.mark.parametrize("ends", [0, 125])
def test_the_first_and_the_last_layer_of_a_deep_model(qtbot: Any, ends: int) -> None:
    model = variant("llama-default")
    shown = opened(qtbot, replace(model, layers=model.layers[:1] * 126), layer=ends)
    folds = [row for row in shown.panel.view.rows if row.last is not None]
    assert len(folds) == 1
    assert not shown.panel.picture().isNull()


def test_a_stop_elsewhere_has_a_row_of_its_own(qtbot: Any) -> None:
    model = variant("llama-default")
    deep = replace(model, layers=model.layers[:1] * 40)
    shown = opened(qtbot, deep, Where("paused", 0, "prefill", 0, 5, 30, "rope"), layer=3)
    view = shown.panel.view
    here = view.here()
    assert (view.rows[here].layer, view.rows[here].last) == (30, None)
    shown.run.absorb(Where("running", 0, "prefill", 0, 5, 31, "rope"))
    shown.panel.show_run()
    assert view.rows[view.here()].last is not None


def test_words_right_of_the_names(qtbot: Any) -> None:
    shown = opened(qtbot, variant("llama-default"), Where("paused", 0, "prefill", 0, 5, 1, "scores"), layer=1)
    view, said = shown.panel.view, {}
    painter = PassPainter(None, view.picture, LIGHT, view.font(), 20.0, QRegion(), str)  # type: ignore[arg-type]  # no drawing here
    for row in view.rows:
        said[(row.layer, row.stage)] = painter._remarks(row)[:1]
        if (row.layer, row.stage) == (1, "q k v"):
            assert painter._remarks(row)[-1].startswith("… "), "of several shapes the last is not all"
    assert said[(None, TOKEN)] == ["“The” … “␣is”"]
    assert said[(1, "scores")] == ["[batch, n_heads, pos, key] = [1, 4, 5, 5]"]
    assert said[(1, "norm 1")] == ["[batch, pos, d_model] = [1, 5, 32]"]
    assert said[(None, "logits")] == ["[batch, pos, d_vocab] = [1, 1, 96]"]


@pytest.mark.parametrize("width", [200, 260, 300, 420, 700, 1600])
def test_shapes_of_one_map_are_written_in_one_way(qtbot: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = opened(qtbot, variant("llama-default"), Where("paused", 0, "prefill", 0, 5, 1, "scores"), layer=1)
    written: list[tuple[str, str]] = []
    original = PassPainter._fitting

    def keep(painter: PassPainter, texts: list[str], room: float) -> str:
        text = original(painter, texts, room)
        written.append((texts[-1], text))
        return text

    monkeypatch.setattr(PassPainter, "_fitting", keep)
    shown.panel.resize(width, 1600)
    shown.panel.view.viewport().grab()
    texts = {text for _, text in written if text and "“" not in text}
    assert texts
    assert len({(text.count("["), text.count("=")) for text in texts if "   " not in text}) == 1, "one notation"
    if width >= 300:
        both = {text for last, text in written if last == "… 5×2×8"}
        assert len(both) == 1, "q k v and rope alike"
        assert both.pop().split("   ") in (
            ["4×8", "2×8"],
            ["5×4×8", "5×2×8"],
            ["[1, 5, 4, 8]", "[1, 5, 2, 8]"],
            ["[batch, pos, n_heads, d_head] = [1, 5, 4, 8]", "[batch, pos, n_kv_heads, d_head] = [1, 5, 2, 8]"],
        ), "queries, and keys and values"


def test_the_notation_of_shapes_follows_the_positions(qtbot: Any) -> None:
    shown = opened(qtbot, variant("llama-default"), Where("paused", 0, "prefill", 0, 5, 1, "scores"), layer=1)
    view = shown.panel.view
    view.viewport().grab()
    before = view._notation
    shown.run.absorb(Where("paused", 0, "prefill", 0, 4, 1, "scores"))
    shown.panel.show_run()
    view.viewport().grab()
    assert view._notation is not before
    shown.pin(layer=0)
    assert view._notation is None, "other rows"


# -- what it tells others --------------------------------------------------------------------------------------------


def place_of(shown: Shown, layer: int | None, stage: str) -> QPointF:
    view = shown.panel.view
    index = next(i for i, row in enumerate(view.rows) if (row.layer, row.stage) == (layer, stage))
    return view.row_box(index).center()


def test_a_click_on_a_stage_pins_its_point_and_asks_for_its_tensor(qtbot: Any) -> None:
    shown, told = opened(qtbot, variant("llama-default"), layer=1), []
    shown.panel.stage_opened.connect(lambda *where: told.append(where))
    for layer, stage, point in (
        (1, "rope", "attn.hook_rot_k"),
        (None, "logits", "hook_logits_final"),
        (None, TOKEN, "hook_tokens"),
    ):
        qtbot.mouseClick(
            shown.panel.view.viewport(), Qt.MouseButton.LeftButton, pos=place_of(shown, layer, stage).toPoint()
        )
        assert shown.cursor.pinned.point == point
        assert told.pop() == (-1 if layer is None else layer, stage)
        assert shown.panel.view.picture.picked == (layer, stage)
    assert shown.cursor.pinned.layer == 1


def test_the_menu_of_a_stage_of_a_layer_and_of_what_lies_outside(qtbot: Any) -> None:
    shown, told = opened(qtbot, variant("llama-default"), layer=1), []
    shown.panel.stage_asked.connect(lambda *what: told.append(what))
    for place in ((1, "rope"), (2, ""), (None, "sampling")):
        menu = shown.panel.view.menu_of(place)
        for action in menu.actions()[3:]:
            action.trigger()
        layer = -1 if place[0] is None else place[0]
        assert told == [("run to", layer, place[1]), ("break", layer, place[1]), ("edit", layer, place[1])]
        told.clear()
    assert shown.panel.view.menu_of((None, TOKEN)) is None


def test_the_menu_says_where_a_breakpoint_is_already(qtbot: Any) -> None:
    shown = opened(qtbot, variant("llama-default"), layer=1)
    shown.panel.context.breaks.set((Breakpoint(1, (Condition("stage", 1, "rope"),)),))
    words = [action.text() for action in shown.panel.view.menu_of((1, "rope")).actions()]
    assert "Remove the breakpoint" in words
    assert "Break here" in [action.text() for action in shown.panel.view.menu_of((1, "scores")).actions()]


def test_left_and_right_go_from_stage_to_stage(qtbot: Any) -> None:
    shown = opened(qtbot, variant("llama-default"), layer=2)
    view, opened_places = shown.panel.view, []
    shown.panel.stage_opened.connect(lambda *where: opened_places.append(where))
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.current() == (2, "norm 1")
    for stage in ("q k v", "rope", "cache", "scores", "softmax", "mix", "attention out", "add 1"):
        qtbot.keyClick(view, Qt.Key.Key_Right)
        assert view.current() == (2, stage)
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.current() == (2, "attention out")
    assert opened_places == [], "to walk is not to open"
    qtbot.keyClick(view, Qt.Key.Key_Return)
    assert opened_places == [(2, "attention out")]
    for _ in range(20):
        qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.current() == (None, "sampling")
    for _ in range(40):
        qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.current() == (None, "embed")


def test_the_card_tells_the_tensors_of_the_picked_stage(qtbot: Any) -> None:
    shown = opened(qtbot, variant("llama-default"), Where("paused", 0, "prefill", 0, 5, 1, "add 2"), layer=1)
    assert shown.panel.card.isHidden()
    shown.pin(point="attn.hook_z")
    assert shown.panel.card.text().startswith(
        "layer 1 · mix\nattn.hook_z  [batch, pos, n_heads, d_head] = [1, 5, 4, 8]"
    )
    shown.panel.resize(300, 300)
    assert shown.panel.card.isHidden(), "in a low panel the map has all the room"


# -- breakpoints -----------------------------------------------------------------------------------------------------


def test_marks_of_breakpoints() -> None:
    marks = marks_of(
        [
            NOT_FINITE,
            Breakpoint(1, (Condition("stage", 2, "rope"),), on=False),
            Breakpoint(2, (Condition("attention", 2, head=1, key=0, limit=0.5),)),
            Breakpoint(3, (Condition("entropy", limit=2.0),)),
            Breakpoint(4, (Condition("stage", None, "scores"),)),
            Breakpoint(5, (Condition("norm", None, limit=9.0),)),
        ]
    )
    assert marks.places == {(2, "rope"): False, (2, ""): True, (None, "sampling"): True, (None, "scores"): True}
    assert (marks.of_layer(2), marks.of_layer(1)) == (True, None)


def test_marks_are_drawn(qtbot: Any) -> None:
    shown = opened(qtbot, variant("llama-default"), layer=1)
    view = shown.panel.view

    def red(layer: int | None, stage: str) -> bool:
        picture, place = view.viewport().grab().toImage(), place_of(shown, layer, stage)
        high = round(view._high)
        return any(
            picture.pixelColor(x, round(place.y()) + dy).name() == shown.panel.context.theme.cut
            for x in range(4, high)
            for dy in (-1, 0, 1)
        )

    assert not red(1, "rope")
    shown.panel.context.breaks.set(
        (Breakpoint(1, (Condition("stage", 1, "rope"),)), Breakpoint(2, (Condition("expert", 2),)))
    )
    assert red(1, "rope")
    assert red(2, "")
    assert not red(1, "scores")
    shown.panel.context.breaks.set(())
    assert not red(1, "rope")


def test_facts_without_points_are_a_plain_list(qtbot: Any) -> None:
    shown = show(qtbot, LayersPanel, prompted())
    qtbot.mouseClick(shown.panel.view.viewport(), Qt.MouseButton.LeftButton, pos=place_of(shown, 0, "rope").toPoint())
    assert shown.cursor.pinned.point == ""
