"""What is derived from a record: what an MLP reads and adds, logits of a step. No hooks fire here.

The same stage functions as in the pass, from the recorded residual stream and the cached keys.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.layer_replay import layer_edits, layer_tensors, mlp_reads, stored_part
from engine.model.decoder import Decoder
from engine.trace import Trace


def mlp_input(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, end: int) -> Tensor:
    """What a layer's MLP or mixture of experts reads at positions [start, end), ``[end - start, d_model]``.

    They must lie inside one pass, and below ``mlp_known``. To rounding what the pass read: a part of a prefill runs
    through the same kernels in another shape. A pass over one position is computed in the pass's own shapes.
    """
    if layer_edits(model, trace, layer, start):
        return mlp_reads(model, trace, cache, layer, start, end)
    attend = partial(_attention_given, model, trace, cache, layer, start)
    return model.layers[layer].mlp_input(trace.residual(layer, start, end)[None], attend)[0]


def mlp_read_and_added(
    model: Decoder, trace: Trace, cache: KVCache, layer: int, position: int
) -> tuple[Tensor, Tensor]:
    """What the layer's MLP read at a position and what it added, both ``[d_model]``; what leaves the layer is recorded.

    What it added is the stream behind it less the stream before it, unless a hook between two layers changed that.
    """
    changed = f"blocks.{layer + 1}.hook_resid_pre" in trace.edits(position)
    if changed or layer_edits(model, trace, layer, position):
        name = f"blocks.{layer}.hook_mlp_out"
        added = layer_tensors(model, trace, cache, layer, [name], position, position + 1)[name]
        return mlp_reads(model, trace, cache, layer, position, position + 1)[0], added[0, 0]
    block, x = model.layers[layer], trace.residual(layer, position, position + 1)[None]
    mid = block.resid_mid(x, partial(_attention_given, model, trace, cache, layer, position))
    added = trace.residual(layer + 1, position, position + 1)[0] - mid[0, 0]
    return block.mlp_read(x, mid)[0, 0], added


def _attention_given(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, x: Tensor) -> Tensor:
    """What the heads of a layer write together at positions from ``start`` on, of what they read there."""
    attn, end = model.layers[layer].attn, start + x.shape[1]
    first, n_parts = attn.spec.first_seen(start), len(attn.spec.cached)
    stored = tuple(stored_part(model, trace, cache, layer, part, first, end) for part in range(n_parts))
    turn = model.turn(layer, start, end, trace.span_end(start), x)
    return attn.written(x, turn, stored, start, one_by_one=_alone(trace, start))


def mlp_known(trace: Trace, cache: KVCache, layer: int) -> int:
    """At how many positions this layer's MLP has been computed, so that what it read can be made again."""
    return min(trace.reach_mlp[layer], cache.lengths[layer])


def _alone(trace: Trace, position: int) -> bool:
    """Whether a pass read this position only."""
    return trace.span_end(position) == position + 1 and (position == 0 or trace.span_end(position - 1) == position)


def patterns_known(model: Decoder, trace: Trace, cache: KVCache, layer: int) -> int:
    """How many query positions have a pattern in this layer: their keys are cached, their stream is recorded, and hooks
    on its attention, if there are any, have had their say."""
    attention = (f"blocks.{layer}.attn.", f"blocks.{layer}.kv.")
    hooked = any(name.startswith(attention) for name in model.points.hooked)
    return min((trace.reach_attention if hooked else trace.reach)[layer], cache.lengths[layer])


def logits_at(model: Decoder, trace: Trace, position: int) -> Tensor:
    """Logits ``[d_vocab]`` that the pass gave at a position, from the recorded last residual stream."""
    with torch.inference_mode():
        return model.unembedded(trace.residual(trace.config.n_layers, position, position + 1))[0]
