"""Answers about experts: what routers decided is recorded, an expert's output is recomputed for the picked one only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine import questions as ask
from engine.errors import EngineError
from engine.frames import ExpertUse, RoutedTokens, RouterRow, Routing, RoutingLayers, RoutingShares
from engine.gate import Answering
from engine.model.moe import MoE
from engine.recompute import mlp_added, mlp_input, mlp_known
from engine.routing import LayerRouting, entropy, even
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session


def routing(session: Session, question: ask.AskRouting) -> Answering:
    """Experts x positions, reduced to what fits."""
    yield from ()
    moe, record = _layer(session, question.layer)
    n = record.reach
    block = -(-n // max(1, question.most)) or 1
    used, scores = _used(record, moe), _scores(record, moe, slice(n)).float().T
    host = to_host(
        {
            "weights": _blocks(used, block).amax(-1),
            "scores": _blocks(scores, block).amax(-1),
            "chosen": _blocks(_chosen(record, moe).float(), block).sum(-1).long(),
            "shared": _blocks(_shared(record, moe), block).amax(-1).flatten(),
        }
    )
    parts = (host["weights"], host["scores"], host["chosen"], host["shared"])
    return Routing(question.layer, n, session.n_read, block, *parts)


def shares(session: Session, question: ask.AskRoutingShares) -> Answering:
    """How evenly a layer's experts were used."""
    yield from ()
    moe, record = _layer(session, question.layer)
    n, n_experts = record.reach, moe.spec.n_experts
    chosen, scores = _chosen(record, moe).double(), even(_scores(record, moe, slice(n))).double()
    together = chosen @ chosen.T  # [n_experts, n_experts]
    share = chosen.sum(1) / max(1, n * moe.spec.top_k)
    mean = scores.mean(0) if n else torch.zeros_like(share)
    whole = {"balance": n_experts * (share * mean).sum(), "entropy": entropy(scores).sum() / max(1, n)}
    host = to_host({"share": share, "mean": mean, "together": together.long(), **whole})
    figures = (float(host["balance"]), float(host["entropy"]))
    return RoutingShares(question.layer, n, host["share"], host["mean"], *figures, host["together"])


def router_row(session: Session, question: ask.AskRouterRow) -> Answering:
    """One position in the order of the router's formula."""
    yield from ()
    return _row(session, question.layer, session.newest if question.position is None else question.position)


def _row(session: Session, layer: int, position: int) -> RouterRow:
    moe, record = _layer(session, layer)
    where = slice(position, position + 1)
    if position >= record.reach:
        where = slice(0, 0)
    parts = _formula(record, moe, where)
    host = to_host({name: tensor[0] if len(tensor) else tensor.flatten() for name, tensor in parts.items()})
    gate = float(host["gate"][0]) if host["gate"].size else None
    spread = float(host["entropy"]) if host["entropy"].size else 0.0
    rows = (host["logits"], host["scores"], host["choice"], host["ids"], host["weights"])
    return RouterRow(layer, position, *rows, gate, spread)


def _formula(record: LayerRouting, moe: MoE, where: slice) -> dict[str, Tensor]:
    """Every figure of some positions, a row each."""
    if where.start == where.stop or not record.reach:
        nothing, none = torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.int64)
        names = ("logits", "scores", "choice", "weights", "gate", "entropy")
        return dict.fromkeys(names, nothing) | {"ids": none}
    logits, scores = record.logits[where], _scores(record, moe, where)
    choice = moe.router.choice(logits if moe.spec.score_chosen else scores)
    return {
        "logits": logits.float(),
        "scores": scores.float(),
        "choice": choice.float(),
        "ids": record.ids[where],
        "weights": record.weights[where].float(),
        "gate": record.shared_gate[where].float() if moe.spec.shared_gate else torch.zeros(1, 0),
        "entropy": entropy(even(scores)),
    }


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
        yield
    return RoutingLayers(position, np.array(layers, np.int64), counts, known, weights, scores, chosen)


def routed_tokens(session: Session, question: ask.AskRoutedTokens) -> Answering:
    """Experts and weights of every position."""
    yield from ()
    _, record = _layer(session, question.layer)
    host = to_host({"ids": record.ids[:], "weights": record.weights[:].float()}) if record.reach else None
    if host is None:
        return RoutedTokens(question.layer, np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32))
    return RoutedTokens(question.layer, host["ids"], host["weights"])


def expert_use(session: Session, question: ask.AskExpertUse) -> Answering:
    """The positions that an expert took, and what it adds at the strongest of them: a position a slice."""
    moe, record = _layer(session, question.layer)
    expert = question.expert
    if not 0 <= expert < moe.spec.n_experts:
        raise EngineError(
            f"Expert {expert} does not exist; layer {question.layer} has experts 0 to {moe.spec.n_experts - 1}."
        )
    taken = _used(record, moe)[expert] if record.reach else torch.zeros(0)
    where = _chosen(record, moe)[expert].nonzero()[:, 0] if record.reach else torch.zeros(0, dtype=torch.int64)
    strongest = where[taken[where].abs().sort(descending=True, stable=True).indices][: max(0, question.most)]
    host = to_host({"positions": strongest, "weights": taken[strongest]})
    given = []
    for position in host["positions"].tolist():
        given.append(_given(session, moe, question, position))
        yield
    norms = to_host({"given": torch.stack(given)})["given"] if given else np.zeros((0, 2), np.float32)
    separable = session.loaded.model.layers[question.layer].ln2_post is None
    return ExpertUse(
        question.layer,
        expert,
        record.reach,
        len(where),
        host["positions"],
        host["weights"],
        norms[:, 0].copy(),
        norms[:, 1].copy() if separable else np.zeros(0, np.float32),
    )


def _given(session: Session, moe: MoE, question: ask.AskExpertUse, position: int) -> Tensor:
    """Norm of what the expert adds at a position, and its share of what all experts add: ``[2]``, NaN if not known."""
    layer, trace, cache = question.layer, session.trace, session.cache
    record, model = trace.routing.layers[layer], session.loaded.model
    known = min(mlp_known(trace, cache, layer), trace.reach[layer + 1])
    if position >= known:  # stopped behind the router: the layer has not been computed to its end
        return torch.full((2,), torch.nan)
    read = mlp_input(model, trace, cache, layer, position, position + 1)
    slot = (record.ids[position : position + 1][0] == question.expert).nonzero()[0]
    weight = record.weights[position : position + 1][:, slot]
    adds = moe.recompute_weighed(read, weight, question.expert)[0].float()
    scale = model.layers[layer].spec.residual_scale
    whole = mlp_added(model, trace, cache, layer, position).float() / scale
    return torch.stack((adds.norm(), adds @ whole / whole.square().sum()))


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
    return _scores(record, moe, slice(position, position + 1))[0, expert]


# -- from the record -----------------------------------------------------------------------------------------------


def _layer(session: Session, layer: int) -> tuple[MoE, LayerRouting]:
    record = session.trace.routing.layers.get(layer)
    if record is None:
        raise EngineError(f"Layer {layer} has one MLP and no experts, so nothing is routed there.")
    moe = session.loaded.model.layers[layer].mlp
    assert isinstance(moe, MoE), "only mixtures of experts are recorded"
    return moe, record


def _scores(record: LayerRouting, moe: MoE, where: slice) -> Tensor:
    """``[positions, n_experts]``."""
    if not record.reach:
        return torch.zeros(0, moe.spec.n_experts)
    return moe.router.scores(record.logits[where])


def _used(record: LayerRouting, moe: MoE, where: slice = slice(None)) -> Tensor:
    """Weights as float32 ``[n_experts, positions]``, 0 where an expert was not chosen."""
    if not record.reach:
        return torch.zeros(moe.spec.n_experts, 0)
    ids, weights = record.ids[where], record.weights[where].float()
    return torch.zeros(len(ids), moe.spec.n_experts, device=ids.device).scatter_(1, ids, weights).T


def _shared(record: LayerRouting, moe: MoE) -> Tensor:
    """What the shared expert is multiplied by, ``[1, positions]``; no positions without a shared expert."""
    if moe.spec.shared is None or not record.reach:
        return torch.zeros(1, 0)
    return record.shared_gate[:].float().T if moe.spec.shared_gate else torch.ones(1, record.reach)


def _chosen(record: LayerRouting, moe: MoE) -> Tensor:
    """bool ``[n_experts, positions]``: a chosen expert may have a weight of 0."""
    if not record.reach:
        return torch.zeros(moe.spec.n_experts, 0, dtype=torch.bool)
    ids = record.ids[:]
    marks = torch.zeros(len(ids), moe.spec.n_experts, dtype=torch.bool, device=ids.device)
    return marks.scatter_(1, ids, True).T


def _blocks(rows: Tensor, block: int) -> Tensor:
    """``[n_experts, positions]`` as ``[n_experts, columns, block]``, filled up with 0."""
    return F.pad(rows, (0, -rows.shape[1] % block)).unflatten(1, (-1, block)) if rows.shape[1] else rows[..., None]
