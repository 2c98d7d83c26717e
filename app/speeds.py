"""How fast a pass goes on for who watches it: stages a second, the last one without waiting."""

from __future__ import annotations

from collections.abc import Callable

SPEEDS: tuple[float | None, ...] = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, None)
FULL = len(SPEEDS) - 1


def speed_text(speed: float | None, tr: Callable[[str], str]) -> str:
    """ "5 stages/s", "full speed"."""
    return tr("full speed") if speed is None else tr("{0:g} stages/s").format(speed)


def short_text(speed: float | None, tr: Callable[[str], str]) -> str:
    """ "5/s", "fastest"."""
    return tr("fastest") if speed is None else tr("{0:g}/s").format(speed)
