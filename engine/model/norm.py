"""Normalisation over the last axis: root-mean-square or layer norm, with and without weight and bias."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import NormSpec
from engine.hooks import HookPoints


@cache
def _constant(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float32, device="cpu")


class Norm(nn.Module):
    """(x - shift) / scale · (weight + offset) + bias; each part where the spec has it.

    Computed in float32 and cast back before or after the weight, as the spec says: with float64 weights too, so that
    results equal transformers', which hard-codes these casts. A norm without ``float32`` is computed in the model's
    type, a half-precision one in float32 as torch does inside.
    """

    def __init__(self, spec: NormSpec, size: int, points: HookPoints, prefix: str) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.empty(size)) if spec.weight else None
        self.bias = nn.Parameter(torch.empty(size)) if spec.bias else None
        self.hook_scale = points[f"{prefix}.hook_scale"]
        self.hook_normalized = points[f"{prefix}.hook_normalized"]
        self._plain = spec.kind == "rms" and spec.weight and not spec.bias and not spec.offset
        cast_between = spec.float32 and (spec.weight or spec.bias)
        self._torch = spec.kind == "layer" and not spec.offset and not cast_between

    def forward(self, x: Tensor) -> Tensor:
        """``[..., size]`` to the same."""
        if not (self.hook_scale.watched or self.hook_normalized.watched):
            normed = self.recompute(x)
            self.hook_normalized.visit()
            return normed
        wide = self._centred(x)
        inverse = self._inverse_scale(wide)
        scale = inverse.reciprocal().to(wide.dtype if self.spec.float32 else x.dtype)
        replaced = self.hook_scale(scale)
        wide = wide * (inverse if replaced is scale else replaced.to(wide.dtype).reciprocal())
        if self.spec.weight_first:  # the hook sees the model's type, the weight the unrounded figures unless replaced
            normalized = wide.to(x.dtype)
            replaced = self.hook_normalized(normalized)
            return self._weighted(wide if replaced is normalized else replaced.to(wide.dtype), x.dtype)
        return self._weighted(self.hook_normalized(wide.to(x.dtype)), x.dtype)

    def recompute(self, x: Tensor) -> Tensor:
        """The same without hooks."""
        if self._plain and x.dtype == torch.float32:
            return self._fast(x)
        if self._torch:
            wide = x.to(torch.float32) if self.spec.float32 else x
            return F.layer_norm(wide, x.shape[-1:], self.weight, self.bias, self.spec.eps).to(x.dtype)
        wide = self._centred(x)
        wide = wide * self._inverse_scale(wide)
        return self._weighted(wide if self.spec.weight_first else wide.to(x.dtype), x.dtype)

    def _fast(self, x: Tensor) -> Tensor:
        """The same in fewer calls; a single row by a dot product, which saves 4 ms of a token's 50 on a CPU."""
        if x.numel() != x.shape[-1] or x.device.type != "cpu" or self.weight is None:
            return F.rms_norm(x, x.shape[-1:], self.weight, self.spec.eps)
        row = x.view(-1)
        mean_square = torch.add(_constant(self.spec.eps), torch.dot(row, row), alpha=1 / row.shape[0])
        return x * mean_square.rsqrt_() * self.weight

    def _centred(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32) if self.spec.float32 or x.dtype.itemsize < 4 else x
        return wide if self.spec.kind == "rms" else wide - wide.mean(-1, keepdim=True)

    def _inverse_scale(self, centred: Tensor) -> Tensor:
        """1 / sqrt(mean(x²) + eps), ``[..., 1]``."""
        return torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + self.spec.eps)

    def _weighted(self, normalized: Tensor, dtype: torch.dtype) -> Tensor:
        if self.weight is not None:
            weight = self.weight.to(torch.float32) if self.spec.offset else self.weight
            normalized = (weight + self.spec.offset if self.spec.offset else weight) * normalized
        if self.bias is not None:
            normalized = normalized + self.bias
        return normalized.to(dtype)
