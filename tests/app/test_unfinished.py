"""A film that was made when the program was killed: what there is of it is kept, and nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.slot import Slot, take_slot
from app.unfinished import NOTE, forget, note, rescue
from tests.app.word_list import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "window-1").mkdir()
    return tmp_path / "window-1"


def made(folder: Path, content: bytes = b"pictures") -> tuple[Path, Path]:
    """The part of a film, noted, and the film's place."""
    part, film = folder.parent / ".talk.x7.part.mkv", folder.parent / "talk.mp4"
    part.write_bytes(content)
    note(folder, part, film)
    return part, film


def test_it_is_kept_under_a_name_of_its_own(folder: Path) -> None:
    part, _ = made(folder)
    (folder.parent / "talk-unfinished.mkv").write_bytes(b"of another day")
    part.with_suffix(".mp4").write_bytes(b"half")
    assert rescue(folder) == folder.parent / "talk-unfinished-2.mkv"
    assert (folder.parent / "talk-unfinished-2.mkv").read_bytes() == b"pictures"
    assert (folder.parent / "talk-unfinished.mkv").read_bytes() == b"of another day"
    assert list(folder.parent.glob(".*")) == []
    assert rescue(folder) is None, "once"


def test_nothing_is_kept_of_nothing(folder: Path) -> None:
    part, _ = made(folder, b"")
    assert rescue(folder) is None
    assert not part.exists()


def test_a_film_that_is_there_needs_no_part(folder: Path) -> None:
    part, film = made(folder)
    film.write_bytes(b"film")
    os.utime(part, (1.0, 1.0))
    assert rescue(folder) is None
    assert not part.exists()
    assert film.read_bytes() == b"film"


def test_an_older_film_of_that_name_is_another_one(folder: Path) -> None:
    _, film = made(folder)
    film.write_bytes(b"film")
    os.utime(film, (1.0, 1.0))
    assert rescue(folder) is not None
    assert film.read_bytes() == b"film"


def test_one_that_was_given_up_is_not_looked_for(folder: Path) -> None:
    part, _ = made(folder)
    forget(folder)
    assert rescue(folder) is None
    assert part.exists()


def test_a_folder_that_cannot_be_written_now_is_looked_at_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(folder)

    def busy(*_: object) -> None:
        raise PermissionError("it is open")

    with monkeypatch.context() as now:
        now.setattr(Path, "replace", busy)
        assert rescue(folder) is None
    assert rescue(folder) == folder.parent / "talk-unfinished.mkv"


NOTES = (
    b"",
    b"{",
    b"[]",
    b'{"part": 3, "film": 4}',
    b"\xff",
    b"[" * 60_000,
    json.dumps({"part": "/etc/passwd", "film": "/etc/x.mp4"}).encode(),
    json.dumps({"part": "\0", "film": "\0"}).encode(),
    json.dumps({"part": "/a/.x\0.t.part.mkv", "film": "/a/x\0.mp4"}).encode(),
    b'{"part": "/a/.talk.x.part.mkv", "film": "/b/talk.mp4"}',
)


@pytest.mark.parametrize("content", NOTES)
def test_a_note_that_cannot_be_one_touches_nothing(folder: Path, content: bytes) -> None:
    (folder / NOTE).write_bytes(content)
    assert rescue(folder) is None
    assert not (folder / NOTE).exists()


def test_the_next_program_finds_it(folder: Path) -> None:
    made(folder)
    (folder / "running").write_text("{}")
    slot: Slot = take_slot(folder.parent)
    assert slot.films == [folder.parent / "talk-unfinished.mkv"]
    slot.leave()
    again = take_slot(folder.parent)
    assert again.films == []
    again.leave()


FILMING = """
import sys, time
from pathlib import Path
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage
from app.recording import Recording
from app.unfinished import note

made = Recording(Path(sys.argv[2]), QSize(64, 48))
note(Path(sys.argv[1]), made.part, made.path)
picture = QImage(64, 48, QImage.Format.Format_RGB32)
for second in range(3):
    picture.fill(1000 * second)
    while not made.put(picture.copy(), float(second)):
        time.sleep(0.01)
while made._written < 20:  # each picture until the next one
    time.sleep(0.01)
print("pictures", flush=True)
time.sleep(60)
"""


def test_the_film_of_a_program_that_was_killed_can_be_seen(folder: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    film = folder.parent / "talk.gif"
    command = [sys.executable, "-c", FILMING, str(folder), str(film)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"pictures"
        finally:
            process.kill()
    (part,) = folder.parent.glob(".talk.*.part.mkv")
    until = time.monotonic() + 30
    while any(part.name in " ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < until, "ffmpeg ends when nobody sends it pictures any more"
        time.sleep(0.05)
    kept = rescue(folder)
    assert kept == folder.parent / "talk-unfinished.mkv"
    seen = subprocess.run([ffmpeg, "-v", "error", "-i", str(kept), "-f", "framemd5", "-"], capture_output=True)
    assert (seen.returncode, seen.stderr) == (0, b"")
    shown = [line for line in seen.stdout.splitlines() if not line.startswith(b"#")]
    assert len(shown) >= 19, "at most what lay in a buffer is missing"


def test_one_that_is_made_is_let_be(folder: Path) -> None:
    slot = take_slot(folder.parent)
    part, _ = made(folder)
    other = take_slot(folder.parent)
    assert other.films == []
    assert part.exists()
    for each in (slot, other):
        each.leave()
