"""The room of a panel: nothing in it is cut off where it is given too little, and it asks for no more than it may."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QApplication, QLabel, QSplitter, QVBoxLayout, QWidget

from app.widgets.least import Part, least_height, least_width
from app.widgets.pages import Pages
from app.widgets.room import Room
from app.widgets.turning import TurningSplitter


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


def test_lines_that_wrap_are_counted_at_the_width_that_there_is(room: Room, qtbot) -> None:
    part = content(room).part
    part.setMinimumSize(0, 0)
    part.setWordWrap(True)
    part.setText("word " * 60)
    room.resize(500, 400)
    wide = room.minimumSizeHint().height()
    room.resize(150, 400)
    assert room.minimumSizeHint().height() == part.heightForWidth(150) > wide
    room.resize(150, wide)
    qtbot.waitUntil(room.verticalScrollBar().isVisible)
    assert not room.horizontalScrollBar().isVisible()
    assert content(room).height() >= part.heightForWidth(content(room).width())


def test_a_part_of_a_splitter_keeps_all_its_lines(qtbot) -> None:
    split, part, label = QSplitter(Qt.Orientation.Vertical), Part(), QLabel("word " * 40, wordWrap=True)
    qtbot.addWidget(split)
    column = QVBoxLayout(part)
    column.addWidget(label)
    for widget in (part, QWidget()):
        split.addWidget(widget)
    split.setChildrenCollapsible(False)
    split.resize(120, 2000)
    split.show()
    split.setSizes([1, 10_000])
    QApplication.processEvents()
    split.setSizes([1, 10_000])
    assert label.height() >= label.heightForWidth(label.width())


def test_pages_behind_ask_for_no_room_but_a_picture_without_figures_is_counted(qtbot) -> None:
    picture = QLabel("x")
    picture.setMinimumSize(300, 200)
    pages = Pages(picture)
    qtbot.addWidget(pages)
    pages.say("short")
    assert pages.minimumSizeHint().width() < 300
    assert least_width(pages) < 300
    assert least_height(pages, 300) < 200
    assert least_width(pages, filled=True) == 300
    assert least_height(pages, 300, filled=True) == 200
    pages.say("")
    assert pages.minimumSizeHint().width() == 300


def test_parts_without_room_beside_each_other_go_below(qtbot) -> None:
    split = TurningSplitter(narrow=True)
    room = Room(split)
    qtbot.addWidget(room)
    for wide in (300, 200):
        part = QLabel("x")
        part.setMinimumWidth(wide)
        split.addWidget(part)
    room.show()
    assert room.minimumSizeHint().width() == 300
    for width, orientation in (
        (700, Qt.Orientation.Horizontal),
        (400, Qt.Orientation.Vertical),
        (700, Qt.Orientation.Horizontal),
    ):
        room.resize(width, 100)
        QApplication.processEvents()
        assert split.orientation() == orientation
        assert not room.horizontalScrollBar().isVisible()


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
