"""What the token strip says of a layer's experts: who took each token most, or how much the picked one took."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from app.theme import Theme, lut
from app.widgets.token_view import Notes
from engine.frames import RoutedTokens


def colour_of(expert: int, theme: Theme) -> str:
    """A colour by the expert's number; the colours repeat, so the number stands beside it."""
    return theme.groups[expert % len(theme.groups)]


def expert_notes(routed: RoutedTokens | None, n_experts: int, picked: int | None, theme: Theme) -> Notes:
    """By position. Without a picked expert: the number and colour of the strongest; with one: its weight."""
    widest = "0.00" if picked is not None else "8" * len(str(max(0, n_experts - 1)))
    if routed is None or not routed.ids.size:
        return Notes(widest)
    if picked is None:
        strongest = routed.ids[np.arange(len(routed.ids)), np.abs(routed.weights).argmax(1)].tolist()
        return Notes(widest, tuple(map(str, strongest)), tuple(colour_of(expert, theme) for expert in strongest))
    taken = routed.ids == picked
    weights = np.where(taken, np.abs(routed.weights), 0).max(1)
    codes = np.rint(np.clip(weights / weight_end(routed), 0, 1) * 255).astype(np.int64).tolist()
    table, chosen = _hex_colours(theme.sequential), taken.any(1).tolist()
    words = [f"{weight:.2f}" if took else "" for weight, took in zip(weights.tolist(), chosen, strict=True)]
    fills = [table[code] if took else None for code, took in zip(codes, chosen, strict=True)]
    return Notes(widest, tuple(words), tuple(fills))


def weight_end(routed: RoutedTokens | None) -> float:
    """Where the scale of weights ends: at 1, or above the largest where a model scales its weights."""
    largest = 0.0 if routed is None else float(np.abs(routed.weights).max(initial=0.0))
    return largest if largest > 1 else 1.0


@lru_cache(maxsize=4)
def _hex_colours(name: str) -> tuple[str, ...]:
    return tuple(f"#{int(word) & 0xFFFFFF:06x}" for word in lut(name))
