"""DeepSeek V3, R1, Moonlight: V2's latent attention; experts scored by sigmoid, chosen with a learned correction.

Facts: transformers ``configuration_deepseek_v3.py`` and ``modeling_deepseek_v3.py``. GGUF stores it as architecture
``deepseek2``.
"""

from __future__ import annotations

from typing import Any

from engine.config import ModelConfig
from engine.dialect import gated_mlp
from engine.errors import ConfigError
from engine.families import deepseek_v2
from engine.families.deepseek_v2 import groups, latent_model
from engine.fields import Fields
from engine.rope_fields import rope_spec

MODEL_TYPES = ("deepseek_v3",)

# what an absent key means in transformers' DeepseekV3Config
DEFAULTS: dict[str, Any] = deepseek_v2.DEFAULTS | {
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "first_k_dense_replace": 3,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "rope_interleave": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
}

names = deepseek_v2.names
gguf_names = deepseek_v2.gguf_names
ignored = deepseek_v2.ignored
ignored_layer = deepseek_v2.ignored_layer


def config(fields: Fields) -> ModelConfig:
    """The specs of a deepseek_v3 config.json. Raises ConfigError naming the field at fault."""
    fields.one_of("scoring_func", ("sigmoid", None))
    fields.one_of("topk_method", ("noaux_tc", None))
    n_groups, top_groups = groups(fields)
    if n_groups > 1 and fields.integer("n_routed_experts") < 2 * n_groups:
        raise ConfigError(f"The config says n_group = {n_groups}; a group needs two experts, by which it is ranked.")
    rope = rope_spec(fields, fields.integer("qk_rope_head_dim"), interleaved=fields.flag("rope_interleave"))
    router = {
        "score": "sigmoid",
        "choice_bias": True,
        "renormalise": fields.flag("norm_topk_prob"),
        "renormalise_eps": 1e-20,
        "n_groups": n_groups,
        "top_groups": top_groups,
        "group_score": "top2",
    }
    return latent_model(fields, rope, gated_mlp(fields, bias=None), router)
