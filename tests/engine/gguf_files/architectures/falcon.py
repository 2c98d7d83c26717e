"""falcon (7B, 40B, 180B, 11B). Sources: ``conversion/falcon.py``, ``src/models/falcon.cpp``.

Tensors: ``query_key_value`` regrouped from rows [group: q's, k, v] to [q | k | v] (``tensor_data_layout``
"jploski"; the same for 7B, whose one group is all). ``ln_attn`` -> ``attn_norm_2`` and ``ln_mlp`` -> ``attn_norm``;
one shared ``input_layernorm`` -> ``attn_norm`` (then no ``attn_norm_2``: it feeds both parts).
Implied: attention and MLP in parallel on the same stream, LayerNorm with biases, exact gelu, not gated, linear maps
without biases, half-split rope over the whole head with base 10000 (no key: Falcon2-11B's own base is lost),
``context_length`` always 2048, ``feed_forward_length`` always 4·embedding_length. Tied unless ``output`` is there.
RW (ALiBi, sequential, ``bias``) cannot be converted: falcon has no ``ffn_norm`` for its second norm, its qkv bias
cannot be regrouped, and nothing says ALiBi; ``write_gguf`` raises. The converter takes ``num_kv_heads`` from the
config; the number that the model uses is taken here (1 if ``multi_query`` and not ``new_decoder_architecture``).
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import Metadata, lost_rope, unlike
from tests.engine.gguf_files.model_folder import Config, State, rope_parameters

ARCHITECTURE = "falcon"
MODEL_TYPES = ("falcon",)


def metadata(config: Config) -> Metadata:
    return {
        "context_length": 2048,
        "tensor_data_layout": "jploski",
        "embedding_length": config["hidden_size"],
        "feed_forward_length": 4 * config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": groups(config),
        "attention.layer_norm_epsilon": config["layer_norm_epsilon"],
    }


def groups(config: Config) -> int:
    """Key/value heads."""
    if config.get("new_decoder_architecture"):
        return config.get("num_kv_heads") or config["num_attention_heads"]
    return 1 if config.get("multi_query", True) else config["num_attention_heads"]


def tensors(config: Config, state: State) -> State:
    if config.get("alibi") or not (config.get("parallel_attn", True) or config.get("new_decoder_architecture")):
        raise ValueError("Falcon RW (ALiBi or sequential) has no GGUF form: the architecture falcon has rope.")
    return {name: _by_kind(values, config) if ".query_key_value." in name else values for name, values in state.items()}


def _by_kind(rows: np.ndarray, config: Config) -> np.ndarray:
    heads, kv_heads = config["num_attention_heads"], groups(config)
    grouped = rows.reshape(kv_heads, heads // kv_heads + 2, -1, rows.shape[-1])
    parts = grouped[:, :-2], grouped[:, -2:-1], grouped[:, -1:]
    return np.concatenate([part.reshape(-1, rows.shape[-1]) for part in parts])


def lost(config: Config) -> list[str]:
    theta = rope_parameters(config).get("rope_theta", 10000.0)
    return [
        *unlike(config, activation="gelu", ffn_hidden_size=4 * config["hidden_size"], alibi=False, bias=False),
        *lost_rope(config, held=("default",)),
        *([f"rope_theta {theta}"] if theta != 10000.0 else []),
    ]
