"""The Linux desktop: the files by their standards, and what --install-desktop writes and removes."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

import resources
from app import desktop
from app.desktop import FILES, ID, data_folder, with_command
from app.main import main
from engine.checkpoint.gguf_header import MAGIC
from engine.errors import EngineError

MIME = {"": "http://www.freedesktop.org/standards/shared-mime-info"}
TYPE, RUN_TYPE = "application/x-gguf", "application/x-fluoroscope-run"


def entry(text: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser["Desktop Entry"]


def xml(name: str) -> ElementTree.Element:
    return ElementTree.fromstring(resources.path(f"desktop/{ID}{name}").read_text("utf-8"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder, and a program with a difficult name that is started from it."""
    program = tmp_path / 'a "new" $place\\100%' / "fluoroscope"
    program.parent.mkdir()
    program.write_text("")
    monkeypatch.setattr(desktop, "program", lambda: program)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def written(home: Path) -> set[str]:
    """Without what the desktop's own tools made of it."""
    found = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    return {name for name in found if ID in name}


def test_the_entry_says_what_the_standard_wants() -> None:
    found = entry(resources.path(f"desktop/{ID}.desktop").read_text("utf-8"))
    assert (found["Type"], found["Name"], found["Icon"]) == ("Application", "Fluoroscope", ID)
    assert found["Exec"].split()[1:] == ["%f"]
    assert found["MimeType"] == f"{TYPE};{RUN_TYPE};"
    for name in ("MimeType", "Categories", "Keywords"):
        assert found[name].endswith(";")
    assert found["Terminal"] == "false"


def test_the_type_is_recognised_by_name_and_by_magic() -> None:
    kind = xml(".mime.xml").find("mime-type", MIME)
    assert kind is not None
    assert kind.get("type") == TYPE
    glob, match = kind.find("glob", MIME), kind.find("magic/match", MIME)
    assert glob is not None
    assert match is not None
    assert glob.get("pattern") == "*.gguf"
    assert (match.get("type"), match.get("offset"), match.get("value")) == ("string", "0", MAGIC.decode())


def test_a_saved_run_is_recognised_by_name() -> None:
    """Its first bytes are those of any zip."""
    kinds = {kind.get("type"): kind for kind in xml(".mime.xml").findall("mime-type", MIME)}
    glob, parent = kinds[RUN_TYPE].find("glob", MIME), kinds[RUN_TYPE].find("sub-class-of", MIME)
    assert glob is not None
    assert parent is not None
    assert (glob.get("pattern"), parent.get("type")) == ("*.fluoro", "application/zip")


def test_metainfo_names_the_same_program() -> None:
    component = xml(".metainfo.xml")
    assert component.get("type") == "desktop-application"
    assert component.findtext("id") == ID
    assert component.findtext("launchable") == f"{ID}.desktop"
    assert component.findtext("project_license") == "Apache-2.0"
    assert [kind.text for kind in component.findall("provides/mediatype")] == [TYPE, RUN_TYPE]
    summary = component.findtext("summary")
    assert summary
    assert not summary.endswith(".")


@pytest.mark.parametrize(
    ("tool", "file"),
    [
        (("desktop-file-validate",), f"{ID}.desktop"),
        (("appstreamcli", "validate", "--no-net"), f"{ID}.metainfo.xml"),
        (("xmllint", "--noout"), f"{ID}.mime.xml"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_tools_of_the_desktop_accept_it(tool: tuple[str, ...], file: str) -> None:
    found = shutil.which(tool[0])
    if found is None:
        return  # the rules above are checked everywhere
    command = [found, *tool[1:], str(resources.path(f"desktop/{file}"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in done.stdout.lower()


def test_it_writes_its_files_and_removes_exactly_those(home: Path, capsys: pytest.CaptureFixture) -> None:
    other = home / "applications" / "other.desktop"
    other.parent.mkdir(parents=True)
    other.write_text("[Desktop Entry]\nType=Application\nName=Other\nExec=other\n")
    assert main(["--install-desktop"]) == 0
    assert written(home) == set(FILES.values())
    said = capsys.readouterr().out
    assert all(str(home / target) in said for target in FILES.values())
    assert main(["--uninstall-desktop"]) == 0
    assert written(home) == set()
    assert other.exists()
    assert main(["--uninstall-desktop"]) == 0
    assert "Nothing" in capsys.readouterr().out


def test_the_entry_starts_this_program_whatever_its_path(home: Path) -> None:
    main(["--install-desktop"])
    installed = home / "applications" / f"{ID}.desktop"
    raw = entry(installed.read_text("utf-8"))["Exec"].replace("\\\\", "\\")
    quoted, _, rest = raw[1:].rpartition('" ')
    for character in '"`$\\':
        quoted = quoted.replace(f"\\{character}", character)
    assert quoted.replace("%%", "%") == str(desktop.program())
    assert rest == "%f"
    tool = shutil.which("desktop-file-validate")
    if tool is not None:
        assert subprocess.run([tool, str(installed)], capture_output=True).returncode == 0


def test_a_plain_path_stays_readable() -> None:
    assert b'Exec="/opt/fluoroscope/fluoroscope" %f\n' in with_command(
        resources.path(f"desktop/{ID}.desktop").read_bytes(), Path("/opt/fluoroscope/fluoroscope")
    )


def test_without_a_home_the_sentence_says_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(EngineError, match="XDG_DATA_HOME"):
        data_folder({})


def test_the_data_folder_follows_the_standard() -> None:
    assert data_folder({"XDG_DATA_HOME": "/data"}) == Path("/data")
    assert data_folder({"XDG_DATA_HOME": "relative"}) == data_folder({}) == Path.home() / ".local" / "share"


def test_other_systems_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    for option in ("--install-desktop", "--uninstall-desktop"):
        assert main([option]) == 1
        assert option in capsys.readouterr().err
    assert not home.exists()


def test_what_cannot_be_written_is_one_sentence(home: Path, capsys: pytest.CaptureFixture) -> None:
    home.write_text("a file in the way")
    assert main(["--install-desktop"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_checkout_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(EngineError, match="install Fluoroscope"):
        desktop.program()


def test_a_build_starts_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = tmp_path / "fluoroscope"
    build.write_bytes(b"")
    monkeypatch.setattr("sys.executable", os.fspath(build))
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert desktop.program() == build
