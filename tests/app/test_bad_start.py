"""A damaged installation, and places that cannot be written: the program opens, says so, and offers other ways in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt

from app.command_line import parse
from app.notices import ReadyFrame
from app.preferences import Preferences
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow


def opened(make_window: MakeWindow, qtbot) -> Window:
    """The window of a start without arguments, once its engine is there and has tried to open the model."""
    window = make_window(replace(parse([]), sampling=GREEDY), start=True)
    qtbot.waitUntil(lambda: window.ready and not window.filing.loading, timeout=60_000)
    return window


def in_the_way(tmp_path: Path) -> Path:
    """A folder that cannot be made, even by root: a file stands where its parent should be."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "below"


# ---- the model -------------------------------------------------------------------------------------------------


def _remove_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "missing from this installation"),
        (_remove_folder, "missing from this installation"),
        (_cut_weights, "truncated"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json"),
    ],
    ids=["no config", "no folder", "cut weights", "no weights", "damaged config", "damaged tokenizer"],
)
def test_a_damaged_model_is_a_sentence_and_another_can_be_opened(
    make_window: MakeWindow, qtbot, embedded: Path, tiny_model: Path, damage, words: str
) -> None:
    damage(embedded)
    window = opened(make_window, qtbot)
    qtbot.waitUntil(lambda: words in window.error_bar.sentence.text(), timeout=10_000)
    said = window.error_bar.sentence.text()
    assert "install" in said
    assert "open another model" in said
    assert window.error_bar.details.toPlainText() == said  # no traceback: nothing unexpected has happened
    assert window.error_bar.isVisible()
    assert window.pages.currentWidget() is window.start_page
    assert window.start_page.folder.isEnabled()
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.pages.currentWidget() is window.workspace, timeout=30_000)


# ---- the cache -------------------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_made_is_said_when_it_is_needed(
    make_window: MakeWindow, qtbot, embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(in_the_way(tmp_path)))
    window = opened(make_window, qtbot)
    assert not window.error_bar.isVisible()
    window.start_page.rows["smollm2"].button.click()
    qtbot.waitUntil(window.error_bar.isVisible, timeout=20_000)
    assert "cannot be written (Not a directory)" in window.error_bar.sentence.text()
    assert "FLUOROSCOPE_CACHE" in window.error_bar.sentence.text()


def test_without_a_home_there_is_no_cache_and_the_model_opens(
    make_window: MakeWindow, qtbot, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FLUOROSCOPE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    window = opened(make_window, qtbot)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    assert "no home folder" in window.error_bar.sentence.text()
    assert window.pages.currentWidget() is window.workspace


def test_a_cache_that_holds_nonsense_is_no_obstacle(
    make_window: MakeWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    for name, text in (("a", "{}"), ("b", '{"files": {}, "model": "."}'), ("c", "[]"), ("d", "\0")):
        (tmp_path / "org" / name).mkdir(parents=True)
        (tmp_path / "org" / name / "complete.json").write_text(text)
    (tmp_path / "org" / "e").mkdir()
    (tmp_path / "org" / "e" / "complete.json").symlink_to(tmp_path / "nothing")
    window = make_window()
    window.receive([ReadyFrame(0.0, 1)])
    assert not window.error_bar.isVisible()
    assert window.start_page.rows["smollm2"].button.text() == "Download"


# ---- the settings ----------------------------------------------------------------------------------------------


def put_settings(folder: Path) -> None:
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))


def test_settings_that_can_be_kept_are_not_talked_about(make_window: MakeWindow) -> None:
    window = make_window()
    assert window.preferences.complaint() is None
    assert not window.notice_bar.isVisible()
    assert Preferences(kept=False).complaint() is None


def test_settings_that_cannot_be_kept_are_said_once(
    make_window: MakeWindow, qtbot, embedded: Path, tmp_path: Path
) -> None:
    put_settings(in_the_way(tmp_path))
    window = opened(make_window, qtbot)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    assert window.notice_bar.isVisible()
    said = window.notice_bar.sentences.text()
    assert said.startswith("Settings will not be remembered")
    assert said.count("\n") == 0
    assert str(tmp_path) in said
    window.looks.use_theme("light")
    qtbot.mouseClick(window.notice_bar.dismiss, Qt.MouseButton.LeftButton)
    window.preferences._file.sync()
    window.tell_about_settings()
    assert not window.notice_bar.isVisible()


def test_a_folder_where_the_settings_should_be(make_window: MakeWindow, tmp_path: Path) -> None:
    (tmp_path / "odd" / "fluoroscope" / "window.ini").mkdir(parents=True)
    put_settings(tmp_path / "odd")
    window = make_window()
    assert "cannot be written" in window.notice_bar.sentences.text()
    assert window.notice_bar.isVisible()


def test_damaged_settings_start_afresh(make_window: MakeWindow, tmp_path: Path) -> None:
    file = tmp_path / "odd" / "fluoroscope" / "window.ini"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\0\xff[gen\n====\n[[[\nfoo")
    put_settings(tmp_path / "odd")
    window = make_window()
    assert "damaged" in window.notice_bar.sentences.text()
    assert window.workspace.layout_name == "explore"
