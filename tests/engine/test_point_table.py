"""Formulas say what is computed: the biases, scales and bounds of the layer that is looked at, for every family."""

from __future__ import annotations

import math
import re

import pytest

from engine.config import LatentAttentionSpec, LayerSpec, MLPSpec, ModelConfig
from engine.point_table import attention_stages, layer_points, outer_points
from tests.engine.families.variants import VARIANTS
from tests.engine.test_point_code import config_of

_BIAS = re.compile(r"\bb_[A-Za-z]+")
FIGURES = {"z": 0.3, "post": -0.7, "routed": 1.3, "shared": 0.6, "W_O": 1.7, "b_O": 0.2, "W_down": 0.9, "b_down": -0.4}


def formulas(name: str, layer: int = 0) -> dict[str, str]:
    return {point.name: point.formula for point in layer_points(config_of(name), layer)}


def norm(x: float) -> float:
    """Stands for any that is not linear."""
    return math.tanh(x)


def value(formula: str, figures: dict[str, float]) -> float:
    """What a formula gives for numbers: "W_O z" is a product, as "·" is."""
    right = re.sub(r"(W_\w+) (\w+)", r"\1 * \2", formula.partition(" = ")[2]).replace("·", "*")
    return float(eval(right, {"norm": norm}, figures))


def added(spec: LayerSpec, which: str) -> float:
    """What attention or the MLP adds, by the spec."""
    of, at = spec.attention, FIGURES
    if which == "hook_attn_out":
        biased, post = (of.bias if isinstance(of, LatentAttentionSpec) else of.out_bias), spec.norm1_post
        inner = at["W_O"] * at["z"] + biased * at["b_O"]
    elif isinstance(spec.mlp, MLPSpec):
        inner, post = at["W_down"] * at["post"] + spec.mlp.bias * at["b_down"], spec.norm2_post
    else:
        inner, post = at["routed"] + (spec.mlp.shared is not None) * at["shared"], spec.norm2_post
    return (inner if post is None else norm(inner)) * spec.residual_scale


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_added_to_the_stream_is_scaled_as_a_whole(name: str) -> None:
    for layer, spec in enumerate(config_of(name).layers):
        told = formulas(name, layer)
        for which in ("hook_attn_out", "hook_mlp_out"):
            assert value(told[which], FIGURES) == pytest.approx(added(spec, which)), told[which]


@pytest.mark.parametrize("name", VARIANTS)
def test_formulas_have_the_biases_of_the_code(name: str) -> None:
    config = config_of(name)
    for layer in range(config.n_layers):
        points = layer_points(config, layer)
        told, run = ({bias for text in texts for bias in _BIAS.findall(text)} for texts in _formulas_and_code(points))
        assert told == run, (layer, told ^ run)


def _formulas_and_code(points: tuple) -> tuple[list[str], list[str]]:
    return [point.formula for point in points], [point.code for point in points]


def test_biases_stand_where_they_are_added() -> None:
    gpt2, gpt_oss = formulas("gpt2-default"), formulas("gpt_oss-default")
    assert gpt2["attn.hook_q"] == "q = W_Q x + b_Q"
    assert gpt2["mlp.hook_pre"] == "u = W_up x + b_up"
    assert gpt2["hook_mlp_out"] == "Δ = W_down post + b_down"
    assert gpt_oss["mlp.hook_router_logits"] == "ℓ = W_router x + b_router"
    assert gpt_oss["mlp.experts.*.hook_out"] == "expert_e(x) = W_down[e] post + b_down[e]"
    assert formulas("llama-default")["attn.hook_q"] == "q = W_Q x"
    assert formulas("deepseek_v2-low-rank-queries")["attn.hook_kv_latent"] == "c = norm(W_DKV x + b_DKV)"


def test_a_latent_is_named_by_what_is_made_of_it() -> None:
    assert formulas("deepseek_v2-low-rank-queries")["attn.hook_q_nope"] == "q = W_UQ c_q, without position"
    assert formulas("deepseek_v2-low-rank-queries")["attn.hook_q_latent"].startswith("c_q = ")
    assert formulas("deepseek_v2-default")["attn.hook_q_nope"] == "q = W_UQ x, without position"


def test_experts_of_other_groups_cannot_be_chosen() -> None:
    told = formulas("deepseek_v3-default", 1)
    assert told["mlp.hook_router_choice"] == "r = s + b, but −∞ outside the best 2 of 4 groups"
    assert told["mlp.hook_expert_weights"] == "w = 1.7 · s[E] / (Σ s[E] + ε)"
    assert formulas("mixtral-default")["mlp.hook_router_choice"] == "r = s"


def test_queries_that_grow_with_the_position_do_so_in_every_stage() -> None:
    config = config_of("llama4_text-default")
    grown = [layer for layer, spec in enumerate(config.layers) if getattr(spec.attention, "temperature", None)]
    assert 0 < len(grown) < config.n_layers
    for layer in range(config.n_layers):
        stages = {stage.stage: stage for stage in attention_stages(config, layer)}
        for name in ("products", "scaled", "masked", "pattern"):
            has = "q[p] · k[j] · (1 + 0.4 · ln(1 + ⌊(p + 1) / 6⌋))" in stages[name].formula
            assert has == (layer in grown) == ("q_grown" in stages[name].code), (layer, name)


def test_a_head_mixes_the_values_of_its_kv_head() -> None:
    assert formulas("llama-default")["attn.hook_z"] == "z[h] = Σ a[h, p, j] · v[⌊h / 2⌋, j]"
    assert formulas("gpt2-default")["attn.hook_z"] == "z[h] = Σ a[h, p, j] · v[h, j]"
    assert formulas("falcon-7b")["attn.hook_z"] == "z[h] = Σ a[h, p, j] · v[j]"


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_bounded_in_the_code_is_bounded_in_the_formula(name: str) -> None:
    config = config_of(name)
    for layer in range(config.n_layers):
        for point in layer_points(config, layer):
            assert ("clamp(" in point.formula) == ("clamp(" in point.code), (layer, point.name)


def test_keys_that_were_let_go_are_not_among_those_stored() -> None:
    config = config_of("gpt_oss-default")
    told = {config.layers[layer].attention.kind: formulas("gpt_oss-default", layer)["kv.hook_k"] for layer in (0, 1)}
    assert told["full"] == "keys = k[0 … p]"
    assert told["sliding"] == "keys = k[p₀ … p],  p₀ the first position that is kept"


@pytest.mark.parametrize("name", VARIANTS)
def test_factors_of_the_rotation_are_told(name: str) -> None:
    config: ModelConfig = config_of(name)
    for point in outer_points(config)[0]:
        if point.name.startswith("rotary_emb."):
            factor = re.search(r"\(\) \* (\S+)$", point.code)
            assert point.formula.endswith(f" · {factor[1]}" if factor else "θ_i)"), point
