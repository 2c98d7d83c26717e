"""From mailbox to window: the rate, the order, and rest after expensive painting."""

from __future__ import annotations

import time
from itertools import pairwise
from threading import Thread

import pytest

from app.delivery import LEAST_PAUSE_MS, REST_PER_WORK, Delivery
from app.mailbox import Mailbox
from engine.frames import EndFrame


@pytest.fixture
def arrivals(qtbot):
    """Mailbox, delivery, and the list of (time, frames) that the window got; ``work`` seconds are spent on each."""
    box, got, work = Mailbox(), [], [0.0]

    def receive(frames: list[object]) -> None:
        got.append((time.perf_counter(), frames))
        until = time.thread_time() + work[0]
        while time.thread_time() < until:  # painting is work of this thread; sleeping would not be
            pass

    delivery = Delivery(box, receive)
    yield box, got, work
    delivery.close()


def flood(box: Mailbox, seconds: float) -> int:
    """Post from another thread as fast as a fast engine would; how many."""
    sent = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        box.post(EndFrame(str(sent)))
        sent += 1
        time.sleep(0.001)
    return sent


def test_all_frames_in_order_at_most_thirty_times_a_second(arrivals, qtbot) -> None:
    box, got, _ = arrivals
    sent: list[int] = []
    thread = Thread(target=lambda: sent.append(flood(box, 0.6)))
    thread.start()
    qtbot.waitUntil(lambda: sent != [] and sum(len(frames) for _, frames in got) == sent[0], timeout=5_000)
    thread.join()
    reasons = [frame.reason for _, frames in got for frame in frames]
    assert reasons == [str(n) for n in range(sent[0])]
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(got)]
    assert min(gaps) >= LEAST_PAUSE_MS / 1000 - 0.003


def test_expensive_painting_is_followed_by_rest(arrivals, qtbot) -> None:
    box, got, work = arrivals
    work[0] = 0.02
    thread = Thread(target=flood, args=(box, 0.6))
    thread.start()
    qtbot.waitUntil(lambda: len(got) >= 3, timeout=5_000)
    thread.join()
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(got)]
    assert min(gaps) >= 0.9 * work[0] * (1 + REST_PER_WORK)  # a busy machine notes an arrival late; without: 0.05 s


def test_rest_has_an_end(arrivals, qtbot) -> None:
    box, got, work = arrivals
    work[0] = 0.15
    box.post(EndFrame("first"))
    qtbot.waitUntil(lambda: len(got) == 1, timeout=5_000)
    box.post(EndFrame("second"))
    qtbot.waitUntil(lambda: len(got) == 2, timeout=5_000)
    assert got[1][0] - got[0][0] < work[0] + REST_PER_WORK * work[0]


def test_nothing_comes_after_close(qtbot) -> None:
    box, got = Mailbox(), []
    delivery = Delivery(box, got.append)
    box.post(EndFrame("x"))
    delivery.close()
    qtbot.wait(100)
    assert got == []
