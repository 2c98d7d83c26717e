"""What the cells of a lens are coloured by: the figures, the scale, and where there is none yet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.theme import Theme
from app.widgets.heatmap import ABSENT, SHOWN
from app.widgets.scale import Scale, signed_scale
from engine.frames import Lens

Translate = Callable[[str], str]


@dataclass(frozen=True)
class Quantity:
    """``figures(lens)`` float32 [rows, columns]; ``known(lens)`` bool of the same shape; ``title`` is translated."""

    key: str
    figures: Callable[[Lens], np.ndarray]
    known: Callable[[Lens], np.ndarray]
    scale: Callable[[Theme, str, int], Scale]


def probability(theme: Theme, title: str, d_vocab: int = 0) -> Scale:
    """Of a first choice: seldom small."""
    return Scale(0.0, 1.0, "linear", theme.sequential, title)


def _small_probability(theme: Theme, title: str, d_vocab: int) -> Scale:
    return Scale(0.0, 1.0, "root", theme.sequential, title)


def _place(theme: Theme, title: str, d_vocab: int) -> Scale:
    """Falling: the first is the brightest."""
    return Scale(float(d_vocab), 1.0, "log", theme.sequential, title)


def _nats(theme: Theme, title: str, d_vocab: int) -> Scale:
    """From certainty to all of the vocabulary alike; a divergence may lie beyond it."""
    return Scale(0.0, math.log(d_vocab), "root", theme.sequential, title)


def _computed(lens: Lens) -> np.ndarray:
    return lens.ids >= 0


def _followed(lens: Lens) -> np.ndarray:
    return lens.next_rank >= 0


def _compared(lens: Lens) -> np.ndarray:
    return (lens.ids >= 0) & (lens.settled >= 0)


QUANTITIES = (
    Quantity("first", lambda lens: lens.probabilities, _computed, probability),
    Quantity("next", lambda lens: lens.next_probability, _followed, _small_probability),
    Quantity("place", lambda lens: (lens.next_rank + 1).astype(np.float32), _followed, _place),
    Quantity("entropy", lambda lens: lens.entropy, _computed, _nats),
    Quantity("divergence", lambda lens: lens.divergence, _compared, _nats),
)


def names(tr: Translate) -> dict[str, tuple[str, str]]:
    """Key to what the control says, and what stands over the colour bar."""
    return {
        "first": (tr("probability of the first choice"), tr("probability")),
        "next": (tr("probability of the token that follows"), tr("√ probability")),
        "place": (tr("place of the token that follows"), tr("place")),
        "entropy": (tr("entropy"), tr("√ nats")),
        "divergence": (tr("distance to the final distribution (KL)"), tr("√ nats")),
    }


def coloured(quantity: Quantity, lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Values and states of the cells, as a heatmap takes them."""
    known = quantity.known(lens)
    values = np.where(known, quantity.figures(lens), np.float32(0)).astype(np.float32)
    return values, np.where(known, np.uint8(SHOWN), np.uint8(ABSENT))


def differing(quantity: Quantity, a: Lens, b: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Values of A less those of B, and states: there is a figure where both have one."""
    (of_a, known_a), (of_b, known_b) = coloured(quantity, a), coloured(quantity, b)
    known = (known_a == SHOWN) & (known_b == SHOWN)
    values = np.where(known, of_a - of_b, np.float32(0)).astype(np.float32)
    return values, np.where(known, np.uint8(SHOWN), np.uint8(ABSENT))


def difference_scale(theme: Theme, title: str, values: np.ndarray) -> Scale:
    """Around zero; ``title`` may speak of a root, which a difference has none of."""
    return signed_scale(values, theme.diverging, f"A − B, {title.removeprefix('√ ')}")
