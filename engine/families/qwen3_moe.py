"""Qwen 3 MoE: Qwen 3's attention with a norm on each query and key head, experts as Qwen 2 MoE without a shared one.

Facts: transformers ``configuration_qwen3_moe.py`` and ``modeling_qwen3_moe.py``; GGUF architecture ``qwen3moe``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig
from engine.dialect import LLAMA_NAMES, attention, model_config, rms_norm
from engine.families import ReadTensor, qwen2_moe
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("qwen3_moe",)
GGUF_ARCHITECTURES = ("qwen3moe",)

# what an absent key means in transformers' Qwen3MoeConfig
DEFAULTS: dict[str, Any] = qwen2_moe.DEFAULTS | {
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}

NAMES = LLAMA_NAMES | qwen2_moe.EXPERT_NAMES
GGUF_NAMES = qwen2_moe.GGUF_NAMES


def config(fields: Fields) -> ModelConfig:
    """The specs of a qwen3_moe config.json. Raises ConfigError naming the field at fault."""
    norm = rms_norm(fields)
    window = fields.optional_integer("sliding_window") if fields.flag("use_sliding_window") else None
    fields.get("sliding_window")  # means nothing unless it is used
    heads = attention(fields, qk_norm=norm, window=window)
    layers = [LayerSpec(heads, mlp, norm1=norm, norm2=norm) for mlp in qwen2_moe.sparse_mlps(fields)]
    return model_config(fields, layers, {"global": rope_spec(fields, dim=heads.d_head)}, norm)


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; published models renormalise, which the file does not say."""
    return common_values(metadata, read, "qwen3_moe", qwen2_moe.GGUF_KEYS) | {"norm_topk_prob": True}
