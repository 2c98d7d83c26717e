"""Slow things beside the window: the newest of a kind wins, errors are told, nothing is left at the end."""

from __future__ import annotations

import threading
import time

import pytest

from app.backstage import Backstage
from app.mailbox import Mailbox
from engine.errors import SourceError
from engine.frames import ErrorFrame


@pytest.fixture
def backstage(mailbox: Mailbox):
    made = Backstage(mailbox)
    yield made
    assert made.close(2.0)


def wait_for(mailbox: Mailbox, count: int = 1) -> list[object]:
    found: list[object] = []
    until = time.monotonic() + 5
    while len(found) < count and time.monotonic() < until:
        found += mailbox.drain()
        time.sleep(0.005)
    return found


def test_what_the_work_posts_arrives(backstage: Backstage, mailbox: Mailbox) -> None:
    backstage.do("sum", lambda check, post: post(1 + 1))
    assert wait_for(mailbox) == [2]


def test_the_newest_of_a_kind_wins_and_the_older_posts_nothing(backstage: Backstage, mailbox: Mailbox) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(check, post) -> None:
        begun.set()
        go_on.wait(5)
        try:
            post("old")
        finally:
            ended.set()

    backstage.do("look", slow)
    assert begun.wait(5)
    backstage.do("look", lambda check, post: post("new"))
    assert wait_for(mailbox) == ["new"]
    go_on.set()
    assert ended.wait(5)
    assert mailbox.drain() == []


def test_other_kinds_go_on(backstage: Backstage, mailbox: Mailbox) -> None:
    go_on = threading.Event()

    def slow(check, post) -> None:
        go_on.wait(5)
        post("slow")

    backstage.do("one", slow)
    backstage.do("two", lambda check, post: post("quick"))
    assert wait_for(mailbox) == ["quick"]
    go_on.set()
    assert wait_for(mailbox) == ["slow"]


def test_an_error_is_one_sentence_and_a_mistake_has_its_details(backstage: Backstage, mailbox: Mailbox) -> None:
    def refused(check, post) -> None:
        raise SourceError("There is no such model.")

    def mistaken(check, post) -> None:
        raise ZeroDivisionError("of ours")

    backstage.do("look", refused)
    assert wait_for(mailbox) == [ErrorFrame("look", "There is no such model.")]
    backstage.do("look", mistaken)
    (frame,) = wait_for(mailbox)
    assert "ZeroDivisionError: of ours" in frame.sentence
    assert "Traceback" in frame.details


def test_closing_cancels_what_checks(mailbox: Mailbox) -> None:
    backstage, begun = Backstage(mailbox), threading.Event()

    def endless(check, post) -> None:
        while True:
            begun.set()
            check()
            time.sleep(0.005)

    backstage.do("look", endless)
    assert begun.wait(5)
    assert backstage.close(2.0)
    assert mailbox.drain() == []


def test_closing_does_not_wait_for_ever(mailbox: Mailbox) -> None:
    backstage, begun, go_on = Backstage(mailbox), threading.Event(), threading.Event()
    backstage.do("look", lambda check, post: (begun.set(), go_on.wait(10)))
    assert begun.wait(5)
    assert not backstage.close(0.05)
    go_on.set()
    assert backstage.close(5.0)
