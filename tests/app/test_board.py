"""Questions of visible panels only, each with its ticket; nothing stale reaches a panel."""

from __future__ import annotations

import pytest

from app.board import Board
from app.cursor import Cursor
from app.panels.panel import Context
from app.run import Run
from app.theme import DARK
from engine.frames import AnswerFrame, ExactValue
from engine.questions import AskAttentionGrid, AskCacheState, AskInventory
from tests.app.conftest import panel_class


class Ledger:
    """Writes down what the board asks of the worker."""

    def __init__(self) -> None:
        self.watched: dict = {}
        self.asked: list = []
        self.ticket = 0

    def watch(self, key, question) -> int:
        self.ticket += 1
        self.watched[key] = question
        return self.ticket

    def ask(self, key, question) -> int:
        self.ticket += 1
        self.asked.append((key, question))
        return self.ticket


@pytest.fixture
def board(qtbot):
    ledger = Ledger()
    made = Board(ledger)
    context = Context(Run(), Cursor(), DARK, made.ask)
    panels = [panel_class(key)(context) for key in ("a", "b")]
    for panel in panels:
        qtbot.addWidget(panel)
    made.add(panels)
    made.set_shown("a", True)
    return made, ledger, *panels


def answer(key: str, ticket: int) -> AnswerFrame:
    return AnswerFrame(key, ticket, 0, ExactValue("pattern", (), 1.0, "captured"))


def test_watches_follow_visibility(board) -> None:
    made, ledger, a, b = board
    a.asked, b.asked = {"a.x": AskCacheState()}, {"b.x": AskCacheState()}
    made.sync()
    assert ledger.watched == {"a.x": AskCacheState()}
    made.set_shown("b", True)
    made.set_shown("a", False)
    assert ledger.watched == {"a.x": None, "b.x": AskCacheState()}


def test_an_unchanged_watch_is_not_sent_again(board) -> None:
    made, ledger, a, _ = board
    a.asked = {"a.x": AskAttentionGrid(1)}
    made.sync()
    made.sync()
    assert ledger.ticket == 1
    a.asked = {"a.x": AskAttentionGrid(2)}
    a.watches_changed.emit()
    assert ledger.watched == {"a.x": AskAttentionGrid(2)}


def test_only_the_newest_ticket_reaches_the_panel(board) -> None:
    made, _, a, _ = board
    for layer in (1, 2):
        a.asked = {"a.x": AskAttentionGrid(layer)}
        made.sync()
    assert not made.complete
    assert not made.show_answer(answer("a.x", 1))
    assert made.show_answer(answer("a.x", 2))
    assert len(a.answers) == 1
    assert made.complete


def test_a_mark_asks_for_every_watch_anew(board) -> None:
    made, _, a, _ = board
    a.asked = {"a.x": AskCacheState()}
    made.sync()
    made.show_answer(answer("a.x", 1))
    made.mark()
    assert not made.complete


def test_a_single_question_goes_to_its_panel(board) -> None:
    made, ledger, a, b = board
    b.context.ask("b.value", AskCacheState())
    assert ledger.asked == [("b.value", AskCacheState())]
    assert made.show_answer(answer("b.value", ledger.ticket))
    assert (a.answers, len(b.answers)) == ([], 1)


def test_after_another_model_old_answers_reach_nobody(board) -> None:
    made, ledger, a, _ = board
    a.asked = {"a.x": AskCacheState()}
    made.sync()
    made.forget()
    assert ledger.watched == {"a.x": None}
    assert not made.show_answer(answer("a.x", 1))
    assert made.complete


def test_what_was_asked_about_files_reaches_a_panel_that_was_hidden_meanwhile(board) -> None:
    """It asks once only, so an answer that is lost never comes again; one about the run means nothing any more."""
    made, _, a, _ = board
    for question, seen in ((AskInventory("x"), 1), (AskCacheState(), 0)):
        a.answers.clear()
        made.set_shown("a", True)
        made.ask("a.once", question)
        assert not made.complete
        made.set_shown("a", False)
        for piece in made.pieces(False, [answer("a.once", made._tickets["a.once"])]):
            piece()
        assert len(a.answers) == seen
        assert made.complete  # nothing on screen waits for it


def test_no_run_makes_a_question_about_files_void(board) -> None:
    """A picture is complete only once it is answered, though a run has begun or ended meanwhile."""
    made, _, a, _ = board
    made.ask("a.once", AskInventory("x"))
    made.ask("a.exact", AskCacheState())
    made.mark()
    assert made.show_answer(answer("a.once", made._tickets["a.once"]))
    assert made.complete
    made.ask("a.once", AskInventory("y"))
    made.mark()
    assert not made.complete
    assert len(a.answers) == 1
