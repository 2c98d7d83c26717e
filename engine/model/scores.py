"""The products of attention, shared by its kinds: queries with keys, and a pattern with values."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.hooks import HookPoint
from engine.model.linear import Linear


def products(q: Tensor, keys: Tensor, scale: float) -> Tensor:
    """q · k · scale: queries ``[batch, pos, n_heads, d]`` and keys ``[batch, n_kv_heads, key, d]`` to
    ``[batch, n_heads, pos, key]``; query head h reads key head h // (n_heads // n_kv_heads)."""
    batch, n_queries, n_heads, d = q.shape
    n_kv_heads, n_keys = keys.shape[1:3]
    by_head = q if n_queries == 1 else q.transpose(1, 2)
    grouped = by_head.reshape(batch * n_kv_heads, -1, d)
    flat = keys.reshape(-1, n_keys, d).transpose(1, 2)
    ignored = grouped.narrow(2, 0, 1)  # beta = 0: only its device and type matter
    return torch.baddbmm(ignored, grouped, flat, beta=0, alpha=scale).view(batch, n_heads, n_queries, n_keys)


def mixed(pattern: Tensor, values: Tensor) -> Tensor:
    """Values ``[batch, n_kv_heads, key, d]`` mixed by a pattern ``[batch, n_heads, pos, key]``:
    ``[batch, pos, n_heads, d]``."""
    batch, n_heads, n_queries, n_keys = pattern.shape
    n_kv_heads, d = values.shape[1], values.shape[3]
    grouped = pattern.reshape(batch * n_kv_heads, -1, n_keys)
    z = torch.bmm(grouped, values.reshape(-1, n_keys, d))
    if n_queries == 1:
        return z.view(batch, 1, n_heads, d)
    return z.view(batch, n_heads, n_queries, d).transpose(1, 2)


def softmax(scores: Tensor, sinks: Tensor | None, *, float32: bool) -> tuple[Tensor, Tensor | None]:
    """Over keys, in float32 or in the scores' type, cast back: ``[batch, n_heads, pos, key]``.

    ``sinks`` ``[n_heads]`` take part as one more key that has no value; the second result is what they took,
    ``[batch, n_heads, pos]``.
    """
    wide = torch.float32 if float32 else scores.dtype
    if sinks is None:
        pattern = torch.softmax(scores, dim=-1, dtype=wide)
        return (pattern if wide == scores.dtype else pattern.to(scores.dtype)), None
    column = sinks.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    whole = torch.softmax(torch.cat((scores, column), dim=-1), dim=-1, dtype=wide).to(scores.dtype)
    return whole[..., :-1], whole[..., -1]


def written_by_head(z: Tensor, out: Linear, hook: HookPoint) -> Tensor:
    """What the heads write together, ``[batch, pos, d_model]``, with what each writes, z · W_O, shown to a hook.

    ``z`` is ``[batch, pos, n_heads, d]``; the hook gets ``[batch, pos, n_heads, d_model]``.
    """
    weight = out.weight.view(-1, *z.shape[2:])
    written = hook(torch.einsum("bphd,mhd->bphm", z, weight)).sum(2)
    return written if out.bias is None else written + out.bias
