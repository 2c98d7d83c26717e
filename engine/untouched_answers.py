"""A pass once more without its edits, beside the pass as it was: where in depth they part, and what the logits make
of it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine import questions as ask
from engine.cache import KVCache
from engine.column_blocks import largest
from engine.errors import EngineError
from engine.frames import Untouched
from engine.gate import Answering
from engine.layer_replay import stored_part
from engine.lens_answers import n_shown, pieces_of
from engine.model.decoder import Decoder
from engine.point_table import split_name
from engine.replay import known, logits_before
from engine.sampling import choose
from engine.sampling_stages import first_ids
from engine.trace import Trace
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

_MOST_TOP = 64
_AT_ONCE = 128  # positions of a layer that are computed in one slice


def untouched(session: Session, question: ask.AskUntouched) -> Answering:
    """Layer by layer. Raises EngineError for a count of tokens that cannot be shown, and without a record."""
    if session.cache.length and not session.records:
        raise EngineError("Without a record no pass can be made again; make the session with record=True.")
    if not 1 <= question.top <= _MOST_TOP:
        raise EngineError(f"The {question.top} most probable tokens were asked for; 1 to {_MOST_TOP} can be shown.")
    n = n_shown(session)
    position = max(0, n - 1) if question.position is None else question.position
    if position >= n:
        return _nothing(session, position)
    span = session.trace.span(position)
    points = tuple(name for name, listeners in session.trace.edits(position).items() if listeners)
    parting, left = yield from (_again if points else _alike)(session, *span, points)
    made = _logits(session, span[1], left, points)
    yield None
    return _answer(session, question, span, points, parting, made)


# -- the pass again ------------------------------------------------------------------------------------------------


class _Before:
    """Stands for the cache as it was before a pass over [start, ...): what the pass itself appends to the layer under
    way is kept beside it. ``length`` is where the positions that come next begin."""

    def __init__(self, model: Decoder, trace: Trace, cache: KVCache, start: int) -> None:
        self.length = self.start = start
        self._of = (model, trace, cache)
        self._own: dict[int, tuple[Tensor, ...]] = {}

    def append(self, layer: int, *parts: Tensor) -> tuple[Tensor, ...]:
        if layer in self._own:
            parts = tuple(torch.cat((old, new), dim=2) for old, new in zip(self._own[layer], parts, strict=True))
        self._own = {layer: parts}
        first = self._of[0].layers[layer].attn.spec.first_seen(self.length)
        own = tuple(part[:, :, max(0, first - self.start) :] for part in parts)
        if first >= self.start:
            return own
        before = (stored_part(*self._of, layer, index, first, self.start) for index in range(len(parts)))
        return tuple(torch.cat((old, new), dim=2) for old, new in zip(before, own, strict=True))


def _again(
    session: Session, start: int, end: int, points: tuple[str, ...]
) -> Generator[None, None, tuple[Tensor, Tensor | None]]:
    """How far the streams are apart at every boundary, float32 ``[n_layers + 1, end - start]``, and what the last layer
    leaves untouched, ``[1, end - start, d_model]``, if the pass has come so far. Before the first edit they are one."""
    model, trace, n_layers = session.loaded.model, session.trace, session.loaded.config.n_layers
    first = min(min(map(_parts_behind, points)), n_layers)
    x: Tensor | None = _entering(session, first, start, end)
    apart = _one(session, first + 1, start, end) or [_apart(session, 0, start, end, x)]
    before = _Before(model, trace, session.cache, start)
    for layer in range(max(first, 0), n_layers):
        x = None if x is None or trace.reach[layer + 1] < end else (yield from _layer(model, trace, layer, x, before))
        apart.append(_apart(session, layer + 1, start, end, x))
    return torch.stack(apart), x


def _parts_behind(point: str) -> int:
    """The last boundary that is the same with and without an edit at this point; -1: none."""
    layer, name = split_name(point)
    if layer is None:
        return sys.maxsize if point.startswith(("ln_final.", "hook_logits", "sampler.")) else -1
    return layer - 1 if name == "hook_resid_pre" else layer


def _entering(session: Session, boundary: int, start: int, end: int) -> Tensor:
    """``[1, end - start, d_model]``: from the record, or before the layers (-1) from the tokens."""
    model = session.loaded.model
    if boundary >= 0:
        return session.trace.residual(boundary, start, end)[None]
    with model.points.aside([None], {}, {}):
        return model.embedded(session.ids(start, end), start)


def _layer(model: Decoder, trace: Trace, layer: int, x: Tensor, before: _Before) -> Generator[None, None, Tensor]:
    """Some positions at a time; hooks are aside only while they are computed, for the run goes on in between."""
    start, made = before.start, list[Tensor]()
    for part in x.split(_AT_ONCE, dim=1):
        yield
        before.length = start + sum(one.shape[1] for one in made)
        end = before.length + part.shape[1]
        turn = model.turn(layer, before.length, end, trace.span_end(start), part)
        with model.points.aside([layer], {}, {}):
            made.append(model.layers[layer](part, turn, before))
    return made[0] if len(made) == 1 else torch.cat(made, dim=1)


def _apart(session: Session, boundary: int, start: int, end: int, x: Tensor | None) -> Tensor:
    """``[end - start]``; NaN where ``x`` [1, end - start, d_model] or what it is compared with is not computed."""
    if x is None or session.trace.reach[boundary] < end:
        return torch.full((end - start,), torch.nan, device=session.loaded.device)
    difference = session.trace.residual(boundary, start, end).float() - x[0].float()
    return torch.linalg.vector_norm(difference, dim=-1)


def _one(session: Session, boundaries: int, start: int, end: int) -> list[Tensor]:
    """The rows of the first boundaries, at which the streams are one: 0, and NaN where the pass has not come to."""
    reach, like = session.trace.reach, torch.zeros(end - start, device=session.loaded.device)
    return [like if reach[boundary] >= end else torch.full_like(like, torch.nan) for boundary in range(boundaries)]


def _alike(
    session: Session, start: int, end: int, points: tuple[str, ...]
) -> Generator[None, None, tuple[Tensor, Tensor | None]]:
    """Of a pass in which nothing was replaced: there is nothing to compute."""
    yield
    return torch.stack(_one(session, session.loaded.config.n_layers + 1, start, end)), None


def _logits(session: Session, end: int, left: Tensor | None, points: tuple[str, ...]) -> tuple[Tensor, Tensor] | None:
    """Logits ``[d_vocab]`` as edited and untouched, float32; None while the pass has not come to them."""
    if known(session, "hook_logits_final") < end or (points and left is None):
        return None
    edited = logits_before(session, end).float()
    if left is None:
        return edited, edited
    model = session.loaded.model
    with model.points.aside([None], {}, {}):
        return edited, model.logits_of(left[:, -1:])[0, 0].float()


# -- what is told of it --------------------------------------------------------------------------------------------


def _answer(
    session: Session,
    question: ask.AskUntouched,
    span: tuple[int, int],
    points: tuple[str, ...],
    parting: Tensor,
    made: tuple[Tensor, Tensor] | None,
) -> Untouched:
    figures, chosen, otherwise = _compared(made, question.top), -1, -1
    if made is not None:
        chosen, otherwise = _chosen(session, span[1], made[1] if points else None)
    block = -(-parting.shape[1] // max(1, question.most))
    host = to_host({**figures, "parting": largest(parting, block)})
    shown = {*host["ids"].tolist(), *host["moved"].tolist(), chosen, otherwise} - {-1}
    return Untouched(
        *span,
        points,
        chosen,
        otherwise,
        ids=host["ids"],
        probabilities=host["probabilities"],
        logits=host["logits"],
        change=host["change"],
        moved=host["moved"],
        pieces=pieces_of(session, shown),
        block=block,
        parting=host["parting"],
    )


def _compared(made: tuple[Tensor, Tensor] | None, top: int) -> dict[str, Tensor]:
    if made is None:
        ids, sides = torch.zeros(0, dtype=torch.int64), torch.zeros(2, 0)
        return {"ids": ids, "probabilities": sides, "logits": sides, "change": torch.zeros(0), "moved": ids}
    logits = torch.stack(made)
    change = torch.where(logits[0] == logits[1], 0.0, logits[0] - logits[1])  # both may be -inf
    top = min(top, len(change))
    first, second = (first_ids(side, top) for side in made)
    ids = torch.cat((first, second[~torch.isin(second, first)]))
    moved = first_ids(change.abs().nan_to_num(0.0, torch.inf), top)
    return {
        "ids": ids,
        "probabilities": logits.double().softmax(-1)[:, ids].float(),
        "logits": logits[:, ids],
        "change": change,
        "moved": moved,
    }


def _chosen(session: Session, end: int, logits: Tensor | None) -> tuple[int, int]:
    """The token that stands at ``end``, and the one that the untouched logits give by the same settings."""
    index = end - len(session.prompt)
    done = index < len(session.output)
    chosen = session.output[index] if done else -1
    if logits is None:
        return chosen, chosen
    settings = session.settings[index] if done else session.sampling
    choice = choose(logits, prompt=session.prompt, output=session.output[:index], position=end, settings=settings)
    return chosen, choice.token_id()


def _nothing(session: Session, position: int) -> Untouched:
    """Of a position that no pass has read."""
    figures, ids = np.zeros((2, 0), np.float32), np.zeros(0, np.int64)
    parting = np.zeros((session.loaded.config.n_layers + 1, 0), np.float32)
    row = np.zeros(0, np.float32)
    return Untouched(position, position, (), -1, -1, ids, figures, figures, row, ids, (), 1, parting, source="")
