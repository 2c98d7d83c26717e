"""Less detail while the window is behind, all of it when there is time: a made clock."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from app.detail import (
    BEHIND_S,
    CALM_S,
    LEAST_CELLS,
    LIMITS,
    MOST_CALM_S,
    MOST_HALVINGS,
    REDUCIBLE,
    Detail,
    Pace,
    behind,
    reduced,
)
from engine.questions import AskAttentionGrid, AskAttentionMap, AskCacheState, AskNeurons, AskResidualNorms

CALM = Pace()
SLOW = Pace(picture=0.1)
BETWEEN = Pace(picture=0.9 * LIMITS["picture"])  # neither behind nor with time to spare


class Seconds:
    """Judges once a second."""

    def __init__(self) -> None:
        self.detail, self._clock = Detail(), count()

    def go(self, pace: Pace, seconds: float) -> list[int]:
        """The halvings after each of so many seconds."""
        found = []
        for _ in range(int(seconds)):
            self.detail.judge(float(next(self._clock)), pace)
            found.append(self.detail.halvings)
        return found


@pytest.fixture
def made() -> Seconds:
    return Seconds()


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_counts(name: str) -> None:
    assert behind(replace(CALM, **{name: 1.01 * LIMITS[name]})) == name
    assert behind(replace(CALM, **{name: 0.99 * LIMITS[name]})) is None


def test_it_goes_down_after_a_while_and_not_below_the_least(made: Seconds) -> None:
    assert made.go(SLOW, BEHIND_S) == [0] * int(BEHIND_S)
    assert made.go(SLOW, 1) == [1]
    assert made.detail.reason == "picture"
    assert max(made.go(SLOW, 60)) == MOST_HALVINGS


def test_a_moment_is_not_enough(made: Seconds) -> None:
    for _ in range(10):
        assert made.go(SLOW, BEHIND_S) == [0] * int(BEHIND_S)
        assert made.go(BETWEEN, 1) == [0]


def test_it_comes_back_step_by_step_when_there_is_time(made: Seconds) -> None:
    made.go(SLOW, 3 * BEHIND_S)
    assert made.detail.halvings == 2
    steps = made.go(CALM, 3 * CALM_S)
    assert steps[int(CALM_S) - 1] == 2
    assert sorted(set(steps), reverse=True) == [2, 1, 0]
    assert made.detail.reason is None


def test_between_the_limits_it_stays(made: Seconds) -> None:
    made.go(SLOW, BEHIND_S + 1)
    assert set(made.go(BETWEEN, 200)) == {1}


def test_where_it_falls_again_it_waits_longer_before_it_comes_back(made: Seconds) -> None:
    waits = []
    for _ in range(8):
        while made.detail.halvings == 0:
            made.go(SLOW, 1)
        waits.append(0)
        while made.detail.halvings:
            made.go(CALM, 1)
            waits[-1] += 1
    assert waits == sorted(waits)
    assert waits[2] > 1.5 * waits[0]
    assert waits[-1] <= MOST_CALM_S + 2


def test_a_pause_gives_all_detail_at_once(made: Seconds) -> None:
    made.go(SLOW, 3 * BEHIND_S)
    assert made.detail.rest()
    assert (made.detail.halvings, made.detail.reason) == (0, None)
    assert not made.detail.rest()
    assert made.go(SLOW, BEHIND_S) == [0] * int(BEHIND_S), "what was before the pause does not count"


def test_only_questions_about_pictures_are_reduced() -> None:
    assert reduced(AskAttentionMap(1, 2, 512), 1) == AskAttentionMap(1, 2, 256)
    assert reduced(AskAttentionGrid(3, 128), 2) == AskAttentionGrid(3, LEAST_CELLS)
    assert reduced(AskResidualNorms(48), 2) == AskResidualNorms(LEAST_CELLS)
    for question in (AskAttentionGrid(3, 16), AskNeurons(0, None, 64), AskCacheState()):
        assert reduced(question, 2) is question
    asked = AskAttentionMap(1, 2, 512)
    assert reduced(asked, 0) is asked


def test_every_question_that_is_reduced_has_cells() -> None:
    assert all("most" in kind.__dataclass_fields__ for kind in REDUCIBLE)
