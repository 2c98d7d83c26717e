"""What is derived from a record: attention patterns of a layer, logits of a step. No hooks fire here.

The same stage functions as in the pass, from the recorded residual stream and the cached keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.model.decoder import Decoder
from engine.model.rope import rotate, turn
from engine.trace import Trace


def pattern_rows(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, end: int) -> Tensor:
    """Attention pattern of the queries [start, end), ``[n_heads, end - start, end]``.

    The queries must lie inside one pass: dynamic rope depends on its length.
    """
    attention = model.layers[layer].attn
    x = model.layers[layer].ln1.recompute(trace.residual(layer, start, end)[None])
    q, _ = attention.split(attention.project(x)[0])
    rope = model.ropes[attention.spec.rope]
    q = rotate(q, turn(*rope.tables(start, end, trace.span_end(start), q)))
    keys = cache.keys(layer)[:, :, :end]
    return attention.softmax(attention.scores(q, keys, start))[0]


def patterns_known(trace: Trace, cache: KVCache, layer: int) -> int:
    """How many query positions have a pattern in this layer: their keys are cached, their stream is recorded."""
    return min(trace.reach[layer], cache.lengths[layer])


def logits_at(model: Decoder, trace: Trace, position: int) -> Tensor:
    """Logits ``[d_vocab]`` that the pass gave at a position, from the recorded last residual stream."""
    with torch.inference_mode():
        return model.unembedded(trace.residual(trace.config.n_layers, position, position + 1))[0]
