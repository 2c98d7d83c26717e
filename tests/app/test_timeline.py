"""The timeline: figures of tokens, columns and their pixels, what mouse and keys do, and what a token costs."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import theme as themes
from app.panels.token_strip import TokenStrip
from app.run import Run
from app.theme import DARK, LIGHT, Theme
from app.token_figures import TokenFigures
from app.widgets import timeline_columns as cut
from app.widgets.timeline import nats_text, seconds_text
from app.widgets.timeline_button import TIMELINES
from engine.frames import EndFrame, Surprises, Where
from engine.questions import AskSurprise
from tests.app.made_runs import WORDS, context, generated, grow, prompted


def surprises(start: int, total: int, n: int | None = None) -> Surprises:
    """Surprise 1, 2, 3 … at positions 1, 2, 3 …, entropy half of it; nothing at position 0."""
    figures = np.arange(start, start + (total if n is None else n), dtype=np.float64)
    figures[figures == 0] = np.nan
    return Surprises(start, total, figures, figures / 2)


def long_run(n_prompt: int, n: int) -> Run:
    run = prompted([WORDS[index % 5] for index in range(n_prompt)])
    for index in range(n):
        grow(run, WORDS[index % 5], 0.05 + 0.9 * ((index * 7) % 11) / 10)
    return run


def strip_of(qtbot: QtBot, qapp: QApplication, run: Run, theme: Theme = DARK, size=(1000, 240)) -> TokenStrip:
    themes.apply(theme, qapp, 10.0)
    asked: list[tuple[str, object]] = []
    made = context(run)
    made.theme, made.ask = theme, lambda key, question: asked.append((key, question))
    strip = TokenStrip(made)
    strip.asked = asked
    made.unask = lambda key: asked.append((key, None))
    made.cursor.pinned_changed.connect(strip.show_cursor)
    made.cursor.hover_changed.connect(strip.show_cursor)
    qtbot.addWidget(strip)
    strip.resize(*size)
    strip.show()
    qtbot.waitExposed(strip)
    strip.show_run()
    qapp.processEvents()
    return strip


def over(run: Run) -> Run:
    run.absorb(EndFrame("limit"))
    return run


# -- figures -------------------------------------------------------------------------------------------------------


def test_figures_of_generated_tokens_are_those_of_their_steps() -> None:
    run, figures = prompted(), TokenFigures()
    grow(run, " Paris", 0.25)
    run.steps[0] = replace(run.steps[0], seconds=0.5, sampling=replace(run.steps[0].sampling, entropy_raw=1.75))
    assert figures.follow(run)
    assert figures.n == 6
    assert figures.surprise[5] == pytest.approx(-np.log(0.25))
    assert (figures.entropy[5], figures.seconds[5]) == (1.75, 0.5)
    assert np.isnan(figures.surprise[:5]).all()
    assert np.isnan(figures.seconds[:5]).all()
    assert not figures.follow(run)


def test_a_token_that_had_no_probability_is_infinitely_surprising() -> None:
    run, figures = prompted(), TokenFigures()
    grow(run, "x", 0.0)
    grow(run, "y", 1.0)
    figures.follow(run)
    assert figures.surprise[5:].tolist() == [np.inf, 0.0]


def test_figures_grow_beyond_every_size_and_start_afresh_with_a_run() -> None:
    run, figures = long_run(3, 700), TokenFigures()
    figures.follow(run)
    assert len(figures.surprise) == 703
    assert np.isfinite(figures.surprise[3:]).all()
    other = prompted()
    assert figures.follow(other)
    assert (figures.n, figures.prompt_known) == (5, 1)
    assert not np.isfinite(figures.surprise).any()


def test_answers_about_the_prompt_are_taken_in_order() -> None:
    figures = TokenFigures()
    figures.follow(prompted(WORDS * 4))
    assert figures.put(surprises(1, 19, 4))
    assert figures.prompt_known == 5
    assert not figures.put(surprises(1, 19, 3))  # less than before
    assert not figures.put(surprises(9, 11))  # what lies between is not known
    assert figures.put(surprises(1, 19))
    np.testing.assert_array_equal(figures.surprise[1:], np.arange(1, 20))
    np.testing.assert_array_equal(figures.entropy[1:], np.arange(1, 20) / 2)
    assert not figures.put(surprises(0, 40))  # of a longer prompt: another run's


# -- columns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "width", "block"),
    [(1, 900.0, 1), (5, 900.0, 1), (900, 900.0, 1), (901, 900.0, 2), (8000, 900.0, 9), (100_000, 900.0, 112)],
)
def test_columns_are_at_least_a_pixel_and_all_tokens_fit(room: int, width: float, block: int) -> None:
    made = cut.columns(room, width, 16)
    assert made.block == block
    assert made.step >= 1
    assert made.of(room - 1) * made.step < width + 1e-6
    assert made.positions(made.of(room - 1), room)[-1] == room - 1


def test_the_room_grows_by_steps_and_is_exact_in_the_end() -> None:
    rooms = [cut.room_for(n, 4000, over=False) for n in range(1, 4001)]
    assert all(room >= n for n, room in enumerate(rooms, 1))
    assert len(set(rooms)) < 14
    assert max(rooms) == 4000
    assert cut.room_for(70, 90, over=False) == 90
    assert cut.room_for(70, 90, over=True) == 70


def test_a_column_shows_the_largest_of_its_tokens() -> None:
    values = np.array([1, np.nan, 3, np.nan, np.nan, np.nan, 2.0])
    np.testing.assert_array_equal(cut.largest(values, 2), [1, 3, np.nan, 2])
    np.testing.assert_array_equal(cut.largest(values, 1), values)
    assert cut.peak(values, range(0, 4)) == 2
    assert cut.peak(values, range(3, 6)) == 3
    assert cut.peak(np.array([1.0, np.inf, 5.0]), range(0, 3)) == 1


def test_scales_end_at_round_figures_and_one_slow_pass_does_not_set_them() -> None:
    assert cut.top_of(np.array([0.5, np.nan, np.inf]), 2.0) == 2
    assert cut.top_of(np.array([10.2]), 2.0) == 12
    usual = np.full(200, 30.0)
    assert cut.usual_top(usual, 1.0) == 30
    usual[7] = 5000.0
    assert cut.usual_top(usual, 1.0) == 50
    assert cut.usual_top(np.array([np.nan]), 1.0) == 1


def test_bars_and_dashes_reach_their_heights() -> None:
    made = cut.columns(4, 40.0, 100)
    spread = cut.pixels(made, 4, 10.0, 1.0)
    bars = cut.bar_mask(spread, np.array([5.0, 0.001, 0.0, 20.0]), 10.0)
    assert bars[:, 3].sum() == 5
    assert bars[-1, 3]
    assert bars[:, 13].sum() == 1  # a little is a pixel
    assert bars[:, 23].sum() == 0
    assert bars[:, 33].sum() == 10  # cut off
    assert bars[:, 9].sum() == 0  # the gap
    dashes = cut.dash_mask(spread, np.array([5.0, np.nan, 0.0, 10.0]), 10.0, 2, joined=False)
    assert np.nonzero(dashes[:, 3])[0].tolist() == [4, 5]
    assert dashes[:, 13].sum() == 0
    assert np.nonzero(dashes[:, 23])[0].tolist() == [8, 9]
    assert np.nonzero(dashes[:, 33])[0].tolist() == [0, 1]
    joined = cut.dash_mask(spread, np.array([0.0, 10.0, 10.0, 10.0]), 10.0, 4, joined=True)
    assert [int(joined[:, pixel].sum()) for pixel in (9, 10, 11, 12)] == [4, 10, 10, 4], "half as wide as thick"
    beyond = cut.beyond_mask(spread, np.array([5.0, 0.0, np.nan, 20.0]), 10.0, 3)
    assert beyond[:, :30].sum() == 0
    assert beyond[:3, 33].all()


def test_texts_of_figures() -> None:
    assert [seconds_text(s) for s in (0.0382, 1.234, np.nan)] == ["38.2 ms", "1.23 s", ""]
    assert [nats_text(v) for v in (2.3025851, np.inf, np.nan)] == ["2.303 nats", "∞ nats", ""]


# -- in the strip --------------------------------------------------------------------------------------------------


def colours(strip: TokenStrip, position: int) -> set[str]:
    """Colours along the middle of a token's column."""
    picture = strip.timeline.grab().toImage()
    x = int(strip.timeline.column_box(position).center().x())
    plot = strip.timeline.plot
    return {picture.pixelColor(x, y).name() for y in range(int(plot.top()), int(plot.bottom()))}


def test_values_hold_the_arrays(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 3)))
    strip.show_answer("strip.surprise", surprises(1, 4))
    values = strip.values()
    np.testing.assert_array_equal(values["surprise"][:5], [np.nan, 1, 2, 3, 4])
    np.testing.assert_allclose(values["surprise"][5:], -np.log(values["probabilities"][5:]))
    np.testing.assert_array_equal(values["entropy"], [np.nan, 0.5, 1, 1.5, 2, 1, 1, 1])
    np.testing.assert_array_equal(values["seconds"], [np.nan] * 5 + [0.04] * 3)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_bars_have_the_colours_of_their_passes(qtbot: QtBot, qapp: QApplication, theme: Theme) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 3)), theme)
    assert theme.prefill not in colours(strip, 3)  # not computed yet
    strip.show_answer("strip.surprise", surprises(1, 4))
    assert theme.prefill in colours(strip, 3)
    assert theme.decode in colours(strip, 6)
    assert theme.text in colours(strip, 3)  # the dash of the entropy
    assert not {theme.prefill, theme.decode} & colours(strip, 0)
    themes.apply(DARK, qapp, 10.0)


def test_the_prompt_is_asked_about_at_rest_only_and_once(qtbot: QtBot, qapp: QApplication) -> None:
    run = long_run(160, 2)
    strip = strip_of(qtbot, qapp, run)
    assert strip.asked == []
    assert "paused or over" in strip.timeline.extent.waiting
    run.absorb(Where("paused", 2, "decode", 161, 162, 1, "rope"))
    strip.show_run()
    strip.show_run()
    assert strip.asked == [("strip.surprise", AskSurprise(1, 160))]
    assert strip.badge() == "captured"
    strip.show_answer("strip.surprise", surprises(1, 159, 20))
    strip.show_run()
    assert len(strip.asked) == 1  # the rest is still to come
    assert strip.badge() == "captured + recomputed"
    assert strip.figures.prompt_known == 21
    strip.show_answer("strip.surprise", surprises(1, 159))
    strip.show_run()
    assert strip.figures.prompt_known == 160
    assert [question for _, question in strip.asked[1:]] == [None]


def test_a_run_that_goes_on_is_not_held_up_and_the_rest_is_asked_later(qtbot: QtBot, qapp: QApplication) -> None:
    run = long_run(160, 2)
    strip = strip_of(qtbot, qapp, run)
    run.absorb(Where("paused", 2, "decode", 161, 162, 1, "rope"))
    strip.show_run()
    strip.show_answer("strip.surprise", surprises(1, 159, 20))
    run.absorb(Where("running", 2, "decode", 161, 162, 1, "rope"))
    strip.show_run()
    assert strip.asked[-1] == ("strip.surprise", None)
    over(run)
    strip.show_run()
    assert strip.asked[-1] == ("strip.surprise", AskSurprise(21, 160))
    another = prompted()
    strip.context.run = another
    strip.show_run()
    assert strip.asked[-1] == ("strip.surprise", None)


def test_a_short_prompt_is_asked_about_at_once_but_not_before_it_is_read(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted()
    strip = strip_of(qtbot, qapp, run)
    assert strip.asked == []
    grow(run)
    strip.show_run()
    assert strip.asked == [("strip.surprise", AskSurprise(1, 5))]
    another = Run()
    another.absorb(run.model)
    strip.context.run = another
    strip.show_run()
    assert strip.figures.n == 0


def test_a_folded_timeline_asks_nothing_and_gives_its_room_back(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(prompted()), size=(1000, 300))
    chosen: list[str] = []
    strip.timeline_chosen.connect(chosen.append)
    high = strip.view.height()
    strip.set_timeline("time")
    strip.fold_timeline()
    qapp.processEvents()
    assert not strip.timeline.isVisible()
    assert strip.view.height() > high
    grow(strip.context.run)
    strip.show_run()
    assert strip.asked == []
    strip.fold_timeline()
    assert (strip.timeline.isVisible(), strip.timeline.mode) == (True, "time")
    assert chosen == ["none", "time"]
    assert strip.asked == [("strip.surprise", AskSurprise(1, 5))]


@pytest.mark.parametrize("choice", TIMELINES)
def test_one_control_chooses(qtbot: QtBot, qapp: QApplication, choice: str) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 30)))
    strip.show_answer("strip.surprise", surprises(1, 4))
    with qtbot.waitSignal(strip.timeline_chosen) as told:
        next(a for a in strip.timeline_button.menu().actions() if a.data() == choice).trigger()
    assert told.args == [strip.timeline_choice] == [choice]
    assert strip.timeline_button.accessibleName()
    strip.timeline.settle()
    shown = {name for band in strip.timeline.bands for name in band.figures} if choice != "none" else set()
    expected = {"all": {"surprise", "entropy", "seconds"}, "time": {"seconds"}, "none": set()}.get(choice, {choice})
    assert shown == expected
    assert [action.data() for action in strip.timeline_button.menu().actions() if action.isChecked()] == [choice]


def test_an_unknown_choice_from_a_settings_file_is_all(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(3))
    for odd in ("", "ALL", "nothing", "\x00", "surprise;entropy"):
        strip.set_timeline(odd)
        assert strip.timeline_choice == "all"


def test_a_low_strip_keeps_its_tokens_and_can_shrink(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, generated(3), size=(1000, 400))
    assert strip.timeline.isVisible()
    strip.resize(1000, 90)
    qapp.processEvents()
    assert strip.height() == 90
    assert not strip.timeline.isVisible()
    assert strip.view.height() >= strip.view.lines_height(1)
    assert strip.badge() == "captured"
    assert "no room" in strip.timeline_button.text()
    strip.resize(1000, 200)
    assert "all" in strip.timeline_button.text()


def test_several_tokens_a_column_are_told(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(100, 3000)))
    block = strip.timeline.block
    assert block == 4
    assert "reduced ×4" in strip.badge()
    assert any("largest of 4 tokens" in words for _, words in strip.timeline.legend())
    place = strip.timeline.place_at(strip.timeline.column_box(2001).center())
    column = range(2000, 2004)
    assert place == max(column, key=lambda p: strip.figures.surprise[p])


def test_without_its_model_the_prompt_says_what_is_missing(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(160, 2)))
    assert strip.timeline.extent.waiting == "being computed"
    strip.set_need("This needs the model X.")
    assert strip.timeline.extent.waiting == "needs the model"


def test_inside_the_first_pass_nothing_is_said_to_be_computed(qtbot: QtBot, qapp: QApplication) -> None:
    run = prompted(WORDS)
    run.absorb(Where("paused", 0, "prefill", 0, run.n_prompt, 1, "rope"))
    strip = strip_of(qtbot, qapp, run)
    assert strip.timeline.extent.waiting == "once the prompt is read"
    assert strip.asked == []
    stopped = strip_of(qtbot, qapp, over(prompted(WORDS)))
    assert (stopped.timeline.extent.waiting, stopped.asked) == ("not read", [])
    grow(run)
    strip.show_run()
    assert strip.timeline.extent.waiting == "being computed"
    assert [key for key, _ in strip.asked] == ["strip.surprise"]


def test_long_words_about_where_one_looks_never_widen_the_window(qtbot: QtBot, qapp: QApplication) -> None:
    run = long_run(60, 200)
    run.absorb(Where("paused", 200, "decode", 259, 260, 1, "rope"))
    strip = strip_of(qtbot, qapp, run, size=(700, 300))
    themes.apply(DARK, qapp, 24.0)
    strip.restyle()
    strip.context.cursor.pin(position=123)
    strip.resize(700, 300)
    qapp.processEvents()
    assert strip.width() == 700
    assert strip.chip.jump.isVisible()
    assert "paused at token 260" in strip.chip.text()
    themes.apply(DARK, qapp, 10.0)


# -- mouse and keys ------------------------------------------------------------------------------------------------


def at(strip: TokenStrip, position: int) -> QPoint:
    return strip.timeline.column_box(position).center().toPoint()


def test_hover_previews_and_tells_the_figures(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 10)))
    strip.show_answer("strip.surprise", surprises(1, 4))
    said: list[str] = []
    strip.context.cursor.readout_changed.connect(said.append)
    qtbot.mouseMove(strip.timeline, at(strip, 3))
    assert strip.context.cursor.hovered.position == 3
    assert "surprise 3 nats" in said[-1]
    assert "entropy 1.5 nats" in said[-1]
    qtbot.mouseMove(strip.timeline, at(strip, 7))
    assert "pass 40 ms" in said[-1]
    assert strip.timeline.hovered == strip.view.marks.hovered == 7
    strip.timeline.place_left.emit()
    assert (strip.context.cursor.hovered.position, said[-1]) == (None, "")


def test_click_pins_and_dragging_scrubs_past_both_ends(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 40)))
    pins: list[int | None] = []
    strip.context.cursor.pinned_changed.connect(lambda: pins.append(strip.context.cursor.pinned.position))
    qtbot.mousePress(strip.timeline, Qt.MouseButton.LeftButton, pos=at(strip, 20))
    for position in (21, 25, 10):
        _drag(strip, at(strip, position))
    _drag(strip, QPoint(-50, 5))
    _drag(strip, QPoint(strip.timeline.width() + 50, 5))
    qtbot.mouseRelease(strip.timeline, Qt.MouseButton.LeftButton, pos=at(strip, 44))
    assert pins == [20, 21, 25, 10, 0, 44]
    qtbot.mouseMove(strip.timeline, at(strip, 30))
    assert strip.context.cursor.pinned.position == 44
    qtbot.mouseClick(strip.timeline, Qt.MouseButton.LeftButton, pos=at(strip, 44))
    assert strip.context.cursor.pinned.position == 44  # a click here never frees


def _drag(strip: TokenStrip, point: QPoint) -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    place = QPointF(point)
    held = Qt.MouseButton.LeftButton
    event = QMouseEvent(
        QEvent.Type.MouseMove, place, strip.timeline.mapToGlobal(place), Qt.MouseButton.NoButton, held,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(strip.timeline, event)


def test_keys_move_the_pin(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 40)))
    for key, position in [
        (Qt.Key.Key_Left, 43),
        (Qt.Key.Key_PageUp, 33),
        (Qt.Key.Key_Right, 34),
        (Qt.Key.Key_Home, 0),
        (Qt.Key.Key_PageUp, 0),
        (Qt.Key.Key_PageDown, 10),
        (Qt.Key.Key_End, 44),
        (Qt.Key.Key_PageDown, 44),
        (Qt.Key.Key_Escape, None),
    ]:
        qtbot.keyClick(strip.timeline, key)
        assert strip.context.cursor.pinned.position == position
    strip.context.cursor.pin(position=7)
    assert "token 7" in strip.timeline.accessibleDescription()
    assert "surprise" in strip.timeline.accessibleDescription()


def test_pin_and_hover_are_marked(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 10)))
    strip.context.cursor.pin(position=8)
    strip.context.cursor.hover(position=3)
    picture: QImage = strip.timeline.grab().toImage()

    def edge(position: int) -> set[str]:
        box = strip.timeline.column_box(position)
        return {picture.pixelColor(int(box.left()) + dx, int(box.center().y())).name() for dx in (-2, -1, 0)}

    assert QColor(DARK.accent).name() in edge(8)
    assert QColor(DARK.hover).name() in edge(3)
    assert not {DARK.accent, DARK.hover} & edge(6)


# -- what it costs -------------------------------------------------------------------------------------------------


def test_a_token_costs_the_same_with_many_tokens(qtbot: QtBot, qapp: QApplication) -> None:
    """Absorbing it and drawing the timeline anew, in processor time, whatever else the machine does."""

    def seconds(run: Run) -> float:
        strip, spent = strip_of(qtbot, qapp, run), []
        for _ in range(20):
            grow(run)
            start = time.thread_time()
            strip._show_timeline()
            strip.timeline.grab()
            spent.append(time.thread_time() - start)
        return sorted(spent)[5]

    few, many = seconds(long_run(5, 1000)), seconds(long_run(5, 8000))
    assert many < 3 * few + 0.002


def test_nothing_is_drawn_anew_without_new_figures(qtbot: QtBot, qapp: QApplication) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(5, 10)))
    drawn: list[int] = []
    original = strip.timeline.draw
    strip.timeline.draw = lambda painter: (drawn.append(1), original(painter))
    strip.timeline.grab()
    before = len(drawn)
    for position in (3, 4, 5):
        strip.show_run()
        strip.context.cursor.pin(position=position)
        strip.context.cursor.hover(position=position - 1)
        strip.timeline.grab()
    assert len(drawn) == before


@pytest.mark.parametrize("points", [8.0, 10.0, 24.0])
@pytest.mark.parametrize("size", [(320, 120), (1000, 130), (1000, 240), (2400, 600)])
def test_every_size_and_font_is_drawn(qtbot: QtBot, qapp: QApplication, points: float, size: tuple[int, int]) -> None:
    strip = strip_of(qtbot, qapp, long_run(40, 300), size=size)
    themes.apply(DARK, qapp, points)
    strip.restyle()
    for run in (prompted([]), prompted(), long_run(1, 1), over(long_run(3, 3))):
        strip.context.run = run
        strip.show_run()
        for choice in TIMELINES:
            strip.set_timeline(choice)
            assert not strip.picture().isNull()
    themes.apply(DARK, qapp, 10.0)
