"""What is said about a pass beside the same pass without edits. Imports no Qt: ``tr`` is the caller's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.run import written
from engine.frames import Untouched

Tr = Callable[[str], str]


@dataclass(frozen=True)
class Compared:
    """One token: its raw probability ``before`` (untouched) and ``after`` the edits, None where it is not known; by how
    much its logit ``changed``, -inf where it is banned. ``heading``: a line between others instead."""

    text: str
    id: int = -1
    before: float | None = None
    after: float | None = None
    changed: float = 0.0
    heading: bool = False
    chosen: bool = False


def compared(found: Untouched, tr: Tr) -> tuple[Compared, ...]:
    """The most probable tokens of both sides by falling larger probability, then those whose logits moved most."""
    texts = {piece.id: written(piece) for piece in found.pieces}
    order = np.argsort(-found.probabilities.max(axis=0), kind="stable") if len(found.ids) else ()
    rows = [
        Compared(
            texts.get(token, ""),
            token,
            before=float(found.probabilities[1, place]),
            after=float(found.probabilities[0, place]),
            changed=float(found.logits[0, place] - found.logits[1, place]),
            chosen=token == found.chosen,
        )
        for place in order
        for token in [int(found.ids[place])]
    ]
    moved = [
        Compared(texts.get(token, ""), token, changed=float(found.change[token]), chosen=token == found.chosen)
        for token in found.moved.tolist()
    ]
    return (*rows, *([Compared(tr("logits that moved most"), heading=True)] if moved else []), *moved)


def verdict(found: Untouched, tr: Tr) -> str:
    """What the edits did to the choice, in one sentence."""
    texts = {piece.id: written(piece) for piece in found.pieces}
    if found.end <= found.start:
        return tr("This position has not been read yet.")
    span = tr("position {0}") if found.end == found.start + 1 else tr("positions {0}–{1}")
    where = span.format(found.start, found.end - 1)
    if not found.points and found.chosen < 0:
        return tr("The pass that reads {0} has come to no edit yet.").format(where)
    if not found.points:
        return tr("The pass that read {0} was not edited: both are the same.").format(where)
    if found.chosen < 0 or found.otherwise < 0:
        return tr("The pass that reads {0} is edited; it has not come to its token yet.").format(where)
    if found.chosen == found.otherwise:
        return tr("Position {0}: “{1}” either way.").format(found.end, texts.get(found.chosen, ""))
    return tr("Position {0}: “{1}” with the edits, “{2}” untouched.").format(
        found.end, texts.get(found.chosen, ""), texts.get(found.otherwise, "")
    )


def first_parting(found: Untouched) -> int | None:
    """The first boundary at which the two streams differ; None where they do not, as far as they are known."""
    apart = np.nan_to_num(found.parting, nan=0.0).max(axis=1, initial=0.0) > 0
    return int(np.argmax(apart)) if apart.any() else None
