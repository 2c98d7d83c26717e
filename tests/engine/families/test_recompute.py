"""What the window asks for after a pass, of every family: patterns and logits made anew from stream and cache."""

from __future__ import annotations

import torch

import engine
from engine.loading import Loaded
from engine.recompute import logits_at, patterns_known
from engine.trace import Trace
from tests.engine.families.compare import apart
from tests.engine.families.oracle import Oracle
from tests.engine.patterns import pattern_rows

CUTS = [0, 29, 30, 31, 40]


def _read(loaded: Loaded, ids: torch.Tensor, starts: list[int]) -> tuple[Trace, engine.KVCache]:
    """One pass per start, recorded as a session records it."""
    trace = Trace(loaded.config, loaded.dtype, loaded.device)
    cache = engine.KVCache(loaded.config, dtype=loaded.dtype, device=loaded.device)
    detach = trace.attach(loaded.model.points)
    try:
        for start, end in zip(starts, [*starts[1:], ids.shape[1]], strict=True):
            trace.begin_pass(start, end)
            loaded.model(ids[:, start:end].to(loaded.device), cache)
            trace.end_pass()
    finally:
        for undo in detach:
            undo()
    return trace, cache


def _starts(oracle: Oracle) -> list[int]:
    """Tables that follow the length of the text make every pass its own: there one pass only."""
    within = [start for start in CUTS if start < oracle.ids.shape[1]]
    return within if oracle.variant.decodes_as_prefill else [0]


def test_patterns_made_anew(oracle: Oracle, loaded: Loaded) -> None:
    """Of all queries, pass by pass, as transformers' attention has them; keys that a window let go of included."""
    ids, starts = oracle.ids[:1], _starts(oracle)
    trace, cache = _read(loaded, ids, starts)
    oracle.forget_length()
    with torch.inference_mode():
        theirs = oracle.model(input_ids=ids, use_cache=False, output_attentions=True).attentions
        for layer, expected in enumerate(theirs):
            assert patterns_known(loaded.model, trace, cache, layer) == ids.shape[1]
            for start, end in zip(starts, [*starts[1:], ids.shape[1]], strict=True):
                rows = pattern_rows(loaded.model, trace, cache, layer, start, end)
                assert apart(rows, expected[0, :, start:end, :end]) <= oracle.variant.tolerance, f"layer {layer}"


def test_logits_made_anew(oracle: Oracle, loaded: Loaded) -> None:
    ids = oracle.ids[:1]
    trace, _ = _read(loaded, ids, _starts(oracle))
    for position in (0, 17, ids.shape[1] - 1):
        ours = logits_at(loaded.model, trace, position)
        assert apart(ours, oracle.logits[0, position]) <= oracle.variant.tolerance
