"""The meter in a window with a real run: its line, its table, and pictures with less detail while behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QApplication, QTreeWidgetItem

from app.detail import Pace
from app.window import Window
from engine.frames import EndFrame, StepFrame
from engine.questions import AskAttentionGrid
from tests.app.conftest import (
    Journal,
    MakeWindow,
    PlainPanel,
    panel_class,
    slow_passes,
    with_journal,
)

SLOW = 0.02


class SlowToPaint(PlainPanel):
    """Works for long over every paint, and a little over every step."""

    key = "strip"

    def show_run(self) -> None:
        super().show_run()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        super().paintEvent(event)
        until = time.thread_time() + SLOW
        while time.thread_time() < until:
            pass


PANELS = (SlowToPaint, *(panel_class(key) for key in ("layers", "attention", "residual", "cache", "sampling")))


@pytest.fixture
def live(make_window: MakeWindow, qtbot, tiny_model: Path) -> tuple[Window, Journal]:
    window, journal = with_journal(make_window, qtbot, tiny_model, PANELS, tokens=100)
    slow_passes(window, 0.015)
    return window, journal


def run_through(window: Window, journal: Journal, qtbot) -> None:
    before = journal.count_of(EndFrame)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) > before, timeout=60_000)


def rows(window: Window) -> dict[str, QTreeWidgetItem]:
    found: dict[str, QTreeWidgetItem] = {}
    table = window.meter_page.table
    for index in range(table.topLevelItemCount()):
        head = table.topLevelItem(index)
        for item in (head, *(head.child(child) for child in range(head.childCount()))):
            found[item.data(0, Qt.ItemDataRole.UserRole)] = item
    return found


def test_nothing_is_shown_before_a_run(live) -> None:
    window, _ = live
    assert not window.status.meter.isVisible()
    window.actions_by_name["show_cost"].trigger()
    assert "Nothing has run yet" in window.meter_page.plain.text()
    assert window.meter_page.table.topLevelItemCount() == 0


def test_the_line_the_table_and_whose_painting_it_was(live, qtbot) -> None:
    window, journal = live
    run_through(window, journal, qtbot)
    meter = window.status.meter
    assert meter.isVisible()
    assert meter.text().startswith("watching +")
    assert meter.accessibleName() == "What watching costs"
    assert "pictures/s" in meter.accessibleDescription()
    qtbot.mouseClick(meter, Qt.MouseButton.LeftButton)
    assert window.meter_page.isVisible()
    found = rows(window)
    assert {"engine", "record", "frame", "window", "window strip", "window bars"} <= found.keys()
    cost = dict(window.accounts.figures.window.parts)
    others = max((seconds for part, seconds in cost.items() if part in ("layers", "attention", "residual")), default=0)
    assert cost["strip"] > 3 * others, "painting is booked to the panel that caused it"
    assert cost["strip"] >= 0.5 * SLOW * window.accounts.figures.window.pictures


def test_the_page_belongs_to_the_keyboard_too(live, qtbot) -> None:
    window, journal = live
    run_through(window, journal, qtbot)
    action = window.actions_by_name["show_cost"]
    assert action.text() == "What &watching costs"
    action.trigger()
    page = window.meter_page
    assert page.isVisible()
    assert page.table.hasFocus() or QApplication.focusWidget() is None  # a window without a display may have no focus
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    assert page.table.currentItem() is not None
    assert page.table.accessibleName()
    assert page.geometry().intersected(window.rect()) == page.geometry()
    window.actions_by_name["undo_one"].trigger()
    assert not page.isVisible()
    action.trigger()
    action.trigger()
    assert not page.isVisible()


def test_the_chosen_row_stays_when_figures_come(live, qtbot) -> None:
    window, journal = live
    run_through(window, journal, qtbot)
    window.actions_by_name["show_cost"].trigger()
    item = rows(window)["window strip"]
    window.meter_page.table.setCurrentItem(item)
    window.meter_page.show_figures(window.accounts.figures)
    assert window.meter_page.table.currentItem() is item


def test_less_detail_while_behind_and_all_of_it_on_a_pause(live, qtbot) -> None:
    window, _ = live
    panel = window.workspace.docks["attention"].panel
    panel.asked = {"attention.grid": AskAttentionGrid(0, 128)}
    window.bar.tokens.setValue(450)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.situation().state == "running" and bool(window.context.run.steps), timeout=30_000)
    for second in (0, 10):
        window.accounts.detail.judge(second, Pace(picture=1.0))
    window.board.set_halvings(window.accounts.detail.halvings)
    assert window.board.lowered == {"attention"}
    assert window.board._watches["attention.grid"] == AskAttentionGrid(0, 64)
    window.accounts._due = 0.0
    qtbot.waitUntil(
        lambda: "detail halved to keep up" in window.workspace.docks["attention"].bar._texts[1], timeout=9_000
    )
    assert "detail" not in window.workspace.docks["strip"].bar._texts[1]
    window.actions_by_name["pause"].trigger()
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=9_000)
    qtbot.waitUntil(lambda: window.board.lowered == frozenset(), timeout=9_000)
    assert window.board._watches["attention.grid"] == AskAttentionGrid(0, 128)
    qtbot.waitUntil(lambda: window.workspace.docks["attention"].bar._texts[1] == "", timeout=9_000)
    qtbot.waitUntil(lambda: window.board.complete, timeout=9_000)
    assert window.accounts.detail.halvings == 0
    window.actions_by_name["stop"].trigger()
    qtbot.waitUntil(lambda: window.situation().state == "idle", timeout=9_000)


def test_a_picture_ages_with_every_token_until_its_answer_comes(live, qtbot) -> None:
    window, journal = live
    panel = window.workspace.docks["attention"].panel
    panel.asked = {"attention.grid": AskAttentionGrid(0, 128)}
    run_through(window, journal, qtbot)
    assert journal.count_of(StepFrame) == 100
    asked = {part for step in window.context.run.steps for part, _ in step.watch.parts}
    assert "answer attention.grid" in asked, "metered under the key of who asked"
    board = window.board
    qtbot.waitUntil(lambda: board.complete, timeout=9_000)
    before = board.late
    board.pieces(True, [], 3)
    assert board.late == before + 3
    assert before <= 100
