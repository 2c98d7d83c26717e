"""phi3 (Phi-3, 3.5, 4, 4-mini). Sources: ``Phi3MiniModel`` in ``conversion/phi.py``, ``src/models/phi3.cpp``.

Tensors: ``attn_qkv`` [q | k | v] and ``ffn_up`` [gate | up] stay fused, there is no ``ffn_gate``; longrope's
factors are ``rope_factors_long`` and ``rope_factors_short`` (F32). Phi-4-mini has no ``output``: tied.
Implied: RMS before each part, SwiGLU with silu, no biases, half-split rope over ``rope.dimension_count`` dimensions
(partial in Phi-4-mini). No ``rope.scaling.type``: the factor tensors mean longrope, the long ones beyond
``rope.scaling.original_context_length`` positions; cosines and sines are multiplied by
``rope.scaling.attn_factor``. ``attention.sliding_window`` 0 means none; llama.cpp ignores any other value,
transformers slides all layers by it. No ``attention.key_length``: embedding_length / head_count.
"""

from __future__ import annotations

import math

import numpy as np

from tests.engine.gguf_files.keys import Metadata, lost_rope, unlike
from tests.engine.gguf_files.model_folder import Config, State, rope_parameters

ARCHITECTURE = "phi3"
MODEL_TYPES = ("phi3",)


def metadata(config: Config) -> Metadata:
    rope = rope_parameters(config)
    found: Metadata = {
        "context_length": config["max_position_embeddings"],
        "rope.scaling.original_context_length": original_context(config),
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.dimension_count": rotary_dimensions(config),
        "rope.freq_base": float(rope["rope_theta"]),
        "attention.sliding_window": config.get("sliding_window") or 0,
    }
    return found | ({"rope.scaling.attn_factor": attention_factor(config)} if rope.get("long_factor") else {})


def original_context(config: Config) -> int:
    rope = rope_parameters(config)
    return rope.get("original_max_position_embeddings") or config["original_max_position_embeddings"]


def rotary_dimensions(config: Config) -> int:
    part = rope_parameters(config).get("partial_rotary_factor", 1.0)
    return int(part * config["hidden_size"]) // config["num_attention_heads"]


def attention_factor(config: Config) -> float:
    stretch = config["max_position_embeddings"] / original_context(config)
    return math.sqrt(1 + math.log(stretch) / math.log(original_context(config))) if stretch > 1 else 1.0


def tensors(config: Config, state: State) -> State:
    return state


def extra(config: Config) -> dict[str, np.ndarray]:
    rope = rope_parameters(config)
    return {
        f"rope_factors_{kind}.weight": np.array(rope[f"{kind}_factor"], dtype=np.float32)
        for kind in ("long", "short")
        if rope.get(f"{kind}_factor")
    }


def lost(config: Config) -> list[str]:
    found = [*unlike(config, hidden_act="silu"), *lost_rope(config, ("default", "longrope"))]
    given = rope_parameters(config).get("attention_factor")
    return found + ([f"attention_factor {given}"] if given not in (None, attention_factor(config)) else [])
