"""Every family and variant against transformers: logits, greedy tokens, router choices, every comparable hook point.

``pytest tests/engine/families -k gemma2`` runs one family; a failure names the first stage that differs.
"""

from __future__ import annotations

import pytest
import torch

import engine
from engine.loading import Loaded
from tests.engine.families.compare import apart, differences, first_difference, logits_of, observed, unpublished
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.reference import in_one_form, reference
from tests.engine.families.variants import ROUTED, VARIANTS

EXACT = 1e-9
IN_FLOAT64 = [variant.id for variant in VARIANTS.values() if variant.float64]
FUSED_IN_FLOAT64 = [variant.id for variant in VARIANTS.values() if variant.float64 and not variant.eager]


def test_logits(oracle: Oracle, loaded: Loaded) -> None:
    """A part that is read wrongly moves them by more than 0.05 (see test_oracle), rounding by 1e-5."""
    distance = apart(logits_of(loaded, oracle.ids), oracle.logits)
    assert distance <= oracle.variant.tolerance, first_difference(loaded, oracle, oracle.ids)


def test_every_comparable_hook_point(oracle: Oracle, loaded: Loaded) -> None:
    assert unpublished(loaded, reference(oracle, oracle.ids)) == []
    assert [str(each) for each in differences(loaded, oracle, oracle.ids, oracle.variant.tolerance)] == []


@pytest.mark.parametrize("name", ROUTED)
def test_router_choices(name: str, oracles: Oracles) -> None:
    """Each token's experts as a set: their order among themselves means nothing."""
    oracle = oracles[name]
    theirs = in_one_form(reference(oracle, oracle.ids), oracle)
    names = [point for point in theirs if point.endswith("hook_expert_indices")]
    assert names
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    ours = in_one_form(observed(loaded, oracle.ids, names), oracle)
    for point in names:
        assert torch.equal(ours[point], theirs[point]), first_difference(loaded, oracle, oracle.ids)


def test_greedy_tokens(oracle: Oracle, loaded: Loaded) -> None:
    """Eight tokens, each read with a cache behind the prompt, on both sides."""
    prompt = oracle.ids[:1]
    cache, chosen = engine.KVCache(loaded.config, dtype=loaded.dtype, device=loaded.device), []
    logits = logits_of(loaded, prompt, cache, logits="last")
    for _ in range(8):
        chosen.append(int(logits[0, -1].argmax()))
        logits = logits_of(loaded, torch.tensor([chosen[-1:]]), cache, logits="last")
    assert chosen == oracle.greedy(prompt, 8)


@pytest.mark.parametrize("name", FUSED_IN_FLOAT64)
def test_in_float64_with_fused_attention(name: str, oracles: Oracles) -> None:
    """The same literal float32 casts as in transformers: what is left is float64 rounding."""
    oracle = oracles[name].in_float64("sdpa")
    loaded = engine.load(oracle.folder, device="cpu", dtype="float64")
    distance = apart(logits_of(loaded, oracle.ids), oracle.logits)
    assert distance <= EXACT, first_difference(loaded, oracle, oracle.ids, 1e-5)


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_in_float64_with_explicit_attention(name: str, oracles: Oracles) -> None:
    """The pattern is asked for, so the engine forms it as transformers' eager attention does, softmax type included."""
    oracle = oracles[name].in_float64("eager")
    loaded = engine.load(oracle.folder, device="cpu", dtype="float64")
    patterns = [point for point in loaded.model.hook_points if point.endswith("attn.hook_pattern")]
    assert len(patterns) == loaded.config.n_layers
    with loaded.model.hooks(dict.fromkeys(patterns, lambda tensor, point: None)):
        distance = apart(logits_of(loaded, oracle.ids), oracle.logits)
    assert distance <= EXACT, first_difference(loaded, oracle, oracle.ids, 1e-9)
