"""What layers that forget have let go of, put back as their passes left it: bit for bit, for a run that is taken back.

Keys and values follow from the stream that entered the layer: each pass over it is repeated by itself, in its own
shapes, as far as the cache. Where that stream was dropped the tokens are read again from the first one, pass by pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.errors import EngineError
from engine.layer_replay import appended, formed, layer_edits

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
