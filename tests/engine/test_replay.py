"""What is known of a pass that stands, point by point; and a replay in the middle of it leaves the pass alone."""

from __future__ import annotations

import pytest
import torch

import engine
from engine.errors import EngineError
from engine.replay import known, replay
from tests.engine.conftest import Pair
from tests.engine.runner import Run

PROMPT = [1, 5, 9, 4, 7, 33]
GREEDY = engine.Sampling(greedy=True)


def test_at_every_stage_exactly_what_the_pass_has_come_by(tiny: Pair) -> None:
    """Prefill and a decode pass, stage after stage: every point is known or refused, in the order of the pass."""
    points = tiny.loaded.model.points
    order, ends = list(points), {}
    for index, name in enumerate(order):
        if points[name].info.stage:
            ends[(points[name].info.layer, points[name].info.stage)] = index
    free = engine.Session(tiny.loaded, GREEDY)
    expected = [step.id for step in free.generate(PROMPT, 2)]
    stops = 0
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: gate.step("stage"), sampling=GREEDY) as run:
        while len(run.steps) < 2:
            where = run.stopped()
            passed = ends.get((where.layer, where.stage), -1)
            session = run.session
            before = len(session.trace.spans)
            for index, name in enumerate(order):
                assert known(session, name) == (where.end if index <= passed else where.start), (where, name)
            if where.kind == "prefill" and passed >= 0 and points[order[passed]].info.layer is not None:
                name = order[passed]
                ours = replay(session, [name], where.start, where.end)[name]
                torch.testing.assert_close(ours, replay(free, [name], where.start, where.end)[name])
            if passed + 1 < len(order):
                with pytest.raises(EngineError, match="not yet at position"):
                    replay(session, [order[passed + 1]], where.start, where.end)
            assert len(session.trace.spans) == before
            stops += 1
            if stops == 2 * len(ends):
                run.gate.resume()
                break
            run.gate.step("stage")
        run.finish()
    assert [step.id for step in run.steps] == expected


def test_a_replay_inside_a_pass_fires_no_hook_of_the_run(tiny: Pair) -> None:
    """Hooks see the passes of the run, not what is recomputed for somebody who looks."""
    seen: list[int] = []
    session = engine.Session(tiny.loaded, GREEDY)
    with tiny.loaded.model.hooks({"blocks.1.hook_resid_mid": lambda tensor, point: seen.append(tensor.shape[1])}):
        list(session.generate(PROMPT, 3))
        assert seen == [6, 1, 1]
        replay(session, ["blocks.1.hook_resid_mid", "blocks.1.attn.hook_q"], 0, 6)
        assert seen == [6, 1, 1]
        list(session.steps(1))
    assert seen == [6, 1, 1, 1]


def test_what_hooks_replaced_is_written_down_pass_by_pass(tiny: Pair) -> None:
    name = "blocks.1.hook_resid_mid"
    session = engine.Session(tiny.loaded, GREEDY)
    list(session.generate(PROMPT, 1))
    with tiny.loaded.model.hooks({name: lambda tensor, point: tensor * 2, "hook_embed": lambda tensor, point: None}):
        list(session.steps(1))
    list(session.steps(1))
    assert [list(session.trace.edits(start)) for start, _ in session.trace.spans] == [[], [name], []]
    session.begin(PROMPT)
    assert session.trace.applied == {}


def test_the_choice_of_a_pass_that_stands_behind_it(tiny: Pair) -> None:
    """It is known before its step is finished, whatever is set for the next one meanwhile."""
    sampling = engine.Sampling(temperature=0.7, top_k=9, seed=4)
    with Run(tiny.loaded, PROMPT, 2, arm=lambda gate: gate.step("token"), sampling=sampling) as run:
        run.stopped()
        while run.gate.where.stage != "sampling":
            run.step("stage")
        end = run.gate.where.end
        found = replay(run.session, ["sampler.hook_probs", "sampler.hook_token"], end - 1, end)
        run.session.sampling = GREEDY
        step = run.finish()[1]
    assert int(found["sampler.hook_token"]) == step.id
    assert float(found["sampler.hook_probs"][step.id]) == step.sampling.chosen_final
    assert run.session.settings == [sampling, sampling]
    again = replay(run.session, list(found), end - 1, end)
    assert all(torch.equal(again[name], found[name]) for name in found)
