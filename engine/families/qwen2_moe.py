"""Qwen 1.5 and 2 MoE: experts beside one shared MLP that has a gate of its own; some layers may have a plain MLP.

Facts: transformers ``configuration_qwen2_moe.py`` and ``modeling_qwen2_moe.py``; GGUF architecture ``qwen2moe``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, LayerSpec, MLPSpec, ModelConfig, MoESpec
from engine.dialect import (
    LLAMA_NAMES,
    attention,
    expert_counts,
    gated_mlp,
    layer_count,
    layer_kinds,
    model_config,
    rms_norm,
)
from engine.errors import ConfigError
from engine.families import ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_EXPERT_NAMES
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("qwen2_moe",)
GGUF_ARCHITECTURES = ("qwen2moe",)

# what an absent key means in transformers' Qwen2MoeConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "qkv_bias": True,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "decoder_sparse_step": 1,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
}

EXPERT_NAMES = {
    "router": "mlp.gate",
    "expert_gate": "mlp.experts.{expert}.gate_proj",
    "expert_up": "mlp.experts.{expert}.up_proj",
    "expert_down": "mlp.experts.{expert}.down_proj",
}
NAMES = {
    **LLAMA_NAMES,
    **EXPERT_NAMES,
    "shared_gate_proj": "mlp.shared_expert.gate_proj",
    "shared_up_proj": "mlp.shared_expert.up_proj",
    "shared_down_proj": "mlp.shared_expert.down_proj",
    "shared_gate": "mlp.shared_expert_gate",
}
GGUF_NAMES = COMMON_GGUF_NAMES | GGUF_EXPERT_NAMES


def config(fields: Fields) -> ModelConfig:
    """The specs of a qwen2_moe config.json. Raises ConfigError naming the field at fault."""
    shared = gated_mlp(fields, width="shared_expert_intermediate_size", bias=None)
    mlps = sparse_mlps(fields, shared=shared, shared_gate=True)
    heads = {kind: _attention(fields, kind) for kind in ("full_attention", "sliding_attention")}
    norm = rms_norm(fields)
    layers = [
        LayerSpec(heads[kind], mlp, norm1=norm, norm2=norm) for kind, mlp in zip(_kinds(fields), mlps, strict=True)
    ]
    ropes = {"global": rope_spec(fields, dim=heads["full_attention"].d_head)}
    return model_config(fields, layers, ropes, norm)


def _attention(fields: Fields, kind: str) -> AttentionSpec:
    slides = kind == "sliding_attention" and fields.flag("use_sliding_window")
    window = fields.integer("sliding_window") if slides else None
    fields.get("sliding_window")  # means nothing where no layer slides
    return attention(fields, bias=None, qkv_bias=fields.flag("qkv_bias"), window=window)


def _kinds(fields: Fields) -> list[str]:
    """Of the layers before max_window_layers every other slides, the first one first."""
    count, slide = layer_count(fields), fields.flag("use_sliding_window")
    known = ("full_attention", "sliding_attention")[: 1 + slide]
    listed = layer_kinds(fields, count, known)
    if listed is not None:
        return listed
    last = fields.integer("max_window_layers", least=0)
    return [known[slide and layer % 2 == 0 and layer < last] for layer in range(count)]


def sparse_mlps(fields: Fields, **shared: Any) -> list[MLPSpec | MoESpec]:
    """What each layer has after attention: experts in every ``decoder_sparse_step``-th, but in ``mlp_only_layers``."""
    dense, experts = gated_mlp(fields, bias=None), _experts(fields, shared)
    step, plain = fields.integer("decoder_sparse_step"), _plain_layers(fields)
    return [
        experts if layer not in plain and (layer + 1) % step == 0 else dense for layer in range(layer_count(fields))
    ]


def _experts(fields: Fields, shared: Mapping[str, Any]) -> MoESpec:
    """Softmax over all experts; ``norm_topk_prob`` makes the chosen weights sum to 1."""
    n_experts, top_k = expert_counts(fields, "num_local_experts", "num_experts")
    expert = gated_mlp(fields, width="moe_intermediate_size", bias=None)
    return MoESpec(n_experts, top_k, expert, renormalise=fields.flag("norm_topk_prob"), **shared)


def _plain_layers(fields: Fields) -> list[int]:
    listed = fields.get("mlp_only_layers") or []
    if not isinstance(listed, list) or not all(type(layer) is int for layer in listed):
        raise ConfigError(f"The config says mlp_only_layers = {listed!r:.80}; a list of layer numbers is needed.")
    return listed


GGUF_KEYS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json. Old files leave out the experts' widths."""
    keys = GGUF_KEYS | {"expert_shared_feed_forward_length": "shared_expert_intermediate_size"}
    values = common_values(metadata, read, "qwen2_moe", keys)
    width = values["intermediate_size"]
    values.setdefault("moe_intermediate_size", width // values["num_experts_per_tok"])
    values.setdefault("shared_expert_intermediate_size", width)
    return values
