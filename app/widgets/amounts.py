"""Bytes and probabilities as text."""

from __future__ import annotations


def grouped(count: int) -> str:
    """46080 → 46 080, with thin no-break spaces."""
    return f"{count:,}".replace(",", "\u202f")


def bytes_text(count: float) -> str:
    """Decimal units, as memory bandwidths and disks are given in: 1 MB = 1 000 000 bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def percent(share: float) -> str:
    """A probability in percent, with enough figures to tell small ones apart from zero."""
    if share == 0:
        return "0 %"
    amount = share * 100
    if amount >= 0.01:
        return f"{amount:.2f} %" if amount < 99.995 or share == 1 else f"{min(amount, 99.99):.2f} %"
    return f"{amount:.1e} %".replace("-", "−")
