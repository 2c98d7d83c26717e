"""Without arguments the program opens on its own model, with a prompt ready; examples are a menu away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

import app.examples
from app.command_line import parse
from app.examples import ExamplesError, read_examples
from app.notices import CancelledFrame, ReadyFrame
from app.run_bar import LEAST_LETTERS
from app.window import Window
from engine.frames import EndFrame, ModelFrame, RunFrame
from tests.app.conftest import GREEDY, MakeWindow

READY, *OTHERS = read_examples()
popups = pytest.mark.qt_log_ignore("This plugin does not support (raise|grabbing)")


@pytest.fixture
def opened(make_window: MakeWindow):
    """Makes the window of a command line, with its engine started."""

    def make(*arguments: str, start: bool = True) -> Window:
        return make_window(replace(parse(arguments), sampling=GREEDY, tokens=3), start=start)

    return make


def wait_for_model(window: Window, qtbot) -> None:
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)


def journal_of(window: Window) -> list[object]:
    frames: list[object] = []
    window.received.connect(frames.append)
    return frames


# ---- the model that is built in --------------------------------------------------------------------------------


def test_it_opens_on_its_own_model_with_a_prompt_ready_and_runs(opened, embedded: Path, qtbot) -> None:
    window = opened()
    assert window.pages.currentWidget() is window.start_page
    wait_for_model(window, qtbot)
    assert window.pages.currentWidget() is window.workspace
    assert window.bar.model.toolTip().startswith("Fluoroscope demo\n")
    assert window.bar.prompt.toPlainText() == READY.text
    assert window.context.run.n_tokens == 0
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=30_000)
    assert window.context.run.n_tokens == len(READY.text) + 3


def test_recent_models_know_it_by_its_name(opened, embedded: Path, qtbot, tiny_model: Path) -> None:
    window = opened()
    wait_for_model(window, qtbot)
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.bar.model.text() == tiny_model.name, timeout=30_000)
    assert window.preferences.recent() == [str(tiny_model), "demo"]
    window.close()
    again = opened()
    wait_for_model(again, qtbot)
    assert again.bar.model.toolTip().startswith("Fluoroscope demo\n")
    assert again.preferences.recent() == ["demo", str(tiny_model)]


@popups
def test_the_menu_of_the_model_stays_open_while_another_one_arrives(opened, embedded: Path, qtbot, tiny_model) -> None:
    window = opened()
    wait_for_model(window, qtbot)
    menu, listed = window.bar.model.menu(), []

    def look() -> None:
        """Inside of the loop of the menu, which Qt leaves with a warning when the menu has gone."""
        if window.bar.model.text() != tiny_model.name or not listed:
            listed[:] = [action.text() for action in menu.actions()]
        else:
            assert menu.isVisible()
            assert [action.text() for action in menu.actions()] == listed
            menu.close()

    timer = QTimer(window, interval=20)
    timer.timeout.connect(look)
    timer.start()
    window.filing.open_model(str(tiny_model))
    QTest.mouseClick(window.bar.model, Qt.MouseButton.LeftButton)
    timer.stop()
    assert listed[0] == "demo"
    menu.aboutToShow.emit()
    texts = [action.text() for action in menu.actions()]
    assert texts[:2] == [str(tiny_model), "demo"]
    assert window.actions_by_name["show_models"].text() in texts


def test_a_model_of_the_command_line_is_the_only_one_that_is_loaded(opened, embedded: Path, qtbot, tiny_model) -> None:
    window = opened("--model", str(tiny_model), start=False)
    frames = journal_of(window)
    window.worker.start()
    wait_for_model(window, qtbot)
    qtbot.waitUntil(lambda: any(isinstance(frame, ModelFrame) for frame in frames), timeout=5_000)
    assert [frame.name for frame in frames if isinstance(frame, ModelFrame)] == [tiny_model.name]
    assert window.bar.prompt.toPlainText() == ""


def test_what_the_user_has_typed_meanwhile_stays(opened, embedded: Path, qtbot) -> None:
    window = opened(start=False)
    qtbot.keyClicks(window.bar.prompt, "mine")
    window.worker.start()
    wait_for_model(window, qtbot)
    assert window.bar.prompt.toPlainText() == "mine"


def test_a_field_that_the_user_has_emptied_stays_empty(opened, embedded: Path, qtbot) -> None:
    window = opened(start=False)
    qtbot.keyClicks(window.bar.prompt, "m")
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_Backspace)
    window.worker.start()
    wait_for_model(window, qtbot)
    assert window.bar.prompt.toPlainText() == ""


@pytest.mark.parametrize("prompt", ["of the command line", ""])
def test_a_prompt_of_the_command_line_stays(opened, embedded: Path, qtbot, prompt: str) -> None:
    window = opened("--prompt", prompt)
    wait_for_model(window, qtbot)
    assert window.bar.prompt.toPlainText() == prompt


def test_opening_it_can_be_cancelled_before_it_begins(opened, embedded: Path, qtbot) -> None:
    window = opened(start=False)
    frames = journal_of(window)
    window.receive([ReadyFrame(0.0, 1)])
    assert window.filing.loading
    window.start_page.progress.cancel.click()
    window.worker.start()
    qtbot.waitUntil(lambda: any(isinstance(frame, CancelledFrame) for frame in frames), timeout=60_000)
    assert window.context.run.model is None
    assert window.pages.currentWidget() is window.start_page


# ---- examples --------------------------------------------------------------------------------------------------


def test_there_are_a_ready_prompt_and_three_more() -> None:
    assert len(OTHERS) == 3
    assert len({example.text for example in (READY, *OTHERS)}) == 4
    assert len({example.name for example in (READY, *OTHERS)}) == 4
    tale, function, sums = (example.text for example in OTHERS)
    assert tale.count(" ") > 5
    assert function.startswith("def ")
    assert sums.endswith("=")


@popups
def test_an_example_by_mouse(opened, qtbot) -> None:
    window = opened(start=False)
    menu = window.bar.examples_menu
    assert [action.text() for action in menu.actions()] == [example.name for example in (READY, *OTHERS)]
    shown: list[bool] = []
    menu.aboutToShow.connect(lambda: shown.append(True))
    menu.aboutToShow.connect(menu.close, Qt.ConnectionType.QueuedConnection)  # a click waits until the menu is closed
    qtbot.mouseClick(window.bar.examples, Qt.MouseButton.LeftButton)
    assert shown == [True]


@popups
def test_an_example_by_keyboard_replaces_the_prompt_in_one_step_back(opened, qtbot) -> None:
    window = opened(start=False)
    qtbot.keyClicks(window.bar.prompt, "mine")
    choose_by_keyboard(window, qtbot, steps=1)
    assert window.bar.prompt.toPlainText() == OTHERS[0].text
    window.bar.prompt.undo()
    assert window.bar.prompt.toPlainText() == "mine"
    window.bar.prompt.undo()
    assert window.bar.prompt.toPlainText() == ""


@popups
def test_an_example_runs_nothing_and_suits_every_model(opened, qtbot, tiny_model: Path) -> None:
    window = opened("--model", str(tiny_model), start=False)
    frames = journal_of(window)
    window.worker.start()
    wait_for_model(window, qtbot)
    choose_by_keyboard(window, qtbot, steps=0)
    assert window.bar.prompt.toPlainText() == READY.text
    assert not window.active
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: any(isinstance(frame, EndFrame) for frame in frames), timeout=30_000)
    assert sum(isinstance(frame, RunFrame) for frame in frames) == 1
    assert window.context.run.n_prompt == len(READY.text)


def choose_by_keyboard(window: Window, qtbot, steps: int) -> None:
    """Open the menu by its command, go down and take what is chosen."""
    window.actions_by_name["show_examples"].trigger()
    menu = window.bar.examples_menu
    qtbot.waitUntil(menu.isVisible, timeout=5_000)
    for _ in range(steps):
        qtbot.keyClick(menu, Qt.Key.Key_Down)
    qtbot.keyClick(menu, Qt.Key.Key_Return)
    QApplication.processEvents()
    assert not menu.isVisible()


@pytest.mark.parametrize(("width", "style"), [(960, "ToolButtonIconOnly"), (1280, "ToolButtonTextBesideIcon")])
def test_the_prompt_keeps_its_room_beside_the_buttons(opened, width: int, style: str) -> None:
    window = opened("--size", f"{width}x720", start=False)
    QApplication.processEvents()
    assert {button.toolButtonStyle().name for button in window.bar.buttons} == {style}
    assert window.bar.prompt.width() > LEAST_LETTERS * window.fontMetrics().averageCharWidth()
    window.resize(1600, 720)
    QApplication.processEvents()
    buttons = (window.bar.examples, *window.bar.buttons)
    assert {button.toolButtonStyle().name for button in buttons} == {"ToolButtonTextBesideIcon"}


def test_the_menu_bar_has_the_same_menu(opened) -> None:
    window = opened(start=False)
    assert window.actions_by_name["show_examples"].menu() is window.bar.examples_menu


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[1]", b"[{}]", b'[{"name": "a", "text": 3}]', b'[{"name": "a", "text": " "}]', b"3"]
)
def test_examples_that_cannot_be_read_are_a_sentence_and_the_rest_goes_on(
    opened, embedded: Path, qtbot, content: bytes | None
) -> None:
    (embedded / "prompts.json").unlink()
    if content is not None:
        (embedded / "prompts.json").write_bytes(content)
    with pytest.raises(ExamplesError, match=r"prompts to try.*install Fluoroscope again\."):
        app.examples.read_examples()
    window = opened(start=content is None)
    assert "prompts to try" in window.error_bar.sentence.text()
    assert window.error_bar.isVisible()
    assert not window.bar.examples.isEnabled()
    if content is None:
        wait_for_model(window, qtbot)
        assert window.bar.prompt.toPlainText() == ""


def test_names_are_short(opened) -> None:
    names: Sequence[str] = [example.name for example in (READY, *OTHERS)]
    assert all(0 < len(name) <= 20 for name in names)
