"""Multi-head and grouped-query attention.

One query (decode) is computed explicitly, so that every head's pattern row is there for free; several (prefill)
run through the fused kernel, unless a hook asks for scores or pattern, or the scores are more than q · k · scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.cache import KVCache, announce
from engine.config import AttentionSpec
from engine.errors import HookError
from engine.hooks import HookPoints
from engine.model.linear import Linear, project
from engine.model.mask import alibi_bias, masked, visible
from engine.model.norm import Norm
from engine.model.rope import Turn, rotate
from engine.model.scores import mixed, products, softmax, written_by_head
from engine.reach import SCORED_AT_ONCE


class Attention(nn.Module):
    """Query head h reads key/value head h // group. Positions: the pass reads [start, start + pos)."""

    def __init__(self, spec: AttentionSpec, d_model: int, points: HookPoints, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        self.n_all = spec.n_heads + 2 * spec.n_kv_heads
        self.n_rotated = spec.n_heads + spec.n_kv_heads
        self.qkv = Linear(d_model, self.n_all * spec.d_head, bias=spec.qkv_bias)
        self.out = Linear(spec.n_heads * spec.d_head, d_model, bias=spec.out_bias)
        self.sinks = nn.Parameter(torch.empty(spec.n_heads)) if spec.sinks else None
        prefix = f"blocks.{layer}.attn."
        if spec.qk_norm is not None:
            self.q_norm = Norm(spec.qk_norm, self._norm_size(spec.n_heads), points, f"{prefix}q_norm")
            self.k_norm = Norm(spec.qk_norm, self._norm_size(spec.n_kv_heads), points, f"{prefix}k_norm")
            self.hook_q_normed, self.hook_k_normed = points[f"{prefix}hook_q_normed"], points[f"{prefix}hook_k_normed"]
        if spec.rope is not None:
            self.hook_rot_q, self.hook_rot_k = points[f"{prefix}hook_rot_q"], points[f"{prefix}hook_rot_k"]
        if spec.sinks:
            self.hook_sink = points[f"{prefix}hook_sink"]
        self.hook_q, self.hook_k, self.hook_v = (points[f"{prefix}hook_{name}"] for name in "qkv")
        self.hook_append = points[f"blocks.{layer}.kv.hook_append"]
        self.hook_cached_k = points[f"blocks.{layer}.kv.hook_k"]
        self.hook_cached_v = points[f"blocks.{layer}.kv.hook_v"]
        self.hook_attn_scores = points[f"{prefix}hook_attn_scores"]
        self.hook_pattern = points[f"{prefix}hook_pattern"]
        self.hook_z = points[f"{prefix}hook_z"]
        self.hook_result = points[f"{prefix}hook_result"]
        self._plain = spec.qk_norm is None and spec.rope is not None and spec.temperature is None
        self._has_terms = spec.sinks or spec.alibi or spec.softcap is not None

    def forward(self, x: Tensor, turn: Turn | None, cache: KVCache | None) -> Tensor:
        """``[batch, pos, d_model]`` to what the heads write together, ``[batch, pos, d_model]``."""
        start = 0 if cache is None else cache.length
        q, k, v = self._heads(x, turn, start)
        keys, values = self._stored(k, v, cache, start)  # [batch, n_kv_heads, key, d_head]
        z = self.hook_z(self._mix(q, keys, values, start))  # [batch, pos, n_heads, d_head]
        if self.hook_result.wanted:
            return written_by_head(z, self.out, self.hook_result)
        return self.out(z.flatten(2))

    # -- queries, keys, values -----------------------------------------------------------------------------------

    def _heads(self, x: Tensor, turn: Turn | None, start: int) -> tuple[Tensor, Tensor, Tensor]:
        qk, v = self._projected(x)
        if self._plain and not (self.hook_q.active or self.hook_k.active):  # queries and keys turn together
            q, k = self._split(rotate(qk, turn))  # type: ignore[arg-type]  # _plain: there is a rope
            v = self.hook_v(v)
            return self.hook_rot_q(q), self.hook_rot_k(k), v
        q, k = self._split(qk)
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)
        q, k = self._normed(q, k, "head", "all")
        if turn is not None:
            q, k = self.hook_rot_q(rotate(q, turn)), self.hook_rot_k(rotate(k, turn))
        q, k = self._normed(q, k, "rotated")
        return self._tempered(q, start), k, v

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys ``[batch, pos, n_heads + n_kv_heads, d_head]``, values; after bias and clip."""
        heads = self.qkv(x).view(*x.shape[:2], self.n_all, self.spec.d_head)
        qk, v = heads.split((self.n_rotated, self.spec.n_kv_heads), dim=2)
        if self.spec.clip is None:
            return qk, v
        return (qk if self.spec.qk_norm else self._clipped(qk)), self._clipped(v)

    def _split(self, qk: Tensor) -> tuple[Tensor, Tensor]:
        q, k = qk.split((self.spec.n_heads, self.spec.n_kv_heads), dim=2)
        return q, k

    def _clipped(self, x: Tensor) -> Tensor:
        return x if self.spec.clip is None else x.clamp(-self.spec.clip, self.spec.clip)

    def _normed(self, q: Tensor, k: Tensor, *when: str) -> tuple[Tensor, Tensor]:
        if self.spec.qk_norm is None or self.spec.qk_norm_over not in when:
            return q, k
        q, k = self._normed_by(self.q_norm, q), self._normed_by(self.k_norm, k)
        return self.hook_q_normed(q), self.hook_k_normed(k)

    def _normed_by(self, norm: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        flat = x.flatten(2) if self.spec.qk_norm_over == "all" else x
        return self._clipped(norm(flat).view_as(x))

    def _norm_size(self, heads: int) -> int:
        return heads * self.spec.d_head if self.spec.qk_norm_over == "all" else self.spec.d_head

    def _tempered(self, q: Tensor, start: int) -> Tensor:
        """Queries grow with the logarithm of their position (Nakanishi 2025; transformers Llama4TextAttention)."""
        if self.spec.temperature is None:
            return q
        scale, floor = self.spec.temperature
        positions = torch.arange(start, start + q.shape[1], device=q.device).float()
        factor = torch.log1p(torch.floor((positions + 1.0) / floor)) * scale + 1.0
        return (q * factor[:, None, None]).to(q.dtype)

    # -- the cache -----------------------------------------------------------------------------------------------

    def _stored(self, k: Tensor, v: Tensor, cache: KVCache | None, start: int) -> tuple[Tensor, Tensor]:
        keys, values = k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            keys, values = cache.append(self.layer, keys, values)
        announce(self.hook_append, start, k, v)
        if self.hook_cached_k.active:
            keys = self.hook_cached_k(keys.transpose(1, 2)).transpose(1, 2)
        if self.hook_cached_v.active:
            values = self.hook_cached_v(values.transpose(1, 2)).transpose(1, 2)
        return keys, values

    # -- scores, pattern, mix ------------------------------------------------------------------------------------

    def _mix(self, q: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        wanted = self.hook_attn_scores.wanted or self.hook_pattern.wanted
        if q.shape[1] == 1 or wanted or (self.spec.sinks and self.hook_sink.wanted):
            scores = self.hook_attn_scores(self.scores(q, keys, start))
            return mixed(self._hooked_pattern(scores), values)
        self.hook_attn_scores.visit()
        if self.hook_pattern.wanted:  # since the pass stood at the scores
            return mixed(self._hooked_pattern(self.scores(q, keys, start)), values)
        self.hook_pattern.visit()
        return self._in_blocks(q, keys, values, start)

    def _hooked_pattern(self, scores: Tensor) -> Tensor:
        pattern, sunk = softmax(scores, self.sinks, float32=self.spec.softmax_float32)
        if sunk is not None and self.hook_sink.active and self.hook_sink(sunk) is not sunk:
            raise HookError(f"{self.hook_sink.name} only shows what the sink took; replace the pattern instead.")
        return self.hook_pattern(pattern)

    def scores(self, q: Tensor, keys: Tensor, start: int, head: int | None = None) -> Tensor:
        """q · k · scale, capped where the spec says so, -inf where a query does not see the key.

        ``[batch, n_heads, pos, key]``. Query 0 stands at position ``start``; the last key where the last query does.
        ``head``: queries and keys are those of this head alone.
        """
        return masked(self.scaled(q, keys, start + q.shape[1] - keys.shape[2], head), self.spec, start)

    def scaled(self, q: Tensor, keys: Tensor, first_key: int, head: int | None = None) -> Tensor:
        """Scores before the mask, of every query with every key; key 0 stands at position ``first_key``."""
        spec, scores = self.spec, products(q, keys, self.spec.scale)
        if spec.alibi:
            bias = alibi_bias(spec.n_heads, first_key, keys.shape[2], scores)
            scores = scores + _of_head(bias, head) * spec.scale
        if spec.softcap is not None:
            scores = spec.softcap * torch.tanh(scores / spec.softcap)
        return scores

    def softmax(self, scores: Tensor, head: int | None = None) -> Tensor:
        """The pattern of scores, without hooks: ``[batch, n_heads, pos, key]``; ``head``: of this one alone."""
        sinks = None if self.sinks is None else _of_head(self.sinks, head)
        return softmax(scores, sinks, float32=self.spec.softmax_float32)[0]

    def _in_blocks(self, q: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """Prefill: all queries at once where one kernel does it, else some rows at a time with the keys they see."""
        n_queries, first_key = q.shape[1], start + q.shape[1] - keys.shape[2]
        attend, rows = (
            (self._explicit, SCORED_AT_ONCE) if self._has_terms else (self._fused, self._fused_rows(n_queries))
        )
        parts = []
        for row in range(0, n_queries, rows):
            stop = min(row + rows, n_queries)
            seen = slice(max(0, self.spec.first_seen(start + row) - first_key), start + stop - first_key)
            parts.append(attend(q[:, row:stop], keys[:, :, seen], values[:, :, seen], start + row))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _fused_rows(self, n_queries: int) -> int:
        reach = self.spec.window or self.spec.chunk
        return n_queries if reach is None else max(reach, SCORED_AT_ONCE)

    def _explicit(self, q: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        return mixed(self.softmax(self.scores(q, keys, start)), values)

    def _fused(self, q: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        n_queries, n_keys = q.shape[1], keys.shape[2]
        # torch's is_causal is aligned top left: right only where query 0 and key 0 stand at the same position
        whole = n_queries == n_keys and self.spec.first_seen(start + n_queries - 1) <= start
        mask = None if whole else visible(self.spec, start, n_queries, n_keys, q.device)
        z = F.scaled_dot_product_attention(
            q.transpose(1, 2), keys, values, mask, is_causal=whole, scale=self.spec.scale, enable_gqa=True
        )
        return z.transpose(1, 2)

    # -- what is recomputed, without hooks -------------------------------------------------------------------------

    def queries(self, x: Tensor, turn: Turn | None, start: int, head: int | None = None) -> Tensor:
        """Queries as scores take them: ``[batch, pos, n_heads, d_head]``; ``head``: of this one alone."""
        alone = head is not None and not (self.spec.qk_norm and self.spec.qk_norm_over == "all")
        first, stop = (head, head + 1) if head is not None and alone else (0, self.spec.n_heads)
        q = self._tempered(self._recomputed(x, turn, first, stop), start)
        return q if alone or head is None else q[:, :, head : head + 1]

    @property
    def query_points(self) -> tuple[str, ...]:
        """Points of the layer where a pass shows what its queries are made of, last thing before the scores."""
        turned = () if self.spec.rope is None else ("attn.hook_rot_q",)
        normed = () if self.spec.qk_norm is None else ("attn.hook_q_normed",)
        order = (*turned, *normed) if self.spec.qk_norm_over == "rotated" else (*normed, *turned)
        return ("attn.hook_q", *order)[-1:]

    @property
    def key_point(self) -> str:
        """The point of the layer where a pass shows the keys that its queries read."""
        return "kv.hook_k"

    def shown_queries(self, shown: Sequence[Tensor], start: int, head: int) -> Tensor:
        """One head's queries of a pass as scores take them, ``[1, pos, 1, d]``, from what ``query_points`` showed."""
        return self._tempered(shown[0][:, :, head : head + 1], start)

    def shown_keys(self, shown: Tensor, head: int) -> Tensor:
        """The keys that a head reads, ``[1, 1, key, d]``, from what ``key_point`` showed."""
        return self.head_part(shown.transpose(1, 2), head)

    def keys(self, x: Tensor, turn: Turn | None) -> Tensor:
        """Keys as the cache stores them: ``[batch, n_kv_heads, pos, d_head]``."""
        return self._recomputed(x, turn, self.spec.n_heads, self.n_rotated).transpose(1, 2)

    def values(self, x: Tensor) -> Tensor:
        """Values as the cache stores them: ``[batch, n_kv_heads, pos, d_head]``."""
        return self._clipped(self._rows(x, self.n_rotated, self.n_all)).transpose(1, 2)

    def _rows(self, x: Tensor, first: int, stop: int) -> Tensor:
        """Heads [first, stop) of queries, keys and values: only their rows of the map are read."""
        rows = slice(first * self.spec.d_head, stop * self.spec.d_head)
        bias = None if self.qkv.bias is None else self.qkv.bias[rows]
        return project(x, self.qkv.weight[rows], bias).view(*x.shape[:2], stop - first, self.spec.d_head)

    def _recomputed(self, x: Tensor, turn: Turn | None, first: int, stop: int) -> Tensor:
        heads = self._rows(x, first, stop)
        if self.spec.qk_norm is None:
            heads = self._clipped(heads)
            return heads if turn is None else rotate(heads, turn)
        norm = (self.q_norm if first < self.spec.n_heads else self.k_norm).recompute
        before = self.spec.qk_norm_over != "rotated"
        heads = self._normed_by(norm, heads) if before else heads
        heads = heads if turn is None else rotate(heads, turn)
        return heads if before else self._normed_by(norm, heads)

    def head_part(self, part: Tensor, head: int | None) -> Tensor:
        """Of keys or values as stored what a head reads, ``[1, 1, key, d_head]``; None: all of it."""
        kv_head = 0 if head is None else head * self.spec.n_kv_heads // self.spec.n_heads
        return part if head is None else part[:, kv_head : kv_head + 1]

    def value_norms(self, stored: tuple[Tensor, ...], head: int | None) -> Tensor:
        """L2 norms of the value vectors that each head mixes, float32 ``[n_heads, key]``, or ``[1, key]`` of one."""
        norms = torch.linalg.vector_norm(self.head_part(stored[1], head)[0].float(), dim=-1)
        return norms if head is not None else norms.repeat_interleave(self.spec.n_heads // self.spec.n_kv_heads, dim=0)

    def vectors(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is stored, ``[1, n_kv_heads, key, d_head]`` each: no latent, and both ``[n_kv_heads, key, d_head]``."""
        return keys.new_empty(0), keys[0], values[0]


def _of_head(heads: Tensor, head: int | None) -> Tensor:
    """One head's part ``[1, ...]`` of what there is per head, or all."""
    return heads if head is None else heads[head : head + 1]
