"""Attention maps live as long as somebody looks at them: by the worker, while idle and in a run, and in the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.command_line import Options
from app.panels.attention import AttentionPanel
from app.widgets.zoom_map import View
from app.window import Window
from app.worker import Worker
from engine.frames import AnswerFrame, EndFrame, StepFrame
from engine.questions import AskAttentionGrid, AskAttentionMap
from tests.app.conftest import GREEDY, PLAIN_PANELS, MakeWindow
from tests.app.test_worker import Reader, loaded, reader, request

_fixtures = (loaded, reader)
_PANELS = tuple(AttentionPanel if panel.key == "attention" else panel for panel in PLAIN_PANELS)


def _kept(worker: Worker) -> set[object]:
    return set(worker._session.kept_maps)


def _followed(worker: Worker) -> list[int]:
    """How many maps take rows from the passes of each layer."""
    points = worker._session.loaded.model.points
    return [len(points[f"blocks.{layer}.attn.hook_pattern"].observers) for layer in range(3)]


def _soon(condition: Callable[[], bool], reader: Reader) -> None:
    reader.until(lambda frame: condition(), seconds=10)


def test_a_run_captures_only_what_is_watched_now(worker: Worker, loaded: Reader) -> None:
    """Other layer, then another panel: the next pass captures nothing of the old one."""
    worker.watch("attention.grid", AskAttentionGrid(0))
    worker.run(request(tokens=400))
    loaded.until(lambda frame: isinstance(frame, AnswerFrame) and frame.answer.source == "captured + recomputed")
    assert _followed(worker) == [1, 0, 0]
    worker.watch("attention.grid", AskAttentionGrid(2))
    _soon(lambda: _followed(worker) == [0, 0, 1], loaded)
    assert _kept(worker) == {AskAttentionGrid(2)}
    worker.watch("attention.grid", None)
    _soon(lambda: _followed(worker) == [0, 0, 0], loaded)
    assert _kept(worker) == set()
    worker.stop()
    loaded.next(EndFrame)


def test_while_idle_maps_go_at_once(qtbot: Any, worker: Worker, loaded: Reader) -> None:
    worker.run(request(tokens=3))
    loaded.next(EndFrame)
    worker.watch("attention.map", AskAttentionMap(1, 2))
    loaded.next(AnswerFrame)
    assert _kept(worker) == {AskAttentionMap(1, 2)}
    worker.watch("attention.map", AskAttentionMap(1, 2, rows=(2, 5), columns=(0, 4)))
    loaded.next(AnswerFrame)
    assert _kept(worker) == {AskAttentionMap(1, 2, rows=(2, 5), columns=(0, 4))}
    worker.watch("attention.map", None)
    qtbot.waitUntil(lambda: not _kept(worker), timeout=5_000)


@pytest.fixture
def window(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> Window:
    options = Options(model=str(tiny_model), sampling=GREEDY, tokens=5, size=(1280, 720))
    made = make_window(options, panels=_PANELS, start=True)
    qtbot.waitUntil(lambda: made.context.run.model is not None, timeout=60_000)
    made.bar.prompt.setPlainText("abcdefghijklmnopqrstuvwxyz0123456789")
    ended: list[object] = []
    made.received.connect(lambda frame: ended.append(frame) if isinstance(frame, EndFrame) else None)
    made.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: bool(ended) and made.board.complete, timeout=30_000)
    return made


def test_the_window_keeps_maps_of_the_layer_and_part_on_screen_only(window: Window, qtbot: Any) -> None:
    worker, panel = window.worker, window.workspace.docks["attention"].panel

    def settled(layer: int, rows: object) -> bool:
        kept = _kept(worker)
        places = {(question.layer, getattr(question, "rows", None)) for question in kept}
        return window.board.complete and len(kept) == 2 and places == {(layer, None), (layer, rows)}

    qtbot.waitUntil(lambda: settled(0, None), timeout=5_000)
    window.context.cursor.pin(layer=2)
    qtbot.waitUntil(lambda: settled(2, None), timeout=5_000)
    panel._large.go(View((5, 20), (3, 18)))
    qtbot.waitUntil(lambda: settled(2, (5, 20)), timeout=5_000)
    assert "queries 5–19, keys 3–17" in panel.caption()
    window.workspace.docks["attention"].hide()
    qtbot.waitUntil(lambda: not _kept(worker), timeout=5_000)


def test_esc_leaves_the_part_before_it_frees_the_position(window: Window, qtbot: Any) -> None:
    panel = window.workspace.docks["attention"].panel
    window.context.cursor.pin(position=7)
    panel._large.go(View((5, 20), (3, 18)))
    panel._large.go(View((6, 15), (3, 12)))
    for view, position in ((View((5, 20), (3, 18)), 7), (None, 7), (None, None)):
        window.actions_by_name["undo_one"].trigger()
        assert (panel._large.view, window.context.cursor.pinned.position) == (view, position)


def test_a_part_stays_while_the_run_goes_on(window: Window, qtbot: Any) -> None:
    panel = window.workspace.docks["attention"].panel
    panel._large.go(View((5, 20), (3, 18)))
    qtbot.waitUntil(lambda: "queries 5–19" in panel.caption(), timeout=5_000)
    steps: list[object] = []
    window.received.connect(lambda frame: steps.append(frame) if isinstance(frame, StepFrame) else None)
    before = panel.values()["map"].copy()
    window.bar.prompt.setPlainText("abcdefghijklmnopqrstuvwxyz0123456789")
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: len(steps) == 5 and window.board.complete, timeout=30_000)
    assert panel._large.view is None, "another run is shown as a whole"
    assert (panel.values()["map"][5:20, 3:18] == before).all()
