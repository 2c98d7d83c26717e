"""A new run of the same model: nothing of the old one is shown as if it were the new one's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.board import Board
from app.panels import PANELS
from app.panels.panel import Panel
from app.receiving import newest_answers
from engine.frames import AnswerFrame, ModelFrame, Piece, RoutedTokens, RunFrame
from tests.app.kinds import KindsOnDisk
from tests.app.panel_runs import show

RUN = RunFrame(tuple(Piece(id, "x", b"x", id, id + 1) for id in range(4)), 8, False)
# what is of the run itself or its tray (tests/app/test_panel_edits.py), or of files only
OF_NO_RUN = ("layers", "sampling", "branches", "edits", "breakpoints", "notes", "glossary", "tensors", "models")
ASKING = [panel for panel in PANELS if panel.key not in OF_NO_RUN]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsOnDisk:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))


@pytest.mark.parametrize("kind", ["mixtral-default", "gpt2-default"])
@pytest.mark.parametrize("panel", ASKING, ids=lambda panel: panel.key)
def test_answers_of_the_run_before_go(qtbot: Any, kinds: KindsOnDisk, panel: type[Panel], kind: str) -> None:
    session, run = kinds[kind].run()
    shown = show(qtbot, panel, run)
    if panel.key == "strip" and run.has_experts:
        shown.panel.by_expert.click()
    shown.answer(session)
    before = set(shown.panel.values())
    assert before
    run.absorb(RUN)
    told: list[str] = []
    shown.panel.caption_changed.connect(lambda: told.append(shown.panel.badge() + shown.panel.caption()))
    shown.panel.show_run()
    if panel.key != "strip":
        assert told[-1] == "", "the title bar hears that nothing is shown"
    left = {name: array for name, array in shown.panel.values().items() if array.size}
    of_the_tokens = {"tokens", "ids", "probabilities", "byte_ranges", "surprise", "entropy", "seconds"}
    assert set(left) == (of_the_tokens if panel.key == "strip" else set())
    assert all(np.isnan(left[name]).all() for name in ("surprise", "entropy", "seconds") if name in left)
    if panel.key != "strip":
        assert shown.panel.badge() == ""
    shown.panel.show_run()
    assert not shown.panel.another_run(), "the same run is no other one"


def test_a_batch_keeps_the_answers_of_its_newest_run() -> None:
    old, new = (AnswerFrame("experts.map", ticket, 0, RoutedTokens(0, None, None)) for ticket in (1, 2))
    assert newest_answers([old, RUN, new]) == [new]
    assert newest_answers([old, new]) == [old, new]
    model = ModelFrame("m", "", "llama", 8, 8, 8, (), 1, 1, 4, "float32", "cpu", "", False, 1.0)
    assert newest_answers([old, model]) == []


class Nobody:
    """A worker that is asked nothing of."""

    def watch(self, key: str, question: object) -> int:
        return 0


@pytest.mark.parametrize("kinds_in_turn", [("gpt2-default", "mixtral-default"), ("mixtral-default", "gpt2-default")])
@pytest.mark.parametrize("panel", ASKING, ids=lambda panel: panel.key)
def test_a_hidden_panel_wears_other_colours_after_another_model(
    qtbot: Any, kinds: KindsOnDisk, panel: type[Panel], kinds_in_turn: tuple[str, str]
) -> None:
    """It is drawn anew then, and what it shows is of the model before."""
    session, run = kinds[kinds_in_turn[0]].run()
    shown = show(qtbot, panel, run)
    shown.answer(session)
    board = Board(Nobody())  # type: ignore[arg-type]
    board.add([shown.panel])
    _, other = kinds[kinds_in_turn[1]].run()
    assert other.model is not None
    run.absorb(other.model)
    board.show_run()
    board.restyle()
    for each in board.up_to_date():
        each.show_depth()
    assert not {name for name, array in shown.panel.values().items() if array.size}
