"""What watching costs: a made slow part shows up in its own line, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import engine
from engine.frames import WatchCost
from engine.gate import Gate
from engine.meter import ANSWER, FRAME, HOOKS, MAPS, NEURONS, RECORD, Meter, pass_cost, together
from engine.questions import AskAttentionGrid, AskCacheState, AskNeuronLayers
from engine.session import Step
from tests.engine.conftest import Pair
from tests.engine.runner import Run

PROMPT = [5, 17, 80, 33, 21, 64]
SLOW = 0.02  # seconds; a pass of the tiny model takes a tenth of that
LESS = 0.9 * SLOW  # clocks and sleeps differ by a little
POINT = "blocks.1.mlp.hook_post"


def parts(step: Step) -> dict[str, float]:
    return dict(step.watch.parts)


def decoded(session: engine.Session, count: int = 3) -> Step:
    """The last of some steps."""
    return list(session.generate(PROMPT, count))[-1]


def test_a_run_that_nobody_watches_costs_nothing(tiny: Pair) -> None:
    step = decoded(engine.Session(tiny.loaded, record=False))
    assert step.watch.parts == ()
    assert step.watch.plain == step.seconds
    assert step.watch.share == 0


def test_recording_is_metered_and_the_rest_is_the_pass(tiny: Pair) -> None:
    step = decoded(engine.Session(tiny.loaded))
    assert set(parts(step)) == {RECORD}
    assert 0 < parts(step)[RECORD] < step.seconds
    assert step.watch.plain + parts(step)[RECORD] == pytest.approx(step.seconds)


def test_a_slow_recorder_shows_in_its_line(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    session = engine.Session(tiny.loaded)
    end_pass = session.trace.end_pass
    steps = session.generate(PROMPT, 3)
    plain = next(steps).watch.plain
    monkeypatch.setattr(session.trace, "end_pass", lambda: (time.sleep(SLOW), end_pass()))
    step = next(steps)
    assert LESS < parts(step)[RECORD] < step.seconds
    assert step.watch.plain < max(SLOW, 10 * plain)
    assert step.watch.share > 0


def test_a_slow_hook_shows_in_its_line(tiny: Pair) -> None:
    points = tiny.loaded.model.points

    def slow(tensor: torch.Tensor, point: Any) -> None:
        time.sleep(SLOW)

    with points.attached({POINT: slow, "blocks.2.hook_resid_pre": slow}):
        step = decoded(engine.Session(tiny.loaded))
    assert 2 * LESS < parts(step)[HOOKS] < step.seconds
    assert parts(step)[RECORD] < parts(step)[HOOKS]
    assert HOOKS not in parts(decoded(engine.Session(tiny.loaded)))


def test_a_slow_observer_shows_under_the_name_it_gave(tiny: Pair) -> None:
    point = tiny.loaded.model.points[POINT]
    undo = point.observe(lambda tensor: time.sleep(SLOW), "made")
    try:
        step = decoded(engine.Session(tiny.loaded))
    finally:
        undo()
    assert LESS < parts(step)["made"] < step.seconds
    assert point.observers == ()


def test_followed_maps_and_neurons_have_lines_of_their_own(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    steps = session.generate(PROMPT, 5)
    assert {MAPS, NEURONS}.isdisjoint(parts(next(steps)))
    with torch.inference_mode():
        session.answer(AskAttentionGrid(1))
        session.answer(AskNeuronLayers(None))
    found = parts(next(steps))
    assert found[MAPS] > 0
    assert found[NEURONS] > 0


class SlowAnswers(engine.Session):
    """Sleeps over every answer."""

    def answering(self, question: Any) -> Iterator[None]:
        time.sleep(SLOW)
        return (yield from super().answering(question))


def test_a_slow_answer_in_a_running_pass_is_metered_under_who_asked(tiny: Pair) -> None:
    gate = Gate()
    steps = SlowAnswers(tiny.loaded, gate=gate).generate(PROMPT, 4)
    next(steps)
    asked = gate.ask(AskCacheState(), asker="cache.state"), gate.ask(AskCacheState())
    step = next(steps)
    assert all(future.done() for future in asked)
    assert LESS < parts(step)[ANSWER + "cache.state"] < step.seconds
    assert LESS < parts(step)[ANSWER + "AskCacheState"] < step.seconds
    assert step.watch.plain < step.seconds - 2 * LESS
    assert set(parts(next(steps))) == {RECORD}


def test_what_is_answered_while_stopped_slows_no_pass(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(tiny.loaded, PROMPT, 3, lambda gate: gate.step("token")) as run:
        run.stopped()
        answering = run.session.answering
        monkeypatch.setattr(run.session, "answering", lambda question: (time.sleep(SLOW), answering(question))[1])
        run.step("token")
        run.gate.ask(AskCacheState()).result(timeout=30)
        steps = run.finish()
    assert all(part == RECORD for step in steps for part in parts(step))
    assert steps[1].watch.plain < SLOW


def test_the_frame_tells_what_it_took_itself(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    session = engine.Session(tiny.loaded)
    step = decoded(session)
    piece = session.vocabulary_piece
    monkeypatch.setattr(session, "vocabulary_piece", lambda token: (time.sleep(SLOW / 10), piece(token))[1])
    frame = step.frame()
    assert dict(frame.watch.parts)[FRAME] > LESS  # 64 candidates
    assert frame.watch.plain == step.watch.plain


def test_time_inside_a_part_counts_once() -> None:
    meter = Meter()
    with meter.time("outer"):
        with meter.time("inner"):
            time.sleep(SLOW)
        meter.spent["other"] += 1.0
    (part,) = meter.take()
    assert part[0] == "outer"
    assert LESS < part[1] < 1
    assert meter.take() == ()


def test_a_part_is_metered_when_it_fails() -> None:
    meter = Meter()
    with pytest.raises(KeyError), meter.time("part"):
        raise KeyError
    assert [part for part, _ in meter.take()] == ["part"]


def test_costs_of_several_passes_add_up() -> None:
    costs = [pass_cost(1.0, (("a", 0.2),)), pass_cost(2.0, (("a", 0.4), ("b", 0.4)))]
    assert [cost.plain for cost in costs] == pytest.approx([0.8, 1.2])
    both = together(costs)
    assert (both.passes, both.plain) == (2, pytest.approx(2.0))
    assert dict(both.parts) == pytest.approx({"a": 0.6, "b": 0.4})
    assert both.share == pytest.approx(0.5)
    assert together([]) == WatchCost(0.0, (), 0)
    assert together([]).share == 0
