"""What config.json's ``quantization_config`` says about safetensors, and whether such weights can be read.

Facts: transformers ``utils/quantization_config.py`` (``FineGrainedFP8Config``, ``Mxfp4Config``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import ConfigError

METHODS = ("fp8", "mxfp4")

# Fields of fp8 that say how numbers are stored or computed, and the values that the reader understands.
# Activations are never quantised here: with "dynamic" the file has nothing for them, with "static" it has scales.
_UNDERSTOOD: dict[str, tuple[Any, ...]] = {
    "fmt": (None, "e4m3"),
    "activation_scheme": (None, "dynamic"),
    "scale_fmt": (None, "float", "ue8m0"),
    "expert_dtype": (None, "fp8"),
}


def weight_block(values: Mapping[str, Any]) -> tuple[int, int] | None:
    """(rows, columns) that share one scale in an fp8 model; None where the config names no such block.

    Raises ConfigError for a method that cannot be read or a field that changes the numbers and is not understood.
    """
    table = _table(values)
    if table is None:
        return None
    if not isinstance(table, Mapping):
        raise ConfigError(f"The config says quantization_config = {table!r:.80}; a table is needed.")
    method = table.get("quant_method")
    if method not in METHODS:
        raise ConfigError(
            f"The config says quantization_config.quant_method = {method!r:.80}; weights quantised so cannot be read, "
            f"only {' and '.join(METHODS)} and GGUF can."
        )
    return _fp8_block(table) if method == "fp8" else None


def _table(values: Mapping[str, Any]) -> Any:
    """A multimodal wrapper has the table beside its text_config, or in it."""
    text = values.get("text_config")
    tables = (values, text) if isinstance(text, Mapping) else (values,)
    return next((table["quantization_config"] for table in tables if table.get("quantization_config")), None)


def _fp8_block(table: Mapping[str, Any]) -> tuple[int, int] | None:
    for key, understood in _UNDERSTOOD.items():
        if table.get(key) not in understood:
            raise ConfigError(
                f"The config says quantization_config.{key} = {table[key]!r:.80}, which is not supported for fp8; "
                f"supported is {understood[1]!r}."
            )
    block = table.get("weight_block_size")
    if block is None:
        return None
    if not isinstance(block, list) or len(block) != 2 or not all(type(size) is int and size > 0 for size in block):
        raise ConfigError(
            f"The config says quantization_config.weight_block_size = {block!r:.80}; two whole numbers are needed."
        )
    return block[0], block[1]
