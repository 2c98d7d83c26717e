"""Walking over the record: layer by layer, across tokens, to the live end and no further."""

from __future__ import annotations

import pytest

from app import walk
from app.cursor import Look
from app.run import Run
from engine.frames import EndFrame, Where
from tests.app.made_runs import generated, prompted

LAST = 5  # of six layers


def over() -> Run:
    """Five prompt tokens and three generated: positions 0 to 6 are read."""
    run = generated(3)
    run.absorb(EndFrame("limit"))
    return run


def paused(layer: int | None, stage: str = "add 2", kind: str = "decode") -> Run:
    run = generated(3) if kind == "decode" else prompted()
    start, end = (7, 8) if kind == "decode" else (0, 5)
    run.absorb(Where("paused", 3, kind, start, end, layer, stage))
    return run


@pytest.mark.parametrize(
    ("run", "look", "before"),
    [
        (over(), Look(None, 3), (6, 2)),
        (over(), Look(4, 3), (4, 2)),
        (over(), Look(4, 0), (3, LAST)),
        (over(), Look(0, 0), None),
        (over(), Look(7, 2), (6, 1)),  # the newest token has no column: the one before it
        (paused(2), Look(None, 0), (7, 1)),  # from where the pass stands, not from the layer that is looked at
        (paused(0), Look(None, 0), (6, LAST)),
        (paused(2), Look(7, 5), (7, 1)),  # layer 5 is not computed yet
        (paused(2, kind="prefill"), Look(3, 0), (2, 2)),  # the pass has all positions as far as it stands
        (prompted(), Look(None, 0), None),
        (Run(), Look(None, 0), None),
    ],
)
def test_back(run: Run, look: Look, before: tuple[int, int] | None) -> None:
    assert walk.back(run, look) == before


@pytest.mark.parametrize(
    ("run", "look", "after"),
    [
        (over(), Look(4, 2), (4, 3)),
        (over(), Look(4, LAST), (5, 0)),
        (over(), Look(6, LAST - 1), None),  # the live end
        (over(), Look(6, LAST), None),
        (over(), Look(None, 2), None),  # already there
        (paused(2), Look(6, LAST), (7, 0)),
        (paused(2), Look(7, 0), (7, 1)),
        (paused(2), Look(7, 1), None),
        (paused(2, kind="prefill"), Look(3, 2), (4, 0)),
        (Run(), Look(0, 0), None),
    ],
)
def test_on(run: Run, look: Look, after: tuple[int, int] | None) -> None:
    assert walk.on(run, look) == after


def test_there_and_back_again() -> None:
    run, places, look = over(), [], Look(None, LAST)
    while (there := walk.back(run, look)) is not None:
        places.append(there)
        look = Look(*there)
    assert len(places) == 7 * 6 - 1
    assert places == sorted(places, reverse=True)
    forth = [places[-1]]
    while (there := walk.on(run, Look(*forth[-1]))) is not None:
        forth.append(there)
    assert forth == places[::-1]


def test_after_the_last_layer_the_pass_has_all_layers() -> None:
    assert walk.live_end(paused(None, "unembed")) == (7, LAST)
    assert walk.live_end(paused(None, "start")) == (7, 0)
