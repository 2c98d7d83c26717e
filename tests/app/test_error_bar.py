"""Errors: one line, details on demand, what to do, repeats folded, also interleaved ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtGui import QGuiApplication

from app.error_bar import LONGEST_LINE, MOST_KNOWN, ErrorBar
from app.languages import be_quiet, speak
from app.theme import DARK
from engine.frames import ErrorFrame
from tests.app.conftest import MakeWindow

DISK = ErrorFrame("save", "There is no room on the disk. Delete something and save again.")
BUG = ErrorFrame("window", "Something unexpected went wrong (KeyError: 'x').", "Traceback:\n  <b>line</b> 1")


@pytest.fixture
def bar(qtbot) -> ErrorBar:
    made = ErrorBar()
    qtbot.addWidget(made)
    made.restyle(DARK)
    return made


def test_an_error_that_was_foreseen(bar: ErrorBar) -> None:
    bar.show_error(DISK)
    assert bar.sentence.text() == DISK.sentence
    assert bar.more.isHidden(), "there are no details"
    assert bar.report.isHidden()
    assert bar.advice.isHidden(), "the sentence says what to do"


def test_one_that_was_not(bar: ErrorBar, qtbot) -> None:
    bar.show_error(BUG)
    assert not bar.advice.isHidden()
    bar.more.click()
    assert not bar.details.isHidden()
    assert "<b>line</b>" in bar.details.toPlainText()
    bar.copy.click()
    assert QGuiApplication.clipboard().text() == f"{BUG.sentence}\n{BUG.details}"
    with qtbot.waitSignal(bar.report_asked):
        bar.report.click()


@pytest.fixture
def chinese() -> Iterator[None]:
    speak("zh_CN")
    yield
    be_quiet()


@pytest.mark.usefixtures("chinese")
def test_an_error_is_said_and_copied_in_the_user_s_language(bar: ErrorBar) -> None:
    empty = ErrorFrame("run", "The prompt is empty; type some text for the model to go on from.")
    bar.show_error(empty)
    assert bar.sentence.text() == "提示词为空；请输入一些文本供模型续写。"
    bar.show_error(empty)
    assert bar.sentence.text() == "提示词为空；请输入一些文本供模型续写。 (×2)"
    assert bar.more.isHidden()
    bar.copy.click()
    assert QGuiApplication.clipboard().text() == "提示词为空；请输入一些文本供模型续写。"


@pytest.mark.usefixtures("chinese")
def test_what_nobody_has_foreseen_keeps_its_english_details(bar: ErrorBar) -> None:
    bar.show_error(BUG)
    assert bar.sentence.text() == "发生了意外错误（KeyError：'x'）。"
    assert "Traceback:\n" in bar.details.toPlainText()


def test_repeats_are_folded_also_among_others(bar: ErrorBar) -> None:
    for error in (DISK, BUG, DISK, BUG, DISK):
        bar.show_error(error)
    assert bar.sentence.text() == f"{DISK.sentence} (×3)"
    assert bar.others.text() == "1 more"
    bar.others.menu().aboutToShow.emit()
    (other,) = bar.others.menu().actions()
    assert other.text() == f"{BUG.sentence} (×2)"
    other.trigger()
    assert bar.sentence.text() == f"{BUG.sentence} (×2)"


def test_a_flood_is_bounded_and_quick(bar: ErrorBar) -> None:
    for number in range(2000):
        bar.show_error(ErrorFrame("question", f"Nothing at {number}."))
    assert bar.others.text() == f"{MOST_KNOWN - 1} more"


def test_details_that_are_read_stay_open_while_it_repeats(bar: ErrorBar) -> None:
    bar.show_error(BUG)
    bar.more.click()
    bar.show_error(BUG)
    assert not bar.details.isHidden()
    bar.show_error(DISK)
    assert bar.details.isHidden()


def test_what_was_dismissed_counts_anew(bar: ErrorBar) -> None:
    bar.show_error(DISK)
    bar.show_error(BUG)
    bar.dismiss.click()
    assert bar.isHidden()
    bar.show_error(DISK)
    assert bar.sentence.text() == DISK.sentence
    assert bar.others.isHidden()


def test_a_long_sentence_has_its_rest_in_the_details(bar: ErrorBar) -> None:
    bar.show_error(ErrorFrame("load", "x" * 5000))
    assert len(bar.sentence.text()) == LONGEST_LINE + 1
    assert bar.details.toPlainText() == "x" * 5000
    assert not bar.more.isHidden()


def test_a_second_line_is_in_the_details(bar: ErrorBar) -> None:
    bar.show_error(ErrorFrame("load", "first\nsecond"))
    assert bar.sentence.text() == "first"
    assert bar.details.toPlainText() == "first\nsecond"


def test_the_report_of_the_window(make_window: MakeWindow) -> None:
    window = make_window()
    window.receive([BUG])
    window.error_bar.report.click()
    assert window.reporting.page.isVisible()
    assert QGuiApplication.clipboard().text().startswith("== Fluoroscope")
