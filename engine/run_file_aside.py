"""What other branches of a run have of their own, in its file: each part that is set aside is a member, a safetensors.

``block.I.residual`` [n_layers + 1, positions, d_model] (absent where it was dropped; then caches are stored) and
``block.I.norms`` [3 · n_layers + 1, positions] lie within blocks of 128 positions of the run, ``routing.L.NAME``
[positions, width] is what the router of a layer decided, ``cache.L.PART`` [heads, positions, width] what the layer
kept, where the path's cache is stored too. A part in which nothing was read has no member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from engine.branches import Tail
from engine.cache import CacheTail
from engine.config import ModelConfig
from engine.errors import RunFileError
from engine.run_file_facts import Aside, forgets
from engine.trace import Edits, TraceTail, parts_of


class Stored(NamedTuple):
    """The tensors of one part, by name, and per layer the first position that the cache had of it."""

    tensors: Mapping[str, Tensor]
    firsts: tuple[int, ...]


def aside_name(index: int) -> str:
    """The member that holds a part."""
    return f"aside/{index:06d}.safetensors"


def aside_tensors(tail: Tail, config: ModelConfig, with_cache: bool) -> dict[str, Tensor]:
    """What is written of a part; nothing where nothing was read in it."""
    found: dict[str, Tensor] = {}
    if tail.trace is None or tail.start.reads == tail.end.reads:
        return found
    for index, (_, stream, norms) in enumerate(tail.trace.blocks):
        found |= {} if stream is None else {f"block.{index}.residual": stream}
        found[f"block.{index}.norms"] = norms
    found |= {f"routing.{layer}.{name}": rows for (layer, name), rows in tail.trace.routing.items()}
    for layer, (_, parts) in enumerate(tail.cache.layers if with_cache else ()):
        names = [part.name for part in config.layers[layer].attention.cached]
        found |= {f"cache.{layer}.{name}": part[0] for name, part in zip(names, parts, strict=True)}
    return found


def check_firsts(aside: Aside, firsts: tuple[int, ...], config: ModelConfig) -> None:
    """Raises RunFileError: a layer that forgets may have none of the first positions, every other one has all."""
    start, end = aside.start[1], aside.end[1]
    for spec, first in zip(config.layers, firsts, strict=True):
        if not start <= first <= (end if forgets(spec.attention, config) else start):
            raise RunFileError("what it says of the cache does not fit together")


def trace_tail(
    aside: Aside,
    stored: Mapping[str, Tensor],
    spans: list[tuple[int, int]],
    applied: Mapping[int, Edits],
    device: torch.device,
) -> TraceTail:
    """The record of a part."""
    start, end = aside.start[1], aside.end[1]
    blocks = []
    for index, (_, _, outside) in enumerate(parts_of(start, end) if start < end else ()):
        stream, norms = stored.get(f"block.{index}.residual"), stored[f"block.{index}.norms"]
        blocks.append((start + outside.start, None if stream is None else stream.to(device), norms.to(device)))
    routing = {}
    for name, rows in stored.items():
        if name.startswith("routing."):
            _, layer, point = name.split(".")
            routing[int(layer), point] = rows.to(device)
    return TraceTail(start, end, tuple(blocks), routing, tuple(spans), applied)


def cache_tail(aside: Aside, stored: Stored, config: ModelConfig, device: torch.device) -> CacheTail:
    """What the cache had of a part, where that is stored; else its bounds alone."""
    layers = []
    for layer, spec in enumerate(config.layers):
        names = [f"cache.{layer}.{part.name}" for part in spec.attention.cached]
        parts = tuple(stored.tensors[name][None].to(device) for name in names if name in stored.tensors)
        layers.append((stored.firsts[layer], parts))
    return CacheTail(aside.start[1], aside.end[1], tuple(layers))
