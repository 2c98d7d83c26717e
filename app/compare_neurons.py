"""What two branches differ by in their neurons: every neuron of a layer, and which are the strongest over layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.compare_arrays import NEITHER, Array, alike, less, sets_of
from engine.frames import NeuronLayers, Neurons

MOST = 24  # neurons that are listed


@dataclass(frozen=True)
class NeuronsOfTwo(Neurons):
    """The neurons that differ most, by falling |A − B| of what they give: ``post``, ``gate`` and ``up`` are
    differences, ``a`` and ``b`` [top] what is given in each. ``output_norm`` is A's, ``other_norm`` B's. ``held``: the
    part of Σ|A − B| over all neurons that the ones listed have; ``half``: how few have half of it."""

    a: Array = field(kw_only=True)
    b: Array = field(kw_only=True)
    other_norm: float = field(kw_only=True)


@dataclass(frozen=True)
class NeuronLayersOfTwo(NeuronLayers):
    """The strongest of either, layer by layer: first those of both by A's rank, then A's own, then B's own.

    ``ids`` are -1 and ``sets`` uint8 [rows, 2 · top] NEITHER behind the last of a row. ``post`` and ``other``: what is
    given in A and in B, NaN where the neuron is not among the strongest there.
    """

    sets: Array = field(kw_only=True)
    other: Array = field(kw_only=True)


def of_neurons(a: Neurons, b: Neurons) -> NeuronsOfTwo | None:
    """Of two answers that list every neuron; nothing is listed where one of them is not computed yet."""
    if not alike(a, b, "layer", "position", "n_neurons"):
        return None
    if not a.ids.size or not b.ids.size:
        missing, none = b if a.ids.size else a, np.zeros(0, np.float32)
        return NeuronsOfTwo(**vars(missing), a=none, b=none, other_norm=0.0)
    if len(a.ids) != a.n_neurons or len(b.ids) != b.n_neurons:
        return None
    order_a, order_b = np.argsort(a.ids), np.argsort(b.ids)
    apart = less(a.post[order_a], b.post[order_b])
    ids = np.argsort(-np.abs(apart), kind="stable")[:MOST]
    in_a, in_b = order_a[ids], order_b[ids]
    changes: dict[str, Any] = {
        "ids": ids.astype(np.int64),
        "post": apart[ids],
        "gate": less(a.gate[in_a], b.gate[in_b]),
        "up": less(a.up[in_a], b.up[in_b]) if a.up.size else a.up,
        "share": a.share[:0],
        **_concentration(apart, apart[ids]),
    }
    return NeuronsOfTwo(**{**vars(a), **changes}, a=a.post[in_a], b=b.post[in_b], other_norm=b.output_norm)


def _concentration(apart: Array, listed: Array) -> dict[str, float | int]:
    """As of Neurons, of the differences."""
    sums = np.sort(np.abs(apart.astype(np.float64)))[::-1].cumsum()
    whole = float(sums[-1])
    if not whole:
        return {"held": 0.0, "half": 0}
    held = float(np.abs(listed.astype(np.float64)).sum()) / whole
    return {"held": held, "half": int((sums < whole / 2).sum()) + 1}


def of_neuron_layers(a: NeuronLayers, b: NeuronLayers) -> NeuronLayersOfTwo | None:
    """Of the layers that both have."""
    if a.position != b.position or a.ids.shape[1] != b.ids.shape[1]:
        return None
    layers = np.intersect1d(a.layers, b.layers)
    width = 2 * a.ids.shape[1]
    ids, sets = np.full((len(layers), width), -1, np.int64), np.full((len(layers), width), NEITHER, np.uint8)
    posts = np.full((2, len(layers), width), np.nan, np.float32)
    for row, layer in enumerate(layers.tolist()):
        of_a, of_b = _row(a, layer), _row(b, layer)
        both = [neuron for neuron in of_a if neuron in of_b]
        found = list(dict.fromkeys((*both, *of_a, *of_b)))
        ids[row, : len(found)] = found
        sets[row, : len(found)] = sets_of(np.isin(found, list(of_a)), np.isin(found, list(of_b)))
        for side, given in enumerate((of_a, of_b)):
            posts[side, row, : len(found)] = [given.get(neuron, np.nan) for neuron in found]
    changes: dict[str, Any] = {"layers": layers.astype(np.int64), "ids": ids, "post": posts[0]}
    return NeuronLayersOfTwo(**{**vars(a), **changes}, sets=sets, other=posts[1])


def _row(answer: NeuronLayers, layer: int) -> dict[int, float]:
    """What the strongest neurons of a layer give, strongest first."""
    (row,) = np.flatnonzero(answer.layers == layer).tolist()
    return dict(zip(answer.ids[row].tolist(), answer.post[row].tolist(), strict=True))
