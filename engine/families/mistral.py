"""Mistral without a sliding window (v0.2 and later): Llama with other defaults.

Facts: transformers ``configuration_mistral.py``. GGUF stores it as architecture ``llama``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import Fields, ModelConfig
from engine.errors import ConfigError
from engine.families import llama
from engine.families.llama import ignored, slots

__all__ = ["DEFAULTS", "MODEL_TYPES", "config", "ignored", "slots"]

MODEL_TYPES = ("mistral",)

DEFAULTS: dict[str, Any] = llama.DEFAULTS | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096 * 32,
    "sliding_window": 4096,
}


def config(values: Mapping[str, Any]) -> ModelConfig:
    """The specs of a mistral config.json. Raises ConfigError where a window would hide positions."""
    read = llama.config({**values, "attention_bias": False, "mlp_bias": False}, DEFAULTS)
    fields = Fields(values, DEFAULTS)
    window = None if fields.get("sliding_window") is None else fields.integer("sliding_window")
    if window is not None and window < read.n_ctx:
        raise ConfigError(f"This Mistral attends through a sliding window of {window}; windows are not supported yet.")
    return read
