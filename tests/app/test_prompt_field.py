"""The prompt's field: as high as its lines, then a scroll bar, which takes of the width that decides on both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication, QWidget

from app.run_bar import FEWEST_LINES, MOST_LINES, PromptField

TEXTS = ["the cat sat", "x" * 200, "你好 " * 30, "word " * 60, "aaaa bbbbbbbbbbbb cc " * 12, "one\ntwo"]


class Counting(PromptField):
    """Ends what would have no end."""

    fits = 0

    def fit(self) -> None:
        self.fits += 1
        assert self.fits < 100, "it asks itself for another height again and again"
        super().fit()


@pytest.fixture
def field(qtbot) -> Iterator[Counting]:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 1080)
    made = Counting()
    made.setParent(window)
    window.show()
    yield made
    window.hide()  # which holds it so long


def lines(field: PromptField) -> int:
    return round(field.document().size().height())


def seen_lines(field: PromptField) -> int:
    return field.height() // field.fontMetrics().lineSpacing()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("height", [400, 1080])
def test_it_settles_in_every_width(field: Counting, text: str, height: int) -> None:
    """Words may be broken so that there are more lines without the bar than beside it, or none at all beside it."""
    field.window().resize(900, height)
    field.setPlainText(text)
    for width in (*range(8, 330), *range(330, 7, -7)):
        field.fits = 0
        field.resize(width, field.height())
        QApplication.processEvents()
        least, bar = min(MOST_LINES, seen_lines(field)), field.verticalScrollBar()
        if field.viewport().width() > 2 * field.document().documentMargin():
            assert bar.isVisible() or lines(field) == least, width


def test_it_grows_with_its_lines_and_then_scrolls(field: PromptField) -> None:
    field.resize(300, field.height())
    for count in (1, 2, MOST_LINES, MOST_LINES + 1, 40, MOST_LINES, 1):
        field.setPlainText("\n".join("line" for _ in range(count)))
        QApplication.processEvents()
        assert seen_lines(field) == min(count, MOST_LINES)
        assert field.verticalScrollBar().isVisible() == (count > MOST_LINES)
    field.setPlainText("one\ntwo\nthree")
    field.window().resize(900, 300)
    field.fit()
    assert seen_lines(field) == FEWEST_LINES
    assert field.verticalScrollBar().isVisible()


def test_what_was_put_into_a_hidden_one_has_its_room_when_it_is_shown(field: PromptField) -> None:
    field.resize(120, field.height())
    field.hide()
    field.setPlainText("some words that need more than one line in a field as narrow as this one")
    field.show()
    QApplication.processEvents()
    assert seen_lines(field) == min(MOST_LINES, lines(field)) > 1
