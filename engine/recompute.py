"""What is derived from a record: attention patterns of a layer, logits of a step. No hooks fire here.

The same stage functions as in the pass, from the recorded residual stream and the cached keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache import KVCache
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
    pattern = block.attn.softmax(block.attn.scores(q, _keys(model, trace, cache, layer, first, end), start))[0]
    return F.pad(pattern, (first, 0))  # keys before the first that is seen get nothing


def _keys(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, end: int) -> Tensor:
    """Keys (or latents) of positions [start, end); those that the cache has let go are made again."""
    kept = cache.firsts[layer]
    stored = cache.parts(layer)[0][:, :, max(0, start - kept) : max(0, end - kept)]
    if start >= kept:
        return stored
    return torch.cat((*_made_keys(model, trace, layer, start, min(kept, end)), stored), dim=2)


def _made_keys(model: Decoder, trace: Trace, layer: int, start: int, end: int) -> Iterator[Tensor]:
    """Pass by pass, since dynamic rope depends on a pass's length."""
    block = model.layers[layer]
    while start < end:
        span_end = trace.span_end(start)
        stop = min(end, span_end)
        x = block.attention_input(trace.residual(layer, start, stop)[None])
        yield block.attn.keys(x, model.turn(layer, start, stop, span_end, x))
        start = stop


def patterns_known(trace: Trace, cache: KVCache, layer: int) -> int:
    """How many query positions have a pattern in this layer: their keys are cached, their stream is recorded."""
    return min(trace.reach[layer], cache.lengths[layer])


def logits_at(model: Decoder, trace: Trace, position: int) -> Tensor:
    """Logits ``[d_vocab]`` that the pass gave at a position, from the recorded last residual stream."""
    with torch.inference_mode():
        return model.unembedded(trace.residual(trace.config.n_layers, position, position + 1))[0]
