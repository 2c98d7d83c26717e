"""What goes wrong is tried again after pauses that grow, up to a limit."""

from __future__ import annotations

from app.patience import FIRST_S, LONGEST_S, Patience


def pauses(patience: Patience, clock: list[float], n: int) -> list[float]:
    found = []
    for _ in range(n):
        patience.fail("no room")
        began = clock[0]
        while not patience.ready:
            clock[0] += 1.0
        found.append(clock[0] - began)
    return found


def test_the_pause_grows_up_to_a_limit() -> None:
    clock = [5.0]
    patience = Patience(lambda: clock[0])
    assert patience.ready
    found = pauses(patience, clock, 8)
    assert found[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert found[-1] == found[-2] == LONGEST_S
    patience.succeed()
    assert (patience.ready, patience.said) == (True, "")
    assert pauses(patience, clock, 1) == [FIRST_S]


def test_what_was_told_first_is_what_was_told() -> None:
    patience = Patience(lambda: 0.0)
    patience.fail("no room")
    patience.fail("read only")
    assert patience.said == "no room"


def test_somebody_who_wants_it_now_does_not_wait() -> None:
    patience = Patience(lambda: 0.0)
    patience.fail("no room")
    patience.hurry()
    assert patience.ready
    assert patience.said == "no room", "that it works again is still to be told"
