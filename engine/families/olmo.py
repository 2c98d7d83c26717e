"""OLMo 1: Llama with layer norms that have no weights, queries, keys and values clipped, rope tables in float32.

Facts: transformers ``configuration_olmo.py``, ``modeling_olmo.py``; GGUF architecture ``olmo``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig, NormSpec
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, model_config
from engine.families import ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("olmo",)
GGUF_ARCHITECTURES = ("olmo",)

# what an absent key means in transformers' OlmoConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50304,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rope_theta": 10000.0,
    "eos_token_id": 50279,
}

NAMES = LLAMA_NAMES
GGUF_NAMES = llama.GGUF_NAMES
ignored = llama.ignored

_NORM = NormSpec("layer", eps=1e-5, weight=False)


def config(fields: Fields) -> ModelConfig:
    """The specs of an olmo config.json."""
    heads = attention(fields, clip=fields.optional_number("clip_qkv"))
    layer = LayerSpec(heads, gated_mlp(fields, bias=None), norm1=_NORM, norm2=_NORM)
    ropes = {"global": rope_spec(fields, dim=heads.d_head, precision="promoted")}
    return model_config(fields, [layer] * layer_count(fields), ropes, _NORM)


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "olmo", {"attention.clamp_kqv": "clip_qkv"})
