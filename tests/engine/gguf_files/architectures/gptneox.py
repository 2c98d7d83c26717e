"""gptneox (Pythia). Sources: ``conversion/gpt_neox.py``, ``src/models/gptneox.cpp``.

Tensors: ``query_key_value`` regrouped, weight and bias, from rows [head][q, k, v] to [q | k | v].
Implied: LayerNorm with biases; exact gelu, not gated; multi-head, no ``head_count_kv``; half-split rope over
``rope.dimension_count`` dimensions (a quarter in Pythia), base always 10000 (no key); ``use_parallel_residual`` is
a key: x + attn(attn_norm(x)) + mlp(ffn_norm(x)), or one after the other. Every linear map has a bias. Never tied:
``output``.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import Metadata, lost_rope, unlike
from tests.engine.gguf_files.model_folder import Config, State, rope_parameters

ARCHITECTURE = "gptneox"
MODEL_TYPES = ("gpt_neox",)


def metadata(config: Config) -> Metadata:
    part = rope_parameters(config).get("partial_rotary_factor", config.get("rotary_pct", 0.25))
    return {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "rope.dimension_count": int(part * (config["hidden_size"] // config["num_attention_heads"])),
        "attention.head_count": config["num_attention_heads"],
        "use_parallel_residual": bool(config.get("use_parallel_residual", True)),
        "attention.layer_norm_epsilon": config["layer_norm_eps"],
    }


def tensors(config: Config, state: State) -> State:
    heads = config["num_attention_heads"]
    return {name: _by_kind(values, heads) if ".query_key_value." in name else values for name, values in state.items()}


def _by_kind(rows: np.ndarray, heads: int) -> np.ndarray:
    by_head = rows.reshape(heads, 3, -1, *rows.shape[1:])
    return np.concatenate([by_head[:, kind].reshape(-1, *rows.shape[1:]) for kind in range(3)])


def lost(config: Config) -> list[str]:
    theta = rope_parameters(config).get("rope_theta", 10000.0)
    return [
        *unlike(config, hidden_act="gelu"),
        *lost_rope(config, held=("default",)),
        *([f"rope_theta {theta}"] if theta != 10000.0 else []),
        *(["attention_bias False"] if config.get("attention_bias") is False else []),
    ]
