"""The debugger's commands and what it keeps, with a worker that only writes down what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PySide6.QtCore import QObject

from app.breakpoint_texts import from_text, to_text
from app.breakpoint_words import breakpoint_text, hit_text
from app.breakpoint_words import test_text as condition_text
from app.breaks import Breaks, fits
from app.debugging import Debugging
from app.layouts import Workspace
from app.panels.panel import Context
from app.preferences import Preferences
from app.speeds import FULL, SPEEDS, speed_text
from engine.breakpoints import NOT_FINITE, Breakpoint, HitFrame
from engine.breakpoints import Test as Condition
from engine.frames import PointFacts, Where
from tests.app.made_runs import context, generated, model


def same(text: str) -> str:
    return text


class Told:
    """As the worker, but for the work."""

    def __init__(self) -> None:
        self.said: list[tuple] = []

    def __getattr__(self, name: str) -> Callable:
        return lambda *values: self.said.append((name, *values))

    def take(self) -> list[tuple]:
        said, self.said = self.said, []
        return said


class Made:
    """A debugger with all it needs, and nothing real beside its own."""

    def __init__(self, parent: QObject, preferences: Preferences) -> None:
        self.run = generated(3)
        self.context: Context = context(self.run)
        self.worker, self.began, self.active = Told(), [], False
        self.debugging = Debugging(
            self.context, self.worker, Workspace([]), preferences, self.began.append, lambda: self.active, parent
        )


@pytest.fixture
def made(qtbot: Any) -> Made:
    parent = QObject()
    found = Made(parent, Preferences(kept=False))
    found.parent = parent
    found.worker.take()
    return found


PASS = Where("paused", 3, "decode", 7, 8, 2, "add 2")


def hit(number: int, where: Where = PASS, place: tuple = (7, 2, 1), hits: int = 1, stops: bool = True) -> HitFrame:
    return HitFrame(number, hits, stops, where, "entropy 3.21 nats > 2.5", place)


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition("stage", 3, "rope"), "layer 3 · rope"),
        (Condition("stage", 3), "the end of layer 3"),
        (Condition("stage", None, "final norm"), "final norm, wherever it comes"),
        (Condition("stage"), "the end of any layer"),
        (Condition("token", token=12), "token 12 is chosen"),
        (Condition("token", text=" a\n"), "a token with “␣a⏎” is chosen"),
        (Condition("entropy", limit=2.5), "entropy > 2.5 nats"),
        (Condition("not the best"), "the chosen token is not the most probable"),
        (Condition("lens", 4), "the lens changes its first choice after layer 4"),
        (Condition("lens"), "the lens changes its first choice after any layer"),
        (Condition("attention", 2, head=4, key=0, limit=0.5), "layer 2, head 4 gives ≥ 0.5 to position 0"),
        (Condition("attention", 2, head=4, token=7, limit=0.5), "layer 2, head 4 gives ≥ 0.5 to token 7"),
        (Condition("attention", 2, head=4, text="the", limit=0.5), "layer 2, head 4 gives ≥ 0.5 to “the”"),
        (Condition("expert", expert=3), "any layer chooses expert 3"),
        (Condition("router entropy", 1, limit=1.5), "router entropy > 1.5 nats in layer 1"),
        (Condition("norm", limit=100), "norm > 100 after any layer"),
        (Condition("not finite"), "NaN or infinity anywhere"),
    ],
)
def test_every_condition_in_words(condition: Condition, words: str) -> None:
    assert condition_text(condition, same) == words


def test_two_conditions_and_a_hit_in_words() -> None:
    both = Breakpoint(1, (Condition("entropy", limit=2), Condition("not the best")))
    assert breakpoint_text(both, same) == "entropy > 2 nats, and the chosen token is not the most probable"
    assert hit_text(hit(3, hits=2), same) == "Breakpoint 3 (hit 2): entropy 3.21 nats > 2.5"


# -- what is kept ------------------------------------------------------------------------------------------------------

conditions = some.builds(
    Condition,
    some.sampled_from(["stage", "token", "entropy", "not the best", "lens", "attention", "expert", "norm"]),
    layer=some.integers(0, 200),
    stage=some.sampled_from(["", "rope", "add 2"]),
    head=some.integers(0, 99),
    expert=some.integers(0, 999),
    key=some.none() | some.integers(0, 10**6),
    token=some.none() | some.integers(0, 10**6),
    text=some.text(min_size=1, max_size=8),
    limit=some.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=40)
@given(some.lists(some.builds(Breakpoint, some.just(1), some.lists(conditions, min_size=1, max_size=2).map(tuple),
                              some.booleans(), some.integers(0, 10**6)), max_size=5))  # fmt: skip
def test_what_is_kept_comes_back(breakpoints: list[Breakpoint]) -> None:
    listed = tuple(replace(each, number=number) for number, each in enumerate(breakpoints, 1))
    off = replace(NOT_FINITE, on=False)
    assert from_text(to_text((off, *listed))) == (off, *listed)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[", "null", "5", "[[]]", '[{"tests": []}]', '[{"tests": 5}]', "[" * 5000, "[1" + ",1" * 300_000 + "]"]
    + [json.dumps([{"tests": [test]}]) for test in (
        {"kind": "pickle"}, {"kind": ["stage"]}, {"kind": "stage", "layer": "3"}, {"kind": "stage", "layer": -3},
        {"kind": "stage", "layer": True}, {"kind": "entropy", "limit": "much"}, {"kind": "token", "token": 2**40},
        {"kind": "norm", "limit": float("nan")}, {"kind": "norm", "limit": float("inf")},
        {"kind": "norm", "limit": 10**400},
    )]
    + [json.dumps([{"tests": [{"kind": "stage"}], **wrong}]) for wrong in ({"on": 1}, {"ignore": -1}, {"ignore": "2"})],
)  # fmt: skip
def test_what_makes_no_sense_is_left_out(text: str) -> None:
    assert from_text(text) == (NOT_FINITE,)


def test_one_bad_breakpoint_does_not_take_the_others_with_it() -> None:
    text = '[{"tests": [{"kind": "no"}]}, {"tests": [{"kind": "entropy", "limit": 2}], "ignore": 3}]'
    assert from_text(text) == (NOT_FINITE, Breakpoint(1, (Condition("entropy", limit=2),), ignore=3))


def test_they_are_kept_for_the_next_start(qtbot: Any) -> None:
    parent = QObject()
    first = Made(parent, Preferences())
    assert first.worker.take() == [("set_breakpoints", (NOT_FINITE,))], "NaN is watched for from the start"
    first.debugging.break_at(2, "rope")
    first.context.breaks.change(0, on=False)
    second = Made(parent, Preferences())
    assert second.debugging.breakpoints == (
        replace(NOT_FINITE, on=False),
        Breakpoint(1, (Condition("stage", 2, "rope"),)),
    )
    assert second.worker.take() == [("set_breakpoints", second.debugging.breakpoints)]


def test_two_windows_keep_what_both_have_made(qtbot: Any) -> None:
    parent = QObject()
    one, other = Made(parent, Preferences()), Made(parent, Preferences())
    one.debugging.break_at(1, "rope")
    other.debugging.break_at(2, "rope")
    next_start = Made(parent, Preferences()).debugging
    assert {each.tests for each in next_start.breakpoints} == {
        NOT_FINITE.tests,
        (Condition("stage", 1, "rope"),),
        (Condition("stage", 2, "rope"),),
    }
    assert len(other.debugging.breakpoints) == 2, "each goes on with its own"
    one.debugging.break_at(1, "rope")
    assert [each.tests for each in Made(parent, Preferences()).debugging.breakpoints[1:]] == [
        (Condition("stage", 2, "rope"),)
    ]


# -- the list ----------------------------------------------------------------------------------------------------------


def test_numbers_are_not_given_twice() -> None:
    breaks = Breaks()
    one, two = breaks.add((Condition("stage", 1),)), breaks.add((Condition("stage", 2),))
    breaks.remove(one.number)
    assert (two.number, breaks.add((Condition("stage", 3),)).number) == (2, 3)


def test_the_watch_for_nan_stays(made: Made) -> None:
    breaks = made.context.breaks
    breaks.add((Condition("stage", 1),))
    breaks.remove(NOT_FINITE.number)
    breaks.remove_all()
    assert breaks.breakpoints == (NOT_FINITE,)


def test_all_off_and_those_that_were_on_again() -> None:
    breaks = Breaks()
    for layer in range(3):
        breaks.add((Condition("stage", layer),))
    breaks.change(2, on=False)
    before = breaks.breakpoints
    breaks.switch_all()
    assert not breaks.any_on
    breaks.switch_all()
    assert breaks.breakpoints == before
    for each in breaks.breakpoints:
        breaks.change(each.number, on=False)
    breaks.switch_all()
    assert breaks.any_on


def test_hits_begin_anew_with_other_conditions_only() -> None:
    breaks = Breaks()
    number = breaks.add((Condition("entropy", limit=2),)).number
    breaks.absorb(hit(number, hits=4))
    breaks.change(number, on=False, ignore=7)
    assert breaks.hits == {number: 4}
    assert len(breaks.standing) == 1
    breaks.change(number, tests=(Condition("entropy", limit=3),))
    assert breaks.hits == {}
    assert breaks.standing == ()


def test_a_hit_of_one_that_was_removed_means_nothing() -> None:
    breaks = Breaks()
    breaks.absorb(hit(9))
    assert (breaks.hits, breaks.standing) == ({}, ())


def test_two_at_the_same_stage_and_one_that_only_counts() -> None:
    breaks = Breaks()
    for layer in range(3):
        breaks.add((Condition("stage", layer),))
    for each in (hit(1), hit(2), hit(3, stops=False)):
        breaks.absorb(each)
    assert [each.number for each in breaks.standing] == [1, 2]
    breaks.absorb(hit(1, replace(PASS, layer=3), hits=2))
    assert [each.number for each in breaks.standing] == [1]
    assert breaks.hits == {1: 2, 2: 1, 3: 1}


@pytest.mark.parametrize(
    ("condition", "fitting"),
    [
        (Condition("stage", 5, "rope"), True),
        (Condition("stage", 6, "rope"), False),
        (Condition("stage", 5, "router"), False),
        (Condition("stage", None, "rope"), True),
        (Condition("stage", None, "logits"), True),
        (Condition("stage", 1, "logits"), False),
        (Condition("attention", 0, head=8, key=0), True),
        (Condition("attention", 0, head=9, key=0), False),
        (Condition("expert"), False),
        (Condition("router entropy", 0), False),
        (Condition("token", token=99), True),
        (Condition("token", token=100), False),
        (Condition("not finite"), True),
    ],
)
def test_what_fits_a_model(condition: Condition, fitting: bool) -> None:
    assert fits(Breakpoint(1, (condition,)), model(6)) is fitting
    assert fits(Breakpoint(1, (Condition("entropy"), condition)), model(6)) is fitting


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "kind"),
    [("step_layer", "next layer"), ("finish_layer", "layer"), ("step_stage", "stage"), ("step_token", "token")],
)
def test_steps_in_a_run_and_before_one(made: Made, command: str, kind: str) -> None:
    getattr(made.debugging, command)()
    assert (made.began, made.worker.take()) == ([kind], [])
    made.active = True
    getattr(made.debugging, command)()
    assert (made.began, made.worker.take()) == ([kind], [("step", kind)])


def test_run_to_here_in_a_run_and_before_one(made: Made) -> None:
    made.context.cursor.pin(layer=4)
    made.debugging.run_here()
    assert (made.began, made.worker.take()) == ([(4, "")], [])
    made.active = True
    made.debugging.run_to(None, "final norm")
    assert (made.began, made.worker.take()) == ([(4, "")], [("run_to", None, "final norm")])


def test_nothing_to_run_to_without_a_model(made: Made) -> None:
    made.run.model = None
    made.debugging.run_here()
    made.debugging.break_here()
    assert (made.began, made.worker.take(), made.debugging.breakpoints) == ([], [], (NOT_FINITE,))


def _point(name: str, group: str) -> PointFacts:
    return PointFacts(name, group, ("batch",), (1,), "float32", "signed", "", "", False, group)


def test_here_is_the_stage_of_the_pinned_point(made: Made) -> None:
    facts = made.run.model
    points = (_point("attn.hook_q", "q k v"), _point("mlp.experts.*.hook_post", "experts"))
    layers = tuple(replace(layer, points=points) for layer in facts.layers)
    made.run.model = replace(facts, layers=layers, points_behind=(_point("ln_final.hook_scale", "final norm"),))
    made.context.cursor.pin(layer=3)
    assert made.debugging.here() == (3, "")
    made.context.cursor.pin(point="attn.hook_q")
    assert made.debugging.here() == (3, "q k v")
    made.context.cursor.pin(point="mlp.experts.5.hook_post")
    assert made.debugging.here() == (3, "experts")
    made.context.cursor.pin(point="ln_final.hook_scale")
    assert made.debugging.here() == (None, "final norm")
    made.context.cursor.pin(point="mlp.hook_of_another_model")
    assert made.debugging.here() == (3, "")


def test_break_here_and_no_more(made: Made) -> None:
    said: list[str] = []
    made.context.cursor.readout_changed.connect(said.append)
    made.context.cursor.pin(layer=2)
    made.debugging.break_here()
    assert made.debugging.breakpoints[1:] == (Breakpoint(1, (Condition("stage", 2),)),)
    assert made.worker.take() == [("set_breakpoints", made.debugging.breakpoints)]
    made.debugging.break_here()
    assert made.debugging.breakpoints == (NOT_FINITE,)
    assert said == ["Breakpoint 1 stops at the end of layer 2", "No breakpoint at the end of layer 2 any more"]


def test_toggle_all(made: Made) -> None:
    made.debugging.toggle_breakpoints()
    assert made.worker.take() == [("set_breakpoints", (replace(NOT_FINITE, on=False),))]
    made.debugging.toggle_breakpoints()
    assert made.worker.take() == [("set_breakpoints", (NOT_FINITE,))]


def test_speed_ends_at_both_ends(made: Made) -> None:
    seen: list[int] = []
    made.debugging.pace_changed.connect(seen.append)
    made.debugging.faster()
    assert made.worker.take() == [], "it is at full speed already"
    made.debugging.slower()
    assert made.worker.take() == [("set_pace", SPEEDS[-2])]
    made.debugging.set_speed(-5)
    assert made.worker.take() == [("set_pace", SPEEDS[0])]
    made.debugging.set_speed(FULL)
    assert made.worker.take() == [("set_pace", None)]
    assert seen == [FULL - 1, 0, FULL]
    assert [speed_text(speed, same) for speed in (0.5, 200, None)] == ["0.5 stages/s", "200 stages/s", "full speed"]


# -- a hit -------------------------------------------------------------------------------------------------------------


def test_a_hit_leads_to_its_place_once_the_pass_stands(made: Made) -> None:
    made.debugging.break_at(2, "add 2")
    made.run.absorb(PASS)
    made.debugging.take_hit(hit(1, place=(4, 2, 5)))
    assert made.context.cursor.pinned.layer == 0
    made.debugging.take_where(PASS)
    look = made.context.cursor.pinned
    assert (look.position, look.layer, look.head) == (4, 2, 5)


def test_at_the_newest_position_the_newest_is_followed(made: Made) -> None:
    made.debugging.break_at(2, "add 2")
    made.context.cursor.pin(position=3, layer=1, head=6)
    made.run.absorb(PASS)
    made.debugging.take_hit(hit(1, place=(7, None, None)))
    made.debugging.take_where(PASS)
    look = made.context.cursor.pinned
    assert (look.position, look.layer, look.head) == (None, 1, 6), "what the hit does not name stays"


def test_who_looks_elsewhere_is_not_brought_back(made: Made) -> None:
    made.debugging.break_at(2, "add 2")
    made.debugging.take_hit(hit(1))
    made.debugging.take_where(PASS)
    made.context.cursor.pin(layer=5)
    made.debugging.take_where(PASS)
    assert made.context.cursor.pinned.layer == 5


def test_a_hit_is_left_when_the_pass_goes_on(made: Made) -> None:
    made.debugging.break_at(2, "add 2")
    breaks = made.context.breaks
    made.debugging.take_hit(hit(1))
    made.debugging.take_where(replace(PASS, state="running"))
    assert breaks.standing, "that was asked for before it stopped"
    made.debugging.take_where(PASS)
    made.debugging.take_where(replace(PASS, state="running", layer=3))
    assert breaks.standing == ()
    assert breaks.hits == {1: 1}


def test_a_hit_that_only_counts_moves_nothing(made: Made) -> None:
    made.debugging.break_at(2, "add 2")
    made.debugging.take_hit(hit(1, stops=False, hits=12))
    made.debugging.take_where(PASS)
    assert made.context.breaks.hits == {1: 12}
    assert made.context.cursor.pinned.layer == 0
