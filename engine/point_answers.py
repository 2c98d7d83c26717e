"""Answers about hook points: which are computed at a position, and the tensor of one, at a position or over many.

What is recorded is read from the record; the rest is recomputed by the pass's own code (``engine/replay.py``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine import questions as ask
from engine.config import ModelConfig
from engine.errors import EngineError
from engine.frames import ExactValue, Piece, Points, PointTensor
from engine.gate import Answering
from engine.point_rows import PointRows, barred, block_of, counted, figures, handed_over, reduced, summed_up
from engine.point_table import expert_of, full_name, layer_points, names_of, outer_points, point_facts, split_name
from engine.replay import known, replay
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.frames import PointFacts
    from engine.session import Session

_VECTOR_MOST = 2**18  # entries of a single axis that are sent one by one
_MOST_KEPT = 2**24  # numbers of rows over all positions of the context: where there may be more they are kept reduced
_MOST_KEYS = 2048  # positions of a map over keys
_TOO_LONG = (
    "Here a head's map is made of {0:,} positions at most; the Attention panel shows longer ones, and this panel one "
    "position of any."
)
_FIRST_SLICE, _MOST_A_SLICE, _SLICE_S = 16, 256, 0.012  # positions, and seconds that recomputing them may take
_PASSES_A_SLICE = 8
_PARTS_EVERY_S = 0.15  # seconds between two answers that are not whole yet

_ROUTED = ("mlp.hook_router_logits", "mlp.hook_expert_indices", "mlp.hook_expert_weights", "mlp.hook_shared_gate")


def points(session: Session, question: ask.AskPoints) -> Answering:
    """Which points of a layer, and of what lies around the layers, are computed."""
    yield from ()
    config, layer = session.loaded.config, question.layer
    position = _position(session, question.position)
    before, behind = outer_points(config)
    experts = _experts_at(session, layer, position)
    names = [point.name for point in before]
    names += names_of(layer, layer_points(config, layer), experts)
    names += [point.name for point in behind]
    counts = np.array([known(session, name) for name in names], np.int64)
    return Points(layer, position, tuple(names), counts, experts)


def point(session: Session, question: ask.AskPoint) -> Answering:
    """One point at one position."""
    yield from ()
    facts, position = point_facts(session.loaded.config, question.name), _position(session, question.position)
    sentence = _why_not(session, question.name, position)
    if not sentence:
        try:
            return _at_position(session, facts, question, position)
        except EngineError as error:
            sentence = str(error)
    absent = position >= known(session, question.name)
    return _nothing(question.name, position, position + 1, question.index, sentence, absent=absent)


def point_over(session: Session, question: ask.AskPointOver) -> Answering:
    """One point over positions, a row each; what was recomputed for the last pass is kept for the next."""
    name, facts = question.name, point_facts(session.loaded.config, question.name)
    computed = known(session, name)
    end = min(session.n_read if question.end is None else question.end, computed)
    if "pos" not in facts.shape and "routed" not in facts.shape:
        if "key" in facts.shape and end:
            return (yield from point(session, ask.AskPoint(name, end - 1, question.index, question.most)))
        return _nothing(name, question.start, end, question.index, _only_at_one(facts))
    if end <= question.start:
        position = max(question.start, session.newest)
        return _nothing(name, position, position + 1, question.index, _why_not(session, name, position), absent=True)
    if "key" in facts.shape and end - question.start > _MOST_KEYS:
        return _nothing(name, question.start, end, question.index, _TOO_LONG.format(_MOST_KEYS))
    try:
        return (yield from _over(session, facts, question, end))
    except EngineError as error:
        return _nothing(name, question.start, end, question.index, str(error))


def exact(session: Session, question: ask.AskExactValue) -> Answering:
    """The figure at a place of a point, not reduced; None where there is none."""
    yield from ()
    position, *place = question.index
    value, source = None, ""
    if 0 <= position < min(known(session, question.name), session.n_tokens):
        value, source = _figure(session, question.name, position, place)
    return ExactValue("point", question.index, value, source, question.name)


# -- where -------------------------------------------------------------------------------------------------------


def _position(session: Session, position: int | None) -> int:
    return session.newest if position is None else position


def _experts_at(session: Session, layer: int, position: int) -> tuple[int, ...]:
    """Those that were chosen, best first; none before the layer has routed the position."""
    routing = session.trace.routing.layers.get(layer)
    if routing is None or position >= routing.reach:
        return ()
    return tuple(to_host({"ids": routing.ids[position : position + 1]})["ids"][0].tolist())


def _why_not(session: Session, name: str, position: int) -> str:
    """Why a point has no tensor at a position; "" where it should have one."""
    if position >= known(session, name):
        return f"{name} has not been computed at position {position} yet."
    layer, inner = split_name(name)
    expert = expert_of(inner)
    if expert is not None and layer is not None and expert not in _experts_at(session, layer, position):
        return f"Expert {expert} of layer {layer} was not chosen at position {position}: it has computed nothing there."
    return ""


def _only_at_one(facts: PointFacts) -> str:
    return f"{facts.name} belongs to one step of the run; look at it at one position."


def _nothing(name: str, position: int, end: int, index: int, sentence: str, *, absent: bool = False) -> PointTensor:
    cells, flags = np.zeros((0, 0), np.float32), np.zeros((0, 0), bool)
    places, none = np.zeros((0, 0), np.int64), np.zeros(0, np.float32)
    pair = ((0, 0), (1, 1))
    where = (name, position, end, index)
    return PointTensor(*where, (), (), *pair, cells, flags, None, places, none, (), "", sentence, absent)


# -- tensors -----------------------------------------------------------------------------------------------------


def _window(session: Session, name: str, start: int, end: int) -> tuple[Tensor, str]:
    """The tensor of positions [start, end) as the hook table shapes it, and where it is from."""
    recorded = _recorded(session, name, start, end)
    if recorded is not None:
        return recorded, "captured"
    return replay(session, [name], start, end)[name], "recomputed"


def _recorded(session: Session, name: str, start: int, end: int) -> Tensor | None:
    """What the run has kept of a point, with its batch axis; None where that is nothing, or no more there."""
    layer, inner = split_name(name)
    if name == "hook_tokens":
        ids = (session.prompt + session.output)[start:end]
        return torch.tensor([ids], device=session.loaded.device)
    if name == "hook_logits_final" and end - start == 1:
        kept = session.kept_logits(start)
        return None if kept is None else kept[None, None]
    if layer is None:
        return None
    routing = session.trace.routing.layers.get(layer)
    if inner in _ROUTED and routing is not None:
        return routing.parts()[inner.removeprefix("mlp.")][start:end][None]
    boundary = _boundary(session, layer, inner, start)
    if boundary is not None and session.trace.source(start, end) == "captured":
        return session.trace.residual(boundary, start, end)[None]
    return None


def _boundary(session: Session, layer: int, inner: str, position: int) -> int | None:
    """Where the record has the stream of this point; what the next layer's edit replaced is not what this one left."""
    if inner == "hook_resid_pre":
        return layer
    edited = full_name(layer + 1, "hook_resid_pre") in session.trace.edits(position)
    return layer + 1 if inner == "hook_resid_post" and not edited else None


def _at_position(session: Session, facts: PointFacts, question: ask.AskPoint, position: int) -> PointTensor:
    tensor, source = _window(session, question.name, position, position + 1)
    symbols, left, first = seen_from(session.loaded.config, question.name, tensor, position)
    if left.dim() > 2:
        left = left.select(1, min(max(question.index, 0), left.shape[1] - 1))
        symbols = (symbols[0], *symbols[2:])
    starts = [first if symbol == "key" else 0 for symbol in symbols]
    rows = left if left.dim() == 2 else left[None]
    most = question.most if left.dim() == 2 else max(question.most, _VECTOR_MOST)
    nowhere = barred(rows)
    sums = summed_up(rows, nowhere, facts.kind)
    block = (block_of(rows.shape[0], question.most), block_of(rows.shape[1], most))
    values, blank = handed_over(*reduced(rows, nowhere, block))
    pair = (starts[0] if len(starts) == 2 else 0, starts[-1])
    places = sums.places[:, 1:] if left.dim() < 2 else sums.places
    return PointTensor(
        name=question.name,
        position=position,
        end=position + 1,
        index=question.index,
        symbols=symbols,
        shape=tuple(left.shape),
        first=pair,
        block=block,
        values=values,
        blank=blank,
        figures=figures(sums, *counted(rows, nowhere, sums)),
        top=places + np.array(pair[2 - places.shape[1] :], np.int64),
        top_values=sums.strongest,
        pieces=_pieces(session, facts, places, sums.strongest),
        source=source,
    )


def seen_from(config: ModelConfig, name: str, tensor: Tensor, position: int) -> tuple[tuple[str, ...], Tensor, int]:
    """The symbols and axes left of one position, keys from the first that it sees on, and which one that is."""
    symbols, left, first = list(point_facts(config, name).shape), tensor, 0
    if symbols[0] == "batch" or symbols[:2] == ["1", "pos"]:
        symbols, left = symbols[1:], left[0]
    for symbol in ("pos", "routed"):
        if symbol in symbols:
            left = left.select(symbols.index(symbol), 0)
            symbols.remove(symbol)
    if "key" in symbols:
        axis = symbols.index("key")
        layer = split_name(name)[0]
        assert layer is not None, "keys are cached by layers"
        shown = position + 1 - left.shape[axis]
        first = max(shown, config.layers[layer].attention.first_seen(position))
        left = left.narrow(axis, first - shown, position + 1 - first)
    if not left.dim():
        symbols, left = ["1"], left[None]
    return tuple(symbols), left, first


def _figure(session: Session, name: str, position: int, place: list[int]) -> tuple[float | None, str]:
    if _why_not(session, name, position):
        return None, ""
    tensor, source = _window(session, name, position, position + 1)
    symbols, left, first = seen_from(session.loaded.config, name, tensor, position)
    at = [entry - first if symbol == "key" else entry for symbol, entry in zip(symbols, place, strict=False)]
    if len(at) != left.dim() or not all(0 <= entry < size for entry, size in zip(at, left.shape, strict=True)):
        return None, ""
    return float(to_host({"value": left[tuple(at)]})["value"]), source


def _pieces(session: Session, facts: PointFacts, places: np.ndarray, strongest: np.ndarray) -> tuple[Piece, ...]:
    """The tokens of the strongest entries."""
    if facts.kind == "tokens":
        return tuple(session.vocabulary_piece(int(token)) for token in strongest)
    if facts.shape[-1] == "d_vocab":
        return tuple(session.vocabulary_piece(int(place[-1])) for place in places)
    return ()


# -- over positions ----------------------------------------------------------------------------------------------


def _over(session: Session, facts: PointFacts, question: ask.AskPointOver, end: int) -> Answering:
    kept, said, count = _kept(session, facts, question), time.monotonic(), _FIRST_SLICE
    while question.start + kept.n < end:
        began, start, before = time.monotonic(), question.start + kept.n, kept.n
        stop = min(end, start + count, session.trace.span_end(start) if session.trace.applied else end)
        kept.add(*_rows(session, facts, question, start, stop))
        now = time.monotonic()
        count = _next_slice(kept.n - before, now - began)
        if now - said > _PARTS_EVERY_S:
            said = now
            yield _gathered(session, facts, question, kept, end)
        else:
            yield None
    return _gathered(session, facts, question, kept, end)


def _next_slice(count: int, seconds: float) -> int:
    """How many positions the next slice takes, so that it lasts about as long as a slice may."""
    factor = 2.0 if seconds <= 0 else min(2.0, max(0.25, _SLICE_S / seconds))
    return min(_MOST_A_SLICE, max(_FIRST_SLICE, int(count * factor)))


def _kept(session: Session, facts: PointFacts, question: ask.AskPointOver) -> PointRows:
    """The rows of the point that is looked at now; those of another are let go."""
    key = (question.name, question.index, question.start, question.most)
    if session.point_rows is None or session.point_rows.key != key:
        narrow = session.loaded.config.n_ctx * facts.sizes[-1] > _MOST_KEPT
        session.point_rows = PointRows(key, facts.kind, question.most if narrow else None)
    if question.end is not None:
        session.point_rows.truncate(question.end - question.start)
    return session.point_rows


def _rows(session: Session, facts: PointFacts, question: ask.AskPointOver, start: int, end: int) -> tuple[Tensor, str]:
    """``[positions, columns]`` of the chosen head, of as many positions as a slice allows; -inf where nothing is, as
    where an expert was not chosen."""
    recorded = _recorded(session, question.name, start, end)
    if recorded is not None:
        return _left(facts, recorded, question.index), "captured"
    parts: list[Tensor] = []
    while start < end and len(parts) < _PASSES_A_SLICE:  # what is recomputed is so pass by pass
        stop = min(end, session.trace.span_end(start))
        parts.append(_rows_in_pass(session, facts, question, start, stop))
        start = stop
    width = max(part.shape[1] for part in parts)
    pad = torch.nn.functional.pad
    return torch.cat([pad(part, (0, width - part.shape[1]), value=float("-inf")) for part in parts]), "recomputed"


def _rows_in_pass(session: Session, facts: PointFacts, question: ask.AskPointOver, start: int, end: int) -> Tensor:
    tensor = replay(session, [question.name], start, end)[question.name]
    if "routed" in facts.shape:
        return _spread(session, question.name, tensor, start, end)
    rows = _left(facts, tensor, question.index)
    return _seen_only(session, question.name, rows, start) if "key" in facts.shape else rows


def _left(facts: PointFacts, tensor: Tensor, index: int) -> Tensor:
    """``[pos, columns]`` of one head."""
    symbols = list(facts.shape)
    if symbols[0] == "batch" or symbols[:2] == ["1", "pos"]:
        symbols, tensor = symbols[1:], tensor[0]
    rows = tensor.movedim(symbols.index("pos"), 0)
    if rows.dim() == 1:
        rows = rows[:, None]
    return rows if rows.dim() == 2 else rows[:, min(max(index, 0), rows.shape[1] - 1)]


def _seen_only(session: Session, name: str, rows: Tensor, start: int) -> Tensor:
    """Rows over keys from position 0 on, -inf where a query does not see the key."""
    layer = split_name(name)[0]
    assert layer is not None, "keys are cached by layers"
    end = start + len(rows)
    rows = torch.nn.functional.pad(rows, (end - rows.shape[1], 0))
    queries, keys = torch.arange(start, end, device=rows.device), torch.arange(end, device=rows.device)
    first = session.loaded.config.layers[layer].attention.first_seen(queries)
    unseen = (keys > queries[:, None]) | (keys < first[:, None])
    return rows.masked_fill(unseen, float("-inf"))


def _spread(session: Session, name: str, routed: Tensor, start: int, end: int) -> Tensor:
    """Rows of the positions that chose an expert in their places; -inf in those of the others."""
    layer, inner = split_name(name)
    assert layer is not None
    ids = session.trace.routing.layers[layer].ids[start:end]
    chose = (ids == torch.tensor(expert_of(inner), device=ids.device)).any(-1)
    rows = routed.new_full((end - start, routed.shape[-1]), float("-inf"))
    rows[chose] = routed
    return rows


def _gathered(
    session: Session, facts: PointFacts, question: ask.AskPointOver, kept: PointRows, end: int
) -> PointTensor:
    """What there is of the rows up to ``end``, in the cells that all of them will have."""
    block = (block_of(end - question.start, question.most), block_of(-(-kept.width // kept.narrowed), question.most))
    values, blank = kept.cells(block)
    columns = [symbol for symbol in facts.shape if symbol not in ("batch", "pos", "routed")] or ["1"]
    sums = kept.sums
    return PointTensor(
        name=question.name,
        position=question.start,
        end=question.start + kept.n,
        index=question.index,
        symbols=("pos", columns[-1]),
        shape=(kept.n, kept.width),
        first=(question.start, 0),
        block=(block[0], block[1] * kept.narrowed),
        values=values,
        blank=blank,
        figures=kept.figures(),
        top=sums.places + np.array((question.start, 0), np.int64),
        top_values=sums.strongest,
        pieces=_pieces(session, facts, sums.places, sums.strongest),
        source=kept.source,
    )
