"""Granite MoE, with and without a shared MLP: Llama's blocks with experts and four multipliers.

Facts: transformers ``configuration_granitemoe.py``, ``configuration_granitemoeshared.py`` and their models; GGUF
architecture ``granitemoe``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, LayerSpec, ModelConfig, MoESpec
from engine.dialect import LLAMA_NAMES, attention, expert_counts, gated_mlp, layer_count, model_config, rms_norm
from engine.families import ReadTensor, granite, llama
from engine.fields import Fields
from engine.gguf_dialect import GGUF_EXPERT_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("granitemoe", "granitemoeshared")
GGUF_ARCHITECTURES = ("granitemoe",)

# what an absent key means in transformers' GraniteMoeConfig and GraniteMoeSharedConfig
DEFAULTS: dict[str, Any] = llama.DEFAULTS | {
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "attention_multiplier": 1.0,
    "logits_scaling": 1.0,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "shared_intermediate_size": 0,
}

NAMES = LLAMA_NAMES | {
    "router": "block_sparse_moe.router.layer",
    "expert_gate_up": "block_sparse_moe.input_linear",
    "expert_down": "block_sparse_moe.output_linear",
    "shared_gate_up_proj": "shared_mlp.input_linear",
    "shared_down_proj": "shared_mlp.output_linear",
}
GGUF_NAMES = llama.GGUF_NAMES | GGUF_EXPERT_NAMES
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a granitemoe or granitemoeshared config.json. Raises ConfigError naming the field at fault."""
    heads, norm = _attention(fields), rms_norm(fields)
    scale = _multiplier(fields, "residual_multiplier")
    layer = LayerSpec(heads, _experts(fields), norm1=norm, norm2=norm, residual_scale=scale)
    ropes = {"global": llama.with_divisors(fields, rope_spec(fields, dim=heads.d_head))}
    return model_config(
        fields,
        [layer] * layer_count(fields),
        ropes,
        norm,
        embed_scale=_multiplier(fields, "embedding_multiplier"),
        logits_divisor=_multiplier(fields, "logits_scaling"),
    )


def _attention(fields: Fields) -> AttentionSpec:
    """``attention_multiplier`` takes the place of 1 / √d_head."""
    scale = fields.optional_number("attention_multiplier")
    return attention(fields) if scale is None else attention(fields, scale=scale)


def _multiplier(fields: Fields, key: str) -> float:
    return fields.number(key) if fields.has(key) else 1.0


def _experts(fields: Fields) -> MoESpec:
    """The highest logits are chosen, and softmax is taken over these alone."""
    n_experts, top_k = expert_counts(fields, "num_local_experts")
    width = "shared_intermediate_size"
    shared = gated_mlp(fields, width=width, bias=None) if fields.integer(width, least=0) else None
    return MoESpec(n_experts, top_k, gated_mlp(fields, bias=None), score_chosen=True, shared=shared)


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; without a scale of its own attention takes 1 / √d_head."""
    keys = granite.GGUF_SCALES | {
        "expert_count": "num_local_experts",
        "expert_used_count": "num_experts_per_tok",
        "expert_shared_feed_forward_length": "shared_intermediate_size",
    }
    values = {"attention_multiplier": None} | common_values(metadata, read, "granitemoe", keys)
    shared = values.get("shared_intermediate_size")
    return values | {"model_type": "granitemoeshared"} if shared else values
