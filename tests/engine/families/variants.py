"""Every family and variant that the engine must run, as data: a tiny config of transformers and what is special in it.

Windows, chunks and original contexts are shorter than the prompt, so that a model which ignores them is found out.
Add a row here and every test of this package runs it; ``pytest -k gemma2`` runs one family.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

VOCABULARY = 96

Attention = Literal["multi-head", "grouped-query", "multi-query", "latent"]
Cache = Literal["full", "sliding", "chunked", "latent"]


@dataclass(frozen=True)
class Variant:
    """One tiny model.

    ``family`` is the config's model_type, ``config`` its fields. ``eager``: transformers has no fused attention for it.
    ``float64``: transformers' float64 run can be followed to 1e-9 (its literal float32 casts included).
    ``tolerance``: largest difference of a float32 logit. ``decodes_as_prefill`` is False where transformers' cached
    decode differs from its prefill by design (rope tables that follow the length): there decode is compared with
    decode. ``gguf``: the architecture name of a GGUF file that can hold this variant, None where none can.
    ``seed``: of its weights.
    """

    family: str
    name: str
    config: dict[str, Any] = field(repr=False)
    notes: str = ""
    prompt: int = 48
    eager: bool = False
    float64: bool = True
    tolerance: float = 1e-4
    decodes_as_prefill: bool = True
    gguf: str | None = None
    attention: Attention = "grouped-query"
    cache: Cache = "full"
    seed: int = 0

    @property
    def id(self) -> str:
        """The name in test ids and in the parity table."""
        return f"{self.family}-{self.name}"


DENSE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
FALCON: dict[str, Any] = {k: DENSE[k] for k in DENSE if k not in ("intermediate_size", "num_key_value_heads")}
NEOX: dict[str, Any] = {k: DENSE[k] for k in DENSE if k != "num_key_value_heads"}
FOUR_LAYERS: dict[str, Any] = DENSE | {"num_hidden_layers": 4}
WIDE: dict[str, Any] = DENSE | {"head_dim": 12}
GRANITE: dict[str, Any] = DENSE | {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "attention_multiplier": 0.2,
    "logits_scaling": 2.5,
}
THREE_OF_SIX: dict[str, Any] = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20}
LATENT: dict[str, Any] = FOUR_LAYERS | {
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 20,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.7,
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
}
LLAMA4: dict[str, Any] = FOUR_LAYERS | {
    "head_dim": 8,
    "intermediate_size": 20,
    "intermediate_size_mlp": 48,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 16,
    "floor_scale": 6,
    "attn_scale": 0.4,
}


def rope(kind: str = "default", theta: float = 10000.0, **parameters: Any) -> dict[str, Any]:
    """``rope_parameters`` of one kind, in the newer dialect."""
    return {"rope_type": kind, "rope_theta": theta, **parameters}


def scaled(kind: str, theta: float = 10000.0, **parameters: Any) -> dict[str, Any]:
    """Fields of a config whose rope is stretched four times, from 32 positions to 128."""
    known = {"factor": 4.0, "original_max_position_embeddings": 32}
    return {"rope_parameters": rope(kind, theta, **{**known, **parameters})}


YARN = scaled("yarn")
LONGROPE: dict[str, Any] = {
    "original_max_position_embeddings": 32,
    "rope_parameters": rope("longrope", short_factor=[1.0, 1.1, 1.3, 1.6], long_factor=[1.0, 1.7, 3.0, 4.0]),
}
YARN_MSCALE = scaled("yarn", mscale=0.8, mscale_all_dim=0.6)
GEMMA3_ROPES: dict[str, Any] = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
    "sliding_attention": rope(),
}
GEMMA2 = DENSE | {
    "num_hidden_layers": 4,
    "head_dim": 12,
    "query_pre_attn_scalar": 9,
    "sliding_window": 12,
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 2.0,
}
GEMMA3 = DENSE | {
    "num_hidden_layers": 7,
    "head_dim": 12,
    "query_pre_attn_scalar": 9,
    "sliding_window": 12,
    "rope_parameters": GEMMA3_ROPES,
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
WRAPPED_GEMMA3: dict[str, Any] = {
    "text_config": GEMMA3,
    "vision_config": VISION,
    "mm_tokens_per_image": 4,
    "image_token_index": 90,
    "boi_token_index": 91,
    "eoi_token_index": 92,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WRAPPED_LLAMA4: dict[str, Any] = {
    "text_config": LLAMA4,
    "vision_config": VISION
    | {"intermediate_size": 64, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
    "image_token_index": 90,
    "boi_token_index": 91,
    "eoi_token_index": 92,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

_DENSE_VARIANTS = (
    Variant("gpt2", "default", GPT2, gguf="gpt2", attention="multi-head"),
    Variant(
        "gpt2",
        "scaled-by-layer",
        GPT2 | {"n_inner": 40, "scale_attn_by_inverse_layer_idx": True, "activation_function": "gelu"},
        "attention is also divided by the layer's number",
        attention="multi-head",
    ),
    Variant("gpt2", "unscaled", GPT2 | {"scale_attn_weights": False}, attention="multi-head"),
    Variant("llama", "default", DENSE, gguf="llama"),
    Variant("llama", "tied", DENSE | {"tie_word_embeddings": True}, gguf="llama"),
    Variant("llama", "biases", DENSE | {"attention_bias": True, "mlp_bias": True}, gguf="llama"),
    Variant("llama", "wide-heads", WIDE, "head_dim is not hidden_size / heads", gguf="llama"),
    Variant("llama", "linear", DENSE | {"rope_parameters": rope("linear", factor=4.0)}, gguf="llama"),
    Variant(
        "llama",
        "dynamic",
        DENSE | {"max_position_embeddings": 24, "rope_parameters": rope("dynamic", factor=3.0)},
        "the base is rounded to float32 where it follows the length",
        float64=False,
        tolerance=2e-3,
        decodes_as_prefill=False,
    ),
    Variant(
        "llama",
        "llama3",
        DENSE | scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0),
        gguf="llama",
    ),
    Variant("llama", "yarn", DENSE | YARN, gguf="llama"),
    Variant("llama", "yarn-attention-factor", DENSE | scaled("yarn", truncate=False, attention_factor=1.3)),
    Variant("llama", "yarn-betas", WIDE | scaled("yarn", beta_fast=4.0, beta_slow=0.5)),
    Variant("smollm3", "default", FOUR_LAYERS, "layer 3 has no rope", gguf="smollm3"),
    Variant("smollm3", "every-second", FOUR_LAYERS | {"no_rope_layer_interval": 2, "attention_bias": True}),
    Variant(
        "smollm3",
        "sliding",
        FOUR_LAYERS
        | {"no_rope_layers": [1, 0, 1, 0], "use_sliding_window": True, "sliding_window": 12, "mlp_bias": True}
        | {"tie_word_embeddings": False},
        "only layers without rope slide",
        cache="sliding",
    ),
    Variant("mistral", "default", WIDE | {"sliding_window": None}, gguf="llama"),
    Variant("mistral", "sliding", WIDE | {"sliding_window": 12}, "every layer slides", cache="sliding"),
    Variant("qwen2", "default", DENSE, gguf="qwen2"),
    Variant("qwen2", "tied", DENSE | {"tie_word_embeddings": True}, gguf="qwen2"),
    Variant("qwen2", "yarn", DENSE | YARN, gguf="qwen2"),
    Variant(
        "qwen2",
        "sliding",
        FOUR_LAYERS | {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 2},
        "layers from max_window_layers on slide",
        cache="sliding",
    ),
    Variant("qwen3", "default", WIDE, gguf="qwen3"),
    Variant("qwen3", "tied", WIDE | {"tie_word_embeddings": True, "attention_bias": True}),
    Variant("qwen3", "yarn", WIDE | YARN, gguf="qwen3"),
    Variant(
        "qwen3",
        "sliding",
        WIDE | {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1},
        cache="sliding",
    ),
    Variant("gemma", "default", WIDE, gguf="gemma"),
    Variant("gemma", "multi-query", WIDE | {"num_key_value_heads": 1}, gguf="gemma", attention="multi-query"),
    Variant("gemma2", "default", GEMMA2, eager=True, cache="sliding"),
    Variant(
        "gemma2",
        "scaled-by-head",
        GEMMA2 | {"query_pre_attn_scalar": 12},
        "the scale that a GGUF file implies",
        eager=True,
        gguf="gemma2",
        cache="sliding",
    ),
    Variant(
        "gemma2",
        "no-softcap",
        GEMMA2 | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
        eager=True,
        cache="sliding",
    ),
    Variant("gemma3_text", "default", GEMMA3, "two ropes", cache="sliding"),
    Variant(
        "gemma3_text",
        "scaled-by-head",
        GEMMA3 | {"query_pre_attn_scalar": 12},
        "the scale that a GGUF file implies",
        gguf="gemma3",
        cache="sliding",
    ),
    Variant(
        "gemma3_text",
        "pattern",
        GEMMA3 | {"rope_parameters": None, "sliding_window_pattern": 3, "final_logit_softcapping": 2.0},
        cache="sliding",
    ),
    Variant("gemma3", "wrapper", WRAPPED_GEMMA3, "the text model inside the multimodal one", cache="sliding"),
    Variant("phi3", "default", DENSE, gguf="phi3"),
    Variant("phi3", "sliding", DENSE | {"sliding_window": 12}, cache="sliding", gguf="phi3"),
    Variant("phi3", "partial-rotary", DENSE | {"partial_rotary_factor": 0.5}, gguf="phi3"),
    Variant(
        "phi3",
        "longrope-long",
        DENSE | LONGROPE,
        "longer than the original context",
        decodes_as_prefill=False,
        gguf="phi3",
    ),
    Variant("phi3", "longrope-short", DENSE | LONGROPE, "within the original context", prompt=20, gguf="phi3"),
    Variant(
        "phi3",
        "longrope-partial",
        DENSE
        | {"original_max_position_embeddings": 32, "partial_rotary_factor": 0.75}
        | {"rope_parameters": rope("longrope", short_factor=[1.0, 1.1, 1.3], long_factor=[1.0, 1.7, 4.0])},
        "as Phi-4-mini",
        decodes_as_prefill=False,
    ),
    Variant("gpt_neox", "parallel", NEOX, gguf="gptneox", attention="multi-head"),
    Variant("gpt_neox", "sequential", NEOX | {"use_parallel_residual": False}, gguf="gptneox", attention="multi-head"),
    Variant(
        "gpt_neox",
        "full-rotary",
        NEOX | {"rope_parameters": rope(theta=500.0, partial_rotary_factor=1.0), "attention_bias": False},
        attention="multi-head",
    ),
    Variant("falcon", "7b", FALCON | {"multi_query": True}, "one norm", gguf="falcon", attention="multi-query"),
    Variant(
        "falcon", "40b", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}, "two norms", gguf="falcon"
    ),
    Variant(
        "falcon",
        "11b",
        FALCON
        | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}
        | {"ffn_hidden_size": 56, "tie_word_embeddings": False},
        gguf="falcon",
    ),
    Variant(
        "falcon",
        "rw",
        FALCON | {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
        "ALiBi, sequential",
        attention="multi-head",
    ),
    Variant(
        "falcon",
        "rw-six-heads",
        FALCON
        | {"hidden_size": 48, "num_attention_heads": 6}
        | {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
        "ALiBi slopes of a head count that is no power of two",
        attention="multi-head",
    ),
    Variant("olmo", "default", DENSE | {"num_key_value_heads": 4}, gguf="olmo", attention="multi-head"),
    Variant("olmo", "clip", DENSE | {"clip_qkv": 0.6, "tie_word_embeddings": True}, gguf="olmo"),
    Variant("olmo2", "default", DENSE, gguf="olmo2"),
    Variant("olmo2", "bias", DENSE | {"attention_bias": True, "num_key_value_heads": 4}, attention="multi-head"),
    Variant("olmo3", "default", FOUR_LAYERS | {"sliding_window": 12}, gguf="olmo2", cache="sliding"),
    Variant(
        "olmo3",
        "yarn",
        FOUR_LAYERS
        | {"sliding_window": 12}
        | {
            "rope_parameters": {
                "full_attention": scaled("yarn", 500000.0)["rope_parameters"],
                "sliding_attention": rope(theta=500000.0),
            }
        },
        "only full layers are stretched",
        gguf="olmo2",
        cache="sliding",
    ),
    Variant("granite", "default", GRANITE, gguf="granite"),
    Variant("granite", "biases", GRANITE | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    Variant("gpt_bigcode", "multi-query", GPT2 | {"multi_query": True}, gguf="starcoder", attention="multi-query"),
    Variant("gpt_bigcode", "multi-head", GPT2 | {"multi_query": False, "n_inner": 40}, attention="multi-head"),
)

_MOE_VARIANTS = (
    Variant("mixtral", "default", DENSE | {"num_local_experts": 6, "num_experts_per_tok": 3}, gguf="llama"),
    Variant(
        "mixtral",
        "sliding",
        WIDE | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 12},
        cache="sliding",
    ),
    Variant("qwen2_moe", "default", DENSE | THREE_OF_SIX | {"shared_expert_intermediate_size": 28}, gguf="qwen2moe"),
    Variant(
        "qwen2_moe",
        "dense-layers",
        DENSE
        | THREE_OF_SIX
        | {"num_hidden_layers": 6, "mlp_only_layers": [3], "decoder_sparse_step": 2, "norm_topk_prob": True}
        | {"shared_expert_intermediate_size": 28, "qkv_bias": False},
        "layers 1 and 5 have experts",
    ),
    Variant(
        "qwen2_moe",
        "sliding",
        FOUR_LAYERS
        | THREE_OF_SIX
        | {"shared_expert_intermediate_size": 28}
        | {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 3},
        "layers 0 and 2 slide",
        cache="sliding",
    ),
    Variant("qwen3_moe", "default", WIDE | THREE_OF_SIX | {"norm_topk_prob": True}, gguf="qwen3moe"),
    Variant(
        "qwen3_moe",
        "dense-layers",
        FOUR_LAYERS
        | THREE_OF_SIX
        | {"head_dim": 12, "mlp_only_layers": [2], "decoder_sparse_step": 1, "attention_bias": True},
        "layer 2 has one MLP; weights are not renormalised",
    ),
    Variant(
        "qwen3_moe",
        "sliding",
        WIDE | THREE_OF_SIX | {"use_sliding_window": True, "sliding_window": 12},
        cache="sliding",
    ),
    Variant("olmoe", "default", DENSE | {"num_experts": 6, "num_experts_per_tok": 3}, gguf="olmoe"),
    Variant(
        "olmoe",
        "clip",
        DENSE | {"num_experts": 6, "num_experts_per_tok": 3, "clip_qkv": 0.6, "norm_topk_prob": True},
    ),
    Variant("granitemoe", "default", GRANITE | {"num_local_experts": 6, "num_experts_per_tok": 3}, gguf="granitemoe"),
    Variant(
        "granitemoeshared",
        "default",
        GRANITE | {"num_local_experts": 6, "num_experts_per_tok": 3, "shared_intermediate_size": 28},
        gguf="granitemoe",
    ),
    Variant(
        "granitemoeshared",
        "unshared",
        GRANITE | {"num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": True},
        "shared_intermediate_size 0",
    ),
    Variant("deepseek_v2", "default", LATENT, "as V2-Lite", gguf="deepseek2", attention="latent", cache="latent"),
    Variant(
        "deepseek_v2",
        "low-rank-queries",
        LATENT | {"q_lora_rank": 12, "attention_bias": True},
        attention="latent",
        cache="latent",
    ),
    Variant(
        "deepseek_v2",
        "groups",
        LATENT | {"q_lora_rank": 12, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2},
        attention="latent",
        cache="latent",
    ),
    Variant(
        "deepseek_v2",
        "yarn-mscale",
        LATENT | YARN_MSCALE,
        "attention is scaled by mscale²",
        gguf="deepseek2",
        attention="latent",
        cache="latent",
    ),
    Variant(
        "deepseek_v3",
        "default",
        LATENT | {"q_lora_rank": 12, "n_group": 4, "topk_group": 2},
        gguf="deepseek2",
        attention="latent",
        cache="latent",
    ),
    Variant(
        "deepseek_v3",
        "half-split",
        LATENT | {"n_group": 2, "topk_group": 1, "rope_interleave": False, "norm_topk_prob": False},
        "rope_interleave false",
        attention="latent",
        cache="latent",
    ),
    Variant(
        "deepseek_v3",
        "yarn-mscale",
        LATENT | YARN_MSCALE | {"q_lora_rank": 12, "n_group": 4, "topk_group": 2},
        gguf="deepseek2",
        attention="latent",
        cache="latent",
    ),
    Variant("llama4_text", "default", LLAMA4, "chunks of 16; layer 3 has no rope", cache="chunked"),
    Variant(
        "llama4_text",
        "plain",
        LLAMA4
        | {"use_qk_norm": False, "attn_temperature_tuning": False, "moe_layers": [0, 3], "num_experts_per_tok": 1}
        | {"no_rope_layers": [1, 0, 1, 1], "attention_bias": True},
        cache="chunked",
    ),
    Variant(
        "llama4_text",
        "llama3",
        LLAMA4 | scaled("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0),
        "as Scout",
        cache="chunked",
    ),
    Variant(
        "llama4_text",
        "wide-chunk",
        LLAMA4 | {"attention_chunk_size": 8192, "floor_scale": 8192, "attn_scale": 0.1},
        "the chunk and the temperature that a GGUF file implies",
        gguf="llama4",
        cache="chunked",
    ),
    Variant("llama4", "wrapper", WRAPPED_LLAMA4, "the text model inside the multimodal one", cache="chunked"),
    Variant(
        "gpt_oss",
        "default",
        FOUR_LAYERS
        | scaled("yarn", 150000.0, truncate=False, beta_fast=32.0, beta_slow=1.0)
        | {"head_dim": 12, "num_local_experts": 6, "num_experts_per_tok": 3, "sliding_window": 12},
        "sinks; even layers slide; yarn without truncation",
        eager=True,
        gguf="gpt-oss",
        cache="sliding",
    ),
    Variant(
        "gpt_oss",
        "small-limit",
        DENSE
        | {"rope_parameters": rope(), "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}
        | {"sliding_window": 12, "swiglu_limit": 0.5, "attention_bias": False},
        "the clamp of the experts acts",
        eager=True,
        cache="sliding",
    ),
)

# draws whose greedy text has several different tokens; all others are drawn with 0
_SEEDS = {
    "gpt2-default": 2,
    "gpt2-scaled-by-layer": 1,
    "smollm3-every-second": 1,
    "gemma-default": 3,
    "gemma-multi-query": 1,
    "gemma2-default": 8,
    "gemma2-scaled-by-head": 8,
    "gemma2-no-softcap": 1,
    "gemma3_text-default": 5,
    "gemma3_text-scaled-by-head": 5,
    "gemma3_text-pattern": 9,
    "gemma3-wrapper": 4,
    "gpt_neox-parallel": 1,
    "falcon-7b": 1,
    "falcon-40b": 1,
    "falcon-11b": 1,
    "falcon-rw": 5,
    "falcon-rw-six-heads": 9,
    "olmo2-bias": 2,
    "granite-biases": 8,
    "gpt_bigcode-multi-query": 1,
    "qwen3_moe-dense-layers": 4,
    "granitemoe-default": 1,
    "granitemoeshared-unshared": 6,
    "deepseek_v2-low-rank-queries": 1,
    "llama4_text-plain": 1,
}

VARIANTS: dict[str, Variant] = {
    variant.id: replace(variant, seed=_SEEDS.get(variant.id, 0)) for variant in (*_DENSE_VARIANTS, *_MOE_VARIANTS)
}
"""Every variant by its id."""

ROUTED: tuple[str, ...] = tuple(variant.id for variant in _MOE_VARIANTS)
"""Ids of the variants with experts."""


def variants_of(family: str) -> tuple[Variant, ...]:
    """The variants of one model_type."""
    return tuple(variant for variant in VARIANTS.values() if variant.family == family)
