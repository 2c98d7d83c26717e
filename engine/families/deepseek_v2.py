"""DeepSeek V2, V2-Lite, Coder-V2: multi-head latent attention, shared experts, routing limited to groups of experts.

Facts: transformers ``configuration_deepseek_v2.py`` and ``modeling_deepseek_v2.py``; GGUF architecture ``deepseek2``,
which also holds V3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.config import LatentAttentionSpec, LayerSpec, MLPSpec, ModelConfig, MoESpec, NormSpec, RopeSpec
from engine.dialect import LLAMA_NAMES, expert_counts, gated_mlp, layer_count, model_config, rms_norm
from engine.errors import ConfigError
from engine.families import Has, ReadTensor, llama
from engine.fields import Fields
from engine.gguf_dialect import GGUF_EXPERT_NAMES
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Names, Stored
from engine.rope_fields import rope_spec, rope_table, yarn_mscale

MODEL_TYPES = ("deepseek_v2",)
GGUF_ARCHITECTURES = ("deepseek2",)

# what an absent key means in transformers' DeepseekV2Config; there is no default for num_experts_per_tok
DEFAULTS: dict[str, Any] = {
    "vocab_size": 102400,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "first_k_dense_replace": 0,
    "moe_layer_freq": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "moe_intermediate_size": 1407,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_method": "greedy",
}

LATENT_NORM = NormSpec("rms", 1e-6)  # whatever rms_norm_eps says

_NAMES: dict[str, Any] = LLAMA_NAMES | {
    "q_down": "self_attn.q_a_proj",
    "q_latent_norm": "self_attn.q_a_layernorm",
    "kv_down": "self_attn.kv_a_proj_with_mqa",
    "kv_latent_norm": "self_attn.kv_a_layernorm",
    "kv_up": "self_attn.kv_b_proj",
    "router": "mlp.gate",
    "choice_bias": "mlp.gate.e_score_correction_bias",
    "expert_gate": "mlp.experts.{expert}.gate_proj",
    "expert_up": "mlp.experts.{expert}.up_proj",
    "expert_down": "mlp.experts.{expert}.down_proj",
    "shared_gate_proj": "mlp.shared_experts.gate_proj",
    "shared_up_proj": "mlp.shared_experts.up_proj",
    "shared_down_proj": "mlp.shared_experts.down_proj",
}

_GGUF_NAMES: dict[str, Any] = (
    COMMON_GGUF_NAMES
    | GGUF_EXPERT_NAMES
    | {
        "q_down": "attn_q_a",
        "q_latent_norm": "attn_q_a_norm",
        "kv_down": "attn_kv_a_mqa",
        "kv_latent_norm": "attn_kv_a_norm",
        "choice_bias": "exp_probs_b.bias",
    }
)

_GGUF_KEYS = {
    "leading_dense_block_count": "first_k_dense_replace",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_count": "n_routed_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_shared_count": "n_shared_experts",
    "expert_weights_scale": "routed_scaling_factor",
}

_GATING = {None: "softmax", 0: "softmax", 1: "softmax", 2: "sigmoid"}  # expert_gating_func


def config(fields: Fields) -> ModelConfig:
    """The specs of a deepseek_v2 config.json. Transformers never renormalises the weights; a file that asks for it is
    refused."""
    fields.one_of("norm_topk_prob", (False, None))
    fields.one_of("scoring_func", ("softmax",))
    method = fields.one_of("topk_method", ("greedy", "group_limited_greedy", None))
    n_groups, top_groups = groups(fields) if method == "group_limited_greedy" else (1, 1)
    rope = rope_spec(fields, fields.integer("qk_rope_head_dim"), interleaved=True, precision="complex")
    router = {"n_groups": n_groups, "top_groups": top_groups, "group_score": "max"}
    return latent_model(fields, rope, gated_mlp(fields), router, shared_bias=fields.flag("mlp_bias"))


def latent_model(
    fields: Fields, rope: RopeSpec, dense: MLPSpec, router: Mapping[str, Any], *, shared_bias: bool = False
) -> ModelConfig:
    """What V2 and V3 share: dense layers first, then experts; ``router`` are fields of MoESpec."""
    fields.one_of("moe_layer_freq", (1, None))
    attention, norm, n_layers = latent_attention(fields, rope), rms_norm(fields), layer_count(fields)
    first = fields.integer("first_k_dense_replace", least=0)
    experts = _experts(fields, router, shared_bias)
    mlps = [dense if layer < first else experts for layer in range(n_layers)]
    layers = [LayerSpec(attention, mlp, norm1=norm, norm2=norm) for mlp in mlps]
    return model_config(fields, layers, {"global": rope}, norm)


def latent_attention(fields: Fields, rope: RopeSpec) -> LatentAttentionSpec:
    """The scale is 1 / sqrt(d_head), times mscale² where a stretched rope has ``mscale_all_dim``."""
    d_nope = fields.integer("qk_nope_head_dim")
    all_dim = Fields(rope_table(fields), {})
    stretched = rope.scaling != "default" and bool(all_dim.get("mscale_all_dim"))
    mscale = yarn_mscale(rope.factor, all_dim.number("mscale_all_dim")) if stretched else 1.0
    return LatentAttentionSpec(
        n_heads=fields.integer("num_attention_heads"),
        d_nope=d_nope,
        d_rope=rope.dim,
        d_value=fields.integer("v_head_dim"),
        d_latent=fields.integer("kv_lora_rank"),
        d_q_latent=fields.optional_integer("q_lora_rank"),
        scale=(d_nope + rope.dim) ** -0.5 * mscale * mscale,
        rope="global",
        latent_norm=LATENT_NORM,
        bias=fields.flag("attention_bias"),
    )


def groups(fields: Fields) -> tuple[int, int]:
    """(n_groups, top_groups) of the routed experts; null: one group, or no limit.

    Raises ConfigError where the groups are not equal or those chosen have fewer experts than a position needs.
    """
    n_groups = fields.integer("n_group") if fields.has("n_group") else 1
    top_groups = fields.integer("topk_group") if fields.has("topk_group") else n_groups
    n_experts, top_k = fields.integer("n_routed_experts"), fields.integer("num_experts_per_tok")
    if n_experts % n_groups or top_groups > n_groups or top_groups * (n_experts // n_groups) < top_k:
        raise ConfigError(
            f"The config says n_group = {n_groups} and topk_group = {top_groups}; {top_k} of {n_experts} experts "
            "cannot be chosen so."
        )
    return n_groups, top_groups


def _experts(fields: Fields, router: Mapping[str, Any], shared_bias: bool) -> MoESpec:
    """The shared experts are one MLP, as wide as all of them."""
    expert = gated_mlp(fields, width="moe_intermediate_size", bias=None)
    n_shared = fields.integer("n_shared_experts", least=0) if fields.has("n_shared_experts") else 0
    shared = MLPSpec(n_shared * expert.d_mlp, expert.activation, bias=shared_bias) if n_shared else None
    n_experts, top_k = expert_counts(fields, "n_routed_experts")
    return MoESpec(
        n_experts=n_experts,
        top_k=top_k,
        expert=expert,
        logits_float32=True,
        weight_scale=fields.number("routed_scaling_factor"),
        shared=shared,
        **router,
    )


def names(config: ModelConfig, has: Has) -> Names:
    """Queries from a latent have another name than those straight from the stream."""
    return _NAMES | {"q": "self_attn.q_b_proj" if _low_rank(config) else "self_attn.q_proj"}


def ignored_layer(config: ModelConfig, name: str) -> bool:
    """Layers behind the last one predict further tokens (multi-token prediction)."""
    layer = re.match(r"(?:model\.layers|blk)\.(\d+)\.", name)
    return layer is not None and int(layer[1]) >= config.n_layers


ignored = llama.ignored


def gguf_names(config: ModelConfig, has: Has) -> Names:
    """Old files have the map from latent to keys and values in one piece, new ones in two, keys transposed."""
    whole: dict[str, Any] = {"kv_up": "attn_kv_b"}
    parts: dict[str, Any] = {"k_up": Stored("attn_k_b", transposed=True), "v_up": "attn_v_b"}
    query = {"q": "attn_q_b" if _low_rank(config) else "attn_q"}
    return _GGUF_NAMES | query | (whole if has("blk.0.attn_kv_b.weight") else parts)


def _low_rank(config: ModelConfig) -> bool:
    attention = config.layers[0].attention
    return isinstance(attention, LatentAttentionSpec) and attention.d_q_latent is not None


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json. Experts scored by sigmoid are V3's, by softmax V2's.

    Raises ConfigError for another score.
    """
    gating = metadata.get("deepseek2.expert_gating_func")
    if gating not in _GATING:
        raise ConfigError(f"The GGUF file's expert_gating_func = {gating!r} is not supported; supported are 1 and 2.")
    scoring, n_groups = _GATING[gating], metadata.get("deepseek2.expert_group_count") or 1
    own = {"softmax": _as_v2, "sigmoid": _as_v3}[scoring](n_groups)
    values = common_values(metadata, read, own.pop("model_type"), _GGUF_KEYS)
    norm = bool(metadata.get("deepseek2.expert_weights_norm"))
    values |= own | _gguf_widths(metadata, values) | {"hidden_act": "silu", "norm_topk_prob": norm}
    values |= {"n_group": n_groups, "topk_group": metadata.get("deepseek2.expert_group_used_count") or n_groups}
    multiplier = metadata.get("deepseek2.rope.scaling.yarn_log_multiplier")
    if multiplier and "rope_scaling" in values:  # mscale equals mscale_all_dim: cosines are not scaled
        values["rope_scaling"] |= dict.fromkeys(("mscale", "mscale_all_dim"), multiplier / 0.1)
    return values


def _as_v2(n_groups: int) -> dict[str, Any]:
    method = "group_limited_greedy" if n_groups > 1 else "greedy"
    return {"model_type": "deepseek_v2", "topk_method": method, "scoring_func": "softmax"}


def _as_v3(n_groups: int) -> dict[str, Any]:
    return {"model_type": "deepseek_v3", "topk_method": "noaux_tc", "scoring_func": "sigmoid", "rope_interleave": True}


def _gguf_widths(metadata: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of keys and values: in new files under ``*_mla``, beside those of the latent that is attended to."""
    sizes = {}
    for kind in ("key", "value"):
        plain = f"deepseek2.attention.{kind}_length"
        sizes[kind] = metadata.get(f"{plain}_mla", metadata.get(plain))
    d_nope = (sizes["key"] or 0) - (values.get("qk_rope_head_dim") or 0)
    q_latent = metadata.get("deepseek2.attention.q_lora_rank") or None
    return {"qk_nope_head_dim": d_nope, "v_head_dim": sizes["value"], "q_lora_rank": q_latent}
