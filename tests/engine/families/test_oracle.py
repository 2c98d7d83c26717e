"""The oracle itself: each variant builds, saves, reads back the same, decodes; and what is special in it shows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.families.compare import apart
from tests.engine.families.oracle import Oracle, Oracles, load, with_other_fields
from tests.engine.families.reference import reference
from tests.engine.families.variants import ROUTED, VARIANTS, rope

LARGE = 0.05  # 500 times the tolerance


def test_ids_are_unique_and_every_family_is_there() -> None:
    assert len(VARIANTS) == len({(variant.family, variant.name) for variant in VARIANTS.values()})
    families = (
        "gpt2 llama smollm3 mistral qwen2 qwen3 gemma gemma2 gemma3_text gemma3 phi3 gpt_neox falcon olmo olmo2 olmo3"
        " granite gpt_bigcode mixtral qwen2_moe qwen3_moe olmoe granitemoe granitemoeshared deepseek_v2 deepseek_v3"
        " llama4_text llama4 gpt_oss"
    )
    assert {variant.family for variant in VARIANTS.values()} == set(families.split())


def test_it_reads_back_the_same(oracle: Oracle) -> None:
    again = Oracle(oracle.variant, oracle.folder, load(oracle.folder, oracle.variant))
    assert torch.equal(again.logits, oracle.logits)
    assert oracle.logits.std() > 0.5
    assert oracle.logits.isfinite().all()


def test_no_weight_is_left_at_a_default(oracle: Oracle) -> None:
    for name, tensor in oracle.model.state_dict().items():
        assert tensor.float().std() > 0.05, name


def test_its_own_decode(oracle: Oracle) -> None:
    """Equal to its prefill, but for rope tables that follow the length."""
    cuts = [cut for cut in (5, 6, 7, 14, 21, 40) if cut < oracle.ids.shape[1]]
    distance = apart(oracle.in_parts(oracle.ids, cuts), oracle.logits)
    assert (distance <= 1e-4) == oracle.variant.decodes_as_prefill
    assert len(set(oracle.greedy(oracle.ids[:1], 8))) >= 3


def test_what_its_modules_see_adds_up(oracle: Oracle) -> None:
    """So the names of modules stand for the places that they are taken for."""
    seen = reference(oracle, oracle.ids)
    assert apart(seen["hook_logits_final"], oracle.logits) <= 1e-5
    for layer in range(oracle.model.config.get_text_config().num_hidden_layers):
        block = f"blocks.{layer}."
        added = seen[f"{block}hook_attn_out"] + seen[f"{block}hook_mlp_out"]
        assert apart(seen[f"{block}hook_resid_pre"] + added, seen[f"{block}hook_resid_post"]) <= 1e-5
        assert {f"{block}attn.hook_pattern", f"{block}attn.hook_z"} <= seen.keys()


@pytest.mark.parametrize("name", ROUTED)
def test_no_router_stands_before_a_tie(name: str, oracles: Oracles) -> None:
    """Otherwise rounding decides between two experts and nothing can be compared."""
    oracle = oracles[name]
    seen = reference(oracle, oracle.ids)
    routers = [point for point in seen if point.endswith("hook_router_logits")]
    assert routers
    for point in routers:
        ordered = seen[point].sort(-1).values.diff(dim=-1)
        assert ordered.min() > 1e-5, point


# fields whose loss must show: variant, the field, the value that a careless reader would use
LOST: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gpt2-scaled-by-layer", {"scale_attn_by_inverse_layer_idx": False}),
    ("gpt2-unscaled", {"scale_attn_weights": True}),
    ("llama-linear", {"rope_parameters": rope()}),
    ("llama-dynamic", {"rope_parameters": rope()}),
    ("llama-llama3", {"rope_parameters": rope()}),
    ("llama-yarn", {"rope_parameters": rope()}),
    ("smollm3-default", {"no_rope_layers": [1, 1, 1, 1]}),
    ("smollm3-sliding", {"layer_types": ["full_attention"] * 4}),
    ("mistral-sliding", {"sliding_window": None}),
    ("mistral-sliding", {"sliding_window": 13}),
    ("qwen2-sliding", {"layer_types": ["full_attention"] * 4}),
    ("qwen3-sliding", {"layer_types": ["full_attention"] * 3}),
    ("gemma2-default", {"attn_logit_softcapping": None}),
    ("gemma2-default", {"final_logit_softcapping": None}),
    ("gemma2-default", {"query_pre_attn_scalar": 12}),
    ("gemma2-default", {"layer_types": ["full_attention"] * 4}),
    ("gemma3_text-default", {"rope_parameters": {"full_attention": rope(), "sliding_attention": rope()}}),
    ("gemma3_text-default", {"layer_types": ["full_attention"] * 7}),
    ("phi3-sliding", {"sliding_window": None}),
    ("phi3-longrope-long", {"max_position_embeddings": 32}),
    ("phi3-partial-rotary", {"rope_parameters": rope(partial_rotary_factor=1.0)}),
    ("gpt_neox-parallel", {"use_parallel_residual": False}),
    ("gpt_neox-parallel", {"rope_parameters": rope(partial_rotary_factor=1.0)}),
    ("olmo-clip", {"clip_qkv": None}),
    ("olmo3-default", {"layer_types": ["full_attention"] * 4}),
    ("olmo3-yarn", {"rope_parameters": None}),
    ("granite-default", {"attention_multiplier": 8**-0.5}),
    ("granite-default", {"residual_multiplier": 1.0}),
    ("granite-default", {"embedding_multiplier": 1.0}),
    ("granite-default", {"logits_scaling": 1.0}),
    ("mixtral-sliding", {"sliding_window": None}),
    ("qwen2_moe-dense-layers", {"norm_topk_prob": False}),
    ("qwen2_moe-sliding", {"layer_types": ["full_attention"] * 4}),
    ("qwen3_moe-default", {"norm_topk_prob": False}),
    ("qwen3_moe-sliding", {"sliding_window": None, "use_sliding_window": False}),
    ("olmoe-clip", {"clip_qkv": None}),
    ("deepseek_v2-default", {"routed_scaling_factor": 1.0}),
    ("deepseek_v2-groups", {"topk_method": "greedy"}),
    ("deepseek_v2-yarn-mscale", {"rope_parameters": rope()}),
    ("deepseek_v3-default", {"topk_group": 4}),
    ("deepseek_v3-default", {"rope_interleave": False}),
    ("deepseek_v3-half-split", {"norm_topk_prob": True}),
    ("deepseek_v3-yarn-mscale", {"rope_parameters": rope()}),
    ("llama4_text-default", {"attention_chunk_size": 64}),
    ("llama4_text-default", {"use_qk_norm": False}),
    ("llama4_text-default", {"attn_temperature_tuning": False}),
    ("llama4_text-default", {"num_experts_per_tok": 1}),
    ("gpt_oss-default", {"layer_types": ["full_attention"] * 4}),
    ("gpt_oss-default", {"rope_parameters": rope(theta=150000.0)}),
    ("gpt_oss-small-limit", {"swiglu_limit": 7.0}),
)


@pytest.mark.parametrize(("name", "fields"), LOST, ids=[f"{name}-without-{next(iter(f))}" for name, f in LOST])
def test_a_lost_field_shows(name: str, fields: dict[str, Any], oracles: Oracles) -> None:
    other = with_other_fields(oracles[name], fields)
    assert apart(other.logits, oracles[name].logits) > LARGE
