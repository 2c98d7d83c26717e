"""What watching costs: seconds by part, measured in every pass where they are spent.

Seconds are the host's, by ``time.perf_counter``. On CUDA a call returns once its kernels are queued: a part then shows
for how long it kept the host, and what its kernels took of the device is in the pass, where the host waits for the
token. On the CPU host and device are one, and what a part took includes waiting for the window to let go of the
interpreter.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from engine.frames import WatchCost

RECORD = "record"  # the residual stream and norms of the trace
ROUTING = "routing"  # what routers decided
MAPS = "maps"  # attention maps of viewed layers
NEURONS = "neurons"  # what neurons gave in the last pass
HOOKS = "hooks"  # listeners that the user attached
FRAME = "frame"  # the step as plain data
BREAK = "break "  # and the number of a breakpoint
ANSWER = "answer "  # and who asked: questions answered inside the pass

Parts = tuple[tuple[str, float], ...]


class Meter:
    """Adds up the seconds of each part; "" stands for what is nobody's."""

    __slots__ = ("spent",)

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        """The time that passes inside is this part's alone, whatever else is measured in it."""
        before, began = dict(self.spent), time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.spent.clear()
            self.spent.update(before)
            self.spent[part] += seconds

    def take(self) -> Parts:
        """What was spent since this was last called, by part."""
        parts = tuple((part, seconds) for part, seconds in self.spent.items() if part)
        self.spent.clear()
        return parts


def pass_cost(seconds: float, parts: Parts) -> WatchCost:
    """Of a pass that took ``seconds``, with these parts inside it."""
    return WatchCost(max(0.0, seconds - sum(part for _, part in parts)), parts)


def together(costs: Iterable[WatchCost]) -> WatchCost:
    """The sum over several passes."""
    passes, plain, spent = 0, 0.0, defaultdict[str, float](float)
    for cost in costs:
        passes, plain = passes + cost.passes, plain + cost.plain
        for part, seconds in cost.parts:
            spent[part] += seconds
    return WatchCost(plain, tuple(spent.items()), passes)
