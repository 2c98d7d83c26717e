"""Rectangles by weight: equal shares of the area, inside the whole, beside each other."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.widgets.squarify import Box, squarify, strips

EDGE = 0.01  # pixels
BOX: Box = (3.0, 5.0, 400.0, 300.0)
WEIGHTS = some.lists(some.integers(1, 10**12), min_size=1, max_size=60)


def check(weights: list[int], boxes: list[Box]) -> None:
    left, top, wide, high = BOX
    assert len(boxes) == len(weights)
    for weight, (x, y, w, h) in zip(weights, boxes, strict=True):
        assert abs(w * h - weight / sum(weights) * wide * high) < 1e-6 * wide * high
        assert x >= left - EDGE
        assert y >= top - EDGE
        assert x + w <= left + wide + EDGE
        assert y + h <= top + high + EDGE
    for (x, y, w, h), (u, v, s, t) in combinations(boxes, 2):
        across, down = min(x + w, u + s) - max(x, u), min(y + h, v + t) - max(y, v)
        assert across <= EDGE or down <= EDGE, "two boxes overlap"


@pytest.mark.parametrize("share_out", [squarify, strips])
@given(weights=WEIGHTS)
def test_areas_are_shares_and_nothing_overlaps(share_out, weights: list[int]) -> None:
    check(weights, share_out(weights, BOX))


def test_the_example_of_the_paper() -> None:
    """Bruls, Huizing and van Wijk 2000, figure 4: 6, 6, 4, 3, 2, 2, 1 in 6 x 4."""
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], (0.0, 0.0, 6.0, 4.0))
    rounded = [tuple(round(value, 2) for value in box) for box in boxes]
    assert rounded[:3] == [(0, 0, 3, 2), (0, 2, 3, 2), (3, 0, 1.71, 2.33)]


def test_equal_weights_are_a_grid_in_the_order_of_reading() -> None:
    boxes = strips([1] * 12, BOX)
    assert boxes == sorted(boxes, key=lambda box: (round(box[1], 3), round(box[0], 3)))
    assert len({round(w, 6) for _, _, w, _ in boxes}) == 1


def test_boxes_are_nearly_square() -> None:
    boxes = squarify([5, 5, 4, 4, 3, 3, 3, 2, 2, 1], BOX)
    assert max(max(w / h, h / w) for _, _, w, h in boxes) < 2.5
