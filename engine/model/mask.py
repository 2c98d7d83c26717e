"""Which keys a query sees, and what is added to scores by distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.config import AttentionSpec, LatentAttentionSpec


def visible(
    spec: AttentionSpec | LatentAttentionSpec, start: int, n_queries: int, n_keys: int, device: torch.device
) -> Tensor | None:
    """True where a query may look, ``[pos, key]``; None where every query may look at every key.

    Query 0 stands at position ``start``; the last key stands where the last query does.
    """
    first_key = start + n_queries - n_keys
    if n_queries == 1 and spec.first_seen(start) <= first_key:
        return None
    queries = torch.arange(start, start + n_queries, device=device)[:, None]
    keys = torch.arange(first_key, first_key + n_keys, device=device)[None, :]
    return (keys <= queries) & (keys >= spec.first_seen(queries))


def masked(scores: Tensor, spec: AttentionSpec | LatentAttentionSpec, start: int) -> Tensor:
    """Scores ``[batch, n_heads, pos, key]`` with -inf where a query does not see the key; written in place."""
    n_queries, n_keys = scores.shape[2:]
    seen = visible(spec, start, n_queries, n_keys, scores.device)
    return scores if seen is None else scores.masked_fill_(~seen, float("-inf"))


def alibi_bias(n_heads: int, first_key: int, n_keys: int, like: Tensor) -> Tensor:
    """``[n_heads, 1, key]``: slope · position of the key, which softmax makes a penalty by distance.

    Press et al. 2022. Rounded to bfloat16 as in training (transformers build_alibi_tensor of Falcon).
    """
    closest = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * power / closest) for power in range(1, closest + 1)]
    slopes += [2 ** (-4 * power / closest) for power in range(1, 2 * (n_heads - closest), 2)]
    positions = torch.arange(first_key, first_key + n_keys, device=like.device)
    rounded = torch.tensor(slopes, dtype=torch.float32, device=like.device).bfloat16()[:, None] * positions
    return rounded.to(like.dtype)[:, None, :]
