"""Answers while idle are given up when something more important waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from app.answering import TURN_S, Answering
from app.mailbox import Mailbox
from engine.errors import PositionError
from engine.frames import AnswerFrame
from engine.questions import AskAttentionGrid


class Slow:
    """A session whose answers take ten slices."""

    def __init__(self) -> None:
        self.slices = 0

    def answering(self, question: Any) -> Iterator[None]:
        for _ in range(10):
            self.slices += 1
            yield
        return question


def test_an_idle_answer_is_whole_when_nothing_hurries() -> None:
    box, session = Mailbox(), Slow()
    answering = Answering(box)
    inquiry = answering.inquiries.put("attention.grid", AskAttentionGrid(0), standing=True)
    assert not answering.answer_a_while(inquiry, session.answering(inquiry.question), lambda: False)
    assert session.slices == 10
    assert [type(frame) for frame in box.drain()] == [AnswerFrame]


def test_it_is_given_up_between_slices_when_something_else_waits() -> None:
    box, session = Mailbox(), Slow()
    answering = Answering(box)
    inquiry = answering.inquiries.put("attention.grid", AskAttentionGrid(0), standing=True)
    assert not answering.answer_a_while(inquiry, session.answering(inquiry.question), lambda: session.slices >= 3)
    assert session.slices == 3
    assert box.drain() == []
    assert answering.inquiries.wanted(inquiry)  # still open: answered when there is time


def test_it_is_given_up_once_a_newer_question_replaced_it() -> None:
    box, session = Mailbox(), Slow()
    answering = Answering(box)
    inquiry = answering.inquiries.put("attention.grid", AskAttentionGrid(0), standing=True)

    def replace_after_two() -> bool:
        if session.slices == 2:
            answering.inquiries.put("attention.grid", AskAttentionGrid(1), standing=True)
        return False

    assert not answering.answer_a_while(inquiry, session.answering(inquiry.question), replace_after_two)
    assert session.slices == 3  # the one under way when it was replaced
    assert box.drain() == []


def test_a_part_comes_before_the_whole_and_settles_nothing() -> None:
    box = Mailbox()
    answering = Answering(box)
    inquiry = answering.inquiries.put("attention.map", AskAttentionGrid(0), standing=False)

    def work() -> Iterator[Any]:
        yield "coarse"
        assert [(frame.answer, frame.whole) for frame in box.drain()] == [("coarse", False)]
        assert answering.inquiries.wanted(inquiry)
        yield
        return "fine"

    assert not answering.answer_a_while(inquiry, work(), lambda: False)
    assert [(frame.answer, frame.whole) for frame in box.drain()] == [("fine", True)]
    assert not answering.inquiries.wanted(inquiry)


def test_a_long_answer_gives_others_their_turn() -> None:
    answering = Answering(Mailbox())
    inquiry = answering.inquiries.put("attention.map", AskAttentionGrid(0), standing=False)

    def work() -> Iterator[None]:
        for _ in range(3):
            time.sleep(TURN_S)
            yield

    parts = work()
    assert answering.answer_a_while(inquiry, parts, lambda: False)
    assert answering.answer_a_while(inquiry, parts, lambda: False)
    assert not answering.answer_a_while(inquiry, parts, lambda: True)
    assert not list(parts), "hurried away from: the work is closed"


def test_a_place_of_a_run_that_has_gone_is_no_error() -> None:
    """A click in the moment in which a shorter run begins."""
    box = Mailbox()
    answering = Answering(box)
    inquiry = answering.inquiries.put("attention.row", AskAttentionGrid(0), standing=True)

    def work() -> Iterator[None]:
        yield
        raise PositionError("Position 78 does not exist; the run has positions 0 to 39.")

    assert not answering.answer_a_while(inquiry, work(), lambda: False)
    assert box.drain() == []
    assert not answering.inquiries.wanted(inquiry)
