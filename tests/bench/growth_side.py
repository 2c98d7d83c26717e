"""Sides a and r of the growth: one long run, decoded a few passes at a time, so that two processes can take turns."""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

import engine
from engine.meter import RECORD
from tests.bench.endless import endless
from tests.bench.job import Job


class GrowthSide:
    """Bare, or recording, as the job says."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self._job = job
        loaded = endless(engine.load(job.model, device="cpu", dtype="float32"))
        self._session = engine.Session(loaded, record=job.recording)

    def ready(self) -> dict[str, Any]:
        return {}

    def begin(self) -> dict[str, Any]:
        """Prefill; gives its seconds."""
        self._session.begin(self._job.ids)
        return self.go_on(1)

    def go_on(self, count: int) -> dict[str, Any]:
        """Some passes more: seconds of each, and of what recording took in it; bytes after the last."""
        passes, recording = [], []
        began = time.perf_counter()
        for step in self._session.steps(count):
            came = time.perf_counter()
            passes.append(came - began)
            recording.append(dict(step.watch.parts).get(RECORD, 0.0))
            began = time.perf_counter()
        return {"passes": passes, "recording": recording, **self._bytes()}

    def close(self) -> None:
        """Nothing to end."""

    def _bytes(self) -> dict[str, int]:
        session = self._session
        return {
            "positions": session.cache.length,
            "record": session.trace.use().memory + session.trace.use().disk,
            "cache": session.cache.bytes_now,
            "resident": psutil.Process().memory_info().rss,
        }
