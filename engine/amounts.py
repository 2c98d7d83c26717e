"""Bytes, counts and operations as text, for the window and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence

_BYTES = ((1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1, " B"))
_COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1, ""))
_FLOPS = ((1e15, " PFLOP"), (1e12, " TFLOP"), (1e9, " GFLOP"), (1e6, " MFLOP"), (1, " FLOP"))
_ROUNDED_UP = 0.9995  # what three figures round to the next unit


def bytes_text(count: float) -> str:
    """Decimal units, as memory bandwidths and disks are given in: 1 MB = 1 000 000 bytes."""
    return _scaled(count, _BYTES)


def count_text(count: float) -> str:
    """134,515,008 → "135M", with the letters that models are named with."""
    return _scaled(count, _COUNTS)


def flops_text(count: float) -> str:
    """269,000,000 → "269 MFLOP"."""
    return _scaled(count, _FLOPS)


def _scaled(count: float, units: Sequence[tuple[float, str]]) -> str:
    size, unit = next((row for row in units if abs(count) >= row[0] * _ROUNDED_UP), units[-1])
    amount = count / size
    if size == 1:
        return f"{amount:.0f}{unit}"
    return f"{amount:.3g}{unit}" if abs(amount) < 999.5 else f"{amount:,.0f}{unit}"  # beyond the largest unit
