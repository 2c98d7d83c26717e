"""Gemma 2: norms before and after each part, capped scores and logits, and a window on every other layer.

Facts: transformers ``configuration_gemma2.py`` and ``modeling_gemma2.py``; GGUF architecture ``gemma2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, LayerSpec, ModelConfig
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, layer_kinds, model_config
from engine.families import ReadTensor, gemma
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("gemma2",)
GGUF_ARCHITECTURES = ("gemma2",)

# what an absent key means in transformers' Gemma2Config
DEFAULTS: dict[str, Any] = gemma.DEFAULTS | {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}
KINDS = ("full_attention", "sliding_attention")
LAYERS_27B = 46

# post_attention_layernorm stands behind attention here, not before the MLP
NAMES = LLAMA_NAMES | {
    "norm1_post": "post_attention_layernorm",
    "norm2": "pre_feedforward_layernorm",
    "norm2_post": "post_feedforward_layernorm",
}
SANDWICH = COMMON_GGUF_NAMES | {"norm1_post": "post_attention_norm", "norm2_post": "post_ffw_norm"}
GGUF_NAMES = gemma.with_added_one(SANDWICH, "norm1_post", "norm2_post")

ignored = gemma.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a gemma2 config.json. Raises ConfigError naming the field at fault."""
    count = layer_count(fields)
    kinds = layer_kinds(fields, count, KINDS) or [KINDS[(layer + 1) % 2] for layer in range(count)]
    cap = fields.optional_number("attn_logit_softcapping")
    heads = {kind: windowed(fields, kind, softcap=cap) for kind in KINDS}
    ropes = {"global": rope_spec(fields, dim=heads["full_attention"].d_head)}
    return sandwiched(fields, [heads[kind] for kind in kinds], ropes)


def windowed(fields: Fields, kind: str, **more: Any) -> AttentionSpec:
    """Attention of one kind of layer; scores are scaled by a number that need not be the head's size."""
    window = fields.optional_integer("sliding_window") if kind == "sliding_attention" else None
    return attention(fields, scale=fields.number("query_pre_attn_scalar") ** -0.5, window=window, **more)


def sandwiched(fields: Fields, heads: list[AttentionSpec], ropes: Mapping[str, Any]) -> ModelConfig:
    """Layers with a norm before and after each part, from the attention of each layer."""
    norm, mlp = gemma.gemma_norm(fields), gated_mlp(fields, act="hidden_activation", bias=None)
    layers = [LayerSpec(spec, mlp, norm1=norm, norm1_post=norm, norm2=norm, norm2_post=norm) for spec in heads]
    cap = fields.optional_number("final_logit_softcapping")
    return model_config(fields, layers, ropes, norm, logits_softcap=cap, **gemma.scaled_embedding(fields))


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    keys = {
        "attention.sliding_window": "sliding_window",
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
    }
    return implied_scale(common_values(metadata, read, "gemma2", keys), LAYERS_27B)


def implied_scale(values: dict[str, Any], layers_27b: int) -> dict[str, Any]:
    """The file does not hold the scale: that of the 27B model is known by its layers, all others take the head's."""
    even_share = values["hidden_size"] // values["num_attention_heads"]
    is_27b = values["num_hidden_layers"] == layers_27b
    return values | {"query_pre_attn_scalar": even_share if is_27b else values.get("head_dim", even_share)}
