"""Looking back while a run goes on, on a real run: every panel shows the pinned token, the run is not touched, and the
way back to the live end; what is remembered between two starts."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication

from app.command_line import Options
from app.panels import PANELS
from app.window import Window
from engine.frames import AnswerFrame, StepFrame
from engine.settings import Record
from tests.app.conftest import GREEDY, MakeWindow, slow_passes, with_model

LONG = 400
PROMPT = "hello world"
LOOKED_AT = len(PROMPT) + 2  # a generated token


class Answers(dict):
    """The newest answer by key, and how many tokens came."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.counts: dict[str, int] = defaultdict(int)

    def take(self, frame: object) -> None:
        self.steps += isinstance(frame, StepFrame)
        if isinstance(frame, AnswerFrame):
            self[frame.key] = frame.answer
            self.counts[frame.key] += 1


@pytest.fixture
def live(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> tuple[Window, Answers]:
    """A window with every panel, the tiny model, and a long run ready to begin."""
    window = with_model(make_window, qtbot, tiny_model, PANELS, PROMPT, tokens=LONG, size=(1600, 1000))
    answers = Answers()
    window.received.connect(answers.take)
    slow_passes(window, 0.03)
    return window, answers


def press(window: Window, name: str) -> None:
    assert window.actions_by_name[name].isEnabled(), name
    window.actions_by_name[name].trigger()


def begin(window: Window, answers: Answers, qtbot: Any, tokens: int = 8) -> None:
    press(window, "run")
    qtbot.waitUntil(lambda: answers.steps >= tokens, timeout=60_000)


def end(window: Window, qtbot: Any) -> None:
    press(window, "stop")
    qtbot.waitUntil(lambda: not window.active, timeout=30_000)


def click_on(window: Window, position: int) -> None:
    from PySide6.QtTest import QTest

    timeline = window.strip.timeline
    timeline.settle()
    QTest.mouseClick(timeline, Qt.MouseButton.LeftButton, pos=timeline.column_box(position).center().toPoint())


@pytest.mark.parametrize(
    ("panel", "key"),
    [
        ("attention", "attention.row"),
        ("residual", "residual.vectors"),
        ("cache", "cache.vectors"),
        ("experts", "experts.neurons"),
        ("activations", "activations.points"),
        ("lens", "lens.column"),
    ],
)
def test_a_panel_stays_at_the_pinned_token_while_the_run_goes_on(live, qtbot: Any, panel: str, key: str) -> None:
    window, answers = live
    begin(window, answers, qtbot)
    window.workspace.bring_up(panel)
    click_on(window, LOOKED_AT)
    assert window.context.cursor.pinned.position == LOOKED_AT
    assert "run goes on" in window.strip.chip.text()
    qtbot.waitUntil(lambda: _position(answers.get(key)) == LOOKED_AT, timeout=30_000)
    before = answers.steps
    qtbot.waitUntil(lambda: answers.steps > before + 4, timeout=30_000)
    of_panel = {name: _position(answer) for name, answer in answers.items() if name.startswith(f"{panel}.")}
    assert LOOKED_AT in of_panel.values()
    assert set(of_panel.values()) <= {LOOKED_AT, None}
    assert window.context.cursor.pinned.position == LOOKED_AT
    window.stop()


def _position(answer: Any) -> int | None:
    return getattr(answer, "position", None)


def test_sampling_stays_at_the_step_that_chose_the_pinned_token(live, qtbot: Any) -> None:
    window, answers = live
    begin(window, answers, qtbot)
    click_on(window, LOOKED_AT)
    before = answers.steps
    qtbot.waitUntil(lambda: answers.steps > before + 2, timeout=30_000)
    shown = window.workspace.docks["sampling"].panel
    assert f"position {LOOKED_AT}" in shown.caption()
    window.strip.chip.jump.click()
    assert window.context.cursor.pinned.position is None
    assert window.strip.chip.text() == "Live"
    qtbot.waitUntil(lambda: f"position {LOOKED_AT}" not in shown.caption(), timeout=10_000)
    end(window, qtbot)


def test_the_pin_follows_the_mouse_and_the_command_jumps_to_live(live, qtbot: Any) -> None:
    window, answers = live
    begin(window, answers, qtbot)
    click_on(window, 3)
    press(window, "next_position")
    assert window.context.cursor.pinned.position == 4
    assert window.active
    press(window, "follow")
    assert window.context.cursor.pinned.position is None
    end(window, qtbot)
    assert window.strip.chip.text() == "At the newest token"


def test_the_surprise_of_the_prompt_comes_by_itself(live, qtbot: Any) -> None:
    window, answers = live
    begin(window, answers, qtbot, 2)
    qtbot.waitUntil(lambda: window.strip.figures.prompt_known == len(PROMPT), timeout=30_000)
    end(window, qtbot)
    values = window.strip.values()
    assert np.isnan(values["surprise"][0])
    assert np.isfinite(values["surprise"][1:]).all()
    assert np.isfinite(values["entropy"][1:]).all()
    assert (values["seconds"][len(PROMPT) :] > 0).all()


def test_a_shorter_run_in_the_middle_of_the_question_is_no_error(live, qtbot: Any) -> None:
    window, answers = live
    window.bar.prompt.setPlainText("a" * 300)
    begin(window, answers, qtbot, 1)
    press(window, "pause")
    qtbot.waitUntil(lambda: window.situation().state == "paused" or not window.active, timeout=30_000)
    window.bar.prompt.setPlainText("abc")
    window.bar.tokens.setValue(3)
    window.run_prompt()
    qtbot.waitUntil(lambda: not window.active and window.context.run.n_tokens == 6, timeout=30_000)
    qtbot.waitUntil(lambda: window.strip.figures.prompt_known == 3, timeout=30_000)
    assert not window.error_bar.isVisible()


def test_walking_back_from_a_pause_and_on_to_the_live_end(live, qtbot: Any) -> None:
    window, answers = live
    begin(window, answers, qtbot, 3)
    press(window, "step_token")
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=30_000)
    press(window, "step_layer")
    qtbot.waitUntil(
        lambda: window.context.run.where.layer == 0 and window.situation().state == "paused", timeout=30_000
    )
    newest, steps = window.context.run.n_visible - 1, answers.steps
    seen = []
    for _ in range(4):
        press(window, "walk_back")
        seen.append((window.context.cursor.pinned.position, window.context.cursor.pinned.layer))
    assert seen == [(newest - 1, 2), (newest - 1, 1), (newest - 1, 0), (newest - 2, 2)]
    assert "paused at" in window.strip.chip.text()
    for _ in range(4):
        press(window, "walk_on")
    assert window.context.cursor.pinned.position is None
    assert (answers.steps, window.context.run.where.layer) == (steps, 0)  # nothing was computed
    press(window, "walk_back")
    press(window, "step_layer")  # computes, wherever one looks
    qtbot.waitUntil(lambda: window.context.run.where.layer == 1, timeout=30_000)
    assert window.context.cursor.pinned.position == newest - 1
    end(window, qtbot)


# ---- the record --------------------------------------------------------------------------------------------------


def test_the_record_is_told_and_another_limit_holds_at_once(live, qtbot: Any) -> None:
    window, answers = live
    begin(window, answers, qtbot, 3)
    assert window.context.run.record.memory > 0
    assert f"of {'2 GB'}" in window.status.record.text()
    window.status.record.take_size("1MB")
    assert "of 1 MB" in window.status.record.text()
    assert window.preferences.record() == Record(1_000_000, "disk")
    qtbot.waitUntil(lambda: window.context.run.record.limit == 1_000_000, timeout=30_000)
    end(window, qtbot)
    window.status.record.take_size("2MB")  # at rest, too
    qtbot.waitUntil(lambda: window.context.run.record.limit == 2_000_000, timeout=30_000)


@pytest.mark.parametrize(("beyond", "words"), [("disk", "on disk"), ("drop", "positions dropped")])
def test_beyond_the_limit_the_window_says_where_the_rest_is_and_still_shows_it(
    live, qtbot: Any, beyond: Any, words: str
) -> None:
    window, answers = live
    window.set_record(Record(1000, beyond))
    begin(window, answers, qtbot)
    qtbot.waitUntil(lambda: not window.active, timeout=60_000)
    assert words in window.status.record.text()
    window.workspace.bring_up("residual")
    click_on(window, LOOKED_AT)
    qtbot.waitUntil(lambda: _position(answers.get("residual.vectors")) == LOOKED_AT, timeout=30_000)
    assert answers["residual.vectors"].source == ("captured" if beyond == "disk" else "recomputed")
    qtbot.waitUntil(lambda: window.strip.figures.prompt_known == len(PROMPT), timeout=30_000)


def test_a_size_that_is_none_is_told_and_nothing_changes(live, qtbot: Any) -> None:
    window, _ = live
    window.status.record.take_size("much")
    assert window.error_bar.isVisible()
    assert "not a size" in window.error_bar.sentence.text()
    assert window.record == Record()


@pytest.mark.qt_log_ignore("This plugin does not support (raise|grabbing)")
def test_the_menu_of_the_record_opens_by_command(live, qtbot: Any) -> None:
    window, _ = live
    press(window, "choose_record")
    menu = window.status.record.menu()
    qtbot.waitUntil(menu.isVisible)
    assert menu.activeAction() is not None
    assert window.geometry().intersects(menu.geometry())
    menu.close()


def test_choices_are_remembered_and_the_command_line_wins(make_window: MakeWindow) -> None:
    first = make_window(panels=PANELS)
    first.pages.setCurrentWidget(first.workspace)
    press(first, "fold_timeline")
    first.set_record(Record(512_000_000, "drop"))
    first.close()
    second = make_window(panels=PANELS)
    assert second.strip.timeline_choice == "none"
    assert second.record == Record(512_000_000, "drop")
    press(second, "fold_timeline")
    second.close()
    third = make_window(Options(sampling=GREEDY, record_memory=256_000_000), panels=PANELS)
    assert third.strip.timeline_choice == "all"
    assert third.record == Record(256_000_000, "drop")
    assert third.preferences.record() == Record(512_000_000, "drop")


def test_the_timeline_can_be_seen_at_1280_by_720(make_window: MakeWindow) -> None:
    window = make_window(Options(size=(1280, 720), sampling=GREEDY), panels=PANELS)
    window.pages.setCurrentWidget(window.workspace)
    for _ in range(3):
        QApplication.processEvents()
    timeline = window.strip.timeline
    assert timeline.isVisible()
    assert window.rect().contains(timeline.mapTo(window, QPoint(timeline.width() - 1, timeline.height() - 1)))
    assert window.strip.view.height() >= window.strip.view.lines_height(1)
