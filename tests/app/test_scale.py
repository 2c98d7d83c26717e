"""Sizes: on every screen scale and at every size of the text nothing is cut off and nothing lies over another."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

from app.command_line import Options
from app.layout_names import NAMES
from app.panels import PANELS
from app.panels.token_strip import TokenStrip
from app.theme import DARK
from app.widgets.line_chart import Chart, LineChart
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow

SCREEN = (1920, 1080)  # pixels of the screen


def shown(window: Window, model: Path, qtbot, points: float) -> None:
    """A run, in this size of text."""
    window.looks.wear("dark", points)
    window.worker.start()
    window.filing.open_model(str(model))
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    window.bar.prompt.setPlainText("hello world")
    window.bar.tokens.setValue(3)
    window.run_prompt()
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=30_000)
    settle()


def settle() -> None:
    for _ in range(40):  # layouts answer layouts
        QApplication.processEvents()


def cut_off(window: QWidget) -> list[str]:
    """The texts of buttons and labels that have less room than they need; captions of panels have theirs in a tip."""
    found = []
    for widget in (*window.findChildren(QAbstractButton), *window.findChildren(QLabel)):
        captions = widget.objectName() == "caption" or widget.minimumWidth() == 1  # cut off by design
        if not widget.isVisible() or not widget.text() or captions or getattr(widget, "wordWrap", bool)():
            continue
        needed = min(widget.sizeHint().width(), widget.minimumSizeHint().width())
        if widget.width() < needed - 1:
            found.append(f"{widget.text()!r}: {widget.width()} of {needed}")
    return found


def overlaps(window: Window) -> list[tuple[str, str]]:
    """Panels that lie over each other, or outside."""
    docks = [dock for dock in window.workspace.docks.values() if dock.shown and not dock.isFloating()]
    pairs = [(a, b) for a, b in combinations(docks, 2) if a.geometry().intersects(b.geometry())]
    outside = [dock for dock in docks if not window.workspace.rect().contains(dock.geometry())]
    return [(a.panel.key, b.panel.key) for a, b in pairs] + [(dock.panel.key, "the rim") for dock in outside]


@pytest.mark.parametrize(
    ("size", "points"),
    [((960, 540), 10), ((1280, 720), 15), (SCREEN, 20)],
    ids=lambda part: "x".join(map(str, part)) if isinstance(part, tuple) else f"{part}pt",
)
def test_nothing_is_cut_off_and_nothing_lies_over_another(
    make_window: MakeWindow, tiny_model: Path, qtbot, size: tuple[int, int], points: float
) -> None:
    window = make_window(Options(sampling=GREEDY, size=size), PANELS)
    shown(window, tiny_model, qtbot, points)
    for name in NAMES:
        window.arranging.use_layout(name)
        settle()
        assert (window.width(), window.height()) == size
        assert overlaps(window) == [], name
        assert cut_off(window) == [], name


def test_twice_the_text_in_a_small_window_lies_over_nothing(make_window: MakeWindow, tiny_model: Path, qtbot) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)), PANELS)
    shown(window, tiny_model, qtbot, 20)
    assert overlaps(window) == []


@pytest.mark.parametrize(("name", "points"), [("explore", 15), ("all", 10)])
def test_the_timeline_has_its_room(make_window: MakeWindow, tiny_model: Path, qtbot, points: float, name: str) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720), layout=name), PANELS)
    shown(window, tiny_model, qtbot, points)
    assert isinstance(window.strip, TokenStrip)
    assert window.strip.timeline.isVisible()


def test_larger_text_leaves_the_timeline_its_room(make_window: MakeWindow, tiny_model: Path, qtbot) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)), PANELS)
    shown(window, tiny_model, qtbot, 10)
    window.looks.wear("dark", 15)
    qtbot.waitUntil(window.strip.timeline.isVisible, timeout=5_000)  # docks are given their sizes a few events later
    qtbot.wait(600)  # panels ask anew 200 ms after they were resized
    assert window.strip.timeline.isVisible()


@pytest.mark.parametrize("factor", ["1.5", "2"])
def test_it_starts_on_every_scale_of_the_screen(tiny_model: Path, tmp_path: Path, factor: str) -> None:
    picture = tmp_path / "shot.png"
    size = "x".join(str(round(side / float(factor))) for side in SCREEN)
    arguments = ["--model", str(tiny_model), "--prompt", "hello", "--tokens", "2", "--greedy", "--size", size]
    done = subprocess.run(
        [sys.executable, "-m", "app.main", *arguments, "--screenshot", str(picture)],
        env={**os.environ, "QT_SCALE_FACTOR": factor, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    image = QImage(str(picture))
    assert (image.width(), image.height()) == SCREEN


@pytest.mark.parametrize("height", [60, 80, 110, 200, 400])
@pytest.mark.parametrize("log", [False, True])
def test_the_figures_of_an_axis_have_room_for_each_other(qtbot, height: int, log: bool) -> None:
    chart = LineChart(DARK, "bytes")
    qtbot.addWidget(chart)
    chart.resize(200, height)
    ends = (1.0, 1e6) if log else (0.0, 40_000.0)
    chart.show_chart(Chart((), "x", "y", 0, 10, *ends, y_log=log, computed=10))
    chart.show()
    chart.settle()
    places = sorted(float(chart._y_of(np.array(value))) for value, _ in chart._ticks)
    assert places
    assert all(below - above >= chart.metrics().height() for above, below in pairwise(places))


def test_boxes_to_tick_follow_the_text(make_window: MakeWindow) -> None:
    window = make_window()
    window.pages.setCurrentWidget(window.workspace)
    heights = []
    for points in (10, 20):
        window.looks.wear("dark", points)
        heights.append(window.bar.chat.sizeHint().height())
    window.looks.take_off()
    assert heights[1] >= 1.8 * heights[0]
