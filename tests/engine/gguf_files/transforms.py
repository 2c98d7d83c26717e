"""What the converter does to tensors on their way into the file.

Facts: ``modify_tensors`` of the classes in ``conversion/*.py`` of llama.cpp, named at each function.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from tests.engine.gguf_files.model_folder import Config, State

EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(\w+)\.weight")


def interleave_rotary(rows: np.ndarray, heads: int) -> np.ndarray:
    """Row j·d_head/2 + i of a head goes to 2i + j: halves become neighbouring pairs (``llama.py``, ``permute``)."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def with_interleaved_rotary(config: Config, state: State) -> State:
    """Q and K, weights and biases, of the llama kind."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": key_value_heads(config)}
    return {
        name: interleave_rotary(values, heads[part]) if (part := name.split(".")[-2]) in heads else values
        for name, values in state.items()
    }


def key_value_heads(config: Config) -> int:
    return config.get("num_key_value_heads") or config["num_attention_heads"]


def stack_experts(state: State, name: str = "{layer}.{part}.weight") -> State:
    """One (E, out, in) tensor for each ``...experts.E.part.weight``; ``name`` may use layer, the number and part."""
    stacked: dict[str, list[tuple[int, np.ndarray]]] = {}
    kept = {}
    for key, values in state.items():
        if found := EXPERT.fullmatch(key):
            number = re.search(r"\.(\d+)\.", key)
            target = name.format(layer=found[1], number=number[1] if number else "", part=found[3])
            stacked.setdefault(target, []).append((int(found[2]), values))
        else:
            kept[key] = values
    in_order = {key: [values for _, values in sorted(found, key=lambda e: e[0])] for key, found in stacked.items()}
    return kept | {key: np.stack(experts) for key, experts in in_order.items()}


def transposed(values: np.ndarray) -> np.ndarray:
    """The last two axes exchanged."""
    return np.ascontiguousarray(np.swapaxes(values, -1, -2))


def split_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[gate | up] of the last but one axis (``granite.py``)."""
    half = values.shape[-2] // 2
    return values[..., :half, :], values[..., half:, :]


def renamed(state: State, changes: Iterable[tuple[str, str]]) -> State:
    """Every name with each pair's first string replaced by its second."""
    result = {}
    for name, values in state.items():
        for old, new in changes:
            name = name.replace(old, new)
        result[name] = values
    return result
