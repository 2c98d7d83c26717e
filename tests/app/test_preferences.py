"""Settings: of older versions, of newer ones, reset and brought back, damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.breakpoint_texts import from_text
from app.command_line import Options
from app.panels import PANELS
from app.preferences import VERSION, Preferences
from engine.settings import Record
from tests.app.conftest import GREEDY, MakeWindow

OLDER = Path(__file__).parent / "older"  # files as older versions of this program wrote them


def put(tmp_path: Path, name: str) -> Path:
    """In the place where this version looks for its settings."""
    path = tmp_path / "settings" / "fluoroscope" / "window.ini"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((OLDER / name).read_bytes())
    return path


@pytest.mark.parametrize("name", sorted(path.name for path in OLDER.glob("window-*.ini")))
def test_settings_of_older_versions_are_understood(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    found = Preferences()
    assert found.complaint() is None
    assert found.theme() == "light"
    assert found.points() == 12.5
    assert "smollm2" in found.recent()
    assert found.geometry() is not None
    assert found.layout() is not None


def test_what_came_in_between_is_understood(tmp_path: Path) -> None:
    put(tmp_path, "window-layout-5.ini")
    found = Preferences()
    assert found.record() == Record(memory=512_000_000, beyond="drop")
    assert (found.timeline(), found.run_folder(), found.model_folders()) == ("surprise", "/runs", ["/models/mine"])
    assert len(from_text(found.breakpoints())) == 2


@pytest.mark.parametrize("name", sorted(path.name for path in OLDER.glob("window-*.ini")))
def test_a_window_opens_with_them(tmp_path: Path, make_window: MakeWindow, name: str) -> None:
    put(tmp_path, name)
    window = make_window(Options(sampling=GREEDY), panels=PANELS)
    assert window.context.theme.name == "light"
    assert window.looks.points == 12.5
    assert window.error_bar.isHidden()
    shown = [dock for dock in window.workspace.docks.values() if not dock.isHidden()]
    assert len(shown) > 3
    window.looks.use_theme("dark")
    window.looks.normal_text()


def test_what_another_process_writes_is_seen_on_a_second_look(tmp_path: Path) -> None:
    here = Preferences()
    here.set_shortcuts("before")
    here.look_again()
    there = (
        "import sys\n"
        "from PySide6.QtCore import QSettings\n"
        "QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, sys.argv[1])\n"
        "from app.preferences import Preferences\n"
        "Preferences().set_shortcuts('from there')\n"
    )
    subprocess.run([sys.executable, "-c", there, str(tmp_path / "settings")], check=True, timeout=60)
    here.look_again()
    assert here.shortcuts() == "from there"


def test_the_version_is_written(tmp_path: Path) -> None:
    kept = Preferences()
    kept.set_theme("light")
    kept._file.sync()  # type: ignore[union-attr]
    assert f"version={VERSION}" in Path(kept._file.fileName()).read_text()  # type: ignore[union-attr]


def test_settings_of_a_newer_version_are_kept_aside(tmp_path: Path) -> None:
    path = put(tmp_path, "window-layout-5.ini")
    text = path.read_text().replace("[General]\n", f"[General]\nversion={VERSION + 1}\n")
    path.write_text(text)
    found = Preferences()
    aside = path.with_name(f"window-version-{VERSION + 1}.ini")
    assert str(aside) in (found.complaint() or "")
    assert aside.read_text() == text
    assert found.points() == 10.0
    found.set_points(11.0)
    assert Preferences().points() == 11.0
    assert aside.read_text() == text


@pytest.mark.parametrize("version", ["", "-1", "one", "@Invalid()", "1e9", "²", "0", "9" * 40])
def test_a_version_that_is_none_is_no_newer_one(tmp_path: Path, version: str) -> None:
    path = put(tmp_path, "window-layout-5.ini")
    path.write_text(path.read_text().replace("[General]\n", f"[General]\nversion={version}\n"), encoding="utf-8")
    assert Preferences().points() == 12.5


def test_reset_and_brought_back(tmp_path: Path) -> None:
    path = put(tmp_path, "window-layout-5.ini")
    kept = Preferences()
    assert kept.can_reset
    assert not kept.can_bring_back
    before = kept.reset()
    assert before.exists()
    kept.set_points(20.0)  # what the window does when it is closed
    assert Preferences().points() == 10.0
    assert Preferences().recent() == []
    assert not kept.can_reset
    kept.bring_back()
    again = Preferences()
    assert again.points() == 12.5
    assert again.theme() == "light"
    assert again.layout() is not None
    assert again.geometry() is not None
    assert not again.can_bring_back
    assert path.exists()


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', "[" * 100_000, '["a"]', '{"a": 5}'])
def test_damaged_layouts_are_left_out(tmp_path: Path, text: str) -> None:
    kept = Preferences()
    kept._write("layouts", text)
    assert kept.saved_layouts() == {}


def test_what_cannot_be_brought_back_is_kept_and_told(make_window: MakeWindow, tmp_path: Path) -> None:
    put(tmp_path, "window-layout-5.ini")
    window = make_window()
    before = window.preferences.reset()
    before.write_bytes(b"[[[\n=\n")
    window.resetting.restore_settings()
    assert "could not be brought back" in window.notice_bar.sentences.text()
    assert before.exists()


def test_without_settings_there_is_nothing_to_reset() -> None:
    nothing = Preferences(kept=False)
    assert not nothing.can_reset
    assert not nothing.can_bring_back
    assert nothing.complaint() is None


def test_the_commands(make_window: MakeWindow, tmp_path: Path) -> None:
    put(tmp_path, "window-layout-5.ini")
    window = make_window()
    window.looks.use_theme("dark")
    reset, restore = (window.actions_by_name[name] for name in ("reset_settings", "restore_settings"))
    assert (reset.isEnabled(), restore.isEnabled()) == (True, False)
    reset.trigger()
    assert "as at first from the next start on" in window.notice_bar.sentences.text()
    assert (reset.isEnabled(), restore.isEnabled()) == (False, True)
    restore.trigger()
    assert not restore.isEnabled()
    assert Preferences().points() == 12.5
    window.looks.normal_text()
