"""Words kept as pixmaps, parts of pictures kept, labels that leave the layout alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QObject, QRectF, Qt
from PySide6.QtGui import QFont, QImage, QPixmap
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from app.theme import DARK, apply
from app.widgets.canvas import Canvas
from app.widgets.lettering import CENTRE, LEFT, RIGHT, Painter, metrics_of, put, put_rotated
from app.widgets.still_label import StillLabel
from app.widgets.value_label import ValueLabel


def written(text: str, where: Qt.AlignmentFlag, wide: float = 200, turned: bool = False) -> np.ndarray:
    """Where there is ink: bool [200, 200]."""
    sheet = QPixmap(200, 200)
    sheet.fill(Qt.GlobalColor.transparent)
    painter = Painter(sheet, metrics_of(QFont("Inter", 10)))
    box = QRectF(0, 0, 200, wide) if turned else QRectF(0, 0, wide, 200)
    (put_rotated if turned else put)(painter, box, text, where, "#ffffff")
    painter.end()
    image = sheet.toImage().convertToFormat(QImage.Format.Format_ARGB32)
    return np.frombuffer(image.constBits(), np.uint32).reshape(200, 200) >> 24 > 0


def test_the_second_time_a_word_looks_as_the_first(qapp: Any) -> None:
    apply(DARK, qapp)
    for where in (LEFT, CENTRE, RIGHT):
        first, second = written("word 0.12 %", where), written("word 0.12 %", where)
        assert first.any()
        assert (first == second).all()


def test_a_text_stays_in_its_box_and_turns_upwards(qapp: Any) -> None:
    apply(DARK, qapp)
    long = "a text that is far too long for its box"
    for turned in (False, True):
        ink = written(long, RIGHT, 60, turned)
        along = ink.any(1) if turned else ink.any(0)
        assert along.any()
        assert not along[61:].any()
    lying, upright = written("word", CENTRE), written("word", CENTRE, turned=True)
    assert np.ptp(np.nonzero(lying)[1]) == np.ptp(np.nonzero(upright)[0])


def test_a_part_is_drawn_again_only_for_another_key(qtbot: Any) -> None:
    class Picture(Canvas):
        key, drawn = 0, 0

        def draw(self, painter: Painter) -> None:
            self.part(painter, "part", QRectF(0, 0, 50, 20), self.key, lambda own: self.draw_part())

        def draw_part(self) -> None:
            self.drawn += 1

    picture = Picture(DARK)
    qtbot.addWidget(picture)
    for key, drawn in ((0, 1), (0, 1), (1, 2), (1, 2)):
        picture.key = key
        picture.refresh()
        picture.grab()
        assert picture.drawn == drawn


def test_a_new_text_moves_the_layout_only_when_it_needs_more_room(qtbot: Any) -> None:
    class Requests(QObject):
        count = 0

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
            self.count += event.type() == QEvent.Type.LayoutRequest
            return False

    window, label, requests = QWidget(), StillLabel(wrap=True), Requests()
    qtbot.addWidget(window)
    QVBoxLayout(window).addWidget(label)
    window.resize(120, 200)
    label.setText("one line")
    window.show()
    qtbot.waitExposed(window)
    qtbot.wait(20)  # what showing it asked for
    window.installEventFilter(requests)
    label.setText("another")
    qtbot.wait(20)
    assert (requests.count, label.text()) == (0, "another")
    label.setText("words that need several lines of so narrow a window, and then some more of them")
    qtbot.wait(20)
    assert requests.count > 0
    assert label.height() >= label.label.heightForWidth(label.width())


def test_a_text_without_room_ends_with_dots_and_comes_back(qtbot: Any) -> None:
    still = StillLabel(elide=True)
    qtbot.addWidget(still)
    still.resize(60, 20)
    still.setText("position 16: entropy 2.893")
    still.show()
    qtbot.waitExposed(still)
    assert isinstance(still.label, ValueLabel)
    assert still.label.shown().endswith("…")
    assert still.label.shown().startswith("pos")
    narrow, plain = still.grab().toImage(), QLabel(still.label.shown())
    plain.setStyleSheet(still.label.styleSheet())
    qtbot.addWidget(plain)
    plain.resize(60, 20)
    assert narrow == plain.grab().toImage(), "it looks as a label of the shorter text"
    assert still.text() == "position 16: entropy 2.893"
    still.resize(600, 20)
    assert still.label.shown() == still.text()
