"""The tokens that a lens names: their texts, those that the user follows, and how their figures are put into words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from app.run import Run, written
from app.widgets.axis import Axis
from app.widgets.scale import exact
from engine.frames import ModelFrame, Piece

Translate = Callable[[str], str]

MOST_FOLLOWED = 3  # lines of the user's own; with more none can be told from another


def boundary_text(boundary: int, total: int, tr: Translate) -> str:
    """Where a boundary lies, in words; there are ``total``."""
    return tr("leaving the last layer") if boundary >= total - 1 else tr("entering layer {0}").format(boundary)


def boundary_axis(boundaries: np.ndarray, tr: Translate) -> Axis:
    """Rows that stand for these boundaries; the last of them is the last there is."""
    last = len(boundaries) - 1

    def label(row: int) -> str:
        return tr("final") if row >= last else str(boundaries[row])

    every = last + 1 == boundaries[-1] + 1
    return Axis(tr("entering layer"), last + 1, label, numbers=every, always=(last,), own=True)


class LensWords:
    """Texts by id, learnt from answers. ``followed`` are ids, the newest last; another model forgets all."""

    def __init__(self, run: Run) -> None:
        self.followed: tuple[int, ...] = ()
        self._run = run
        self._model: ModelFrame | None = run.model
        self._texts: dict[int, str] = {}

    def learn(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._texts[piece.id] = written(piece)

    def text(self, id: int) -> str:
        """The token with its white space visible; "" for -1."""
        return self._texts.get(id, "")

    def toggle(self, id: int) -> None:
        """Follow a token, or let it go; of too many the oldest goes."""
        others = tuple(other for other in self.followed if other != id)
        self.followed = others if id in self.followed else (*others, id)[-MOST_FOLLOWED:]

    def forget_of_other_models(self) -> None:
        if self._run.model is not self._model:
            self._model, self.followed = self._run.model, ()
            self._texts.clear()

    def first_choice(self, id: int, probability: float, tr: Translate) -> str:
        return tr("first choice “{0}” (id {1}) {2}").format(self.text(id), id, exact(probability))

    def next_token(self, id: int, probability: float, rank: int, tr: Translate) -> str:
        """``rank`` counts from 0, what is read from 1."""
        return tr("what follows, “{0}”, has {1}, place {2}").format(self.text(id), exact(probability), f"{rank + 1:,}")

    def spread(self, entropy: float, divergence: float, tr: Translate) -> str:
        text = tr("entropy {0} nats").format(exact(entropy))
        if math.isnan(divergence):
            return text
        return text + tr(" · KL to the final distribution {0} nats").format(exact(divergence))
