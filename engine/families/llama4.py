"""Llama 4's language model, alone or inside the multimodal one: three layers that turn positions and look within a
chunk, then one that does neither; experts whose input is weighed.

Facts: transformers ``configuration_llama4.py`` and ``modeling_llama4.py``; GGUF architecture ``llama4``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, LayerSpec, ModelConfig, MoESpec
from engine.dialect import (
    LLAMA_NAMES,
    attention,
    expert_counts,
    gated_mlp,
    layer_count,
    layer_kinds,
    model_config,
    rms_norm,
)
from engine.errors import ConfigError
from engine.families import ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import GGUF_EXPERT_NAMES
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Stored
from engine.rope_fields import rope_spec

MODEL_TYPES = ("llama4_text",)
WRAPPERS = ("llama4",)
GGUF_ARCHITECTURES = ("llama4",)

# what an absent key means in transformers' Llama4TextConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 202048,
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 4096 * 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "use_qk_norm": True,
    "no_rope_layer_interval": 4,
    "attention_chunk_size": 8192,
    "attn_temperature_tuning": True,
    "floor_scale": 8192,
    "attn_scale": 0.1,
}

_KINDS = ("full_attention", "chunked_attention")
_MANY_EXPERTS = 128  # Maverick's many go without norms of queries and keys; a GGUF file does not say it

NAMES: dict[str, Any] = LLAMA_NAMES | {
    "gate": "feed_forward.gate_proj",
    "up": "feed_forward.up_proj",
    "down": "feed_forward.down_proj",
    "router": "feed_forward.router",
    "expert_gate_up": Stored("feed_forward.experts.gate_up_proj", exact=True, transposed=True),
    "expert_down": Stored("feed_forward.experts.down_proj", exact=True, transposed=True),
    "shared_gate_proj": "feed_forward.shared_expert.gate_proj",
    "shared_up_proj": "feed_forward.shared_expert.up_proj",
    "shared_down_proj": "feed_forward.shared_expert.down_proj",
}

GGUF_NAMES: dict[str, Any] = COMMON_GGUF_NAMES | GGUF_EXPERT_NAMES


def config(fields: Fields) -> ModelConfig:
    """The specs of a llama4_text config.json. Raises ConfigError naming the field at fault."""
    n_layers, norm = layer_count(fields), rms_norm(fields)
    attentions, routed = _attentions(fields, n_layers), _routed_layers(fields, n_layers)
    dense = gated_mlp(fields, width="intermediate_size_mlp", bias=None)
    experts = _experts(fields) if routed else dense
    fields.get("num_local_experts")  # a model without routed layers may name some
    layers = [
        LayerSpec(each, experts if layer in routed else dense, norm1=norm, norm2=norm)
        for layer, each in enumerate(attentions)
    ]
    d_head = layers[0].attention.d_head
    rope = llama.with_divisors(fields, rope_spec(fields, d_head, interleaved=True, precision="complex"))
    return model_config(fields, layers, {"global": rope}, norm)


def _attentions(fields: Fields, n_layers: int) -> list[AttentionSpec]:
    """``no_rope_layers`` says 1 where a layer HAS rope; without ``layer_types`` those are the chunked ones."""
    interval = fields.integer("no_rope_layer_interval")
    default = [int((layer + 1) % interval != 0) for layer in range(n_layers)]
    turned = fields.per_layer("no_rope_layers", n_layers) if fields.get("no_rope_layers") else default
    kinds = layer_kinds(fields, n_layers, _KINDS) or [_KINDS[bool(turns)] for turns in turned]
    return [_attention(fields, bool(turns), kind) for turns, kind in zip(turned, kinds, strict=True)]


def _attention(fields: Fields, turns: bool, kind: str) -> AttentionSpec:
    """With rope: queries and keys normalised after it, without weights. Without: a temperature by position."""
    chunk = fields.optional_integer("attention_chunk_size")
    temperature = (fields.number("attn_scale"), fields.number("floor_scale"))
    return attention(
        fields,
        rope="global" if turns else None,
        chunk=chunk if kind == "chunked_attention" else None,
        qk_norm=rms_norm(fields, weight=False) if turns and fields.flag("use_qk_norm") else None,
        qk_norm_over="rotated",
        temperature=temperature if not turns and fields.get("attn_temperature_tuning") else None,
        softmax_float32=False,
    )


def _routed_layers(fields: Fields, n_layers: int) -> set[int]:
    listed = fields.get("moe_layers")
    if listed is None:
        step = fields.integer("interleave_moe_layer_step")
        return set(range(step - 1, n_layers, step))
    if not isinstance(listed, list) or not all(type(layer) is int and 0 <= layer < n_layers for layer in listed):
        raise ConfigError(f"The config says moe_layers = {listed!r:.80}; numbers of the {n_layers} layers are needed.")
    return set(listed)


def _experts(fields: Fields) -> MoESpec:
    expert = gated_mlp(fields, bias=None)
    n_experts, top_k = expert_counts(fields, "num_local_experts")
    return MoESpec(
        n_experts=n_experts,
        top_k=top_k,
        expert=expert,
        score="sigmoid",
        score_chosen=True,
        scale_input=True,
        shared=expert,
    )


def canonical(name: str) -> str:
    """The multimodal model keeps the language model under a prefix."""
    return name.removeprefix("language_model.")


def ignored(name: str) -> bool:
    """What sees is no part of the decoder."""
    return llama.ignored(name) or name.startswith(("vision_model.", "multi_modal_projector."))


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json. Chunks, temperature and rope's layers are those of every Llama 4;
    a sliding window of 0 says that all layers have rope and see everything."""
    keys = {
        "expert_count": "num_local_experts",
        "expert_used_count": "num_experts_per_tok",
        "interleave_moe_layer_step": "interleave_moe_layer_step",
    }
    values: dict[str, Any] = {"hidden_act": "silu"} | common_values(metadata, read, "llama4_text", keys)
    values["intermediate_size_mlp"] = values.get("intermediate_size")
    values["intermediate_size"] = metadata.get("llama4.expert_feed_forward_length")
    values["use_qk_norm"] = values.get("num_local_experts") != _MANY_EXPERTS
    values["attention_bias"] = read("blk.0.attn_q.bias") is not None
    if not values.get("num_local_experts") or not values.get("interleave_moe_layer_step", 1):
        values["moe_layers"] = []
    if metadata.get("llama4.attention.sliding_window") == 0:
        n_layers = values["num_hidden_layers"]
        values |= {"no_rope_layers": [1] * n_layers, "layer_types": ["full_attention"] * n_layers}
    return values
