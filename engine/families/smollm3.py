"""SmolLM3: Llama with rope left out of every fourth layer.

Facts: transformers ``configuration_smollm3.py``. GGUF implies the fourth layer and holds no window.
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
from engine.families import ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("smollm3",)
GGUF_ARCHITECTURES = ("smollm3",)

# what an absent key means in transformers' SmolLM3Config
DEFAULTS: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 2_000_000.0,
    "no_rope_layer_interval": 4,
    "tie_word_embeddings": True,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
}

NAMES = LLAMA_NAMES
GGUF_NAMES = llama.GGUF_NAMES
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a smollm3 config.json."""
    norm, mlp = rms_norm(fields), gated_mlp(fields)
    turned = _turned(fields)
    layers = []
    for turns, window in zip(turned, _windows(fields, turned), strict=True):
        heads = attention(fields, rope="global" if turns else None, window=window)
        layers.append(LayerSpec(heads, mlp, norm1=norm, norm2=norm))
    rope = llama.with_divisors(fields, rope_spec(fields, dim=head_counts(fields)[2]))
    return model_config(fields, layers, {"global": rope}, norm)


def _turned(fields: Fields) -> list[bool]:
    """Which layers have rope; ``no_rope_layers`` says 1 where there is one."""
    n_layers, interval = layer_count(fields), fields.integer("no_rope_layer_interval")
    if fields.has("no_rope_layers"):
        return [bool(turns) for turns in fields.per_layer("no_rope_layers", n_layers)]
    return [(layer + 1) % interval != 0 for layer in range(n_layers)]


def _windows(fields: Fields, turned: list[bool]) -> list[int | None]:
    """Layers without rope slide, where the file names a window and says that it is used."""
    slides = fields.flag("use_sliding_window") and fields.has("sliding_window")
    kinds = layer_kinds(fields, len(turned), ("full_attention", "sliding_attention"))
    sliding = [slides and not turns for turns in turned] if kinds is None else [kind[0] == "s" for kind in kinds]
    return [fields.integer("sliding_window") if each else None for each in sliding]


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "smollm3") | llama.gguf_biases(read)
