"""starcoder (gpt_bigcode). Sources: ``conversion/starcoder.py``, ``src/models/starcoder.cpp``.

Tensors: plain linear maps, nothing transposed; ``attn_qkv`` is [q of all heads | k | v] of one key/value head.
Implied: as gpt2 (learned positions, LayerNorm with biases, tanh gelu, not gated, all biases); ``head_count_kv`` is
always 1: the rows of multi-head files, [head][q, k, v], are not regrouped, so only multi-query ones can be
converted. ``feed_forward_length`` is always 4·embedding_length. Tied unless ``output`` is there. No vocab_size.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, unlike
from tests.engine.gguf_files.model_folder import Config, State

ARCHITECTURE = "starcoder"
MODEL_TYPES = ("gpt_bigcode",)


def metadata(config: Config) -> Metadata:
    return {
        "block_count": config["n_layer"],
        "context_length": config["n_positions"],
        "embedding_length": config["n_embd"],
        "feed_forward_length": 4 * config["n_embd"],
        "attention.head_count": config["n_head"],
        "attention.head_count_kv": 1,
        "attention.layer_norm_epsilon": config["layer_norm_epsilon"],
    }


def tensors(config: Config, state: State) -> State:
    return state


def lost(config: Config) -> list[str]:
    return unlike(
        config,
        n_inner=4 * config["n_embd"],
        activation_function="gelu_pytorch_tanh",
        scale_attn_weights=True,
        multi_query=True,
    )
