"""Answers about branch A wait here for those about branch B, and the other way round."""

from __future__ import annotations

from app.compare import PAIRED, Other, of_both
from engine.frames import Answer, AnswerFrame
from engine.questions import Question

OF_OTHER = "@B"  # ends the keys of questions about the other branch


class Pairs:
    """The two answers to each question that was asked of both branches."""

    def __init__(self, other: Other) -> None:
        self.other = other
        self._questions: dict[str, Question] = {}
        self._halves: dict[str, dict[str, Answer]] = {}

    def lacks(self, question: Question) -> bool:
        """Whether a question is about a place that one of the branches has not."""
        return isinstance(question, PAIRED) and of_both(question, self.other.n) is None

    def ask(self, key: str, question: Question) -> dict[str, Question]:
        """What is to be asked, by full key: of both branches, or of A alone; nothing where one of them lacks the
        place."""
        if not isinstance(question, PAIRED):
            return {key: question}
        common = of_both(question, self.other.n)
        if self._questions.get(key) != common:
            self._halves.pop(key, None)
        if common is None:
            self._questions.pop(key, None)
            return {}
        self._questions[key] = common
        return {key: common, key + OF_OTHER: common}

    def holds(self, key: str) -> bool:
        """Whether a full key is of one half of a pair."""
        return key.removesuffix(OF_OTHER) in self._questions

    def take(self, frame: AnswerFrame) -> tuple[str, Answer, Answer] | None:
        """The key and both answers, once they are there and whole."""
        key = frame.key.removesuffix(OF_OTHER)
        if not frame.whole:
            return None
        halves = self._halves.setdefault(key, {})
        halves["B" if frame.key.endswith(OF_OTHER) else "A"] = frame.answer
        return (key, halves["A"], halves["B"]) if len(halves) == 2 else None


def is_of_other(key: str) -> bool:
    """Whether a full key asks about the other branch."""
    return key.endswith(OF_OTHER)
