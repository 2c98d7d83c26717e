"""GGUF metadata in the dialect of config.json: what most architectures say in the same words.

Keys: gguf-py ``constants.py``. Facts that a file does not hold are implied by its architecture; the families know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from engine.naming import UNPERMUTED_K, UNPERMUTED_Q, Stored

if TYPE_CHECKING:
    from engine.families import ReadTensor

KEYS = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}

# what an absent key means in llama.cpp, whatever it means in a config.json of the family
_IMPLIED: dict[str, Any] = {"num_key_value_heads": None, "head_dim": None, "rope_theta": 10000.0}

_ROPE_SCALING = {"none": "default", "linear": "linear", "yarn": "yarn", "longrope": "longrope"}

_ROPE_KEYS = {
    "factor": "factor",
    "original_context_length": "original_max_position_embeddings",
    "attn_factor": "attention_factor",
    "yarn_attn_factor": "attention_factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}

# names of tensors; families take what they have
GGUF_NAMES: dict[str, Any] = {
    "embed": "token_embd",
    "pos_embed": "position_embd",
    "final_norm": "output_norm",
    "unembed": "output",
    "layer": "blk.{layer}.",
    "norm1": "attn_norm",
    "norm2": "ffn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "out": "attn_output",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}

GGUF_EXPERT_NAMES: dict[str, Any] = {
    "router": "ffn_gate_inp",
    "expert_gate": "ffn_gate_exps",
    "expert_up": "ffn_up_exps",
    "expert_down": "ffn_down_exps",
    "shared_gate_proj": "ffn_gate_shexp",
    "shared_up_proj": "ffn_up_shexp",
    "shared_down_proj": "ffn_down_shexp",
    "shared_gate": "ffn_gate_inp_shexp",
}

# old files of mixtures of experts have one tensor per expert
GGUF_OLD_EXPERT_NAMES: dict[str, Any] = GGUF_EXPERT_NAMES | {
    "expert_gate": "ffn_gate.{expert}",
    "expert_up": "ffn_up.{expert}",
    "expert_down": "ffn_down.{expert}",
}

# the converter interleaves the rotary rows of Q and K for architectures that llama.cpp rotates in adjacent pairs
PERMUTED: dict[str, Any] = {
    "q": Stored("attn_q", regroup=UNPERMUTED_Q),
    "k": Stored("attn_k", regroup=UNPERMUTED_K),
}


def gguf_values(
    metadata: Mapping[str, Any], read: ReadTensor, model_type: str, keys: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The common keys as a config.json's; ``keys`` maps further ones, without the architecture's prefix.

    Llama-3 rope scaling is not in the metadata: its divisors are the tensor ``rope_freqs.weight`` ("rope_divisors").
    """
    architecture = metadata["general.architecture"]
    values: dict[str, Any] = {"model_type": model_type, **_IMPLIED}
    for key, name in {**KEYS, **(keys or {})}.items():
        if f"{architecture}.{key}" in metadata:
            values[name] = metadata[f"{architecture}.{key}"]
    values.setdefault("vocab_size", len(metadata.get("tokenizer.ggml.tokens", ())))
    scaling = rope_scaling(metadata, architecture)
    if scaling is not None:
        values["rope_scaling"] = scaling
    values["tie_word_embeddings"] = read("output.weight") is None
    divisors = read("rope_freqs.weight")
    if divisors:
        values["rope_divisors"] = divisors
    for role in ("bos", "eos"):
        values[f"{role}_token_id"] = metadata.get(f"tokenizer.ggml.{role}_token_id")
    return values


def rope_scaling(metadata: Mapping[str, Any], architecture: str) -> dict[str, Any] | None:
    """The ``rope_scaling`` table, None where the file has none."""
    kind = metadata.get(f"{architecture}.rope.scaling.type", "none")
    if kind not in _ROPE_SCALING:
        raise ConfigError(f"The GGUF file's rope scaling {kind!r} is not supported.")
    if kind == "none":
        return None
    scaling: dict[str, Any] = {"rope_type": _ROPE_SCALING[kind]}
    for key, name in _ROPE_KEYS.items():
        if f"{architecture}.rope.scaling.{key}" in metadata:
            scaling[name] = metadata[f"{architecture}.rope.scaling.{key}"]
    return scaling
