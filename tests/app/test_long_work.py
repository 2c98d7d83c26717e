"""What takes long: shown from half a second on, with the time it still takes, and given up by a click."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from app import theme as themes
from app.board import Board
from app.long_work import LongWork, Work
from app.long_work_words import figures_text, left_text, seconds_text, whole_text
from app.notices import DownloadFrame, SavedFrame
from app.saving import Saving
from app.theme import DARK
from app.widgets.long_work import LongWorkView
from app.window import Window
from engine.frames import AnswerFrame, ErrorFrame, ProgressFrame
from engine.questions import AskCacheState
from tests.app.conftest import MakeWindow, panel_class, slow_passes, with_model


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(qapp: QApplication, clock: Clock) -> Iterator[LongWork]:
    made = LongWork(now=clock)
    yield made
    made.close()


def same(text: str) -> str:
    return text


# ---- the contract ----------------------------------------------------------------------------------------------------


def test_it_is_shown_from_half_a_second_on(work: LongWork, clock: Clock, qtbot) -> None:
    work.begin("load", "opening a model", 100, "bytes")
    clock.now += 0.49
    work.move("load", 40)
    assert work.shown == ()
    clock.now += 0.02
    with qtbot.waitSignal(work.changed, timeout=0):
        work.move("load", 50)
    assert [one.text for one in work.shown] == ["opening a model"]
    with qtbot.waitSignal(work.changed, timeout=0):
        work.end("load")
    assert work.shown == ()


def test_it_is_shown_though_nothing_is_heard_of_it(work: LongWork, clock: Clock, qtbot) -> None:
    work.begin("question", "computing")
    clock.now += 0.6
    qtbot.waitSignal(work.changed, timeout=3000).wait()
    assert [one.task for one in work.shown] == ["question"]


def test_what_was_short_was_never_shown(work: LongWork, clock: Clock, qtbot) -> None:
    work.begin("save", "saving", 10)
    clock.now += 0.3
    with qtbot.assertNotEmitted(work.changed):
        work.move("save", 9)
        work.end("save")
    assert work.tasks == ()


def test_news_of_what_is_over_means_nothing(work: LongWork, clock: Clock) -> None:
    work.begin("save", "saving", 10)
    work.end("save")
    clock.now += 9
    work.move("save", 9)
    assert work.tasks == work.shown == ()


def test_of_a_task_there_is_one(work: LongWork, clock: Clock) -> None:
    work.begin("save", "saving a", 10)
    clock.now += 1
    work.begin("save", "saving b", 20)
    clock.now += 1
    assert [one.text for one in work.shown] == ["saving b"]


def test_giving_up_calls_whoever_does_it_and_shows_it_until_it_has_ended(work: LongWork, clock: Clock) -> None:
    cancelled: list[int] = []
    work.begin("a", "first", cancel=lambda: cancelled.append(1))
    work.begin("b", "second")
    clock.now += 1
    work.give_up("a")
    work.give_up("b")  # cannot be given up
    work.give_up("c")  # is not there
    assert cancelled == [1]
    assert len(work.shown) == 2


# ---- the time it still takes -----------------------------------------------------------------------------------------


def test_the_time_left_follows_from_the_pace(work: LongWork, clock: Clock) -> None:
    work.begin("load", "opening", 1000, "bytes")
    for second in range(1, 5):
        clock.now = 100.0 + second
        work.move("load", 100 * second)
    assert work.shown[0].left_s(clock.now) == pytest.approx(6.0)
    clock.now += 2  # nothing is heard for two seconds: it does not go up
    assert work.shown[0].left_s(clock.now) == pytest.approx(4.0)
    clock.now += 20
    assert work.shown[0].left_s(clock.now) == 0.0


def test_a_first_step_at_once_promises_nothing(work: LongWork, clock: Clock) -> None:
    work.begin("prompt", "reading", 1000, "tokens")
    clock.now += 0.001
    work.move("prompt", 40)  # where it stood already when it was first looked at
    clock.now += 1
    assert work.shown[0].left_s(clock.now) is None


def test_a_pace_of_long_ago_does_not_count(work: LongWork, clock: Clock) -> None:
    work.begin("load", "opening", 100_000)
    clock.now += 1
    work.move("load", 50_000)  # what had come before
    for _ in range(20):
        clock.now += 1
        work.move("load", work.shown[0].done + 100)
    assert work.shown[0].left_s(clock.now) == pytest.approx((100_000 - 52_000) / 100)


def test_what_begins_anew_is_judged_anew(work: LongWork, clock: Clock) -> None:
    work.begin("load", "opening", 100)
    for done in (50, 90, 10):
        clock.now += 1
        work.move("load", done)
    assert work.shown[0].left_s(clock.now) is None
    clock.now += 1
    work.move("load", 20)
    assert work.shown[0].left_s(clock.now) == pytest.approx(8.0)


@pytest.mark.parametrize(("total", "done"), [(0, 0), (0, 5), (100, 0)])
def test_where_it_cannot_be_said_no_time_is(work: LongWork, clock: Clock, total: int, done: int) -> None:
    work.begin("load", "opening", total)
    clock.now += 3
    work.move("load", done)
    assert work.shown[0].left_s(clock.now) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (125, "2 min 5 s"), (4800, "1 h 20 min")]
)
def test_seconds_as_text(seconds: float, text: str) -> None:
    assert seconds_text(seconds, same) == text


def test_soon_done() -> None:
    assert left_text(1.2, same) == "soon done"
    assert left_text(12.4, same) == "12 s left"


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("bytes", "50 MB of 100 MB"),
        ("tokens", "50000000 of 100000000 tokens"),
        ("frames", "50000000 of 100000000 frames"),
        ("share", "50 %"),
    ],
)
def test_amounts(unit, text: str) -> None:
    work = Work("x", "opening", 100_000_000, unit, began=0.0, done=50_000_000)
    assert figures_text(work, 1.0, same) == text


def test_without_an_amount_the_time_so_far() -> None:
    assert whole_text(Work("x", "looking", began=2.0), 6.0, same) == "looking · 4 s so far"


# ---- in the status bar -----------------------------------------------------------------------------------------------


@pytest.fixture
def view(qtbot, clock: Clock) -> LongWorkView:
    made = LongWorkView(clock)
    qtbot.addWidget(made)
    made.restyle(DARK)
    return made


def test_the_first_is_shown_and_the_menu_has_all(view: LongWorkView, clock: Clock, qtbot) -> None:
    works = [
        Work("a", "saving <b>x</b> & y", 100, "share", print, began=98.0, done=25),
        Work("b", "reading", 0, began=97.0),
    ]
    view.show_works(works)
    assert not view.isHidden()
    assert view.text.text() == "saving <b>x</b> & y"
    assert view.bar.value() == 25
    assert view.others.text() == "+1"
    view.others.menu().aboutToShow.emit()
    first, second = view.others.menu().actions()
    assert first.text() == "Cancel: saving <b>x</b> && y · 25 %"
    assert (first.isEnabled(), second.isEnabled()) == (True, False)
    with qtbot.waitSignal(view.given_up) as told:
        first.trigger()
    assert told.args == ["a"]
    with qtbot.waitSignal(view.given_up) as told:
        view.cancel.click()
    assert told.args == ["a"]


def test_what_cannot_be_given_up_says_so(view: LongWorkView) -> None:
    view.show_works([Work("b", "reading", 0, began=97.0)])
    assert not view.cancel.isEnabled()
    assert "cannot be cancelled" in view.cancel.toolTip()
    assert view.bar.isHidden(), "a bar that only moves to and fro says nothing"
    assert view.figures.text() == "3 s so far"
    view.show_works([])
    assert view.isHidden()


def test_a_long_name_does_not_widen_the_bar(view: LongWorkView) -> None:
    view.show_works([Work("b", "opening /a/very" * 40, 10, began=97.0)])
    assert "…" in view.text.text()
    assert view.toolTip().startswith("opening /a/very" * 40)


@pytest.mark.parametrize("points", [10.0, 20.0, 32.0])
def test_in_little_room_the_bar_gives_way_then_the_words_and_never_the_button(
    view: LongWorkView, qapp: QApplication, points: float
) -> None:
    try:
        themes.apply(DARK, qapp, points)
        view.restyle(DARK)
        work = Work("b", "opening /home/teacher/a-long-name.gguf", 98_400_000, "bytes", print, done=12_000_000)
        view.show_works([work])
        barred, figured = [], []
        for width in range(view.sizeHint().width(), view.minimumSizeHint().width() - 1, -17):
            view.resize(width, 80)
            QApplication.processEvents()
            parts = [part for part in (view.text, view.bar, view.figures, view.cancel) if part.isVisible()]
            for part, after in pairwise(parts):
                assert part.geometry().right() < after.geometry().left(), f"at {width} they lie over each other"
            assert view.rect().contains(view.cancel.geometry())
            for label in (view.text, view.figures):
                assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width() or not label.isVisible()
            assert view.text.text().startswith("o")
            barred.append(view.bar.isVisible())
            figured.append(view.figures.text() if view.figures.isVisible() else "")
        whole = [text == figures_text(work, 0.0, same) for text in figured]
        assert (barred[0], barred[-1]) == (True, False)
        assert whole.count(True) > barred.count(True) > 0
        assert sorted(barred, reverse=True) == barred
        assert sorted(whole, reverse=True) == whole
        assert view.cancel.iconSize().height() == view.fontMetrics().height()
    finally:
        themes.apply(DARK, qapp, 10.0)


# ---- in the window ---------------------------------------------------------------------------------------------------


def shown(window: Window) -> list[str]:
    return [work.task for work in window.long_work.shown]


@pytest.fixture
def live(make_window: MakeWindow, qtbot, tiny_model: Path) -> Window:
    return with_model(make_window, qtbot, tiny_model, tokens=4)


def test_opening_is_shown_and_ends_with_the_model(make_window: MakeWindow, qtbot, tiny_model: Path) -> None:
    window = make_window()
    window.filing.open_model(str(tiny_model))  # nothing is loaded before the worker starts
    qtbot.waitUntil(lambda: shown(window) == ["load"], timeout=3000)
    qtbot.waitUntil(lambda: window.status.work.isVisible(), timeout=3000)
    assert not window.status.state.isVisible(), "the same is not said twice"
    window.worker.start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    assert window.long_work.tasks == ()
    assert not window.status.work.isVisible()
    assert window.status.state.isVisible()


def test_opening_is_given_up_in_the_status_bar(make_window: MakeWindow, qtbot, tiny_model: Path) -> None:
    window = make_window()
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.status.work.isVisible(), timeout=3000)
    qtbot.waitUntil(lambda: window.status.work.isVisible(), timeout=3000)
    window.status.work.cancel.click()
    window.worker.start()
    qtbot.waitUntil(lambda: not window.filing.loading, timeout=60_000)
    assert window.long_work.tasks == ()
    assert window.context.run.model is None


def test_a_load_that_another_replaces_does_not_end_the_others_wait(
    make_window: MakeWindow, qtbot, tiny_model: Path
) -> None:
    window = make_window()
    window.filing.open_model(str(tiny_model))
    window.filing.open_model(str(tiny_model))
    window.worker.start()
    qtbot.waitUntil(lambda: window.ready, timeout=60_000)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    assert not window.filing.loading


def test_a_long_prompt_is_shown_and_stopped(live: Window, qtbot) -> None:
    slow_passes(live, 1.5)
    live.bar.prompt.setPlainText("hello " * 20)
    live.run()
    qtbot.waitUntil(lambda: shown(live) == ["prompt"], timeout=10_000)
    assert live.long_work.shown[0].total == live.context.run.n_prompt
    qtbot.waitUntil(lambda: live.status.work.isVisible(), timeout=3000)
    live.status.work.cancel.click()
    qtbot.waitUntil(lambda: live.context.run.ended is not None, timeout=10_000)
    assert live.context.run.ended.reason == "stopped"
    assert live.long_work.tasks == ()


def test_a_pause_is_nothing_that_is_waited_for(live: Window, qtbot) -> None:
    live.bar.prompt.setPlainText("hello")
    live.actions_by_name["step_layer"].trigger()
    qtbot.waitUntil(lambda: live.context.run.where.state == "paused", timeout=10_000)
    assert "prompt" not in live.long_work.tasks
    live.run()
    qtbot.waitUntil(lambda: live.context.run.ended is not None, timeout=10_000)
    assert live.long_work.tasks == ()


def test_saving_is_shown_and_given_up(live: Window, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live.bar.prompt.setPlainText("hello")
    live.run()
    qtbot.waitUntil(lambda: live.context.run.ended is not None, timeout=10_000)
    before = Saving._moved

    def slowly(saving: Saving, request: object, part: object) -> None:
        time.sleep(0.3)
        before(saving, request, part)  # type: ignore[arg-type]

    monkeypatch.setattr(Saving, "_moved", slowly)
    live.filing.save_run_as(tmp_path / "x.fluoro")
    qtbot.waitUntil(lambda: "save" in shown(live), timeout=10_000)
    qtbot.waitUntil(lambda: live.long_work.shown[0].done > 0, timeout=10_000)
    assert live.long_work.shown[0].unit == "bytes"
    qtbot.waitUntil(lambda: live.status.work.isVisible(), timeout=3000)
    live.status.work.cancel.click()
    qtbot.waitUntil(lambda: not live.filing.saving, timeout=10_000)
    assert live.long_work.tasks == ()
    assert not (tmp_path / "x.fluoro").exists()


def test_a_save_that_nobody_asked_for_does_not_end_the_users(live: Window, tmp_path: Path) -> None:
    live.waiting.begin("save", "saving")
    live.receive([SavedFrame(str(tmp_path / "run.fluoro"), 5, 0.1, quiet=True)])
    assert "save" in live.long_work.tasks
    live.receive([SavedFrame(str(tmp_path / "mine.fluoro"), 5, 0.1)])
    assert "save" not in live.long_work.tasks


def test_a_save_that_fails_is_over(live: Window, qtbot, tmp_path: Path) -> None:
    live.bar.prompt.setPlainText("hello")
    live.run()
    qtbot.waitUntil(lambda: live.context.run.ended is not None, timeout=10_000)
    live.filing.save_run_as(tmp_path / "none" / "x.fluoro")
    qtbot.waitUntil(lambda: not live.filing.saving, timeout=10_000)
    assert live.long_work.tasks == ()


def test_every_download_is_shown_and_paused_by_its_cancel(
    make_window: MakeWindow, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, paused = make_window(), []
    monkeypatch.setattr(window.shelving.downloads, "pause", paused.append)
    window.receive([DownloadFrame("org/a", "running", "model.gguf", 10, 100)])
    window.receive([DownloadFrame("org/b", "waiting")])
    qtbot.waitUntil(lambda: len(shown(window)) == 2, timeout=3000)
    window.long_work.give_up("download org/b")
    assert paused == ["org/b"]
    window.receive([DownloadFrame("org/a", "failed", sentence="The hub cannot be reached.")])
    window.receive([DownloadFrame("org/b", "paused")])
    assert window.long_work.tasks == ()


def test_a_refill_is_shown_by_its_first_progress(make_window: MakeWindow, qtbot) -> None:
    window = make_window()
    window.receive([ProgressFrame("back", "reading again", 5, 100, "tokens")])
    qtbot.waitUntil(lambda: shown(window) == ["back"], timeout=3000)
    qtbot.waitUntil(lambda: window.status.work.figures.text().startswith("5 of 100 tokens"), timeout=3000)
    window.receive([ErrorFrame("back", "The run could not be taken back.")])
    assert window.long_work.tasks == ()


def test_late_progress_of_a_save_that_is_over_shows_no_ghost(make_window: MakeWindow) -> None:
    window = make_window()
    window.receive([SavedFrame("/x.fluoro", 5, 0.1), ProgressFrame("save", "saving", 1, 5)])
    assert window.long_work.tasks == ()


# ---- questions -------------------------------------------------------------------------------------------------------


class Quiet:
    """A worker that never answers."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.asked: list[str] = []

    def watch(self, key: str, question: object) -> int:
        (self.dropped if question is None else self.asked).append(key)
        return 0 if question is None else len(self.asked)

    def ask(self, key: str, question: object) -> int:
        self.asked.append(key)
        return len(self.asked)

    def watch_on(self, number: int, key: str, question: object) -> int:
        return self.watch(key, question)

    def ask_on(self, number: int, key: str, question: object) -> int:
        return self.ask(key, question)


@pytest.fixture
def window(make_window: MakeWindow) -> Window:
    return make_window(panels=(panel_class("attention"), panel_class("cache")))


def board_of(window: Window) -> tuple[Board, Quiet]:
    quiet = Quiet()
    window.board._worker = quiet  # type: ignore[assignment]
    return window.board, quiet


def test_a_long_question_is_shown_with_its_panel(window: Window, qtbot) -> None:
    board, quiet = board_of(window)
    board.ask("attention.exact", AskCacheState())
    board.ask("cache.exact", AskCacheState())
    qtbot.waitUntil(lambda: shown(window) == ["question"], timeout=3000)
    assert window.long_work.shown[0].text == "computing for Attention"
    qtbot.waitUntil(lambda: window.status.work.isVisible(), timeout=3000)
    window.status.work.cancel.click()
    assert window.long_work.tasks == ()
    assert set(quiet.dropped) == {"attention.exact", "cache.exact"}
    assert not board.show_answer(AnswerFrame("attention.exact", 1, 0, None)), "what comes late is dropped"


def test_an_answer_ends_the_wait(window: Window, qtbot) -> None:
    board, _ = board_of(window)
    board.ask("attention.exact", AskCacheState())
    assert window.long_work.tasks == ("question",)
    board.show_answer(AnswerFrame("attention.exact", 1, 0, None))
    assert window.long_work.tasks == ()


def test_a_picture_that_was_given_up_is_asked_for_again_at_the_next_stop(window: Window, qtbot) -> None:
    board, quiet = board_of(window)
    panel = board.panels[0]
    panel.asked = {"attention.map": AskCacheState()}
    board.set_shown("attention", True)
    board.give_up()
    board.sync()
    assert quiet.asked == ["attention.map"]
    assert board.complete
    board.mark()
    assert quiet.asked == ["attention.map"] * 2
    assert not board.complete
