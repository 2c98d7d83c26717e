"""Inverse frequencies and tables against transformers' own, with the parameters of real models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from engine.config import RopeSpec
from engine.families import read_config
from engine.hooks import HookPoints
from engine.model.rope import Rope, inverse_frequencies, rotate

LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}

# one unit in the last place of float32 (of the type, if coarser); of the frequency too, so times the position
ULP = {torch.float32: 1.2e-7, torch.float64: 1.2e-7, torch.bfloat16: 7.9e-3}

# name: head size, theta, context, scaling
MODELS: dict[str, tuple[int, float, int, dict[str, Any] | None]] = {
    "SmolLM2-135M": (64, 100_000.0, 8192, None),
    "Llama-2-7B": (128, 10_000.0, 4096, None),
    "Mistral-Nemo": (128, 1_000_000.0, 131072, None),
    "LongChat-7B-16k, linear": (128, 10_000.0, 16384, {"type": "linear", "factor": 8.0}),
    "dynamic": (128, 10_000.0, 2048, {"rope_type": "dynamic", "factor": 2.0}),
    "Llama-3.1-8B": (128, 500_000.0, 131072, {**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 8192}),
    "Llama-3.2-1B": (64, 500_000.0, 131072, {**LLAMA3, "factor": 32.0, "original_max_position_embeddings": 8192}),
    "Qwen2.5-7B, yarn": (128, 1_000_000.0, 131072, YARN),
    "yarn without rounding": (64, 150_000.0, 131072, {**YARN, "factor": 32.0, "truncate": False}),
    "Yarn-Llama-2-7B-64k": (128, 10_000.0, 65536, {**YARN, "factor": 16.0, "original_max_position_embeddings": 4096}),
    "yarn, mscale": (64, 10_000.0, 163840, {**YARN, "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 1.3}),
    "yarn, one mscale": (64, 10_000.0, 163840, {**YARN, "factor": 40.0, "mscale": 0.707}),
    "yarn, explicit attention factor": (64, 10_000.0, 131072, {**YARN, "attention_factor": 0.77}),
    "yarn, own betas": (64, 10_000.0, 131072, {**YARN, "beta_fast": 16.0, "beta_slow": 2.0}),
    "yarn, factor from contexts": (64, 10_000.0, 131072, {**YARN, "factor": None}),
    "yarn, no stretch": (64, 10_000.0, 131072, {**YARN, "factor": 1.0}),
}


def _values(name: str) -> dict[str, Any]:
    d_head, theta, n_ctx, scaling = MODELS[name]
    return {
        "model_type": "llama",
        "hidden_size": 2 * d_head,
        "num_attention_heads": 2,
        "head_dim": d_head,
        "rope_theta": theta,
        "max_position_embeddings": n_ctx,
        **({} if scaling is None else {"rope_scaling": dict(scaling)}),
    }


def _both(name: str) -> tuple[RopeSpec, LlamaConfig]:
    values = _values(name)
    return read_config(values).ropes["global"], LlamaConfig(**_values(name))


def _oracle(config: LlamaConfig, n_positions: int) -> tuple[torch.Tensor, float]:
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        return LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    return ROPE_INIT_FUNCTIONS[kind](config, seq_len=n_positions)


@pytest.mark.parametrize("name", MODELS)
def test_inverse_frequencies_equal_transformers(name: str) -> None:
    spec, config = _both(name)
    expected, attention_factor = _oracle(config, 1000)
    torch.testing.assert_close(inverse_frequencies(spec, 1000), expected, rtol=2e-7, atol=0)
    assert spec.attention_factor == pytest.approx(attention_factor, rel=1e-12)


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row[3] and name != "yarn, no stretch"])
def test_a_scaling_is_not_the_identity(name: str) -> None:
    spec = _both(name)[0]
    plain = inverse_frequencies(RopeSpec(spec.theta, spec.dim, spec.n_ctx), 3000)
    assert (inverse_frequencies(spec, 3000) / plain).min() < 0.8


@pytest.mark.parametrize("n_positions", [1, 2047, 2048, 2049, 3000, 4096])
def test_dynamic_scaling_grows_with_the_sequence(n_positions: int) -> None:
    spec, config = _both("dynamic")
    inverse = inverse_frequencies(spec, n_positions)
    torch.testing.assert_close(inverse, _oracle(config, n_positions)[0], rtol=2e-7, atol=0)
    unstretched = torch.equal(inverse, inverse_frequencies(RopeSpec(10_000.0, 128, 2048), 0))
    assert unstretched == (n_positions <= 2048)


def test_known_corners_of_llama_3_2() -> None:
    """First and last frequency, and the middle one that lies between the two bands, as transformers gave them."""
    inverse = inverse_frequencies(_both("Llama-3.2-1B")[0], 1)
    assert inverse[0] == 1.0
    assert inverse[-1] == pytest.approx(500_000 ** (-62 / 64) / 32, rel=1e-6)
    plain = 500_000 ** (-32 / 64)
    assert plain / 32 < inverse[16] < plain


def test_divisors_divide_one_by_one() -> None:
    spec = RopeSpec(10_000.0, 8, 64, divisors=(1.0, 2.0, 4.0, 8.0))
    expected = 10_000.0 ** (-torch.arange(0, 8, 2) / 8) / torch.tensor([1.0, 2.0, 4.0, 8.0])
    torch.testing.assert_close(inverse_frequencies(spec, 1), expected)


def _rope(name: str) -> tuple[Rope, LlamaRotaryEmbedding]:
    config = read_config(_values(name))
    return Rope("global", config.ropes["global"], HookPoints(config)), LlamaRotaryEmbedding(
        LlamaConfig(**_values(name))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_tables_equal_transformers(name: str, dtype: torch.dtype) -> None:
    rope, oracle = _rope(name)
    like = torch.zeros(1, dtype=dtype)
    for start, end in ((0, 7), (7, 8), (1000, 1003), (3, 5)):
        cos, sin = rope.forward(start, end, like)
        expected = oracle(like, torch.arange(start, end)[None])
        assert cos.dtype == dtype
        for ours, theirs in zip((cos, sin), expected, strict=True):
            torch.testing.assert_close(ours, theirs[0], rtol=ULP[dtype], atol=1.2e-7 * end)


def test_tables_far_out_keep_their_precision() -> None:
    rope, oracle = _rope("Llama-3.2-1B")
    cos, _ = rope.forward(100_000, 100_004, torch.zeros(1))
    assert torch.equal(cos, oracle(torch.zeros(1), torch.arange(100_000, 100_004)[None])[0][0])


def test_dynamic_tables_beyond_the_trained_context() -> None:
    """transformers raises the base in float32, so the angles differ by its rounding; unstretched ones by radians."""
    rope, oracle = _rope("dynamic")
    like = torch.zeros(1)
    for start, end in ((0, 3000), (3000, 3001), (3001, 3100)):
        cos, sin = rope.forward(start, end, like)
        expected = oracle(like, torch.arange(start, end)[None])
        torch.testing.assert_close(cos, expected[0][0], rtol=0, atol=2e-3)
        torch.testing.assert_close(sin, expected[1][0], rtol=0, atol=2e-3)
    plain = rope.tables(3000, 3001, 2048, like)[0]
    assert (plain - rope.tables(3000, 3001, 3001, like)[0]).abs().max() > 0.5


def test_tables_follow_a_change_of_dtype() -> None:
    rope, _ = _rope("SmolLM2-135M")
    assert rope.tables(0, 4, 4, torch.zeros(1))[0].dtype == torch.float32
    assert rope.tables(0, 4, 4, torch.zeros(1, dtype=torch.bfloat16))[0].dtype == torch.bfloat16


def test_rotation_equals_transformers() -> None:
    rope, oracle = _rope("SmolLM2-135M")
    q, k = torch.randn(2, 6, 5, 64), torch.randn(2, 6, 3, 64)  # [batch, pos, head, d_head]
    tables = oracle(q, torch.arange(9, 15)[None])
    expected = apply_rotary_pos_emb(q.transpose(1, 2), k.transpose(1, 2), *tables)
    turned = rope.ready(*rope.forward(9, 15, q))
    assert torch.equal(rotate(q, turned), expected[0].transpose(1, 2))
    assert torch.equal(rotate(k, turned), expected[1].transpose(1, 2))


def test_rotation_makes_scores_depend_on_distance_only() -> None:
    rope, _ = _rope("SmolLM2-135M")
    q, k = torch.randn(1, 1, 1, 64), torch.randn(1, 1, 1, 64)

    def score(query: int, key: int) -> float:
        at = [rotate(x, rope.ready(*rope.forward(p, p + 1, q))) for x, p in ((q, query), (k, key))]
        return float((at[0] * at[1]).sum())

    assert score(10, 3) == pytest.approx(score(107, 100), abs=1e-3)
    assert score(10, 3) != pytest.approx(score(10, 4), abs=1e-3)
