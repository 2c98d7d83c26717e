"""GPT-NeoX and Pythia: attention and MLP side by side, each behind its own LayerNorm; a quarter of each head turns.

Facts: transformers ``configuration_gpt_neox.py`` and ``modeling_gpt_neox.py``; GGUF architecture ``gptneox``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import LayerSpec, MLPSpec, ModelConfig, RopeSpec
from engine.dialect import activation, attention, layer_count, layer_norm, model_config
from engine.families import ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Stored, grouped_qkv
from engine.rope_fields import rope_spec, rope_table, rotary_dim

MODEL_TYPES = ("gpt_neox",)
GGUF_ARCHITECTURES = ("gptneox",)

# what an absent key means in transformers' GPTNeoXConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "layer_norm_eps": 1e-5,
    "rotary_emb_base": 10000.0,
    "rotary_pct": 0.25,
    "attention_bias": True,
    "use_parallel_residual": True,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

NAMES: dict[str, Any] = {
    "embed": "gpt_neox.embed_in",
    "final_norm": "gpt_neox.final_layer_norm",
    "unembed": "embed_out",
    "layer": "gpt_neox.layers.{layer}.",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "qkv": Stored("attention.query_key_value", regroup=grouped_qkv),
    "out": "attention.dense",
    "up": "mlp.dense_h_to_4h",
    "down": "mlp.dense_4h_to_h",
}
GGUF_NAMES = COMMON_GGUF_NAMES | {"qkv": "attn_qkv"}
GGUF_KEYS = {
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "use_parallel_residual": "use_parallel_residual",
    "rope.freq_base": "rotary_emb_base",
}


def config(fields: Fields) -> ModelConfig:
    """The specs of a gpt_neox config.json. Raises ConfigError naming the field at fault."""
    heads = attention(fields)
    norm = layer_norm(fields)
    mlp = MLPSpec(fields.integer("intermediate_size"), activation(fields, "hidden_act"), bias=True, gated=False)
    layer = LayerSpec(heads, mlp, norm1=norm, norm2=norm, parallel=fields.flag("use_parallel_residual"))
    return model_config(fields, [layer] * layer_count(fields), {"global": _rope(fields, heads.d_head)}, norm)


def _rope(fields: Fields, d_head: int) -> RopeSpec:
    """The table's own share of the head comes before the older field, which has a default."""
    table = rope_table(fields)
    share = table.get("partial_rotary_factor", fields.get("rotary_pct"))
    dim = rotary_dim(Fields({"rotary_pct": share}, {}), d_head, "rotary_pct")
    return rope_spec(fields, dim, table=table, theta="rotary_emb_base", partial=True)


def ignored(name: str) -> bool:
    """Old files carry causal masks and rotary tables, tied files a second copy of the embedding."""
    masks = (".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq")
    return name.endswith(masks) or name in ("embed_out.weight", "output.weight")


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    values = common_values(metadata, read, "gpt_neox", GGUF_KEYS)
    values["attention_bias"] = read("blk.0.attn_qkv.bias") is not None
    turned = metadata.get("gptneox.rope.dimension_count")
    return values if turned is None else values | {"rotary_pct": _share(Fields(values | {"turned": turned}, {}))}


def _share(fields: Fields) -> float:
    """Of a head that is turned; half an entry more, since the share is cut to whole entries."""
    d_head = fields.integer("hidden_size") / fields.integer("num_attention_heads")
    return min(1.0, (fields.integer("turned") + 0.5) / d_head)
