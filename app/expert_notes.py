"""What the token strip says of a layer's experts: who took each token most, or how much the picked one took."""

from __future__ import annotations

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
    table = lut(theme.sequential)
    fills = [f"#{int(table[round(min(float(weight), 1.0) * 255)]) & 0xFFFFFF:06x}" for weight in weights]
    chosen = taken.any(1).tolist()
    words = [f"{weight:.2f}" if took else "" for weight, took in zip(weights.tolist(), chosen, strict=True)]
    return Notes(widest, tuple(words), tuple(fill if took else None for fill, took in zip(fills, chosen, strict=True)))
