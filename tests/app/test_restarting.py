"""Starting again at once: the window comes back in a new process, or stays and says why; sessions of other windows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from app import again, application, keeping, restarting
from app.application import HeldLate, _slot, beginning_of
from app.command_line import Options, parse
from app.session import Session, read_session, write_session
from app.slot import take_slot
from app.window import Window
from tests.app import again_driver
from tests.app.kept_windows import WAIT, Start, arrived, close, environment, run
from tests.app.word_list import ROOT

READY = (
    "import pathlib, sys, time; folder = pathlib.Path(sys.argv[1]); (folder / 'next').write_text('1'); time.sleep(60)"
)


@pytest.fixture
def successor(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen]]:
    """In the place of the new program: one that says that it is there. What was started is ended."""
    started: list[subprocess.Popen] = []
    start = again.start

    def kept(command, folder: Path) -> subprocess.Popen:
        started.append(start(command, folder))
        return started[-1]

    monkeypatch.setattr(again, "program", lambda: [sys.executable, "-c", READY, str(state / "window-1")])
    monkeypatch.setattr(again, "start", kept)
    yield started
    for process in started:
        process.kill()
        process.wait()


def choose_chinese(window: Window) -> None:
    window.actions_by_name["use_language.zh_CN"].trigger()


# ---- the real program ------------------------------------------------------------------------------------------------


def test_the_program_comes_back_in_another_language_with_its_run(state: Path, tmp_path: Path, tiny_model: Path) -> None:
    """A run under way is stopped and kept; its options hold, what the session keeps comes from there."""
    state.mkdir()
    shown = tmp_path / "shown.json"
    words = ["--model", str(tiny_model), "--prompt", "hello", "--tokens", "400", "--threads", "1", "--language", "en"]
    command = [sys.executable, "-m", again_driver.__name__, *words]
    surroundings = {**environment(state), again_driver.SHOWN: str(shown)}
    with (tmp_path / "said.txt").open("w") as said:
        first = subprocess.Popen(command, env=surroundings, stderr=said, cwd=ROOT)
        try:
            assert first.wait(timeout=120) == 0, (tmp_path / "said.txt").read_text()
            until = time.monotonic() + 120
            while not shown.exists():
                assert time.monotonic() < until, (state / "window-1" / again.SAID).read_text()
                time.sleep(0.05)
        finally:
            first.kill()
            first.wait()
    told = json.loads(shown.read_text("utf-8"))
    assert told["process"] != first.pid
    assert again_driver.RUN_STEPS <= told["steps"] < 400, "the run was stopped, and is there"
    assert (told["prompt"], told["layout"], told["threads"]) == ("typed last", "debug", 1)
    assert told["run"].startswith("停止"), "it speaks the language that was chosen"
    psutil.wait_procs([psutil.Process(told["process"])] if psutil.pid_exists(told["process"]) else [], timeout=60)
    assert not psutil.pid_exists(told["process"])
    assert (
        sorted(path.name for path in (state / "window-1").glob("*") if path.name in ("running", "lock", "next")) == []
    )


@pytest.mark.parametrize("way", [["-m", "app"], ["-m", "app.main"], ["app/main.py"]], ids=" ".join)
def test_the_program_knows_how_it_was_started(way: list[str]) -> None:
    """Without a window: what it would start again says its version too."""
    code = "import subprocess, sys\nfrom app import again\nprint(subprocess.run([*again.program(), '--version']).args)"
    for words in ([], ["--device", "cpu"]):
        own = [sys.executable, "-X", "utf8", *way, *words]
        probe = f"import sys; sys.orig_argv = {own!r}; sys.argv = {['x', *words]!r}\n{code}"
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout.startswith("fluoroscope "), done.stderr
        assert str([sys.executable, "-X", "utf8", *way, "--version"]) in done.stdout


def test_a_packed_program_is_its_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert again.program() == [sys.executable]
    assert again._environment({})["PYINSTALLER_RESET_ENVIRONMENT"] == "1"


def test_what_the_session_keeps_is_not_said_twice() -> None:
    given = parse(
        ["--model", "x.gguf", "--prompt", "p", "--fresh", "--top-k", "4", "--layout", "teach", "--size", "900x600"]
    )
    assert again.words(given, 2) == ["--window=2", "--device=auto", "--dtype=auto"]
    more = ["--threads=3", "--theme=light", "--language=en", "--record-memory=5000000", "--record-beyond=drop"]
    given = parse([*more, "--device=cpu", "--dtype=float32", "--projector"])
    assert again.words(given, 1) == ["--window=1", "--device=cpu", "--dtype=float32", *more, "--projector"]
    assert parse(again.words(given, 1)).window == 1


@pytest.mark.parametrize("number", ["0", "17", "-1", "two"])
def test_there_is_no_such_window(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--window", number])
    assert "--window" in capsys.readouterr().err


# ---- the offer -------------------------------------------------------------------------------------------------------


def test_it_is_offered_with_what_needs_it(start: Start) -> None:
    window = start()
    notice = window.notice_bar
    assert not notice.again.isVisible()
    choose_chinese(window)
    assert "From the next start on the window speaks 简体中文." in notice.sentences.text()
    assert notice.again.isVisible()
    window.actions_by_name["use_language.en"].trigger()
    assert not notice.isVisible(), "it speaks that already"
    choose_chinese(window)
    notice.dismiss.click()
    assert not notice.isVisible()
    choose_chinese(window)
    assert notice.again.isVisible(), "who chooses again is told again"
    window.actions_by_name["reset_settings"].trigger()
    assert "All settings are as at first" in notice.sentences.text()
    assert "简体中文" not in notice.sentences.text()


def test_without_a_session_nothing_could_come_back(make_window) -> None:
    window = make_window()
    choose_chinese(window)
    assert "简体中文" in window.notice_bar.sentences.text()
    assert not window.notice_bar.again.isVisible()


def test_the_window_closes_once_its_successor_is_there(start: Start, qtbot, successor, state: Path) -> None:
    window = start()
    run(window, qtbot)
    choose_chinese(window)
    window.notice_bar.again.click()
    assert window.isVisible(), "not before"
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=WAIT)
    assert not (state / "window-1" / "running").exists()
    session = read_session(state / "window-1" / "session.json")
    assert session is not None
    assert session.run is not None, "the run was saved first"
    assert successor[0].poll() is None
    assert successor[0].args[-3:] == ["--window=1", "--device=auto", "--dtype=auto"]


SHIFT = (("NoModifier", 60.0, False), ("ShiftModifier", -1.0, False), ("ShiftModifier", 60.0, True))


def test_shift_that_is_known_late_offers_the_safe_mode(
    start: Start, qtbot, successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = start()
    for keys, seconds, offered in SHIFT:
        held = Qt.KeyboardModifier[keys]
        monkeypatch.setattr(QGuiApplication, "queryKeyboardModifiers", lambda held=held: held)
        monkeypatch.setattr(application, "SHIFT_WITHIN_S", seconds)
        HeldLate(window)
        QApplication.sendEvent(window, QEvent(QEvent.Type.WindowActivate))
        assert window.notice_bar.again.isVisible() is offered
    assert "safe mode" in window.notice_bar.sentences.text()
    window.notice_bar.again.click()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=WAIT)
    assert successor[0].args[-1] == "--safe-mode"


def test_one_that_keeps_nothing_says_that_it_is_there(state: Path) -> None:
    assert beginning_of(parse(["--window=1", "--safe-mode"])) == (None, "")
    assert again.is_ready(state / "window-1")
    assert not (state / "window-1" / "lock").exists()


# ---- it does not come ------------------------------------------------------------------------------------------------

NONE = {
    "it says why": (["-c", "import sys; sys.exit('fluoroscope: There is no room.')"], "(There is no room)"),
    "it says nothing": (["-c", "raise SystemExit(3)"], "(it ended with code 3)"),
}


@pytest.mark.parametrize(("words", "reason"), NONE.values(), ids=NONE)
def test_a_start_that_fails_leaves_the_window(
    words: list[str], reason: str, start: Start, qtbot, successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "program", lambda: [sys.executable, *words])
    window = start()
    run(window, qtbot)
    choose_chinese(window)
    window.notice_bar.again.click()
    qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)
    assert reason in window.error_bar.sentence.text()
    assert window.isVisible()
    window.go_on()
    qtbot.waitUntil(lambda: arrived(window, 13), timeout=WAIT)
    assert window.long_work.tasks == ()


def test_a_program_that_is_not_there_leaves_the_window(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "program", lambda: ["/nowhere/fluoroscope"])
    window = start()
    choose_chinese(window)
    window.notice_bar.again.click()
    assert "No such file" in window.error_bar.sentence.text()
    assert window.isVisible()


def test_one_that_does_not_come_in_time_is_ended(
    start: Start, qtbot, successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "program", lambda: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(restarting, "PATIENCE_S", 0.3)
    window = start()
    choose_chinese(window)
    window.notice_bar.again.click()
    qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)
    assert "did not come" in window.error_bar.sentence.text()
    assert successor[0].poll() is not None


def test_it_can_be_given_up(start: Start, qtbot, successor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "program", lambda: [sys.executable, "-c", "import time; time.sleep(60)"])
    window = start()
    choose_chinese(window)
    window.notice_bar.again.click()
    qtbot.waitUntil(window.status.work.isVisible, timeout=WAIT)
    window.long_work.give_up("again")
    assert successor[0].poll() is not None
    assert window.isVisible()
    window.notice_bar.again.click()
    close(window)
    assert successor[1].poll() is not None, "a window that is closed does not come back"


def test_a_run_that_would_be_lost_is_not_left(
    start: Start, qtbot, successor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LARGEST_RUN", 1_000)
    window = start()
    run(window, qtbot)
    choose_chinese(window)
    window.notice_bar.again.click()
    assert "save it first" in window.error_bar.sentence.text()
    assert successor == []
    window.filing.save_run_as(tmp_path / "mine.fluoro")
    qtbot.waitUntil(lambda: not window.filing.saving and not window.keeping.unkept, timeout=WAIT)
    window.notice_bar.again.click()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=WAIT)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.filing.file == str(tmp_path / "mine.fluoro")


# ---- sessions of other windows ---------------------------------------------------------------------------------------


def test_a_second_window_comes_back_beside_the_first(start: Start, qtbot, state: Path) -> None:
    first = take_slot(state)  # another program
    window = start()
    run(window, qtbot, "second", 3)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.bar.prompt.toPlainText() == "second"
    first.leave()


def test_its_session_is_offered_to_the_first(start: Start, qtbot, state: Path, successor) -> None:
    window = start()
    window.restarting.menu.aboutToShow.emit()
    (none,) = window.restarting.menu.actions()
    assert not none.isEnabled()
    second = take_slot(state)
    write_session(second.session, Session(model="/models/some", prompt="a prompt\nof two lines & more"))
    assert window.restarting.names() == [], "it is open"
    second.leave()
    assert window.restarting.names() == ["Window 2 · some · a prompt of two lines & more"]
    window.restarting.menu.aboutToShow.emit()
    assert [entry.kind for entry in window.commanding.entries() if "two lines" in entry.text] == ["Session"]
    window.restarting.menu.actions()[0].trigger()
    assert "--window=2" in successor[0].args
    window.restarting.open_named(window.restarting.names()[0])
    assert "try again" in window.notice_bar.sentences.text()
    (entry,) = [entry for entry in window.commanding.entries() if "two lines" in entry.text]
    window.commanding.palette.chosen.emit(entry.name)
    assert not any("two lines" in name for name in window.preferences.used_commands()), "a prompt is nobody's business"
    taken = _slot(state, 2)  # as the new program does it
    qtbot.waitUntil(lambda: not window.restarting._look.isActive())
    assert successor[0].poll() is None, "it is left alone"
    assert window.isVisible(), "it opens beside this one"
    assert (taken.folder / "next").exists(), "whoever looks late still finds it"
    taken.leave()
    assert not (taken.folder / "next").exists()


def test_one_that_is_gone_by_now_is_told(start: Start) -> None:
    window = start()
    window.restarting.open_named("Window 2 · some")
    assert "gone" in window.error_bar.sentence.text()


def test_a_folder_of_a_session_may_be_anything(start: Start, state: Path) -> None:
    window = start()
    for number, content in enumerate((b"", b"{", b"[1]", b"\xff" * 100), start=2):
        (state / f"window-{number}").mkdir()
        (state / f"window-{number}" / "session.json").write_bytes(content)
    (state / "window-7").write_text("no folder")
    assert window.restarting.names() == []


def test_a_window_that_is_open_is_told(state: Path) -> None:
    first = take_slot(state)
    with pytest.raises(OSError, match="window 1 is open already"):
        take_slot(state, 1, 0.05)
    first.leave()
    assert take_slot(state, 3).number == 3


def test_options_of_a_window() -> None:
    assert parse(["--window", "3"]).window == 3
    assert Options().window is None
