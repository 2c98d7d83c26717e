"""The map that one can go into: wheel, rectangle, keys; and back one step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication

from app.theme import DARK
from app.widgets.axis import Axis, row_labels
from app.widgets.bars import BarChart, Bars
from app.widgets.heatmap import Cells
from app.widgets.scale import Scale
from app.widgets.zoom_map import View, ZoomMap

N = 1000


@pytest.fixture
def shown(qtbot: Any) -> ZoomMap:
    """A map of 1,000 x 1,000 entries, ten to a cell."""
    made = ZoomMap(DARK, "map", lambda row, column: f"{row} {column}")
    qtbot.addWidget(made)
    made.resize(500, 400)
    made.set_extent(N, N)
    bring(made)
    made.view_changed.connect(lambda: bring(made))
    made.show()
    qtbot.waitExposed(made)
    return made


def bring(made: ZoomMap) -> None:
    """Show cells of the part that is wanted, a tenth of its entries along an axis."""
    view = made.view or View((0, N), (0, N))
    axes = []
    for start, stop in (view.rows, view.columns):
        block = max(1, (stop - start) // 100)
        axes.append(Axis("", -(-(stop - start) // block), str, block=block, first=start))
    values = np.zeros((axes[0].count, axes[1].count), np.float32)
    made.show_cells(Cells(values, axes[0], axes[1], Scale(0, 1, "linear", "viridis", "weight")))
    made.settle()


def turn(made: ZoomMap, notches: float, place: QPointF | None = None) -> bool:
    at = place or made.plot.center()
    modifiers, phase = Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    delta = QPoint(0, round(120 * notches))
    event = QWheelEvent(at, made.mapToGlobal(at), QPoint(), delta, Qt.MouseButton.NoButton, modifiers, phase, False)
    QApplication.sendEvent(made, event)
    return event.isAccepted()


def drag(qtbot: Any, made: ZoomMap, first: tuple[int, int], last: tuple[int, int]) -> None:
    start, stop = made.box(*first).center().toPoint(), made.box(*last).center().toPoint()
    qtbot.mousePress(made, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(made, (start + stop) / 2)
    qtbot.mouseMove(made, stop)
    qtbot.mouseRelease(made, Qt.MouseButton.LeftButton, pos=stop)


def test_the_wheel_goes_in_around_the_mouse_and_out_again(shown: ZoomMap) -> None:
    place = shown.plot.topLeft() + QPointF(shown.plot.width() * 0.8, shown.plot.height() * 0.2)
    assert turn(shown, 2, place)
    assert shown.view == View((100, 600), (400, 900))
    turn(shown, -2, place)
    assert shown.view is None
    assert turn(shown, -1, place), "the whole is the most there is"
    assert shown.view is None


def test_turning_on_is_one_step_back(shown: ZoomMap) -> None:
    for _ in range(5):
        turn(shown, 1)
    assert shown.view is not None
    assert shown.back()
    assert shown.view is None
    assert not shown.back()


def test_a_touchpad_that_turns_by_little_goes_in_too(shown: ZoomMap) -> None:
    for _ in range(20):
        turn(shown, 0.1)
    assert shown.view is not None
    rows = shown.view.rows
    assert 450 < rows[1] - rows[0] < 550


def test_a_rectangle_is_gone_into_and_picks_nothing(qtbot: Any, shown: ZoomMap) -> None:
    picked: list[tuple[int, int]] = []
    shown.cell_picked.connect(lambda *cell: picked.append(cell))
    drag(qtbot, shown, (20, 30), (39, 69))
    assert shown.view == View((200, 400), (300, 700))
    drag(qtbot, shown, (50, 50), (10, 10))
    assert shown.view == View((220, 302), (340, 504)), "block 2 and block 4, drawn from below"
    assert picked == []
    assert shown.back()
    assert shown.view == View((200, 400), (300, 700))
    assert shown.back()
    assert shown.view is None


def test_a_click_still_picks_and_a_double_click_is_for_the_panel(qtbot: Any, shown: ZoomMap) -> None:
    picked: list[tuple[int, int]] = []
    shown.cell_picked.connect(lambda *cell: picked.append(cell))
    where = shown.box(4, 7).center().toPoint()
    qtbot.mouseClick(shown, Qt.MouseButton.LeftButton, pos=where)
    assert picked == [(4, 7)]
    qtbot.mouseDClick(shown, Qt.MouseButton.LeftButton, pos=where)
    assert shown.view is None


def test_keys_go_in_around_the_picked_cell_and_to_the_whole(qtbot: Any, shown: ZoomMap) -> None:
    shown.pick(10, 90)
    qtbot.keyClick(shown, Qt.Key.Key_Plus)
    assert shown.view is not None
    rows, columns = shown.view.rows, shown.view.columns
    assert rows[0] < 105 < rows[1]
    assert columns[0] < 905 < columns[1]
    assert (rows[1] - rows[0], columns[1] - columns[0]) == (500, 500)
    qtbot.keyClick(shown, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert shown.view.rows == (rows[0] + 250, rows[1] + 250)
    qtbot.keyClick(shown, Qt.Key.Key_Minus)
    assert shown.view is None or shown.view.rows[1] - shown.view.rows[0] == N
    qtbot.keyClick(shown, Qt.Key.Key_Plus)
    qtbot.keyClick(shown, Qt.Key.Key_0)
    assert shown.view is None
    qtbot.keyClick(shown, Qt.Key.Key_Right)
    assert shown.cell == (10, 91), "arrow keys move the picked cell as before"


def test_no_part_is_smaller_than_eight_entries_or_outside(qtbot: Any, shown: ZoomMap) -> None:
    for _ in range(40):
        turn(shown, 1, shown.plot.bottomRight() - QPointF(1, 1))
    assert shown.view is not None
    for start, stop in (shown.view.rows, shown.view.columns):
        assert (stop - start, stop <= N) == (8, True)
    shown.set_extent(990, 990)  # the run went back
    assert shown.view is None


def test_hovering_and_an_empty_map_want_nothing(qtbot: Any, shown: ZoomMap) -> None:
    wanted: list[None] = []
    shown.view_changed.connect(lambda: wanted.append(None))
    shown.on_move(shown.box(3, 3).center())
    shown.show_cells(None)
    assert not turn(shown, 1)
    qtbot.keyClick(shown, Qt.Key.Key_Plus)
    assert wanted == []


def test_something_else_is_shown_as_a_whole(shown: ZoomMap) -> None:
    turn(shown, 1)
    shown.forget()
    assert shown.view is None
    assert not shown.back()


def test_an_axis_that_begins_later_is_named_by_its_entries(qtbot: Any, shown: ZoomMap) -> None:
    """Numbers at round ones, texts with their index; cell 0 is the first entry of the part."""
    metrics = shown.metrics()
    numbers = row_labels(Axis("", 100, str, numbers=True, block=5, first=203), 2.0, metrics, 200.0)
    assert all(int(text) % 50 == 0 for text in numbers.texts)
    assert [(int(text) - 203) // 5 for text in numbers.texts] == list(numbers.cells)
    texts = row_labels(Axis("", 4, lambda entry: f"token{entry}", first=203), metrics.height() * 2, metrics, 200.0)
    assert texts.texts == ("203 token203", "204 token204", "205 token205", "206 token206")


def test_bars_with_signs_begin_at_zero(qtbot: Any) -> None:
    chart = BarChart(DARK, "bars", str)
    qtbot.addWidget(chart)
    chart.resize(300, 200)
    values = np.array([2.0, -2.0, 0.0, 1.0], np.float32)
    chart.show_bars(Bars(values, Axis("", 4, str), Scale(-2, 2, "linear", DARK.diverging, "score")))
    chart.show()
    qtbot.waitExposed(chart)
    picture, middle = chart.grab().toImage(), chart.plot.center().y()

    def filled(place: int, up: float) -> bool:
        x = chart.plot.left() + (place + 0.5) * chart.plot.width() / 4
        return picture.pixelColor(QPointF(x, middle - up * chart.plot.height() / 2).toPoint()).name() == DARK.attention

    expected = {(0, 0.7): True, (0, -0.3): False, (1, -0.7): True, (1, 0.3): False, (2, 0.1): False, (3, 0.3): True}
    expected[3, 0.8] = False
    assert {where: filled(*where) for where in expected} == expected


def bar_chart(qtbot, lines: float) -> BarChart:
    """Of eight words that fit only rotated, so many lines high."""
    chart = BarChart(DARK, "bars", str)
    qtbot.addWidget(chart)
    values = np.full(8, 0.5, np.float32)
    chart.show_bars(Bars(values, Axis("", 8, lambda n: f"wordily {n}"), Scale(0, 1, "root", DARK.sequential, "w")))
    chart.resize(300, round(lines * chart.metrics().height()))
    chart.show()
    chart.grab()
    return chart


@pytest.mark.parametrize("lines", [5, 6, 8, 12, 30])
def test_bars_keep_a_height_that_can_be_read_however_long_the_words(qtbot, lines: float) -> None:
    chart = bar_chart(qtbot, lines)
    assert chart.plot.height() >= 1.9 * chart.metrics().height()


@pytest.mark.parametrize(("lines", "words"), [(5, "0"), (12, "wordily 0")])
def test_where_words_have_no_room_the_index_says_which_bar_it_is(qtbot, lines: float, words: str) -> None:
    assert bar_chart(qtbot, lines)._labels.texts[0] == words
