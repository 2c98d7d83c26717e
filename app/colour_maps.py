"""The colour maps to choose from, by name, and their colours. All can be told apart by the colour-blind.

A name is that of a map of pyqtgraph, or it is made of colours: "#rrggbb>#rrggbb" goes straight through sRGB,
"#rrggbb>#rrggbb>#rrggbb" straight through CIELAB from one end to the middle and from there to the other end, so that
equal steps look equal. CIELAB: CIE 15:2004 with the white of sRGB (IEC 61966-2-1).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PySide6.QtCore import Qt  # noqa: F401  (pyqtgraph takes the Qt that is already there)

import pyqtgraph  # isort: skip

# for what has one direction: the first is the usual one; light is much in all of them
SEQUENTIAL = {"viridis": "viridis", "cividis": "cividis", "magma": "magma", "pink": "CET-L8"}

# for signed figures: on a dark ground, on a light one; zero is as the ground, the two ends are as far from it
DIVERGING = {
    "usual": ("CET-D6", "CET-D1A"),
    "blue-orange": ("#73b4ff>#1b1b1b>#e4a36a", "#0967a7>#f6f6f6>#8c5725"),
    "purple-orange": ("#bfa1ff>#1b1b1b>#eda05a", "#6c53af>#f6f6f6>#965201"),
    "purple-green": ("#e092ff>#1b1b1b>#53c76a", "#864a9f>#f6f6f6>#01732c"),
}
_STOPS = 33  # of an arm; between them the way is straight in sRGB
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _TO_XYZ.sum(axis=1)
_KNEE, _SLOPE = (6 / 29) ** 3, (29 / 6) ** 2 / 3


@lru_cache(maxsize=32)
def colour_map(name: str) -> pyqtgraph.ColorMap:
    """Raises FileNotFoundError where pyqtgraph has none of that name."""
    colours = name.split(">")
    if len(colours) == 1:
        return pyqtgraph.colormap.get(name)
    if len(colours) == 2:
        return pyqtgraph.ColorMap([0.0, 1.0], colours)
    stops = np.concatenate([_straight(*colours[:2])[:-1], _straight(*colours[1:])])
    return pyqtgraph.ColorMap(np.linspace(0, 1, len(stops)), np.round(stops * 255).astype(np.uint8))


def _straight(first: str, last: str) -> np.ndarray:
    """sRGB [stops, 3] from one colour to the other through CIELAB."""
    a, b = (to_lab(np.array(_channels(colour))) for colour in (first, last))
    return from_lab(a + (b - a) * np.linspace(0, 1, _STOPS)[:, None])


def _channels(colour: str) -> list[float]:
    return [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]


def to_lab(colours: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] of 0..1 as L* (0..100), a* and b*."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    parts = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(parts > _KNEE, np.cbrt(parts), parts * _SLOPE + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(colours: np.ndarray) -> np.ndarray:
    """The way back; what sRGB does not have is cut off."""
    lightness, a, b = np.moveaxis(colours, -1, 0)
    y = (lightness + 16) / 116
    parts = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    parts = np.where(parts > 6 / 29, parts**3, (parts - 4 / 29) / _SLOPE)
    linear = ((parts * _WHITE) @ np.linalg.inv(_TO_XYZ).T).clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
