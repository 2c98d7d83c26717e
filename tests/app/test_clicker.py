"""A clicker's two keys: back and on over what is computed, by stage, layer and token, and where one step more is
wanted."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from app.clicker import Size, further, live_spot, nearer, shown_spot
from app.cursor import Look
from app.run import Run
from engine.frames import EndFrame, PointFacts, Where
from tests.app.made_runs import STAGES, generated, model, prompted

N, LAST = 2, len(STAGES) - 1  # layers; the last stage of each


def with_points(run: Run) -> Run:
    """Every stage of its two layers ends with a point of the same name."""
    points = tuple(
        PointFacts(f"at.{stage}", stage, ("pos",), (0,), "float32", "signed", "", "", False, stage) for stage in STAGES
    )
    frame = model(N)
    run.model = replace(frame, layers=tuple(replace(layer, points=points) for layer in frame.layers))
    return run


def over() -> Run:
    """Positions 0 to 6 are read."""
    run = with_points(generated(3))
    run.absorb(EndFrame("limit"))
    return run


def paused(layer: int | None, stage: str) -> Run:
    """The pass that reads position 7 stands here."""
    run = with_points(generated(3))
    run.absorb(Where("paused", 3, "decode", 7, 8, layer, stage))
    return run


def walked(run: Run, look: Look, size: Size, moves: int, step) -> list[tuple[int | None, int, str]]:
    """The places that so many moves lead to."""
    places = []
    for _ in range(moves):
        pins = step(run, look, size)
        if pins is None:
            break
        look = Look(**{**asdict(look), **pins})
        places.append((look.position, look.layer, look.point))
    return places


def test_nothing_lies_before_anything_is_computed() -> None:
    for run in (Run(), with_points(prompted())):
        for size in ("stage", "layer", "token"):
            assert nearer(run, Look(), size) is None
            assert further(run, Look(), size) is None


def test_back_by_stages_from_where_the_pass_stands() -> None:
    back = walked(paused(1, "q k v"), Look(), "stage", 4, nearer)
    assert back == [(7, 1, "at.norm 1"), (7, 0, "at.add 2"), (7, 0, "at.add 1"), (7, 0, "at.mix")]


def test_back_by_stages_crosses_to_the_token_before() -> None:
    back = walked(paused(0, "norm 1"), Look(), "stage", 2, nearer)
    assert back == [(6, 1, "at.add 2"), (6, 1, "at.add 1")]


def test_on_by_stages_comes_to_the_live_end_and_then_wants_one_more() -> None:
    run = paused(1, "q k v")
    on = walked(run, Look(7, 0, point="at.mix"), "stage", 9, further)
    assert on == [(7, 0, "at.add 1"), (7, 0, "at.add 2"), (7, 1, "at.norm 1"), (None, 1, "")]


def test_on_by_stages_crosses_tokens() -> None:
    assert walked(over(), Look(2, 1, point="at.add 2"), "stage", 1, further) == [(3, 0, "at.norm 1")]


def test_back_by_stages_ends_at_the_first_one() -> None:
    assert len(walked(over(), Look(0, 0, point="at.add 2"), "stage", 99, nearer)) == LAST


def test_every_stage_is_passed_both_ways() -> None:
    run = over()
    back = walked(run, Look(None, N - 1), "stage", 999, nearer)
    assert len(back) == 7 * N * len(STAGES) - 1
    on = walked(run, Look(0, 0, point="at.norm 1"), "stage", 999, further)
    assert on[:-1] == back[-2::-1]
    assert on[-1] == (None, N - 1, "")


def test_by_layers() -> None:
    run = over()
    assert walked(run, Look(None, 1), "layer", 3, nearer) == [(6, 0, ""), (5, 1, ""), (5, 0, "")]
    assert walked(run, Look(5, 1), "layer", 5, further) == [(6, 0, ""), (None, 1, "")]


def test_by_tokens_the_layer_stays() -> None:
    run = over()
    assert walked(run, Look(None, 1), "token", 9, nearer)[:2] == [(5, 1, ""), (4, 1, "")]
    assert len(walked(run, Look(None, 1), "token", 9, nearer)) == 6
    assert walked(run, Look(4, 1), "token", 9, further) == [(5, 1, ""), (None, 1, "")]


@pytest.mark.parametrize("size", ["stage", "layer", "token"])
def test_who_follows_the_newest_is_at_the_live_end(size: Size) -> None:
    assert further(paused(1, "rope"), Look(), size) is None


def test_a_stage_that_is_not_computed_yet_is_not_shown() -> None:
    run = paused(1, "q k v")
    assert live_spot(run) == (7, 1, 1)
    assert shown_spot(run, Look(7, 1, point="at.add 2")) == (7, 1, 1)
    assert shown_spot(run, Look(7, 0, point="at.rope")) == (7, 0, 2)
    assert shown_spot(run, Look(7, 0, point="no such point")) == (7, 0, LAST)
