"""Rows that are longer than a screen is wide, reduced block by block of their columns."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def blocks(rows: Tensor, block: int) -> Tensor:
    """``[rows, columns]`` as ``[rows, ceil(columns / block), block]``, filled up with 0."""
    return F.pad(rows, (0, -rows.shape[1] % block)).unflatten(1, (-1, block))


def largest(rows: Tensor, block: int) -> Tensor:
    """The maximum of each block, ``[rows, ceil(columns / block)]``; NaN where one is among them."""
    return rows if block == 1 else blocks(rows, block).amax(-1)


def largest_by_magnitude(rows: Tensor, block: int) -> Tensor:
    """The entry of largest magnitude of each block, with its sign: ``[rows, ceil(columns / block)]``."""
    if block == 1:
        return rows
    padded = blocks(rows, block)
    return padded.gather(-1, padded.abs().argmax(-1, keepdim=True)).squeeze(-1)
