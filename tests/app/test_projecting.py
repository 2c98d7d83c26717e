"""Projector mode on the real window: letters that are read from the back of a room, what is hidden and comes back, the
clicker, what is echoed, the pointer, the spotlight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QTabBar, QWidget
from shiboken6 import delete, isValid

from app.command_line import Options
from app.cursor import Look
from app.layouts import AT_REST_MS
from app.panels import PANELS
from app.projecting import BESIDE, READABLE, readable_points
from app.theme import CONTRAST, contrast
from app.widgets.bars import BarChart
from app.widgets.key_echo import KeyEcho
from app.widgets.spotlight import Spotlight
from app.widgets.yielding import KEPT_EMS
from app.window import Window
from tests.app import letters
from tests.app.conftest import GREEDY, MakeWindow, trigger

SIZES = ((1280, 720), (1920, 1080))


@pytest.fixture
def open_window(make_window: MakeWindow, qtbot, tiny_model: Path) -> Callable[..., Window]:
    """A window with every panel and a prompt; a run of four tokens unless it is not wanted."""

    def opened(size: tuple[int, int] = (1280, 720), run: bool = True, **more) -> Window:
        options = Options(model=str(tiny_model), sampling=GREEDY, tokens=4, size=size, **more)
        window = make_window(options, panels=PANELS, start=True)
        qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
        window.bar.prompt.setPlainText("hello")
        if run:
            window.actions_by_name["run"].trigger()
            qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=60_000)
        return window

    return opened


def stopped(window: Window, qtbot, name: str) -> None:
    """Step, and wait until the pass stands elsewhere."""
    before = window.context.run.where
    trigger(window, name)
    moved = lambda: window.context.run.where.state == "paused" and window.context.run.where != before  # noqa: E731
    qtbot.waitUntil(moved, timeout=30_000)


def press(window: Window, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """As the desktop does: to the window as a whole, so that shortcuts are looked for first."""
    QTest.keyClick(window.windowHandle(), key, modifiers)
    QApplication.processEvents()


def shown(window: Window) -> list[str]:
    return [key for key, dock in window.workspace.docks.items() if dock.shown]


# ---- it can be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_the_large_map_comes_before_the_chart_below_it(open_window, qtbot, size: tuple[int, int]) -> None:
    window = open_window(size)
    window.explaining.use_depth("story")
    panel = window.workspace.docks["attention"].panel
    map_, chart = panel.main_picture(), panel.findChild(BarChart)
    qtbot.waitUntil(chart.isVisible)
    trigger(window, "project")
    qtbot.wait(700)  # panels come to rest
    assert map_.height() >= KEPT_EMS * panel.fontMetrics().height()
    assert not (chart.isVisible() and size[1] == 720), "there is no room for both"
    trigger(window, "project")
    qtbot.waitUntil(chart.isVisible, timeout=5000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("project_first", [False, True])
def test_what_a_token_follows_is_in_sight(open_window, qtbot, size: tuple[int, int], project_first: bool) -> None:
    """Two lines of tokens come before the timeline."""
    window = open_window(size)
    strip = window.workspace.docks["strip"].panel
    if project_first:
        trigger(window, "project")
    window.bar.prompt.setPlainText("what the next token follows is here")
    trigger(window, "run")
    qtbot.waitUntil(lambda: window.context.run.n_prompt == 35 and window.context.run.ended is not None, timeout=30_000)
    if not project_first:
        trigger(window, "project")
    qtbot.wait(700)  # panels come to rest
    view = strip.view
    assert view.n_lines == 2
    assert view.viewport().height() >= view.lines_height(2)
    assert view.viewport().rect().contains(view.box(0).toRect())
    assert strip.height() < strip.whole_height(), "the panels below have the timeline's room"
    assert not strip.timeline.isVisible()


@pytest.mark.parametrize("size", SIZES)
def test_every_letter_is_a_fortieth_of_the_height(open_window, qtbot, monkeypatch, size: tuple[int, int]) -> None:
    window = open_window(size)
    trigger(window, "project")
    for key in ("attention", "sampling", "residual", "experts", "lens", "cache", "models"):
        window.workspace.bring_up(key)
        qtbot.wait(120)
        assert (window.width(), window.height()) == size
        with monkeypatch.context() as patch:
            found = letters.sizes(window, patch)
        assert len(found) > 40, key
        assert {text for text, _ in found} >= {"Tokens", "Pass"}
        assert [(text, pixels) for text, pixels in found if pixels < size[1] / READABLE] == [], key


def test_the_letters_were_too_small_before(open_window, monkeypatch) -> None:
    """Or the test above could not fail."""
    window = open_window((1280, 720))
    found = letters.sizes(window, monkeypatch)
    assert sum(pixels < 720 / READABLE for _, pixels in found) > 40


def test_the_letters_follow_the_window(open_window, qtbot) -> None:
    window = open_window((1280, 720))
    trigger(window, "project")
    window.resize(1920, 1080)
    qtbot.waitUntil(lambda: window.looks.points == pytest.approx(readable_points(1080, 96)), timeout=5000)
    window.resize(1280, 720)
    qtbot.waitUntil(lambda: window.looks.points == pytest.approx(readable_points(720, 96)), timeout=5000)


@pytest.mark.parametrize(("height", "dots"), [(720, 96), (1080, 96), (2160, 96), (1080, 144), (601, 96)])
def test_readable_points(height: int, dots: int) -> None:
    smallest = readable_points(height, dots) * dots / 72 * 0.9
    assert height / READABLE <= smallest < height / READABLE + 1


def test_high_contrast_and_nothing_to_distract(open_window, qtbot) -> None:
    window = open_window()
    trigger(window, "project")
    assert window.context.theme.name == CONTRAST.name
    assert contrast(window.context.theme.text, window.context.theme.raised) > 7
    assert not any(part.isVisible() for part in (window.menuBar(), window.bar, window.status))
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    qtbot.wait(100)
    bars = window.workspace.findChildren(QTabBar, options=direct)
    assert not any(bar.isVisible() and bar.geometry().intersects(window.workspace.rect()) for bar in bars)
    assert shown(window) == ["strip", "layers", "attention"]


def test_one_panel_at_a_time(open_window, qtbot) -> None:
    window = open_window()
    trigger(window, "project")
    for key in ("residual", "sampling", "models", "attention"):
        window.workspace.bring_up(key)
        qtbot.waitUntil(lambda key=key: shown(window) == [k for k in window.workspace.docks if k in (*BESIDE, key)])
        assert all(dock.width() <= 1280 for dock in window.workspace.docks.values() if dock.shown)


def test_the_panel_with_the_focus_is_the_large_one(open_window, qtbot) -> None:
    window = open_window()
    window.workspace.bring_up("lens")
    window.workspace.docks["lens"].take_focus()
    trigger(window, "project")
    assert shown(window) == ["strip", "layers", "lens"]


# ---- it comes back ---------------------------------------------------------------------------------------------------


def state_of(window: Window) -> tuple:
    docks = {key: (dock.shown, dock.geometry().getRect() if dock.shown else None) for key, dock in items(window)}
    parts = [part.isVisible() for part in (window.menuBar(), window.bar, window.status, window.projecting.banner)]
    return docks, parts, window.size().toTuple(), window.context.theme.name, window.looks.points, window.windowState()


def items(window: Window):
    return window.workspace.docks.items()


@pytest.mark.parametrize("layout", ["explore", "teach", "debug", "all"])
def test_all_is_as_before_afterwards(open_window, qtbot, layout: str) -> None:
    window = open_window((1920, 1080), theme="light", layout=layout)
    trigger(window, "larger_text")
    qtbot.wait(600)  # until every least size is known
    before, kept = state_of(window), (window.preferences.points(), window.preferences.theme())
    trigger(window, "project")
    trigger(window, "larger_text")
    window.workspace.bring_up("residual")
    qtbot.wait(50)
    assert state_of(window) != before
    press(window, Qt.Key.Key_Escape)
    qtbot.wait(600)
    after = state_of(window)
    assert {key: (was, after[0][key]) for key, was in before[0].items() if was != after[0][key]} == {}
    assert after[1:] == before[1:]
    assert (window.preferences.points(), window.preferences.theme()) == kept
    assert not window.projecting.on


def test_a_maximised_panel_is_maximised_again(open_window, qtbot) -> None:
    window = open_window()
    window.workspace.toggle_maximised(window.workspace.docks["attention"])
    trigger(window, "project")
    assert shown(window) == ["strip", "layers", "attention"]
    trigger(window, "project")
    qtbot.waitUntil(lambda: shown(window) == ["attention"])
    window.workspace.restore_maximised()
    qtbot.waitUntil(lambda: "sampling" in shown(window))


def test_closing_in_the_mode_keeps_the_layout_and_the_looks_of_before(open_window) -> None:
    window = open_window(layout="teach", theme="light")
    trigger(window, "project")
    window.close()
    name, state = window.preferences.layout()
    assert name == "teach"
    assert window.workspace.restore(name, state)
    assert shown_by_state(window) >= {"strip", "layers", "attention", "sampling"}
    assert window.preferences.points() == 10.0


def shown_by_state(window: Window) -> set[str]:
    return {key for key, dock in items(window) if not dock.isHidden()}


def test_the_whole_screen_unless_a_size_was_asked_for(make_window: MakeWindow, qtbot) -> None:
    window = make_window(panels=PANELS)
    window.resize(1000, 620)
    before = window.geometry()
    trigger(window, "project")
    whole = QGuiApplication.primaryScreen().size()
    qtbot.waitUntil(lambda: window.isFullScreen() and window.size() == whole)
    trigger(window, "project")
    qtbot.waitUntil(lambda: not window.isFullScreen() and window.geometry() == before)


def test_without_a_model_it_says_so(make_window: MakeWindow) -> None:
    window = make_window(Options(size=(1280, 720)), panels=PANELS)
    trigger(window, "project")
    assert window.projecting.banner.headline.text() == "No model is open"
    assert "engine" in window.projecting.banner.words.text()
    for key in (Qt.Key.Key_PageDown, Qt.Key.Key_PageUp):
        press(window, key)
    assert window.context.cursor.pinned == Look()
    press(window, Qt.Key.Key_Escape)
    assert not window.projecting.on


# ---- the stage in large letters ------------------------------------------------------------------------------------


def test_the_banner_names_where_the_pass_stands(open_window, qtbot) -> None:
    window = open_window(run=False)
    trigger(window, "project")
    banner = window.projecting.banner
    assert "3 layers" in banner.words.text()
    stopped(window, qtbot, "step_stage")
    stopped(window, qtbot, "step_stage")
    stopped(window, qtbot, "step_layer")
    where = window.context.run.where
    assert banner.headline.text() == f"layer {where.layer} of 3 · {where.stage}"
    assert "paused" in banner.beside.text()
    assert len(banner.words.text()) > 20, "plain words"
    assert banner.headline.font().pointSizeF() >= 2 * window.looks.points
    assert banner.rail.accessibleDescription() == f"{where.layer} of 3 layers are computed"
    trigger(window, "stop")


def test_panels_show_the_layer_that_the_banner_names(open_window, qtbot) -> None:
    window = open_window(run=False)
    trigger(window, "project")
    for _ in range(3):
        stopped(window, qtbot, "step_layer")
        layer = window.context.run.where.layer
        qtbot.waitUntil(lambda layer=layer: layer is None or window.context.cursor.pinned.layer == layer)
    window.context.cursor.pin(layer=0)  # what is chosen by hand stays until the pass moves
    window.refresh()
    assert window.context.cursor.pinned.layer == 0
    trigger(window, "stop")


def test_the_banner_says_what_the_run_came_to(open_window) -> None:
    window = open_window()
    trigger(window, "project")
    step = window.context.run.steps[-1]
    assert window.projecting.banner.headline.text() == f"the next token is “{window.context.run.label(step.end)}”"
    assert f"{100 * step.sampling.chosen_raw:.3g} %" in window.projecting.banner.words.text()


# ---- a clicker -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [("maximise", "undo_one"), ("project", "project")])
def test_the_keyboard_and_the_columns_are_as_before(open_window, qtbot, way: tuple[str, str]) -> None:
    window = open_window()
    docks = window.workspace.docks
    window.show_panel("notes")
    picture = docks["attention"].panel.main_picture()
    qtbot.waitUntil(picture.isVisible)
    picture.setFocus()
    qtbot.wait(AT_REST_MS[-1])
    widths = {key: dock.width() for key, dock in docks.items() if dock.shown}
    for name in way:
        trigger(window, name)
        qtbot.wait(sum(AT_REST_MS) + 200)  # sizes come to rest
        assert QApplication.focusWidget() is picture
    assert {key: dock.width() for key, dock in docks.items() if dock.shown} == widths


def test_without_a_run_the_banner_says_how_to_type_a_prompt(open_window) -> None:
    window = open_window(run=False)
    way = "Ctrl+L opens the field for a prompt, Ctrl+F5 leaves this mode."
    assert way not in window.projecting.banner.words.text()
    trigger(window, "project")
    assert way in window.projecting.banner.words.text()
    trigger(window, "focus_prompt")
    assert window.bar.prompt.isVisible()


def test_what_had_the_focus_may_be_gone_when_the_mode_is_left(open_window) -> None:
    window = open_window(run=False)
    line = QLineEdit(window.workspace.docks["sampling"])
    line.show()
    line.setFocus()
    assert QApplication.focusWidget() is line
    trigger(window, "project")
    delete(line)
    trigger(window, "project")
    assert not window.projecting.on


def test_a_clicker_steps_as_the_last_step_was(open_window, qtbot) -> None:
    window = open_window(run=False)
    trigger(window, "project")
    stopped(window, qtbot, "step_stage")
    stopped(window, qtbot, "step_stage")
    first = window.context.run.where
    press(window, Qt.Key.Key_PageDown)
    qtbot.waitUntil(lambda: window.context.run.where.state == "paused" and window.context.run.where != first)
    assert window.context.run.where.layer == first.layer, "a stage, not a layer"
    stopped(window, qtbot, "step_layer")
    layer = window.context.run.where.layer
    press(window, Qt.Key.Key_PageDown)
    qtbot.waitUntil(lambda: window.context.run.where.state == "paused" and window.context.run.where.layer == layer + 1)
    trigger(window, "stop")


def test_a_clicker_looks_back_and_on_again_without_computing(open_window, qtbot) -> None:
    window = open_window()
    trigger(window, "project")
    trigger(window, "previous_position")
    steps, banner = len(window.context.run.steps), window.projecting.banner
    seen = [window.context.cursor.pinned.position]
    for _ in range(3):
        press(window, Qt.Key.Key_PageUp)
        seen.append(window.context.cursor.pinned.position)
    assert seen == list(range(seen[0], seen[0] - 4, -1))
    assert f"token {seen[-1]} " in banner.beside.text()
    while window.context.cursor.pinned.position is not None:
        press(window, Qt.Key.Key_PageDown)
    assert len(window.context.run.steps) == steps
    assert window.context.run.where.state == "idle"


def test_a_clicker_means_nothing_outside_the_mode(open_window) -> None:
    window = open_window()
    window.workspace.docks["attention"].take_focus()
    for key in (Qt.Key.Key_PageUp, Qt.Key.Key_B, Qt.Key.Key_Period):
        press(window, key)
    assert not window.projecting.black.isVisible()
    assert window.context.run.where.state == "idle"


@pytest.mark.parametrize("key", [Qt.Key.Key_B, Qt.Key.Key_Period])
def test_the_black_screen_of_a_clicker(open_window, key: Qt.Key) -> None:
    window = open_window()
    trigger(window, "project")
    press(window, key)
    picture = window.grab().toImage()
    assert {picture.pixelColor(x, y).name() for x in (3, 600, 1200) for y in (3, 300, 700)} == {"#000000"}
    press(window, Qt.Key.Key_Escape)
    assert window.projecting.on, "only the picture came back"
    assert not window.projecting.black.isVisible()


def test_letters_that_are_typed_are_no_clicker(open_window, qtbot) -> None:
    window = open_window()
    trigger(window, "project")
    press(window, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    prompt = window.bar.prompt
    qtbot.waitUntil(prompt.hasFocus)
    assert prompt.isVisible()
    for key in (Qt.Key.Key_B, Qt.Key.Key_Period):
        press(window, key)
    assert prompt.toPlainText() == "b."
    assert not window.projecting.black.isVisible()
    press(window, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.context.run.n_prompt == 2 and window.context.run.ended is not None, timeout=30_000)
    assert not window.bar.isVisible(), "the panels have its room again"
    assert window.projecting.on


# ---- what is echoed --------------------------------------------------------------------------------------------------


def test_keys_are_echoed_with_what_they_do(open_window, qtbot) -> None:
    window = open_window(run=False)
    trigger(window, "project")
    echo = window.findChild(KeyEcho)
    press(window, Qt.Key.Key_F10)
    assert echo.isVisible()
    assert "F10" in echo.text()
    assert "Step layer" in echo.text()
    qtbot.waitUntil(lambda: window.context.run.where.state == "paused", timeout=30_000)
    press(window, Qt.Key.Key_PageUp)
    assert echo.text().startswith("PgUp")
    window.workspace.docks["attention"].take_focus()
    press(window, Qt.Key.Key_Home)
    assert echo.text() == "Home"
    press(window, Qt.Key.Key_X)
    assert echo.text() == "Home", "letters are nobody's business"
    assert window.rect().contains(echo.geometry())
    trigger(window, "stop")


def test_nothing_is_echoed_over_the_list_of_keys(open_window, qtbot) -> None:
    window = open_window(run=False)
    trigger(window, "project")
    echo, sheet = window.projecting.echo, window.commanding.sheet
    trigger(window, "larger_text")
    assert echo.isVisible()
    trigger(window, "show_keys")
    assert sheet.isVisible()
    assert not echo.isVisible()
    trigger(window, "show_keys")
    assert not sheet.isVisible()
    assert echo.isVisible()


def test_nothing_is_echoed_outside_the_mode(open_window) -> None:
    window = open_window()
    press(window, Qt.Key.Key_F10)
    assert not window.projecting.echo.isVisible()
    trigger(window, "stop")


def test_a_ring_follows_the_pointer(open_window) -> None:
    window = open_window()
    trigger(window, "project")
    halo, handle = window.projecting.halo, window.windowHandle()
    for place in (QPoint(300, 400), QPoint(700, 200)):
        QTest.mouseMove(handle, place)
        QApplication.processEvents()
        assert halo.isVisible()
        assert (halo.geometry().center() - place).manhattanLength() <= 2
    full = window.grab(halo.geometry()).toImage()
    QTest.mousePress(handle, Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier, QPoint(700, 30))
    QApplication.processEvents()
    QTest.mouseRelease(handle, Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier, QPoint(700, 30))
    assert full.size() == halo.size()
    trigger(window, "project")
    assert not halo.isVisible()
    QTest.mouseMove(handle, QPoint(100, 100))
    assert not halo.isVisible()


def test_the_ring_takes_no_click(open_window) -> None:
    window = open_window()
    trigger(window, "project")
    view = window.strip.view
    place = view.mapTo(window, view.rect().center())
    QTest.mouseMove(window.windowHandle(), place)
    QApplication.processEvents()
    assert window.childAt(place) is not window.projecting.halo


# ---- the spotlight ---------------------------------------------------------------------------------------------------


def brightness(window: Window, widget: QWidget) -> float:
    """Mean lightness of a widget as it is seen in the window, 0 to 255."""
    corner = widget.mapTo(window, QPoint())
    picture = window.grab().toImage().copy(corner.x(), corner.y(), widget.width(), widget.height()).scaled(64, 64)
    lights = [picture.pixelColor(x, y).lightness() for x in range(64) for y in range(64)]
    return sum(lights) / len(lights)


def test_all_but_the_panel_with_the_focus_is_dimmed(open_window, qtbot) -> None:
    window = open_window(theme="light")
    docks = window.workspace.docks
    docks["attention"].take_focus()
    before = {key: brightness(window, docks[key].content) for key in ("attention", "sampling")}
    trigger(window, "spotlight")
    window.projecting.light.restyle(CONTRAST)  # dims towards black
    assert brightness(window, docks["attention"].content) == pytest.approx(before["attention"], abs=4)
    assert brightness(window, docks["sampling"].content) < 0.5 * before["sampling"]
    docks["sampling"].take_focus()
    assert window.projecting.light.lit is docks["sampling"]
    assert brightness(window, docks["sampling"].content) > 0.9 * before["sampling"]
    window.bar.prompt.setFocus()
    assert window.projecting.light.lit is docks["sampling"], "what is typed belongs to no panel"
    press(window, Qt.Key.Key_Escape)
    assert not window.projecting.light.isVisible()


def test_the_spotlight_follows_the_size(open_window, qtbot) -> None:
    window = open_window()
    window.workspace.docks["attention"].take_focus()
    trigger(window, "spotlight")
    window.resize(1500, 800)
    qtbot.wait(60)
    lit = window.workspace.docks["attention"]
    hole = lit.rect().translated(lit.mapTo(window.workspace, QPoint()))
    assert not window.projecting.light.mask().intersects(hole)
    assert window.projecting.light.mask().boundingRect() == window.workspace.rect()
    trigger(window, "spotlight")
    assert not window.projecting.light.isVisible()


def test_a_lit_window_may_be_taken_apart(qtbot) -> None:
    """Its parts go one by one, and those that are still there see the lit one go."""
    stage = QWidget()
    lit, light = QWidget(stage), Spotlight(stage, CONTRAST)
    stage.show()
    light.light(lit)
    delete(stage)  # an error in what Qt calls fails the test
    assert not isValid(light)
