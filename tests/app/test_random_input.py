"""A short run of random mouse and keys; ``python -m tests.app.random_input`` makes thousands. What it looks for is
shown to be found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from app.cursor import Cursor
from tests.app import random_input
from tests.app.state_machine import two_models

EVENTS = 300


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return two_models(tmp_path)[1]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("own_computer", "no_leaks")
def test_random_mouse_and_keys_break_nothing(qapp: QApplication, model: Path, files: Path) -> None:
    done = random_input.run(model, files, EVENTS, seed=1)
    assert sum(done.values()) > EVENTS // 2
    assert set(done) >= {"click", "press_key", "move", "wheel"}


@pytest.mark.usefixtures("own_computer", "no_leaks")
def test_a_mistake_in_the_window_is_found(
    qapp: QApplication, model: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Cursor, **place: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(Cursor, "pin", broken)
    with pytest.raises(AssertionError, match=r"planted[\s\S]*after"):
        random_input.run(model, files, 2000, seed=2)
