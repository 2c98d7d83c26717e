"""GPT-2: learned positions, LayerNorm, plain MLP, biases everywhere; weights stored input first.

Facts: transformers ``configuration_gpt2.py`` and ``modeling_gpt2.py``; GGUF architecture ``gpt2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import AttentionSpec, LayerSpec, MLPSpec, ModelConfig
from engine.dialect import activation, head_counts, layer_count, layer_norm, model_config
from engine.families import ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Stored

MODEL_TYPES = ("gpt2",)
GGUF_ARCHITECTURES = ("gpt2",)

# what an absent key means in transformers' GPT2Config
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
    "bos_token_id": 50256,
    "eos_token_id": 50256,
}

LINEAR_NAMES: dict[str, Any] = {
    "embed": "transformer.wte",
    "pos_embed": "transformer.wpe",
    "final_norm": "transformer.ln_f",
    "unembed": "lm_head",
    "layer": "transformer.h.{layer}.",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "qkv": "attn.c_attn",
    "out": "attn.c_proj",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
# transformers' Conv1D keeps its weight [d_in, d_out]
NAMES = LINEAR_NAMES | {key: Stored(LINEAR_NAMES[key], transposed=True) for key in ("qkv", "out", "up", "down")}
GGUF_NAMES = COMMON_GGUF_NAMES | {"qkv": "attn_qkv"}
GGUF_KEYS = {
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "block_count": "n_layer",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}


def config(fields: Fields) -> ModelConfig:
    """The specs of a gpt2 config.json. Raises ConfigError naming the field at fault."""
    by_layer = fields.flag("scale_attn_by_inverse_layer_idx")
    wide = fields.flag("reorder_and_upcast_attn")  # a softmax in float32
    count = layer_count(fields, "n_layer")
    heads = [attention(fields, divisor=index + 1 if by_layer else 1, softmax_float32=wide) for index in range(count)]
    return decoder(fields, heads)


def attention(fields: Fields, *, divisor: int = 1, **more: Any) -> AttentionSpec:
    """Attention with biases and no rope, its scale divided by ``divisor``; ``more`` replace fields of the spec."""
    n_heads, _, d_head = head_counts(fields, heads="n_head", kv_heads="n_head", hidden_size="n_embd")
    scale = d_head**-0.5 if fields.flag("scale_attn_weights") else 1.0
    given = {"n_kv_heads": n_heads, "scale": scale / divisor, "qkv_bias": True, "out_bias": True, **more}
    return AttentionSpec(n_heads, d_head=d_head, rope=None, **given)


def decoder(fields: Fields, heads: Sequence[AttentionSpec]) -> ModelConfig:
    """What gpt2 and gpt_bigcode share: everything but attention, which is given for every layer."""
    fields.one_of("add_cross_attention", (None, False))
    norm = layer_norm(fields, "layer_norm_epsilon")
    width = fields.optional_integer("n_inner") or 4 * fields.integer("n_embd")
    mlp = MLPSpec(width, activation(fields, "activation_function"), bias=True, gated=False)
    layers = [LayerSpec(each, mlp, norm1=norm, norm2=norm) for each in heads]
    n_ctx = fields.integer("n_positions")
    return model_config(fields, layers, {}, norm, n_ctx=n_ctx, hidden_size="n_embd", learned_positions=True)


def canonical(name: str) -> str:
    """The files of the first GPT-2s were saved without the prefix of the model inside."""
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"


def ignored(name: str) -> bool:
    """Old files carry causal masks, tied files a second copy of the embedding."""
    return name.endswith((".attn.bias", ".attn.masked_bias")) or name in ("lm_head.weight", "output.weight")


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    return common_values(metadata, read, "gpt2", GGUF_KEYS)
