"""Answers about experts: what routers decided is recorded, an expert's output is recomputed for the picked one only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine import questions as ask
from engine.column_blocks import blocks, largest
from engine.errors import EngineError, ModelNeeded
from engine.frames import ExpertUse, RoutedTokens, RouterRow, Routing, RoutingLayers, RoutingShares
from engine.gate import Answering
from engine.layer_replay import layer_tensors
from engine.model.moe import MoE
from engine.recompute import mlp_known
from engine.routing import Blocks, LayerRouting, Sums, entropy, even
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

_SLICE = 512  # positions that are worked on at a time


def routing(session: Session, question: ask.AskRouting) -> Answering:
    """Experts x positions, reduced to what fits. Whole blocks are kept, so a token costs one block."""
    moe, record = _layer(session, question.layer)
    n = record.reach
    block = -(-n // max(1, question.most)) or 1
    yield from _reduce_blocks(record, moe, block, n)
    whole, n = record.blocks, min(n, record.reach)
    assert whole is not None, "it has just been made"
    last = _block(record, moe, slice(whole.reach, n), block)
    parts = {name: _joined(getattr(whole, name), part) for name, part in last.items()}
    shared = _shared(record, moe, n)  # it comes later than the rest, and is one figure a position
    shared = largest(shared, block) if shared.shape[1] else shared
    host = to_host({**parts, "shared": shared.flatten()})
    arrays = (host["weights"], host["scores"], host["chosen"], host["shared"])
    return Routing(question.layer, n, session.n_read, block, *arrays)


def _reduce_blocks(record: LayerRouting, moe: MoE, block: int, n: int) -> Iterator[None]:
    """Bring the kept blocks up to the last whole one, a slice at a time."""
    kept = record.blocks
    if kept is None or kept.size != block:
        kept = record.blocks = Blocks(block, 0, **_block(record, moe, slice(0, 0), block))
    step = block * max(1, _SLICE // block)
    while kept.reach + block <= n:
        end = min(kept.reach + step, n - n % block)
        for name, part in _block(record, moe, slice(kept.reach, end), block).items():
            setattr(kept, name, _joined(getattr(kept, name), part))
        kept.reach = end
        yield None
        if record.blocks is not kept:  # between two slices the run went back
            return (yield from _reduce_blocks(record, moe, block, min(n, record.reach)))


def _joined(before: Tensor, part: Tensor) -> Tensor:
    """Columns behind columns; what was made before anything was recorded has none, and is on no device yet."""
    return torch.cat((before, part), dim=1) if before.shape[1] else part


def _block(record: LayerRouting, moe: MoE, where: slice, block: int) -> dict[str, Tensor]:
    """Some positions reduced, by the fields of Blocks."""
    if where.start == where.stop:
        nothing = record.logits[:0].new_zeros(moe.spec.n_experts, 0, dtype=torch.float32)
        return {"weights": nothing, "scores": nothing, "chosen": nothing.long()}
    return {
        "weights": largest(_used(record, moe, where), block),
        "scores": largest(moe.router.scores(record.logits[where]).float().T, block),
        "chosen": blocks(_chosen(record, moe, where).long(), block).sum(-1),
    }


def shares(session: Session, question: ask.AskRoutingShares) -> Answering:
    """How evenly a layer's experts were used. Sums are kept, so a token costs one position."""
    moe, record = _layer(session, question.layer)
    n, n_experts = record.reach, moe.spec.n_experts
    yield from _sum_up(record, moe, n)
    sums = record.sums
    assert sums is not None, "it has just been made"
    n = sums.reach
    share, mean = sums.chosen / max(1, n * moe.spec.top_k), sums.scores / max(1, n)
    balance = float(n_experts * (share * mean).sum())
    together = np.rint(sums.together).astype(np.int64)
    return RoutingShares(question.layer, n, share, mean, balance, sums.entropy / max(1, n), together)


def _sum_up(record: LayerRouting, moe: MoE, n: int) -> Iterator[None]:
    """Bring the kept sums up to position ``n``, a slice at a time. In float64 on the host: not every device has it."""
    count = moe.spec.n_experts
    if record.sums is None:
        record.sums = Sums(0, np.zeros(count), np.zeros(count), 0.0, np.zeros((count, count)))
    sums = record.sums
    while sums.reach < n:
        where = slice(sums.reach, min(sums.reach + _SLICE, n))
        probabilities = even(moe.router.scores(record.logits[where]))
        found = {
            "scores": probabilities,
            "entropy": entropy(probabilities),
            "chosen": _chosen(record, moe, where).float(),
        }
        host = {name: part.astype(np.float64) for name, part in to_host(found).items()}
        sums.chosen = sums.chosen + host["chosen"].sum(1)
        sums.scores = sums.scores + host["scores"].sum(0)
        sums.together = sums.together + host["chosen"] @ host["chosen"].T
        sums.entropy += float(host["entropy"].sum())
        sums.reach = where.stop
        yield None
        if record.sums is not sums:  # between two slices the run went back
            return (yield from _sum_up(record, moe, min(n, record.reach)))


def router_row(session: Session, question: ask.AskRouterRow) -> Answering:
    """One position in the order of the router's formula."""
    yield from ()
    return _row(session, question.layer, session.newest if question.position is None else question.position)


def _row(session: Session, layer: int, position: int) -> RouterRow:
    moe, record = _layer(session, layer)
    if position >= record.reach:
        none = np.zeros(0, np.float32)
        return RouterRow(layer, position, none, none, none, np.zeros(0, np.int64), none, None, 0.0)
    host = to_host({name: tensor[0] for name, tensor in _formula(record, moe, position).items()})
    rows = (host["logits"], host["scores"], host["choice"], host["ids"], host["weights"])
    gate = float(host["gate"]) if "gate" in host else None
    return RouterRow(layer, position, *rows, gate, float(host["entropy"]))


def _formula(record: LayerRouting, moe: MoE, position: int) -> dict[str, Tensor]:
    """Every figure of a position, a row each."""
    where = slice(position, position + 1)
    logits, scores = record.logits[where], moe.router.scores(record.logits[where])
    choice = moe.router.choice(logits if moe.spec.score_chosen else scores)
    parts = {
        "logits": logits.float(),
        "scores": scores.float(),
        "choice": choice.float(),
        "ids": record.ids[where],
        "weights": record.weights[where].float(),
        "entropy": entropy(even(scores)),
    }
    if moe.spec.shared_gate:
        computed = position < record.shared_gate.reach  # it comes two stages after the router
        parts["gate"] = record.shared_gate[where][:, 0].float() if computed else torch.full((1,), torch.nan)
    return parts


def routing_layers(session: Session, question: ask.AskRoutingLayers) -> Answering:
    """One position in all layers that have experts."""
    position = session.newest if question.position is None else question.position
    layers = list(session.trace.routing.layers)
    counts = np.array([_layer(session, layer)[0].spec.n_experts for layer in layers], np.int64)
    weights = np.zeros((len(layers), int(counts.max(initial=0))), np.float32)
    scores, chosen, known = np.zeros_like(weights), np.zeros(weights.shape, np.uint8), np.zeros(len(layers), np.bool_)
    for row, layer in enumerate(layers):
        found = _row(session, layer, position)
        known[row] = len(found.ids) > 0
        if known[row]:
            scores[row, : counts[row]] = found.scores
            weights[row, found.ids], chosen[row, found.ids] = found.weights, 1
        yield None
    return RoutingLayers(position, np.array(layers, np.int64), counts, known, weights, scores, chosen)


def routed_tokens(session: Session, question: ask.AskRoutedTokens) -> Answering:
    """Experts and weights of every position."""
    yield from ()
    _, record = _layer(session, question.layer)
    n = record.reach
    if not n:
        return RoutedTokens(question.layer, np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32))
    host = to_host({"ids": record.ids[:n], "weights": record.weights[:n].float()})
    return RoutedTokens(question.layer, host["ids"], host["weights"])


def expert_use(session: Session, question: ask.AskExpertUse) -> Answering:
    """The positions that an expert took, and what it adds at the strongest of them: a position a slice."""
    moe, record = _layer(session, question.layer)
    expert, n = question.expert, record.reach
    if not 0 <= expert < moe.spec.n_experts:
        raise EngineError(
            f"Expert {expert} does not exist; layer {question.layer} has experts 0 to {moe.spec.n_experts - 1}."
        )
    host = to_host(_taken(record, expert, n, max(0, question.most)))
    given = np.full((len(host["positions"]), 2), np.nan, np.float32)
    for place, position in enumerate(host["positions"].tolist()):
        try:
            figures = _given(session, moe, question, position)
        except ModelNeeded:  # which positions they are is recorded, and shown
            nothing = np.zeros(0, np.float32)
            listed = (host["positions"], host["weights"], given[:, 0].copy(), nothing)
            yield ExpertUse(question.layer, expert, n, int(host["taken"]), *listed)
            raise
        if figures is not None:
            given[place] = to_host({"figures": figures})["figures"]
        yield None
    separable = session.loaded.model.layers[question.layer].ln2_post is None
    shares = given[:, 1].copy() if separable else np.zeros(0, np.float32)
    figures_of = (host["positions"], host["weights"], given[:, 0].copy(), shares)
    return ExpertUse(question.layer, expert, n, int(host["taken"]), *figures_of)


def _taken(record: LayerRouting, expert: int, n: int, most: int) -> dict[str, Tensor]:
    """Positions and weights of the strongest, and how many chose the expert."""
    if not n:
        return {"positions": torch.zeros(0, dtype=torch.int64), "weights": torch.zeros(0), "taken": torch.tensor(0)}
    hit = record.ids[:n] == expert
    where = hit.any(1).nonzero()[:, 0]
    weights = (record.weights[:n].float() * hit).sum(1)[where]
    order = weights.abs().sort(descending=True, stable=True).indices[:most]
    return {"positions": where[order], "weights": weights[order], "taken": torch.tensor(len(where))}


def _given(session: Session, moe: MoE, question: ask.AskExpertUse, position: int) -> Tensor | None:
    """Norm of what the expert adds at a position, and its share of what all add, ``[2]``; None if not computed yet.

    A position that is computed never changes, so it is kept: while the run goes on only new tokens cost something.
    """
    layer, trace, cache, model = question.layer, session.trace, session.cache, session.loaded.model
    key = (layer, question.expert, position)
    if key not in session.expert_adds:
        if position >= min(mlp_known(trace, cache, layer), trace.reach[layer + 1]):
            return None  # stopped behind the router: the layer has not been computed to its end
        record = trace.routing.layers[layer]
        names = [f"blocks.{layer}.mlp.experts.{question.expert}.hook_out", f"blocks.{layer}.hook_mlp_out"]
        out, added = layer_tensors(model, trace, cache, layer, names, position, position + 1).values()
        adds = (out[0] if moe.spec.scale_input else out[0] * _weight_at(record, question.expert, position)).float()
        whole = added[0, 0].float() / model.layers[layer].spec.residual_scale
        session.expert_adds[key] = torch.stack((adds.norm(), adds @ whole / whole.square().sum()))
    return session.expert_adds[key]


def _weight_at(record: LayerRouting, expert: int, position: int) -> Tensor:
    """The weight ``[1]`` of an expert that was chosen at a position."""
    slot = (record.ids[position : position + 1][0] == expert).nonzero()[0]
    return record.weights[position : position + 1][0, slot]


# -- exact figures -------------------------------------------------------------------------------------------------


def exact_weight(session: Session, layer: int, expert: int, position: int) -> Tensor | None:
    """The weight of an expert at a position, 0 where it was not chosen; None where nothing is routed."""
    moe, record = _layer(session, layer)
    if not 0 <= position < record.reach or not 0 <= expert < moe.spec.n_experts:
        return None
    return _used(record, moe, slice(position, position + 1))[expert, 0]


def exact_score(session: Session, layer: int, expert: int, position: int) -> Tensor | None:
    """The router's score of an expert at a position; None where nothing is routed."""
    moe, record = _layer(session, layer)
    if not 0 <= position < record.reach or not 0 <= expert < moe.spec.n_experts:
        return None
    return moe.router.scores(record.logits[position : position + 1])[0, expert]


# -- from the record -----------------------------------------------------------------------------------------------


def _layer(session: Session, layer: int) -> tuple[MoE, LayerRouting]:
    record = session.trace.routing.layers.get(layer)
    if record is None:
        raise EngineError(f"Layer {layer} has one MLP and no experts, so nothing is routed there.")
    moe = session.loaded.model.layers[layer].mlp
    assert isinstance(moe, MoE), "only mixtures of experts are recorded"
    return moe, record


def _used(record: LayerRouting, moe: MoE, where: slice) -> Tensor:
    """Weights as float32 ``[n_experts, positions]``, 0 where an expert was not chosen."""
    ids, weights = record.ids[where], record.weights[where].float()
    return weights.new_zeros(len(ids), moe.spec.n_experts).scatter_(1, ids, weights).T


def _chosen(record: LayerRouting, moe: MoE, where: slice) -> Tensor:
    """bool ``[n_experts, positions]``: a chosen expert may have a weight of 0."""
    ids = record.ids[where]
    marks = torch.zeros(len(ids), moe.spec.n_experts, dtype=torch.bool, device=ids.device)
    return marks.scatter_(1, ids, True).T


def _shared(record: LayerRouting, moe: MoE, n: int) -> Tensor:
    """What the shared expert is multiplied by, ``[1, positions]`` of the first ``n`` where that is computed.

    1 where it has no gate; no positions without a shared expert.
    """
    if moe.spec.shared is not None and moe.spec.shared_gate and record.shared_gate.reach:
        return record.shared_gate[:n].float().T
    always_on = moe.spec.shared is not None and not moe.spec.shared_gate
    return record.logits[:0].new_ones(1, n if always_on else 0, dtype=torch.float32)
