"""gpt-oss: every second layer slides, attention with sinks, biases everywhere, experts with a clamped SwiGLU.

Facts: transformers ``configuration_gpt_oss.py`` and ``modeling_gpt_oss.py``; GGUF architecture ``gpt-oss``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.config import LayerSpec, MLPSpec, ModelConfig, MoESpec
from engine.dialect import LLAMA_NAMES, attention, expert_counts, layer_count, layer_kinds, model_config, rms_norm
from engine.families import ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_EXPERT_NAMES
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Stored
from engine.rope_fields import rope_spec, rope_table

if TYPE_CHECKING:
    from torch import Tensor

MODEL_TYPES = ("gpt_oss",)
GGUF_ARCHITECTURES = ("gpt-oss",)

# what an absent key means in transformers' GptOssConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_hidden_layers": 36,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 150000.0,
    "swiglu_alpha": 1.702,
    "swiglu_limit": 7.0,
    "attention_bias": True,
}

# the rope of a config that names none
_YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


def _gates_first(rows: Tensor, spec: LayerSpec) -> Tensor:
    """Rows (gate 0, up 0, gate 1, ...) of every expert, [experts, 2 · d_mlp, ...], to all gates, then all ups."""
    return rows.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)


NAMES: dict[str, Any] = LLAMA_NAMES | {
    "sinks": "self_attn.sinks",
    "router": "mlp.router",
    "expert_gate_up": Stored("mlp.experts.gate_up_proj", exact=True, transposed=True, regroup=_gates_first),
    "expert_down": Stored("mlp.experts.down_proj", exact=True, transposed=True),
}

GGUF_NAMES: dict[str, Any] = (
    COMMON_GGUF_NAMES | GGUF_EXPERT_NAMES | {"norm2": "post_attention_norm", "sinks": "attn_sinks.weight"}
)


def config(fields: Fields) -> ModelConfig:
    """The specs of a gpt_oss config.json. Raises ConfigError naming the field at fault."""
    full = attention(fields, sinks=True, softmax_float32=False)
    sliding = replace(full, window=fields.optional_integer("sliding_window"))
    norm = rms_norm(fields, weight_first=True)
    layer = {
        "sliding_attention": LayerSpec(sliding, _experts(fields), norm1=norm, norm2=norm),
        "full_attention": LayerSpec(full, _experts(fields), norm1=norm, norm2=norm),
    }
    n_layers = layer_count(fields)
    every_second = ["full_attention" if index % 2 else "sliding_attention" for index in range(n_layers)]
    kinds = layer_kinds(fields, n_layers, tuple(layer)) or every_second
    named = fields.get("rope_parameters") is not None or bool(fields.get("rope_scaling"))
    rope = rope_spec(fields, full.d_head, table=rope_table(fields) if named else _YARN)
    return model_config(fields, [layer[kind] for kind in kinds], {"global": rope}, norm)


def _experts(fields: Fields) -> MoESpec:
    limit, alpha = fields.number("swiglu_limit"), fields.number("swiglu_alpha")
    n_experts, top_k = expert_counts(fields, "num_local_experts")
    return MoESpec(
        n_experts=n_experts,
        top_k=top_k,
        expert=MLPSpec(fields.integer("intermediate_size"), "clamped_swiglu", bias=True, limit=limit, alpha=alpha),
        score_chosen=True,
        score_float32=False,
        router_bias=True,
    )


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json. The ends of yarn's ramp are never rounded."""
    keys = {
        "attention.sliding_window": "sliding_window",
        "expert_feed_forward_length": "intermediate_size",
        "expert_count": "num_local_experts",
        "expert_used_count": "num_experts_per_tok",
    }
    values = common_values(metadata, read, "gpt_oss", keys)
    values["attention_bias"] = read("blk.0.attn_q.bias") is not None
    values["rope_scaling"] = values.get("rope_scaling", {"rope_type": "default"}) | {"truncate": False}
    return values
