"""Mistral: Llama with a sliding window on every layer (v0.1) or none (v0.2 and later).

Facts: transformers ``configuration_mistral.py``. GGUF stores it as architecture ``llama``, without its window.
"""

from __future__ import annotations

from typing import Any

from engine.config import LayerSpec, ModelConfig
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, model_config, rms_norm
from engine.families import llama
from engine.fields import Fields
from engine.rope_fields import rope_spec

MODEL_TYPES = ("mistral",)

DEFAULTS: dict[str, Any] = llama.DEFAULTS | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096 * 32,
    "sliding_window": 4096,
}

NAMES = LLAMA_NAMES
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a mistral config.json."""
    heads = attention(fields, bias=None, window=fields.optional_integer("sliding_window"))
    norm = rms_norm(fields)
    layer = LayerSpec(heads, gated_mlp(fields, bias=None), norm1=norm, norm2=norm)
    ropes = {"global": rope_spec(fields, dim=heads.d_head)}
    return model_config(fields, [layer] * layer_count(fields), ropes, norm)
