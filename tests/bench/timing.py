"""When the tokens of one measured run came."""

from __future__ import annotations

from itertools import pairwise
from typing import Any


def round_of(began: float, came: list[float], tokens: list[int], n_prompt: int) -> dict[str, Any]:
    """Figures of a run that began at ``began``: token 0 ends prefill, each later one is a decode pass (seconds)."""
    passes = [after - before for before, after in pairwise(came)]
    return {
        "prefill": n_prompt / (came[0] - began),
        "decode": len(passes) / sum(passes),
        "passes": passes,
        "tokens": tokens,
    }
