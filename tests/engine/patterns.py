"""Attention patterns of a layer, recomputed by its own forward code."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from engine.cache import KVCache
from engine.layer_replay import layer_tensors
from engine.model.decoder import Decoder
from engine.trace import Trace


def pattern_rows(model: Decoder, trace: Trace, cache: KVCache, layer: int, start: int, end: int) -> Tensor:
    """Of the queries [start, end) of one pass, ``[n_heads, end - start, end]``; keys that none sees get nothing."""
    name = f"blocks.{layer}.attn.hook_pattern"
    first = model.config.layers[layer].attention.first_seen(start)
    return F.pad(layer_tensors(model, trace, cache, layer, [name], start, end)[name][0], (first, 0))
