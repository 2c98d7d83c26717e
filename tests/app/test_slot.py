"""The folder of a window: one program each, and what a program leaves that did not end properly."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.slot import MOST_LEFT, MOST_WINDOWS, free_numbers, take_slot


def left_by_a_crash(state: Path, number: int = 1, run: bytes = b"run", crash: str = "") -> Path:
    folder = state / f"window-{number}"
    folder.mkdir(parents=True)
    (folder / "running").write_text("{}")
    (folder / "crash.txt").write_text(crash)
    if run:
        (folder / "run.fluoro").write_bytes(run)
    return folder


def test_the_first_start_finds_nothing(tmp_path: Path) -> None:
    slot = take_slot(tmp_path / "a" / "state")
    assert (slot.number, slot.crashed, slot.left()) == (1, False, [])
    assert (slot.folder / "running").exists()
    slot.leave()
    assert not (slot.folder / "running").exists()


def test_it_is_nobody_elses_business(tmp_path: Path) -> None:
    slot = take_slot(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    slot.leave()


def test_every_program_has_a_folder_of_its_own(tmp_path: Path) -> None:
    slots = [take_slot(tmp_path) for _ in range(3)]
    assert [slot.number for slot in slots] == [1, 2, 3]
    slots[0].leave()
    again = take_slot(tmp_path)
    assert again.number == 1
    assert not again.crashed, "the others still run"
    for slot in (*slots[1:], again):
        slot.leave()


def test_there_is_an_end_to_them(tmp_path: Path) -> None:
    slots = [take_slot(tmp_path) for _ in range(MOST_WINDOWS)]
    with pytest.raises(OSError, match="16 programs"):
        take_slot(tmp_path)
    for slot in slots:
        slot.leave()


def test_a_folder_in_which_nothing_was_left_is_not_touched(tmp_path: Path) -> None:
    first, second = take_slot(tmp_path), take_slot(tmp_path)
    second.leave()
    before = second.folder.stat().st_mtime_ns
    third = take_slot(tmp_path, 3)
    assert second.folder.stat().st_mtime_ns == before
    for slot in (first, third):
        slot.leave()


def test_the_free_ones_are_found_without_a_word_to_the_disk(tmp_path: Path) -> None:
    own, closed, open_still = [take_slot(tmp_path) for _ in range(3)]
    closed.leave()
    left_by_a_crash(tmp_path, 4)
    (tmp_path / "window-4" / "lock").write_text("4194303\nfluoroscope\n\n")  # of a program that is gone
    (tmp_path / "window-5").write_text("no folder")
    before = closed.folder.stat().st_mtime_ns
    assert free_numbers(tmp_path, own.folder) == [2, 4]
    assert closed.folder.stat().st_mtime_ns == before, "nobody has locked it"
    assert not (tmp_path / "window-4" / "lock").exists()
    open_still.leave()
    own.leave()


def test_a_crash_is_seen_and_its_run_put_aside(tmp_path: Path) -> None:
    left_by_a_crash(tmp_path, crash="Fatal Python error: Aborted\n")
    slot = take_slot(tmp_path)
    assert slot.crashed
    assert slot.crash_text == "Fatal Python error: Aborted"
    assert [path.read_bytes() for path in slot.left()] == [b"run"]
    assert not slot.run.exists(), "the next run does not take its place"
    slot.leave()
    again = take_slot(tmp_path)
    assert not again.crashed
    assert len(again.left()) == 1, "nobody has said what is to become of it"
    again.leave()


def test_runs_of_other_windows_that_crashed_are_taken_over(tmp_path: Path) -> None:
    left_by_a_crash(tmp_path, 2, b"second")
    left_by_a_crash(tmp_path, 3, b"third", "Fatal Python error: Bus error")
    slot = take_slot(tmp_path)
    assert slot.number == 1
    assert slot.crashed
    assert {path.read_bytes() for path in slot.left()} == {b"second", b"third"}
    assert "Bus error" in slot.crash_text
    slot.leave()


def test_the_newest_comes_first_and_only_some_are_kept(tmp_path: Path) -> None:
    folder = left_by_a_crash(tmp_path, 1, b"")
    now = time.time()
    for age in range(MOST_LEFT + 2):
        path = folder / f"left-{age}.fluoro"
        path.write_text(str(age))
        os.utime(path, (now - 100 * age, now - 100 * age))
    slot = take_slot(tmp_path)
    assert [path.read_text() for path in slot.left()] == [str(age) for age in range(MOST_LEFT)]
    slot.leave()


def test_what_a_crash_says_may_be_anything(tmp_path: Path) -> None:
    folder = left_by_a_crash(tmp_path)
    (folder / "crash.txt").write_bytes(b"\xff\xfe" + b"x" * 1_000_000)
    slot = take_slot(tmp_path)
    assert len(slot.crash_text) <= 200_000
    slot.leave()


def test_one_folder_that_cannot_be_used_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "window-2").write_text("no folder")
    assert take_slot(tmp_path).number == 1


def test_halves_of_files_go_and_nothing_else_does(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = left_by_a_crash(tmp_path, number)
        for name in (".run.fluoro.x7", ".session.json.x7", ".mine"):
            (folder / name).write_bytes(b"half")
    slot = take_slot(tmp_path)
    assert len(slot.left()) == 2
    assert sorted(path.parent.name for path in tmp_path.glob("*/.*")) == ["window-1", "window-2"]


def test_runs_that_are_put_aside_at_the_same_time_keep_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 5)  # as on a clock that moves on now and then
    for number in (1, 2, 3):
        left_by_a_crash(tmp_path, number, run=str(number).encode())
    assert {path.read_bytes() for path in take_slot(tmp_path).left()} == {b"1", b"2", b"3"}


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(FileExistsError, match="state"):
        take_slot(tmp_path / "state")


def test_only_its_own_files_are_its_own(tmp_path: Path) -> None:
    slot = take_slot(tmp_path)
    assert slot.owns(str(slot.run))
    assert not slot.owns("")
    assert not slot.owns(str(tmp_path / "run.fluoro"))
    slot.leave()
