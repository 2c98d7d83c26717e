"""The gate: stops inside the pass, steps, cancels and questions, from another thread than the engine's."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pytest
import torch

import engine
from engine import questions as ask
from engine.breakpoints import Breakpoint
from engine.breakpoints import Test as Condition
from engine.errors import Cancelled, EngineError
from engine.frames import Where
from engine.hooks import HookPoint, PointInfo, layer_stages
from tests.engine.conftest import Pair
from tests.engine.runner import PATIENCE, Run

PROMPT = [5, 17, 80, 33, 21, 64]
TOKENS = 4


@pytest.fixture(scope="module")
def free(tiny: Pair) -> list[engine.Step]:
    """The same run without any gate."""
    return list(engine.Session(tiny.loaded).generate(PROMPT, TOKENS))


@pytest.fixture(scope="module")
def places(tiny: Pair) -> list[tuple[int | None, str]]:
    """Every (layer, stage) of a pass in its declared order, read from the specs, not from the points."""
    stages = layer_stages(tiny.loaded.config, 0)
    layers = [(layer, stage) for layer in range(3) for stage in stages]
    return [(None, "embed"), *layers, (None, "final norm"), (None, "logits"), (None, "sampling")]


def _place(where: Where) -> tuple[int | None, str]:
    return where.layer, where.stage


def _same(run: Run, free: list[engine.Step], tiny: Pair) -> None:
    """Bit-equal to the run that nobody stopped: tokens, and the logits of every step."""
    undisturbed = engine.Session(tiny.loaded)
    expected = [step.logits for step in undisturbed.generate(PROMPT, TOKENS)]
    assert [step.id for step in run.steps] == [step.id for step in free]
    assert all(torch.equal(a, b) for a, b in zip(run.logits, expected, strict=True))


# -- stopping and stepping -------------------------------------------------------------------------------------------


def test_a_pause_before_the_run_stops_before_anything_is_computed(tiny: Pair, free: list[engine.Step]) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.pause()) as run:
        where = run.stopped()
        assert where == Where("paused", 0, "prefill", 0, 6, None, "start")
        assert run.gate.where == where
        assert (run.session.cache.lengths, run.session.trace.reach) == ([0, 0, 0], [0, 0, 0, 0])
        run.finish()
        _same(run, free, tiny)
    assert run.gate.where == Where("idle")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("stage", Where("paused", 0, "prefill", 0, 6, None, "embed")),
        ("layer", Where("paused", 0, "prefill", 0, 6, 0, "add 2")),
        ("token", Where("paused", 1, "decode", 6, 7, None, "start")),
    ],
)
def test_a_step_armed_before_the_run_computes_something_first(tiny: Pair, kind: Any, expected: Where) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.step(kind)) as run:
        assert run.stopped() == expected


@pytest.mark.parametrize("kind", ["stage", "layer", "token"])
def test_a_step_from_a_running_pass(tiny: Pair, kind: Any) -> None:
    with Run(tiny.loaded, PROMPT, 400) as run:
        while not run.steps:
            time.sleep(0.001)
        where = run.step(kind)
        assert where.state == "paused"
        assert where.kind == "decode"
        if kind == "layer":
            assert where.stage in ("add 2", "start")
        if kind == "token":
            assert (where.layer, where.stage) == (None, "start")


def test_a_pause_stops_within_the_operation_that_runs(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, 400) as run:
        while not run.steps:
            time.sleep(0.001)
        asked = time.monotonic()
        run.gate.pause()
        run.stopped()
        assert time.monotonic() - asked < 0.2
        count = len(run.steps)
        time.sleep(0.25)
        assert len(run.steps) == count
        assert run.gate.where.state == "paused"


def test_stages_are_stopped_at_in_their_declared_order(
    tiny: Pair, places: list[tuple[int | None, str]], free: list[engine.Step]
) -> None:
    """Both kinds of pass: prefill (fused attention, where scores and softmax are only visited) and decode."""
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: gate.step("stage")) as run:
        seen = [run.stopped()]
        for _ in range(2 * len(places)):
            seen.append(run.step("stage"))
        assert [_place(where) for where in seen] == [*places, (None, "start"), *places]
        assert [where.step for where in seen] == [0] * len(places) + [1] * (len(places) + 1)
        run.finish()
    assert [step.id for step in run.steps] == [step.id for step in free[:2]]


@pytest.mark.parametrize("kind", ["stage", "layer", "token"])
def test_stepping_computes_what_running_computes(tiny: Pair, kind: Any, free: list[engine.Step]) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.step(kind)) as run:
        run.step_to_the_end(kind)
        _same(run, free, tiny)


def test_what_has_not_been_computed_is_not_there(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.step("layer")) as run:
        run.stopped()
        assert run.session.cache.lengths == [6, 0, 0]
        assert run.session.trace.reach == [6, 6, 0, 0]
        assert (run.session.trace.reach_attention, run.session.trace.reach_mlp) == ([6, 0, 0], [6, 0, 0])
        run.step("layer")
        assert run.session.cache.lengths == [6, 6, 0]
        assert run.session.trace.reach == [6, 6, 6, 0]
        run.step("token")
        assert run.session.cache.lengths == [6, 6, 6]


# -- cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops_at", ["prefill", "decode"])
def test_a_cancel_at_every_stage_leaves_no_trace(
    tiny: Pair, stops_at: str, places: list[tuple[int | None, str]], free: list[engine.Step]
) -> None:
    """One session, cancelled at one stage after the other, and then run to its end."""
    session = engine.Session(tiny.loaded, gate=engine.Gate())
    gate, committed = session.gate, 0 if stops_at == "prefill" else 6
    session.begin(PROMPT)
    if committed:
        list(session.steps(1))
    for index in range(len(places) + 1):
        seen = []

        def stop(where: Where, last: int = index, seen: list[Where] = seen) -> None:
            seen.append(where)
            gate.step("stage") if len(seen) <= last else gate.cancel()

        gate.on_stop = stop
        gate.pause()
        with pytest.raises(Cancelled):
            list(session.steps(TOKENS))
        assert _place(seen[-1]) == [(None, "start"), *places][index]
        assert (session.cache.length, session.cache.lengths) == (committed, [committed] * 3)
        assert session.trace.reach == [committed] * 4
        assert session.trace.spans == ([(0, 6)] if committed else [])
        assert (session.n_read, gate.where) == (committed, Where("idle"))
        gate.reset()
    assert not any(point.active for point in tiny.loaded.model.points.values())
    steps = list(session.steps(TOKENS - len(session.output)))
    assert [step.id for step in steps] == [step.id for step in free][-len(steps) :]
    torch.testing.assert_close(steps[-1].logits, free[-1].logits, rtol=0, atol=0)


def test_a_cancel_wins_over_a_stop_and_wakes_it(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.pause()) as run:
        run.stopped()
        asked = time.monotonic()
        run.gate.cancel()
        with pytest.raises(Cancelled):
            run.join()
        assert time.monotonic() - asked < 0.2
        run.gate.reset()
        assert len(list(run.session.steps(2))) == 2


def test_reset_forgets_what_was_ordered_for_a_run_that_is_over(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, gate=engine.Gate())
    session.gate.on_stop = lambda where: pytest.fail("it stopped")
    session.gate.pause()
    session.gate.cancel()
    session.gate.reset()
    assert len(list(session.generate(PROMPT, 3))) == 3


def test_a_listener_that_fails_at_a_stop_leaves_the_session_usable(tiny: Pair, free: list[engine.Step]) -> None:
    session = engine.Session(tiny.loaded, gate=engine.Gate())

    def fail(where: Where) -> None:
        raise ZeroDivisionError

    session.gate.on_stop = fail
    session.gate.step("layer")
    with pytest.raises(ZeroDivisionError):
        list(session.generate(PROMPT, TOKENS))
    session.gate.reset()
    assert session.gate.where.state == "idle"
    assert [step.id for step in session.steps(TOKENS)] == [step.id for step in free]


# -- questions -------------------------------------------------------------------------------------------------------


def _result(future: Future) -> Any:
    return future.result(timeout=PATIENCE)


def test_a_question_is_answered_while_stopped_and_the_pass_stays_stopped(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.step("layer")) as run:
        where = run.stopped()
        answer = _result(run.gate.ask(ask.AskCacheState()))
        assert answer.lengths.tolist() == [6, 0, 0]
        grids = [run.gate.ask(ask.AskAttentionGrid(layer)) for layer in (0, 1)]
        assert [_result(grid).n for grid in grids] == [6, 0]
        assert run.gate.where == where
        assert run.stops.empty()


def test_questions_are_answered_while_running(tiny: Pair, free: list[engine.Step]) -> None:
    with Run(tiny.loaded, PROMPT, 300) as run:
        while not run.steps:
            time.sleep(0.001)
        for layer in range(3):
            answer = _result(run.gate.ask(ask.AskAttentionGrid(layer)))
            sums = answer.maps.sum(-1)
            assert answer.n >= 6
            np.testing.assert_allclose(sums, np.ones_like(sums), atol=1e-5)
        run.finish()
    assert [step.id for step in run.steps[: len(free)]] == [step.id for step in free]


def test_a_bad_question_fails_alone(tiny: Pair) -> None:
    with Run(tiny.loaded, PROMPT, TOKENS, arm=lambda gate: gate.pause()) as run:
        run.stopped()
        bad, good = run.gate.ask(ask.AskAttentionGrid(99)), run.gate.ask(ask.AskCacheState())
        with pytest.raises(EngineError, match="Layer 99"):
            _result(bad)
        assert _result(good).committed == 0
        assert len(run.finish()) == TOKENS


def test_what_is_still_open_at_the_end_is_answered_and_at_a_cancel_dropped(tiny: Pair) -> None:
    gate = engine.Gate()
    session = engine.Session(tiny.loaded, gate=gate)
    futures: list[Future] = []
    with tiny.loaded.model.hooks({"sampler.hook_token": lambda t, p: futures.append(gate.ask(ask.AskCacheState()))}):
        list(session.generate(PROMPT, 1))
    assert futures[0].result(timeout=0).committed == 6
    with tiny.loaded.model.hooks({"blocks.1.hook_attn_out": lambda t, p: gate.cancel()}):
        futures.append(gate.ask(ask.AskAttentionGrid(2)))
        futures[-1].cancel()
        futures.append(gate.ask(ask.AskCacheState()))
        late = {"blocks.1.hook_resid_mid": lambda t, p: futures.append(gate.ask(ask.AskCacheState()))}
        with pytest.raises(Cancelled), tiny.loaded.model.hooks(late):
            list(session.steps(1))
    assert futures[1].cancelled()
    assert futures[2].result(timeout=0).committed == 6
    assert len(futures) == 3 or futures[3].cancelled()


def _slow(steps: list[int], seconds: float, total: int) -> Any:
    def answering(question: Any) -> Any:
        for index in range(total):
            time.sleep(seconds)
            steps.append(index)
            yield
        return "done"

    return answering


def test_a_running_pass_gives_questions_a_slice_a_layer_not_more() -> None:
    """A long answer is spread over several layers; each holds the pass up for a slice and the operation under way."""
    gate, worked = engine.Gate(), []
    future = gate.ask(ask.AskCacheState())
    boundary = HookPoint(PointInfo("", 0, (), "", "", stage="add 2"))
    middle = HookPoint(PointInfo("", 0, (), "", "", stage="mix"))
    gate.begin_pass(0, "decode", 0, 1, _slow(worked, 0.005, 20))
    calls = 1
    while not future.done():
        before = len(worked)
        gate.arrive(middle)
        assert len(worked) == before  # questions wait for the end of the layer
        began = time.monotonic()
        gate.arrive(boundary)
        calls += 1
        assert time.monotonic() - began < 0.1
        assert len(worked) - before <= 5
    assert calls >= 4
    assert future.result() == "done"
    assert gate._quiet


def test_a_gate_keeps_no_run_that_has_ended(tiny: Pair) -> None:
    """It is there as long as the program, and models are large."""
    gate = engine.Gate()
    session = engine.Session(tiny.loaded, gate=gate)
    list(session.generate(PROMPT, 2))
    kept = weakref.ref(session)
    del session
    gc.collect()
    assert kept() is None


def test_a_cancelled_question_is_not_worked_on_any_more() -> None:
    gate, worked = engine.Gate(), []
    first, second = gate.ask(ask.AskCacheState()), gate.ask(ask.AskCacheState())
    gate.begin_pass(0, "decode", 0, 1, _slow(worked, 0.012, 1000))
    assert 1 <= len(worked) <= 3
    first.cancel()
    gate.serve(_slow(worked, 0.0, 1))
    assert len(worked) <= 4
    assert second.result(timeout=0) == "done"
    with pytest.raises(CancelledError):
        first.result(timeout=0)


def test_a_cancel_ends_the_answering_after_a_run() -> None:
    """Long answers must not keep a stop, a new prompt or the door waiting."""
    gate, worked = engine.Gate(), []
    future = gate.ask(ask.AskCacheState())
    threading.Timer(0.1, gate.cancel).start()
    began = time.monotonic()
    gate.serve(_slow(worked, 0.005, 2000))
    assert time.monotonic() - began < 2.0
    assert worked
    assert future.cancelled()
    assert gate._quiet


def test_an_answer_may_ask_again_when_it_comes() -> None:
    gate, answers = engine.Gate(), []

    def again(future: Future) -> None:
        answers.append(future.result())
        if len(answers) < 3:
            gate.ask(ask.AskCacheState()).add_done_callback(again)

    gate.ask(ask.AskCacheState()).add_done_callback(again)
    gate.serve(_slow([], 0.0, 1))
    assert answers == ["done"] * 3


# -- races and cost --------------------------------------------------------------------------------------------------


def test_commands_hammered_from_other_threads_neither_hang_nor_change_the_tokens(
    tiny: Pair, free: list[engine.Step]
) -> None:
    done = threading.Event()
    with Run(tiny.loaded, PROMPT, 60) as run:
        run.gate.on_stop = None

        def hammer(seed: int) -> None:
            generator = np.random.default_rng(seed)
            commands = [
                run.gate.pause,
                run.gate.resume,
                *(lambda k=k: run.gate.step(k) for k in ("stage", "layer", "next layer", "token")),
                lambda: run.gate.run_to(1, "rope"),
                lambda: run.gate.pace(5000),
                lambda: run.gate.pace(None),
                lambda: run.gate.set_breakpoints([Breakpoint(1, (Condition("stage", 1, stage="rope"),))]),
                lambda: run.gate.set_breakpoints([]),
            ]
            while not done.is_set():
                commands[generator.integers(len(commands))]()
                assert run.gate.where.state in ("idle", "running", "paused")
                future = run.gate.ask(ask.AskAttentionGrid(int(generator.integers(3))))
                if generator.random() < 0.5:
                    future.cancel()
                time.sleep(float(generator.random()) * 2e-3)

        threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(2.5)
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
        run.gate.set_breakpoints([])
        run.gate.pace(None)
        run.gate.on_stop = lambda where: run.gate.resume()  # a hit may be reported at this very moment
        run.finish()
    assert [step.id for step in run.steps[: len(free)]] == [step.id for step in free]
    undisturbed = [step.id for step in engine.Session(tiny.loaded).generate(PROMPT, 60)]
    assert [step.id for step in run.steps] == undisturbed


def test_every_step_ordered_after_a_stop_is_obeyed(tiny: Pair) -> None:
    """Each order wakes the stopped pass at once: no wake-up is lost, however close they come."""
    with Run(tiny.loaded, PROMPT, 400, arm=lambda gate: gate.pause()) as run:
        run.stopped()
        began = time.monotonic()
        for _ in range(400):
            run.step("stage")
        assert time.monotonic() - began < 400 * 0.05  # a lost one waits 0.1 s


def test_at_rest_the_gate_costs_next_to_nothing() -> None:
    """Well under a microsecond or two per stage: 30 layers of 14 stages in a token of 30 ms."""
    gate = engine.Gate()
    gate.begin_pass(0, "decode", 0, 1, lambda question: iter(()))
    point = HookPoint(PointInfo("", 0, (), "", "", stage="mix"))
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(10_000):
            gate.arrive(point)
        best = min(best, (time.perf_counter() - began) / 10_000)
    assert best < 3e-6
