"""The room of a panel: nothing in it is cut off where it is given too little, and it asks for no more than it may."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSize
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from app.widgets.room import Room


class Content(QWidget):
    """Needs 300 x 200, and as much again once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.part = QLabel("x")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.part)
        self.part.setMinimumSize(300, 200)


@pytest.fixture
def room(qtbot) -> Room:
    made = Room(Content())
    qtbot.addWidget(made)
    made.resize(500, 400)
    made.show()
    qtbot.waitExposed(made)
    return made


def content(room: Room) -> Content:
    found = room.findChild(Content)
    assert found is not None
    return found


def test_the_content_has_all_of_it(room: Room) -> None:
    assert content(room).size() == QSize(500, 400)
    assert not room.horizontalScrollBar().isVisible()
    assert not room.verticalScrollBar().isVisible()


def test_less_than_the_content_needs_is_scrolled(room: Room, qtbot) -> None:
    room.resize(200, 400)
    qtbot.waitUntil(room.horizontalScrollBar().isVisible)
    assert content(room).width() == 300
    room.resize(200, 100)
    qtbot.waitUntil(room.verticalScrollBar().isVisible)
    assert content(room).size() == QSize(300, 200)


def test_it_asks_for_what_the_content_needs_and_for_no_more_than_it_may(room: Room) -> None:
    assert room.minimumSizeHint() == QSize(300, 200)
    room.set_most(QSize(150, 1000))
    assert room.minimumSizeHint() == QSize(150, 200)
    room.set_most(QSize(1000, 100))
    assert room.minimumSizeHint() == QSize(300 + room.verticalScrollBar().sizeHint().width(), 100)


def test_it_follows_a_content_that_needs_more(room: Room, qtbot) -> None:
    content(room).part.setMinimumSize(600, 200)
    qtbot.waitUntil(room.horizontalScrollBar().isVisible)
    assert content(room).width() == 600
    content(room).part.setMinimumSize(10, 10)
    qtbot.waitUntil(lambda: not room.horizontalScrollBar().isVisible())
    assert content(room).size() == QSize(500, 400)
