"""The token strip: what boxes say, where they lie, what click, keys and menu do, and what an update costs."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import theme as themes
from app.panels.token_strip import TokenStrip
from app.run import Run, written
from app.theme import DARK, LIGHT, lut
from app.widgets.lines import Lines
from engine.frames import RunFrame, Where
from tests.app.made_runs import ODD, WORDS, context, generated, grow, piece, prompted


def strip_of(qtbot: QtBot, qapp: QApplication, run: Run, width: int = 900, height: int = 160) -> TokenStrip:
    themes.apply(DARK, qapp, 10.0)
    strip = TokenStrip(context(run))
    strip.context.cursor.pinned_changed.connect(strip.show_cursor)
    strip.context.cursor.hover_changed.connect(strip.show_cursor)
    qtbot.addWidget(strip)
    strip.resize(width, height)
    strip.show()
    strip.show_run()
    return strip


def centre(strip: TokenStrip, position: int) -> QPoint:
    return strip.view.box(position).center().toPoint()


def click(qtbot: QtBot, strip: TokenStrip, position: int) -> None:
    qtbot.mouseClick(strip.view.viewport(), Qt.MouseButton.LeftButton, pos=centre(strip, position))


# -- lines ---------------------------------------------------------------------------------------------------------


def test_boxes_wrap_and_are_found_again() -> None:
    lines = Lines(width=100, gap=5)
    for width in (40, 50, 30, 100, 500, 10):
        lines.add(width)
    assert [lines.place(i)[0] for i in range(6)] == [0, 0, 1, 2, 3, 4]
    assert lines.place(1)[1:] == (45, 50)
    assert lines.place(4)[2] == 100  # narrowed to the line
    for index in range(6):
        line, left, width = lines.place(index)
        assert lines.at(line, left) == index
        assert lines.at(line, left + width - 0.01) == index
    assert lines.at(0, 42) is None
    assert lines.at(0, 99) is None
    assert lines.at(9, 0) is None
    assert lines.nearest(0, 90) == 1


def test_a_lead_keeps_room_before_its_box() -> None:
    lines = Lines(width=100, gap=5)
    lines.add(20, lead=30)
    lines.add(30)
    lines.add(10, lead=20)
    assert [lines.place(i)[:2] for i in range(3)] == [(0, 30), (0, 55), (1, 20)]
    assert lines.at(0, 10) is None


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Paris", "␣Paris"),
        ("\n\t", "⏎⇥"),
        ("", "∅"),
        ("\x07", "\\x07"),
        ("\ufffd", "\\xf0\\x9f"),
        ("\u0301", "◌\u0301"),
        ("é", "é"),
        ("שלום", "שלום"),
        ("<b>", "<b>"),
    ],
)
def test_every_token_is_seen(text: str, expected: str) -> None:
    assert written(piece(text, 0, 0)) == expected


def test_tool_tip_tells_all_and_escapes(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted(("<b>", "é"))
    grow(run, " Paris", 0.77254, rank=2)
    tip = strip_of(qtbot, qapp, run).tip
    assert "&lt;b&gt;" in tip(0)
    assert "c3 a9" in tip(1)
    for words in ("␣Paris", "20 50 61 72 69 73", "0.77254", "5 … 11", "not read yet", "rank", ">3<"):
        assert words in tip(2), words


def test_values_are_those_of_the_run(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted()
    grow(run, " Paris", 0.75)
    values = strip_of(qtbot, qapp, run).values()
    np.testing.assert_array_equal(values["ids"], [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(values["probabilities"], [np.nan] * 5 + [0.75])
    np.testing.assert_array_equal(values["byte_ranges"][-2:], [[21, 24], [24, 30]])


def test_without_a_run_it_says_what_to_do(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, Run())
    assert "No model" in strip.view.empty_text
    assert strip.values()["byte_ranges"].shape == (0, 2)
    assert strip.badge() == strip.caption() == ""


# -- colours and marks ---------------------------------------------------------------------------------------------


def pixels(strip: TokenStrip, position: int) -> set[str]:
    picture = strip.view.viewport().grab().toImage()
    box = strip.view.box(position).adjusted(3, 3, -3, -3).toAlignedRect()
    return {picture.pixelColor(x, box.top()).name() for x in range(box.left(), box.right())}


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_colour_is_the_probability(qtbot: QtBot, qapp: QApplication, probability: float) -> None:
    run = prompted()
    grow(run, " Paris", probability)
    expected = QColor(int(lut(DARK.sequential)[round(probability * 255)]) & 0xFFFFFF).name()
    assert expected in pixels(strip_of(qtbot, qapp, run), 5)


def test_prompt_is_neutral(qtbot: QtBot, qapp: QApplication) -> None:
    assert DARK.raised in pixels(strip_of(qtbot, qapp, generated(1)), 2)


def around(strip: TokenStrip, position: int) -> set[str]:
    """Colours of the middle of the four edges, a little outside and inside."""
    picture = strip.view.viewport().grab().toImage()
    box = strip.view.box(position)
    return {picture.pixelColor(int(box.center().x()), int(box.top()) + dy).name() for dy in (-2, -1, 0)}


def test_pinned_and_hovered_are_outlined(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(3))
    strip.context.cursor.pin(position=1)
    strip.context.cursor.hover(position=3)
    assert DARK.accent in around(strip, 1)
    assert DARK.hover in around(strip, 3)
    assert {DARK.accent, DARK.hover}.isdisjoint(around(strip, 2))


def test_positions_of_a_stopped_pass_are_marked(qtbot: QtBot, qapp: QApplication) -> None:
    run = generated(2)
    strip = strip_of(qtbot, qapp, run)
    assert strip.view.marks.reading == range(0)
    run.absorb(Where("paused", 2, "decode", 6, 7, 1, "rope"))
    strip.show_run()
    assert strip.view.marks.reading == range(6, 7)
    assert "being read now" in strip.tip(6)
    picture = strip.view.viewport().grab().toImage()
    below = strip.view.box(6)
    assert picture.pixelColor(int(below.center().x()), int(below.bottom()) + 3).name() == DARK.decode
    run.absorb(Where("running", 2, "decode", 6, 7, 1, "rope"))
    strip.show_run()
    assert strip.view.marks.reading == range(0)


def test_newest_is_not_read_yet(qtbot: QtBot, qapp: QApplication) -> None:
    run = generated(2)
    strip = strip_of(qtbot, qapp, run)
    assert strip.view.marks.n_read == 6
    assert "not read yet" in strip.tip(6)
    assert "not read yet" not in strip.tip(5)
    grow(run)
    strip.show_run()
    assert "not read yet" not in strip.tip(6)


# -- the cursor ----------------------------------------------------------------------------------------------------


def test_click_pins_and_click_again_frees(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(5))
    assert strip.chip.text() == "Live"
    assert not strip.chip.jump.isVisible()
    click(qtbot, strip, 3)
    assert strip.context.cursor.pinned.position == 3
    assert strip.chip.text() == "Looking at token 3 of 10, layer 0 · run goes on"
    assert strip.chip.jump.text() == "Jump to live"
    assert "␣France" in strip.view.accessibleDescription()
    click(qtbot, strip, 3)
    assert strip.context.cursor.pinned.position is None
    assert strip.chip.text() == "Live"


def test_double_click_and_the_button_free(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(5))
    click(qtbot, strip, 3)
    qtbot.mouseDClick(strip.view.viewport(), Qt.MouseButton.LeftButton, pos=centre(strip, 2))
    assert strip.context.cursor.pinned.position is None
    click(qtbot, strip, 4)
    strip.chip.jump.click()
    assert strip.context.cursor.pinned.position is None


def test_keys_move_the_pin(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(5))
    expected = [
        (Qt.Key.Key_Left, 8),
        (Qt.Key.Key_Left, 7),
        (Qt.Key.Key_Right, 8),
        (Qt.Key.Key_Home, 0),
        (Qt.Key.Key_Left, 0),
        (Qt.Key.Key_End, 9),
        (Qt.Key.Key_Right, 9),
        (Qt.Key.Key_Escape, None),
    ]
    for key, position in expected:
        qtbot.keyClick(strip.view, key)
        assert strip.context.cursor.pinned.position == position


@pytest.mark.parametrize("key", [Qt.Key.Key_Up, Qt.Key.Key_Down])
def test_a_key_between_a_new_token_and_its_picture(qtbot: QtBot, qapp: QApplication, key: Qt.Key) -> None:
    """The run has it, and the strip is told a moment later."""
    run = generated(20)
    strip = strip_of(qtbot, qapp, run)
    run.steps += generated(40).steps[len(run.steps) :]
    qtbot.keyClick(strip.view, key)
    assert 0 <= strip.context.cursor.pinned.position <= run.n_tokens - 1  # type: ignore[operator]


def test_up_and_down_go_by_lines(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(60), width=400)
    strip.context.cursor.pin(position=30)
    qtbot.keyClick(strip.view, Qt.Key.Key_Down)
    below = strip.context.cursor.pinned.position
    qtbot.keyClick(strip.view, Qt.Key.Key_Up)
    assert below is not None
    assert below > 31
    assert strip.view.box(below).top() > strip.view.box(30).top()
    assert strip.context.cursor.pinned.position in (29, 30, 31)


def test_hover_tells_cursor_and_status(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(2))
    said: list[str] = []
    strip.context.cursor.readout_changed.connect(said.append)
    qtbot.mouseMove(strip.view.viewport(), QPoint(1, 1))
    qtbot.mouseMove(strip.view.viewport(), centre(strip, 5))
    assert strip.context.cursor.hovered.position == 5
    assert "id 5" in said[-1]
    assert "probability 0" in said[-1]
    strip.view.hovered.emit(-1)
    assert strip.context.cursor.hovered.position is None
    assert said[-1] == ""


def test_menu_copies(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted(("caf", "\ufffd", " x"))
    strip = strip_of(qtbot, qapp, run)
    copied = []
    for action in strip.menu(2).actions():
        if not action.text().startswith("Copy"):
            continue
        action.trigger()
        copied.append(QGuiApplication.clipboard().text())
    assert copied == [" x", "2", b"caf\xf0\x9f x".decode("utf-8", "replace")]
    assert len(strip.menu(None).actions()) == 1


# -- growing, scrolling, cost --------------------------------------------------------------------------------------


def test_newest_stays_in_sight_until_something_is_pinned(qtbot: QtBot, qapp: QApplication) -> None:
    run = generated(200)
    strip = strip_of(qtbot, qapp, run, width=400)
    newest_visible = lambda: strip.view.viewport().rect().contains(centre(strip, run.n_tokens - 1))  # noqa: E731
    assert newest_visible()
    for _ in range(30):
        grow(run)
        strip.show_run()
    assert newest_visible()
    strip.context.cursor.pin(position=0)
    assert strip.view.viewport().rect().contains(centre(strip, 0))
    for _ in range(30):
        grow(run)
        strip.show_run()
    assert strip.view.viewport().rect().contains(centre(strip, 0))
    strip.context.cursor.follow()
    assert newest_visible()


def test_who_scrolls_away_is_left_alone(qtbot: QtBot, qapp: QApplication) -> None:
    run = generated(200)
    strip = strip_of(qtbot, qapp, run, width=400)
    strip.view.verticalScrollBar().setValue(40)
    grow(run)
    strip.show_run()
    assert strip.view.verticalScrollBar().value() == 40


def test_another_run_starts_afresh(qtbot: QtBot, qapp: QApplication) -> None:
    run = generated(50)
    strip = strip_of(qtbot, qapp, run)
    strip.context.cursor.pin(position=40)
    run.absorb(RunFrame(prompted(("a", "b")).prompt, 5, False))
    strip.show_run()
    assert len(strip.values()["ids"]) == 2
    assert strip.view.position_at(QPointF(centre(strip, 1))) == 1
    strip.view.show_position(40)  # a pin that lies beyond the new run is no error
    strip.grab()


def test_odd_tokens_keep_to_their_boxes(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted(ODD * 3)
    for text in ODD:
        grow(run, text)
    strip = strip_of(qtbot, qapp, run, width=500, height=500)
    room = strip.view.viewport().width()
    boxes = [strip.view.box(position) for position in range(run.n_tokens)]
    assert all(0 <= box.left() < box.right() <= room for box in boxes)
    assert len({box.height() for box in boxes}) == 1
    for one, next_one in pairwise(boxes):
        assert next_one.left() >= one.right() or next_one.top() >= one.bottom()
    assert not strip.picture().isNull()


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_theme_and_size_follow(qtbot: QtBot, qapp: QApplication, theme: themes.Theme) -> None:
    strip = strip_of(qtbot, qapp, generated(3), height=400)
    before = strip.view.box(2)
    strip.context.theme = theme
    themes.apply(theme, qapp, 20.0)
    strip.restyle()
    qapp.processEvents()
    assert strip.view.box(2).height() > 1.7 * before.height()
    assert theme.raised in pixels(strip, 2)
    picture: QImage = strip.picture()
    assert picture.size() == strip.size()
    themes.apply(DARK, qapp, 10.0)


def test_a_narrow_strip_drops_its_legend_and_never_widens_the_window(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(3), width=1000)
    assert strip.legend.isVisible()
    themes.apply(DARK, qapp, 20.0)
    strip.restyle()
    strip.resize(500, 200)
    qapp.processEvents()
    assert strip.width() == 500
    assert not strip.legend.isVisible()
    strip.resize(1600, 200)
    assert strip.legend.isVisible()
    themes.apply(DARK, qapp, 10.0)


def test_appending_costs_the_same_with_many_tokens(qtbot: QtBot, qapp: QApplication) -> None:
    def seconds(run: Run) -> float:
        strip, spent = strip_of(qtbot, qapp, run), []
        for _ in range(30):
            grow(run)
            start = time.perf_counter()
            strip.show_run()
            spent.append(time.perf_counter() - start)
        return sorted(spent)[15]

    few, many = seconds(generated(20)), seconds(generated(20, WORDS * 1600))
    assert many < 5 * few + 0.001
    assert many < 0.008


def test_only_visible_tokens_are_painted(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(0, WORDS * 1600))
    drawn: list[int] = []
    original = strip.view._draw
    strip.view._draw = lambda painter, position, box: (drawn.append(position), original(painter, position, box))
    strip.view.viewport().grab()
    assert 0 < len(drawn) < 200


def test_names_for_screen_readers(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(1))
    for widget in (strip, strip.view, strip.chip, strip.legend, strip.timeline, strip.timeline_button):
        assert widget.accessibleName()
