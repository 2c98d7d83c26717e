"""How deep the window explains: in plain words, with the figures of today, as formulas, or as the PyTorch that runs.

Imports no Qt: ``tr`` is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Depth = Literal["story", "numbers", "formula", "code"]
DEPTHS: tuple[Depth, ...] = get_args(Depth)
USUAL: Depth = "numbers"  # at the first start

Tr = Callable[[str], str]


def depth_names(tr: Tr) -> dict[Depth, str]:
    """What the depths are called on screen."""
    return {"story": tr("Story"), "numbers": tr("Numbers"), "formula": tr("Formula"), "code": tr("Code")}


def known(word: str) -> Depth:
    """The depth of that name; the usual one for any other word."""
    return next((depth for depth in DEPTHS if depth == word), USUAL)


def following(depth: Depth) -> Depth:
    """The next deeper one; after the last the first."""
    return DEPTHS[(DEPTHS.index(depth) + 1) % len(DEPTHS)]
