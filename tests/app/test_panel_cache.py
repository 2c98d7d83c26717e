"""The cache panel: what is stored, what it costs, and the stored vectors against transformers' own cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.panels.kv_cache import CachePanel
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.widgets.heatmap import ABSENT, SHOWN
from engine.frames import CacheState, CacheVectors
from engine.questions import AskCacheVectors
from tests.app.panel_runs import Shown, read_run, real_run, show

PER_TOKEN = 2 * 3 * 64 * 4 * 6


def figures(qtbot: Any, n: int = 8, theme: Theme = DARK, *, n_prompt: int = 5, filled: int = 6) -> Shown:
    """n committed positions; the first ``filled`` of 6 layers have stored one more if filled < 6."""
    shown = show(qtbot, CachePanel, read_run(n + 1), theme)
    lengths = np.where(np.arange(6) < filled, n + 1, n) if filled < 6 else np.full(6, n)
    growth = np.array([(end, end * PER_TOKEN) for end in range(n_prompt, n + 1)], np.int64).reshape(-1, 2)
    state = CacheState(
        lengths, np.zeros_like(lengths), n, n_prompt, int(lengths.sum()) * PER_TOKEN // 6, 10**7, PER_TOKEN, growth
    )
    shown.panel.show_answer("cache.state", state)
    random = np.random.default_rng(0)
    keys, values = (random.normal(size=(3, 64)).astype(np.float32) for _ in range(2))
    shown.panel.show_answer("cache.vectors", CacheVectors(0, n - 1, keys, values, np.zeros(0, np.float32)))
    return shown


def test_vectors_and_lengths_are_those_of_transformers(qtbot: Any, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, CachePanel, real_run(session, "cache", 4))
    ids = torch.tensor([[piece.id for piece in shown.run.pieces][: shown.run.n_read]])
    oracle = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        stored = oracle(ids, use_cache=True).past_key_values
    for layer, position in ((0, 0), (2, 3), (1, 7)):
        shown.pin(layer=layer, position=position)
        shown.answer(session)
        values = shown.panel.values()
        np.testing.assert_allclose(values["keys"], stored.layers[layer].keys[0, :, position], atol=1e-5)
        np.testing.assert_allclose(values["values"], stored.layers[layer].values[0, :, position], atol=1e-5)
    assert values["lengths"].tolist() == [8, 8, 8]
    assert values["growth"].tolist() == [[end, end * 3 * 2 * 2 * 8 * 4] for end in (5, 6, 7, 8)]


def test_the_real_model_costs_46_080_bytes_per_token(qtbot: Any, smollm2_gguf: Path) -> None:
    import engine

    session = engine.Session(engine.load(smollm2_gguf, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, CachePanel, real_run(session, "The capital of France is", 2))
    shown.answer(session)
    text = shown.panel._facts.text().replace("\u202f", " ")
    assert "46 080 bytes per token in all layers" in text
    assert "30 layers: 2 · 3 KV heads · 64 · 4 bytes = 1 536 bytes a position, 6 positions: 276 480 bytes" in text
    assert f"{6 * 46080:,} bytes stored now".replace(",", " ") in text
    assert shown.panel.values()["keys"].shape == (3, 64)


def test_a_story_says_what_is_stored_without_the_arithmetic(qtbot: Any) -> None:
    shown = figures(qtbot)
    whole = shown.panel._facts.text()
    assert " · 64 · " in whole
    shown.panel.context.depth = "story"
    shown.panel.show_depth()
    assert shown.panel._facts.text() == whole.splitlines()[0]
    assert "·" not in shown.panel._facts.text()
    shown.panel.context.depth = "numbers"
    shown.panel.show_depth()
    assert shown.panel._facts.text() == whole


def test_prefill_decode_filling_and_empty_are_told_apart(qtbot: Any) -> None:
    shown = figures(qtbot, filled=2)
    cells = shown.panel._map.cells
    assert cells.values[0, :9].tolist() == [0] * 5 + [1] * 3 + [2]
    assert (cells.state[:, :8] == SHOWN).all()
    assert (cells.state[:2, 8] == SHOWN).all()
    assert (cells.state[2:, 8] == ABSENT).all()
    assert (cells.state[:, 9:] == ABSENT).all()
    assert "2 layers have stored this pass" in shown.panel.caption()
    assert shown.panel._map.describe(0, 8).endswith("this pass")
    assert shown.panel._map.describe(3, 8).endswith("not stored yet")


def test_keys_move_the_picked_cell_and_choose_the_vectors(qtbot: Any) -> None:
    shown = figures(qtbot)
    shown.panel._map.pick(2, 4)
    qtbot.keyClick(shown.panel._map, Qt.Key.Key_Left)
    qtbot.keyClick(shown.panel._map, Qt.Key.Key_Down)
    assert (shown.cursor.pinned.layer, shown.cursor.pinned.position) == (3, 3)
    assert shown.panel.watches()["cache.vectors"] == AskCacheVectors(3, 3)
    assert shown.asked == []


def test_the_exact_entry_of_a_vector_is_told(qtbot: Any) -> None:
    shown = figures(qtbot)
    shown.panel._keys.pick(1, 20)
    assert shown.said[-1].replace("−", "-").endswith(f": {shown.panel.values()['keys'][1, 20]:.7g}")
    assert "KV head 1, dimension 20" in shown.panel._keys.accessibleDescription()


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("n", [1, 2000])
def test_one_token_and_two_thousand(qtbot: Any, n: int, theme: Theme) -> None:
    shown = figures(qtbot, n, theme, n_prompt=min(n, 1900))
    assert not shown.panel.picture().isNull()
    assert ("reduced" in shown.panel.badge()) == (n == 2000)


def test_an_empty_cell_has_no_vectors(qtbot: Any) -> None:
    shown = figures(qtbot)
    empty = np.zeros((0, 64), np.float32)
    shown.panel.show_answer("cache.vectors", CacheVectors(5, 8, empty, empty, np.zeros(0, np.float32)))
    assert shown.panel._keys.cells is None
    assert shown.panel._vector_pages.accessibleDescription() == "Layer 5 has not stored position 8 yet."
    assert not shown.panel.picture().isNull()


def test_without_a_run_one_sentence_says_what_to_do(qtbot: Any) -> None:
    shown = show(qtbot, CachePanel, Run())
    assert "Open a model" in shown.panel._pages.accessibleDescription()
    assert shown.panel.watches() == shown.panel.values() == {}
