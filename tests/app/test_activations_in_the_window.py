"""The activations panel in the real window: a double click on a stage, the keys that walk, a stop inside the pass."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt

from app.command_line import Options
from app.panels import PANELS
from app.panels.activations import ActivationsPanel
from app.window import Window
from engine.frames import ErrorFrame
from tests.app.conftest import GREEDY, MakeWindow


@pytest.fixture
def window(make_window: MakeWindow, qtbot: Any) -> Window:
    """The built-in model and a finished run."""
    options = Options(model="demo", sampling=GREEDY, tokens=4, size=(1500, 950), layout="focus")
    made = make_window(options, panels=PANELS, start=True)
    qtbot.waitUntil(lambda: made.context.run.model is not None, timeout=60_000)
    made.bar.prompt.setPlainText("Once upon a time")
    return made


def panel(window: Window) -> ActivationsPanel:
    return next(panel for panel in window.board.panels if isinstance(panel, ActivationsPanel))


def ran(window: Window, qtbot: Any) -> None:
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=60_000)


def test_a_double_click_on_a_stage_shows_its_tensor(window: Window, qtbot: Any) -> None:
    ran(window, qtbot)
    window.context.cursor.pin(layer=2)
    view = window.workspace.docks["layers"].panel.view
    row = next(index for index, row in enumerate(view.rows) if row.stage == "rope")
    place = QPoint(view.viewport().width() // 2, round((row + 0.5) * view._high) - view.verticalScrollBar().value())
    qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: window.workspace.docks["activations"].shown and window.complete, timeout=20_000)
    assert panel(window).view.tensor.name == "blocks.2.attn.hook_rot_k"
    assert panel(window).caption().startswith("blocks.2.attn.hook_rot_k, position 7")


def test_enter_on_a_layer_shows_what_leaves_it(window: Window, qtbot: Any) -> None:
    ran(window, qtbot)
    window.context.cursor.pin(layer=3)
    qtbot.keyClick(window.workspace.docks["layers"].panel.view, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.workspace.docks["activations"].shown and window.complete, timeout=20_000)
    assert panel(window).view.tensor.name == "blocks.3.hook_resid_post"
    assert panel(window).badge() == "captured"


def test_keys_walk_over_the_edge_of_a_layer_and_back(window: Window, qtbot: Any) -> None:
    ran(window, qtbot)
    window.context.cursor.pin(layer=1, point="hook_resid_post")
    for command, name in (
        ("next_point", "blocks.2.hook_resid_pre"),
        ("next_point", "blocks.2.ln1.hook_scale"),
        ("previous_point", "blocks.2.hook_resid_pre"),
        ("previous_point", "blocks.1.hook_resid_post"),
    ):
        window.actions_by_name[command].trigger()
        shown = panel(window)
        qtbot.waitUntil(lambda: window.complete, timeout=20_000)
        assert shown.view.tensor is not None
        assert shown.view.tensor.name == name
    assert window.workspace.docks["activations"].shown


def test_stopped_in_a_layer_later_points_are_hatched_and_come_with_the_pass(window: Window, qtbot: Any) -> None:
    frames: list[object] = []
    window.received.connect(frames.append)
    window.workspace.bring_up("activations")
    window.context.cursor.pin(layer=1, point="attn.hook_z")
    window.actions_by_name["step_layer"].trigger()
    qtbot.waitUntil(lambda: window.situation().state == "paused" and window.complete, timeout=60_000)
    assert "has not been computed" in panel(window).view.absent.sentence
    rows = {row.full_name: row.absent for row in panel(window).list.rows}
    assert rows["blocks.1.attn.hook_z"]
    assert not rows["hook_embed"]
    window.actions_by_name["step_layer"].trigger()
    qtbot.waitUntil(
        lambda: window.situation().state == "paused" and window.complete and panel(window).values() != {},
        timeout=60_000,
    )
    assert panel(window).values()["values"].shape == (6, 32)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=60_000)
    assert panel(window).caption().startswith("blocks.1.attn.hook_z, position 7")
    assert not any(isinstance(frame, ErrorFrame) for frame in frames)


def test_a_hidden_panel_asks_nothing(window: Window, qtbot: Any) -> None:
    window.workspace.bring_up("attention")
    ran(window, qtbot)
    assert not any(key.startswith("activations") for key in window.board.watched)
    window.workspace.bring_up("activations")
    qtbot.waitUntil(lambda: "activations.tensor" in window.board.watched and window.complete, timeout=20_000)
    assert panel(window).view.tensor is not None
