"""Where transformers' modules of each family stand for our hook points: names of modules, nothing computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Anatomy:
    """Module names of one family; names of a layer's parts are relative to the layer, None where there is no such part.

    ``fused`` says how q, k and v lie in one projection: "plain" = [q | k | v]; "grouped" = for every key/value head
    its queries, its key, its value. ``mid``: the module whose input is the stream after attention.
    ``post1``, ``post2``: norms of what attention and the MLP add. ``shared_is_beside``: the shared expert is
    not inside the module of the routed ones.
    """

    layers: str = "model.layers"
    embed: str = "model.embed_tokens"
    positions: str | None = None
    final_norm: str = "model.norm"
    unembed: str = "lm_head"
    attention: str = "self_attn"
    out: str = "self_attn.o_proj"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    fused: Literal["plain", "grouped"] | None = None
    qkv: str = ""
    norm1: str | None = "input_layernorm"
    norm2: str | None = "post_attention_layernorm"
    mid: str | None = "post_attention_layernorm"
    post1: str | None = None
    post2: str | None = None
    mlp: str = "mlp"
    gate: str | None = "mlp.gate_proj"
    up: str | None = "mlp.up_proj"
    gate_up: str | None = None
    down: str = "mlp.down_proj"
    router: str = "mlp.gate"
    experts: str = "mlp.experts"
    shared: str | None = None
    shared_gate: str | None = None
    shared_is_beside: bool = False
    interleaved_rope: bool = False
    latent: bool = False


LLAMA = Anatomy()
SANDWICH = replace(
    LLAMA,
    norm2="pre_feedforward_layernorm",
    mid="pre_feedforward_layernorm",
    post1="post_attention_layernorm",
    post2="post_feedforward_layernorm",
)
POST = replace(
    LLAMA,
    norm1=None,
    norm2=None,
    mid="mlp",
    post1="post_attention_layernorm",
    post2="post_feedforward_layernorm",
)
GPT2 = Anatomy(
    layers="transformer.h",
    embed="transformer.wte",
    positions="transformer.wpe",
    final_norm="transformer.ln_f",
    attention="attn",
    out="attn.c_proj",
    fused="plain",
    qkv="attn.c_attn",
    norm1="ln_1",
    norm2="ln_2",
    mid="ln_2",
    gate="mlp.c_fc",
    up=None,
    down="mlp.c_proj",
)
NEOX = replace(
    LLAMA,
    layers="gpt_neox.layers",
    embed="gpt_neox.embed_in",
    final_norm="gpt_neox.final_layer_norm",
    attention="attention",
    out="attention.dense",
    fused="grouped",
    qkv="attention.query_key_value",
    gate="mlp.dense_h_to_4h",
    up=None,
    down="mlp.dense_4h_to_h",
)
FALCON_SEQUENTIAL = replace(
    NEOX,
    layers="transformer.h",
    embed="transformer.word_embeddings",
    final_norm="transformer.ln_f",
    attention="self_attention",
    out="self_attention.dense",
    qkv="self_attention.query_key_value",
)
FALCON = replace(FALCON_SEQUENTIAL, norm2=None, mid=None)
GRANITE_MOE = replace(
    LLAMA, mlp="block_sparse_moe", router="block_sparse_moe.router", experts="block_sparse_moe.experts"
)
DEEPSEEK = replace(LLAMA, shared="mlp.shared_experts", interleaved_rope=True, latent=True)
LLAMA4 = replace(
    LLAMA,
    mlp="feed_forward",
    gate="feed_forward.gate_proj",
    up="feed_forward.up_proj",
    down="feed_forward.down_proj",
    router="feed_forward.router",
    experts="feed_forward.experts",
    shared="feed_forward.shared_expert",
    interleaved_rope=True,
)

ANATOMY: dict[str, Anatomy] = {
    "gpt2": GPT2,
    "gemma2": SANDWICH,
    "gemma3_text": SANDWICH,
    "gemma3": replace(
        SANDWICH,
        layers="model.language_model.layers",
        embed="model.language_model.embed_tokens",
        final_norm="model.language_model.norm",
    ),
    "phi3": replace(LLAMA, fused="plain", qkv="self_attn.qkv_proj", gate=None, up=None, gate_up="mlp.gate_up_proj"),
    "gpt_neox": NEOX,
    "falcon": FALCON,
    "olmo2": POST,
    "olmo3": POST,
    "gpt_bigcode": GPT2,
    "qwen2_moe": replace(LLAMA, shared="mlp.shared_expert", shared_gate="mlp.shared_expert_gate"),
    "granitemoe": GRANITE_MOE,
    "granitemoeshared": replace(GRANITE_MOE, shared="shared_mlp", shared_is_beside=True),
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": DEEPSEEK,
    "llama4_text": LLAMA4,
    "llama4": replace(
        LLAMA4,
        layers="language_model.model.layers",
        embed="language_model.model.embed_tokens",
        final_norm="language_model.model.norm",
        unembed="language_model.lm_head",
    ),
    "gpt_oss": replace(LLAMA, router="mlp.router"),
}
"""By model_type; a family that is not here has LLAMA's names."""

VARIANT_ANATOMY: dict[str, Anatomy] = {
    "gpt_neox-parallel": replace(NEOX, mid=None),
    "gpt_neox-full-rotary": replace(NEOX, mid=None),
    "gpt_bigcode-multi-head": replace(GPT2, fused="grouped"),
    "falcon-40b": replace(FALCON, norm1="ln_attn", norm2="ln_mlp"),
    "falcon-rw": FALCON_SEQUENTIAL,
    "falcon-rw-six-heads": FALCON_SEQUENTIAL,
}
"""Variants whose modules are not those of their family."""


def anatomy_of(family: str, variant_id: str) -> Anatomy:
    """Module names of a variant."""
    return VARIANT_ANATOMY.get(variant_id, ANATOMY.get(family, LLAMA))
