"""A session in a thread of its own, stopped and stepped from the test's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, Queue
from types import TracebackType
from typing import Any

import torch

import engine
from engine.frames import Where
from engine.loading import Loaded
from engine.session import Step

PATIENCE = 30.0  # seconds before a test gives a hung pass up


class Run:
    """``with Run(loaded, prompt) as run:`` ``arm`` is called with the gate before the thread starts."""

    def __init__(
        self,
        loaded: Loaded,
        prompt: Sequence[int],
        tokens: int = 4,
        arm: Callable[[engine.Gate], None] = lambda gate: None,
        **options: Any,
    ) -> None:
        self.gate = engine.Gate()
        self.stops: Queue[Where] = Queue()
        self.gate.on_stop = self.stops.put
        self.session = engine.Session(loaded, gate=self.gate, **options)
        self.session.begin(prompt)
        self.steps: list[Step] = []
        self.logits: list[torch.Tensor] = []
        self.error: BaseException | None = None
        self._tokens, self._arm = tokens, arm
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Run:
        self._arm(self.gate)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread.is_alive():
            self.gate.cancel()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the pass hangs"

    def stopped(self) -> Where:
        """Wait for the next stop."""
        return self.stops.get(timeout=PATIENCE)

    def step(self, kind: Any) -> Where:
        """Step, and wait for the stop."""
        self.gate.step(kind)
        return self.stopped()

    def step_to_the_end(self, kind: Any) -> None:
        """Step at every stop until the run is over."""
        while self._thread.is_alive():
            try:
                self.stops.get(timeout=0.05)
            except Empty:
                continue
            self.gate.step(kind)
        self.join()

    def finish(self) -> list[Step]:
        """Go on to the end."""
        self.gate.resume()
        return self.join()

    def join(self) -> list[Step]:
        """Wait for the end; what the run raised is raised here."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the pass hangs"
        if self.error is not None:
            raise self.error
        return self.steps

    def _work(self) -> None:
        torch.set_num_threads(1)
        try:
            for step in self.session.steps(self._tokens):
                self.steps.append(step)
                self.logits.append(step.logits)
        except BaseException as error:
            self.error = error
