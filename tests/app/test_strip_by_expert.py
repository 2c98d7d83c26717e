"""The token strip by expert: colours, numbers and weights are those of the routing of the pinned layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor

import engine
from app.command_line import Options
from app.expert_notes import colour_of, expert_notes
from app.panels import PANELS
from app.panels.token_strip import TokenStrip
from app.theme import DARK, LIGHT, contrast, ink
from engine.frames import EndFrame, RoutedTokens
from engine.questions import AskRoutedTokens
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.kinds import KindsOnDisk
from tests.app.made_runs import prompted
from tests.app.panel_runs import Shown, show

ROUTED, DENSE = "mixtral-default", "llama4_text-default"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsOnDisk:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


def strip(qtbot: Any, kinds: KindsOnDisk, variant: str = ROUTED) -> tuple[Shown, engine.Session]:
    session, run = kinds[variant].run()
    shown = show(qtbot, TokenStrip, run, size=(1200, 300))
    shown.panel.show_run()
    return shown, session


def test_number_and_colour_of_the_strongest_expert(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = strip(qtbot, kinds)
    panel = shown.panel
    assert panel.watches() == {}, "nobody asks for what is not shown"
    panel.by_expert.click()
    shown.pin(layer=1)
    assert panel.watches() == {"strip.routed": AskRoutedTokens(1)}
    shown.answer(session)
    map_ = session.answer(engine.questions.AskRouting(1))
    strongest = map_.weights.argmax(0)
    assert panel.view.notes.words == tuple(map(str, strongest.tolist()))
    assert panel.view.notes.fills == tuple(colour_of(expert, DARK) for expert in strongest.tolist())
    assert "strongest expert of layer 1" in panel.legend.accessibleName()
    assert f"{strongest[4]} (" in panel.tip(4)
    assert "experts of layer 1" in panel.tip(4)
    np.testing.assert_array_equal(panel.values()["experts"][:, 0], strongest)
    assert "experts of layer" not in panel.tip(shown.run.n_tokens - 1), "the newest token has not been read"


def test_a_picked_expert_marks_the_tokens_it_took(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = strip(qtbot, kinds)
    shown.pin(layer=2)
    assert shown.panel.watches() == {}
    shown.pin(expert=0)
    shown.answer(session)
    weights = session.answer(engine.questions.AskRouting(2)).weights
    expert = int(weights.sum(1).argmax())
    shown.pin(expert=expert)
    notes = shown.panel.view.notes
    for position, weight in enumerate(weights[expert].tolist()):
        assert notes.words[position] == (f"{weight:.2f}" if weight else "")
        assert (notes.fills[position] is None) == (weight == 0)
    assert f"weight of expert {expert} of layer 2" in shown.panel.legend.accessibleName()
    shown.pin(expert=None)
    assert notes != shown.panel.view.notes is None, "with no expert picked the colours are probabilities again"


def test_boxes_keep_room_for_the_number_and_show_it(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = strip(qtbot, kinds)
    view = shown.panel.view
    before, plain = view.box(3).width(), view.grab().toImage()
    shown.panel.by_expert.click()
    shown.answer(session)
    assert view.box(3).width() > before
    image, box = view.grab().toImage(), view.box(3)
    corner = QPoint(round(box.left()) + 4, round(box.top()) + 4)
    assert image.pixelColor(corner) == QColor(view.notes.fills[3])
    shown.panel.by_expert.click()
    assert view.notes is None
    assert view.box(3).width() == before
    assert view.grab().toImage() == plain


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_every_colour_can_be_read_and_repeats_with_its_number(theme: Any) -> None:
    ids = np.arange(60, dtype=np.int64)[:, None]
    notes = expert_notes(RoutedTokens(0, ids, np.ones((60, 1), np.float32)), 60, None, theme)
    assert notes.words == tuple(map(str, range(60)))
    assert notes.widest == "88"
    assert all(contrast(fill, ink(fill)) >= 4.5 for fill in notes.fills)
    assert len(set(notes.fills)) == 8


def test_another_layer_has_other_experts(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown, session = strip(qtbot, kinds)
    shown.panel.by_expert.click()
    shown.answer(session)
    assert shown.panel.view.notes.words
    shown.pin(layer=2)
    assert shown.panel.view.notes.words == (), "the numbers of layer 0 mean nothing here"
    shown.answer(session)
    assert shown.panel.view.notes.words


def test_without_experts_there_is_nothing_to_choose(qtbot: Any, kinds: KindsOnDisk) -> None:
    shown = show(qtbot, TokenStrip, prompted())
    shown.panel.show_run()
    assert not shown.panel.by_expert.isVisible()
    mixed, session = strip(qtbot, kinds, DENSE)
    dense = next(layer for layer, facts in enumerate(mixed.run.model.layers) if facts.experts is None)
    mixed.panel.by_expert.click()
    mixed.pin(layer=dense)
    assert mixed.panel.watches() == {}
    assert mixed.panel.view.notes is None
    assert session is not None


def test_the_key_and_the_live_run(make_window: MakeWindow, qtbot: Any, kinds: KindsOnDisk) -> None:
    folder: Path = kinds[ROUTED].folder
    window = make_window(Options(model=str(folder), sampling=GREEDY, tokens=6), panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    panel = window.workspace.docks["strip"].panel
    action = window.actions_by_name["colour_by_expert"]
    assert action.isEnabled()
    action.trigger()
    assert panel.by_expert.isChecked()
    window.bar.prompt.setPlainText("The fluoroscope")
    frames: list[object] = []
    window.received.connect(frames.append)
    window.actions_by_name["run"].trigger()
    qtbot.waitUntil(lambda: any(isinstance(frame, EndFrame) for frame in frames), timeout=60_000)
    qtbot.waitUntil(lambda: window.board.complete, timeout=10_000)
    assert len(panel.view.notes.words) == window.context.run.n_read
    action.trigger()
    assert panel.view.notes is None
    window.context.cursor.pin(position=2, layer=1, expert=3)
    for expected in ((2, None), (None, None)):
        window.actions_by_name["undo_one"].trigger()
        pinned = window.context.cursor.pinned
        assert (pinned.position, pinned.expert) == expected, "Esc frees the expert first, then the position"
