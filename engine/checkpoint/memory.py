"""Is there room for a model? Asked before anything is allocated."""

from __future__ import annotations

import psutil
import torch

from engine.cache import entries_per_position
from engine.config import ModelConfig
from engine.errors import MemoryShortage

WORKING_SPACE = 64 * 2**20  # bytes that a pass needs beside weights and cache
CACHED_POSITIONS = 1024  # a model that cannot cache this many positions is of no use


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available


def cache_bytes(config: ModelConfig, positions: int, itemsize: int) -> int:
    """What the layers store per position, times positions; windows and chunks are counted as if they kept all."""
    return sum(entries_per_position(config, layer) for layer in range(config.n_layers)) * itemsize * positions


def check_memory(config: ModelConfig, weight_bytes: int, device: torch.device, dtype: torch.dtype) -> None:
    """Raise MemoryShortage, with the numbers, unless weights and a cache of CACHED_POSITIONS fit."""
    positions = min(config.n_ctx, CACHED_POSITIONS)
    cache = cache_bytes(config, positions, dtype.itemsize)
    needed, free = weight_bytes + cache + WORKING_SPACE, free_bytes(device)
    if needed > free:
        name = str(dtype).removeprefix("torch.")
        raise MemoryShortage(
            f"The model needs {gigabytes(needed)} on {device} ({gigabytes(weight_bytes)} weights in {name}, "
            f"{gigabytes(cache)} cache for {positions} positions) and {gigabytes(free)} are free; "
            "close other programs, or choose a smaller model or type."
        )


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
