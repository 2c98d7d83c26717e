"""What the MLP reads, made anew from stream and cache, of every family: beside what it was given in the pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import engine
from engine.layer_replay import layer_tensors
from engine.loading import Loaded
from engine.recompute import mlp_known
from engine.trace import Trace
from tests.engine.families.oracle import Oracle
from tests.engine.families.test_recompute import CUTS, _read

PROMISE = 1e-5  # of the largest entry


@contextmanager
def _given(loaded: Loaded) -> Iterator[list[list[Tensor]]]:
    """What every layer's MLP is called with while this is open: by layer, ``[pos, d_model]`` a pass."""
    seen: list[list[Tensor]] = [[] for _ in loaded.model.layers]

    def keep(layer: int) -> Any:
        return lambda module, inputs: seen[layer].append(inputs[0][0].clone())

    handles = [b.mlp.register_forward_pre_hook(keep(index)) for index, b in enumerate(loaded.model.layers)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _again(
    loaded: Loaded, trace: Trace, cache: engine.KVCache, layer: int, start: int, end: int
) -> tuple[Tensor, Tensor]:
    """What the layer's MLP reads and adds where the layer is repeated at positions [start, end)."""
    name = f"blocks.{layer}.hook_mlp_out"
    with _given(loaded) as seen:
        added = layer_tensors(loaded.model, trace, cache, layer, [name], start, end)[name]
    return seen[layer][-1], added[0]


def _spans(trace: Trace, rows: int) -> list[tuple[int, int]]:
    """Parts of every pass, some rows at a time."""
    return [(at, min(at + rows, end)) for start, end in trace.spans for at in range(start, end, rows)]


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_what_the_mlp_reads_made_anew(oracle: Oracle, loaded: Loaded, rows: int) -> None:
    """Prefill, passes over one position, a later prefill: whole and in parts; keys a window let go of included."""
    ids = oracle.ids[:1]
    starts = [start for start in CUTS if start < ids.shape[1]]
    with _given(loaded) as seen:
        trace, cache = _read(loaded, ids, starts)
    with torch.inference_mode():
        for layer, parts in enumerate(seen):
            theirs = torch.cat(parts)
            assert mlp_known(trace, cache, layer) == ids.shape[1] == len(theirs)
            for start, end in _spans(trace, rows):
                ours, _ = _again(loaded, trace, cache, layer, start, end)
                allowed = PROMISE * float(theirs.abs().max())
                torch.testing.assert_close(ours, theirs[start:end], rtol=0, atol=allowed, msg=f"{layer=} {start=}")


def test_what_the_mlp_added_is_not_what_a_hook_made_of_it_behind_the_layer(oracle: Oracle, loaded: Loaded) -> None:
    """A hook where the next layer begins changes the recorded stream, and nothing that this layer did."""
    found = []
    for hooks in ({}, {"blocks.1.hook_resid_pre": lambda tensor, point: tensor * 3}):
        session = engine.Session(loaded)
        with loaded.model.hooks(hooks):
            next(session.generate(oracle.ids[0].tolist(), 1))
        with torch.inference_mode():
            found.append(_again(loaded, session.trace, session.cache, 0, 7, 8))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=PROMISE * float(theirs.abs().max()) * 10)
