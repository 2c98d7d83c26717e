"""Gemma 1: Llama with wide heads, norms that multiply with 1 + weight, and a scaled embedding.

Facts: transformers ``configuration_gemma.py`` and ``modeling_gemma.py``; GGUF architecture ``gemma``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, MLPSpec, ModelConfig, NormSpec
from engine.dialect import LLAMA_NAMES, activation, attention, layer_count, model_config, rms_norm
from engine.families import ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Names, Stored
from engine.rope_fields import rope_spec

MODEL_TYPES = ("gemma",)
GGUF_ARCHITECTURES = ("gemma",)

# what an absent key means in transformers' GemmaConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 256000,
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
TANH = "gelu_pytorch_tanh"

NAMES = LLAMA_NAMES


def config(fields: Fields) -> ModelConfig:
    """The specs of a gemma config.json. Raises ConfigError naming the field at fault."""
    heads, norm = attention(fields), gemma_norm(fields)
    layer = LayerSpec(heads, _mlp(fields), norm1=norm, norm2=norm)
    ropes = {"global": rope_spec(fields, dim=heads.d_head)}
    return model_config(fields, [layer] * layer_count(fields), ropes, norm, **scaled_embedding(fields))


def _mlp(fields: Fields) -> MLPSpec:
    """The first files say gelu and were trained with its tanh form."""
    named = activation(fields, "hidden_act")
    return MLPSpec(fields.integer("intermediate_size"), TANH if named == "gelu" else named)


def gemma_norm(fields: Fields) -> NormSpec:
    """x / rms(x) · (1 + weight) in float32, cast back once."""
    return rms_norm(fields, offset=1.0, weight_first=True)


def scaled_embedding(fields: Fields) -> dict[str, Any]:
    """The embedding times √d_model, a factor that is rounded to the weights' type first."""
    return {"embed_scale": fields.integer("hidden_size") ** 0.5, "embed_scale_rounded": True}


def with_added_one(names: Mapping[str, Any], *norms: str) -> Names:
    """GGUF files hold norms as 1 + weight."""
    return {**names, **{norm: Stored(names[norm], added=1.0) for norm in ("norm1", "norm2", "final_norm", *norms)}}


GGUF_NAMES = with_added_one(COMMON_GGUF_NAMES)


def ignored(name: str) -> bool:
    """Old files carry rotary tables, tied files a second copy of the embedding."""
    return name.endswith("rotary_emb.inv_freq") or name in ("lm_head.weight", "output.weight")


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "gemma")
