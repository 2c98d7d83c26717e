"""From float32 figures to colours: the curve of a scale, its codes, and the lookup tables of RGB32 words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from app.colour_maps import colour_map

_MARKS = {True: ("#ffb000", "#00c8ff"), False: ("#fff2b8", "#b8f6ff")}  # over, under: on a light, on a dark map
_CODES = 254  # codes 1..254 are the scale; 0 is below it, 255 above it


@dataclass(frozen=True)
class Scale:
    """A colour scale from ``low`` to ``high``. Values beyond an end get the colour of that end, or a mark if ``clips``.

    ``curve``: "linear", "root" (square root, of negative values with their sign), "log" (low above 0; 0 falls on the
    low end).
    """

    low: float
    high: float
    curve: Literal["linear", "root", "log"]
    colours: str  # name of a map, see app/colour_maps.py
    title: str  # the quantity with its unit
    clips: bool = False

    def fraction(self, values: np.ndarray) -> np.ndarray:
        """Where values lie on the bar: float32, 0 at ``low``, 1 at ``high``, not clipped."""
        bend = _CURVES[self.curve]
        low, high = float(bend(np.float64(self.low))), float(bend(np.float64(self.high)))
        span = high - low or 1.0
        return (bend(np.asarray(values, np.float32)) - np.float32(low)) * np.float32(1 / span)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """uint8 codes of the same shape: 1..254 along the scale, 0 and 255 where a scale that clips is left.

        What is not finite counts as zero here; a picture marks it.
        """
        finite = np.isfinite(values)
        values = values if finite.all() else np.where(finite, values, np.float32(0))
        steps = self.fraction(values)
        steps *= _CODES - 1
        steps += 1.5
        codes = np.clip(steps, 1, _CODES, out=steps).astype(np.uint8)
        if self.clips:
            codes[values > self.high] = 255
            codes[values < self.low] = 0
        return codes

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """uint32 words 0xffRRGGBB of the same shape."""
        return colour_words(self.colours).take(self.codes(values))

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Fractions and texts of the colour bar."""
        return _ticks(self)


@lru_cache(maxsize=64)
def _ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    if scale.curve == "log":
        values = _decades(scale.low, scale.high)
    elif scale.low < 0:
        values = [scale.low, scale.low / 2, 0.0, scale.high / 2, scale.high]
    else:
        values = [scale.low + (scale.high - scale.low) * part for part in (0, 0.25, 0.5, 0.75, 1)]
    fractions = scale.fraction(np.array(values)).clip(0, 1).tolist()  # the ends may be rounded past themselves
    return tuple(zip(fractions, map(figure, values), strict=True))


def _log(values: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(values, np.finfo(np.float32).tiny))


def _root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


_CURVES = {"linear": lambda values: values, "root": _root, "log": _log}


@lru_cache(maxsize=16)
def colour_words(name: str) -> np.ndarray:
    """uint32 [256] of 0xffRRGGBB: the colour map on 1..254, the marks for below and above at 0 and 255."""
    table = colour_map(name).getLookupTable(0.0, 1.0, _CODES).astype(np.uint32)
    inner = 0xFF000000 | table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2]
    over, under = marks(name)
    return np.concatenate(([word(under)], inner, [word(over)])).astype(np.uint32)


def marks(name: str) -> tuple[str, str]:
    """The colours of what lies above and below a scale: not to be mistaken for any colour on it."""
    middle = colour_map(name).map(0.5)
    return _MARKS[bool(middle[:3].mean() > 128)]


def word(colour: str) -> int:
    """0xffRRGGBB of "#rrggbb"."""
    return 0xFF000000 | int(colour[1:], 16)


def log_scale(values: np.ndarray, colours: str, title: str) -> Scale:
    """A log scale from the 1-2-5 step below the least positive value to the one above the largest."""
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = (float(positive.min()), float(positive.max())) if positive.size else (1.0, 10.0)
    low, high = _step_down(low), _step_up(high)
    return Scale(low, high if high > low else low * 10, "log", colours, title)


def signed_scale(values: np.ndarray, colours: str, title: str) -> Scale:
    """Symmetric around zero, the ends at the 99th percentile of the magnitudes; what lies beyond is marked."""
    values = values[np.isfinite(values)]
    end = float(np.quantile(np.abs(values), 0.99)) if values.size else 0.0
    end = end or float(np.abs(values).max(initial=0.0)) or 1.0
    return Scale(-end, end, "linear", colours, title, clips=True)


def beyond(scale: Scale, values: np.ndarray) -> int:
    """How many values lie outside the scale."""
    return int(np.count_nonzero((values < scale.low) | (values > scale.high)))


def figure(value: float) -> str:
    """A number short enough for an axis: three significant digits, a real minus sign."""
    if value == 0:
        return "0"
    size = abs(value)
    text = f"{value:.0f}" if 1000 <= size < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def exact(value: float) -> str:
    """A float32 as it is, to seven significant digits."""
    return f"{value:.7g}".replace("-", "−")


def nice_step(span: float, most: int) -> float:
    """The smallest step of 1, 2 or 5 times a power of ten that divides ``span`` into at most ``most`` parts."""
    return _step_up(span / max(most, 1))


def _step_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-6))


def _step_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= value * (1 + 1e-6))


def _decades(low: float, high: float) -> list[float]:
    low, high = sorted((low, high))  # a scale may fall
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    inner = [10.0**power for power in range(first, last + 1)]
    return sorted({low, high, *(value for value in inner if value > low * 2.1 and value < high / 2.1)})
