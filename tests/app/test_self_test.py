"""``--self-test``: holds on the program as it is, and fails, with code 1 and the reason, on whatever goes wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

import pytest
from PySide6.QtCore import QCoreApplication, qWarning
from PySide6.QtGui import QColor, QImage

from app import self_checks
from app.command_line import Options, parse
from app.panels import PANELS
from app.self_test import Check, Marks, SelfTest, Waiting, process_age
from app.window import Window
from engine.frames import ErrorFrame
from tests.app.conftest import MakeWindow
from tests.app.test_command_line import fluoroscope


def test_it_holds_from_source_without_a_display() -> None:
    done = fluoroscope("--self-test", "--threads", "1", OMP_NUM_THREADS="1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    held = [line for line in done.stdout.splitlines() if line.startswith("ok ")]
    fixed = len(self_checks.RUN_CHECKS) + len(self_checks.VIEW_CHECKS)
    assert len(held) == fixed + len(PANELS)
    assert re.search(r"^first window \d+\.\d\d s, first token \d+\.\d\d s$", done.stdout, re.M)
    assert done.stdout.endswith(f"self-test passed: {len(held)} checks held\n")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that the program would have ended with."""
    codes: list[int] = []
    monkeypatch.setattr(QCoreApplication, "exit", codes.append)
    return codes


@pytest.fixture
def drive(make_window: MakeWindow, ended: list[int], qtbot) -> Callable[..., Window]:
    """Let checks run in a window without an engine, to their end."""

    def made(checks: Iterable[Check]) -> Window:
        window = make_window()
        test = SelfTest(window, checks)
        qtbot.waitUntil(lambda: bool(ended), timeout=5000)
        test.deleteLater()
        return window

    return made


def passes(window: Window) -> Waiting:
    yield lambda: True


def test_checks_run_in_order_and_wait(drive, ended: list[int], capsys: pytest.CaptureFixture) -> None:
    seen: list[str] = []

    def waits(window: Window) -> Waiting:
        seen.append("began")
        since = time.monotonic()
        yield lambda: time.monotonic() - since > 0.1
        seen.append("went on")

    def follows(window: Window) -> Waiting:
        seen.append("second")
        yield window.isVisible

    drive([Check("first", waits), Check("next", follows)])
    assert (ended, seen) == ([0], ["began", "went on", "second"])
    said = capsys.readouterr().out
    assert "first window" in said
    assert "no token" in said
    assert "self-test passed: 2 checks held" in said


def false_assertion(window: Window) -> Waiting:
    yield lambda: True
    raise AssertionError("the picture is blank")


def never(window: Window) -> Waiting:
    yield lambda: False


def mistake(window: Window) -> Waiting:
    yield lambda: bool({}["nothing"])


def warns(window: Window) -> Waiting:
    qWarning("QPainter::begin: something is wrong")
    yield lambda: True


def engine_error(window: Window) -> Waiting:
    window.received.emit(ErrorFrame("run", "The engine failed.", "line 3"))
    yield lambda: True


def impossible(window: Window) -> Waiting:
    self_checks.press(window, "run")
    yield lambda: True


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (false_assertion, "the picture is blank"),
        (never, "not within 0 s"),
        (mistake, "'nothing'"),
        (warns, "Qt: QPainter::begin"),
        (engine_error, "The engine failed. line 3"),
        (impossible, "run is not possible"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_first_failure_ends_it(drive, ended, capsys: pytest.CaptureFixture, work, reason: str) -> None:
    drive([Check("before", passes), Check("wrong", work, 0.2), Check("after", passes)])
    assert ended == [1]
    said = capsys.readouterr().out
    assert re.search(rf"^FAILED.* s  \S.*: .*{re.escape(reason)}", said, re.M), said
    assert "after" not in said
    assert "self-test FAILED: 1 checks held" in said or "self-test FAILED: 2 checks held" in said


def test_every_panel_of_the_window_is_a_check(make_window: MakeWindow) -> None:
    window = make_window()
    names = [check.name for check in self_checks.checks(window)]
    assert [f"the panel {panel.title()}" for panel in window.board.panels] == [n for n in names if "the panel" in n]


def test_figures_are_comparable_whatever_was_asked_for() -> None:
    given = self_checks.options(parse(["--self-test", "--threads", "2"]))
    assert (given.verb, given.model, given.device, given.dtype, given.threads) == (
        "self-test", "demo", "cpu", "float32", 2,
    )  # fmt: skip
    assert given.sampling.greedy
    assert given.tokens == len(self_checks.expected()["tokens"]) == len(self_checks.expected()["steps"])
    assert self_checks.options(Options(device="cuda")).device == "cuda"


def test_a_blank_picture_is_recognised() -> None:
    image = QImage(100, 80, QImage.Format.Format_RGB32)
    image.fill(0)
    assert self_checks.colours(image) == 1
    image.setPixelColor(4, 8, QColor("red"))
    assert self_checks.colours(image) == 2


def test_a_process_knows_its_age() -> None:
    age = process_age()
    assert age > 0.1
    time.sleep(0.2)
    assert 0.15 < process_age() - age < 5


def test_marks_are_told_as_they_are() -> None:
    assert Marks(0.456, 2.5).text() == "first window 0.46 s, first token 2.50 s"
    assert Marks().text() == "no window, no token"
