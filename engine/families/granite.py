"""Granite 3: Llama with four multipliers: of the embedding, of the scores, of what a layer adds, and under the logits.

Facts: transformers ``configuration_granite.py``, ``modeling_granite.py``; GGUF architecture ``granite``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, model_config, rms_norm
from engine.families import ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("granite",)
GGUF_ARCHITECTURES = ("granite",)

# what an absent key means in transformers' GraniteConfig
DEFAULTS: dict[str, Any] = llama.DEFAULTS | {
    "embedding_multiplier": 1.0,
    "attention_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "logits_scaling": 1.0,
}

NAMES = LLAMA_NAMES
GGUF_NAMES = llama.GGUF_NAMES
ignored = llama.ignored

GGUF_SCALES = {
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
}


def config(fields: Fields) -> ModelConfig:
    """The specs of a granite config.json."""
    heads = attention(fields, scale=fields.number("attention_multiplier"))
    norm, added = rms_norm(fields), fields.number("residual_multiplier")
    layer = LayerSpec(heads, gated_mlp(fields), norm1=norm, norm2=norm, residual_scale=added)
    rope = llama.with_divisors(fields, rope_spec(fields, dim=heads.d_head))
    return model_config(fields, [layer] * layer_count(fields), {"global": rope}, norm, **multipliers(fields))


def multipliers(fields: Fields) -> dict[str, Any]:
    """Those of the whole model, as fields of ModelConfig."""
    return {
        "embed_scale": fields.number("embedding_multiplier"),
        "logits_divisor": fields.number("logits_scaling"),
    }


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    values = common_values(metadata, read, "granite", GGUF_SCALES)
    return {"attention_multiplier": implied_scale(values)} | values | llama.gguf_biases(read)


def implied_scale(values: Mapping[str, Any]) -> float:
    """A GGUF file without ``attention.scale`` means 1 / sqrt(d_head), whatever a config.json without it means."""
    return float(values["hidden_size"] // values["num_attention_heads"]) ** -0.5
