"""Sides a, r and b: this engine without a listener, recording, and with everything that the window's panels need."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

import torch

import engine
from engine.frames import StepFrame
from engine.questions import (
    AskAttentionGrid,
    AskAttentionMap,
    AskAttentionRow,
    AskCacheState,
    AskCacheVectors,
    AskResidualNorms,
    AskResidualVectors,
    Question,
)
from engine.session import Step
from tests.bench.endless import endless
from tests.bench.job import Job
from tests.bench.timing import round_of

HEAD = 0


def watches(layer: int) -> tuple[Question, ...]:
    """What the panels ask after every pass while one layer and the newest position are looked at."""
    return (
        AskResidualNorms(),
        AskResidualVectors(None),
        AskAttentionGrid(layer),
        AskAttentionMap(layer, HEAD),
        AskAttentionRow(layer, None),
        AskCacheState(),
        AskCacheVectors(layer, None),
    )


class Viewers:
    """Takes each step as plain data and asks every watch after every pass, as the window's worker does."""

    def __init__(self, gate: engine.Gate, questions: tuple[Question, ...]) -> None:
        self.frames: list[StepFrame] = []
        self.answered = 0
        self.late = 0  # a question that was not answered within a whole pass
        self._gate = gate
        self._asked: dict[Question, Future | None] = dict.fromkeys(questions)

    def take(self, step: Step) -> None:
        self.frames.append(step.frame())
        if step.finish is None:
            for question, future in self._asked.items():
                self._ask_again(question, future)

    def finish(self) -> None:
        for future in self._asked.values():
            self._count(future)

    def _ask_again(self, question: Question, future: Future | None) -> None:
        if future is not None and not future.done():
            self.late += 1
            return
        self._count(future)
        self._asked[question] = self._gate.ask(question)

    def _count(self, future: Future | None) -> None:
        if future is not None and future.result(timeout=0) is not None:
            self.answered += 1


class EngineSide:
    """One loaded model; each round is a run of the same prompt."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self._job = job
        began = time.perf_counter()
        loaded = engine.load(job.model, device="cpu", dtype="float32")
        loaded = endless(loaded) if job.endless else loaded
        self._seconds = time.perf_counter() - began
        self._gate = engine.Gate() if job.side == "b" else None
        self._session = engine.Session(loaded, gate=self._gate, record=job.side != "a")
        self._watches = watches(loaded.config.n_layers // 2)

    def ready(self) -> dict[str, Any]:
        return {"load": self._seconds}

    def warm(self, most: int | None = None) -> dict[str, Any]:
        """A short run, of the first ``most`` tokens of the prompt."""
        self._run(3, most)
        return {}

    def round(self, threads: int) -> dict[str, Any]:
        """Prefill and decode once with this many threads."""
        torch.set_num_threads(threads)
        return self._run(self._job.tokens + 1)

    def close(self) -> None:
        """Nothing to end."""

    def _run(self, count: int, most: int | None = None) -> dict[str, Any]:
        self._session.begin(self._job.ids[:most])
        viewers = None if self._gate is None else Viewers(self._gate, self._watches)
        ids, came = [], []
        began = time.perf_counter()
        for step in self._session.steps(count):
            if viewers is not None:
                viewers.take(step)
            ids.append(step.id)
            came.append(time.perf_counter())
        use = self._session.trace.use()
        figures = round_of(began, came, ids, len(self._job.ids)) | {"kept": use.memory + use.disk}
        if viewers is not None:
            viewers.finish()
            figures |= {"answered": viewers.answered, "late": viewers.late}
        return figures
