"""OLMoE: Llama's blocks with experts in every layer, queries and keys normalised over all heads together, then clipped.

Facts: transformers ``configuration_olmoe.py`` and ``modeling_olmoe.py``; GGUF architecture ``olmoe``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig, MoESpec
from engine.dialect import LLAMA_NAMES, attention, expert_counts, gated_mlp, layer_count, model_config, rms_norm
from engine.families import ReadTensor, qwen2_moe
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("olmoe",)
GGUF_ARCHITECTURES = ("olmoe",)

# what an absent key means in transformers' OlmoeConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50304,
    "hidden_size": 2048,
    "intermediate_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "eos_token_id": 50279,
    "num_experts": 64,
    "num_experts_per_tok": 8,
}

NAMES = LLAMA_NAMES | qwen2_moe.EXPERT_NAMES
GGUF_NAMES = qwen2_moe.GGUF_NAMES


def config(fields: Fields) -> ModelConfig:
    """The specs of an olmoe config.json. Raises ConfigError naming the field at fault."""
    norm = rms_norm(fields)
    heads = attention(fields, qk_norm=norm, qk_norm_over="all", clip=fields.optional_number("clip_qkv"))
    layer = LayerSpec(heads, _experts(fields), norm1=norm, norm2=norm)
    return model_config(fields, [layer] * layer_count(fields), {"global": rope_spec(fields, dim=heads.d_head)}, norm)


def _experts(fields: Fields) -> MoESpec:
    """Softmax over all experts; ``intermediate_size`` is the width of each."""
    n_experts, top_k = expert_counts(fields, "num_local_experts", "num_experts")
    return MoESpec(n_experts, top_k, gated_mlp(fields, bias=None), renormalise=fields.flag("norm_topk_prob"))


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "olmoe", qwen2_moe.GGUF_KEYS)
