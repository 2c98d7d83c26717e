"""The hand-over: what is dropped, what is not, in which order, and how often the window is woken."""

from __future__ import annotations

from threading import Thread

import numpy as np

from app.mailbox import Mailbox
from engine.breakpoints import HitFrame
from engine.frames import AnswerFrame, EndFrame, ExactValue, ProgressFrame, RunFrame, Where


def answer(key: str, ticket: int) -> AnswerFrame:
    return AnswerFrame(key, ticket, 0, ExactValue("pattern", (0, 0, 0, 0), float(ticket), "captured"))


def test_events_are_never_dropped_and_keep_their_order() -> None:
    box = Mailbox()
    frames = [EndFrame(str(n)) for n in range(1000)]
    for frame in frames:
        box.post(frame)
    assert box.drain() == frames
    assert box.drain() == []


def test_where_is_latest_wins_and_stands_where_it_was_posted_last() -> None:
    box = Mailbox()
    run, end = RunFrame((), 3, False), EndFrame("stopped")
    for frame in (Where("running", layer=1), run, Where("running", layer=2), end):
        box.post(frame)
    assert box.drain() == [run, Where("running", layer=2), end]


def test_answers_replace_each_other_by_key_only() -> None:
    box = Mailbox()
    for key, ticket in (("a", 1), ("b", 2), ("a", 3)):
        box.post(answer(key, ticket))
    assert box.holds_answer("a")
    assert [(frame.key, frame.ticket) for frame in box.drain()] == [("b", 2), ("a", 3)]
    assert not box.holds_answer("a")


def test_progress_is_latest_wins_by_task() -> None:
    box = Mailbox()
    for done in range(100):
        box.post(ProgressFrame("load", "reading", done, 100))
        box.post(ProgressFrame("fetch", "reading", done, 100))
    assert [frame.done for frame in box.drain()] == [99, 99]


def test_one_wake_up_until_drained() -> None:
    woken: list[int] = []
    box = Mailbox(lambda: woken.append(1))
    for _ in range(5):
        box.post(EndFrame("x"))
    assert len(woken) == 1
    box.drain()
    box.post(EndFrame("y"))
    assert len(woken) == 2


def test_a_late_listener_is_woken_for_what_waits() -> None:
    box, woken = Mailbox(), []
    box.post(EndFrame("x"))
    box.listen(lambda: woken.append(1))
    assert woken == [1]


def test_stalled_window_holds_one_picture_not_hundreds() -> None:
    box = Mailbox()
    for ticket in range(600):
        box.post(AnswerFrame("a", ticket, 0, np.zeros(250_000, np.float32)))  # type: ignore[arg-type]
    assert len(box.drain()) == 1


def test_many_threads_lose_nothing() -> None:
    box = Mailbox()
    threads = [Thread(target=lambda: [box.post(EndFrame("x")) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(box.drain()) == 2000


def test_of_hits_that_only_count_the_newest_is_kept_and_of_those_that_stop_each() -> None:
    box = Mailbox()
    counted = [HitFrame(1, n, False, Where("running"), "", (0, None, None)) for n in range(100)]
    stops = [HitFrame(1, n, True, Where("paused"), "", (0, None, None)) for n in (100, 101)]
    other = HitFrame(2, 1, False, Where("running"), "", (0, None, None))
    for frame in (*counted, other, *stops):
        box.post(frame)
    assert box.drain() == [counted[-1], other, *stops]
