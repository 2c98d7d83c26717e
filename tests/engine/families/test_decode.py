"""Reading with a cache gives what reading at once gives: token by token and in pieces, past the window's edge."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import engine
from engine.errors import ContextError
from engine.loading import Loaded
from tests.engine.families.compare import apart, logits_of, read_in_parts
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.reference import reference

PIECES = {
    "token-by-token": list(range(1, 48)),
    "sevens": list(range(7, 48, 7)),
    "over-the-edge": [10, 11, 12, 13, 14, 15, 16, 17, 18, 33, 34],
    "prompt-then-tokens": [16, 17, 18, 19, 20],
}


@pytest.mark.parametrize("pieces", PIECES)
def test_decode_equals_prefill(pieces: str, oracle: Oracle, loaded: Loaded) -> None:
    """Of transformers' prefill; where its own decode differs by design (tables that follow the length), of that."""
    cuts = [cut for cut in PIECES[pieces] if cut < oracle.ids.shape[1]]
    theirs = oracle.logits if oracle.variant.decodes_as_prefill else oracle.in_parts(oracle.ids, cuts)
    ours = read_in_parts(loaded, oracle.ids, cuts)
    distance = (ours - theirs).abs().amax(dim=(0, 2))
    wrong = (distance > oracle.variant.tolerance).nonzero().flatten().tolist()
    assert not wrong, f"from position {wrong[0]} on, up to {float(distance.max()):.2g} apart"


def test_decode_equals_our_prefill(oracle: Oracle, loaded: Loaded) -> None:
    if not oracle.variant.decodes_as_prefill:
        short = oracle.ids[:, :20]  # within every original context
        assert apart(read_in_parts(loaded, short, [5, 6]), logits_of(loaded, short)) <= 1e-4
        return
    cuts = [cut for cut in PIECES["sevens"] if cut < oracle.ids.shape[1]]
    assert apart(read_in_parts(loaded, oracle.ids, cuts), logits_of(loaded, oracle.ids)) <= 1e-4


@pytest.mark.parametrize("kept", [0, 5])
def test_a_cut_cache_reads_on_as_if_it_had_never_been_longer(kept: int, oracle: Oracle, loaded: Loaded) -> None:
    """Within every window and chunk."""
    ids = oracle.ids[:, :11]
    cache = engine.KVCache(loaded.config, batch=2, dtype=loaded.dtype, device=loaded.device)
    first = logits_of(loaded, ids, cache)
    cache.truncate(kept)
    assert cache.length == kept
    assert apart(logits_of(loaded, ids[:, kept:], cache), first[:, kept:]) <= 1e-4


def test_a_cut_to_what_a_layer_has_let_go_of_is_refused(oracle: Oracle, loaded: Loaded) -> None:
    """A full or latent cache holds all; one that cannot be cut says so and stays as it was."""
    ids = oracle.ids[:, :20]
    cache = engine.KVCache(loaded.config, batch=2, dtype=loaded.dtype, device=loaded.device)
    first = logits_of(loaded, ids[:, :19], cache)
    try:
        cache.truncate(9)
    except ContextError:
        assert oracle.variant.cache in ("sliding", "chunked")
        assert cache.length == 19
        whole = logits_of(loaded, ids)
        assert apart(logits_of(loaded, ids[:, 19:], cache), whole[:, 19:]) <= 1e-4
    else:
        assert apart(logits_of(loaded, ids[:, 9:19], cache), first[:, 9:]) <= 1e-4


def test_the_length_counts_committed_positions(oracle: Oracle, loaded: Loaded) -> None:
    cache = engine.KVCache(loaded.config, batch=2, dtype=loaded.dtype, device=loaded.device)
    for part in oracle.ids.tensor_split([7, 8], dim=1):
        logits_of(loaded, part, cache)
    assert cache.length == oracle.ids.shape[1]
    assert len(cache.shapes) == loaded.config.n_layers


def test_a_full_or_latent_cache_stores_just_what_its_kind_says(oracle: Oracle, loaded: Loaded) -> None:
    """Per position and layer: 2 · n_kv · d_head numbers, or d_c + d_r of a latent cache; a window only bounds it."""
    cache = engine.KVCache(loaded.config, batch=2, dtype=torch.float32, device=loaded.device)
    logits_of(loaded, oracle.ids, cache)
    seen = reference(oracle, oracle.ids)
    parts = ("hook_kv_latent", "hook_rot_k") if oracle.variant.cache == "latent" else ("hook_k", "hook_v")
    everything = sum(
        4 * seen[f"blocks.{i}.attn.{part}"].numel() for i in range(loaded.config.n_layers) for part in parts
    )
    if oracle.variant.cache in ("full", "latent"):
        assert cache.bytes_now == everything
    else:
        assert 0 < cache.bytes_now <= everything


LETTING_GO = ("mistral-sliding", "llama4_text-default", "gemma3_text-default", "deepseek_v2-default")


@pytest.mark.parametrize("point", ["blocks.1.hook_resid_post", "ln_final.hook_normalized", "sampler.hook_token"])
@pytest.mark.parametrize("name", LETTING_GO)
def test_a_run_goes_on_after_a_pass_that_ended_anywhere(name: str, point: str, oracles: Oracles) -> None:
    """Also behind the last layer, where windows and chunks have let go of positions already."""
    oracle = oracles[name]
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    prompt = oracle.ids[0, :26].tolist()
    expected = [step.id for step in engine.Session(loaded).generate(prompt, 12)]
    session = engine.Session(loaded)
    session.begin(prompt)
    while len(session.output) < len(expected):
        with pytest.raises(KeyboardInterrupt), loaded.model.hooks({point: _interrupted}):
            next(session.steps(1))
        next(session.steps(1))
    assert session.output == expected


def _interrupted(tensor: torch.Tensor, point: Any) -> None:
    raise KeyboardInterrupt
