"""The checks before Qt: pairs of versions, the display, libraries of the system, streams."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import PySide6
import pytest

from app import system_libraries
from app.startup import display_complaint, give_streams, installed_complaint, library_complaint, pair_complaint


@pytest.mark.parametrize(
    ("qt", "pyqtgraph", "python", "refused"),
    [
        ("6.10.3", "0.14.0", (3, 11), False),
        ("6.10.3", "0.14.0", (3, 13), False),
        ("6.12.0", "0.14.0", (3, 11), True),
        ("6.12.0", "0.14.0", (3, 12), False),
        ("6.8.0", "0.14.0", (3, 12), True),
        ("6.9.2", "0.14.0", (3, 12), True),
        ("6.10.1", "0.14.0", (3, 11), True),
        ("6.11.3", "0.14.0", (3, 13), True),
        ("6.10.0", "0.13.7", (3, 11), True),
        ("6.5.3", "0.14.0", (3, 11), True),
    ],
)
def test_pairs(qt: str, pyqtgraph: str, python: tuple[int, int], refused: bool) -> None:
    complaint = pair_complaint(qt, pyqtgraph, python)
    assert (complaint is not None) == refused
    if complaint:
        assert "pip install" in complaint
        assert "\n" not in complaint


def test_what_is_installed_here_is_a_good_pair() -> None:
    assert installed_complaint() is None


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"])
def test_any_display_will_do(name: str) -> None:
    assert display_complaint({name: ":0"}, "Linux") is None


def test_no_display_on_linux_is_one_sentence() -> None:
    complaint = display_complaint({}, "Linux")
    assert complaint is not None
    assert "--screenshot" in complaint


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_other_systems_always_have_one(system: str) -> None:
    assert display_complaint({}, system) is None


def absent(*names: str) -> Callable[[str], bool]:
    return lambda name: name not in names


def test_nothing_is_missing_here() -> None:
    """The tests need Qt's own libraries; those of X11 only where windows are wanted."""
    assert library_complaint({"QT_QPA_PLATFORM": "offscreen"}) is None


def test_a_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_libraries, "system_release", lambda: {"ID": "debian"})
    said = library_complaint({"DISPLAY": ":0"}, "Linux", absent("libxcb-cursor.so.0", "libEGL.so.1"))
    assert said is not None
    assert "libEGL.so.1, libxcb-cursor.so.0 are missing" in said
    assert said.endswith("sudo apt-get install libegl1 libxcb-cursor0")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "sudo apt-get install libxcb-cursor0"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "sudo apt-get install libxcb-cursor0"),
        ({"ID": "fedora"}, "sudo dnf install xcb-util-cursor"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "sudo dnf install xcb-util-cursor"),
        ({"ID": "arch"}, "sudo pacman -S xcb-util-cursor"),
        ({"ID": "opensuse-tumbleweed"}, "sudo zypper install libxcb-cursor0"),
        ({"ID": "nixos"}, "start again."),
        ({}, "start again."),
    ],
)
def test_every_distribution_has_its_command(release: dict[str, str], command: str) -> None:
    one = [library for library in system_libraries.X11 if library.name == "libxcb-cursor.so.0"]
    said = system_libraries.sentence(one, release)
    assert said.endswith(command)
    assert "libxcb-cursor.so.0 is missing" in said


@pytest.mark.parametrize(
    ("environment", "looks"),
    [
        ({"DISPLAY": ":0"}, True),
        ({"QT_QPA_PLATFORM": "xcb", "WAYLAND_DISPLAY": "w"}, True),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "w"}, False),
        ({"QT_QPA_PLATFORM": "offscreen", "DISPLAY": ":0"}, False),
    ],
)
def test_libraries_of_x11_matter_only_for_its_windows(environment: dict[str, str], looks: bool) -> None:
    said = library_complaint(environment, "Linux", absent("libxcb-icccm.so.4"))
    assert (said is not None) == looks


def test_other_systems_bring_what_qt_needs() -> None:
    assert library_complaint({}, "Darwin", lambda name: False) is None


def test_a_library_that_is_not_there_does_not_load() -> None:
    assert not system_libraries.loads("libthis-is-not-there.so.7")


def test_the_table_has_all_that_qt_asks_for() -> None:
    """By reading the files of PySide6 themselves, where the tool for that is installed."""
    tool = shutil.which("objdump")
    qt = Path(PySide6.__file__).parent / "Qt"
    if tool is None or sys.platform != "linux":
        return
    said = subprocess.run(
        [tool, "-p", *map(str, qt.glob("lib/libQt6[GWCDS][uiovB]*.so.6")), str(qt / "plugins/platforms/libqxcb.so")],
        capture_output=True,
        text=True,
    ).stdout
    asked = set(re.findall(r"NEEDED\s+(\S+)", said))
    brought = re.compile(r"libQt6|libicu|libz|lib(stdc\+\+|m|gcc_s|c|gthread-2.0)\.so|ld-linux|libxcb(-util)?\.so")
    known = {library.name for library in (*system_libraries.ALWAYS, *system_libraries.X11)}
    assert {name for name in asked if not brought.match(name)} <= known
    assert "libxcb-cursor.so.0" in asked


def test_ci_installs_what_the_table_names() -> None:
    """The same libraries, from the same packages, in both lists."""
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text()
    listed = dict(re.findall(r"(lib[\w.+-]+\.so\.\d+)=(\S+)", script))
    ours = {library.name: library.debian for library in (*system_libraries.ALWAYS, *system_libraries.X11)}
    assert listed.items() >= ours.items()


def test_a_build_without_a_console_keeps_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    give_streams()
    print("said")
    print("complained", file=sys.stderr)
    sys.stdout.close()
    assert (tmp_path / "fluoroscope.log").read_text() == "said\ncomplained\n"


def test_without_a_place_for_it_the_words_are_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/this/is/not/there")
    monkeypatch.setattr("sys.stdout", None)
    give_streams()
    print("said")
    sys.stdout.close()
