"""What layers that forget have let go of, put back as their passes left it: bit for bit, for a run that is taken back.

Keys and values follow from the stream that entered the layer: each pass over it is repeated by itself, in its own
shapes, as far as the cache. Where that stream was dropped the tokens are read again from the first one, pass by pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.cache import CacheTail, KVCache
from engine.errors import EngineError
from engine.layer_replay import appended, formed, layer_edits
from engine.trace import TraceTail

if TYPE_CHECKING:
    from engine.session import Session

Bounds = Mapping[int, tuple[int, int]]  # by layer: positions [start, end)
Parts = dict[int, tuple[Tensor, ...]]  # by layer: [batch, heads, pos, width] each
Check = Callable[[], None]  # called between passes; what it raises ends the work


@torch.inference_mode()
def made_again(session: Session, missing: Bounds, length: int, check: Check) -> Parts:
    """The parts of the cache at positions ``missing``, all of them before ``length``.

    Raises EngineError for a session that records nothing, and where a pass was edited by what a file does not keep.
    """
    if not missing:
        return {}
    if not session.records:
        raise EngineError(
            "A layer's cache has let go of positions that are needed again, and without a record they cannot be made; "
            "make the session with record=True."
        )
    first, last = min(start for start, _ in missing.values()), max(end for _, end in missing.values())
    if session.trace.source(session.trace.span(first)[0], last) == "recomputed":
        return _read_again(session, missing, length, check)
    made, whole = 0, max(1, sum(end - start for start, end in missing.values()))
    parts: Parts = {}
    for layer, (start, end) in missing.items():
        tell = partial(_tell, session, made, whole, count(missing))
        parts[layer] = _of_stream(session, layer, start, end, check, tell)
        made += end - start
    return parts


@torch.inference_mode()
def cache_of_tail(session: Session, tail: TraceTail, firsts: Sequence[int], check: Check) -> CacheTail:
    """What every layer stored of a part that is set aside, from ``firsts[layer]`` on, as its passes left it: bit for
    bit. Nothing of its stream may have been dropped, and none of its passes edited."""
    trace, layers = _OfTail(tail), []
    for layer, first in enumerate(firsts):
        check()
        layers.append((first, _of_tail(session, trace, layer, first)))
    return CacheTail(tail.start, tail.end, tuple(layers))


def _of_tail(session: Session, trace: _OfTail, layer: int, first: int) -> tuple[Tensor, ...]:
    model, found = session.loaded.model, []
    for start, end in trace.spans.values():
        if end > first:
            parts = appended(model, trace, session.cache, layer, start, end, {})  # type: ignore[arg-type]  # a trace
            found.append([part[:, :, max(0, first - start) :].clone() for part in parts])
    if not found:
        return tuple(part[:, :, :0].clone() for part in session.cache.parts(layer))
    return tuple(torch.cat(parts, dim=2) for parts in zip(*found, strict=True))


class _OfTail:
    """Stands for the trace where a layer's passes over a part that is set aside are repeated as far as the cache."""

    def __init__(self, tail: TraceTail) -> None:
        self._blocks = tail.blocks
        self.spans = {span[0]: span for span in tail.spans}
        self.routing = SimpleNamespace(layers={})  # experts are chosen behind the cache

    def residual(self, boundary: int, start: int, end: int) -> Tensor:
        """As in Trace."""
        parts = [
            stream[boundary, max(start, first) - first : end - first]
            for first, stream, _ in self._blocks
            if stream is not None and first < end and start < first + stream.shape[1]
        ]
        return torch.cat(parts)

    def span(self, position: int) -> tuple[int, int]:
        """As in Trace, of a position that a pass began with."""
        return self.spans[position]


def _tell(session: Session, made: int, whole: int, positions: int, more: int) -> None:
    """How many positions are done, if they were done one by one and not layer by layer."""
    session.refilling((made + more) * positions // whole, positions)


def count(missing: Bounds) -> int:
    """Positions that are missing in one layer or in several."""
    if not missing:
        return 0
    return max(end for _, end in missing.values()) - min(start for start, _ in missing.values())


def _of_stream(
    session: Session, layer: int, start: int, end: int, check: Check, tell: Callable[[int], None]
) -> tuple[Tensor, ...]:
    model, trace, found, at = session.loaded.model, session.trace, [], start
    while at < end:
        check()
        tell(at - start)
        first, last = trace.span(at)
        parts = appended(model, trace, session.cache, layer, first, last, layer_edits(model, trace, layer, at))
        found.append([part[:, :, at - first : min(end, last) - first].clone() for part in parts])
        at = last
    return tuple(torch.cat(parts, dim=2) for parts in zip(*found, strict=True))


def _read_again(session: Session, missing: Bounds, length: int, check: Check) -> Parts:
    """The passes themselves once more, beside the run, into a cache of their own."""
    model, trace = session.loaded.model, session.trace
    cache = KVCache(model.config, dtype=model.embed.weight.dtype, device=session.loaded.device)
    for start, end in trace.spans:
        if start >= length:
            break
        check()
        session.refilling(start, length)
        with model.points.aside([None, *range(model.config.n_layers)], formed(trace.edits(start)), {}):
            model(session.ids(start, end), cache, logits="last")
    return {
        layer: tuple(part[:, :, start - cache.firsts[layer] : end - cache.firsts[layer]] for part in cache.parts(layer))
        for layer, (start, end) in missing.items()
    }
