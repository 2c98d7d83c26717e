"""Whole logits against transformers: every variant of the family, prefill, decode, chunks, types, threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM

import engine
from engine.cache import KVCache
from engine.loading import Loaded
from tests.engine.conftest import Pair, pair
from tests.engine.tiny import DEFAULTS, randomised

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "attention bias": {"attention_bias": True},
    "wide heads": {"head_dim": 20},
    "narrow heads": {"head_dim": 6},
    "every head its own keys": {"num_key_value_heads": 4},
    "one key/value head": {"num_key_value_heads": 1},
    "sizes that do not divide": {"vocab_size": 97, "intermediate_size": 51},
    "another activation": {"hidden_act": "gelu_pytorch_tanh"},
    "another theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}},
    "dynamic": {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}},
    "llama3": {"rope_parameters": LLAMA3},
    "yarn": {"rope_parameters": YARN},
    "yarn, not truncated": {"rope_parameters": {**YARN, "truncate": False, "attention_factor": 1.3}},
}
IDS = torch.randint(3, 96, (2, 60), generator=torch.Generator().manual_seed(1))


def _expected(model: Any, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(ids, use_cache=False).logits


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _in_parts(loaded: Loaded, ids: Tensor, cuts: list[int]) -> Tensor:
    """Logits of all positions, read in the given parts into one cache."""
    cache = KVCache(loaded.config, batch=ids.shape[0], dtype=loaded.dtype)
    return torch.cat([loaded.model(part, cache) for part in ids.tensor_split(cuts, dim=1)], dim=1)


@pytest.mark.parametrize("name", VARIANTS)
def test_logits_equal_transformers(name: str, tmp_path: Path) -> None:
    """A variant that is read wrongly moves them by more than 0.1 (weights of std 0.2)."""
    both = pair(tmp_path, **VARIANTS[name])
    expected = _expected(both.oracle, IDS)
    assert expected.std() > 0.5
    assert _apart(both.loaded.model(IDS), expected) <= 1e-4
    token_by_token = _in_parts(both.loaded, IDS, list(range(1, IDS.shape[1])))
    assert _apart(token_by_token, expected) <= 1e-4
    assert _apart(_in_parts(both.loaded, IDS, [7, 8, 31]), expected) <= 1e-4


@pytest.mark.parametrize("name", ["another activation", "another theta", "linear", "llama3", "yarn"])
def test_a_variant_is_not_the_plain_model(name: str, tmp_path: Path) -> None:
    """With the same weights and the field left out the logits are far off; so the parity above shows something."""
    variant, plain = pair(tmp_path / "variant", **VARIANTS[name]), pair(tmp_path / "plain")
    assert _apart(variant.loaded.model(IDS), plain.loaded.model(IDS)) > 0.1


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", VARIANTS)
def test_in_float64_nothing_is_left_but_rounding(name: str, attention: str, tmp_path: Path) -> None:
    """The same float32 casts in norm, softmax and rope as in transformers, so even 1e-9 holds.

    transformers' fused attention is compared with our prefill, its eager one with a prefill whose pattern is asked
    for, and with our decode: there a float32 softmax sums rows of other lengths, so its rounding is left.
    """
    both = pair(tmp_path, dtype="float64", attn_implementation=attention, **VARIANTS[name])
    expected = _expected(both.oracle, IDS)
    if attention == "sdpa":
        assert _apart(both.loaded.model(IDS), expected) <= 1e-9
        return
    assert _apart(_in_parts(both.loaded, IDS, list(range(1, IDS.shape[1]))), expected) <= 2e-5
    patterns = [f"blocks.{layer}.attn.hook_pattern" for layer in range(3)]
    with both.loaded.model.hooks(dict.fromkeys(patterns, lambda tensor, point: None)):
        assert _apart(both.loaded.model(IDS), expected) <= 1e-9


def test_dynamic_rope_beyond_its_trained_context(tmp_path: Path) -> None:
    """As transformers' cached decode does it: the frequencies follow the length, cached keys keep their rotation."""
    both = pair(tmp_path, max_position_embeddings=24, **VARIANTS["dynamic"])
    assert both.loaded.config.n_ctx == 72
    cache, theirs = KVCache(both.loaded.config), None
    for part in IDS[:1].tensor_split([30, 31, 32, 40, 41], dim=1):
        with torch.inference_mode():
            expected = both.oracle(part, past_key_values=theirs, use_cache=True)
        theirs = expected.past_key_values
        assert _apart(both.loaded.model(part, cache), expected.logits) <= 2e-3  # their base is rounded to float32
    plain = pair(tmp_path / "plain", max_position_embeddings=72)
    assert _apart(plain.loaded.model(IDS[:1]), _expected(both.oracle, IDS[:1])) > 0.1


def test_mistral_without_a_window(tmp_path: Path) -> None:
    config = MistralConfig(**{**DEFAULTS, "sliding_window": None, "head_dim": 12})
    model = randomised(MistralForCausalLM(config), tmp_path)
    loaded = engine.load(tmp_path, device="cpu")
    assert loaded.config.family == "mistral"
    assert _apart(loaded.model(IDS), _expected(model, IDS)) <= 1e-4


def test_last_logits_are_the_last_of_all(tiny: Pair) -> None:
    last = tiny.loaded.model(IDS, logits="last")
    assert last.shape == (2, 1, 96)
    assert _apart(last, tiny.loaded.model(IDS)[:, -1:]) <= 1e-5


def test_a_batch_is_its_rows(tiny: Pair) -> None:
    together = tiny.loaded.model(IDS)
    for row in range(2):
        assert _apart(together[row : row + 1], tiny.loaded.model(IDS[row : row + 1])) <= 1e-5


@pytest.mark.parametrize("parts", [[], [5], [1, 2, 3]])
def test_the_future_does_not_reach_back(tiny: Pair, parts: list[int]) -> None:
    changed = IDS.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 96
    before, after = (_in_parts(tiny.loaded, ids, parts) for ids in (IDS, changed))
    assert _apart(before[:, :40], after[:, :40]) <= 1e-6
    assert _apart(before[:, 40:], after[:, 40:]) > 0.1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_and_is_close(dtype: str, tmp_path: Path) -> None:
    both = pair(tmp_path, dtype=dtype)
    ours = both.loaded.model(IDS)
    assert ours.dtype == both.loaded.dtype == getattr(torch, dtype)
    exact = _expected(both.oracle.float(), IDS)
    tolerance = {"bfloat16": 0.35, "float16": 0.04}[dtype]
    assert _apart(ours.float(), exact) <= tolerance
    assert _apart(_in_parts(both.loaded, IDS, [50, 51, 52]).float(), exact) <= tolerance
    both.oracle.to(both.loaded.dtype)
    assert _apart(ours.float(), exact) <= 2 * _apart(_expected(both.oracle, IDS).float(), exact)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("name", ["plain", "biases", "tied", "sizes that do not divide"])
def test_several_threads_decode_the_same(name: str, tmp_path: Path) -> None:
    both = pair(tmp_path, **VARIANTS[name])
    expected = _expected(both.oracle, IDS[:1, :12])
    with _threads(2):
        assert _apart(_in_parts(both.loaded, IDS[:1, :12], list(range(1, 12))), expected) <= 1e-4


@pytest.mark.parametrize("name", ["plain", "biases", "llama3"])
def test_greedy_text_equals_transformers_generate(name: str, tmp_path: Path) -> None:
    both = pair(tmp_path, **VARIANTS[name])
    prompt = IDS[:1, :9]
    out = both.oracle.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=40, do_sample=False, pad_token_id=0
    )
    steps = list(engine.Session(both.loaded).generate(prompt[0].tolist(), max_new_tokens=40))
    assert [step.id for step in steps] == out[0, 9:].tolist()
    assert len({step.id for step in steps}) > 3


# -- the real model --------------------------------------------------------------------------------------------------

PROMPT = "The capital of France is"
PROMPT_IDS = [504, 3575, 282, 4649, 314]


def test_the_published_figures(smollm2: Loaded) -> None:
    assert smollm2.tokenizer.encode(PROMPT) == PROMPT_IDS
    seen: dict[str, Tensor] = {}
    names = ("blocks.3.attn.hook_pattern", "blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre")
    with smollm2.model.hooks(dict.fromkeys(names, lambda tensor, point: seen.update({point.name: tensor}))):
        logits = smollm2.model(torch.tensor([PROMPT_IDS]))
    best = logits[0, -1].softmax(0).topk(5)
    assert [smollm2.tokenizer.decode([i]) for i in best.indices] == [" Paris", " the", " London", " Le", " New"]
    assert best.values.tolist() == pytest.approx([0.77254, 0.06452, 0.01247, 0.00985, 0.00930], abs=2e-5)
    row = seen["blocks.3.attn.hook_pattern"][0, 4, -1]
    assert row.tolist() == pytest.approx([0.96988, 0.00158, 0.00266, 0.00878, 0.01710], abs=2e-5)
    norms = [float(seen[name][0, -1].norm()) for name in names[1:]]
    assert norms == pytest.approx([2.601, 35.194], abs=2e-3)


def test_the_published_shape(smollm2: Loaded) -> None:
    config = smollm2.config
    assert (config.n_layers, config.d_model, config.d_vocab, config.n_ctx) == (30, 576, 49152, 8192)
    attention = config.layers[0].attention
    assert (attention.n_heads, attention.n_kv_heads, attention.d_head, attention.group) == (9, 3, 64, 3)


def test_the_published_continuation(smollm2: Loaded) -> None:
    steps = list(engine.Session(smollm2).generate(PROMPT, max_new_tokens=7))
    assert [step.id for step in steps] == [7042, 30, 198, 198, 504, 2988, 314]
    assert "".join(step.text for step in steps) == smollm2.tokenizer.decode([step.id for step in steps])


def test_every_logit_of_the_real_model(smollm2_pair: Pair) -> None:
    text = "Paris is the capital of France. def f(x): return x ** 2  # naïve 東京\n" * 2
    ids = torch.tensor([smollm2_pair.loaded.tokenizer.encode(text)])
    expected = _expected(smollm2_pair.oracle, ids)
    assert _apart(smollm2_pair.loaded.model(ids), expected) <= 1e-3
    assert _apart(_in_parts(smollm2_pair.loaded, ids, [20, 21, 22, 23, 30]), expected) <= 1e-3
