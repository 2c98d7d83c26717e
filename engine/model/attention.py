"""Multi-head and grouped-query attention.

One query (decode) is computed explicitly, so that every head's pattern row is there for free; several (prefill)
run through the fused kernel, unless a hook asks for scores or pattern.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.cache import KVCache
from engine.config import AttentionSpec
from engine.hooks import HookPoints
from engine.model.linear import Linear
from engine.model.rope import Turn, rotate


class Attention(nn.Module):
    """Query head h reads key/value head h // group."""

    def __init__(self, spec: AttentionSpec, d_model: int, points: HookPoints, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.n_all = spec.n_heads + 2 * spec.n_kv_heads
        self.qkv = Linear(d_model, self.n_all * spec.d_head, bias=spec.qkv_bias)
        self.out = Linear(spec.n_heads * spec.d_head, d_model, bias=spec.out_bias)
        prefix = f"blocks.{layer}.attn."
        self.hook_q, self.hook_k, self.hook_v = (points[f"{prefix}hook_{name}"] for name in "qkv")
        self.hook_rot_q, self.hook_rot_k = points[f"{prefix}hook_rot_q"], points[f"{prefix}hook_rot_k"]
        self.hook_append = points[f"blocks.{layer}.kv.hook_append"]
        self.hook_cached_k = points[f"blocks.{layer}.kv.hook_k"]
        self.hook_cached_v = points[f"blocks.{layer}.kv.hook_v"]
        self.hook_attn_scores = points[f"{prefix}hook_attn_scores"]
        self.hook_pattern = points[f"{prefix}hook_pattern"]
        self.hook_z = points[f"{prefix}hook_z"]
        self.hook_result = points[f"{prefix}hook_result"]

    def forward(self, x: Tensor, turn: Turn, cache: KVCache | None) -> Tensor:
        """``[batch, pos, d_model]`` to what the heads write together, ``[batch, pos, d_model]``."""
        qk, v = self.project(x)  # [batch, pos, n_heads + n_kv_heads | n_kv_heads, d_head]
        if self.hook_q.active or self.hook_k.active:
            q, k = self.split(qk)
            qk = torch.cat((self.hook_q(q), self.hook_k(k)), dim=2)
        v = self.hook_v(v)
        q, k = self.split(rotate(qk, turn))
        q, k = self.hook_rot_q(q), self.hook_rot_k(k)
        keys, values = self._stored(k, v, cache)  # [batch, n_kv_heads, key, d_head]
        z = self.hook_z(self._mix(q, keys, values))  # [batch, pos, n_heads, d_head]
        if self.hook_result.wanted:
            return self._written_by_head(z)
        return self.out(z.flatten(2))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys ``[batch, pos, n_heads + n_kv_heads, d_head]``, values; after bias, before rope."""
        heads = self.qkv(x).view(*x.shape[:2], self.n_all, self.spec.d_head)
        n_rotated = self.n_all - self.spec.n_kv_heads
        return heads[:, :, :n_rotated], heads[:, :, n_rotated:]

    def split(self, qk: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys apart."""
        return qk[:, :, : self.spec.n_heads], qk[:, :, self.spec.n_heads :]

    def _stored(self, k: Tensor, v: Tensor, cache: KVCache | None) -> tuple[Tensor, Tensor]:
        keys, values = k.transpose(1, 2), v.transpose(1, 2)
        start = 0 if cache is None else cache.length
        if cache is not None:
            keys, values = cache.append(self.layer, keys, values)
        if self.hook_append.active:
            size = k.numel() * k.element_size() + v.numel() * v.element_size()
            self.hook_append(torch.tensor([start, k.shape[1], size]))
        if self.hook_cached_k.active:
            keys = self.hook_cached_k(keys.transpose(1, 2)).transpose(1, 2)
        if self.hook_cached_v.active:
            values = self.hook_cached_v(values.transpose(1, 2)).transpose(1, 2)
        return keys, values

    def _mix(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if q.shape[1] == 1 or self.hook_attn_scores.wanted or self.hook_pattern.wanted:
            scores = self.hook_attn_scores(self.scores(q, keys, keys.shape[2] - q.shape[1]))
            return self.weigh(self.hook_pattern(self.softmax(scores)), values)
        self.hook_attn_scores.visit()
        self.hook_pattern.visit()
        return self._fused(q, keys, values)

    def scores(self, q: Tensor, keys: Tensor, first: int) -> Tensor:
        """q · k · scale, -inf where key > query: ``[batch, n_heads, pos, key]``; query 0 stands at position first."""
        batch, n_queries, n_heads, d_head = q.shape
        n_keys = keys.shape[2]
        grouped = q.transpose(1, 2).reshape(-1, self.spec.group * n_queries, d_head)
        scores = torch.bmm(grouped, keys.reshape(-1, n_keys, d_head).transpose(1, 2))
        scores = scores.mul_(self.spec.scale).view(batch, n_heads, n_queries, n_keys)
        if n_queries > 1 or first + 1 < n_keys:
            scores.masked_fill_(~causal_mask(n_queries, n_keys, first, q.device), float("-inf"))
        return scores

    def softmax(self, scores: Tensor) -> Tensor:
        """Over keys, in float32, cast back: ``[batch, n_heads, pos, key]``."""
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)

    def weigh(self, pattern: Tensor, values: Tensor) -> Tensor:
        """Values mixed by the pattern: ``[batch, pos, n_heads, d_head]``."""
        batch, n_heads, n_queries, n_keys = pattern.shape
        grouped = pattern.reshape(-1, self.spec.group * n_queries, n_keys)
        z = torch.bmm(grouped, values.reshape(-1, n_keys, self.spec.d_head))
        return z.view(batch, n_heads, n_queries, -1).transpose(1, 2)

    def _fused(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        n_queries, n_keys = q.shape[1], keys.shape[2]
        whole = n_queries == n_keys  # torch's is_causal is aligned top left: right only for an empty cache
        mask = None if whole else causal_mask(n_queries, n_keys, n_keys - n_queries, q.device)
        z = F.scaled_dot_product_attention(
            q.transpose(1, 2), keys, values, mask, is_causal=whole, scale=self.spec.scale, enable_gqa=True
        )
        return z.transpose(1, 2)

    def _written_by_head(self, z: Tensor) -> Tensor:
        weight = self.out.weight.view(-1, self.spec.n_heads, self.spec.d_head)
        result = self.hook_result(torch.einsum("bphd,mhd->bphm", z, weight))
        written = result.sum(2)
        return written if self.out.bias is None else written + self.out.bias


def causal_mask(n_queries: int, n_keys: int, first: int, device: torch.device) -> Tensor:
    """True where a query may look: ``[pos, key]``; query 0 stands at position ``first``."""
    queries = torch.arange(first, first + n_queries, device=device)
    return torch.arange(n_keys, device=device)[None, :] <= queries[:, None]
