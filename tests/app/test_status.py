"""The status bar: what it takes for all to fit, and what gives way where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QMainWindow

from app import theme as themes
from app.long_work import Work
from app.long_work_words import figures_text
from app.status import RECENT_STEPS, Speed, StatusBar
from app.theme import DARK
from app.widgets.hidden_chip import Hidden
from app.widgets.long_work import CUT
from engine.frames import Where
from tests.app.made_runs import WORDS, grow, prompted


@pytest.fixture
def status(qtbot: Any) -> Iterator[StatusBar]:
    window, made = QMainWindow(), StatusBar()
    qtbot.addWidget(window)
    window.setStatusBar(made)
    window.resize(1600, 300)
    window.show()
    run = prompted(WORDS)
    grow(run)
    made.show_run(run, "ended: limit")
    made.meter.show_texts("watching +4.7 % · window 7.4 %", "watching +4.7 %", "What watching costs")
    made.show_run(run, "ended: limit")
    yield made
    window.close()


def right_end(status: StatusBar) -> int:
    return status.meter.geometry().right()


@pytest.mark.parametrize(("width", "points"), [(1600, 10.0), (960, 10.0), (1280, 15.0), (960, 15.0)])
def test_nothing_is_pushed_off_the_window(
    status: StatusBar, qtbot: Any, qapp: QApplication, width: int, points: float
) -> None:
    try:
        themes.apply(DARK, qapp, points)
        status.window().resize(width, 300)
        qtbot.waitUntil(lambda: right_end(status) < width)
        assert status.record.width() >= status.record.sizeHint().width(), "what the record takes is not cut"
    finally:
        themes.apply(DARK, qapp, 10.0)


def test_the_model_gives_way_first_and_comes_back(status: StatusBar, qtbot: Any) -> None:
    assert status.model.isVisible()
    status.window().resize(660, 300)
    qtbot.waitUntil(lambda: not status.model.isVisible())
    status.window().resize(1600, 300)
    qtbot.waitUntil(lambda: status.model.isVisible() and status.memory.isVisible())


@pytest.mark.parametrize(
    ("width", "points", "beside"), [(1280, 10.0, "state record"), (1280, 20.0, "state"), (840, 10.0, "state record"),
                                    (840, 20.0, ""), (840, 32.0, "")]
)  # fmt: skip
def test_long_work_comes_before_what_stands_there_at_all_times(
    status: StatusBar, qtbot: Any, qapp: QApplication, width: int, points: float, beside: str
) -> None:
    run = prompted(WORDS)
    grow(run)
    run.where = Where("paused", 9, "prefill", None, 12, 1, "start")
    cancelled: list[int] = []
    work = Work("load", "opening /home/teacher/a-long-name.gguf", 100, "share", lambda: cancelled.append(1), done=10)
    try:
        themes.apply(DARK, qapp, points)
        status.restyle(DARK)
        status.window().resize(width, 300)
        status.show_run(run, "")
        status.work.show_works([work])
        status._fit()
        qtbot.waitUntil(lambda: status.work.width() > status.work.width_for(CUT) - 20)
        cancel = status.work.cancel
        assert cancel.visibleRegion().boundingRect() == cancel.rect()
        assert status.rect().contains(cancel.mapTo(status, cancel.rect().bottomRight()))
        shown = [name for name in ("state", "record") if getattr(status, name).isVisible()]
        assert " ".join(shown) == beside
        assert status.work.figures.text() == figures_text(work, status._work.now(), str)
        status.work.show_works([])
        status._fit()
        assert status.record.isVisible()
        assert status.state.isVisible()
    finally:
        themes.apply(DARK, qapp, 10.0)


# ---- the value under the mouse ---------------------------------------------------------------------------------------

LONG = "layer 12, head 3, query 12 “␣France”, key 3 “␣Tower”: largest of 4 × 4 cells 0.02831985"


@pytest.mark.parametrize("points", [10.0, 12.0])
def test_a_value_that_is_read_out_is_not_cut(status: StatusBar, qtbot: Any, qapp: QApplication, points: float) -> None:
    try:
        themes.apply(DARK, qapp, points)
        status.window().resize(1280, 300)
        status.show_hidden((), (Hidden("only a part of the map is shown", list, "Attention"),))
        words = status.hidden.text()
        status.show_value(LONG)
        qtbot.waitUntil(lambda: status.value.width() >= status.value.needed())
        assert status.value.shown() == LONG
        assert status.hidden.isVisible(), "what is hidden stays told, in fewer words"
        assert status.record.width() >= status.record.sizeHint().width()
        status.show_value("")
        qtbot.waitUntil(lambda: status.meter.isVisible() and status.hidden.text() == words, timeout=5000)
    finally:
        themes.apply(DARK, qapp, 10.0)


def test_a_longer_state_that_is_over_takes_no_room_from_a_value(status: StatusBar, qtbot: Any) -> None:
    run = prompted(WORDS)
    grow(run)
    assert run.model is not None
    run.where = Where("paused", 3, "decode", 11, 12, 1, "softmax")
    status.show_run(run, "")
    wide = status.state.sizeHint().width()
    run.where = Where("idle")
    status.show_run(run, "ended: limit")
    assert status.state.sizeHint().width() < wide
    assert status.state.sizeHint() == status.state.label.sizeHint()


def test_a_value_that_has_no_room_is_cut_in_its_middle_and_keeps_its_figure(status: StatusBar, qtbot: Any) -> None:
    status.window().resize(700, 300)
    status.show_value(LONG)
    qtbot.waitUntil(lambda: not status.meter.isVisible() and not status.speed.isVisible())
    qtbot.waitUntil(lambda: status.value.width() > status.width() // 4)
    shown = status.value.shown()
    assert shown != LONG, "there is no room for all of it"
    assert shown.startswith("layer 12")
    assert shown.endswith("0.02831985")
    assert status.value.text() == LONG, "a screen reader has all of it"


# ---- the speed -------------------------------------------------------------------------------------------------------


class Counted(list):
    """Steps of which it is known how many were looked at in a row."""

    looked = 0

    def __getitem__(self, which: Any) -> Any:
        found = super().__getitem__(which)
        self.looked += len(found) if isinstance(which, slice) else 1
        return found

    def __iter__(self) -> Iterator[Any]:
        self.looked += len(self)
        return super().__iter__()


def step(start: int, end: int, seconds: float) -> SimpleNamespace:
    kind = "prefill" if start == 0 else "decode"
    return SimpleNamespace(kind=kind, start=start, end=end, seconds=seconds)


def text_of(speed: Speed, steps: list) -> str:
    return speed.text(steps, str)


def test_the_speed_is_of_the_prefill_and_of_the_last_steps() -> None:
    steps = [step(0, 10, 2.0), *(step(n, n + 1, 1.0) for n in range(10, 20))]
    steps += [step(n, n + 1, 0.25) for n in range(20, 20 + RECENT_STEPS)]
    assert text_of(Speed(), steps) == "prefill 5.0 tokens/s · decode 4.0 tokens/s"
    assert text_of(Speed(), steps[:1]) == "prefill 5.0 tokens/s"
    assert text_of(Speed(), []) == ""


def test_only_what_is_new_is_looked_at() -> None:
    speed, steps = Speed(), Counted([step(0, 10, 2.0)])
    for n in range(10, 1000):
        steps.append(step(n, n + 1, 0.5))
        text_of(speed, steps)
    assert steps.looked < 5 * 1000
    assert text_of(speed, steps) == text_of(Speed(), list(steps))


def test_a_run_that_was_taken_back_or_is_another_one_is_measured_afresh() -> None:
    speed = Speed()
    steps = [step(0, 10, 2.0), *(step(n, n + 1, 1.0) for n in range(10, 30))]
    text_of(speed, steps)
    back = [*steps[:5], *(step(n, n + 1, 0.1) for n in range(14, 60))]  # and it went on before anybody looked
    another = [step(0, 4, 1.0), step(4, 5, 0.5)]
    for now in (steps[:5], back, another, [], steps):
        assert text_of(speed, now) == text_of(Speed(), now)
