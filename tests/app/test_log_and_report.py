"""The log turns over and holds no prompt; the report says what is needed, and what is private only when asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import qInstallMessageHandler, qWarning
from PySide6.QtGui import QGuiApplication

from app import log_file
from app.report import LINES_OF_LOG, report, without_home
from app.run import Run
from engine.frames import ErrorFrame, RunFrame
from engine.settings import Sampling
from tests.app.conftest import MakeWindow
from tests.app.made_runs import WORDS, grow, prompted


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    end = log_file.begin(tmp_path / "log.txt")
    yield tmp_path / "log.txt"
    end()


def test_errors_are_written_down_with_their_details(log: Path) -> None:
    log_file.note(ErrorFrame("load", "No such file.", "Traceback\n  line 1"))
    log_file.note(object())
    text = log_file.tail(log)
    assert "ERROR app.log_file: load: No such file.\nTraceback\n  line 1" in text


def test_no_prompt_is_written_down(log: Path) -> None:
    log_file.note(RunFrame(prompted(WORDS).prompt, 5, False))
    text = log_file.tail(log)
    assert f"run: {len(WORDS)} prompt tokens, at most 5 new" in text
    assert not any(word.strip() and word.strip() in text for word in WORDS if len(word.strip()) > 3)


@pytest.mark.parametrize("quoted", ["'secret'", '"sec\'ret"', "“secret”", r"'sec\'ret'"])
def test_what_somebody_has_typed_is_not_written_down(log: Path, quoted: str) -> None:
    log_file.note(ErrorFrame("branch", f"{quoted} is 3 tokens to this model (they are “se”, “cr”, “et”)."))
    assert log_file.tail(log).endswith("branch: … is 3 tokens to this model (they are …, …, …).\n")


def test_what_a_thread_dies_of_is_written_down(log: Path) -> None:
    thread = threading.Thread(target=lambda: 1 // 0, name="unlucky")
    thread.start()
    thread.join()
    assert "unlucky ended" in log_file.tail(log)
    assert "ZeroDivisionError" in log_file.tail(log)


def test_what_qt_says_is_written_down(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    qWarning("a widget is unhappy")
    assert "WARNING qt: a widget is unhappy" in log_file.tail(log)
    assert "a widget is unhappy" in capsys.readouterr().err


def test_all_is_as_before_at_the_end(tmp_path: Path) -> None:
    hook, handlers = threading.excepthook, list(logging.getLogger().handlers)
    handler = qInstallMessageHandler(None)
    qInstallMessageHandler(handler)
    log_file.begin(tmp_path / "log.txt")()
    assert threading.excepthook is hook
    assert logging.getLogger().handlers == handlers


def test_it_turns_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "LARGEST", 2_000)
    end = log_file.begin(tmp_path / "log.txt")
    for number in range(200):
        log_file.note(ErrorFrame("load", f"Number {number}. " + "x" * 50))
    end()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["log.txt", "log.txt.1", "log.txt.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 7_000
    assert "Number 199." in log_file.tail(tmp_path / "log.txt")


def test_only_whole_lines_of_the_end_are_shown(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"first line\n" + b"second \xff line\n" + b"third line\n")
    assert log_file.tail(tmp_path / "log.txt") == "first line\nsecond \ufffd line\nthird line\n"
    assert log_file.tail(tmp_path / "log.txt", most=20) == "third line\n"
    assert log_file.tail(tmp_path / "none.txt") == ""


# ---- the report ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run() -> Run:
    made = prompted(WORDS)
    grow(made)
    return made


def test_it_says_what_is_needed(run: Run) -> None:
    text = report(run, Sampling(top_k=7), {"theme": "dark"}, "one\ntwo\n")
    assert run.model is not None
    assert f"{run.model.parameters:,} parameters" in text
    for part in ("PySide6-Essentials 6.", "Python 3.", "torch 2.", "'top_k': 7"):
        assert part in text
    assert f"{run.n_prompt} prompt tokens, {len(run.steps)} generated" in text
    assert text.endswith("one\ntwo\n")


def test_what_is_private_is_in_it_only_when_asked(run: Run) -> None:
    prompt = "my own secret words"
    assert prompt not in report(run, Sampling(), {}, "", prompt)
    assert "tokens: [" not in report(run, Sampling(), {}, "", prompt)
    private = report(run, Sampling(), {}, "", prompt, private=True)
    assert prompt in private
    assert repr(run.pieces[0].text) in private


def test_it_names_no_home(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert without_home("/home/somebody/models/x") == "~/models/x"
    assert "somebody" not in report(run, Sampling(), {"file": "/home/somebody/x"}, "opened /home/somebody/y")


def test_of_a_long_log_it_has_the_end(run: Run) -> None:
    text = report(run, Sampling(), {}, "\n".join(f"line {number}" for number in range(1000)))
    assert "line 999" in text
    assert f"line {1000 - LINES_OF_LOG}\n" in text
    assert f"line {999 - LINES_OF_LOG}\n" not in text


def test_without_anything_there_is_a_report_too() -> None:
    assert "== Model\nnone" in report(Run(), Sampling(), {}, "")


def test_copied_from_the_menu_and_with_a_tick(make_window: MakeWindow) -> None:
    window = make_window()
    window.bar.prompt.setPlainText("a secret prompt")
    window.actions_by_name["copy_report"].trigger()
    page = window.reporting.page
    assert page.isVisible()
    assert "a secret prompt" not in QGuiApplication.clipboard().text()
    assert page.text.toPlainText() == QGuiApplication.clipboard().text()
    page.private.click()
    assert "a secret prompt" in page.text.toPlainText()
    assert "a secret prompt" not in QGuiApplication.clipboard().text(), "only when it is copied"
    page.copy.click()
    assert "a secret prompt" in QGuiApplication.clipboard().text()
    window.undo_one()
    assert not page.isVisible()
    window.actions_by_name["copy_report"].trigger()
    assert not page.private.isChecked(), "the next one begins without"


def test_what_the_status_bar_says_is_not_in_it(make_window: MakeWindow) -> None:
    window = make_window()
    window._say("token 3 “secret”: my note")
    window.actions_by_name["copy_report"].trigger()
    assert "secret" not in QGuiApplication.clipboard().text()


def test_the_log_is_shown(make_window: MakeWindow, tmp_path: Path) -> None:
    window = make_window()
    window.actions_by_name["show_log"].trigger()
    assert "No log is written" in window.reporting.page.about.text()
    window.actions_by_name["show_log"].trigger()
    assert not window.reporting.page.isVisible()
    path = tmp_path / "log.txt"
    path.write_text("2026 something <b>happened</b>\n")
    window.reporting._path = path
    window.actions_by_name["show_log"].trigger()
    assert window.reporting.page.text.toPlainText() == "2026 something <b>happened</b>\n"
    assert not window.reporting.page.private.isVisible()


def test_the_log_stays_inside_a_window_that_gets_smaller(make_window: MakeWindow) -> None:
    window = make_window()
    window.resize(1400, 900)
    window.reporting.show_log()
    window.resize(900, 520)
    assert window.rect().contains(window.reporting.page.geometry())
