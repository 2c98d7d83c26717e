"""Phi-3, 3.5, 4 and 4-mini: Llama with fused maps, longrope, and rope over a part of each head.

Facts: transformers ``configuration_phi3.py``, ``modeling_phi3.py``; GGUF architecture ``phi3``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, ModelConfig, RopeSpec
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, model_config, rms_norm
from engine.families import ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec, rope_table, rotary_dim

MODEL_TYPES = ("phi3",)
GGUF_ARCHITECTURES = ("phi3",)

# what an absent key means in transformers' Phi3Config
DEFAULTS: dict[str, Any] = {
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 32000,
}

NAMES = LLAMA_NAMES | {"qkv": "self_attn.qkv_proj", "gate_up": "mlp.gate_up_proj"}
GGUF_NAMES = COMMON_GGUF_NAMES | {"qkv": "attn_qkv", "gate_up": "ffn_up"}

_ROPE_TYPES = {"default": "default", "longrope": "longrope", "su": "longrope", "yarn": "longrope"}
_GGUF_KEYS = {
    "attention.sliding_window": "sliding_window",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
}


def config(fields: Fields) -> ModelConfig:
    """The specs of a phi3 config.json."""
    heads = attention(fields, bias=None, window=fields.optional_integer("sliding_window"))
    norm = rms_norm(fields)
    layer = LayerSpec(heads, gated_mlp(fields, bias=None), norm1=norm, norm2=norm)
    return model_config(fields, [layer] * layer_count(fields), {"global": _rope(fields, heads.d_head)}, norm)


def _rope(fields: Fields, d_head: int) -> RopeSpec:
    """The first files call longrope "su" or "yarn"."""
    table = rope_table(fields)
    named = Fields({"rope_type": table.get("rope_type", table.get("type", "default"))}, {})
    kind = _ROPE_TYPES[named.one_of("rope_type", tuple(_ROPE_TYPES))]
    return rope_spec(fields, dim=rotary_dim(fields, d_head), table=table | {"rope_type": kind}, partial=True)


def ignored(name: str) -> bool:
    """The factors of longrope are tensors of GGUF files; they are read with the metadata."""
    return name.startswith("rope_factors_") or llama.ignored(name)


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; tensors of factors mean longrope, a window of 0 means none."""
    values = common_values(metadata, read, "phi3", _GGUF_KEYS)
    values["sliding_window"] = values.get("sliding_window") or None
    values["partial_rotary_factor"] = _rotary_share(metadata, values)
    factors = {kind: read(f"rope_factors_{kind}.weight") for kind in ("long", "short")}
    if any(factors.values()):
        table = {"rope_type": "longrope", "attention_factor": metadata.get("phi3.rope.scaling.attn_factor")}
        values["rope_scaling"] = table | {f"{kind}_factor": list(found or ()) for kind, found in factors.items()}
    return values


def _rotary_share(metadata: Mapping[str, Any], values: Mapping[str, Any]) -> float:
    d_head = values["hidden_size"] // values["num_attention_heads"]
    return metadata.get("phi3.rope.dimension_count", d_head) / d_head
