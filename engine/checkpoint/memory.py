"""Is there room for a model? Asked before anything is allocated."""

from __future__ import annotations

import psutil
import torch

from engine.amounts import bytes_text
from engine.checkpoint.room import CACHED_POSITIONS, parts_text, room
from engine.config import ModelConfig
from engine.errors import MemoryShortage


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available


def check_memory(config: ModelConfig, parameters: int, device: torch.device, dtype: torch.dtype) -> None:
    """Raise MemoryShortage, with the numbers, unless weights and a run of CACHED_POSITIONS fit."""
    positions = min(config.n_ctx, CACHED_POSITIONS)
    found, free = room(config, parameters, positions, dtype.itemsize), free_bytes(device)
    if found.needed > free:
        name = str(dtype).removeprefix("torch.")
        raise MemoryShortage(
            f"The model needs {bytes_text(found.needed)} on {device} ({parts_text(found, name, positions)}) and "
            f"{bytes_text(free)} are free; close other programs, or choose a smaller model or type."
        )
