"""The start of the program is measured: every mark is passed, in its order. No test looks at a time."""

from __future__ import annotations

from tests.bench.job import START_MARKS
from tests.bench.machine import machine_facts
from tests.bench.start import GOAL_S, lines, start


def test_a_start_passes_every_mark_in_order() -> None:
    figures = start()
    assert list(figures) == list(START_MARKS)
    assert list(figures.values()) == sorted(figures.values())


def test_the_report_says_when_and_how_long_and_whether_that_is_the_goal() -> None:
    slow = {mark: 2.0 * number for number, mark in enumerate(START_MARKS, 1)}
    quick = {mark: 0.1 * number for number, mark in enumerate(START_MARKS, 1)}
    text = "\n".join(lines([slow], machine_facts()))
    assert f"first token on screen{'':>19}{10:>8.2f} (10.00 to 10.00)     +2.00" in text
    assert text.endswith(f"target <= {GOAL_S:.0f} s: MISSED")
    assert list(lines([quick], machine_facts()))[-1].endswith("reached")
