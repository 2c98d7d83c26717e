"""A linear map that is also fast for a single row on a CPU, where reading the weight is all that counts.

Measured for SmolLM2's 540 MB of float32 on two AMD cores: rows stored together 48 ms a token; columns stored together
(the layout below) 32 ms on one thread; and cut into chunks for two threads, which torch's matrix-vector product does
not use by itself, 29 ms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHUNKS = 4


def empty_parameter(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An empty tensor of this shape in the layout that decoding reads fastest: on a CPU a weight's columns together.

    Of stacked weights ``[n_experts, d_out, d_in]`` each one's columns.
    """
    if device.type != "cpu" or len(shape) < 2:
        return torch.empty(shape, dtype=dtype, device=device)
    *stack, d_out, d_in = shape
    return torch.empty((*stack, d_in, d_out), dtype=dtype).transpose(-1, -2)


class Linear(nn.Linear):
    """x · Wᵀ + b."""

    def forward(self, x: Tensor) -> Tensor:
        return project(x, self.weight, self.bias)


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``[..., d_in]`` and a weight ``[d_out, d_in]`` to ``[..., d_out]``."""
    d_out, d_in = weight.shape
    if x.numel() != d_in or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    if d_out % _CHUNKS or torch.get_num_threads() == 1:
        row = torch.mm(x.reshape(1, d_in), weight.t()).view(*x.shape[:-1], d_out)
        return row if bias is None else row + bias
    chunks = weight.view(_CHUNKS, d_out // _CHUNKS, d_in).transpose(1, 2)
    row = torch.bmm(x.reshape(1, 1, d_in).expand(_CHUNKS, 1, d_in), chunks).view(*x.shape[:-1], d_out)
    return row if bias is None else row + bias
