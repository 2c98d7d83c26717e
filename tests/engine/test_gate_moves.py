"""Moving through the pass: one layer further, run to a stage, a pace for demonstrations, and work done on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import engine
from engine import questions as ask
from engine.errors import Cancelled, EngineError
from engine.frames import Where
from engine.hooks import HookPoint, PointInfo, layer_stages
from tests.engine.conftest import Pair
from tests.engine.runner import PATIENCE, Run

PROMPT = [5, 17, 80, 33, 21, 64]
TOKENS = 3


def place(where: Where) -> tuple[int, int | None, str]:
    return where.step, where.layer, where.stage


def to(layer: int | None, stage: str = "") -> Callable[[engine.Gate], None]:
    return lambda gate: gate.run_to(layer, stage)


# -- one layer further -----------------------------------------------------------------------------------------------


STAGES = ("norm 1", "rope", "scores", "mix", "activation", "add 2")


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_stage_one_layer_further(tiny: Pair, stage: str) -> None:
    """Behind the last layer it is the final norm, and then the first layer of the next pass."""
    assert set(STAGES) < set(layer_stages(tiny.loaded.config, 0))
    with Run(tiny.loaded, PROMPT, TOKENS, arm=to(0, stage)) as run:
        assert place(run.stopped()) == (0, 0, stage)
        moved = [place(run.step("next layer")) for _ in range(5)]
        assert moved == [(0, 1, stage), (0, 2, stage), (0, None, "final norm"), (1, 0, "add 2"), (1, 1, "add 2")]
        run.finish()


def test_before_a_run_and_before_the_layers_it_is_the_end_of_the_first_one(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.step("next layer")) as run:
        assert place(run.stopped()) == (0, 0, "add 2")
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.step("stage")) as run:
        assert run.stopped().stage == "embed"
        assert place(run.step("next layer")) == (0, 0, "add 2")
        run.gate.run_to(2, "mix")
        run.stopped()
        run.gate.cancel()
        with pytest.raises(Cancelled):
            run.join()
        run.gate.step("next layer")  # where the cancelled pass stood means nothing
        places: list[Any] = []
        run.gate.on_stop = lambda where: (places.append(place(where)), run.gate.resume())
        list(run.session.steps(1))
        assert places == [(0, 0, "add 2")]


def _points(stages: list[tuple[int | None, str]]) -> list[HookPoint]:
    return [HookPoint(PointInfo("", layer, (), "", "", stage=stage)) for layer, stage in stages]


def test_a_next_layer_without_that_stage_is_gone_through_to_its_end() -> None:
    """Layers need not be alike: some have a router where others have one MLP."""
    gate, stops = engine.Gate(), []

    def stopped(where: Where) -> None:
        stops.append((where.layer, where.stage))
        gate.step("next layer")

    gate.on_stop = stopped
    gate.run_to(0, "router")
    gate.begin_pass(0, "decode", 0, 1, lambda question: iter(()))
    for point in _points([(0, "router"), (0, "add 2"), (1, "up"), (1, "add 2"), (2, "router"), (2, "add 2")]):
        gate.arrive(point)
    assert stops == [(0, "router"), (1, "add 2"), (2, "add 2")]


def test_layer_is_to_the_end_of_this_layer_and_at_its_end_of_the_next(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=to(1, "mix")) as run:
        run.stopped()
        assert [place(run.step("layer")) for _ in range(2)] == [(0, 1, "add 2"), (0, 2, "add 2")]


# -- run to ----------------------------------------------------------------------------------------------------------


def test_run_to_a_stage_that_is_ahead_and_to_one_that_is_behind(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=to(1, "rope")) as run:
        assert place(run.stopped()) == (0, 1, "rope")
        for layer, stage, expected in (
            (1, "softmax", (0, 1, "softmax")),
            (2, "", (0, 2, "add 2")),
            (2, "", (1, 2, "add 2")),  # where it stands is not ahead
            (0, "rope", (2, 0, "rope")),
            (None, "logits", (2, None, "logits")),
        ):
            run.gate.run_to(layer, stage)
            assert place(run.stopped()) == expected
        assert len(run.finish()) == TOKENS


def test_run_to_the_beginning_of_a_pass(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=to(None)) as run:
        assert place(run.stopped()) == (1, None, "start")


def test_another_command_takes_its_place(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, 2, arm=to(0, "rope")) as run:
        run.stopped()
        run.gate.run_to(2, "mix")
        run.stopped()
        run.gate.run_to(2, "rope")
        run.gate.resume()
        run.join()
        assert run.stops.empty()


# -- a pace ----------------------------------------------------------------------------------------------------------


def stages_of(tiny: Pair) -> int:
    return 5 + 3 * len(layer_stages(tiny.loaded.config, 0))  # with the start of the pass


def test_at_a_pace_each_stage_is_shown_and_waited_for(tiny: Pair) -> None:
    """In the order of the pass; the waiting is not the pass's time."""
    shown: list[Where] = []

    def arm(gate: engine.Gate) -> None:
        gate.on_slow = shown.append
        gate.pace(200)

    began = time.monotonic()
    with Run(tiny.loaded, PROMPT, 1, arm=arm) as run:
        run.join()
    took, count = time.monotonic() - began, stages_of(tiny)
    assert len(shown) == count
    assert [where.state for where in shown] == ["running"] * count
    assert (shown[0].stage, shown[-1].stage) == ("start", "sampling")
    assert took >= (count - 1) / 200
    assert run.steps[0].seconds < took / 3
    free = list(engine.Session(tiny.loaded).generate(PROMPT, 1))
    assert [step.id for step in run.steps] == [step.id for step in free]


@pytest.fixture
def slow(tiny: Pair) -> Iterator[Run]:
    """A run that waits half a minute at each stage, and stands at the first one."""
    shown = threading.Event()

    def arm(gate: engine.Gate) -> None:
        gate.on_slow = lambda where: shown.set()
        gate.pace(1 / 30)
        gate._moved = time.monotonic()  # as if a stage had just gone by

    with Run(tiny.loaded, PROMPT, 2, arm=arm) as run:
        assert shown.wait(PATIENCE)
        assert run.gate.where == Where("running", 0, "prefill", 0, 6, None, "start")
        began = time.monotonic()
        yield run
        assert time.monotonic() - began < 5


def test_a_pause_is_obeyed_at_once_where_it_stands(slow: Run) -> None:
    slow.gate.pause()
    assert place(slow.stopped()) == (0, None, "start")


@pytest.mark.parametrize(("kind", "expected"), [("stage", "embed")])
def test_a_step_is_obeyed_at_once(slow: Run, kind: Any, expected: str) -> None:
    assert slow.step(kind).stage == expected


def test_a_cancel_is_obeyed_at_once(slow: Run) -> None:
    slow.gate.cancel()
    with pytest.raises(Cancelled):
        slow.join()


def test_questions_are_answered_and_work_is_done_at_once(slow: Run) -> None:
    done = threading.Event()
    slow.gate.do(done.set)
    assert done.wait(2)
    assert slow.gate.ask(ask.AskCacheState()).result(2).committed == 0
    assert slow.gate.where.stage == "start"


def test_another_pace_holds_at_once(slow: Run) -> None:
    slow.gate.pace(None)
    assert len(slow.join()) == 2


@pytest.mark.parametrize("pace", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pace_that_is_none_is_refused(pace: float) -> None:
    with pytest.raises(EngineError, match="pace"):
        engine.Gate().pace(pace)


# -- work on the way -------------------------------------------------------------------------------------------------


def test_work_is_done_at_once_in_a_stopped_pass_in_order_and_in_its_thread(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=to(1, "mix")) as run:
        where, done, last = run.stopped(), [], threading.Event()
        for number in range(3):
            run.gate.do(lambda number=number: done.append((number, threading.get_ident(), run.gate.where)))
        run.gate.do(last.set)
        assert last.wait(2)
        assert done == [(number, run._thread.ident, where) for number in range(3)]
        assert len(run.finish()) == TOKENS


def test_work_is_done_at_the_next_stage_of_a_running_pass_before_a_stop_there(tiny: Pair) -> None:
    gate, order = engine.Gate(), []

    def stopped(where: Where) -> None:
        order.append(("stop", where.stage))
        gate.resume()

    def later(tensor: Any, point: Any) -> None:
        gate.step("stage")
        gate.do(lambda: order.append(("work", gate.where.stage)))

    gate.on_stop = stopped
    with tiny.loaded.model.hooks({"blocks.1.attn.hook_rot_q": later}):  # a place in the middle of the stage
        list(engine.Session(tiny.loaded, gate=gate).generate(PROMPT, 1))
    assert order == [("work", "rope"), ("stop", "rope")]


def test_with_no_pass_work_waits_for_the_next_one_or_is_worked_off(tiny: Pair) -> None:
    gate, done = engine.Gate(), []
    session = engine.Session(tiny.loaded, gate=gate)
    gate.do(lambda: done.append(gate.where.stage))
    assert done == []
    list(session.generate(PROMPT, 1))
    assert done == ["start"]
    gate.do(lambda: done.append("served"))
    gate.serve(session.answering)
    gate.do(lambda: done.append("worked off"))
    gate.work_off()
    gate.work_off()
    assert done == ["start", "served", "worked off"]


def test_work_may_give_more_work_and_commands(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.pause()) as run:
        run.stopped()
        run.gate.do(lambda: run.gate.do(lambda: run.gate.step("stage")))
        assert run.stopped().stage == "embed"


def test_work_survives_a_cancel_and_an_error_of_it_ends_the_pass(tiny: Pair) -> None:
    gate, done = engine.Gate(), []
    session = engine.Session(tiny.loaded, gate=gate)
    session.begin(PROMPT)
    gate.do(lambda: done.append("late"))
    gate.cancel()
    with pytest.raises(Cancelled):
        list(session.steps(1))
    assert done == []
    gate.do(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        list(session.steps(1))
    assert done == ["late"]
    assert len(list(session.steps(2))) == 2


def test_the_time_of_work_is_not_the_passes(tiny: Pair) -> None:
    gate = engine.Gate()
    session = engine.Session(tiny.loaded, gate=gate)
    gate.do(lambda: time.sleep(0.5))
    (step,) = session.generate(PROMPT, 1)
    assert step.seconds < 0.4
    assert step.watch.seconds < 0.4
