"""Rectangles that share out a rectangle by weight, as square as they can be. Plain numbers: no widgets.

Weights are above 0; areas are their shares of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # left, top, width, height


def squarify(weights: Sequence[float], box: Box) -> list[Box]:
    """One box a weight, the largest first in place (Bruls, Huizing, van Wijk 2000, Squarified Treemaps, section 3)."""
    left, top, wide, high = box
    order = sorted(range(len(weights)), key=lambda index: -weights[index])
    sizes, rest = [float(weights[index]) for index in order], float(sum(weights))
    placed: list[Box] = []
    while len(placed) < len(sizes):
        start, side = len(placed), min(wide, high)
        share = wide * high / rest  # square pixels of a weight of 1, in what is left
        row = sizes[start : _row(sizes, start, share, side)]
        part = min(1.0, sum(row) / rest)
        if wide >= high:
            thick = wide * part
            placed += [(left, y, thick, length) for y, length in _along(row, top, high)]
            left, wide = left + thick, wide - thick
        else:
            thick = high * part
            placed += [(x, top, length, thick) for x, length in _along(row, left, wide)]
            top, high = top + thick, high - thick
        rest = sum(sizes[len(placed) :])
    boxes: list[Box] = [box] * len(weights)
    for index, place in zip(order, placed, strict=True):
        boxes[index] = place
    return boxes


def _along(row: Sequence[float], start: float, length: float) -> list[tuple[float, float]]:
    """(place, length) of each weight of a row that fills a length."""
    total, before, found = sum(row), 0.0, []
    for weight in row:
        found.append((start + before / total * length, weight / total * length))
        before += weight
    return found


def _row(sizes: Sequence[float], start: int, share: float, side: float) -> int:
    """Where the row that begins at ``start`` ends: the next one would make its worst box longer."""
    largest = total = sizes[start] * share
    worst = _worst(total, largest, largest, side)
    for stop in range(start + 1, len(sizes)):
        area = sizes[stop] * share
        longer = _worst(total + area, largest, area, side)
        if longer > worst:
            return stop
        total, worst = total + area, longer
    return len(sizes)


def _worst(total: float, largest: float, least: float, side: float) -> float:
    """The aspect of the longest box of a row along ``side``."""
    if not total or not least or not side:
        return float("inf")
    return max(side * side * largest / (total * total), total * total / (side * side * least))


def strips(weights: Sequence[float], box: Box) -> list[Box]:
    """One box a weight in the order of reading, line by line: less square, but what follows each other lies together.

    After Bederson, Shneiderman and Wattenberg 2002, Ordered and Quantum Treemaps, section 3.3.
    """
    left, top, wide, high = box
    boxes: list[Box] = []
    while len(boxes) < len(weights):
        start, rest = len(boxes), float(sum(weights[len(boxes) :]))
        line = weights[start : _line(weights, start, wide * high / rest, wide)]
        tall = high * min(1.0, sum(line) / rest)
        boxes += [(x, top, length, tall) for x, length in _along(line, left, wide)]
        top, high = top + tall, high - tall
    return boxes


def _line(weights: Sequence[float], start: int, share: float, wide: float) -> int:
    """Where the line that begins at ``start`` ends: with one more its boxes would be longer on the average."""
    stop, before = start + 1, float("inf")
    while stop <= len(weights):
        areas = [weight * share for weight in weights[start:stop]]
        tall = sum(areas) / wide if wide else 0.0
        sides = [max(tall * tall / area, area / (tall * tall)) if tall and area else 1.0 for area in areas]
        mean = sum(sides) / len(sides)
        if mean > before:
            return stop - 1
        before, stop = mean, stop + 1
    return len(weights)
