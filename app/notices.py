"""What the worker tells the window beside the engine's frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadyFrame:
    """The engine is imported; ``seconds`` it took, ``threads`` it computes with."""

    seconds: float
    threads: int


@dataclass(frozen=True)
class CancelledFrame:
    """A load or fetch was cancelled by the user."""

    task: str


@dataclass(frozen=True)
class SettledFrame:
    """Every question about the run that has ended, or the stop, was answered: what is on screen is complete."""
