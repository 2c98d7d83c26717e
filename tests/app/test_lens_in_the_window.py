"""The lens in the real window: it grows with a run, stands with a stopped pass, and computes only what is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import engine.lens
from app.command_line import Options
from app.panels import PANELS
from app.panels.lens import LensPanel
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow


def opened(make_window: MakeWindow, qtbot: Any, model: Path, tokens: int) -> tuple[Window, LensPanel]:
    options = Options(model=str(model), sampling=GREEDY, tokens=tokens, size=(1600, 900), layout="focus")
    window = make_window(options, panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    window.bar.prompt.setPlainText("The capital of France")
    window.workspace.bring_up("lens")
    qtbot.waitUntil(lambda: window.workspace.docks["lens"].shown, timeout=5_000)
    panel = window.workspace.docks["lens"].panel
    assert isinstance(panel, LensPanel)
    return window, panel


def settled(qtbot: Any, window: Window) -> None:
    qtbot.waitUntil(lambda: window.board.complete, timeout=30_000)


def test_the_focus_layout_has_its_shares_again_after_the_grid(make_window: MakeWindow, qtbot: Any) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720), layout="focus"), panels=PANELS)
    window.pages.setCurrentWidget(window.workspace)
    docks = window.workspace.docks
    for layout in ("all", "explore"):
        window.actions_by_name[f"use_layout.{layout}"].trigger()
        qtbot.waitUntil(lambda layout=layout: docks["residual"].shown == (layout == "all"))
    shares = {"layers": 0.16, "attention": 0.58, "sampling": 0.26}
    qtbot.waitUntil(lambda: all(abs(docks[key].width() / 1280 - share) < 0.03 for key, share in shares.items()))


def test_it_grows_with_the_run_and_follows_the_pin(
    make_window: MakeWindow, qtbot: Any, tiny_model: Path, monkeypatch: Any
) -> None:
    read, begun = engine.lens.read, []

    def counting(model, stream, wanted):
        begun.append((wanted.position, wanted.whole))
        return read(model, stream, wanted)

    monkeypatch.setattr(engine.lens, "read", counting)
    window, panel = opened(make_window, qtbot, tiny_model, 30)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=60_000)
    settled(qtbot, window)
    run = window.context.run
    assert panel.badge() == "recomputed"
    start, columns = panel._lens.start, panel._lens.ids.shape[1]
    assert start + columns == run.n_read
    assert (panel._lens.ids >= 0).all()
    chosen = [piece.id for piece in run.pieces][start + 1 :]
    np.testing.assert_array_equal(panel.values()["ids"][-1], chosen)
    assert len(begun) == len(set(begun)), "no position is read twice"
    for position in (3, 20):
        window.context.cursor.pin(position=position)
        settled(qtbot, window)
        assert panel._column._shown.position == position
        assert panel._lens.start <= position < panel._lens.start + panel._lens.ids.shape[1]


def test_a_stopped_pass_shows_what_is_there_and_goes_on(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> None:
    window, panel = opened(make_window, qtbot, tiny_model, 4)
    for layer in range(2):
        window.actions_by_name["step_layer"].trigger()
        qtbot.waitUntil(
            lambda layer=layer: window.situation().state == "paused" and window.context.run.where.layer == layer,
            timeout=30_000,
        )
        settled(qtbot, window)
        assert (panel._lens.ids[: layer + 2] >= 0).all()
        assert (panel._lens.ids[layer + 2 :] == -1).all()
        assert len(panel._column._shown.ids) == layer + 2
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=60_000)
    settled(qtbot, window)
    assert (panel._lens.ids >= 0).all()


def test_a_hidden_lens_costs_nothing(make_window: MakeWindow, qtbot: Any, tiny_model: Path, monkeypatch: Any) -> None:
    begun: list[int] = []
    monkeypatch.setattr(engine.lens, "read", lambda *given: begun.append(1))
    window, _ = opened(make_window, qtbot, tiny_model, 6)
    window.workspace.bring_up("attention")
    qtbot.waitUntil(lambda: not window.workspace.docks["lens"].shown, timeout=5_000)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=60_000)
    settled(qtbot, window)
    assert begun == []
