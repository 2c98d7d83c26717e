"""Layouts in windows of every size, in letters of every size: panels have the room that their pictures need."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QApplication, QScrollArea

from app.command_line import Options
from app.errand import Errand
from app.layout_names import ALL, DEBUG, EXPLORE, NAMES, TEACH
from app.layout_shapes import LAYOUTS, Layout, Need, column_widths, fitted, least_widths
from app.panels import PANELS
from app.panels.token_strip import TokenStrip
from app.theme import DARK
from app.widgets.canvas import Canvas
from app.widgets.heatmap import Heatmap
from app.widgets.lettering import title_in
from app.widgets.line_chart import LineChart
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.test_scale import cut_off, overlaps

STORY = "Once upon a time there was a king who had a daughter, and she was so fair that the sun itself wondered. "
PROMPT = STORY * 12  # some 300 tokens
STANDARD = 10  # points
SIZES = {  # of the window, and the points of its letters
    (1024, 700): (9, 20),
    (1280, 720): (STANDARD, 15, 20),
    (1600, 900): (11,),
    (1920, 1080): (STANDARD, 20),
}


# ---- layouts as data -----------------------------------------------------------------------------------------------


def keys_of(layout: Layout) -> list[str]:
    return [key for column in layout.columns for stack in column for key in stack]


def needs(width: int, height: int) -> dict[str, Need]:
    return {key: Need(width, lambda w: height) for key in keys_of(LAYOUTS[ALL])}


@pytest.mark.parametrize("name", NAMES)
def test_where_there_is_room_a_layout_stays_as_it_is(name: str) -> None:
    assert fitted(LAYOUTS[name], needs(100, 100), 4000, 4000, 20) == LAYOUTS[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [50, 150, 250, 350, 450])
@pytest.mark.parametrize("height", [90, 200, 300])
def test_no_panel_is_lost_and_all_have_their_width(name: str, width: int, height: int) -> None:
    layout = fitted(LAYOUTS[name], needs(100, 100), width, height, 20)
    assert sorted(keys_of(layout)) == sorted(keys_of(LAYOUTS[name]))
    assert len(layout.widths) == len(layout.columns)
    assert len(layout.columns) == 1 or sum(least_widths(layout, needs(100, 100))) <= width
    assert layout.columns[-1][0][0] != "layers" or len(layout.columns) > 1  # the pass does not hide the pictures


def test_lower_windows_have_fewer_rows_and_narrow_ones_fewer_columns() -> None:
    def shape(width: int, height: int) -> list[int]:
        return [len(column) for column in fitted(LAYOUTS[ALL], needs(100, 100), width, height, 20).columns]

    assert shape(1000, 1000) == [1, 2, 2, 2]
    assert shape(1000, 200) == [1, 1, 1, 1]
    assert shape(350, 1000) == [1, 2, 2]
    assert shape(350, 200) == [1, 1, 1]
    assert shape(250, 200) == [1, 1]
    assert shape(150, 200) == [1]


def test_a_column_with_too_little_gets_it_from_those_with_too_much() -> None:
    layout = LAYOUTS[TEACH]
    wanted = {**needs(100, 100), "sampling": Need(500, lambda w: 100)}
    widths = column_widths(layout, wanted, 1000)
    assert widths[2] == 500
    assert min(widths) >= 100
    assert sum(widths) == pytest.approx(1000, abs=2)
    shares = [round(1000 * width / sum(layout.widths)) for width in layout.widths]
    assert column_widths(layout, needs(100, 100), 1000) == shares


# ---- in the window -------------------------------------------------------------------------------------------------


@pytest.fixture
def read(make_window: MakeWindow, qtbot) -> Window:
    """After a run of the built-in model, whose prompt has some 300 tokens."""
    options = Options(model="demo", prompt=PROMPT, tokens=3, sampling=GREEDY, size=(1280, 720), pin={"layer": 3})
    window = make_window(options, PANELS, start=True)
    Errand(window, options)
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=120_000)
    return window


@pytest.fixture
def unread(make_window: MakeWindow) -> Window:
    """Before any run."""
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)), PANELS)
    window.pages.setCurrentWidget(window.workspace)
    return window


def arranged(window: Window, name: str, qtbot) -> None:
    window.arranging.use_layout(name)
    qtbot.wait(250)  # what is on top is given its room, and panels ask anew once they have their sizes
    qtbot.waitUntil(lambda: window.complete, timeout=20_000)
    for _ in range(10):
        QApplication.processEvents()


def sideways(window: Window) -> list[str]:
    """Panels, also those behind others, that would have to be scrolled sideways."""
    found = []
    for dock in window.workspace.docks.values():
        front = window.workspace.docks.get(window.workspace.in_front_of(dock.panel.key), dock)
        if not dock.isHidden() and dock.panel.minimumSizeHint().width() > front.room.width():
            found.append(f"{dock.panel.key}: {front.room.width()} of {dock.panel.minimumSizeHint().width()}")
    return found


def scrolled(window: Window) -> list[str]:
    """Panels in front that have less height than they need."""
    docks = [dock for dock in window.workspace.docks.values() if dock.shown]
    return [dock.panel.key for dock in docks if dock.room.verticalScrollBar().isVisible()]


def too_small(window: Window) -> list[str]:
    """Pictures that are smaller than they need to be; those in lists that scroll are as large as they like."""
    found = []
    for dock in (dock for dock in window.workspace.docks.values() if dock.shown):
        for canvas in dock.panel.findChildren(Canvas):
            least = canvas.minimumSizeHint()
            if canvas.isVisible() and (canvas.width() < least.width() or canvas.height() < least.height()):
                found.append(f"{dock.panel.key}, {type(canvas).__name__}: {canvas.size()} of {least}")
    return found


def untold(window: Window) -> list[str]:
    """Titles of axes that are not written as a whole, in pictures whose tool tips do not have them."""
    found = []
    for dock in (dock for dock in window.workspace.docks.values() if dock.shown):
        for canvas in (*dock.panel.findChildren(Heatmap), *dock.panel.findChildren(LineChart)):
            canvas.grab()
            if canvas.isVisible():
                found += [title for title in titles(canvas) if title not in (*canvas._titles, canvas.toolTip())]
                found = [title for title in found if title not in canvas.toolTip()]
    return found


def has_its_line(window: Window) -> bool:
    """Whether a whole line of tokens can be seen."""
    assert isinstance(window.strip, TokenStrip)
    return window.strip.view.height() >= window.strip.view.lines_height(1)


def titles(canvas: Heatmap | LineChart) -> list[str]:
    if isinstance(canvas, Heatmap):
        return [] if canvas.cells is None else [canvas.cells.rows.title, canvas.cells.columns.title]
    return [] if canvas.chart is None else [canvas.chart.x_title, canvas.chart.y_title]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_panel_has_its_room(read: Window, qtbot, size: tuple[int, int]) -> None:
    for points in SIZES[size]:
        read.looks.wear("dark", points)
        read.resize(*size)
        for name in NAMES:
            arranged(read, name, qtbot)
            where = f"{name}, {size[0]} × {size[1]}, {points} pt"
            assert (read.width(), read.height()) == size, where
            assert sideways(read) == [], where
            assert too_small(read) == [], where
            assert untold(read) == [], where
            assert cut_off(read) == [], where
            assert overlaps(read) == [], where
            assert has_its_line(read), where
            if points <= 15:
                view = read.strip.view  # large letters: two lines of tokens come before the timeline
                two = view.n_lines > 1 and view.viewport().height() >= view.lines_height(2)
                assert read.strip.timeline.isVisible() or (two and points > STANDARD), where
            if points <= STANDARD and size >= (1280, 720):
                assert scrolled(read) == [], where


def test_all_panels_shows_as_many_as_can_be_read(read: Window, qtbot) -> None:
    seen = {}
    for size in SIZES:
        read.resize(*size)
        arranged(read, ALL, qtbot)
        seen[size] = {key for key, dock in read.workspace.docks.items() if dock.shown}
        assert not any(dock.isHidden() for dock in read.workspace.docks.values())
    assert seen[1280, 720] == {"strip", "layers", "attention", "residual", "sampling"}
    assert seen[1920, 1080] > seen[1600, 900] > seen[1280, 720]
    assert seen[1920, 1080] >= {"cache", "experts"}


def test_large_letters_have_fewer_columns(read: Window, qtbot) -> None:
    arranged(read, EXPLORE, qtbot)
    assert read.workspace.docks["sampling"].shown
    read.looks.wear("dark", 20)
    arranged(read, EXPLORE, qtbot)
    assert not read.workspace.docks["sampling"].shown
    assert read.workspace.docks["attention"] in read.workspace.tabifiedDockWidgets(read.workspace.docks["sampling"])


def test_empty_panels_need_no_scroll_bars(unread: Window, qtbot) -> None:
    for name in NAMES:
        arranged(unread, name, qtbot)
        for key in ("cache", "experts", "attention", "lens", "residual", "activations"):
            unread.workspace.bring_up(key)
            QApplication.processEvents()
            room: QScrollArea = unread.workspace.docks[key].room
            assert not room.verticalScrollBar().isVisible(), (name, key)
            assert not room.horizontalScrollBar().isVisible(), (name, key)


def test_an_empty_window_is_arranged_for_what_panels_will_show(unread: Window, qtbot) -> None:
    """Else panels would have to be scrolled as soon as there is a run."""
    arranged(unread, DEBUG, qtbot)
    shape = unread.workspace._shape
    assert [len(column) for column in shape.columns] == [1, 1, 1]


# ---- titles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("key: the token it looks at", "key"),
        ("layer (largest of position 3)", "layer"),
        ("键：被看的标记", "键"),
        ("position", ""),
    ],
)
def test_a_title_is_written_whole_or_names_its_thing_or_is_left_out(qtbot, text: str, short: str) -> None:
    canvas = Canvas(DARK)
    qtbot.addWidget(canvas)
    metrics = canvas.metrics()
    wide = metrics.horizontalAdvance(text)
    assert title_in(text, metrics, wide) == text
    assert title_in(text, metrics, wide - 1) == short
    assert title_in(text, metrics, 1) == ""


def test_a_tip_has_the_titles_that_have_no_room(read: Window, qtbot) -> None:
    arranged(read, ALL, qtbot)
    large = read.workspace.docks["attention"].panel.findChild(Heatmap)
    assert large is not None
    large.grab()
    assert "the token it looks at" in large.toolTip()
    read.workspace.toggle_maximised(read.workspace.docks["attention"])
    read.resize(1920, 1080)
    qtbot.waitUntil(lambda: large.grab().width() > 600)
    assert large.toolTip() == ""


def test_the_bar_is_as_high_as_its_prompt_and_all_in_it_in_line(unread: Window, qtbot) -> None:
    bar = unread.bar
    for size in ((1280, 720), (1600, 900), (1280, 720), (1920, 1080)):
        for text in ("one line", "one\ntwo\nthree", "a prompt of some forty letters in one line"):
            unread.resize(*size)
            bar.prompt.setPlainText(text)
            qtbot.wait(50)
            assert bar.height() == bar.sizeHint().height(), (size, text)
            centres = {part.geometry().center().y() for part in (bar.prompt, bar.model, *bar.buttons)}
            assert max(centres) - min(centres) <= 1, (size, text)
