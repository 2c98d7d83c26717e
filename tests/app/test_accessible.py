"""The whole window by keyboard: controls have names, Tab goes where something is seen, keys move what is picked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QTabBar,
    QTabWidget,
    QWidget,
)

from app.command_line import Options
from app.dock import PanelDock
from app.layout_names import NAMES
from app.panels import PANELS
from app.speeds import FULL
from app.widgets.canvas import Canvas
from app.widgets.draw_bar import DrawBar
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow, with_run

ARROWS = (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Up, Qt.Key.Key_Right)
MOST_STOPS = 400  # of Tab in one round


@pytest.fixture
def live(make_window: MakeWindow, qtbot, tiny_model: Path) -> Window:
    """A run of eight tokens on the tiny model."""
    return with_run(make_window, qtbot, tiny_model, PANELS, tokens=8, size=(1600, 900), layout="explore")


def controls(window: QWidget) -> Iterator[QWidget]:
    """What takes the focus and is seen; the field inside a spin box or a list belongs to that."""
    for widget in window.findChildren(QWidget):
        inner = isinstance(widget.parentWidget(), QAbstractSpinBox | QComboBox)
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and _is_seen(widget) and not inner:
            yield widget


def _is_seen(widget: QWidget) -> bool:
    """Also where parts of it cover all of it, as the inside of what scrolls does."""
    parts = [widget, *widget.findChildren(QWidget)]
    return any(part.isVisible() and not part.visibleRegion().isEmpty() for part in parts)


def _name(widget: QWidget) -> str:
    return widget.accessibleName() or (widget.text() if isinstance(widget, QAbstractButton | QLabel) else "")


def _path(widget: QWidget) -> str:
    return f"{type(widget.parentWidget()).__name__} > {type(widget).__name__} {widget.objectName()}"


def nameless(window: Window) -> set[str]:
    QApplication.processEvents()
    return {_path(widget) for widget in controls(window) if not _name(widget).strip()}


@pytest.mark.parametrize("layout", NAMES)
def test_every_control_of_a_layout_has_a_name(live: Window, qtbot, layout: str) -> None:
    live.actions_by_name[f"use_layout.{layout}"].trigger()
    qtbot.waitUntil(lambda: live.complete)
    assert len(list(controls(live))) > 20
    assert nameless(live) == set()


def test_every_control_of_every_panel_has_a_name_on_every_page_of_it(live: Window, qtbot) -> None:
    found: set[str] = set()
    for key, dock in live.workspace.docks.items():
        live.workspace.bring_up(key)
        live.workspace.toggle_maximised(dock)
        qtbot.waitUntil(lambda dock=dock: dock.shown and live.complete)
        found |= {f"{key}: {path}" for path in nameless(live)}
        for pages in (pages for pages in dock.findChildren(QTabWidget) if pages.isVisible()):
            for page in range(pages.count()):
                pages.setCurrentIndex(page)
                qtbot.waitUntil(lambda: live.complete)
                found |= {f"{key}: {path}" for path in nameless(live)}
        live.workspace.restore_maximised()
    assert found == set()


def test_every_control_of_the_start_page_has_a_name(make_window: MakeWindow) -> None:
    window = make_window(Options(sampling=GREEDY), PANELS)
    assert window.start_page.isVisible()
    assert nameless(window) == set()


def test_every_command_and_menu_has_a_text(live: Window) -> None:
    assert all(action.text().strip() for action in live.actions_by_name.values())
    assert all(action.text().strip() for action in live.menuBar().actions())


# ---- Tab -----------------------------------------------------------------------------------------------------------


def stops(window: Window, key: Qt.Key, unseen: list[str] | None = None) -> list[QWidget]:
    """What Tab comes to, in one round; what is not seen while it has the keyboard is written into ``unseen``."""
    window.activateWindow()
    start = window.bar.prompt
    start.setFocus()
    found: list[QWidget] = []
    for _ in range(MOST_STOPS):
        QTest.keyClick(window.focusWidget(), key)
        widget = window.focusWidget()
        if widget is None or widget is start:
            return found
        found.append(widget)
        if unseen is not None and not _is_seen(widget):
            unseen.append(_path(widget))
    pytest.fail("Tab does not come round")


@pytest.mark.parametrize("key", [Qt.Key.Key_Tab, Qt.Key.Key_Backtab])
@pytest.mark.parametrize("layout", ["explore", "all"])
def test_tab_comes_to_every_panel_that_is_seen_and_to_nothing_else(
    live: Window, qtbot, layout: str, key: Qt.Key
) -> None:
    live.actions_by_name[f"use_layout.{layout}"].trigger()
    qtbot.waitUntil(lambda: live.complete)
    behind = [dock for dock in live.workspace.docks.values() if not dock.shown]
    assert behind  # else this proves nothing
    found = stops(live, key)
    assert [_path(widget) for widget in found if not widget.isVisible()] == []
    assert [_path(widget) for widget in found if any(dock.isAncestorOf(widget) for dock in behind)] == []
    panels = {dock.panel.key for dock in live.workspace.docks.values() if any(map(dock.isAncestorOf, found))}
    assert panels >= {dock.panel.key for dock in live.workspace.docks.values() if dock.shown}


@pytest.mark.parametrize("layout", NAMES)
def test_where_tab_comes_to_is_always_seen(live: Window, qtbot, layout: str) -> None:
    live.resize(1280, 720)
    live.actions_by_name[f"use_layout.{layout}"].trigger()
    qtbot.waitUntil(lambda: live.complete)
    unseen: list[str] = []
    found = stops(live, Qt.Key.Key_Tab, unseen)
    assert unseen == []
    bars = [bar for bar in live.workspace.findChildren(QTabBar) if _is_seen(bar) and bar.count() > 1]
    assert bars or layout == "teach"
    assert [bar.tabText(0) for bar in bars if bar not in found] == [], "where there is something to choose Tab stops"


def test_tab_leaves_every_picture(live: Window, qtbot) -> None:
    found = stops(live, Qt.Key.Key_Tab)
    assert sum(isinstance(widget, Canvas) for widget in found) >= 4


# ---- from panel to panel -------------------------------------------------------------------------------------------


def focused(window: Window) -> str:
    dock = window.workspace.focused()
    return "" if dock is None else dock.panel.key


def press(window: Window, *keys: Qt.Key, shift: bool = False) -> None:
    modifiers = Qt.KeyboardModifier.ControlModifier
    if shift:
        modifiers |= Qt.KeyboardModifier.ShiftModifier
    for key in keys:
        QTest.keyClick(window.focusWidget() or window, key, modifiers)
        QApplication.processEvents()


def test_ctrl_tab_goes_through_all_open_panels_and_back(live: Window) -> None:
    live.bar.prompt.setFocus()
    keys = list(live.workspace.docks)
    went = []
    for _ in keys:
        press(live, Qt.Key.Key_Tab)
        went.append(focused(live))
        assert live.workspace.docks[went[-1]].shown
        assert live.focusWidget().isVisible()
    assert went == keys
    press(live, Qt.Key.Key_Backtab, shift=True)
    assert focused(live) == keys[-2]


FIRST = {  # what the keyboard comes to in a panel that was never seen before
    "strip": "Tokens of the prompt and of the answer",
    "layers": "Map of the pass",
    "attention": "Attention of one head",
    "residual": "Norm of the residual stream",
    "lens": "First choice by layer and position",
    "cache": "Positions stored by each layer",
    "activations": "Tensor of the point",
    "sampling": "Most probable tokens",
}


def test_ctrl_tab_comes_to_the_main_picture_also_where_it_is_still_to_be_computed(live: Window, qtbot) -> None:
    live.workspace.docks["strip"].take_focus()
    first, waited = {}, []
    for _ in live.workspace.docks:
        press(live, Qt.Key.Key_Tab)
        if isinstance(live.focusWidget(), PanelDock):
            waited.append(live.focusWidget().accessibleName())
        qtbot.waitUntil(lambda: live.complete, timeout=20_000)
        QApplication.processEvents()
        first[focused(live)] = live.focusWidget().accessibleName()
    assert {key: first[key] for key in FIRST} == FIRST
    assert {"Residual stream", "Lens"} <= set(waited), "their pictures come later, and the dock says its name meanwhile"
    assert first["branches"] == "Branches", "there is nothing in it for the keyboard"


def test_ctrl_tab_passes_over_closed_panels_and_stays_with_a_maximised_one(live: Window) -> None:
    live.workspace.docks["layers"].close()
    live.workspace.docks["strip"].take_focus()
    press(live, Qt.Key.Key_Tab)
    assert focused(live) == "attention"
    live.actions_by_name["maximise"].trigger()
    press(live, Qt.Key.Key_Tab)
    assert focused(live) == "attention"


TURNED_TO = {"show_tensors": "tensors", "show_breakpoints": "breakpoints", "show_edits": "edits"}
TURNED_TO |= {"show_branches": "branches", "show_marks": "notes"}


@pytest.mark.parametrize("command", TURNED_TO)
def test_a_command_that_shows_a_panel_gives_it_the_keyboard(live: Window, command: str) -> None:
    live.bar.prompt.setFocus()
    live.actions_by_name[command].trigger()
    QApplication.processEvents()
    assert focused(live) == TURNED_TO[command]
    assert live.focusWidget().isVisible()


def test_a_panel_that_is_asked_for_comes_beside_one_that_was_alone(live: Window) -> None:
    live.workspace.docks["attention"].take_focus()
    live.actions_by_name["maximise"].trigger()
    live.actions_by_name["show_breakpoints"].trigger()
    assert live.workspace.maximised is None
    assert live.workspace.docks["breakpoints"].shown
    assert focused(live) == "breakpoints"


def test_run_hands_the_keyboard_to_pause_and_the_end_to_run(live: Window, qtbot) -> None:
    run, pause, *_ = live.bar.buttons
    live.debugging.set_speed(0)
    run.setFocus()
    QTest.keyClick(run, Qt.Key.Key_Space)
    assert live.state == "running"
    assert live.focusWidget() is pause
    qtbot.waitUntil(lambda: live.context.run.in_pass, timeout=20_000)
    QTest.keyClick(live.focusWidget(), Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: live.state == "paused", timeout=20_000)
    live.debugging.set_speed(FULL)
    QTest.keyClick(live.focusWidget(), Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: live.context.run.ended is not None, timeout=20_000)
    assert live.focusWidget() is run
    live.bar.prompt.setFocus()
    live.actions_by_name["run"].trigger()
    assert live.focusWidget() is live.bar.prompt, "who does not have the keyboard in the bar keeps it"


# ---- arrow keys ----------------------------------------------------------------------------------------------------


def pictures(dock: PanelDock, seen: set[Canvas]) -> list[Canvas]:
    found = [canvas for canvas in dock.findChildren(Canvas) if _is_seen(canvas) and canvas not in seen]
    seen.update(found)
    return [canvas for canvas in found if canvas.focusPolicy() & Qt.FocusPolicy.TabFocus]


def moved(window: Window, canvas: Canvas) -> bool:
    """Whether the arrow keys changed what is picked, and it was read out."""
    canvas.setFocus()
    told = {canvas.accessibleDescription()}
    said = set()
    for key in ARROWS:
        QTest.keyClick(canvas, key)
        QApplication.processEvents()
        told.add(canvas.accessibleDescription())
        said.add(window.status.value.text())
    return bool(canvas.accessibleDescription()) and len(told) > 1 and bool(said & told)


def test_arrow_keys_move_through_every_picture_and_read_it_out(live: Window, qtbot) -> None:
    deaf, seen, count = [], set(), 0
    for key, dock in live.workspace.docks.items():
        live.context.cursor.pin(position=3, layer=1)
        live.workspace.bring_up(key)
        live.workspace.toggle_maximised(dock)
        qtbot.waitUntil(lambda dock=dock: dock.shown and live.complete, timeout=20_000)
        QApplication.processEvents()
        tabs = [pages for pages in dock.findChildren(QTabWidget) if pages.isVisible()]
        for page in range(max([1, *(pages.count() for pages in tabs)])):
            for pages in tabs:
                pages.setCurrentIndex(page)
            qtbot.waitUntil(lambda: live.complete)
            QApplication.processEvents()
            for canvas in pictures(dock, seen):
                count += 1
                if not isinstance(canvas, DrawBar) and not moved(live, canvas):  # greedy: nothing was drawn
                    deaf.append(f"{key}: {type(canvas).__name__} {canvas.accessibleName()}")
        live.workspace.restore_maximised()
    assert deaf == []
    assert count >= 15


@pytest.mark.parametrize("key", ["strip", "layers"])
def test_arrow_keys_move_through_the_tokens_and_the_pass(live: Window, qtbot, key: str) -> None:
    view = live.workspace.docks[key].panel.view  # type: ignore[attr-defined]
    live.context.cursor.pin(position=3, layer=1)
    view.setFocus()
    before = view.accessibleDescription()
    QTest.keyClick(view, Qt.Key.Key_Down if key == "layers" else Qt.Key.Key_Right)
    QApplication.processEvents()
    assert view.accessibleDescription() not in ("", before)
    assert live.context.cursor.pinned.position == (3 if key == "layers" else 4)
    assert live.context.cursor.pinned.layer == (2 if key == "layers" else 1)


def test_the_first_and_the_last_token_are_a_key_away_and_hold(live: Window) -> None:
    view, cursor = live.workspace.docks["strip"].panel.view, live.context.cursor  # type: ignore[attr-defined]
    last = live.context.run.n_tokens - 1
    for key, position in (("Home", 0), ("Left", 0), ("Right", 1), ("End", last), ("Right", last), ("Left", last - 1)):
        QTest.keyClick(view, getattr(Qt.Key, f"Key_{key}"))
        assert cursor.pinned.position == position, key
