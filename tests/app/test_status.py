"""The status bar: what it takes for all to fit, and what gives way where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QMainWindow

from app import theme as themes
from app.status import StatusBar
from app.theme import DARK
from tests.app.made_runs import WORDS, grow, prompted


@pytest.fixture
def status(qtbot: Any) -> Iterator[StatusBar]:
    window, made = QMainWindow(), StatusBar()
    qtbot.addWidget(window)
    window.setStatusBar(made)
    window.resize(1600, 300)
    window.show()
    run = prompted(WORDS)
    grow(run)
    made.show_run(run, "ended: limit")
    made.meter.show_texts("watching +4.7 % · window 7.4 %", "watching +4.7 %", "What watching costs")
    made.show_run(run, "ended: limit")
    yield made
    window.close()


def right_end(status: StatusBar) -> int:
    return status.meter.geometry().right()


@pytest.mark.parametrize(("width", "points"), [(1600, 10.0), (960, 10.0), (1280, 15.0), (960, 15.0)])
def test_nothing_is_pushed_off_the_window(
    status: StatusBar, qtbot: Any, qapp: QApplication, width: int, points: float
) -> None:
    try:
        themes.apply(DARK, qapp, points)
        status.window().resize(width, 300)
        qtbot.waitUntil(lambda: right_end(status) < width)
        assert status.record.width() >= status.record.sizeHint().width(), "what the record takes is not cut"
    finally:
        themes.apply(DARK, qapp, 10.0)


def test_the_model_gives_way_first_and_comes_back(status: StatusBar, qtbot: Any) -> None:
    assert status.model.isVisible()
    status.window().resize(660, 300)
    qtbot.waitUntil(lambda: not status.model.isVisible())
    status.window().resize(1600, 300)
    qtbot.waitUntil(lambda: status.model.isVisible() and status.memory.isVisible())
