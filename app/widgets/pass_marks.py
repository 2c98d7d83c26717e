"""Where breakpoints stand on the map of a pass. Plain data: no widgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.breakpoints import Breakpoint, Test

Place = tuple[int | None, str]  # a layer, None outside the layers, and a stage, "" for a layer as a whole
_AFTER_THE_CHOICE = ("token", "entropy", "not the best")


@dataclass(frozen=True)
class Marks:
    """Places that have a breakpoint: True where one of them is on."""

    places: Mapping[Place, bool] = field(default_factory=dict)
    stages: frozenset[Place] = frozenset()  # those of a breakpoint that waits for the stage alone

    def stops_at(self, place: Place) -> bool:
        """Whether a breakpoint waits for just this stage."""
        return place in self.stages

    def of_layer(self, layer: int) -> bool | None:
        """Whether a breakpoint somewhere in a layer is on; None where there is none."""
        found = [on for (other, _), on in self.places.items() if other == layer]
        return any(found) if found else None


def marks_of(breakpoints: Iterable[Breakpoint]) -> Marks:
    """The places of breakpoints that have one; those that look everywhere have none."""
    places: dict[Place, bool] = {}
    stages: set[Place] = set()
    for one in breakpoints:
        if len(one.tests) == 1 and one.tests[0].kind == "stage":
            stages.add((one.tests[0].layer, one.tests[0].stage))
        for test in one.tests:
            place = _place(test)
            if place is not None:
                places[place] = places.get(place, False) or one.on
    return Marks(places, frozenset(stages))


def _place(test: Test) -> Place | None:
    if test.kind in _AFTER_THE_CHOICE:
        return (None, "sampling")
    if test.kind == "stage" and (test.layer is not None or test.stage):
        return (test.layer, test.stage)
    return None if test.layer is None else (test.layer, "")
