"""How far back a query sees, and so what a cache keeps. Plain arithmetic, for one position or an array of them.

No torch here: the window draws with the same rule that the engine computes with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FIRST_CAPACITY = 256  # positions that a cache has room for at first
SCORED_AT_ONCE = 128  # queries, where scores are formed: bounds the memory of a long prefill

Positions = TypeVar("Positions", int, "np.ndarray", "Tensor")


def first_seen(query: Positions, window: int | None, chunk: int | None) -> Positions:
    """The first key position that the query at a position sees: of the last ``window``, or of its own ``chunk``."""
    if window is not None:
        first = query - window + 1
        return first * (first > 0)
    return query * 0 if chunk is None else query // chunk * chunk


def kept_after(length: int, window: int | None, chunk: int | None) -> int:
    """Positions that a layer keeps once ``length`` have been read: those that the next query sees."""
    return length - min(length, first_seen(length, window, chunk))
