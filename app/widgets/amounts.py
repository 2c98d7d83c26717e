"""Bytes and probabilities as text."""

from __future__ import annotations

from engine.amounts import bytes_text as bytes_text


def grouped(count: int) -> str:
    """46080 → 46 080, with thin no-break spaces."""
    return f"{count:,}".replace(",", "\u202f")


def percent(share: float) -> str:
    """A probability in percent with three figures; small ones are told apart from zero."""
    amount = share * 100
    if amount in (0, 100):
        return f"{amount:.0f} %"
    if amount >= 10:
        return f"{min(amount, 99.9):.1f} %"
    return f"{amount:.2f} %" if amount >= 0.01 else "<0.01 %"
