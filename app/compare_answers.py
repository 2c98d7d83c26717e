"""The difference of two answers to the same question, about two branches: an answer of the same kind.

Figures are those of A less those of B, over the places that both answers have. Reduced cells are subtracted as they
are: the largest of a block in A less the largest of that block in B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from app.compare_arrays import alike, less, whole_cells
from app.compare_experts import of_layers, of_routing, of_row, of_shares, of_use
from app.compare_neurons import of_neuron_layers, of_neurons
from engine.frames import (
    Answer,
    AttentionGrid,
    AttentionMap,
    AttentionRow,
    CacheVectors,
    ExactValue,
    ExpertUse,
    Figures,
    NeuronLayers,
    Neurons,
    Points,
    PointTensor,
    ResidualNorms,
    ResidualVectors,
    RouterRow,
    Routing,
    RoutingLayers,
    RoutingShares,
)

Array = np.ndarray
_BINS = 64
_MOST_TOP = 16


def difference(a: Answer, b: Answer) -> Answer | None:
    """A − B; None where the two do not fit each other, or figures of their kind cannot be subtracted."""
    subtract = _DIFFERENCES.get(type(a))
    return None if subtract is None or type(a) is not type(b) else subtract(a, b)


def _norms(a: ResidualNorms, b: ResidualNorms) -> ResidualNorms | None:
    n = whole_cells(min(a.n, b.n), a.block)
    if a.block != b.block or len(a.norms) != len(b.norms) or not n:
        return None
    names = ("norms", "delta_attention", "delta_mlp")
    reaches = ("reach", "reach_attention", "reach_mlp")
    arrays: dict[str, Any] = {
        **{name: less(getattr(a, name), getattr(b, name))[:, : n // a.block] for name in names},
        **{name: np.minimum(np.minimum(getattr(a, name), getattr(b, name)), n) for name in reaches},
    }
    return replace(a, n=n, **arrays)


def _vectors(a: ResidualVectors, b: ResidualVectors) -> ResidualVectors | None:
    if not alike(a, b, "position", "block", "rows_total"):
        return None
    return replace(a, vectors=less(a.vectors, b.vectors))


def _grid(a: AttentionGrid, b: AttentionGrid) -> AttentionGrid | None:
    """The longer branch may have come in larger blocks."""
    block = max(a.block, b.block)
    a, b = _coarser(a, block), _coarser(b, block)
    n = whole_cells(min(a.n_total, b.n_total), a.block)
    if not alike(a, b, "layer", "block", "every") or len(a.maps) != len(b.maps) or not n:
        return None
    cells = n // a.block
    return replace(a, n=min(a.n, b.n, n), n_total=n, maps=less(a.maps, b.maps)[:, :cells, :cells])


def _coarser(grid: AttentionGrid, block: int) -> AttentionGrid:
    """In blocks so large, where they are made of the grid's own; the cells that are whole."""
    times = block // grid.block
    if times == 1 or block % grid.block:
        return grid
    heads, cells = len(grid.maps), grid.maps.shape[1] // times
    parts = grid.maps[:, : cells * times, : cells * times].reshape(heads, cells, times, cells, times)
    return replace(grid, block=block, maps=parts.max(axis=(2, 4)))


def _map(a: AttentionMap, b: AttentionMap) -> AttentionMap | None:
    if not alike(a, b, "layer", "head", "block", "every", "stage", "rows", "columns"):
        return None
    rows = min(len(a.sight), len(b.sight))
    sight = np.stack(
        (np.maximum(a.sight[:rows, 0], b.sight[:rows, 0]), np.minimum(a.sight[:rows, 1], b.sight[:rows, 1])), axis=1
    )
    return replace(a, n=min(a.n, b.n), n_total=min(a.n_total, b.n_total), map=less(a.map, b.map)[:rows], sight=sight)


def _row(a: AttentionRow, b: AttentionRow) -> AttentionRow | None:
    if not alike(a, b, "layer", "position", "stage") or len(a.rows) != len(b.rows):
        return None
    sight = (max(a.sight[0], b.sight[0]), min(a.sight[1], b.sight[1]))
    return replace(a, rows=less(a.rows, b.rows), sight=sight)


def _cached(a: CacheVectors, b: CacheVectors) -> CacheVectors | None:
    names = ("keys", "values", "latent")
    same = all(getattr(a, name).shape == getattr(b, name).shape for name in names)
    if not alike(a, b, "layer", "position") or not same:
        return None
    arrays: dict[str, Any] = {name: less(getattr(a, name), getattr(b, name)) for name in names}
    return replace(a, **arrays)


def _exact(a: ExactValue, b: ExactValue) -> ExactValue | None:
    if not alike(a, b, "quantity", "index", "name"):
        return None
    known = a.value is not None and b.value is not None
    return replace(a, value=a.value - b.value if known else None)  # type: ignore[operator]  # known


def _points(a: Points, b: Points) -> Points | None:
    """What is computed in both."""
    if not alike(a, b, "layer", "position"):
        return None
    of_b = dict(zip(b.names, b.known.tolist(), strict=True))
    of_a = zip(a.names, a.known.tolist(), strict=True)
    both = [(name, min(known, of_b[name])) for name, known in of_a if name in of_b]
    return replace(a, names=tuple(name for name, _ in both), known=np.array([known for _, known in both], np.int64))


def _tensor(a: PointTensor, b: PointTensor) -> PointTensor | None:
    if a.sentence or b.sentence:
        return a if a.sentence else b
    if not alike(a, b, "name", "position", "end", "index", "symbols", "shape", "first", "block"):
        return None
    values, blank = less(a.values, b.values), a.blank
    if b.blank.size:
        blank = a.blank | b.blank if a.blank.size else b.blank
    whole = a.block == (1, 1)  # else the entries behind the cells are not here
    top = _strongest(values, blank, a) if whole else (np.zeros((0, len(a.shape)), np.int64), np.zeros(0, np.float32))
    figures = _figures(values[~blank] if blank.size else values) if whole else None
    return replace(a, values=values, blank=blank, figures=figures, top=top[0], top_values=top[1], pieces=())


def _strongest(values: Array, blank: Array, tensor: PointTensor) -> tuple[Array, Array]:
    """Places (int64 [n, axes], counted from the first entry of an axis) and figures of what differs most."""
    flat = np.where(blank, np.float32(0), values).ravel() if blank.size else values.ravel()
    order = np.argsort(-np.abs(flat), kind="stable")[:_MOST_TOP]
    places = np.stack(np.unravel_index(order, values.shape), axis=1) + np.array(tensor.first)
    return places[:, -len(tensor.shape) :].astype(np.int64), flat[order]


def _figures(values: Array) -> Figures:
    """Of every difference, in float64."""
    exact = values.astype(np.float64).ravel()
    finite = exact[np.isfinite(exact)]
    nans, infinities = int(np.isnan(exact).sum()), int(np.isinf(exact).sum())
    if not finite.size:
        nan, none = float("nan"), np.zeros(0)
        return Figures(exact.size, nans, infinities, nan, nan, nan, nan, nan, none, none.astype(np.int64))
    counts, edges = np.histogram(finite, _BINS)
    norm = float(np.sqrt((finite**2).sum()))
    return Figures(
        exact.size, nans, infinities, float(finite.min()), float(finite.max()), float(finite.mean()),
        float(finite.std()), norm, edges, counts.astype(np.int64),
    )  # fmt: skip


_DIFFERENCES: dict[type, Callable[[Any, Any], Any]] = {
    ResidualNorms: _norms,
    ResidualVectors: _vectors,
    AttentionGrid: _grid,
    AttentionMap: _map,
    AttentionRow: _row,
    CacheVectors: _cached,
    ExactValue: _exact,
    Points: _points,
    PointTensor: _tensor,
    Routing: of_routing,
    RouterRow: of_row,
    RoutingLayers: of_layers,
    RoutingShares: of_shares,
    ExpertUse: of_use,
    Neurons: of_neurons,
    NeuronLayers: of_neuron_layers,
}
