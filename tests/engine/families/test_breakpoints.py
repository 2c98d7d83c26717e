"""Breakpoints on attention and on routers, in every family, beside what transformers' patterns and routers say."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

import engine
from engine.breakpoints import Breakpoint, HitFrame
from engine.breakpoints import Test as Condition
from engine.config import MoESpec
from engine.loading import Loaded
from tests.engine.families.oracle import Oracle
from tests.engine.families.reference import Record, reference
from tests.engine.families.test_routing import ROUTED

CLOSE = 2e-3  # relative; how far a limit is from the figure that it is for


def hits_of(loaded: Loaded, prompt: list[int], breakpoints: list[Breakpoint]) -> dict[int, HitFrame]:
    """Of a prefill; the first one of each number."""
    gate, hits = engine.Gate(), {}
    gate.on_stop = lambda where: gate.resume()
    gate.on_hit = lambda hit: hits.setdefault(hit.number, hit)
    gate.set_breakpoints(breakpoints)
    list(engine.Session(loaded, engine.Sampling(greedy=True), gate).generate(prompt, 1))
    return hits


def stated(hit: HitFrame, form: str) -> tuple[float, ...]:
    found = re.fullmatch(form, hit.sentence)
    assert found, hit.sentence
    return tuple(map(float, found.groups()))


def test_a_head_that_gives_enough(oracle: Oracle, loaded: Loaded) -> None:
    """Fused kernels, latents, windows, chunks, sinks, caps, distance biases and temperatures: the row that is made of
    the pass's queries and keys is that of the pattern which was never formed."""
    ids, record = oracle.ids[0].tolist(), reference(oracle, oracle.ids)
    patterns = {layer: _pattern(record, layer) for layer in range(loaded.config.n_layers)}
    breakpoints, expected = [], {}
    for layer, pattern in patterns.items():
        if pattern is None:
            continue
        head, key = layer % len(pattern), len(ids) - 5
        alone = loaded.config.layers[layer].attention.first_seen(torch.arange(len(ids))) == torch.arange(len(ids))
        given = pattern[head, :, key].masked_fill(alone, 0.0)
        value, query = float(given.max()), int(given.argmax())
        for over, number in ((False, 2 * layer), (True, 2 * layer + 1)):
            limit = value * (1 + CLOSE if over else 1 - CLOSE)
            breakpoints.append(Breakpoint(number, (Condition("attention", layer, head=head, key=key, limit=limit),)))
        expected[2 * layer] = (query, layer, head, key, value)
    hits = hits_of(loaded, ids, breakpoints)
    assert expected
    assert hits.keys() == expected.keys()
    for number, (query, layer, head, key, value) in expected.items():
        assert hits[number].place == (query, layer, head)
        form = rf"head {head} of layer {layer} gives (\S+) ≥ \S+ from position {query} to position {key}"
        (said,) = stated(hits[number], form)
        assert abs(said - value) <= CLOSE * value


def _pattern(record: Record, layer: int) -> Tensor | None:
    found = record.get(f"blocks.{layer}.attn.hook_pattern")
    return None if found is None else found[0]


@pytest.mark.parametrize("oracle", ROUTED, indirect=True)
def test_what_routers_do(oracle: Oracle, loaded: Loaded) -> None:
    ids, record = oracle.ids[0].tolist(), reference(oracle, oracle.ids)
    breakpoints, chosen, entropies = [], {}, {}
    for layer, spec in enumerate(loaded.config.layers):
        if not isinstance(spec.mlp, MoESpec):
            continue
        positions = (record[f"blocks.{layer}.mlp.hook_expert_indices"][0] == 1).any(-1).nonzero()[:, 0].tolist()
        logits = record[f"blocks.{layer}.mlp.hook_router_logits"][0].double()
        scores = logits.sigmoid() if spec.mlp.score == "sigmoid" else logits.softmax(-1)
        scores = scores / scores.sum(-1, keepdim=True)
        nats = -(scores * scores.log()).sum(-1)
        limit = float(nats.max()) * (1 - CLOSE)
        breakpoints.append(Breakpoint(2 * layer, (Condition("expert", layer, expert=1),)))
        breakpoints.append(Breakpoint(2 * layer + 1, (Condition("router entropy", layer, limit=limit),)))
        chosen |= {2 * layer: (positions, layer)} if positions else {}
        entropies[2 * layer + 1] = (int(nats.argmax()), layer, float(nats.max()))
    hits = hits_of(loaded, ids, breakpoints)
    assert hits.keys() == {*chosen, *entropies}
    for number, (positions, layer) in chosen.items():
        more = f" and {len(positions) - 1} more" if len(positions) > 1 else ""
        assert hits[number].sentence == f"layer {layer} chooses expert 1 at position {positions[0]}{more}"
        assert hits[number].place == (positions[0], layer, None)
        assert hits[number].where.stage == "router"
    for number, (position, layer, nats) in entropies.items():
        form = rf"router entropy (\S+) nats > \S+ in layer {layer} at position {position}"
        (said,) = stated(hits[number], form)
        assert abs(said - nats) <= CLOSE * nats
