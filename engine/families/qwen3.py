"""Qwen 3: Qwen 2 without its biases, each head of queries and keys normalised before rope.

Facts: transformers ``configuration_qwen3.py``, ``modeling_qwen3.py``; GGUF architecture ``qwen3``, without its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, head_counts, model_config, rms_norm
from engine.families import ReadTensor, llama, qwen2
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("qwen3",)
GGUF_ARCHITECTURES = ("qwen3",)

# what an absent key means in transformers' Qwen3Config
DEFAULTS: dict[str, Any] = qwen2.DEFAULTS | {"head_dim": 128}

NAMES = LLAMA_NAMES
GGUF_NAMES = COMMON_GGUF_NAMES
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a qwen3 config.json."""
    norm, mlp = rms_norm(fields), gated_mlp(fields, bias=None)
    layers = [
        LayerSpec(attention(fields, qk_norm=norm, window=window), mlp, norm1=norm, norm2=norm)
        for window in qwen2.windows(fields)
    ]
    ropes = {"global": rope_spec(fields, dim=head_counts(fields)[2])}
    return model_config(fields, layers, ropes, norm)


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "qwen3")
