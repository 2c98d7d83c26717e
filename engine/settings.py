"""What a user chooses before a run. Plain data: importing this imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from engine.errors import EngineError


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from the logits. Each stage is off at its default.

    The order is that of transformers: repetition (prompt and output), presence, frequency (output only),
    temperature, top-k, top-p, min-p, typical-p, then the draw; ``greedy`` (or temperature 0) takes the most probable.

    Args:
        greedy: take the most probable token; temperature and the cuts are then skipped.
        temperature: logits are divided by it; 1 leaves them.
        top_k: keep the k most probable; 0 keeps all.
        top_p: keep the smallest set whose probability reaches it; 1 keeps all.
        min_p: drop tokens less probable than min_p times the most probable; 0 keeps all.
        typical_p: keep the most typical tokens up to this mass (Meister et al. 2022); 1 keeps all.
        repetition_penalty: CTRL's penalty (Keskar et al. 2019); 1 is none.
        presence_penalty: subtracted once from each token already generated; 0 is none.
        frequency_penalty: subtracted per occurrence from each token already generated; 0 is none.
        seed: the draw is a function of (seed, position) alone.

    Raises:
        EngineError: where a value is out of its range.
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in SAMPLING_RANGES.items():
            value = getattr(self, name)
            if not math.isfinite(value) or not least <= value <= most:
                raise EngineError(f"The sampling setting {name} is {value}; it must lie between {least} and {most}.")

    @property
    def takes_the_best(self) -> bool:
        """Whether the most probable token is taken without a draw."""
        return self.greedy or self.temperature == 0


@dataclass(frozen=True)
class Record:
    """How much of a run's record is kept in memory. Tokens, norms and choices are always kept: they are small.

    Args:
        memory: bytes of the residual stream kept in memory; the newest positions are always there.
        beyond: what becomes of the oldest positions then: "disk" keeps them in a memory-mapped temporary file,
            "drop" lets them go, so that what is asked of them is computed from the tokens again, which takes longer.

    Raises:
        EngineError: where a value is out of its range.
    """

    memory: int = 2_000_000_000
    beyond: Literal["disk", "drop"] = "disk"

    def __post_init__(self) -> None:
        if self.memory < 0:
            raise EngineError(f"The memory of the record is {self.memory}; it must be 0 bytes or more.")
        if self.beyond not in ("disk", "drop"):
            raise EngineError(
                f"What the record cannot keep in memory goes to {self.beyond!r}; it can go to disk, or drop."
            )


SAMPLING_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 100.0),
    "top_k": (0, 2**31),
    "top_p": (1e-6, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (1e-6, 1.0),
    "repetition_penalty": (0.01, 100.0),
    "presence_penalty": (-100.0, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "seed": (0, 2**63 - 1),
}
