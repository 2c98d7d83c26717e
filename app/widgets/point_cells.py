"""What a hook point's tensor looks like: which picture suits it, its cells and colours, and the place behind a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.engine_words import said
from app.point_words import Tr, axis_word, left_axes
from app.theme import Theme
from app.widgets.axis import Axis
from app.widgets.bar_rows import BARRED, BELOW, NONE, TAKEN, Rows, bar_row
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, Cells
from app.widgets.legend import Legend
from app.widgets.scale import Scale, log_scale, signed_scale
from engine.frames import PointFacts, PointTensor

FOLD = 64  # cells in a row of a long vector
MOST_BARS = 128
Form = Literal["entries", "bars", "folded", "map", "over", "keys", "nothing"]


@dataclass(frozen=True)
class Look:
    """What is needed to draw: labels of positions, how many of them there will be, the theme, and words."""

    label: Callable[[int], str]
    n_total: int
    theme: Theme
    tr: Tr


def form_of(tensor: PointTensor, facts: PointFacts) -> Form:
    """Which picture suits the tensor. "over": positions beside each other; "keys": queries below each other."""
    if not tensor.values.size:
        return "nothing"
    if facts.kind in ("tokens", "ids", "event") or (tensor.values.size == 1 and tensor.symbols[0] != "pos"):
        return "entries"
    if tensor.symbols[0] == "pos":
        return "keys" if tensor.symbols[1] == "key" else "over"
    if len(tensor.symbols) > 1:
        return "map"
    if tensor.symbols[0] == "d_vocab":
        return "entries"
    return "bars" if tensor.values.size <= MOST_BARS else "folded"


def place_of(tensor: PointTensor, facts: PointFacts, row: int, column: int) -> tuple[int, ...] | None:
    """(position, place on each axis of that position) of the first entry behind a cell; None where there is none."""
    form, high, wide = form_of(tensor, facts), *tensor.block
    axes = left_axes(facts)
    if form in ("bars", "folded"):
        entry = tensor.first[1] + (row * FOLD + column) * wide
        return (tensor.position, entry) if entry < tensor.first[1] + tensor.shape[0] else None
    if form == "over":
        row, column = column, row
    first, second = tensor.first[0] + row * high, tensor.first[1] + column * wide
    if form in ("over", "keys"):
        return (first, tensor.index, second) if len(axes) > 1 else (first, second)
    return (tensor.position, first, tensor.index, second) if len(axes) > 2 else (tensor.position, first, second)


def whole_place(tensor: PointTensor, facts: PointFacts, at: tuple[int, ...]) -> tuple[int, ...]:
    """(position, place on each axis of that position) of an entry, of which a place in what is shown is known."""
    position, inner = (at[0], at[1:]) if tensor.symbols[0] == "pos" else (tensor.position, at)
    if len(left_axes(facts)) <= len(inner):
        return (position, *inner)
    taken = 0 if tensor.symbols[0] == "pos" else 1  # the axis that the index was taken of
    return (position, *inner[:taken], tensor.index, *inner[taken:])


def cells_of(tensor: PointTensor, facts: PointFacts, look: Look) -> Cells:
    """The cells of every form that is a heatmap."""
    form = form_of(tensor, facts)
    values, state = tensor.values, _state(tensor)
    if form == "folded":
        values, state = _folded(values, state)
    elif form == "over":
        values, state = _widened(values.T, state.T, _expected(tensor, look))
    scale = scale_of(facts, tensor, look.theme)
    rows, columns = _AXES[form](tensor, look)
    return Cells(np.ascontiguousarray(values), rows, columns, scale, state if (state != SHOWN).any() else None)


def bars_of(tensor: PointTensor, facts: PointFacts, look: Look, taken: tuple[int, ...] | None) -> Rows:
    """One row of bars; ``taken``: those that stand out, None: all do."""
    values = tensor.values[0]
    state = np.full(values.shape, TAKEN if taken is None else BELOW, np.uint8)
    if taken is not None:
        state[list(taken)] = TAKEN
    if facts.kind == "scores":
        state[np.isneginf(values)] = BARRED  # in these figures that is no accident
    if tensor.blank.size:
        state[tensor.blank[0]] = NONE
    title = axis_word(tensor.symbols[0], look.tr)
    most = 1.0 if facts.kind == "probability" else None
    row = bar_row(said(facts.meaning, look.tr), values, state, most=most)
    return Rows((row,), _numbers(title, values.size, tensor.first[1], 1))


def scale_of(facts: PointFacts, tensor: PointTensor, theme: Theme) -> Legend:
    """Signed figures around zero, the ends at the 99th percentile; probabilities from 0 to 1; what is divided
    by on a log scale."""
    title = facts.name.rpartition(".")[2].removeprefix("hook_")
    shown = tensor.values[~tensor.blank] if tensor.blank.size else tensor.values
    if facts.kind == "probability":
        over_keys = "key" in facts.shape
        return Scale(0.0, 1.0, "root" if over_keys else "linear", theme.sequential, title)
    if facts.kind == "positive":
        return log_scale(shown, theme.sequential, title)
    return signed_scale(shown, theme.diverging, title)


def clipped(cells: Cells) -> int:
    """How many cells lie beyond the scale."""
    scale = cells.scale
    if not isinstance(scale, Scale) or not scale.clips:
        return 0
    return int(np.count_nonzero((cells.values < scale.low) | (cells.values > scale.high)))


def _state(tensor: PointTensor) -> np.ndarray:
    if not tensor.blank.size:
        return np.full(tensor.values.shape, SHOWN, np.uint8)
    return np.where(tensor.blank, np.uint8(MASKED), np.uint8(SHOWN))


def _folded(values: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A long row as several, the last one filled up with nothing."""
    missing = -values.size % FOLD
    cells = np.pad(values[0], (0, missing)).reshape(-1, FOLD)
    return cells, np.pad(state[0], (0, missing), constant_values=MASKED).reshape(-1, FOLD)


def _expected(tensor: PointTensor, look: Look) -> int:
    """Cells along the positions when all of them are computed."""
    return max(tensor.values.shape[0], -(-(look.n_total - tensor.position) // tensor.block[0]))


def _widened(values: np.ndarray, state: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    missing = ((0, 0), (0, columns - values.shape[1]))
    return np.pad(values, missing), np.pad(state, missing, constant_values=ABSENT)


# -- axes --------------------------------------------------------------------------------------------------------


def _numbers(title: str, count: int, first: int, block: int) -> Axis:
    return Axis(title, count, lambda entry: str(first + entry), numbers=True, block=block)


def _axis(tensor: PointTensor, which: int, count: int, look: Look) -> Axis:
    """Positions by their tokens, everything else by its number."""
    symbol, first, block = tensor.symbols[which], tensor.first[which], tensor.block[which]
    title = axis_word(symbol, look.tr)
    if symbol in ("key", "pos") and first == 0:
        return Axis(title, count, look.label, block=block)
    return _numbers(title, count, first, block)


def _of_map(tensor: PointTensor, look: Look) -> tuple[Axis, Axis]:
    rows, columns = tensor.values.shape
    return _axis(tensor, 0, rows, look), _axis(tensor, 1, columns, look)


def _of_over(tensor: PointTensor, look: Look) -> tuple[Axis, Axis]:
    return _axis(tensor, 1, tensor.values.shape[1], look), _axis(tensor, 0, _expected(tensor, look), look)


def _of_folded(tensor: PointTensor, look: Look) -> tuple[Axis, Axis]:
    word, block = axis_word(tensor.symbols[0], look.tr), tensor.block[1]
    first, rows = tensor.first[1], -(-tensor.values.size // FOLD)
    title = look.tr("{0}, in rows of {1}").format(word, FOLD * block)
    return (
        Axis(word, rows, lambda row: str(first + row * FOLD * block), numbers=True),
        _numbers(title, FOLD, 0, block),
    )


_AXES: dict[Form, Callable[[PointTensor, Look], tuple[Axis, Axis]]] = {
    "map": _of_map,
    "keys": _of_map,
    "over": _of_over,
    "folded": _of_folded,
}
