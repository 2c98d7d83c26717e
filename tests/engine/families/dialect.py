"""The older dialect of config.json, which most files on the Hub are in, made from the newer one."""

from __future__ import annotations

import copy
from typing import Any

_ROPE_ALONE = ("rope_theta", "partial_rotary_factor")
_NEVER_SAVED = ("layer_types", "rope_parameters", "dtype", "qk_head_dim")
_SINCE_LLAMA3 = ("llama4_text", "gpt_oss", "qwen3", "qwen3_moe")
_OWN_FACTS: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"scoring_func": "softmax", "seq_aux": True, "aux_loss_alpha": 0.001, "moe_layer_freq": 1},
    "deepseek_v3": {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1},
    "falcon": {"apply_residual_connection_post_layernorm": False},
    "gpt2": {"task_specific_params": None},
    "gemma2": {"hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid"},
    "llama": {"pretraining_tp": 1},
}
_OWN_NAMES: dict[str, dict[str, str]] = {
    "qwen3_moe": {"num_local_experts": "num_experts"},
    "gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"},
    "deepseek_v3": {"num_mtp_layers": "num_nextn_predict_layers"},
}


def old_dialect(values: dict[str, Any]) -> dict[str, Any]:
    """The same config as files before transformers 5 write it.

    ``rope_theta`` and ``rope_scaling`` (null for a plain rope) instead of ``rope_parameters``, ``torch_dtype`` instead
    of ``dtype``, no ``layer_types`` (they follow from the family's other fields), the family's own names.
    """
    family = values["model_type"]
    old = {name: copy.deepcopy(value) for name, value in values.items() if name not in _NEVER_SAVED}
    if "text_config" in values:
        vision = {name: value for name, value in values["vision_config"].items() if name not in _NEVER_SAVED}
        parts = {"text_config": old_dialect(values["text_config"]), "vision_config": vision}
        return old | parts | {"torch_dtype": "bfloat16"}
    old |= {"torch_dtype": "bfloat16"} | _old_rope(family, values) | _old_pattern(family, values)
    old |= _OWN_FACTS.get(family, {})
    if family == "gpt2":
        old["n_ctx"] = old["n_positions"]
    if family == "gemma":
        old["hidden_act"] = "gelu"  # as the first files say; the tanh form is meant
    renamed = _OWN_NAMES.get(family, {})
    return {renamed.get(name, name): value for name, value in old.items()}


def _old_rope(family: str, values: dict[str, Any]) -> dict[str, Any]:
    tables = values.get("rope_parameters")
    if tables is None:
        return {}
    if "full_attention" in tables:
        local = {"rope_local_base_freq": tables["sliding_attention"]["rope_theta"]} if "gemma3" in family else {}
        return _old_table(tables["full_attention"], "rope_type") | local
    since_llama3 = family in _SINCE_LLAMA3 or tables.get("rope_type") == "llama3"
    return _old_table(tables, "rope_type" if since_llama3 else "type")


def _old_table(table: dict[str, Any], key: str) -> dict[str, Any]:
    """One rope: ``type`` was the key before Llama 3.1 brought ``rope_type``."""
    kind = table.get("rope_type", "default")
    alone = {name: table[name] for name in _ROPE_ALONE if name in table}
    if kind == "default" and key == "type":
        return alone | {"rope_scaling": None}
    rest = {name: value for name, value in table.items() if name not in (*_ROPE_ALONE, "rope_type")}
    return alone | {"rope_scaling": {key: kind, **rest}}


def _old_pattern(family: str, values: dict[str, Any]) -> dict[str, Any]:
    """Gemma 3's files count from one full layer to the next."""
    if family != "gemma3_text":
        return {}
    return {"sliding_window_pattern": values["layer_types"].index("full_attention") + 1}
