"""How far a record reaches in a layer, and the logits of a step."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.model.decoder import Decoder
from engine.trace import Trace


def mlp_known(trace: Trace, cache: KVCache, layer: int) -> int:
    """At how many positions this layer's MLP has been computed, so that what it did can be made again."""
    return min(trace.reach_mlp[layer], cache.lengths[layer])


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
