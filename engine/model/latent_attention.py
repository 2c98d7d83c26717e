"""Multi-head latent attention (DeepSeek-AI 2024, DeepSeek-V2, section 2.1).

The cache holds, per position, one latent for all heads and one rotated key. Prefill makes every head's keys and values
from the latent; decode takes the map from latent to keys to the query's side instead ("absorbed"), so that no key or
value of an old position is made again: q · (W_k c) = (q W_k) · c.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.cache import KVCache, announce
from engine.config import LatentAttentionSpec
from engine.hooks import HookPoints
from engine.model.linear import Linear
from engine.model.mask import masked, visible
from engine.model.norm import Norm
from engine.model.rope import Turn, rotate
from engine.model.scores import mixed, products, softmax, written_by_head


class LatentAttention(nn.Module):
    """``k_up`` [n_heads, d_nope, d_latent] and ``v_up`` [n_heads, d_value, d_latent] make keys and values."""

    def __init__(self, spec: LatentAttentionSpec, d_model: int, points: HookPoints, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        prefix = f"blocks.{layer}.attn."
        d_q = spec.n_heads * spec.d_head
        if spec.d_q_latent is not None:
            self.q_down = Linear(d_model, spec.d_q_latent, bias=spec.bias)
            self.q_latent_norm = Norm(spec.latent_norm, spec.d_q_latent, points, f"{prefix}q_latent_norm")
            self.hook_q_latent = points[f"{prefix}hook_q_latent"]
        self.q = Linear(spec.d_q_latent or d_model, d_q, bias=False)
        self.kv_down = Linear(d_model, spec.d_latent + spec.d_rope, bias=spec.bias)
        self.kv_latent_norm = Norm(spec.latent_norm, spec.d_latent, points, f"{prefix}kv_latent_norm")
        self.k_up = nn.Parameter(torch.empty(spec.n_heads, spec.d_nope, spec.d_latent))
        self.v_up = nn.Parameter(torch.empty(spec.n_heads, spec.d_value, spec.d_latent))
        self.out = Linear(spec.n_heads * spec.d_value, d_model, bias=spec.bias)
        self.hook_kv_latent = points[f"{prefix}hook_kv_latent"]
        self.hook_q_nope = points[f"{prefix}hook_q_nope"]
        self.hook_rot_q = points[f"{prefix}hook_rot_q"]
        self.hook_k_nope = points[f"{prefix}hook_k_nope"]
        self.hook_rot_k = points[f"{prefix}hook_rot_k"]
        self.hook_v = points[f"{prefix}hook_v"]
        self.hook_attn_scores = points[f"{prefix}hook_attn_scores"]
        self.hook_pattern = points[f"{prefix}hook_pattern"]
        self.hook_z = points[f"{prefix}hook_z"]
        self.hook_result = points[f"{prefix}hook_result"]
        self.hook_append = points[f"blocks.{layer}.kv.hook_append"]
        self.hook_latent = points[f"blocks.{layer}.kv.hook_latent"]

    def forward(self, x: Tensor, turn: Turn | None, cache: KVCache | None) -> Tensor:
        """``[batch, pos, d_model]`` to what the heads write together, ``[batch, pos, d_model]``."""
        start = 0 if cache is None else cache.length
        nope, rotated = self._queries(x, turn, hooked=True)
        latent, key = self._latent(x, turn, hooked=True)
        stored = self._stored(torch.cat((latent, key), dim=-1), cache, start)  # [batch, 1, key, d_latent + d_rope]
        z = self.hook_z(self._mix(nope, rotated, stored, start))  # [batch, pos, n_heads, d_value]
        if self.hook_result.wanted:
            return written_by_head(z, self.out, self.hook_result)
        return self.out(z.flatten(2))

    def _queries(self, x: Tensor, turn: Turn | None, *, hooked: bool) -> tuple[Tensor, Tensor]:
        """Without position ``[batch, pos, n_heads, d_nope]``, and rotated ``[batch, pos, n_heads, d_rope]``."""
        if self.spec.d_q_latent is not None:
            down = self.q_down(x)
            x = self.hook_q_latent(self.q_latent_norm(down)) if hooked else self.q_latent_norm.recompute(down)
        heads = self.q(x).unflatten(-1, (self.spec.n_heads, self.spec.d_head))
        nope, rope = heads.split((self.spec.d_nope, self.spec.d_rope), dim=-1)
        rope = rotate(rope, turn)  # type: ignore[arg-type]  # the spec names a rope
        return (self.hook_q_nope(nope), self.hook_rot_q(rope)) if hooked else (nope, rope)

    def _latent(self, x: Tensor, turn: Turn | None, *, hooked: bool) -> tuple[Tensor, Tensor]:
        """The normalised latent ``[batch, pos, d_latent]`` and the rotated key ``[batch, pos, d_rope]``."""
        latent, key = self.kv_down(x).split((self.spec.d_latent, self.spec.d_rope), dim=-1)
        key = rotate(key[:, :, None], turn)  # type: ignore[arg-type]  # the spec names a rope
        if not hooked:
            return self.kv_latent_norm.recompute(latent), key[:, :, 0]
        return self.hook_kv_latent(self.kv_latent_norm(latent)), self.hook_rot_k(key)[:, :, 0]

    def _stored(self, entry: Tensor, cache: KVCache | None, start: int) -> Tensor:
        stored = entry[:, None]
        if cache is not None:
            (stored,) = cache.append(self.layer, stored)
        announce(self.hook_append, start, entry)
        return self.hook_latent(stored[:, 0])[:, None] if self.hook_latent.active else stored

    # -- scores, pattern, mix ------------------------------------------------------------------------------------

    def _mix(self, nope: Tensor, rotated: Tensor, stored: Tensor, start: int) -> Tensor:
        if self.hook_k_nope.wanted or self.hook_v.wanted:
            return self._with_keys(nope, rotated, stored, start)
        if nope.shape[1] == 1 or self.hook_attn_scores.wanted or self.hook_pattern.wanted:
            scores = self.scores(self._absorbed(nope, rotated), stored, start)
            return self._latent_mixed(self.hook_attn_scores(scores), stored)
        self.hook_attn_scores.visit()
        if self.hook_pattern.wanted:  # since the pass stood at the scores
            return self._latent_mixed(self.scores(self._absorbed(nope, rotated), stored, start), stored)
        self.hook_pattern.visit()
        return self._fused(nope, rotated, stored, start)

    def _latent_mixed(self, scores: Tensor, stored: Tensor) -> Tensor:
        pattern = self.hook_pattern(self.softmax(scores))
        return self._values_of(mixed(pattern, stored[..., : self.spec.d_latent]))

    def _absorbed(self, nope: Tensor, rotated: Tensor, head: int | None = None) -> Tensor:
        """Queries that read the latent itself: ``[batch, pos, n_heads, d_latent + d_rope]``; or of one head."""
        heads = slice(None) if head is None else slice(head, head + 1)
        absorbed = torch.einsum("bphd,hdc->bphc", nope[:, :, heads], self.k_up[heads])
        return torch.cat((absorbed, rotated[:, :, heads]), dim=-1)

    def _values_of(self, mixed_latent: Tensor) -> Tensor:
        """Mixed latents ``[batch, pos, n_heads, d_latent]`` to ``[batch, pos, n_heads, d_value]``."""
        return torch.einsum("bphc,hvc->bphv", mixed_latent, self.v_up)

    def scores(self, q: Tensor, stored: Tensor, start: int, head: int | None = None) -> Tensor:
        """q · k · scale, -inf where key > query: ``[batch, n_heads, pos, key]``; ``q`` as ``queries`` makes them."""
        return masked(self.scaled(q, stored, start + q.shape[1] - stored.shape[2], head), self.spec, start)

    def scaled(self, q: Tensor, stored: Tensor, first_key: int, head: int | None = None) -> Tensor:
        """Scores before the mask, of every query with every key."""
        return products(q, stored, self.spec.scale)

    def softmax(self, scores: Tensor, head: int | None = None) -> Tensor:
        """The pattern of scores: ``[batch, n_heads, pos, key]``."""
        return softmax(scores, None, float32=True)[0]

    def _made(self, stored: Tensor) -> tuple[Tensor, Tensor]:
        """Every head's keys without position and values, ``[batch, n_heads, key, d_nope | d_value]``."""
        latent = stored[:, 0, :, : self.spec.d_latent]
        return torch.einsum("bkc,hdc->bhkd", latent, self.k_up), torch.einsum("bkc,hvc->bhkv", latent, self.v_up)

    def _whole(self, nope: Tensor, rotated: Tensor, keys: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
        """Queries ``[batch, pos, n_heads, d_head]`` and keys ``[batch, n_heads, key, d_head]``, both parts together."""
        shared = stored[..., self.spec.d_latent :].expand(-1, self.spec.n_heads, -1, -1)
        return torch.cat((nope, rotated), dim=-1), torch.cat((keys, shared), dim=-1)

    def _with_keys(self, nope: Tensor, rotated: Tensor, stored: Tensor, start: int) -> Tensor:
        """A hook wants every head's keys or values: they are made, and used."""
        keys, values = self._made(stored)
        keys = self.hook_k_nope(keys.transpose(1, 2)).transpose(1, 2)
        values = self.hook_v(values.transpose(1, 2)).transpose(1, 2)
        q, whole = self._whole(nope, rotated, keys, stored)
        pattern = self.hook_pattern(self.softmax(self.hook_attn_scores(self.scores(q, whole, start))))
        return mixed(pattern, values)

    def _fused(self, nope: Tensor, rotated: Tensor, stored: Tensor, start: int) -> Tensor:
        keys, values = self._made(stored)
        q, whole = self._whole(nope, rotated, keys, stored)
        n_queries, n_keys = q.shape[1], whole.shape[2]
        aligned = n_queries == n_keys  # torch's is_causal has query 0 at key 0
        mask = None if aligned else visible(self.spec, start, n_queries, n_keys, q.device)
        # torch's fused kernel wants values as wide as keys: without the padding it takes 2.6 times as long
        padded = F.pad(values, (0, max(0, self.spec.d_head - self.spec.d_value)))
        z = F.scaled_dot_product_attention(
            q.transpose(1, 2), whole, padded, mask, is_causal=aligned, scale=self.spec.scale
        )
        return z[..., : self.spec.d_value].transpose(1, 2)

    # -- what is recomputed, without hooks -------------------------------------------------------------------------

    def queries(self, x: Tensor, turn: Turn | None, start: int, head: int | None = None) -> Tensor:
        """Queries as scores take them: ``[batch, pos, n_heads, d_latent + d_rope]``; ``head``: of this one alone."""
        return self._absorbed(*self._queries(x, turn, hooked=False), head)

    @property
    def query_points(self) -> tuple[str, ...]:
        """Points of the layer where a pass shows what its queries are made of, last thing before the scores."""
        return ("attn.hook_q_nope", "attn.hook_rot_q")

    @property
    def key_point(self) -> str:
        """The point of the layer where a pass shows what its queries read."""
        return "kv.hook_latent"

    def shown_queries(self, shown: Sequence[Tensor], start: int, head: int) -> Tensor:
        """One head's queries of a pass as scores take them, ``[1, pos, 1, d]``, from what ``query_points`` showed."""
        nope, rotated = shown
        return self._absorbed(nope, rotated, head)

    def shown_keys(self, shown: Tensor, head: int) -> Tensor:
        """What every head reads, ``[1, 1, key, d]``, from what ``key_point`` showed."""
        return shown[:, None]

    def keys(self, x: Tensor, turn: Turn | None) -> Tensor:
        """What the cache stores: ``[batch, 1, pos, d_latent + d_rope]``."""
        return torch.cat(self._latent(x, turn, hooked=False), dim=-1)[:, None]

    def head_part(self, part: Tensor, head: int | None) -> Tensor:
        """Of what is stored what a head reads: every head reads all of it."""
        return part

    def value_norms(self, stored: tuple[Tensor, ...], head: int | None) -> Tensor:
        """L2 norms of the value vectors that each head mixes, float32 ``[n_heads, key]``, or ``[1, key]`` of one."""
        heads = self.v_up if head is None else self.v_up[head : head + 1]
        values = torch.einsum("kc,hvc->hkv", stored[0][0, 0, :, : self.spec.d_latent], heads)
        return torch.linalg.vector_norm(values.float(), dim=-1)

    def vectors(self, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is stored, ``[1, 1, key, d_latent + d_rope]``: as latent ``[key, d_latent + d_rope]``, and the keys
        ``[n_heads, key, d_head]`` and values ``[n_heads, key, d_value]`` that the heads make of it."""
        keys, values = self._made(stored)
        shared = stored[..., self.spec.d_latent :].expand(-1, self.spec.n_heads, -1, -1)
        return stored[0, 0], torch.cat((keys, shared), dim=-1)[0], values[0]
