"""How the stages of a layer hang together: the residual stream, what branches off it, where that is added again.

Plain data, worked out from the names of the stages alone; no widgets. A height counts stages: 0 is the row of the first
one, -1 the layer's own. Lanes lie beside each other: 0 is the residual stream, 1 a branch of it, 2 the MLP's where that
runs beside attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Part = Literal["stream", "attention", "mlp"]
Corner = tuple[float, float]  # lane and height
Line = tuple[Corner, ...]

_ASIDE = 0.34  # of a lane: q and v lie so far from k
_MOST_FANNED = 5  # lines from the router to the experts


@dataclass(frozen=True)
class Node:
    """Where a stage is drawn: a dot on each of its lanes, or where something is added to the stream."""

    lanes: tuple[float, ...]
    part: Part
    adds: bool = False


@dataclass(frozen=True)
class Wire:
    """What flows from stage to stage, along ``corners`` from top to bottom."""

    part: Part
    corners: Line


@dataclass(frozen=True)
class Flow:
    """A node for each stage, and the wires between them; ``lanes``: how many lie beside each other."""

    nodes: tuple[Node, ...]
    wires: tuple[Wire, ...]
    lanes: int


@lru_cache(maxsize=64)
def flow_of(stages: tuple[str, ...], top_k: int = 0) -> Flow:
    """The flow through a layer that has these stages; ``top_k``: how many experts its router picks."""
    last = len(stages) - 1
    stream = Wire("stream", ((0.0, -1.5), (0.0, last + 0.5)))
    if "attention out" not in stages:  # it is not known what belongs to what
        return Flow(tuple(Node((0.0,), "stream") for _ in stages), (stream,), 1)
    parallel = "add 1" not in stages
    split = stages.index("attention out") + 1  # where attention ends
    attention = {name: place for place, name in enumerate(stages[:split])}
    mlp = {name: place for place, name in enumerate(stages) if split + (not parallel) <= place < last}
    lane = 2.0 if parallel else 1.0
    wires = [Wire("attention", line) for line in _attention_lines(attention, last if parallel else split)]
    wires += [Wire("mlp", line) for line in _mlp_lines(mlp, lane, _leaves(attention, mlp, parallel), last, top_k)]
    nodes = {
        place: Node(_attention_lanes(attention).get(name, (1.0,)), "attention") for name, place in attention.items()
    }
    nodes |= {place: Node((lane + (name == "shared") * _ASIDE,), "mlp") for name, place in mlp.items()}
    ordered = (nodes.get(place, Node((0.0,), "stream", adds=True)) for place in range(last + 1))
    return Flow(tuple(ordered), (stream, *wires), 3 if parallel else 2)


def _leaves(attention: dict[str, int], mlp: dict[str, int], parallel: bool) -> Corner:
    """Where the MLP's branch begins: at the stream; beside attention perhaps at the norm that both read."""
    if not parallel:
        return (0.0, min(mlp.values()) - 0.6)
    return (0.0, -0.6) if "norm 2" in mlp or "norm 1" not in attention else (1.0, float(attention["norm 1"]))


# -- attention ---------------------------------------------------------------------------------------------------

_Q, _K, _V = 1.0 - _ASIDE, 1.0, 1.0 + _ASIDE
_QK = (_Q + _K) / 2


def _attention_lanes(at: dict[str, int]) -> dict[str, tuple[float, ...]]:
    """The stages that are not on the branch's own lane alone."""
    scored: dict[str, tuple[float, ...]] = {"scores": (_QK,), "softmax": (_QK,)}
    if "latent" in at:
        return scored | {"q": (_Q,), "latent": (_V,), "cache": (_V,)}
    return scored | {"q k v": (_Q, _K, _V), "q k norm": (_Q, _K), "rope": (_Q, _K), "cache": (_K, _V)}


def _attention_lines(at: dict[str, int], into: int) -> list[Line]:
    """From the stream through the norm, where there is one, to queries, keys and values, and from the mix back."""
    source = (1.0, float(at["norm 1"])) if "norm 1" in at else (0.0, -0.6)
    scores, softmax, mix, out = (float(at[name]) for name in ("scores", "softmax", "mix", "attention out"))
    lines: list[Line] = [((0.0, -0.6), (1.0, float(at["norm 1"])))] if "norm 1" in at else []
    lines += _latent_lines(at, source) if "latent" in at else _plain_lines(at, source)
    lines += [((_QK, scores), (_QK, softmax), (1.0, mix))]
    return [*lines, ((1.0, mix), (1.0, max(out, into - 1.0)), (0.0, float(into)))]


def _plain_lines(at: dict[str, int], source: Corner) -> list[Line]:
    """Queries and keys to the scores, values to the mix; keys and values by the cache."""
    made, scores, mix = float(at["q k v"]), float(at["scores"]), float(at["mix"])
    return [
        (source, (_Q, made), (_Q, scores - 1), (_QK, scores)),
        (source, (_K, made), (_K, scores - 1), (_QK, scores)),
        (source, (_V, made), (_V, mix - 1), (1.0, mix)),
    ]


def _latent_lines(at: dict[str, int], source: Corner) -> list[Line]:
    """Queries beside the latent, of which keys and values are made behind the cache."""
    q, cache, scores, mix = (float(at[name]) for name in ("q", "cache", "scores", "mix"))
    return [
        (source, (_Q, q), (_Q, scores - 1), (_QK, scores)),
        (source, (_V, source[1] + 1), (_V, mix - 1), (1.0, mix)),
        ((_V, cache), (_QK, scores)),
    ]


# -- MLP ---------------------------------------------------------------------------------------------------------


def _mlp_lines(at: dict[str, int], lane: float, source: Corner, into: int, top_k: int) -> list[Line]:
    """From where it leaves down its lane, fanned out where there are several, into the stream."""
    first = float(min(at.values()))
    down = source[1] + 1.0 if source[0] else min(first, source[1] + 0.6)
    pairs = [("gate up", "activation", 2), ("router", "experts", max(1, min(top_k, _MOST_FANNED)))]
    fans = [(float(at[top]), float(at[bottom]), count) for top, bottom, count in pairs if top in at and bottom in at]
    home = ((lane, into - 1.0), (0.0, float(into)))
    if not fans:
        return [(source, (lane, down), *home)]
    top, bottom, count = fans[0]
    lines: list[Line] = [(source, (lane, down), (lane, top)), ((lane, bottom), *home)]
    lines += [((lane, top), (aside, (top + bottom) / 2), (lane, bottom)) for aside in _spread(lane, count)]
    return lines + (_shared_lines(at, lane, (source, (lane, down))) if "shared" in at else [])


def _shared_lines(at: dict[str, int], lane: float, begins: tuple[Corner, Corner]) -> list[Line]:
    """The shared expert reads what the router reads, and is added to what the others give."""
    router, shared, aside = float(at["router"]), float(at["shared"]), lane + _ASIDE
    start = (lane, router - 1) if router > min(at.values()) else begins[0]
    return [(start, (aside, router), (aside, shared), (lane, shared + 1))]


def _spread(lane: float, count: int) -> tuple[float, ...]:
    """So many lanes around one."""
    step = 2 * _ASIDE / max(1, count - 1)
    return tuple(lane + (place - (count - 1) / 2) * step for place in range(count))
