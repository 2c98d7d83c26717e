"""What most families' config.json say in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import AttentionSpec, LayerSpec, MLPSpec, ModelConfig, NormSpec, RopeSpec
from engine.errors import ConfigError
from engine.fields import Fields

MOST_LAYERS = 1000
MOST_EXPERTS = 10_000

# what a config may call its activation; engine/model/mlp.py has the functions
ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu")

# the names of safetensors that Llama gave and most families kept
LLAMA_NAMES: dict[str, Any] = {
    "embed": "model.embed_tokens",
    "final_norm": "model.norm",
    "unembed": "lm_head",
    "layer": "model.layers.{layer}.",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def model_config(
    fields: Fields,
    layers: Sequence[LayerSpec],
    ropes: Mapping[str, RopeSpec],
    final_norm: NormSpec,
    *,
    n_ctx: int | None = None,
    hidden_size: str = "hidden_size",
    **more: Any,
) -> ModelConfig:
    """The global facts, which nearly every family names alike; ``more`` are further fields of ModelConfig."""
    bos = fields.token_ids("bos_token_id")
    return ModelConfig(
        family=fields.text("model_type"),
        d_model=fields.integer(hidden_size),
        d_vocab=fields.integer("vocab_size"),
        n_ctx=context(ropes["global"]) if n_ctx is None else n_ctx,
        layers=tuple(layers),
        ropes=ropes,
        final_norm=final_norm,
        tied=fields.flag("tie_word_embeddings"),
        bos_token_id=bos[0] if bos else None,
        eos_token_ids=fields.token_ids("eos_token_id"),
        **more,
    )


def context(rope: RopeSpec) -> int:
    """Dynamic scaling leaves the trained context as it is in the config and reaches ``factor`` times as far."""
    return int(rope.n_ctx * rope.factor) if rope.scaling == "dynamic" else rope.n_ctx


def layer_count(fields: Fields, key: str = "num_hidden_layers") -> int:
    count = fields.integer(key)
    if count > MOST_LAYERS:
        raise ConfigError(f"The config says {key} = {count}; no model has that many layers.")
    return count


def expert_counts(fields: Fields, *names: str) -> tuple[int, int]:
    """(n_experts, top_k); ``names`` are those that files give the number of experts, best first."""
    n_experts = fields.integer(fields.given(*names), most=MOST_EXPERTS)
    return n_experts, fields.integer("num_experts_per_tok", most=n_experts)


def head_counts(
    fields: Fields,
    *,
    heads: str = "num_attention_heads",
    kv_heads: str = "num_key_value_heads",
    hidden_size: str = "hidden_size",
    head_dim: str = "head_dim",
) -> tuple[int, int, int]:
    """(n_heads, n_kv_heads, d_head); null key/value heads: as many as query heads; no head_dim: d_model / n_heads."""
    n_heads = fields.integer(heads)
    n_kv_heads = fields.integer(kv_heads) if fields.has(kv_heads) else n_heads
    if n_heads % n_kv_heads:
        raise ConfigError(f"The config has {n_heads} query heads for {n_kv_heads} key/value heads: not a multiple.")
    d_model = fields.integer(hidden_size)
    if not fields.has(head_dim) and d_model % n_heads:
        raise ConfigError(f"The config has no {head_dim} and {d_model} does not divide into {n_heads} heads.")
    return n_heads, n_kv_heads, fields.integer(head_dim) if fields.has(head_dim) else d_model // n_heads


def attention(
    fields: Fields, *, bias: str | None = "attention_bias", rope: str | None = "global", **more: Any
) -> AttentionSpec:
    """Attention as Llama's: scale 1 / sqrt(d_head), one field for all biases (None: there are none).

    ``more`` are further fields of AttentionSpec, or replace those.
    """
    n_heads, n_kv_heads, d_head = head_counts(fields)
    if rope is not None and d_head % 2:
        raise ConfigError(f"The head size {d_head} is odd; rotary positions need an even one.")
    biased = bias is not None and fields.flag(bias)
    given = {"scale": d_head**-0.5, "qkv_bias": biased, "out_bias": biased, **more}
    return AttentionSpec(n_heads, n_kv_heads, d_head, rope=rope, **given)


def activation(fields: Fields, key: str) -> str:
    """The name of a function; refused here, where the field is known, rather than when the decoder is built."""
    fields.text(key)
    return fields.one_of(key, ACTIVATIONS)


def gated_mlp(
    fields: Fields,
    *,
    width: str = "intermediate_size",
    act: str = "hidden_act",
    bias: str | None = "mlp_bias",
) -> MLPSpec:
    """A gated MLP as Llama's."""
    return MLPSpec(fields.integer(width), activation(fields, act), bias=bias is not None and fields.flag(bias))


def rms_norm(fields: Fields, key: str = "rms_norm_eps", **more: Any) -> NormSpec:
    return NormSpec("rms", fields.number(key), **more)


def layer_norm(fields: Fields, key: str = "layer_norm_eps", **more: Any) -> NormSpec:
    """torch's nn.LayerNorm: in the model's type, weight and bias before half precision is rounded."""
    return NormSpec("layer", fields.number(key), **{"bias": True, "float32": False, "weight_first": True, **more})


def layer_kinds(fields: Fields, n_layers: int, kinds: tuple[str, ...]) -> list[str] | None:
    """``layer_types``, one of ``kinds`` for every layer; None where the file does not list them."""
    if not fields.has("layer_types"):
        return None
    listed = fields.per_layer("layer_types", n_layers)
    unknown = [kind for kind in listed if kind not in kinds]
    if unknown:
        raise ConfigError(f"The config's layer_types name {unknown[0]!r:.80}; supported are {', '.join(kinds)}.")
    return listed
