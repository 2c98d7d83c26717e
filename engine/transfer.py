"""The one door through which tensors leave the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of the tensors as numpy arrays the caller owns; bfloat16 and float16 become float32.

    On CUDA all copies are started into pinned memory and waited for once.
    """
    if any(t.is_cuda for t in tensors.values()):
        return _from_cuda(tensors)
    return {name: _widened(t).detach().cpu().numpy().copy() for name, t in tensors.items()}


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _from_cuda(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    pinned = {}
    for name, tensor in tensors.items():
        source = _widened(tensor).detach()
        pinned[name] = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
        pinned[name].copy_(source, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    event.synchronize()
    return {name: tensor.numpy().copy() for name, tensor in pinned.items()}
