"""Models of every kind of layer in the real window: opened, stopped inside each kind, run past the window's edge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt

from app.command_line import Options
from app.notice_bar import NoticeBar
from app.panels import PANELS
from app.theme import LIGHT
from app.widgets.pass_rows import State
from app.window import Window
from engine.frames import EndFrame, ErrorFrame
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.kinds import KINDS, PROMPT, KindsOnDisk

STEPPED = ("gemma3_text-default", "llama4_text-default", "deepseek_v3-default", "gpt_oss-default", "olmo2-default")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsOnDisk:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


def opened(make_window: MakeWindow, qtbot: Any, kinds: KindsOnDisk, variant: str) -> Window:
    options = Options(model=str(kinds[variant].folder), sampling=GREEDY, tokens=6, layout="grid", size=(1600, 900))
    window = make_window(options, panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    window.bar.prompt.setPlainText(PROMPT)
    return window


@pytest.mark.parametrize("variant", KINDS)
def test_a_run_past_the_window_fills_every_panel(
    make_window: MakeWindow, qtbot: Any, kinds: KindsOnDisk, variant: str
) -> None:
    window = opened(make_window, qtbot, kinds, variant)
    frames: list[object] = []
    window.received.connect(frames.append)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: any(isinstance(frame, EndFrame) for frame in frames), timeout=60_000)
    for layer in range(window.context.run.model.n_layers):
        window.context.cursor.pin(layer=layer)
        qtbot.waitUntil(lambda: window.board.complete, timeout=10_000)
        panels = {key: dock.panel for key, dock in window.workspace.docks.items()}
        assert f"layer {layer}" in panels["attention"].caption()
        cache = panels["cache"]
        assert cache.values()["keys"].shape[0] == window.context.run.model.layers[layer].n_kv_heads
        assert ("latent" in cache.values()) == cache._latent.isVisible() == variant.startswith("deepseek")
        assert cache.badge()
        assert cache.caption()
    assert not any(isinstance(frame, ErrorFrame) for frame in frames)
    assert not window.error_bar.isVisible()


@pytest.mark.parametrize("variant", STEPPED)
def test_stages_of_each_kind_are_stopped_at_in_their_order(
    make_window: MakeWindow, qtbot: Any, kinds: KindsOnDisk, variant: str
) -> None:
    window = opened(make_window, qtbot, kinds, variant)
    layers = window.context.run.model.layers
    stopped: list[tuple[int | None, str]] = []

    def step(name: str) -> None:
        before = window.context.run.where
        window.actions_by_name[name].trigger()
        qtbot.waitUntil(
            lambda: window.situation().state == "paused" and window.context.run.where != before, timeout=10_000
        )
        where = window.context.run.where
        stopped.append((where.layer, where.stage))

    seen: set[object] = set()
    while not stopped or stopped[-1] != (None, "embed"):
        step("step_stage")
    for layer, facts in enumerate(layers):
        new = facts not in seen
        seen.add(facts)
        for stage in facts.stages if new else (facts.stages[-1],):
            step("step_stage" if new else "step_layer")
            assert stopped[-1] == (layer, stage)
            values = window.workspace.docks["layers"].panel.values()
            assert {State(found) for found in values["state"][values["layer"] > layer]} <= {State.ABSENT}
    window.actions_by_name["stop"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=10_000)


def test_what_files_have_too_much_is_said_once(qtbot: Any, kinds: KindsOnDisk) -> None:
    frame = replace(kinds["gpt2-default"].loaded.model_frame(), warnings=("The file has 2 tensors too many.",))
    bar = NoticeBar()
    qtbot.addWidget(bar)
    bar.restyle(LIGHT)
    bar.show_model(frame)
    assert bar.isVisibleTo(None)
    assert bar.sentences.text() == "The file has 2 tensors too many."
    qtbot.mouseClick(bar.dismiss, Qt.MouseButton.LeftButton)
    bar.show_model(frame)
    assert not bar.isVisibleTo(None)
    bar.show_model(replace(frame, source="other"))
    assert bar.isVisibleTo(None)
    bar.show_model(replace(frame, source="quiet", warnings=()))
    assert not bar.isVisibleTo(None)


def test_the_window_says_which_tensors_a_model_does_without(
    make_window: MakeWindow, qtbot: Any, kinds: KindsOnDisk, tmp_path: Any
) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "with more"
    shutil.copytree(kinds["olmo2-default"].folder, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "model.layers.0.unheard_of.weight": torch.ones(2)}, folder / "model.safetensors")
    window = make_window(Options(model=str(folder), sampling=GREEDY), panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    qtbot.waitUntil(window.notice_bar.isVisible, timeout=5_000)
    assert "unheard_of" in window.notice_bar.sentences.text()
    assert not window.error_bar.isVisible()
