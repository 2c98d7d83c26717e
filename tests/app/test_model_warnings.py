"""What a model's file has and the model does without is said from its file on to the window's notice."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from app.window import Window
from engine.frames import ModelFrame
from tests.app.conftest import MakeWindow


def test_an_unknown_tensor_is_named(make_window: MakeWindow, qtbot, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(tiny_model, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"model.layers.0.mystery.weight": torch.ones(3)}, folder / "model.safetensors")
    window = make_window(start=True)
    qtbot.waitUntil(lambda: window.ready, timeout=60_000)
    _open(window, qtbot, folder)
    notice = window.notice_bar
    assert notice.isVisible()
    assert notice.sentences.text().endswith("does without: model.layers.0.mystery.weight.")
    _open(window, qtbot, tiny_model)
    assert not notice.isVisible()


def _open(window: Window, qtbot, folder: Path) -> None:
    def opened() -> bool:
        model = window.context.run.model
        return isinstance(model, ModelFrame) and model.name == folder.name and not window.filing.loading

    window.filing.open_model(str(folder))
    qtbot.waitUntil(opened, timeout=20_000)
