"""The shelf of tensors inside the window: it comes up by its command, and is read beside the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.command_line import Options
from app.panels import PANELS
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow


def listed(window: Window) -> bool:
    panel = window.tensors_panel
    return panel is not None and panel.caption() != "" and window.board.complete


def test_the_command_brings_it_up_and_the_loaded_model_is_listed(
    qtbot: Any, make_window: MakeWindow, tiny_model: Path
) -> None:
    window = make_window(Options(model=str(tiny_model), sampling=GREEDY, tokens=4), panels=PANELS, start=True)
    panel = window.tensors_panel
    assert panel is not None
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    assert panel.caption() == "", "hidden it reads nothing"
    window.actions_by_name["show_tensors"].trigger()
    qtbot.waitUntil(lambda: listed(window), timeout=20_000)
    assert panel.caption().startswith(f"{tiny_model.name}: 30 tensors")
    window.bar.prompt.setPlainText("hello")
    window.run_prompt()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=20_000)
    qtbot.waitUntil(lambda: listed(window), timeout=20_000)


def test_another_model_is_looked_at_while_none_is_loaded(qtbot: Any, make_window: MakeWindow, tiny_model: Path) -> None:
    window = make_window(Options(sampling=GREEDY), panels=PANELS, start=True)
    panel = window.tensors_panel
    window.show_tensors(str(tiny_model))
    qtbot.waitUntil(lambda: listed(window), timeout=60_000)
    panel._tabs.setCurrentWidget(panel.figures)
    panel.tree.pick(panel._outline().leaves[0])
    qtbot.waitUntil(lambda: panel.figures.counted is not None and window.board.complete, timeout=60_000)
    assert window.context.run.model is None
    assert not window.error_bar.isVisible()
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    qtbot.waitUntil(lambda: listed(window), timeout=20_000)
    assert panel.figures.entry is not None, "what was picked is still there"


def test_a_source_that_is_none_is_said_in_the_panel(qtbot: Any, make_window: MakeWindow, tmp_path: Path) -> None:
    window = make_window(Options(sampling=GREEDY), panels=PANELS, start=True)
    window.show_tensors(str(tmp_path / "nothing"))
    sentence = window.tensors_panel._pages._sentence
    qtbot.waitUntil(lambda: "There is no file or folder" in sentence.text(), timeout=20_000)
    assert not window.error_bar.isVisible()
