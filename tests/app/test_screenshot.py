"""``--screenshot`` as a user runs it: a picture without a display, or one sentence and code 1."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtGui import QImage

from app.application import make_window
from app.command_line import parse
from tests.app.test_command_line import fluoroscope, one_sentence


def arguments(model: Path, target: Path, *more: str) -> list[str]:
    given = ["--model", str(model), "--prompt", "hello", "--tokens", "3", "--greedy", "--screenshot", str(target)]
    return [*given, *more]


def shoot(model: Path, target: Path, *more: str):
    return fluoroscope(*arguments(model, target, *more))


def colours(image: QImage) -> int:
    """How many different pixels the picture has, looking at every eighth."""
    places = ((x, y) for x in range(0, image.width(), 8) for y in range(0, image.height(), 8))
    return len({image.pixel(x, y) for x, y in places})


@pytest.mark.parametrize(
    "more",
    [("--size", "1280x720"), ("--size", "1920x1080", "--theme", "light", "--layout", "grid")],
    ids=["focus dark", "grid light"],
)
def test_it_writes_the_picture(tiny_model: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    done = shoot(tiny_model, tmp_path / "shot.png", *more)
    assert (done.returncode, done.stderr) == (0, "")
    image = QImage(str(tmp_path / "shot.png"))
    assert f"{image.width()}x{image.height()}" == more[1]
    assert colours(image) > 40
    assert [path.name for path in tmp_path.iterdir()] == ["shot.png"]
    assert (image.pixelColor(2, image.height() - 2).lightness() > 128) == ("light" in more)


def test_it_can_stop_inside_a_layer(tiny_model: Path, tmp_path: Path) -> None:
    whole, paused = tmp_path / "whole.png", tmp_path / "paused.png"
    assert shoot(tiny_model, whole).returncode == 0
    done = shoot(tiny_model, paused, "--pause-at", "1", "--layer", "2", "--head", "1", "--position", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert QImage(str(whole)) != QImage(str(paused))


def test_a_layer_that_does_not_exist_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    done = shoot(tiny_model, tmp_path / "shot.png", "--layer", "3")
    assert done.returncode == 1
    assert one_sentence(done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "more",
    [("--layer", "3"), ("--head", "4"), ("--expert", "0"), ("--position", "8"), ("--pause-at", "3"), ("--chat",)],
    ids=lambda more: more[0],
)
@pytest.mark.usefixtures("no_leaks")
def test_a_place_that_does_not_exist_is_one_sentence(
    qtbot: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """The same in this process, which does not end: the window closes by itself."""
    codes: list[int] = []
    monkeypatch.setattr("app.screenshot.QCoreApplication", SimpleNamespace(exit=codes.append))
    window = make_window(parse(arguments(tiny_model, tmp_path / "shot.png", *more)))
    window.show()
    window.worker.start()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=60_000)
    assert (window.closed_in_time, codes) == (True, [1])
    window.deleteLater()
    said = capsys.readouterr().err
    assert one_sentence(said), said
    assert not (tmp_path / "shot.png").exists()


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    done = shoot(tmp_path / "nothing", tmp_path / "shot.png")
    assert done.returncode == 1
    assert one_sentence(done.stderr)


def test_an_unwritable_place_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    done = shoot(tiny_model, tmp_path / "no folder" / "shot.png")
    assert done.returncode == 1
    assert one_sentence(done.stderr)


def test_an_empty_prompt_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    done = fluoroscope("--model", str(tiny_model), "--prompt", "", "--screenshot", str(tmp_path / "shot.png"))
    assert done.returncode == 1
    assert one_sentence(done.stderr)
