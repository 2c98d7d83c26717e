"""Long words in fields: lines are broken before they are laid out, without a change of the text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QMimeData
from PySide6.QtGui import QTextOption
from PySide6.QtWidgets import QPlainTextEdit

from app.run_bar import PromptField
from app.widgets.line_breaks import LONGEST, longest_word
from app.widgets.note_form import NoteField

ANYWHERE, AT_WORDS = QTextOption.WrapMode.WrapAnywhere, QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere
MANY = 200_000


@pytest.fixture(params=[PromptField, NoteField])
def field(request: pytest.FixtureRequest, qtbot) -> QPlainTextEdit:
    made = request.param()
    qtbot.addWidget(made)
    made.resize(400, 60)
    made.show()
    return made


def paste(field: QPlainTextEdit, text: str) -> None:
    data = QMimeData()
    data.setText(text)
    field.insertFromMimeData(data)


@pytest.mark.parametrize("put", [paste, QPlainTextEdit.setPlainText, QPlainTextEdit.insertPlainText])
def test_a_long_word_is_broken_anywhere_and_stays_as_it_is(
    field: QPlainTextEdit, put: Callable[[QPlainTextEdit, str], None]
) -> None:
    laid_out = []
    field.document().documentLayout().documentSizeChanged.connect(lambda _: laid_out.append(field.wordWrapMode()))
    put(field, "x" * MANY)
    assert field.wordWrapMode() == ANYWHERE
    assert set(laid_out) == {ANYWHERE}  # and never as one word, which takes Qt seconds
    assert field.toPlainText() == "x" * MANY
    field.insertPlainText("y")
    assert field.wordWrapMode() == ANYWHERE
    assert len(field.toPlainText()) == MANY + 1


def test_it_can_be_taken_back_and_words_are_whole_again(field: QPlainTextEdit) -> None:
    field.insertPlainText("two words ")
    paste(field, "x" * MANY)
    field.undo()
    assert field.toPlainText() == "two words "
    assert field.wordWrapMode() == AT_WORDS


@pytest.mark.parametrize("text", ["word " * (MANY // 5), "国" * MANY, "x" * LONGEST, "x\n" * MANY])
def test_texts_with_places_to_break_keep_their_words(field: QPlainTextEdit, text: str) -> None:
    paste(field, text)
    assert field.wordWrapMode() == AT_WORDS
    assert field.toPlainText() == text


@pytest.mark.parametrize(
    ("text", "longest"),
    [("", 0), ("abc", 3), ("a bcd\tef\nghij", 4), ("国国国ab国", 2), ("a-b_c.d", 7), ("😀😀😀", 3)],
)
def test_the_longest_word(text: str, longest: int) -> None:
    assert longest_word(text) == longest
