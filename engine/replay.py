"""Any tensor of a finished pass, by the name of its hook point: recomputed from the record by the pass's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.errors import EngineError, HookError
from engine.layer_replay import Enough, Seen, layer_tensors, listened, made_parts, repeated
from engine.sampling import Choice, choose
from engine.sampling_stages import Points
from engine.trace import Edits, Trace

if TYPE_CHECKING:
    from engine.session import Session

_SAMPLER, _ROPES = "sampler.", "rotary_emb."
_AFTER = ("ln_final.", "hook_logits")
_FINAL = "hook_logits_final"
_POSITIONS_AT_ONCE = 512


@torch.inference_mode()
def replay(session: Session, names: Sequence[str], start: int, end: int) -> dict[str, Tensor]:
    """The tensors of hook points at positions [start, end) as the pass had them.

    Shapes as in the hook table with pos = end - start; ``key`` counts from the first key that position ``start`` sees.
    Logits are those of every position, though a pass gives the last one's to the sampler alone; the sampler's tensors
    are those of the choice that the pass made which read ``end - 1`` last. What listeners replaced in the pass is
    replaced again; a listener that depends on more than its tensor may do it otherwise.

    Raises:
        HookError: there is no such point.
        EngineError: the positions do not lie inside one pass or are not computed there; nothing was chosen there; or
            scores would take more memory than is sensible.
    """
    points = session.loaded.model.points
    for name in names:
        if name not in points:
            raise HookError(f"There is no hook point {name!r}; model.hook_points lists those of this model.")
        _check(session, name, start, end)
    found: dict[str, Tensor] = {}
    for place, wanted in _by_place(names).items():
        work = _PLACES[place] if isinstance(place, str) else partial(_layer, place)
        found |= work(session, wanted, start, end)
    return {name: found[name] for name in names}


@torch.inference_mode()
def replay_over(session: Session, name: str, start: int, end: int) -> Iterator[Tensor]:
    """The tensor of one point in or before the layers at positions [start, end) of finished passes, part by part.

    Passes over one position that were not edited are made together, to rounding.
    """
    work = partial(_layer, place) if isinstance(place := _place(name), int) else _PLACES[place]
    for first, last in _passes(session, start, end):
        while first < last:
            stop = last if session.trace.edits(first) else min(last, first + _POSITIONS_AT_ONCE)
            yield work(session, [name], first, stop)[name]
            first = stop


def known(session: Session, name: str) -> int:
    """At how many positions a point is computed: those of finished passes, and of the one under way if it has come by.

    Between two stages of a pass its place is the gate's; without a gate only finished passes count.
    """
    finished = session.trace.spans[-1][1] if session.trace.spans else 0
    where = None if session.gate is None else session.gate.where
    if where is None or where.state == "idle" or where.end <= finished:
        return finished
    return where.end if session.loaded.model.points.passed(name, where.layer, where.stage) else finished


def _check(session: Session, name: str, start: int, end: int) -> None:
    n = known(session, name)
    if not 0 <= start < end:
        raise EngineError(f"Positions {start} to {end} are none; the first must lie before the last.")
    if end > n:
        raise EngineError(f"{name} is computed at {n:,} positions, not yet at position {end - 1:,}.")
    if session.trace.span(start) != session.trace.span(end - 1):
        raise EngineError(f"Positions {start} to {end - 1} were read by several passes; ask for those of one.")


def _by_place(names: Sequence[str]) -> dict[str | int, list[str]]:
    places: dict[str | int, list[str]] = {}
    for name in names:
        places.setdefault(_place(name), []).append(name)
    return places


def _place(name: str) -> str | int:
    """The layer, or which of the steps outside the layers makes this tensor."""
    if name.startswith("blocks."):
        return int(name.split(".")[1])
    for place, prefixes in (("sampler", (_SAMPLER,)), ("rope", (_ROPES,)), ("after", _AFTER)):
        if name.startswith(prefixes):
            return place
    return "before"


def _layer(layer: int, session: Session, names: list[str], start: int, end: int) -> dict[str, Tensor]:
    return layer_tensors(session.loaded.model, session.trace, session.cache, layer, names, start, end)


def _before(session: Session, names: list[str], start: int, end: int) -> dict[str, Tensor]:
    """From ids to what enters layer 0."""
    model, edits = session.loaded.model, session.trace.edits(start)
    first, last = session.trace.span(start) if edits else (start, end)
    seen = _run(session, names, edits, lambda: model.embedded(session.ids(first, last), first))
    rows = slice(start - first, end - first)
    return {name: tensor[:, rows] for name, tensor in seen.items()}


def _rope(session: Session, names: list[str], start: int, end: int) -> dict[str, Tensor]:
    """Cosines and sines of positions."""
    model, (first, last), edits = session.loaded.model, session.trace.span(start), session.trace.edits(start)
    like, found = session.trace.residual(0, start, start), {}
    for rope in model.ropes.values():
        tables = rope.tables(first, last, last, like)
        for point, table in zip((rope.hook_cos, rope.hook_sin), tables, strict=True):
            if point.name in names:
                found[point.name] = listened(table, point, edits)[start - first : end - first]
    return found


def _after(session: Session, names: list[str], start: int, end: int) -> dict[str, Tensor]:
    """Final norm and logits. In the pass they were made of the last position alone, so edits are that one's."""
    model, edits = session.loaded.model, session.trace.edits(start)
    edited = bool(edits) and end == session.trace.span(start)[1]
    parts = [(start, end - 1, {}), (end - 1, end, edits)] if edited else [(start, end, {})]
    found: list[dict[str, Tensor]] = []
    for first, last, own in parts:
        if first < last:
            x = session.trace.residual(session.trace.config.n_layers, first, last)[None]
            found.append(_run(session, names, own, partial(model.logits_of, x)))
    return {name: torch.cat([one[name] for one in found], dim=1) for name in names}


def _sampler(session: Session, names: list[str], start: int, end: int) -> dict[str, Tensor]:
    """One choice again for every name: what only looks at one stage changes no other's rounding."""
    index = _step_choosing(session, end)
    logits = _after(session, [_FINAL], end - 1, end)[_FINAL][0, 0]
    return {name: _chosen_with(session, name, index, end, logits) for name in names}


def _step_choosing(session: Session, end: int) -> int:
    """Raises EngineError where no pass ended. One that stands behind its choice counts too."""
    if session.trace.span_end(end - 1) != end:
        raise EngineError(f"Nothing was chosen at position {end - 1:,}: it was read in the middle of a pass.")
    return sum(stop < end for _, stop in session.trace.spans)


def _chosen_with(session: Session, name: str, index: int, end: int, logits: Tensor) -> Tensor:
    points, edits, seen = session.loaded.model.points, session.trace.edits(end - 1), Seen([name])

    def see(tensor: Tensor) -> Tensor:
        tensor = listened(tensor, points[name], edits)
        seen.take(name, tensor)
        return tensor

    with suppress(Enough):
        _choose_again(session, index, end, logits, {name.removeprefix(_SAMPLER): see})
    return seen.tensors[name]


@torch.inference_mode()
def choice_again(session: Session, position: int, instead: Callable[[Tensor], Tensor]) -> Choice:
    """The choice of the token at a position once more, with another token (int64 [1]) than was drawn."""
    index = _step_choosing(session, position)
    return _choose_again(session, index, position, logits_before(session, position), {"hook_token": instead})


def _choose_again(session: Session, index: int, end: int, logits: Tensor, own: Points) -> Choice:
    """A step's choice, with what its listeners replaced; at the points of ``own`` that is done in their place."""
    points, edits = session.loaded.model.points, session.trace.edits(end - 1)
    listening: dict[str, Callable[[Tensor], Tensor]] = {
        key.removeprefix(_SAMPLER): partial(listened, point=points[key], edits=edits)
        for key in edits
        if key.startswith(_SAMPLER)
    }
    return choose(
        logits,
        prompt=session.prompt,
        output=session.output[:index],
        position=end,
        settings=session.settings[index] if index < len(session.settings) else session.sampling,
        points={**listening, **own},
    )


def logits_before(session: Session, end: int) -> Tensor:
    """Logits ``[d_vocab]`` that the token at ``end`` is chosen from: the pass's own where they are kept, else made
    again. In inference mode only."""
    kept = session.kept_logits(end - 1)
    return _after(session, [_FINAL], end - 1, end)[_FINAL][0, 0] if kept is None else kept


def _run(session: Session, names: list[str], edits: Edits, work: Callable[[], object]) -> dict[str, Tensor]:
    """What some points outside the layers see of a piece of the model's forward code."""
    seen, points = Seen(names), session.loaded.model.points
    observers = {name: partial(seen.take, name) for name in names}
    with points.aside([None], edits, observers), suppress(Enough):
        work()
    return seen.tensors


def stream_of(session: Session, start: int, end: int) -> Tensor:
    """The residual stream of recorded positions from ``start`` on, ``[n_layers + 1, positions, d_model]``, from the
    tokens: up to ``end``, or to where it must be cut (``_passes``).

    What of the cache lies before them is needed, and made of the stream before them where a layer has let go of it.
    Boundaries that a pass under way has not come to are NaN.
    """
    for first in _needed(session, start):
        session.trace.residual(0, first, first + 1)
    return _stream_in(session, *next(_passes(session, start, end)))


def _needed(session: Session, start: int) -> list[int]:
    """First positions of the dropped blocks that take part in what comes at ``start``, the oldest first: each is made
    of the one before it, and one inside the other they would go too deep."""
    needed: list[int] = []
    for first in session.trace.missing(start):
        if not _keys_are_gone(session, start):
            break
        needed.append(first)
        start = first
    return needed[::-1]


def _keys_are_gone(session: Session, start: int) -> bool:
    """Whether a layer has let go of keys that a query at ``start`` sees, besides its own."""
    attentions = [spec.attention for spec in session.loaded.config.layers]
    kept = zip(attentions, session.cache.firsts, strict=True)
    return any(attention.first_seen(start) < min(first, start) for attention, first in kept)


def _passes(session: Session, start: int, end: int) -> Iterator[tuple[int, int]]:
    """[start, end) cut where it must be: at the ends of passes over several positions, of edited ones, and, where a
    rope follows the length, of every pass."""
    while start < end:
        stop = min(end, session.trace.span_end(start))
        while stop < end and _alike(session.trace, start, stop):
            stop += 1
        yield start, stop
        start = stop


def _alike(trace: Trace, one: int, other: int) -> bool:
    """Whether two positions were read alone, by passes whose ropes have the same frequencies, and not edited."""
    ropes = trace.config.ropes.values()
    return all(trace.span(p) == (p, p + 1) and not trace.edits(p) for p in (one, other)) and all(
        rope.regime(one + 1) == rope.regime(other + 1) for rope in ropes
    )


def _stream_in(session: Session, start: int, end: int) -> Tensor:
    """Of a part of one pass; an edited one is repeated whole."""
    trace = session.trace
    first, last = trace.span(start) if trace.edits(start) else (start, end)
    reached = trace.boundaries(end)
    stream = repeated(session.loaded.model, trace, session.cache, session.ids(first, last), first, last, reached)
    missing = len(trace.reach) - reached
    return torch.nn.functional.pad(stream[:, start - first : end - first], (0, 0, 0, 0, 0, missing), value=torch.nan)


@torch.inference_mode()
def rebuild_cache(session: Session, check: Callable[[int], None] = lambda done: None) -> None:
    """Fill the empty cache of a restored session: from its stream, and from the tokens where that was dropped.

    Bit for bit what a pass over several positions left; passes over one are made together, to rounding.
    ``check`` is told now and then how many positions are done; what it raises ends it.
    """
    n, model = session.trace.spans[-1][1] if session.trace.spans else 0, session.loaded.model
    again = _pass_again if session.trace.source(0, n) == "recomputed" else _parts_again
    with model.points.aside([None, *range(len(model.layers))], {}, {}):
        for start, end in _passes(session, 0, n):
            check(start)
            again(session, start, end)


def _pass_again(session: Session, start: int, end: int) -> None:
    session.loaded.model(session.ids(start, end), session.cache, logits="last")


def _parts_again(session: Session, start: int, end: int) -> None:
    """What every layer stores of these positions, of what entered it."""
    model, trace, cache = session.loaded.model, session.trace, session.cache
    for layer, spec in enumerate(model.config.layers):
        parts = range(len(spec.attention.cached))
        cache.append(layer, *made_parts(model, trace, layer, start, end, parts))
    cache.commit(end - start)


_PLACES: dict[str, Callable[[Session, list[str], int, int], dict[str, Tensor]]] = {
    "before": _before,
    "rope": _rope,
    "after": _after,
    "sampler": _sampler,
}
