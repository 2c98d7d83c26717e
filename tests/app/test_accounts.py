"""What is told once a second, and what becomes of the detail: made steps, a made clock."""

from __future__ import annotations

import pytest

from app.accounts import EVERY_S, Accounts, engine_cost, pace
from app.cost_words import Figures, advice, groups, summary
from app.detail import LATE_TOKENS, LIMITS
from app.ledger import BARS, OTHER, Ledger, WindowCost
from engine.frames import StepFrame, WatchCost
from engine.meter import ANSWER, BREAK, FRAME, HOOKS, RECORD
from tests.app import made_runs

TITLES = {"attention": "Attention", "strip": "Tokens"}


def tr(text: str) -> str:
    return text


def stepped(*costs: WatchCost, kind: str = "decode") -> list[StepFrame]:
    run = made_runs.generated(len(costs))
    fields = [vars(step) | {"watch": cost, "kind": kind} for step, cost in zip(run.steps, costs, strict=True)]
    return [StepFrame(**given) for given in fields]


class MadeBoard:
    def __init__(self) -> None:
        self.late = 0
        self.halved: list[int] = []

    def set_halvings(self, halvings: int) -> None:
        self.halved.append(halvings)


class Desk:
    """Accounts with everything made."""

    def __init__(self) -> None:
        self.now, self.worked = 0.0, 0.0
        self.board = MadeBoard()
        self.ledger = Ledger(lambda: self.worked, lambda: self.now)
        self.accounts = Accounts(self.ledger, self.board, lambda: self.now)

    def second(self, steps: list[StepFrame], work: float, state: str = "running") -> bool:
        """Ten pictures in a second; whether something new is told."""
        told = False
        for _ in range(10):
            self.now += 0.1
            self.ledger.turn_to("attention")
            self.worked += work / 10
            self.ledger.picture(1)
            told |= self.accounts.look(steps, state)
        return told


@pytest.fixture
def desk() -> Desk:
    return Desk()


STEPS = stepped(*[WatchCost(0.04, ((RECORD, 0.002), (ANSWER + "attention.map", 0.002)))] * 3)


def test_nothing_is_told_before_a_run(desk: Desk) -> None:
    assert not desk.accounts.look([], "idle")
    assert desk.accounts.figures is None


def test_figures_once_a_second_while_running(desk: Desk) -> None:
    desk.accounts.look(STEPS, "running")
    told = [desk.second(STEPS, work=0.1) for _ in range(3)]
    assert told[1:] == [True, True]
    figures = desk.accounts.figures
    assert figures is not None
    assert figures.engine.share == pytest.approx(0.1)
    assert figures.window.share == pytest.approx(0.1, rel=0.1)
    assert figures.window.rate == pytest.approx(10, rel=0.1)
    desk.now += EVERY_S
    assert desk.accounts.look(STEPS, "running")
    desk.now += EVERY_S / 2
    assert not desk.accounts.look(STEPS, "running")


def test_detail_goes_down_comes_back_and_is_whole_on_a_pause(desk: Desk) -> None:
    desk.accounts.look(STEPS, "running")
    for _ in range(6):
        desk.second(STEPS, work=0.8)
    assert desk.board.halved == [1]
    assert desk.accounts.figures is not None
    assert desk.accounts.figures.halvings == 1
    assert "detail halved" in summary(desk.accounts.figures, tr)
    for _ in range(14):
        desk.second(STEPS, work=0.02)
    assert desk.board.halved == [1, 0]
    for _ in range(6):
        desk.second(STEPS, work=0.8)
    assert desk.board.halved[-1] >= 1
    assert desk.accounts.look(STEPS, "paused")
    assert desk.board.halved[-1] == 0
    assert desk.accounts.figures.halvings == 0
    assert not desk.accounts.look(STEPS, "paused"), "once"


def test_pictures_that_lag_bring_detail_down(desk: Desk) -> None:
    desk.accounts.look(STEPS, "running")
    desk.board.late = 100
    for _ in range(6):
        desk.second(STEPS, work=0.01)
    assert desk.board.halved == [1]
    assert desk.accounts.figures is not None
    assert desk.accounts.figures.reason == "late"


def test_nothing_is_lowered_while_idle(desk: Desk) -> None:
    desk.board.late = 100
    for _ in range(20):
        desk.second(STEPS, work=0.9, state="idle")
    assert desk.board.halved == []


def test_a_short_run_is_told_at_its_end_and_another_model_forgets_it(desk: Desk) -> None:
    desk.accounts.look([], "running")
    assert desk.accounts.look(STEPS, "idle")
    assert desk.accounts.figures is not None
    assert desk.accounts.look([], "idle")
    assert desk.accounts.figures is None


def test_the_pass_is_of_decode_where_there_is_some() -> None:
    prefill, decode = WatchCost(1.0, ((RECORD, 0.1),)), WatchCost(0.04, ())
    assert engine_cost(stepped(prefill, kind="prefill")).plain == 1.0
    assert engine_cost([*stepped(prefill, kind="prefill"), *stepped(decode)]).plain == 0.04
    assert engine_cost(stepped(*[decode] * 40)).passes == 16


def test_the_pace_is_what_was_measured() -> None:
    engine = WatchCost(0.4, ((ANSWER + "a.b", 0.1), (RECORD, 0.1)), 10)
    window = WindowCost(2.0, (("a", 0.2), (OTHER, 0.1)), 6, 10)
    found = pace(engine, window, LATE_TOKENS + 2)
    assert found.share == pytest.approx(0.15)
    assert found.picture == pytest.approx(0.05)
    assert found.answers == pytest.approx(0.25)
    assert found.late == pytest.approx(0.6)
    assert pace(engine, window, LATE_TOKENS).late == 0
    assert pace(WatchCost(0, (), 0), WindowCost(), 0) == type(found)()


# ---- words ----------------------------------------------------------------------------------------------------


def test_the_line_of_the_status_bar() -> None:
    engine = WatchCost(1.0, ((RECORD, 0.06),), 16)
    window = WindowCost(2.0, ((BARS, 0.24),), 48, 30)
    assert summary(Figures(engine, window), tr) == "watching +6.0 % · window 12 % · 24 pictures/s"
    assert summary(Figures(engine, window, 2), tr, short=True) == "watching +6.0 % · detail quartered"
    assert summary(Figures(WatchCost(1.0), WindowCost()), tr) == "watching +0 %"
    assert summary(None, tr) == ""


def test_the_table_adds_up_by_panel() -> None:
    parts = ((RECORD, 0.1), (ANSWER + "attention.map", 0.2), (ANSWER + "attention.grid", 0.3), (FRAME, 0.05))
    parts = (*parts, (BREAK + "12", 0.01))
    window = WindowCost(2.0, (("attention", 0.1), (BARS, 0.3), (OTHER, 0.0)), 20, 10)
    engine, drawn = groups(Figures(WatchCost(1.0, parts, 10), window), TITLES, tr)
    asked = next(row for row in engine.rows if "Attention" in row.text)
    assert (asked.seconds, asked.share) == (pytest.approx(0.05), pytest.approx(0.5))
    assert engine.rows[0] is asked, "the largest first"
    assert engine.rows[-1].text == "breakpoint 12"
    assert engine.head.share == pytest.approx(sum(row.share for row in engine.rows))
    assert drawn.head.share == pytest.approx(0.2)
    assert [row.text for row in drawn.rows][:2] == ["bars, and handing figures around", "drawing Attention"]
    assert drawn.rows[0].seconds == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("engine", "window", "said"),
    [
        (((ANSWER + "attention.map", 0.4),), (), "questions of Attention: hide that panel"),
        (((HOOKS, 0.4), (RECORD, 0.1)), (("strip", 0.1),), "hooks of your own: detach"),
        (((BREAK + "3", 0.4), (RECORD, 0.1)), (), "Most goes into breakpoint 3: switch it off"),
        (((BREAK + "0", 0.4),), (), "watching for NaN and infinity: switch it off"),
        (((RECORD, 0.1),), (("strip", 0.9),), "drawing Tokens: hide that panel"),
        (((RECORD, 0.01),), (("strip", 0.01),), "nothing need be hidden"),
        ((), (), "nothing need be hidden"),
    ],
)
def test_the_advice_is_about_the_largest_part(engine, window, said: str) -> None:
    figures = Figures(WatchCost(1.0, engine, 10), WindowCost(2.0, window, 10, 10))
    assert said in advice(figures, TITLES, tr)


@pytest.mark.parametrize("reason", LIMITS)
def test_it_is_said_why_there_is_less_detail(reason) -> None:
    figures = Figures(WatchCost(1.0), WindowCost(2.0, (("strip", 0.01),), 10, 10), 1, reason)
    said = advice(figures, TITLES, tr)
    assert "less detail now because" in said
    assert "drawing Tokens: hide that panel" in said
