"""Root-mean-square normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.config import NormSpec
from engine.hooks import HookPoints


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight over the last axis (Zhang & Sennrich 2019).

    Normalised in float32 and cast back before the weight, as transformers' LlamaRMSNorm does.
    """

    def __init__(self, spec: NormSpec, d_model: int, points: HookPoints, prefix: str) -> None:
        super().__init__()
        self.eps = spec.eps
        self.weight = nn.Parameter(torch.empty(d_model))
        self.hook_scale = points[f"{prefix}.hook_scale"]
        self.hook_normalized = points[f"{prefix}.hook_normalized"]

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        inverse = self.inverse_scale(wide)
        if self.hook_scale.active:
            scale = inverse.reciprocal()
            replaced = self.hook_scale(scale)
            inverse = inverse if replaced is scale else replaced.reciprocal()
        return self.weight * self.hook_normalized((wide * inverse).to(x.dtype))

    def inverse_scale(self, wide: Tensor) -> Tensor:
        """1 / sqrt(mean(x²) + eps), ``[..., 1]`` float32."""
        return torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)

    def recompute(self, x: Tensor) -> Tensor:
        """The same without hooks."""
        wide = x.to(torch.float32)
        return self.weight * (wide * self.inverse_scale(wide)).to(x.dtype)
