"""Qwen 2 and 2.5: Llama with biases on queries, keys and values; the upper layers may slide.

Facts: transformers ``configuration_qwen2.py``, ``modeling_qwen2.py``; GGUF architecture ``qwen2``, without its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig
from engine.dialect import (
    LLAMA_NAMES,
    attention,
    gated_mlp,
    head_counts,
    layer_count,
    layer_kinds,
    model_config,
    rms_norm,
)
from engine.errors import ConfigError
from engine.families import ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("qwen2",)
GGUF_ARCHITECTURES = ("qwen2",)

# what an absent key means in transformers' Qwen2Config
DEFAULTS: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "max_window_layers": 28,
}

NAMES = LLAMA_NAMES
GGUF_NAMES = COMMON_GGUF_NAMES
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a qwen2 config.json."""
    norm, mlp = rms_norm(fields), gated_mlp(fields, bias=None)
    layers = [
        LayerSpec(attention(fields, bias=None, qkv_bias=True, window=window), mlp, norm1=norm, norm2=norm)
        for window in windows(fields)
    ]
    ropes = {"global": rope_spec(fields, dim=head_counts(fields)[2])}
    return model_config(fields, layers, ropes, norm)


def windows(fields: Fields) -> list[int | None]:
    """Per layer how many keys a query sees, None for all: layers from ``max_window_layers`` on slide, if any do."""
    n_layers, first = layer_count(fields), fields.integer("max_window_layers", least=0)
    used = fields.has("sliding_window") and fields.flag("use_sliding_window")  # files name a window that none uses
    window = fields.integer("sliding_window") if used else None
    kinds = layer_kinds(fields, n_layers, ("full_attention", "sliding_attention"))
    if kinds is None:
        return [window if layer >= first else None for layer in range(n_layers)]
    if window is None and "sliding_attention" in kinds:
        raise ConfigError(
            "The config's layer_types name sliding_attention, but use_sliding_window or its size is not set."
        )
    return [window if kind == "sliding_attention" else None for kind in kinds]


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "qwen2")
