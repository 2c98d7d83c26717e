"""Attention patterns as cells: which are shown, which lie above the diagonal, which are not computed yet."""

from __future__ import annotations

import math

import numpy as np

from app.widgets.heatmap import ABSENT, MASKED, SHOWN
from app.widgets.scale import Scale


def padded(maps: np.ndarray, n_total: int, block: int) -> np.ndarray:
    """float32 [..., cells, cells] for ``n_total`` positions: 0 where ``maps`` (of the computed ones) ends."""
    cells = -(-n_total // block)
    rows, columns = maps.shape[-2:]
    if (rows, columns) == (cells, cells):
        return maps
    whole = np.zeros((*maps.shape[:-2], cells, cells), np.float32)
    whole[..., :rows, :columns] = maps[..., :cells, :cells]
    return whole


def pattern_state(
    cells: int, n: int, block: int, *, leave_out_first: bool = False, seen_from: np.ndarray | None = None
) -> np.ndarray:
    """uint8 [cells, cells]: queries from ``n`` on are ABSENT; keys after the query, and a first left out, MASKED.

    ``seen_from`` int64 [cells]: the first key position that a cell's first query sees; cells before it are MASKED too.
    """
    places = np.arange(cells)
    masked = places > places[:, None]
    if seen_from is not None:
        masked |= (places + 1) * block <= seen_from[:, None]
    state = np.where(masked, np.uint8(MASKED), np.uint8(SHOWN))
    if leave_out_first:
        state[:, 0] = MASKED
    state[-(-n // block) :] = ABSENT
    return state


def attention_scale(maps: np.ndarray, state: np.ndarray, *, root: bool, fit: bool, colours: str, title: str) -> Scale:
    """0 to 1; ``fit``: to the largest of ``maps`` [..., cells, cells] where ``state`` [cells, cells] is SHOWN."""
    largest = 1.0
    if fit:
        shown = maps[..., state == SHOWN]
        largest = float(shown[np.isfinite(shown)].max(initial=0.0))
    return Scale(0.0, largest if largest > 0 else 1.0, "root" if root else "linear", colours, title)


def closest_cell(position: int | None, block: int, cells: int) -> int | None:
    """The cell of a position; None where there is none."""
    return None if position is None or not 0 <= position < cells * block else math.floor(position / block)
