"""What is derived from a record: attention patterns, what an MLP reads, logits of a step. No hooks fire here.

The same stage functions as in the pass, from the recorded residual stream and the cached keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache import KVCache
from engine.model.attention import Attention
from engine.model.decoder import Decoder
from engine.trace import Trace


def pattern_rows(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, end: int) -> Tensor:
    """Attention pattern of the queries [start, end), ``[n_heads, end - start, end]``.

    The queries must lie inside one pass: dynamic rope depends on its length.
    """
    block = model.layers[layer]
    x = block.attention_input(trace.residual(layer, start, end)[None])
    q = block.attn.queries(x, model.turn(layer, start, end, trace.span_end(start), x), start)
    first = block.spec.attention.first_seen(start)
    keys = _stored(model, trace, cache, layer, 0, first, end)
    pattern = block.attn.softmax(block.attn.scores(q, keys, start))[0]
    return F.pad(pattern, (first, 0))  # keys before the first that is seen get nothing


def mlp_input(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, end: int) -> Tensor:
    """What a layer's MLP or mixture of experts reads at positions [start, end), ``[end - start, d_model]``.

    They must lie inside one pass, and below ``mlp_known``. To rounding what the pass read: a part of a prefill runs
    through the same kernels in another shape. A pass over one position is computed in the pass's own shapes.
    """
    attend = partial(_attention_given, model, trace, cache, layer, start)
    return model.layers[layer].mlp_input(trace.residual(layer, start, end)[None], attend)[0]


def mlp_read_and_added(
    model: Decoder, trace: Trace, cache: KVCache, layer: int, position: int
) -> tuple[Tensor, Tensor]:
    """What the layer's MLP read at a position and what it added, both ``[d_model]``; what leaves the layer is recorded.

    What it added is the stream behind it less the stream before it.
    """
    block, x = model.layers[layer], trace.residual(layer, position, position + 1)[None]
    mid = block.resid_mid(x, partial(_attention_given, model, trace, cache, layer, position))
    added = trace.residual(layer + 1, position, position + 1)[0] - mid[0, 0]
    return block.mlp_read(x, mid)[0, 0], added


def _attention_given(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, x: Tensor) -> Tensor:
    """What the heads of a layer write together at positions from ``start`` on, of what they read there."""
    attn, end = model.layers[layer].attn, start + x.shape[1]
    first, n_parts = attn.spec.first_seen(start), len(attn.spec.cached)
    stored = tuple(_stored(model, trace, cache, layer, part, first, end) for part in range(n_parts))
    turn = model.turn(layer, start, end, trace.span_end(start), x)
    return attn.written(x, turn, stored, start, one_by_one=_alone(trace, start))


def mlp_known(trace: Trace, cache: KVCache, layer: int) -> int:
    """At how many positions this layer's MLP has been computed, so that what it read can be made again."""
    return min(trace.reach_mlp[layer], cache.lengths[layer])


def _alone(trace: Trace, position: int) -> bool:
    """Whether a pass read this position only."""
    return trace.span_end(position) == position + 1 and (position == 0 or trace.span_end(position - 1) == position)


def _stored(model: Decoder, trace: Trace, cache: KVCache, layer: int, part: int, start: int, end: int) -> Tensor:
    """A part of the cache (0: keys or latents, 1: values) at [start, end); what it has let go is made again."""
    kept = cache.firsts[layer]
    stored = cache.parts(layer)[part][:, :, max(0, start - kept) : max(0, end - kept)]
    if start >= kept:
        return stored
    return torch.cat((*_made(model, trace, layer, part, start, min(kept, end)), stored), dim=2)


def _made(model: Decoder, trace: Trace, layer: int, part: int, start: int, end: int) -> Iterator[Tensor]:
    """Pass by pass, since dynamic rope depends on a pass's length."""
    block = model.layers[layer]
    while start < end:
        span_end = trace.span_end(start)
        stop = min(end, span_end)
        x = block.attention_input(trace.residual(layer, start, stop)[None])
        if part == 0:
            yield block.attn.keys(x, model.turn(layer, start, stop, span_end, x))
        else:
            assert isinstance(block.attn, Attention), "a latent is the only part of its cache"
            yield block.attn.values(x)
        start = stop


def patterns_known(trace: Trace, cache: KVCache, layer: int) -> int:
    """How many query positions have a pattern in this layer: their keys are cached, their stream is recorded."""
    return min(trace.reach[layer], cache.lengths[layer])


def logits_at(model: Decoder, trace: Trace, position: int) -> Tensor:
    """Logits ``[d_vocab]`` that the pass gave at a position, from the recorded last residual stream."""
    with torch.inference_mode():
        return model.unembedded(trace.residual(trace.config.n_layers, position, position + 1))[0]
