"""Mixtral: Mistral with a mixture of experts in every layer.

Facts: transformers ``configuration_mixtral.py`` and ``modeling_mixtral.py``. GGUF stores it as architecture ``llama``
(``engine/families/llama.py``), old files with one tensor per expert.
"""

from __future__ import annotations

from typing import Any

from engine.config import LayerSpec, ModelConfig, MoESpec
from engine.dialect import LLAMA_NAMES, attention, expert_counts, gated_mlp, layer_count, model_config, rms_norm
from engine.families import Has, llama
from engine.fields import Fields
from engine.gguf_dialect import GGUF_EXPERT_NAMES, GGUF_OLD_EXPERT_NAMES
from engine.naming import Names
from engine.rope_fields import rope_spec

MODEL_TYPES = ("mixtral",)

# what an absent key means in transformers' MixtralConfig
DEFAULTS: dict[str, Any] = llama.DEFAULTS | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096 * 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}

NAMES = LLAMA_NAMES | {
    "router": "block_sparse_moe.gate",
    "expert_gate": "block_sparse_moe.experts.{expert}.w1",
    "expert_up": "block_sparse_moe.experts.{expert}.w3",
    "expert_down": "block_sparse_moe.experts.{expert}.w2",
}
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a mixtral config.json. Raises ConfigError naming the field at fault."""
    heads = attention(fields, bias=None, window=fields.optional_integer("sliding_window"))
    norm = rms_norm(fields)
    layer = LayerSpec(heads, _experts(fields), norm1=norm, norm2=norm)
    rope = llama.with_divisors(fields, rope_spec(fields, dim=heads.d_head))
    return model_config(fields, [layer] * layer_count(fields), {"global": rope}, norm)


def _experts(fields: Fields) -> MoESpec:
    """Softmax over all experts; the weights of the chosen ones are made to sum to 1."""
    n_experts, top_k = expert_counts(fields, "num_local_experts", "num_experts")
    return MoESpec(n_experts, top_k, gated_mlp(fields, bias=None), renormalise=True)


def gguf_names(config: ModelConfig, has: Has) -> Names:
    """Stacked experts, or those of old files."""
    old = has("blk.0.ffn_gate.0.weight")
    return llama.GGUF_NAMES | (GGUF_OLD_EXPERT_NAMES if old else GGUF_EXPERT_NAMES)
