"""The breakpoints of the window: which there are, how often each was hit, at which ones the pass stands."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from engine.breakpoints import NOT_FINITE, Breakpoint, HitFrame, Test
from engine.frames import LayerFacts, ModelFrame

OUTSIDE = ("embed", "final norm", "logits", "sampling")  # stages that belong to no layer, in the order of the pass


class Breaks(QObject):
    """``breakpoints`` is what the user wants. ``standing``: the hits that the pass is stopped for now.

    ``changed``: the list is another one; ``moved``: hits were counted, or the pass stopped at one or went on.
    ``asked``: somebody wants to make a breakpoint there and shall be shown the form; a Test with what is known of it.
    """

    changed = Signal()
    moved = Signal()
    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.breakpoints: tuple[Breakpoint, ...] = (NOT_FINITE,)
        self.hits: dict[int, int] = {}
        self.standing: tuple[HitFrame, ...] = ()
        self._were_on: frozenset[int] = frozenset()

    # -- what the user does ------------------------------------------------------------------------------------------

    def set(self, breakpoints: tuple[Breakpoint, ...]) -> None:
        """Another list. Hits of a breakpoint begin anew where its conditions are others."""
        if breakpoints == self.breakpoints:
            return
        before = {each.number: each.tests for each in self.breakpoints}
        same = {each.number for each in breakpoints if before.get(each.number) == each.tests}
        self.hits = {number: hits for number, hits in self.hits.items() if number in same}
        self.standing = tuple(hit for hit in self.standing if hit.number in same)
        self.breakpoints = breakpoints
        self.changed.emit()

    def add(self, tests: tuple[Test, ...], ignore: int = 0) -> Breakpoint:
        number = max((each.number for each in self.breakpoints), default=0) + 1
        made = Breakpoint(number, tests, ignore=ignore)
        self.set((*self.breakpoints, made))
        return made

    def change(self, number: int, **values: object) -> None:
        """Some values of one of them."""
        self.set(tuple(_changed(each, values) if each.number == number else each for each in self.breakpoints))

    def remove(self, number: int) -> None:
        """The watch for NaN and infinity stays; it can be switched off."""
        self.set(tuple(each for each in self.breakpoints if each.number != number or number == NOT_FINITE.number))

    def remove_all(self) -> None:
        self.set(tuple(each for each in self.breakpoints if each.number == NOT_FINITE.number))

    @property
    def any_on(self) -> bool:
        return any(each.on for each in self.breakpoints)

    def switch_all(self) -> None:
        """All off; or those on again that were on before, all where none was."""
        if self.any_on:
            self._were_on = frozenset(each.number for each in self.breakpoints if each.on)
            self.set(tuple(replace(each, on=False) for each in self.breakpoints))
        else:
            known = self._were_on & {each.number for each in self.breakpoints}
            self.set(tuple(replace(each, on=not known or each.number in known) for each in self.breakpoints))

    # -- what the run does -------------------------------------------------------------------------------------------

    def absorb(self, hit: HitFrame) -> None:
        """A hit of a breakpoint that was removed meanwhile means nothing any more."""
        if all(each.number != hit.number for each in self.breakpoints):
            return
        self.hits[hit.number] = hit.hits
        if hit.stops:
            here = tuple(other for other in self.standing if other.where == hit.where and other.number != hit.number)
            self.standing = (*here, hit)
        self.moved.emit()

    def leave(self) -> None:
        """The pass does not stand at a breakpoint any more."""
        if self.standing:
            self.standing = ()
            self.moved.emit()

    # -- questions ---------------------------------------------------------------------------------------------------

    def at(self, layer: int | None, stage: str) -> Breakpoint | None:
        """The breakpoint that is for exactly this stage and nothing else."""
        wanted = (Test("stage", layer, stage),)
        return next((each for each in self.breakpoints if each.tests == wanted), None)


def _changed(breakpoint: Breakpoint, values: dict[str, object]) -> Breakpoint:
    return replace(breakpoint, **values)  # type: ignore[arg-type]


def fits(breakpoint: Breakpoint, model: ModelFrame) -> bool:
    """Whether the model has everything that is asked about."""
    return all(_test_fits(test, model) for test in breakpoint.tests)


def _test_fits(test: Test, model: ModelFrame) -> bool:
    if test.layer is not None and not 0 <= test.layer < model.n_layers:
        return False
    if test.token is not None and not 0 <= test.token < model.d_vocab:
        return False
    layers = model.layers if test.layer is None else (model.layers[test.layer],)
    outside = test.kind == "stage" and test.layer is None and test.stage in OUTSIDE
    return outside or any(_layer_fits(test, facts) for facts in layers)


def _layer_fits(test: Test, facts: LayerFacts) -> bool:
    if test.kind == "stage":
        return test.stage in ("", *facts.stages)
    if test.kind == "attention":
        return test.head < facts.n_heads
    if test.kind == "expert":
        return test.expert < facts.n_experts
    return test.kind != "router entropy" or facts.n_experts > 0
