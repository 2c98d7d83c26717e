"""Metadata keys that most architectures share, without the architecture's prefix.

Facts: ``TextModel.set_gguf_parameters`` in ``conversion/base.py`` of llama.cpp. A key is written only if the config has
the field; numbers are float32 or uint32 by key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gguf import ExpertGatingFuncType

from tests.engine.gguf_files.model_folder import Config, rope_parameters

Metadata = dict[str, Any]

GATING = {"softmax": int(ExpertGatingFuncType.SOFTMAX), "sigmoid": int(ExpertGatingFuncType.SIGMOID)}
# key -> fields of a config; the first that is there and not null is taken
INTEGERS: dict[str, tuple[str, ...]] = {
    "block_count": ("num_hidden_layers", "n_layer"),
    "context_length": ("max_position_embeddings", "n_ctx", "n_positions"),
    "embedding_length": ("hidden_size", "n_embd"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "expert_count": ("num_local_experts", "num_experts"),
    "expert_used_count": ("num_experts_per_tok",),
    "expert_group_count": ("n_group",),
    "expert_group_used_count": ("topk_group",),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
}
FLOATS: dict[str, tuple[str, ...]] = {
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon"),
}
YARN: dict[str, str] = {
    "rope.scaling.yarn_attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}


def text_model(config: Config) -> Metadata:
    """What every architecture gets whose class in the converter adds to the base class."""
    found: Metadata = {key: int(first(config, fields)) for key, fields in INTEGERS.items() if has(config, fields)}
    found |= {key: float(first(config, fields)) for key, fields in FLOATS.items() if has(config, fields)}
    if config.get("scoring_func"):
        found["expert_gating_func"] = GATING[config["scoring_func"]]
    return found | rope(config)


def rope(config: Config) -> Metadata:
    """Base and stretching. Neither ``llama3`` (a tensor holds it) nor ``dynamic`` (lost) is written here."""
    parameters = rope_parameters(config)
    found = rope_scaling(parameters)
    if parameters.get("rope_theta") is not None:
        found["rope.freq_base"] = float(parameters["rope_theta"])
    sliding = (config.get("rope_parameters") or {}).get("sliding_attention", {})
    if sliding.get("rope_theta") is not None:
        found["rope.freq_base_swa"] = float(sliding["rope_theta"])
    return found


def rope_scaling(parameters: dict[str, Any]) -> Metadata:
    kind = parameters.get("rope_type", "default")
    if kind == "longrope":
        return {"rope.scaling.type": "longrope"}
    if kind not in ("linear", "yarn") or parameters.get("factor") is None:
        return {}
    found: Metadata = {"rope.scaling.type": kind, "rope.scaling.factor": float(parameters["factor"])}
    if kind == "yarn":
        found["rope.scaling.original_context_length"] = int(parameters["original_max_position_embeddings"])
        found |= {key: float(parameters[field]) for key, field in YARN.items() if parameters.get(field) is not None}
    return found


def first(config: Config, fields: tuple[str, ...]) -> Any:
    """The value of the first field that is there and not null, or None."""
    return next((config[field] for field in fields if config.get(field) is not None), None)


def has(config: Config, fields: tuple[str, ...]) -> bool:
    return first(config, fields) is not None


def head_dim(config: Config) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def llama3_divisors(config: Config) -> dict[str, np.ndarray]:
    """``rope_freqs.weight``: what each inverse frequency is divided by (``llama.py``, ``generate_extra_tensors``).

    The converter takes the original context from the top level of the config and else 8192, which is right for every
    published model; here the value of the rope's own parameters comes first, so that short contexts can be tested.
    """
    rope = rope_parameters(config)
    if rope.get("rope_type") != "llama3":
        return {}
    original = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings", 8192)
    low, high, factor = rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0), rope.get("factor", 8.0)
    size = head_dim(config)
    wavelengths = [2 * math.pi * rope.get("rope_theta", 10000.0) ** (i / size) for i in range(0, size, 2)]
    divisors = [_llama3_divisor(original / wavelength, low, high, factor) for wavelength in wavelengths]
    return {"rope_freqs.weight": np.array(divisors, dtype=np.float32)}


def _llama3_divisor(turns: float, low: float, high: float, factor: float) -> float:
    """``turns``: how often the pair turns within the original context."""
    if turns > high:
        return 1.0
    if turns < low:
        return factor
    smooth = (turns - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)


def lost_rope(
    config: Config, held: tuple[str, ...] = ("default", "linear", "yarn"), truncates: bool = True
) -> list[str]:
    """What of the rope an architecture's file does not hold; ``truncates``: the yarn that its name implies."""
    parameters = rope_parameters(config)
    kind = parameters.get("rope_type", "default")
    found = [] if kind in held else [f"rope_type {kind}"]
    if kind == "yarn" and parameters.get("truncate", True) is not truncates:
        found.append(f"truncate {not truncates}")
    if kind == "yarn" and "deepseek" not in config["model_type"] and parameters.get("mscale") is not None:
        found.append("mscale")
    return found


def unlike(config: Config, **implied: Any) -> list[str]:
    """Fields whose value is neither absent nor null nor what the architecture implies."""
    return [
        f"{field} {config[field]}" for field, value in implied.items() if config.get(field) not in (None, value, [])
    ]


def lost_window(config: Config) -> list[str]:
    """For architectures that hold no window: the kinds of layers that are not full attention."""
    if config.get("use_sliding_window") is False:
        return []
    return [f"sliding_window {config['sliding_window']}"] if config.get("sliding_window") else []
