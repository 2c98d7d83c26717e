"""Attention as cells: which have a figure, which are blank by definition, which are not computed yet."""

from __future__ import annotations

import math

import numpy as np

from app.widgets.heatmap import ABSENT, MASKED, SHOWN
from app.widgets.scale import Scale
from engine.frames import AttentionMap


def padded(maps: np.ndarray, n_total: int, block: int) -> np.ndarray:
    """float32 [..., cells, cells] for ``n_total`` positions: 0 where ``maps`` (of the computed ones) ends."""
    cells = -(-n_total // block)
    return _filled_up(maps, (cells, cells))


def map_cells(answer: AttentionMap) -> np.ndarray:
    """float32 [rows, columns] of the whole region that was asked for: 0 where nothing is computed yet."""
    size = [-(-(stop - start) // answer.block) for start, stop in (answer.rows, answer.columns)]
    return _filled_up(answer.map, (size[0], size[1]))


def _filled_up(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = maps.shape[-2:]
    if (rows, columns) == size:
        return maps
    whole = np.zeros((*maps.shape[:-2], *size), np.float32)
    whole[..., :rows, :columns] = maps[..., : size[0], : size[1]]
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


def map_state(answer: AttentionMap, size: tuple[int, int], *, leave_out_first: bool = False) -> np.ndarray:
    """uint8 [rows, columns]: SHOWN where a query of the cell has a figure with a key of it, else MASKED; rows that are
    not computed are ABSENT. ``leave_out_first``: the cells of key 0 are MASKED."""
    state = np.full(size, ABSENT, np.uint8)
    first, last = answer.sight[: size[0], :1], answer.sight[: size[0], 1:]
    starts = answer.columns[0] + np.arange(size[1]) * answer.block
    seen = (starts + answer.block > first) & (starts < last)
    state[: len(seen)] = np.where(seen, np.uint8(SHOWN), np.uint8(MASKED))
    if leave_out_first and answer.columns[0] == 0:
        state[: len(seen), 0] = MASKED
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
