"""What two branches differ by in their experts: figures are subtracted, what was chosen is compared as sets.

The answers here are of the kinds of the two that they are made of, with the figures of A less those of B in the same
fields; what cannot be subtracted stands beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.compare_arrays import BOTH, ONLY_A, ONLY_B, Array, alike, less, sets_of, whole_cells
from engine.frames import ExpertUse, RouterRow, Routing, RoutingLayers, RoutingShares


@dataclass(frozen=True)
class RoutingOfTwo(Routing):
    """``weights``, ``scores`` and ``shared`` are differences, ``chosen`` is A's and ``other`` B's."""

    other: Array = field(kw_only=True)


@dataclass(frozen=True)
class RowOfTwo(RouterRow):
    """Every figure is a difference; ``choice`` is infinite where the expert is barred in one of them, or in both.

    ``ids`` are those that either chose, by falling |difference| of ``weights``; ``sets`` uint8 [n_experts] says which
    of the two did.
    """

    sets: Array = field(kw_only=True)


@dataclass(frozen=True)
class LayersOfTwo(RoutingLayers):
    """As RoutingOfTwo, for one position in every layer; ``known``: in both."""

    other: Array = field(kw_only=True)


@dataclass(frozen=True)
class SharesOfTwo(RoutingShares):
    """``share``, ``mean_score``, ``balance`` and ``entropy`` are differences; ``together`` is float64, the part of A's
    positions that chose both less the part of B's. ``n`` counts positions of A."""

    a: RoutingShares = field(kw_only=True)
    b: RoutingShares = field(kw_only=True)


@dataclass(frozen=True)
class UseOfTwo(ExpertUse):
    """``positions`` are among the first ``n``, which both have; they are those of which is known what both did, by
    falling |difference| of ``weights``. ``sets`` uint8 [listed]: who chose the expert there; where one did not it adds
    nothing. ``left_out``: listed by one, and the other's list does not reach so far."""

    sets: Array = field(kw_only=True)
    a: ExpertUse = field(kw_only=True)
    b: ExpertUse = field(kw_only=True)
    left_out: int = field(kw_only=True)


def of_routing(a: Routing, b: Routing) -> RoutingOfTwo | None:
    """Cell by cell, over the positions that both have."""
    n, n_total = (whole_cells(min(getattr(a, name), getattr(b, name)), a.block) for name in ("n", "n_total"))
    if not alike(a, b, "layer", "block") or len(a.weights) != len(b.weights) or not n_total:
        return None
    cells = -(-n // a.block)
    changes: dict[str, Any] = {
        "n": n,
        "n_total": n_total,
        **{name: less(getattr(a, name), getattr(b, name))[:, :cells] for name in ("weights", "scores")},
        "chosen": a.chosen[:, :cells],
        "shared": less(a.shared, b.shared)[:cells],
    }
    return RoutingOfTwo(**{**vars(a), **changes}, other=b.chosen[:, :cells])


def of_row(a: RouterRow, b: RouterRow) -> RowOfTwo | None:
    """Nothing is listed where one of them is not routed yet."""
    if not alike(a, b, "layer", "position"):
        return None
    if not a.ids.size or not b.ids.size:
        missing = b if a.ids.size else a
        return RowOfTwo(**vars(missing), sets=np.zeros(0, np.uint8))
    weights, sets = _spread(a) - _spread(b), sets_of(_taken(a), _taken(b))
    ids = np.flatnonzero(sets)
    ids = ids[np.argsort(-np.abs(weights[ids]), kind="stable")]
    gated = a.shared_gate is not None and b.shared_gate is not None
    changes: dict[str, Any] = {
        **{name: less(getattr(a, name), getattr(b, name)) for name in ("logits", "scores")},
        "choice": np.where(np.isneginf(a.choice) & np.isneginf(b.choice), a.choice, less(a.choice, b.choice)),
        "ids": ids,
        "weights": weights[ids],
        "shared_gate": a.shared_gate - b.shared_gate if gated else None,  # type: ignore[operator]  # both are there
        "entropy": a.entropy - b.entropy,
    }
    return RowOfTwo(**{**vars(a), **changes}, sets=sets)


def _spread(row: RouterRow) -> Array:
    """Weights of all experts, 0 where not chosen."""
    weights = np.zeros(len(row.logits), np.float32)
    weights[row.ids] = row.weights
    return weights


def _taken(row: RouterRow) -> Array:
    return np.isin(np.arange(len(row.logits)), row.ids)


def of_layers(a: RoutingLayers, b: RoutingLayers) -> LayersOfTwo | None:
    """Layer by layer; 0 where one of them is not routed yet."""
    if a.position != b.position or not np.array_equal(a.layers, b.layers) or a.weights.shape != b.weights.shape:
        return None
    known = a.known & b.known
    changes: dict[str, Any] = {
        "known": known,
        **{name: less(getattr(a, name), getattr(b, name)) * known[:, None] for name in ("weights", "scores")},
        "chosen": a.chosen * known[:, None],
    }
    return LayersOfTwo(**{**vars(a), **changes}, other=b.chosen * known[:, None])


def of_shares(a: RoutingShares, b: RoutingShares) -> SharesOfTwo | None:
    """Over all positions of each: shares and means, which the lengths of the runs do not change."""
    if a.layer != b.layer or len(a.share) != len(b.share) or not a.n or not b.n:
        return None
    changes: dict[str, Any] = {
        **{name: getattr(a, name) - getattr(b, name) for name in ("share", "mean_score", "balance", "entropy")},
        "together": a.together / a.n - b.together / b.n,
    }
    return SharesOfTwo(**{**vars(a), **changes}, a=a, b=b)


def of_use(a: ExpertUse, b: ExpertUse) -> UseOfTwo | None:
    """Position by position."""
    if not alike(a, b, "layer", "expert") or bool(a.shares.size) != bool(b.shares.size):
        return None
    n = min(a.n, b.n)
    listed = np.union1d(a.positions, b.positions)
    listed = listed[listed < n]
    sets = sets_of(np.isin(listed, a.positions), np.isin(listed, b.positions))
    sure = (sets == BOTH) | ((sets == ONLY_A) & _complete(b)) | ((sets == ONLY_B) & _complete(a))
    positions = listed[sure]
    weights = _at(a, "weights", positions) - _at(b, "weights", positions)
    order = np.argsort(-np.abs(weights), kind="stable")
    changes: dict[str, Any] = {
        name: (_at(a, name, positions) - _at(b, name, positions))[order] if getattr(a, name).size else getattr(a, name)
        for name in ("weights", "norms", "shares")
    }
    changes |= {"n": n, "positions": positions[order].astype(np.int64), "sets": sets[sure][order]}
    return UseOfTwo(**{**vars(a), **changes}, a=a, b=b, left_out=int((~sure).sum()))


def _complete(use: ExpertUse) -> bool:
    """Whether every position that chose the expert is listed."""
    return use.taken == len(use.positions)


def _at(use: ExpertUse, name: str, positions: Array) -> Array:
    """A figure at some positions, 0 where the expert was not chosen and so adds nothing."""
    figures = dict(zip(use.positions.tolist(), getattr(use, name).tolist(), strict=False))
    return np.array([figures.get(position, 0.0) for position in positions.tolist()], np.float32)
