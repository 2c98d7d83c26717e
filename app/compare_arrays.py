"""Arrays of two answers to the same question, subtracted over the places that both have."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray
NEITHER, BOTH, ONLY_A, ONLY_B = 0, 1, 2, 3  # of two sets, what something is in


def alike(a: Any, b: Any, *names: str) -> bool:
    """Whether both have the same fields of these names."""
    return all(getattr(a, name) == getattr(b, name) for name in names)


def less(a: Array, b: Array) -> Array:
    """Over the places that both have, C-contiguous; what is infinite in the same way in both is 0."""
    shape = tuple(map(min, a.shape, b.shape))
    first, second = _cut(a, shape), _cut(b, shape)
    with np.errstate(invalid="ignore"):
        found = np.where(first == second, np.zeros((), a.dtype), first - second)
    return np.ascontiguousarray(found)


def _cut(array: Array, shape: tuple[int, ...]) -> Array:
    return array[tuple(map(slice, shape))]


def whole_cells(n: int, block: int) -> int:
    """Positions of the cells that are whole in both: one at the end stands for more positions in the longer one."""
    return n if block == 1 else n // block * block


def sets_of(in_a: Array, in_b: Array) -> Array:
    """uint8 of the same shape: NEITHER, BOTH, ONLY_A or ONLY_B, where what is not 0 is in the set."""
    a, b = in_a != 0, in_b != 0
    return (BOTH * (a & b) + ONLY_A * (a & ~b) + ONLY_B * (b & ~a)).astype(np.uint8)
