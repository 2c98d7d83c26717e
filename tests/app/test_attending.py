"""The audience's window on the real one: what it shows is what the presenter's panels paint, in letters that the back
row can read, what is hidden there is live all the same, and freeze, black, screens that come and go, the presenter's
page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QSpinBox, QWidget
from shiboken6 import delete

import resources
from app.attending import FIRST, SETTLE_AFTER_MS, other_screen
from app.audience_homes import Behind, Framed
from app.audience_places import MOST_TRIED, Wish, places, shared
from app.audience_window import AudienceWindow
from app.command_line import Options
from app.dock import PanelDock
from app.panels import PANELS
from app.preferences import Preferences
from app.presenter_notes import GENERAL, MOST_LETTERS, MOST_NOTES, PresenterNotes, key_of
from app.projecting import READABLE, SMALLEST
from app.run import Run
from app.widgets.panel_mirror import MOST_A_SECOND
from app.window import Window
from tests.app import letters
from tests.app.conftest import GREEDY, MakeWindow, trigger
from tests.app.made_runs import prompted


@pytest.fixture
def open_window(make_window: MakeWindow, qtbot, tiny_model: Path) -> Callable[..., Window]:
    def opened(**more) -> Window:
        usual = {"model": str(tiny_model), "size": (1280, 720)}
        options = Options(sampling=GREEDY, tokens=4, **{**usual, **more})
        window = make_window(options, panels=PANELS, start=True)
        qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
        window.bar.prompt.setPlainText("hello")
        window.actions_by_name["run"].trigger()
        qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=60_000)
        return window

    return opened


@pytest.fixture
def attended(open_window, qtbot) -> tuple[Window, AudienceWindow]:
    """A window whose audience sees the tokens, the attention and, hidden from the presenter, the residual stream."""
    window = open_window()
    window.actions_by_name["show_audience"].trigger()
    audience = window.attending.audience
    audience.resize(1280, 720)
    window.attending.choose(("strip", "attention", "residual"))
    qtbot.waitUntil(lambda: window.complete and cell(window, "residual").mirror.paints > 0, timeout=30_000)
    settled(window, qtbot)
    return window, audience


def settled(window: Window, qtbot) -> None:
    """Wait until nothing is being arranged any more, and what is to be painted is painted."""
    qtbot.wait(SETTLE_AFTER_MS + 50)
    qtbot.waitUntil(lambda: not window.attending.settling, timeout=5000)
    qtbot.wait(100)


def too_small(audience: AudienceWindow) -> dict[str, list[tuple[str, float]]]:
    """What the back row cannot read, by the title of the panel."""
    least = audience.height() / READABLE * 0.999 / rounded_down()
    titles = {cell.dock.panel.key: cell.dock.panel.title() for cell in audience.stage.cells}
    low = {key: [text for text in texts if text[1] < least] for key, texts in letters.of_audience(audience).items()}
    return {titles.get(key, key): texts for key, texts in low.items() if texts}


def rounded_down() -> float:
    """How many times as large letters are as an SVG says: it has them in whole pixels of the presenter's window."""
    font, dots = QApplication.font(), QApplication.primaryScreen().logicalDotsPerInchY()
    sizes = [font.pointSizeF() * dots / 72 * share for share in (1, SMALLEST)]
    return max(1.0, *(size / round(size) for size in sizes))


def cell(window: Window, key: str):
    return next(cell for cell in window.attending.audience.stage.cells if cell.dock.panel.key == key)


def pixels(widget: QWidget) -> np.ndarray:
    """[height, width, 3]"""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)[..., :3].astype(int)


def colours(widget: QWidget, n: int) -> np.ndarray:
    """The widget in n x n mean colours."""
    image = (
        widget.grab()
        .toImage()
        .scaled(n, n, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation)
    )
    return np.array([[image.pixelColor(x, y).getRgb()[:3] for x in range(n)] for y in range(n)])


# ---- what it shows ---------------------------------------------------------------------------------------------------


def test_a_panel_is_mirrored_in_its_own_shape(attended) -> None:
    window, _ = attended
    mirrored = cell(window, "attention")
    source, scale = mirrored.dock.content, mirrored.mirror.scale
    picture = mirrored.mirror.grab().copy(
        round((mirrored.mirror.width() - source.width() * scale) / 2),
        0,
        round(source.width() * scale),
        round(source.height() * scale),
    )
    shown = QWidget()
    shown.resize(picture.size())
    left = np.array(picture.toImage().scaled(24, 24).constBits())
    right = np.array(source.grab().toImage().scaled(24, 24).convertToFormat(picture.toImage().format()).constBits())
    assert np.abs(left.astype(int) - right.astype(int)).mean() < 16
    shown.deleteLater()


def test_letters_are_drawn_for_the_new_size_and_not_blown_up(attended, monkeypatch) -> None:
    window, _ = attended
    canvas = cell(window, "attention").dock.panel.findChild(QWidget, "")
    from app.widgets.canvas import Canvas, finer

    canvas = next(found for found in cell(window, "attention").dock.panel.findChildren(Canvas) if found.isVisible())
    with finer(2.0):
        canvas.grab()
    assert 2.0 in canvas._pictures
    assert canvas._pictures[2.0].width() >= 2 * canvas.width() - 2
    canvas.grab()
    assert set(canvas._pictures) == {1.0, 2.0}, "neither is drawn again for the other"


def test_what_the_presenter_does_not_see_is_live(attended, qtbot) -> None:
    window, _ = attended
    hidden = cell(window, "residual")
    assert not hidden.dock.shown
    before = {name: array.copy() for name, array in hidden.dock.panel.values().items()}
    picture = colours(hidden.mirror, 24)
    window.bar.prompt.setPlainText("another prompt")
    trigger(window, "run")
    qtbot.waitUntil(lambda: window.context.run.n_prompt == 14 and window.context.run.ended is not None, timeout=30_000)
    qtbot.waitUntil(lambda: window.complete, timeout=30_000)
    qtbot.wait(200)
    after = hidden.dock.panel.values()
    assert any(array.shape != before.get(name, array).shape for name, array in after.items())
    assert (colours(hidden.mirror, 24) != picture).mean() > 0.1


def test_what_comes_into_view_is_back_in_its_place(attended, qtbot) -> None:
    window, _ = attended
    dock = cell(window, "residual").dock
    assert not window.isAncestorOf(dock.content)
    window.workspace.bring_up("residual")
    qtbot.waitUntil(lambda: dock.shown)
    assert dock.isAncestorOf(dock.content)
    assert dock.content.isVisible()
    assert not cell(window, "attention").dock.shown
    behind = cell(window, "attention").dock.content.parentWidget()
    assert window.attending.audience.isAncestorOf(behind)
    assert not behind.geometry().intersects(window.attending.audience.stage.rect()), "only its mirror is seen"
    window.workspace.toggle_maximised(window.workspace.docks["sampling"])
    qtbot.waitUntil(lambda: window.attending.audience.isAncestorOf(dock.content))
    window.workspace.restore_maximised()
    qtbot.waitUntil(lambda: window.isAncestorOf(dock.content))


def test_every_content_is_back_after_the_audience_has_left(attended, qtbot) -> None:
    window, audience = attended
    audience.close()
    assert not window.attending.on
    assert not window.actions_by_name["freeze_audience"].isEnabled()
    assert all(dock.widget() is dock.content for dock in window.workspace.docks.values())
    window.workspace.bring_up("residual")
    qtbot.waitUntil(lambda: window.workspace.docks["residual"].panel.isVisible())
    assert window.board.watched == frozenset().union(
        *(dock.panel.watches() for dock in window.workspace.docks.values() if dock.shown)
    )


def test_nothing_is_asked_twice_for_the_audience(attended, qtbot) -> None:
    """The mirror of a panel that the presenter sees adds no question."""
    window, _ = attended
    watched = window.board.watched
    window.attending.choose(("strip", "residual"))
    assert window.board.watched == watched
    window.attending.choose(("strip",))
    assert window.board.watched == {key for key in watched if not key.startswith("residual")}


def test_a_mirror_paints_only_what_is_new_and_not_too_often(attended, qtbot) -> None:
    window, _ = attended
    mirror = cell(window, "attention").mirror
    qtbot.wait(300)
    before = mirror.paints
    qtbot.wait(400)
    assert mirror.paints == before, "nothing was new"
    canvas = window.workspace.docks["attention"].panel
    for _ in range(60):  # for 600 ms
        canvas.update()
        qtbot.wait(10)
    assert 1 <= mirror.paints - before <= MOST_A_SECOND * 0.6 + 4


def test_the_banner_says_what_the_presenters_says(attended) -> None:
    window, audience = attended
    assert audience.banner.headline.text().startswith("the next token is")
    window.context.cursor.pin(position=2)
    assert "token 2" in audience.banner.beside.text()


# ---- it can be read from the back row --------------------------------------------------------------------------------

SIZES = ((1280, 720), (1920, 1080))
EVERYTHING = ("strip", "layers", "attention", "experts", "residual", "lens", "cache", "sampling")
CHOICES = (
    *((key,) for key in EVERYTHING),
    ("strip", "layers", "attention"),
    ("attention", "sampling"),
    ("strip", "experts"),
    ("strip", "attention", "sampling", "residual"),
    EVERYTHING,
)


@pytest.mark.parametrize("size", SIZES)
def test_every_letter_is_a_fortieth_of_the_height_or_the_page_says_which_is_not(open_window, qtbot, size) -> None:
    """Of the built-in model, which has experts; the panels of the first start in any case."""
    window = open_window(model=str(resources.path("demo_model")), size=size)
    trigger(window, "show_audience")
    audience, told = window.attending.audience, window.attending.page.legible
    for seen in SIZES:
        audience.resize(*seen)
        window.attending.choose(FIRST)
        qtbot.waitUntil(lambda: window.complete, timeout=30_000)
        settled(window, qtbot)
        assert too_small(audience) == {}
        assert "back row" not in told.text()
        assert {"KV 0 · heads 0–2", "softmax"} <= {text for text, _ in letters.of_audience(audience)["attention"]}
        for keys in CHOICES:
            window.attending.choose(keys)
            qtbot.waitUntil(lambda: window.complete, timeout=30_000)
            settled(window, qtbot)
            small = too_small(audience)
            assert [title for title in small if title not in told.text()] == [], keys
            assert len(keys) > 3 or small == {}, keys
    assert told.isVisible(), "for all of them at once there is no room"
    assert "Show fewer panels" in told.text()


def test_the_letters_were_too_small_in_the_presenters_shape(attended, qtbot) -> None:
    """Or the test above could not fail."""
    window, audience = attended
    page = window.attending.page
    assert page.readable.isChecked()
    page.readable.click()
    settled(window, qtbot)
    assert len(too_small(audience)["Attention"]) > 10
    assert "Attention" in page.legible.text()
    assert "back row" in page.legible.text()
    assert not window.preferences.audience_readable()
    dock = window.workspace.docks["attention"]
    assert dock.widget() is dock.content
    page.readable.click()
    settled(window, qtbot)
    assert too_small(audience) == {}
    assert "back row" not in page.legible.text()


def test_whether_letters_are_to_be_large_is_remembered(open_window, qtbot) -> None:
    Preferences().set_audience_readable(False)
    window = open_window()
    trigger(window, "show_audience")
    settled(window, qtbot)
    assert not window.attending.page.readable.isChecked()
    assert window.workspace.docks["attention"].widget() is window.workspace.docks["attention"].content


def test_the_presenters_window_stays_as_it_is(attended, qtbot) -> None:
    """Its letters, and how its panels stand."""
    window, _ = attended
    window.attending.page.hide()  # its words are others
    qtbot.wait(200)
    stand = lambda: {key: dock.geometry() for key, dock in window.workspace.docks.items() if dock.shown}  # noqa: E731
    before, points = stand(), window.looks.points
    for readable in (False, True):
        window.attending.set_readable(readable)
        settled(window, qtbot)
        assert stand() == before
        assert window.looks.points == points == window.preferences.points()


def test_where_the_presenter_has_less_room_a_panel_scrolls(attended, qtbot) -> None:
    window, _ = attended
    window.attending.choose(("attention",))
    settled(window, qtbot)
    dock = window.workspace.docks["attention"]
    frame = dock.widget()
    assert dock.content.width() > frame.width()
    assert frame.horizontalScrollBar().isVisible()
    told = window.attending.page.legible
    assert "You see a part of what the audience sees: Attention." in told.text()
    mirror = cell(window, "attention").mirror
    before = mirror.paints
    window.context.cursor.pin(position=1)  # also what lies beyond the edge is news to the audience
    qtbot.waitUntil(lambda: mirror.paints > before)
    window.workspace.toggle_maximised(dock)
    qtbot.waitUntil(lambda: not frame.horizontalScrollBar().isVisible())
    qtbot.waitUntil(lambda: not told.isVisible())


def test_what_has_the_focus_keeps_it(open_window, qtbot) -> None:
    window = open_window()
    focused = window.workspace.docks["attention"].panel.findChild(QSpinBox)
    qtbot.waitUntil(focused.isVisible)
    focused.setFocus()
    assert QApplication.focusWidget() is focused
    trigger(window, "show_audience")
    window.activateWindow()
    for readable in (True, False, True):
        window.attending.set_readable(readable)
        settled(window, qtbot)
        assert QApplication.focusWidget() is focused
    trigger(window, "show_audience")
    assert QApplication.focusWidget() is focused


@pytest.mark.parametrize("name", ["larger_text", "smaller_text"])
def test_the_users_size_of_letters_is_the_presenters(attended, qtbot, name: str) -> None:
    """And the audience can read as before."""
    window, audience = attended
    points = window.looks.points
    for _ in range(2):
        trigger(window, name)
    settled(window, qtbot)
    assert (window.looks.points > points) == (name == "larger_text")
    assert window.preferences.points() == window.looks.points
    told = window.attending.page.legible.text()
    assert [title for title in too_small(audience) if title not in told] == []
    window.attending.choose(("residual",))
    settled(window, qtbot)
    assert too_small(audience) == {}


def test_the_back_row_reads_through_themes_and_projector_mode(attended, qtbot) -> None:
    window, audience = attended
    for name in ("light", "contrast", "dark"):
        window.looks.use_theme(name)
        settled(window, qtbot)
        assert too_small(audience) == {}, name
    for _ in range(2):
        trigger(window, "project")
        qtbot.wait(700)  # panels come to rest
        settled(window, qtbot)
        assert too_small(audience) == {}
        assert window.isAncestorOf(window.workspace.docks["attention"].content)


def test_what_the_audience_sees_at_the_first_start_is_read_at_every_depth(attended, qtbot) -> None:
    window, audience = attended
    window.attending.choose(FIRST)
    for depth in ("story", "numbers", "formula", "code"):
        window.explaining.use_depth(depth)
        for size in ((1280, 720), (1024, 768)):
            audience.resize(*size)
            settled(window, qtbot)
            settled(window, qtbot)  # what gave way has no room by now
            assert audience.smallest() == [], (depth, size)
            view = window.workspace.docks["strip"].panel.view
            assert view.viewport().height() >= view.lines_height(2), (depth, size)


def test_a_frozen_panel_keeps_its_shape_until_it_moves_again(attended, qtbot) -> None:
    window, _ = attended
    content = window.workspace.docks["attention"].content
    trigger(window, "freeze_audience")
    before = content.size()
    trigger(window, "larger_text")
    settled(window, qtbot)
    assert content.size() == before
    trigger(window, "freeze_audience")
    settled(window, qtbot)
    assert content.size() != before


def test_nothing_goes_on_moving(attended, qtbot, monkeypatch) -> None:
    """A panel gets another size a few times after whatever happens, and then no more."""
    window, audience = attended
    placed: list[QSize] = []

    def place(home: Framed | Behind, size: QSize, before: Callable) -> None:
        if size != home._content.size():
            placed.append(size)
        before(home, size)

    for kind in (Framed, Behind):
        monkeypatch.setattr(kind, "place", partialmethod(place, before=kind.place))
    docks = window.workspace.docks
    acts = (
        lambda: (window.resize(1000, 700), audience.resize(1920, 1080)),
        lambda: window.workspace.resizeDocks([docks["attention"]], [300], Qt.Orientation.Horizontal),
        lambda: window.attending.choose(("strip", "attention", "sampling", "residual")),  # some cannot be read
        lambda: window.arranging.use_layout("all"),
        lambda: window.workspace.toggle_maximised(docks["attention"]),
        lambda: window.workspace.restore_maximised(),
        lambda: trigger(window, "larger_text"),
        lambda: trigger(window, "project"),
        lambda: trigger(window, "project"),
        lambda: (audience.resize(1280, 720), window.attending.choose(FIRST)),
    )
    for number, act in enumerate(acts):
        placed.clear()
        act()
        looks = 0
        while looks < 20 and has_moved(window, qtbot, placed):
            looks += 1
        assert looks < 20, f"{number}: it does not come to rest"
        assert len(placed) <= 6 * len(window.attending.chosen), number


def has_moved(window: Window, qtbot, placed: list[QSize]) -> bool:
    """In more than half a second, which is the longest that the workspace waits."""
    before = len(placed)
    qtbot.wait(600)
    return len(placed) > before or window.attending.settling


def test_dragging_the_presenters_panels_moves_nothing_for_the_audience(attended, qtbot) -> None:
    window, audience = attended
    stand = lambda: [(cell.geometry(), cell.mirror.scale) for cell in audience.stage.cells]  # noqa: E731
    before = stand()
    for wide in (300, 500, 200, 600):
        window.workspace.resizeDocks([window.workspace.docks["attention"]], [wide], Qt.Orientation.Horizontal)
        settled(window, qtbot)
        assert stand() == before


def test_a_window_that_is_closed_has_its_panels_back(attended) -> None:
    window, _ = attended
    window.close()
    assert window.closed_in_time
    assert not window.attending.on
    assert all(dock.widget() is dock.content for dock in window.workspace.docks.values())


# ---- freeze and black ------------------------------------------------------------------------------------------------


def test_a_part_of_a_panel_that_is_gone_keeps_no_audience_open(attended, qtbot) -> None:
    """A menu, for example."""
    window, audience = attended
    part = QWidget(window.workspace.docks["attention"].panel)
    part.show()
    qtbot.wait(50)
    assert part in cell(window, "attention").mirror._watched
    delete(part)
    trigger(window, "show_audience")
    assert window.attending.audience is None
    assert not audience.isVisible()


def test_frozen_nothing_moves_and_the_presenter_is_told(attended, qtbot) -> None:
    window, audience = attended
    trigger(window, "freeze_audience")
    qtbot.wait(120)
    before = pixels(audience)
    assert window.attending.chip.isVisible()
    assert "frozen" in window.attending.chip.text()
    assert "frozen" in window.attending.page.state.text()
    window.bar.prompt.setPlainText("another prompt")
    trigger(window, "run")
    qtbot.waitUntil(lambda: window.context.run.n_prompt == 14 and window.context.run.ended is not None, timeout=30_000)
    window.context.cursor.pin(position=1, layer=1)
    qtbot.wait(250)
    assert (pixels(audience) == before).all()
    QTest.mouseClick(window.attending.chip, Qt.MouseButton.LeftButton)
    qtbot.wait(250)
    assert not window.attending.chip.isVisible()
    assert (pixels(audience) != before).any()
    assert "token 1" in audience.banner.beside.text()


def test_a_frozen_picture_stays_where_it_is_whatever_a_panel_needs(attended, qtbot, monkeypatch) -> None:
    window, audience = attended
    trigger(window, "freeze_audience")
    boxes = [cell.geometry() for cell in audience.stage.cells]
    wide, high = {"strip": 900}, {"strip": 400}
    monkeypatch.setattr(PanelDock, "content_least_width", lambda dock: wide.get(dock.panel.key, 50))
    monkeypatch.setattr(PanelDock, "content_least_height", lambda dock, width: high.get(dock.panel.key, 50))
    audience.stage.arrange()
    assert [cell.geometry() for cell in audience.stage.cells] == boxes
    trigger(window, "freeze_audience")
    audience.stage.arrange()
    assert [cell.geometry() for cell in audience.stage.cells] != boxes


def test_a_frozen_picture_survives_another_size(attended, qtbot) -> None:
    window, audience = attended
    trigger(window, "freeze_audience")
    before, whole = colours(audience, 6), pixels(audience)
    audience.resize(1600, 900)
    qtbot.wait(100)
    assert np.abs(colours(audience, 6) - before).mean() < 20
    audience.resize(1280, 720)
    settled(window, qtbot)
    assert (pixels(audience) == whole).all()


def test_a_frozen_picture_stays_through_themes_letters_and_projector_mode(attended, qtbot) -> None:
    window, audience = attended
    window.looks.use_theme("light")
    settled(window, qtbot)
    trigger(window, "freeze_audience")
    before = pixels(audience)
    acts = (
        lambda: window.looks.use_theme("dark"),
        lambda: trigger(window, "larger_text"),
        lambda: trigger(window, "project"),
        lambda: window.attending.choose(("strip", "sampling")),
    )
    for number, act in enumerate(acts):
        act()
        settled(window, qtbot)
        assert (pixels(audience) == before).all(), number
    trigger(window, "freeze_audience")
    settled(window, qtbot)
    assert (pixels(audience) != before).any()


def test_what_is_frozen_below_the_black_screen_is_the_picture(attended) -> None:
    window, audience = attended
    before = pixels(audience)
    trigger(window, "black_screen")
    trigger(window, "freeze_audience")
    assert not pixels(audience).any()
    trigger(window, "black_screen")
    assert (pixels(audience) == before).all()


def test_black_for_the_audience_alone(attended) -> None:
    window, audience = attended
    trigger(window, "black_screen")
    assert not pixels(audience).any()
    assert not window.projecting.black.isVisible()
    assert "black" in window.attending.page.state.text()
    trigger(window, "black_screen")
    assert pixels(audience).any()


@pytest.mark.parametrize("project", [False, True])
def test_the_presenter_is_told_of_black_and_esc_ends_it_first(attended, project: bool) -> None:
    window, audience = attended
    window.context.cursor.pin(position=1)
    if project:
        trigger(window, "project")
    trigger(window, "black_screen")
    assert window.attending.chip.isVisible()
    assert "black" in window.attending.chip.text()
    assert "Esc" in window.attending.chip.text()
    trigger(window, "undo_one")
    assert not audience.black.isVisible()
    assert not window.attending.chip.isVisible()
    assert window.projecting.on == project, "only the picture came back"
    assert window.context.cursor.pinned.position == 1


def test_the_chip_tells_of_black_before_it_tells_of_a_frozen_picture(attended) -> None:
    window, audience = attended
    chip = window.attending.chip
    trigger(window, "freeze_audience")
    trigger(window, "black_screen")
    assert "black" in chip.text()
    QTest.mouseClick(chip, Qt.MouseButton.LeftButton)
    assert not audience.black.isVisible()
    assert "frozen" in chip.text()
    QTest.mouseClick(chip, Qt.MouseButton.LeftButton)
    assert not audience.frozen
    assert not chip.isVisible()


def test_a_clicker_works_where_the_audiences_window_has_the_focus(attended, qtbot) -> None:
    window, audience = attended
    trigger(window, "previous_position")
    pinned = window.context.cursor.pinned.position
    audience.activateWindow()
    qtbot.waitUntil(audience.isActiveWindow)
    QTest.keyClick(audience.windowHandle(), Qt.Key.Key_PageUp)
    assert window.context.cursor.pinned.position == pinned - 1
    QTest.keyClick(audience.windowHandle(), Qt.Key.Key_B)
    assert audience.black.isVisible()


# ---- the presenter's page --------------------------------------------------------------------------------------------


def test_panels_are_chosen_on_the_page_and_remembered(attended, qtbot) -> None:
    window, audience = attended
    boxes = window.attending.page.boxes
    assert {key for key, box in boxes.items() if box.isChecked()} == {"strip", "attention", "residual"}
    boxes["attention"].click()
    boxes["sampling"].click()
    assert [shown.dock.panel.key for shown in audience.stage.cells] == ["strip", "residual", "sampling"]
    assert window.preferences.audience_panels() == ["strip", "residual", "sampling"]
    for key in ("strip", "residual", "sampling"):
        boxes[key].click()
    assert audience.stage.empty.isVisible()


def test_notes_belong_to_a_prompt_and_are_kept(attended, qtbot) -> None:
    window, _ = attended
    page = window.attending.page
    assert "hello" in page.heading.text()
    page.note.setPlainText("say hello\n<b>and wait</b>")
    window.bar.prompt.setPlainText("other")
    trigger(window, "run")
    qtbot.waitUntil(lambda: window.context.run.n_prompt == 5 and "other" in page.heading.text(), timeout=30_000)
    assert page.note.toPlainText() == ""
    page.note.setPlainText("second")
    page.hide()
    kept = PresenterNotes(window.preferences.presenter_notes())
    run = window.context.run
    assert kept.at(key_of(run)) == "second"
    qtbot.waitUntil(lambda: run.ended is not None, timeout=30_000)
    window.bar.prompt.setPlainText("hello")
    trigger(window, "run")
    trigger(window, "show_presenter")
    qtbot.waitUntil(lambda: page.note.toPlainText() == "say hello\n<b>and wait</b>", timeout=30_000)


def test_a_note_of_another_window_stays(attended, qtbot) -> None:
    window, _ = attended
    page, there = window.attending.page, PresenterNotes(window.preferences.presenter_notes())
    there.write("of another prompt", "written there")
    there.write(GENERAL, "hello from there")
    Preferences().set_presenter_notes(there.to_text())
    page.note.setPlainText("mine")
    page.hide()
    kept = PresenterNotes(window.preferences.presenter_notes())
    assert kept.at(key_of(window.context.run)) == "mine"
    assert (kept.at("of another prompt"), kept.at(GENERAL)) == ("written there", "hello from there")


def test_the_page_takes_no_more_than_a_note_keeps(attended, qtbot) -> None:
    window, _ = attended
    note = window.attending.page.note
    data = QMimeData()
    data.setText("some words " * 100_000)
    note.insertFromMimeData(data)
    assert len(note.toPlainText()) == MOST_LETTERS
    qtbot.keyClicks(note, "x")
    assert len(note.toPlainText()) == MOST_LETTERS
    note.selectAll()
    qtbot.keyClicks(note, "x")
    assert note.toPlainText() == "x"
    note.insertFromMimeData(data)
    assert len(note.toPlainText()) == MOST_LETTERS


def test_the_page_is_no_part_of_projector_mode(attended) -> None:
    window, audience = attended
    assert window.attending.page.isVisible()
    trigger(window, "project")
    assert not window.attending.page.isVisible()
    assert audience.isVisible()
    assert audience.isAncestorOf(window.workspace.docks["residual"].content)
    trigger(window, "project")
    assert window.attending.page.isVisible()


def test_the_clock(open_window, monkeypatch) -> None:
    window = open_window()
    trigger(window, "show_presenter")
    page = window.attending.page
    now = [page._since]
    page._now = lambda: now[0]
    now[0] += 125
    page._show_time()
    assert page.clock.text() == "2 min 05 s"
    page.clock.click()
    assert page.clock.text() == "0 min 00 s"


# ---- notes as data ---------------------------------------------------------------------------------------------------


def test_notes_come_back_from_their_text() -> None:
    notes = PresenterNotes()
    notes.write("a", "first")
    notes.write(GENERAL, "always")
    notes.write("b", "  ")
    again = PresenterNotes(notes.to_text())
    assert (again.at("a"), again.at(GENERAL), again.at("b")) == ("first", "always", "")


DAMAGED = ("{", "[]", "7", '{"a": 7}', "null", "\x00", "[" * 50_000, '{"' + "k" * 99 + '": "x"}')


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_notes_start_afresh(text: str) -> None:
    assert PresenterNotes(text).to_text() == "{}"


def test_notes_have_a_limit() -> None:
    notes = PresenterNotes()
    for number in range(MOST_NOTES + 5):
        notes.write(str(number), "x" * (MOST_LETTERS + 1))
    assert notes.at("4") == ""
    assert len(notes.at("5")) == MOST_LETTERS
    assert len(json.loads(notes.to_text())) == MOST_NOTES


def test_a_key_is_of_the_prompt() -> None:
    assert key_of(Run()) == GENERAL
    assert key_of(prompted()) == key_of(prompted()) != key_of(prompted(("Other",)))


# ---- where cells stand -----------------------------------------------------------------------------------------------

AREA = QRectF(0, 0, 1600, 900)


def wishes(*shapes: tuple[float, float]) -> list[Wish]:
    return [Wish(QSizeF(*shape)) for shape in shapes]


@pytest.mark.parametrize(
    "cells",
    [
        wishes((700, 500)),
        wishes((700, 500), (700, 500)),
        wishes((300, 800), (300, 800), (300, 800)),
        wishes((1280, 150), (700, 500)),
        wishes(*((1280, 150),) * 3),
        wishes(*((700, 500),) * 7, (1280, 150)),
        wishes(*((700, 500),) * (MOST_TRIED + 5)),
        wishes((1, 1), (9000, 1)),
        [Wish(QSizeF(4, 3), 2000, lambda width: 2000.0)] * 3,
        [Wish(QSizeF(16, 2), 900, lambda width: 9000.0), *wishes((4, 3))],
    ],
)
def test_cells_lie_within_the_area_and_beside_each_other(cells: list[Wish]) -> None:
    boxes = places(AREA, cells)
    assert len(boxes) == len(cells)
    for index, box in enumerate(boxes):
        assert box.width() >= 1
        assert box.height() >= 0.15
        assert AREA.adjusted(-0.01, -0.01, 0.01, 0.01).contains(box)
        assert not any(box.intersects(other) for other in boxes[index + 1 :])


def test_one_cell_has_all_the_room_and_two_upright_ones_stand_side_by_side() -> None:
    assert places(AREA, wishes((3, 2))) == [AREA]
    left, right = places(AREA, wishes((300, 400), (300, 400)))
    assert left.top() == right.top()
    above, below = places(AREA, wishes((700, 190), (700, 190)))
    assert above.left() == below.left()
    assert places(AREA, []) == []


def test_what_needs_more_has_it_before_the_rest_is_shared() -> None:
    """Of two that would share alike, one cannot be read in half the width, or in half the height."""
    wide = places(AREA, [Wish(QSizeF(3, 4)), Wish(QSizeF(3, 4), 1000, lambda width: 700.0)])
    assert wide[1].width() >= 1000
    assert wide[0].top() == wide[1].top()
    high = places(AREA, [Wish(QSizeF(8, 3), 900, lambda width: 100.0), Wish(QSizeF(8, 3), 900, lambda width: 600.0)])
    assert high[1].height() >= 600
    assert high[0].left() == high[1].left()


def test_words_that_wrap_have_the_height_for_their_width() -> None:
    """A panel of 400,000 square pixels: low where it is wide."""
    wrapping = Wish(QSizeF(3, 2), 200, lambda width: 400_000 / width)
    for other in wishes((3, 2), (1, 4), (30, 7)):
        box = places(AREA, [other, wrapping])[1]
        assert box.width() * box.height() >= 400_000 * 0.999


@pytest.mark.parametrize(
    ("least", "weights", "parts"),
    [
        ([0, 0], [1, 3], [25, 75]),
        ([40, 0], [1, 3], [40, 60]),
        ([40, 55], [1, 3], [40, 60]),
        ([100, 100], [1, 3], [50, 50]),
        ([150, 50], [1, 3], [75, 25]),
        ([30, 30, 0], [1, 1, 8], [30, 30, 40]),
    ],
)
def test_room_is_shared_as_weights_say_but_none_is_below_its_least(least, weights, parts) -> None:
    assert shared(100, least, weights) == pytest.approx(parts)


# ---- screens that come and go ----------------------------------------------------------------------------------------


def test_with_one_screen_it_is_a_window(attended) -> None:
    window, audience = attended
    assert not audience.isFullScreen()
    assert "second screen" in window.attending.page.state.text()
    assert other_screen(window.screen()) is None
    window.attending.next_screen()
    assert not audience.isFullScreen()


def test_a_screen_that_goes_leaves_a_window_beside_the_presenter(attended, qtbot) -> None:
    """The one screen here stands for the one that Qt moves the audience to."""
    _, audience = attended
    audience.showFullScreen()
    qtbot.waitUntil(audience.isFullScreen)
    screen = QGuiApplication.primaryScreen()
    QGuiApplication.instance().screenRemoved.emit(screen)
    qtbot.waitUntil(lambda: not audience.isFullScreen())
    assert screen.geometry().contains(audience.geometry().topLeft())


def a_screen(name: str, x: int, width: int, height: int) -> dict:
    dots = {"logicalDpi": 96, "logicalBaseDpi": 96, "dpr": 1}
    return {"name": name, "x": x, "y": 0, "width": width, "height": height, **dots}


TWO_SCREENS = {"screens": [a_screen("laptop", 0, 1280, 720), a_screen("beamer", 1280, 1920, 1080)]}

ON_TWO_SCREENS = """
import json, sys
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication
application = QApplication([])
from app.command_line import Options
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.window import Window
from app.worker import Worker
def settle():
    for _ in range(20):
        application.processEvents()
box = Mailbox()
window = Window(Worker(box, threads=1), box, Preferences(False), Options(size=(1280, 720)), PANELS)
window.show()
window.worker.start()
window.actions_by_name["show_audience"].trigger()
settle()
audience = window.attending.audience
small = lambda: [title for title, _ in audience.smallest()]
told = [audience.isFullScreen(), audience.screen().name(), audience.size().toTuple(), small()]
told += [window.attending.page.state.text()]
beamer = next(screen for screen in QGuiApplication.screens() if screen.name() == "beamer")
window.attending.next_screen()
settle()
told += [audience.isFullScreen(), audience.screen().name(), small()]
window.attending.next_screen()
settle()
application.screenRemoved.emit(beamer)
settle()
told += [audience.isFullScreen(), audience.screen().name(), small()]
application.screenAdded.emit(beamer)
settle()
told += [audience.isFullScreen(), audience.screen().name(), small()]
window.close()
print("told", json.dumps(told))
"""


def test_on_a_second_screen_it_is_whole_and_follows_what_comes_and_goes(tmp_path: Path) -> None:
    config = tmp_path / "screens.json"
    config.write_text(json.dumps(TWO_SCREENS))
    environment = {**os.environ, "QT_QPA_PLATFORM": f"offscreen:configfile={config}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", ON_TWO_SCREENS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    line = next((line for line in ended.stdout.splitlines() if line.startswith("told ")), None)
    assert line is not None, ended.stderr
    whole, name, size, small, words, *moves = json.loads(line[5:])
    assert (whole, name, tuple(size), small) == (True, "beamer", (1920, 1080), [])
    assert "beamer" in words
    here, gone, again = moves[:3], moves[3:6], moves[6:]
    assert here == [False, "laptop", []], "never over the presenter's own screen"
    assert gone == [False, "laptop", []]
    assert again == [True, "beamer", []]
