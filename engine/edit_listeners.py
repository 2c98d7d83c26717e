"""Edits in the pass: the listeners that make them, and when they are attached.

For every pass the listeners are made anew, bound to the positions that it reads and to what they take from others (this
is looked up when it is first needed, and then stays), so that one that has replaced a tensor replaces it the same way
whenever the pass is recomputed.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from operator import and_
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.config import AttentionSpec, LatentAttentionSpec
from engine.edit_checks import CHOICE, HEADS, LOGITS, PATTERN, SCORES, check, covers, names, reads_positions, title
from engine.edit_sources import Sources
from engine.edits import GRADUAL, Edit
from engine.errors import EngineError
from engine.hooks import HookPoint, Listener, Observer
from engine.layer_replay import check_size
from engine.meter import HOOKS
from engine.model.mask import visible
from engine.point_table import full_name, split_name
from engine.trace import Edits

if TYPE_CHECKING:
    from engine.model.decoder import Decoder
    from engine.session import Session

_BARRED = (SCORES, CHOICE, *LOGITS)  # -inf stands for what cannot be chosen or seen there, and stays
_Made = list[tuple[str, Listener]]


@dataclass(frozen=True)
class Pass:
    """The pass of step ``step``, which reads positions [start, end)."""

    step: int
    start: int
    end: int


class Interventions:
    """The edits of a session, and the listeners that make them in the pass under way."""

    def __init__(self, session: Session) -> None:
        self.edits: tuple[Edit, ...] = ()
        self.sources = Sources(session)
        self._session = session
        self._pass: Pass | None = None
        self._detach: list[Callable[[], None]] = []
        self._guards: list[Callable[[], None]] = []

    def set(self, edits: Sequence[Edit]) -> None:
        """These from now on. Raises EngineError for one that does not fit, and changes nothing."""
        edits = tuple(edits)
        check(edits, self._session.loaded.config)
        if not self._session.records and any(map(reads_positions, edits)):
            raise EngineError(
                "Without a record nothing is known of other positions; make the session with record=True for this edit."
            )
        self._attach(edits)
        self.edits = edits

    @contextmanager
    def during(self, under_way: Pass) -> Iterator[None]:
        """The edits hang on the model's points inside a ``with`` block: that of one pass."""
        self._pass = under_way
        try:
            if self.edits:
                with self._session.loaded.model.points.meter.time(HOOKS):
                    self._attach(self.edits)
            yield
        finally:
            self._pass = None
            for undo in (*self._detach, *self._guards):
                undo()
            self._detach, self._guards = [], []

    @torch.inference_mode()
    def again(self, made: Pass, points: Mapping[str, Sequence[Edit]]) -> Edits:
        """The listeners of a finished pass whose points were edited like this, by the points' names."""
        found = {
            name: tuple(_listener(self._session, self.sources, edit, name, made) for edit in edits)
            for name, edits in points.items()
        }
        cuts = [
            replace(edit, layers=(layer,))
            for name, edits in points.items()
            if (layer := split_name(name)[0]) is not None
            for edit in edits
        ]
        for name, guard in _guards(self._session, cuts, made):
            if name in found:
                found[name] += (guard,)
        return found

    def _attach(self, edits: Sequence[Edit]) -> None:
        """In place of those that hang there; what they have done in this pass is done."""
        if self._pass is None:
            return
        points = self._session.loaded.model.points
        made, guards = _listeners(self._session, self.sources, edits, self._pass)
        for undo in self._detach:
            undo()
        self._detach = [points[name].listen(listener) for name, listener in made]
        followed = _followed(self._session.loaded.model, self.sources, edits, self._pass)
        self._detach += [points[name].observe(see, HOOKS) for name, see in followed]
        # a guard stays for its pass: scores that were knocked out may be waiting for the softmax
        self._guards += [points[name].listen(listener) for name, listener in guards]


def edit_of(listener: Listener) -> Edit | None:
    """The edit that a listener makes; None: it is something else."""
    return listener.args[0] if isinstance(listener, partial) and listener.func is _edited else None


def is_guard(listener: Listener) -> bool:
    """Whether it makes no edit but guards what one has left."""
    return isinstance(listener, partial) and listener.func is _emptied_to_zero


@torch.inference_mode()
def _listeners(session: Session, sources: Sources, edits: Sequence[Edit], under_way: Pass) -> tuple[_Made, _Made]:
    """By point, in the order of the edits; then what guards rows of attention that are left nothing."""
    model, made = session.loaded.model, []
    active = [_at_its_point(edit) for edit in edits if _acts(edit, under_way, model)]
    for edit in active:
        for name in names(edit):
            _check_room(model, edit, name, under_way)
            made.append((name, _listener(session, sources, edit, name, under_way)))
    return made, _guards(session, active, under_way)


def _check_room(model: Decoder, edit: Edit, name: str, under_way: Pass) -> None:
    """Raises EngineError where the pass would form scores of all heads that no memory holds."""
    layer = split_name(name)[0]
    try:
        check_size(model, 0 if layer is None else layer, [name], under_way.start, under_way.end)
    except EngineError as error:
        raise EngineError(
            f"The edit {title(edit)!r} takes the scores of all heads of layer {layer} at "
            f"{under_way.end - under_way.start:,} positions at once, more than memory should hold; shorten the prompt, "
            "or let the edit begin behind it."
        ) from error


def _at_its_point(edit: Edit) -> Edit:
    """An edge is cut before the softmax, so that the rest sums to 1 again, or behind it."""
    return replace(edit, point=SCORES if edit.renormalise else PATTERN) if edit.kind == "knock out" else edit


def _acts(edit: Edit, under_way: Pass, model: Decoder) -> bool:
    """Whether it does something in this pass; one that takes from a position waits until that has been read."""
    first, last = edit.positions or (0, None)
    here = first < under_way.end and (last is None or last > under_way.start or _over_keys(edit, model))
    now = edit.step in (None, under_way.step)
    return edit.on and here and now and all(source < under_way.end for source in edit.sources)


def _over_keys(edit: Edit, model: Decoder) -> bool:
    """Whether its point shows all positions that a pass attends to, not only those that it reads."""
    shape = model.points[names(edit)[0]].info.shape
    return "key" in shape and "pos" not in shape


def _listener(session: Session, sources: Sources, edit: Edit, name: str, under_way: Pass) -> Listener:
    layer = split_name(name)[0]
    attention = None if layer is None else session.loaded.config.layers[layer].attention
    return partial(_edited, edit, under_way.end, attention, _taken(session, sources, edit, name, under_way))


# -- what is taken from elsewhere ----------------------------------------------------------------------------------

_Taken = Callable[[Tensor, int], Tensor]
"""Of the tensor that passes, and the axis of its positions: what is put in its place, or added to it."""


def _taken(session: Session, sources: Sources, edit: Edit, name: str, under_way: Pass) -> _Taken | None:
    if edit.token is not None:
        row = session.loaded.model.unembedding_row(edit.token)
        return lambda tensor, axis: row
    if edit.kind == "mean":
        return partial(_mean, cache(partial(sources.total, name, under_way.start)), under_way.end)
    if not reads_positions(edit):
        return None
    values = [_value(sources, name, position, under_way) for position in edit.sources]
    if edit.kind == "copy":
        return values[0]
    return lambda tensor, axis: values[0](tensor, axis) - values[1](tensor, axis)


def _mean(before: Callable[[], Tensor | None], end: int, tensor: Tensor, axis: int) -> Tensor:
    """Over all positions [0, end): those of this pass as they come by, ``before`` is the sum of those before it."""
    total, others = tensor.double().sum(axis, keepdim=True), before()
    return ((total if others is None else others + total) / end).to(tensor.dtype)


def _value(sources: Sources, name: str, position: int, under_way: Pass) -> _Taken:
    """What stands at a position: of this pass as it comes by, else as its own pass left it."""
    if position < under_way.start:
        kept = cache(partial(sources.value, name, position))
        return lambda tensor, axis: kept()
    return lambda tensor, axis: tensor.narrow(axis, position - under_way.start, 1)


def _followed(
    model: Decoder, sources: Sources, edits: Sequence[Edit], under_way: Pass
) -> Iterator[tuple[str, Observer]]:
    """Where a mean is taken of, what the pass leaves is added up at once."""
    means = [edit for edit in edits if edit.kind == "mean" and _acts(edit, under_way, model)]
    for name in {name for edit in means for name in names(edit)}:
        yield name, partial(sources.see, name, under_way.start, under_way.end)


# -- what is done ------------------------------------------------------------------------------------------------


def _edited(
    edit: Edit,
    end: int,
    attention: AttentionSpec | LatentAttentionSpec | None,
    taken: _Taken | None,
    tensor: Tensor,
    point: HookPoint,
) -> Tensor:
    """The tensor with the edit in it; a listener."""
    shape = point.info.shape
    axis = next((shape.index(symbol) for symbol in ("pos", "key") if symbol in shape), 0)
    other = torch.empty(0) if taken is None else taken(tensor, axis)
    made = _MAKE[edit.kind](tensor, edit, other).to(tensor.dtype)
    if edit.kind in GRADUAL and edit.strength != 1:
        made = tensor + edit.strength * (made - tensor)
    masks = [*_places(edit, end, tensor, shape), *_open(edit, end, attention, tensor)]
    return torch.where(reduce(and_, masks), made, tensor) if masks else made


_MAKE: dict[str, Callable[[Tensor, Edit, Tensor], Tensor]] = {
    "zero": lambda x, edit, other: torch.zeros_like(x),
    "scale": lambda x, edit, other: x * edit.value,
    "mean": lambda x, edit, other: other.expand_as(x),
    "copy": lambda x, edit, other: other.expand_as(x),
    "add": lambda x, edit, other: x + edit.value * other,
    "clamp": lambda x, edit, other: x.clamp(_held(edit.low, x), _held(edit.high, x)),
    "set": lambda x, edit, other: torch.full_like(x, _held(edit.value, x)),
    "bias": lambda x, edit, other: x + edit.value,
    "ban": lambda x, edit, other: torch.full_like(x, -math.inf),
    "forbid": lambda x, edit, other: torch.full_like(x, -math.inf),
    "force": lambda x, edit, other: torch.full_like(x, math.inf),
    "knock out": lambda x, edit, other: torch.full_like(x, -math.inf if edit.renormalise else 0.0),
}


def _held(value: float, like: Tensor) -> float:
    """The nearest that the tensor's type holds; infinities are held."""
    most = torch.finfo(like.dtype).max
    return value if math.isinf(value) else min(max(value, -most), most)


def _places(edit: Edit, end: int, tensor: Tensor, shape: tuple[str, ...]) -> Iterator[Tensor]:
    """Masks that broadcast, True where the edit is for: positions, keys, heads, entries; none for what is all."""
    for axis, symbol in enumerate(shape):
        size = tensor.shape[axis]
        first = end - size  # the last one is the newest, of positions and of keys
        mask = None
        if symbol == "pos" or (symbol == "key" and "pos" not in shape):
            mask = _span(edit, first, size, tensor)
        elif symbol == "key":
            mask = _these([key - first for key in edit.keys], size, tensor)
        elif symbol in HEADS:
            mask = _these(edit.heads, size, tensor)
        elif axis == len(shape) - 1:
            mask = _these(edit.entries, size, tensor)
        if mask is not None:
            yield mask.view([-1 if place == axis else 1 for place in range(len(shape))])


def _span(edit: Edit, first: int, size: int, like: Tensor) -> Tensor | None:
    if edit.positions is None:
        return None
    start, end = edit.positions
    positions = torch.arange(first, first + size, device=like.device)
    return (positions >= start) & (positions < (first + size if end is None else min(end, first + size)))


def _these(indexes: Sequence[int], size: int, like: Tensor) -> Tensor | None:
    """True at the indexes; those outside are of no account."""
    if not indexes:
        return None
    mask = torch.zeros(size, dtype=torch.bool)
    mask[[index for index in indexes if 0 <= index < size]] = True
    return mask.to(like.device)


def _open(
    edit: Edit, end: int, attention: AttentionSpec | LatentAttentionSpec | None, tensor: Tensor
) -> Iterator[Tensor]:
    """What is barred or not seen stays so, except an expert that is forced."""
    if edit.point in _BARRED and edit.kind != "force":
        yield tensor != -math.inf
    if edit.point == PATTERN and attention is not None:
        n_queries, n_keys = tensor.shape[2:]
        seen = visible(attention, end - n_queries, n_queries, n_keys, tensor.device)
        if seen is not None:
            yield seen


# -- rows of attention that are left nothing -----------------------------------------------------------------------


def _guards(session: Session, edits: Sequence[Edit], under_way: Pass) -> _Made:
    """A query whose keys are all knocked out attends to nothing: softmax gives NaN there, and 0 is what is meant."""
    cuts = [edit for edit in edits if edit.kind == "knock out" and edit.renormalise]
    made: _Made = []
    for layer in sorted({layer for edit in cuts for layer in edit.layers}):
        spec = session.loaded.config.layers[layer].attention
        rows = _emptied([edit for edit in cuts if layer in edit.layers], spec, under_way)
        if rows and not (isinstance(spec, AttentionSpec) and spec.sinks):  # a sink takes it all
            mask = torch.zeros(1, spec.n_heads, under_way.end - under_way.start, 1, dtype=torch.bool)
            heads, queries = zip(*rows, strict=True)
            mask[0, heads, [query - under_way.start for query in queries]] = True
            made.append((full_name(layer, PATTERN), partial(_emptied_to_zero, mask.to(session.loaded.device))))
    return made


def _emptied(
    edits: Sequence[Edit], spec: AttentionSpec | LatentAttentionSpec, under_way: Pass
) -> list[tuple[int, int]]:
    """(head, query) of those that see no key any more. Only who sees no more keys than are knocked out can be."""
    most = len({key for edit in edits for key in edit.keys})
    cut: dict[tuple[int, ...], list[int]] = {}
    found = []
    for query in _short_sighted(spec, under_way, most):
        first = spec.first_seen(query)
        here = [index for index, edit in enumerate(edits) if covers(edit, query)]
        for head in range(spec.n_heads):
            if (head, *here) not in cut:
                cut[head, *here] = _cut([edits[index] for index in here], head)
            keys = cut[head, *here]
            if bisect_right(keys, query) - bisect_left(keys, first) == query + 1 - first:
                found.append((head, query))
    return found


def _cut(edits: Sequence[Edit], head: int) -> list[int]:
    """The keys that are knocked out for a head, rising."""
    return sorted({key for edit in edits if not edit.heads or head in edit.heads for key in edit.keys})


def _short_sighted(spec: AttentionSpec | LatentAttentionSpec, under_way: Pass, most: int) -> Iterator[int]:
    queries = range(under_way.start, under_way.end)
    return (query for query in queries if query - spec.first_seen(query) < most)


def _emptied_to_zero(rows: Tensor, tensor: Tensor, point: HookPoint) -> Tensor:
    """A listener on the pattern."""
    return torch.where(rows & tensor.isnan().all(-1, keepdim=True), 0.0, tensor)
