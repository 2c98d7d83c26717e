"""Falcon: 7B (one key/value head), 40B, 180B and 11B (the newer architecture), RW (ALiBi, one part after the other).

Facts: transformers ``configuration_falcon.py`` and ``modeling_falcon.py``; GGUF architecture ``falcon``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, LayerSpec, MLPSpec, ModelConfig
from engine.dialect import activation, context, head_counts, layer_count, layer_norm, model_config
from engine.families import Has, ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Names, Stored, grouped_qkv
from engine.rope_fields import rope_spec

MODEL_TYPES = ("falcon",)
GGUF_ARCHITECTURES = ("falcon",)

# what an absent key means in transformers' FalconConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 65024,
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "layer_norm_epsilon": 1e-5,
    "multi_query": True,
    "parallel_attn": True,
    "max_position_embeddings": 2048,
    "rope_theta": 10000.0,
    "activation": "gelu",
    "tie_word_embeddings": True,
    "bos_token_id": 11,
    "eos_token_id": 11,
}

_NAMES: dict[str, Any] = {
    "embed": "transformer.word_embeddings",
    "final_norm": "transformer.ln_f",
    "unembed": "lm_head",
    "layer": "transformer.h.{layer}.",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "qkv": Stored("self_attention.query_key_value", regroup=grouped_qkv),
    "out": "self_attention.dense",
    "up": "mlp.dense_h_to_4h",
    "down": "mlp.dense_4h_to_h",
}
_TWO_NORMS = {"norm1": "ln_attn", "norm2": "ln_mlp"}
_GGUF_NAMES = COMMON_GGUF_NAMES | {"qkv": "attn_qkv"}
_GGUF_TWO_NORMS = {"norm1": "attn_norm_2", "norm2": "attn_norm"}


def config(fields: Fields) -> ModelConfig:
    """The specs of a falcon config.json. Raises ConfigError naming the field at fault."""
    heads = _attention(fields)
    rope = rope_spec(fields, dim=heads.d_head)
    layer = _layer(fields, heads)
    assert layer.norm1 is not None
    ropes = {} if heads.alibi else {"global": rope}
    return model_config(fields, [layer] * layer_count(fields), ropes, layer.norm1, n_ctx=context(rope))


def _attention(fields: Fields) -> AttentionSpec:
    n_heads, n_kv_heads, d_head = head_counts(fields, kv_heads="num_kv_heads")
    if not fields.flag("new_decoder_architecture"):  # num_kv_heads means nothing then
        n_kv_heads = 1 if fields.flag("multi_query") else n_heads
    alibi, bias = fields.flag("alibi"), fields.flag("bias")
    return AttentionSpec(
        n_heads,
        n_kv_heads,
        d_head,
        scale=d_head**-0.5,
        rope=None if alibi else "global",
        qkv_bias=bias,
        out_bias=bias,
        alibi=alibi,
        softmax_float32=False,
    )


def _layer(fields: Fields, heads: AttentionSpec) -> LayerSpec:
    """Two norms in a row, side by side, or one that both parts read."""
    new = fields.flag("new_decoder_architecture")
    parallel = fields.flag("parallel_attn") or new
    norms = fields.one_of("num_ln_in_parallel_attn", (None, 1, 2))
    two = not parallel or (new and norms != 1)
    norm = layer_norm(fields, "layer_norm_epsilon")
    width = fields.optional_integer("ffn_hidden_size") or 4 * fields.integer("hidden_size")
    mlp = MLPSpec(width, activation(fields, "activation"), bias=fields.flag("bias"), gated=False)
    return LayerSpec(heads, mlp, norm1=norm, norm2=norm if two else None, parallel=parallel)


def names(config: ModelConfig, has: Has) -> Names:
    """Norms side by side have names of their own."""
    return _NAMES | (_TWO_NORMS if _side_by_side(config) else {})


def gguf_names(config: ModelConfig, has: Has) -> Names:
    """Of norms side by side the MLP's has the name that a single one has."""
    return _GGUF_NAMES | (_GGUF_TWO_NORMS if _side_by_side(config) else {})


def _side_by_side(config: ModelConfig) -> bool:
    return config.layers[0].parallel and config.layers[0].norm2 is not None


def ignored(name: str) -> bool:
    """Tied files may carry a second copy of the embedding."""
    return name in ("lm_head.weight", "output.weight") or name.endswith("rotary_emb.inv_freq")


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; a 7B is one of the newer architecture with one key/value head."""
    keys = {
        "attention.head_count_kv": "num_kv_heads",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
        "feed_forward_length": "ffn_hidden_size",
    }
    norms = 1 if read("blk.0.attn_norm_2.weight") is None else 2
    newer = {"new_decoder_architecture": True, "num_ln_in_parallel_attn": norms}
    return common_values(metadata, read, "falcon", keys) | newer
