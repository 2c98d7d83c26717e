"""The chess clock of the window's thread, with made clocks."""

from __future__ import annotations

import pytest

from app.ledger import BARS, OTHER, SPAN_S, Ledger, WindowCost


class Clocks:
    """``spend`` processor time, or let time ``pass_by`` without any."""

    def __init__(self) -> None:
        self.worked = self.now = 100.0

    def spend(self, seconds: float) -> None:
        self.worked += seconds
        self.now += seconds

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def ledger(clocks: Clocks) -> Ledger:
    return Ledger(lambda: clocks.worked, lambda: clocks.now)


def show(ledger: Ledger, clocks: Clocks, tokens: int = 1, **parts: float) -> None:
    for part, seconds in parts.items():
        ledger.turn_to(part)
        clocks.spend(seconds)
    ledger.picture(tokens)


def test_time_is_booked_to_whose_turn_it_was(ledger: Ledger, clocks: Clocks) -> None:
    clocks.spend(0.01)  # the mouse moved before
    show(ledger, clocks, bars=0.02, attention=0.03, strip=0.04)
    clocks.pass_by(0.1)
    cost = ledger.cost()
    assert dict(cost.parts) == pytest.approx({OTHER: 0.01, BARS: 0.02, "attention": 0.03, "strip": 0.04})
    assert cost.seconds == pytest.approx(0.1)
    assert cost.share == pytest.approx(1.0)


def test_rest_counts_as_time_and_not_as_work(ledger: Ledger, clocks: Clocks) -> None:
    for _ in range(10):
        clocks.pass_by(0.09)
        show(ledger, clocks, tokens=2, attention=0.01)
    cost = ledger.cost()
    assert (cost.pictures, cost.tokens) == (10, 20)
    assert cost.share == pytest.approx(0.1)
    assert cost.rate == pytest.approx(10)


def test_only_the_last_seconds_count(ledger: Ledger, clocks: Clocks) -> None:
    show(ledger, clocks, residual=5.0)
    for _ in range(40):
        clocks.pass_by(0.09)
        show(ledger, clocks, attention=0.01)
    cost = ledger.cost()
    assert dict(cost.parts).get("residual", 0.0) == 0.0
    assert SPAN_S <= cost.seconds <= SPAN_S + 0.2
    assert cost.share == pytest.approx(0.1)


def test_one_picture_that_takes_longer_than_all_is_still_told(ledger: Ledger, clocks: Clocks) -> None:
    show(ledger, clocks, attention=0.1)
    show(ledger, clocks, attention=3 * SPAN_S)
    assert ledger.cost().worked == pytest.approx(3 * SPAN_S)
    assert ledger.cost().pictures == 1


def test_a_new_run_forgets_the_one_before(ledger: Ledger, clocks: Clocks) -> None:
    show(ledger, clocks, attention=1.0)
    clocks.pass_by(60)
    ledger.begin()
    assert ledger.cost() == WindowCost()
    assert (ledger.cost().share, ledger.cost().rate) == (0.0, 0.0)
    clocks.pass_by(0.9)
    show(ledger, clocks, attention=0.1)
    assert ledger.cost().share == pytest.approx(0.1)
