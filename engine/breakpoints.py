"""Breakpoints as plain data: what is measured in a pass, and from which value on it stops. No torch here.

``engine/break_checks.py`` measures. A breakpoint that is off is attached to nothing, so it costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from engine.config import ModelConfig
from engine.errors import EngineError
from engine.frames import Where
from engine.hooks import layer_stages

TestKind = Literal[
    "stage", "token", "entropy", "not the best", "lens", "attention", "expert", "router entropy", "norm", "not finite"
]


@dataclass(frozen=True)
class Test:
    """One thing that a pass is looked at for.

    Args:
        kind: "stage": the pass has computed ``stage`` ("" the whole layer) of ``layer`` (None: of any layer, or outside
            the layers); "token": the chosen token is ``token``, or its text contains ``text``; "entropy": that of the
            raw distribution (nats) exceeds ``limit``; "not the best": the chosen token is not the most probable;
            "lens": the lens's first choice after ``layer`` (None: any) is not that of the boundary before;
            "attention": ``head`` of ``layer`` gives ``limit`` or more to the position ``key``, or to any position whose
            token is ``token`` or contains ``text``; of queries that see more than one key; "expert": the router of
            ``layer`` (None: any) chooses ``expert``; "router entropy": that of its scores, divided by their sum (nats),
            exceeds ``limit``; "norm": the L2 norm of the residual stream that leaves ``layer`` (None: any) exceeds
            ``limit`` at a position of the pass; "not finite": NaN or infinity in the embedding, in what leaves a layer,
            or in the logits as the unembedding makes them (with ``layer``: only in what leaves it), told once a pass.
    """

    kind: TestKind
    layer: int | None = None
    stage: str = ""
    head: int = 0
    expert: int = 0
    key: int | None = None
    token: int | None = None
    text: str = ""
    limit: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit):
            raise EngineError(f"A breakpoint's limit is {self.limit}; it must be a finite number.")


@dataclass(frozen=True)
class Breakpoint:
    """Stops the pass where all of its ``tests`` (one or two) have held in it.

    ``number`` tells it from others. ``ignore``: so many more hits are counted without stopping.
    """

    number: int
    tests: tuple[Test, ...]
    on: bool = True
    ignore: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.tests) <= 2:
            raise EngineError(f"A breakpoint has {len(self.tests)} conditions; it can have one or two.")
        if self.ignore < 0:
            raise EngineError(f"A breakpoint ignores {self.ignore} hits; it can ignore 0 or more.")
        for test in self.tests:
            _check(test)


def _check(test: Test) -> None:
    """Raises EngineError for a test that says too little to be looked for."""
    told = test.token is not None or bool(test.text)
    if test.kind == "token" and not told:
        raise EngineError("A breakpoint on the chosen token needs a token id or a text.")
    if test.kind == "attention" and test.layer is None:
        raise EngineError("A breakpoint on attention needs a layer.")
    if test.kind == "attention" and not (told or test.key is not None):
        raise EngineError("A breakpoint on attention needs a position, a token id or a text that is looked at.")


NOT_FINITE = Breakpoint(0, (Test("not finite"),))  # on from the start


OUTSIDE = ("embed", "final norm", "logits", "sampling")  # stages that belong to no layer, in the order of the pass


def check_spot(config: ModelConfig, layer: int | None, stage: str) -> None:
    """Raises EngineError where the model has no such stage; "" is the end of a layer."""
    if layer is not None and not 0 <= layer < config.n_layers:
        raise EngineError(f"Layer {layer} does not exist; this model has layers 0 to {config.n_layers - 1}.")
    known = OUTSIDE if layer is None else layer_stages(config, layer)
    if stage not in ("", *known):
        where = "outside the layers" if layer is None else f"in layer {layer}"
        raise EngineError(f"There is no stage {stage!r} {where}; there are {', '.join(known)}.")


Place = tuple[int, int | None, int | None]  # position, layer, head


@dataclass(frozen=True)
class HitFrame:
    """A breakpoint's tests held for the ``hits``-th time. ``stops``: the pass stops for it, at ``where``.

    ``sentence`` says which value met which limit: "entropy 3.21 nats > 2.5". ``place``: (position, layer or None, head
    or None) to look at; of what is chosen, the last position that the pass read.
    """

    number: int
    hits: int
    stops: bool
    where: Where
    sentence: str
    place: Place


@dataclass(frozen=True)
class Found:
    """A test that held: the sentence about it, and where to look."""

    sentence: str
    place: Place


class Hits:
    """What of the breakpoints has held in the pass under way, and how often each was hit. One thread uses it.

    ``counts``: hits by number, until a breakpoint is removed or its tests change. ``waiting``: those that are not
    reported yet.
    """

    def __init__(self) -> None:
        self.breakpoints: tuple[Breakpoint, ...] = ()
        self.counts: dict[int, int] = {}
        self.waiting: list[tuple[Breakpoint, int, Found]] = []
        self._spared: dict[int, int] = {}  # up to which count each one does not stop
        self._held: dict[int, dict[int, Found]] = {}  # by number and index of the test

    def use(self, breakpoints: Sequence[Breakpoint]) -> None:
        """These from now on; what is counted of others is forgotten."""
        before = {each.number: each for each in self.breakpoints}
        after = {each.number: each for each in breakpoints}
        for number in [n for n in self.counts if n not in after or after[n].tests != before[n].tests]:
            del self.counts[number], self._spared[number]
            self._held.pop(number, None)
        for number, each in after.items():
            count = self.counts.setdefault(number, 0)
            if number not in self._spared or each.ignore != before[number].ignore:
                self._spared[number] = count + each.ignore
        self.breakpoints = tuple(breakpoints)
        self.waiting = [waits for waits in self.waiting if _still(waits[0], after.get(waits[0].number))]

    def begin_pass(self) -> None:
        """What held in another pass counts no more."""
        self._held.clear()
        self.waiting.clear()

    def holds(self, breakpoint: Breakpoint, index: int, found: Found) -> None:
        """A test has held; it is a hit if the other one has, too. Then both must hold again for the next."""
        held = self._held.setdefault(breakpoint.number, {})
        held[index] = found
        if len(held) < len(breakpoint.tests):
            return
        self.counts[breakpoint.number] += 1
        self.waiting.append((breakpoint, self.counts[breakpoint.number], _together(held)))
        held.clear()

    def taken(self, where: Where) -> list[HitFrame]:
        """Those that wait, as frames of a pass that stands at ``where``."""
        waiting, self.waiting = self.waiting, []
        return [self._frame(each, count, found, where) for each, count, found in waiting]

    def _frame(self, breakpoint: Breakpoint, count: int, found: Found, where: Where) -> HitFrame:
        stops = count > self._spared[breakpoint.number]
        stands = replace(where, state="paused") if stops else where
        return HitFrame(breakpoint.number, count, stops, stands, found.sentence, found.place)


def _still(before: Breakpoint, after: Breakpoint | None) -> bool:
    """Whether a hit of the one is a hit of the other, too."""
    return after is not None and after.on and after.tests == before.tests


def _together(held: dict[int, Found]) -> Found:
    """Both sentences, in the order of the tests; the place that is known best."""
    found = [held[index] for index in sorted(held)]
    place = max((each.place for each in found), key=lambda place: sum(part is not None for part in place))
    return Found(", and ".join(each.sentence for each in found), place)


def beyond(value: float, sign: str, limit: float, unit: str = "") -> str:
    """ "3.21 nats > 2.5": with so many digits that the two differ, where they do."""
    digits = next((n for n in range(4, 10) if f"{value:.{n}g}" != f"{limit:.{n}g}"), 9)
    return f"{value:.{digits}g}{unit and ' '}{unit} {sign} {limit:.9g}"
