"""Panels on real runs of every kind of layer: windows, chunks, latents, experts, against transformers' figures."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from app.layer_kinds import bytes_after, first_seen, heads_text, kept_after, sight_text
from app.panels.attention import AttentionPanel
from app.panels.kv_cache import CachePanel
from app.panels.layers import LayersPanel
from app.run import Run
from app.status import StatusBar
from app.widgets.heatmap import MASKED, SHOWN
from app.widgets.pattern import pattern_state
from engine.frames import CacheState
from engine.questions import AskExactValue
from tests.app.kinds import CHUNK, KINDS, WINDOW, Kind, KindsOnDisk
from tests.app.panel_runs import Shown, reduced, show


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsOnDisk:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, kinds: KindsOnDisk) -> Kind:
    return kinds[request.param]


def text(shown: Shown) -> str:
    """What the cache panel says, with plain spaces."""
    return shown.panel._facts.text().replace("\u202f", "")


def sees(attention: str, query: int, key: int) -> bool:
    """Which keys a query may look at, written down a second time."""
    near = {"sliding": query - key < WINDOW, "chunked": query // CHUNK == key // CHUNK}
    return key <= query and near.get(attention, True)


# -- attention -----------------------------------------------------------------------------------------------------


def test_maps_are_those_of_transformers_and_blank_where_a_query_does_not_look(qtbot: Any, kind: Kind) -> None:
    session, run = kind.run()
    shown = show(qtbot, AttentionPanel, run)
    expected = kind.expected(run).attentions
    for layer, facts in enumerate(run.model.layers):
        shown.pin(layer=layer, head=1)
        shown.answer(session)
        np.testing.assert_allclose(shown.panel.values()["map"], expected[layer][0, 1], atol=1e-5)
        state = shown.panel._large.cells.state
        looks = np.array([[sees(facts.attention, q, k) for k in range(run.n_read)] for q in range(run.n_read)])
        np.testing.assert_array_equal(state == SHOWN, looks)
        np.testing.assert_array_equal(state == MASKED, np.logical_not(looks))
        assert not expected[layer][0, 1].numpy()[state == MASKED].any()
        small, block = shown.panel._heads.heads.state, shown.panel._grid.block
        np.testing.assert_array_equal(small == SHOWN, reduced(looks[None].astype(np.float32), block)[0] > 0)


@pytest.mark.parametrize(
    ("variant", "layer", "said", "header"),
    [
        ("gemma3_text-default", 0, "sliding window 12: a query sees the last 12 positions", "window 12"),
        ("llama4_text-default", 0, "chunk 16: a query sees its own chunk of 16 positions", "chunk 16"),
        ("deepseek_v3-default", 1, "all have keys and values of their own, made from one latent", "latent"),
        ("falcon-7b", 0, "4 query heads, each 8 wide, share one KV head", "KV head 0"),
        ("gpt2-default", 0, "4 heads, each 8 wide and with its own keys and values", "layer 0, head 1"),
    ],
)
def test_the_attention_panel_says_what_kind_it_is(
    qtbot: Any, kinds: KindsOnDisk, variant: str, layer: int, said: str, header: str
) -> None:
    session, run = kinds[variant].run(1)
    shown = show(qtbot, AttentionPanel, run)
    shown.pin(layer=layer, head=1)
    shown.answer(session)
    assert said in shown.panel._sharing.text()
    assert header in shown.panel.caption()
    heads = shown.panel._heads.heads
    assert heads.grouped == (run.model.layers[layer].n_kv_heads < 4)
    assert ("KV head" in shown.panel._heads.head_text(1)) == heads.grouped


def test_one_head_is_told_in_the_singular(kinds: KindsOnDisk) -> None:
    facts = kinds["gpt2-default"].loaded.model_frame().layers[0]
    assert heads_text(replace(facts, n_heads=1, n_kv_heads=1), str) == "one head, 8 wide"


def test_a_query_sees_its_own_position_too(kinds: KindsOnDisk) -> None:
    full = kinds["gpt2-default"].loaded.model_frame().layers[0]
    assert sight_text(full, str) == "a query sees its own position and every one before it"


def test_a_key_before_the_window_or_chunk_is_told_as_masked(qtbot: Any, kinds: KindsOnDisk) -> None:
    for variant, key, words in (("gemma3_text-default", 8, "window 12"), ("llama4_text-default", 15, "chunk 16")):
        session, run = kinds[variant].run(1)
        shown = show(qtbot, AttentionPanel, run)
        shown.pin(layer=0, head=0, position=20)
        shown.answer(session)
        assert shown.panel._large.describe(20, key).endswith(f"masked, outside the {words}")
        assert shown.panel._bars.describe(key).endswith(f"masked, outside the {words}")
        assert "masked" not in shown.panel._large.describe(20, key + 1)
        assert "masked" not in shown.panel._bars.describe(key + 1)


@pytest.mark.parametrize("block", [1, 2, 4, 8])
@pytest.mark.parametrize(("attention", "reach"), [("sliding", WINDOW), ("chunked", CHUNK)])
def test_a_reduced_cell_is_blank_only_where_none_of_its_pairs_is_seen(
    kinds: KindsOnDisk, attention: str, reach: int, block: int
) -> None:
    facts = replace(kinds["gpt2-default"].loaded.model_frame().layers[0], attention=attention, reach=reach)
    cells = 48 // block
    seen = np.array([[sees(attention, q, k) for k in range(48)] for q in range(48)])
    expected = seen.reshape(cells, block, cells, block).any((1, 3))
    state = pattern_state(cells, 48, block, seen_from=first_seen(facts, np.arange(cells) * block))
    np.testing.assert_array_equal(state == SHOWN, expected)


# -- KV cache ------------------------------------------------------------------------------------------------------


def kept_by_transformers(expected: Any, attention: str, layer: int, n: int) -> int:
    """Positions in its cache; its layers with chunks keep a window, older chunks masked."""
    return n % CHUNK if attention == "chunked" else expected.past_key_values.layers[layer].keys.shape[2]


def test_bytes_and_positions_are_those_of_transformers_cache(qtbot: Any, kind: Kind) -> None:
    session, run = kind.run()
    shown = show(qtbot, CachePanel, run)
    shown.answer(session)
    expected, values = kind.expected(run), shown.panel.values()
    stored = values["lengths"] - values["firsts"]
    total = 0
    for layer, facts in enumerate(run.model.layers):
        kept = kept_by_transformers(expected, facts.attention, layer, run.n_read)
        assert stored[layer] == kept == kept_after(facts, run.n_read)
        theirs = expected.past_key_values.layers[layer]
        total += kept * (theirs.keys[0, :, 0].numel() + theirs.values[0, :, 0].numel()) * 4
    assert f"{total} bytes stored now" in text(shown)
    sums = [int(found) for found in re.findall(r"positions: (\d+) bytes", text(shown))]
    assert sum(sums) == total
    assert total == values["growth"][-1, 1]


def test_growth_and_what_the_mouse_says_about_it_agree(qtbot: Any, kind: Kind) -> None:
    session, run = kind.run(14)
    shown = show(qtbot, CachePanel, run)
    shown.answer(session)
    growth = shown.panel.values()["growth"]
    assert growth[-1, 0] >= 36
    assert [bytes_after(run.model, int(n)) for n in growth[:, 0]] == growth[:, 1].tolist()
    for positions, size in growth.tolist():
        shown.panel._growth.place_hovered.emit(positions)
        assert shown.said[-1].replace("\u202f", "") == f"{positions} positions: {size} bytes"


@pytest.mark.parametrize(
    ("variant", "lines"),
    [
        (
            "gemma3_text-default",
            ["6 layers, window 12: 2 · 2 KV heads · 12 · 4 bytes = 192", "1 layer, full: 2 · 2 KV heads · 12 · 4"],
        ),
        (
            "mistral-sliding",
            ["3 layers, window 12: 2 · 2 KV heads · 12 · 4 bytes = 192 bytes a position, 11 positions"],
        ),
        (
            "llama4_text-default",
            ["3 layers, chunk 16: 2 · 2 KV heads · 8 · 4 bytes = 128 bytes a position, 9 positions"],
        ),
        (
            "deepseek_v3-default",
            ["4 layers, latent: (16 latent + 4 rope) · 4 bytes = 80 bytes a position, 41 positions"],
        ),
        ("falcon-7b", ["3 layers: 2 · 1 KV head · 8 · 4 bytes = 64 bytes a position, 41 positions: 7872 bytes"]),
        ("gpt2-default", ["3 layers: 2 · 4 KV heads · 8 · 4 bytes = 256 bytes a position"]),
    ],
)
def test_the_formula_of_every_kind(qtbot: Any, kinds: KindsOnDisk, variant: str, lines: list[str]) -> None:
    session, run = kinds[variant].run()
    shown = show(qtbot, CachePanel, run)
    shown.answer(session)
    for line in lines:
        assert line in text(shown)


def test_positions_let_go_have_a_colour_a_legend_and_a_sentence(qtbot: Any, kinds: KindsOnDisk) -> None:
    session, run = kinds["gemma3_text-default"].run()
    shown = show(qtbot, CachePanel, run)
    shown.pin(layer=2, position=5)
    shown.answer(session)
    cells = shown.panel._map.cells
    names = cells.scale.names
    assert len(set(cells.scale.colours)) == len(names) == 4
    written = [[names[int(kind)] for kind in row[: run.n_read]] for row in cells.values]
    assert written[2] == ["let go"] * 30 + ["prefill"] * 6 + ["decode"] * 5
    assert written[5] == ["prefill"] * 36 + ["decode"] * 5  # it sees all
    said = "layer 2 keeps the last 11 positions (with the next token a window of 12): this one has been let go"
    assert shown.panel._map.describe(2, 5).endswith(said)
    assert shown.panel._vector_pages.accessibleDescription() == f"L{said[1:]}."
    assert shown.panel._vector_pages.empty
    assert "6 layers have let go of positions" in shown.panel.caption()
    shown.pin(position=35)
    shown.answer(session)
    assert not shown.panel._vector_pages.empty
    assert shown.panel.values()["keys"].shape == (2, 12)


def test_a_cell_of_several_positions_is_let_go_with_its_last(qtbot: Any, kinds: KindsOnDisk) -> None:
    _, run = kinds["gemma3_text-default"].run(1)
    shown = show(qtbot, CachePanel, run)
    n, firsts = 4000, np.array([3989] * 5 + [0, 3989])
    growth = np.array([(n, bytes_after(run.model, n))])
    state = CacheState(np.full(7, n), firsts, n, n, int(growth[0, 1]), 10**6, 7 * 192, growth)
    shown.panel.show_answer("cache.state", state)
    cells, block = shown.panel._map.cells, shown.panel._block
    assert block > 1
    gone = 3989 // block
    assert {cells.scale.names[int(kind)] for kind in cells.values[0, :gone]} == {"let go"}
    assert "let go" not in {cells.scale.names[int(kind)] for kind in cells.values[0, gone : n // block]}
    assert shown.panel._map.describe(0, gone).endswith(f"prefill, the first {3989 - gone * block} let go")
    assert shown.panel._map.describe(5, gone).endswith("prefill")


def test_a_chunk_that_is_full_is_let_go_as_a_whole(qtbot: Any, kinds: KindsOnDisk) -> None:
    session, run = kinds["llama4_text-default"].run(13)
    assert run.n_read == 48
    shown = show(qtbot, CachePanel, run)
    shown.pin(layer=0, position=47)
    shown.answer(session)
    assert shown.panel.values()["firsts"].tolist() == [48, 48, 48, 0]
    assert "3 layers, chunk 16: 2 · 2 KV heads · 8 · 4 bytes = 128 bytes a position, 0 positions: 0 bytes" in text(
        shown
    )
    assert "chunk of 16 positions that the next token is in" in shown.panel._vector_pages.accessibleDescription()


def test_models_that_keep_all_have_no_word_of_letting_go(qtbot: Any, kinds: KindsOnDisk) -> None:
    session, run = kinds["mixtral-default"].run(1)
    shown = show(qtbot, CachePanel, run)
    shown.answer(session)
    assert "let go" not in shown.panel._map.cells.scale.names
    assert "let go" not in shown.panel.caption()
    assert "window" not in text(shown)


def test_a_latent_is_shown_as_stored_beside_what_the_heads_make_of_it(qtbot: Any, kinds: KindsOnDisk) -> None:
    import torch

    kind = kinds["deepseek_v3-default"]
    session, run = kind.run()
    shown = show(qtbot, CachePanel, run, size=(1000, 900))
    shown.pin(layer=1, position=20)
    shown.answer(session)
    theirs = kind.expected(run).past_key_values.layers[1]
    latent, rotated = theirs.keys[0, 0, 20], theirs.values[0, 0, 20]
    rotated = rotated.reshape(2, -1).T.flatten()  # transformers keeps the even entries first
    attention = kind.oracle.model.model.layers[1].self_attn
    made = attention.kv_b_proj(latent).view(4, 18)
    values = shown.panel.values()
    np.testing.assert_allclose(values["latent"], torch.cat((latent, rotated)), atol=1e-5)
    np.testing.assert_allclose(values["keys"], torch.cat((made[:, :8], rotated.expand(4, 4)), 1), atol=1e-5)
    np.testing.assert_allclose(values["values"], made[:, 8:], atol=1e-5)
    cells = shown.panel._latent.cells
    assert (cells.state == SHOWN).sum(1).tolist() == [16, 4]
    assert [cells.rows.label(row) for row in range(2)] == ["latent", "rotated"]
    assert shown.panel.badge() == "captured + recomputed"
    assert shown.panel._latent.isVisible()


def test_what_is_told_of_a_latent_is_the_exact_figure(qtbot: Any, kinds: KindsOnDisk) -> None:
    session, run = kinds["deepseek_v3-default"].run(1)
    shown = show(qtbot, CachePanel, run)
    shown.pin(layer=2, position=7)
    shown.answer(session)
    for row, column, dimension, name in ((0, 15, 15, "latent"), (1, 3, 19, "rotated key")):
        exact = session.answer(AskExactValue("latent", (2, 7, dimension))).value
        told = shown.panel._latent.describe(row, column).replace("−", "-")
        assert told == f"{name} of layer 2, position 7, dimension {column}: {exact:.7g}"
    assert shown.panel._latent.describe(1, 9) == "no such dimension"
    assert "head 3, dimension 11" in shown.panel._keys.describe(3, 11)
    assert "KV head" not in shown.panel._keys.describe(3, 11)


def test_keys_are_called_rotated_only_where_they_are(qtbot: Any, kinds: KindsOnDisk) -> None:
    for variant, layer, roped in (
        ("gpt2-default", 0, False),
        ("olmo2-default", 0, True),
        ("llama4_text-default", 3, False),
    ):
        session, run = kinds[variant].run(1)
        shown = show(qtbot, CachePanel, run)
        shown.pin(layer=layer)
        shown.answer(session)
        assert ("after rope" in shown.panel._keys.cells.columns.title) == roped


# -- the list of layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("gemma3_text-default", ["window 12"] * 5 + ["full", "window 12"]),
        ("gpt_oss-default", ["window 12", "full"] * 2),
        ("deepseek_v3-default", ["one MLP"] + ["experts 3 of 8"] * 3),
        (
            "llama4_text-default",
            ["chunk 16", "chunk 16 · experts 2 of 4", "chunk 16", "NoPE · experts 2 of 4"],
        ),
        ("mixtral-default", [""] * 3),
        ("gpt2-default", [""] * 3),
    ],
)
def test_layers_that_differ_say_in_what(qtbot: Any, kinds: KindsOnDisk, variant: str, words: list[str]) -> None:
    run = Run()
    run.absorb(kinds[variant].loaded.model_frame())
    view = show(qtbot, LayersPanel, run).panel.view
    assert [view.picture.kind(row) for row in view.rows if row.layer is not None and not row.stage] == words
    stages = [row.stage for row in view.rows if row.layer == 0 and row.stage]
    assert stages == list(run.model.layers[0].stages)


def test_the_tip_of_a_layer_and_of_the_model_are_its_facts(qtbot: Any, kinds: KindsOnDisk) -> None:
    run = Run()
    run.absorb(kinds["gpt_oss-default"].loaded.model_frame())
    view = show(qtbot, LayersPanel, run).panel.view
    row = next(index for index, row in enumerate(view.rows) if row.layer == 2)
    tip = view.tip(view.row_box(row).center()).splitlines()
    assert tip == [
        "layer 2",
        "4 query heads, each 12 wide, share 2 KV heads: 2 query heads read each",
        "sliding window 12: a query sees the last 12 positions, its own included; "
        "what is missing to 1 in a row went to the head's sink",
        "6 experts, 48 wide; a router picks 3 for every position",
        "the cache takes 192 bytes a position",
    ]
    assert view.tip(view.row_box(0).center()) == ""
    status = StatusBar()
    qtbot.addWidget(status)
    status.show_run(run, "ready")
    assert "2 layers: 4 query heads, each 12 wide, share 2 KV heads" in status.model.toolTip()


def test_sixty_layers_of_two_kinds(qtbot: Any, kinds: KindsOnDisk) -> None:
    frame = kinds["gpt_oss-default"].loaded.model_frame()
    run = Run()
    run.absorb(replace(frame, layers=frame.layers[:2] * 30))
    shown = show(qtbot, LayersPanel, run, size=(240, 500))
    shown.pin(layer=59)
    view = shown.panel.view
    assert list(view.picture.kinds) == ["window 12", "full"] * 30
    fold = next(row for row in view.rows if row.last is not None)
    assert [cell.rare for cell in view.picture.cells(fold).values()] == [False, True] * 29 + [False]
    assert view._in_sight(view._index_of(59))
    assert not shown.panel.picture().isNull()
    QApplication.processEvents()
