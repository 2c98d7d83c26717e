"""How fast this machine reads memory with as many threads as the models compute with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from tests.bench.job import Job

COLUMNS = 4096
TRIES = 3


class BandwidthSide:
    """Reads a matrix far larger than the caches, as a decode pass reads the weights: matrix times vector, and a sum."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self._matrix = torch.ones(job.bandwidth_mib * 2**20 // (4 * COLUMNS), COLUMNS)
        self._vector = torch.ones(COLUMNS)

    def ready(self) -> dict[str, Any]:
        return {}

    def warm(self) -> dict[str, Any]:
        return {}

    @torch.inference_mode()
    def round(self, threads: int) -> dict[str, Any]:
        """Bytes per second: the better of the two ways, the best of a few tries."""
        torch.set_num_threads(threads)
        ways: tuple[Callable[[], Any], ...] = (lambda: self._matrix.mv(self._vector), self._matrix.sum)
        return {"bandwidth": max(self._matrix.nbytes / _seconds(way) for way in ways for _ in range(TRIES))}

    def close(self) -> None:
        """Nothing to end."""


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
