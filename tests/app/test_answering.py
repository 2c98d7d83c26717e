"""Answers while idle are given up when something more important waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.answering import Answering
from app.mailbox import Mailbox
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
    answering.answer_now(session, inquiry, lambda: False)
    assert session.slices == 10
    assert [type(frame) for frame in box.drain()] == [AnswerFrame]


def test_it_is_given_up_between_slices_when_something_else_waits() -> None:
    box, session = Mailbox(), Slow()
    answering = Answering(box)
    inquiry = answering.inquiries.put("attention.grid", AskAttentionGrid(0), standing=True)
    answering.answer_now(session, inquiry, lambda: session.slices >= 3)
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

    answering.answer_now(session, inquiry, replace_after_two)
    assert session.slices == 3  # the one under way when it was replaced
    assert box.drain() == []
