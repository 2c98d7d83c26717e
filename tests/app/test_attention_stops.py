"""A pass that stands inside a layer's attention: the panel looks at that stage and hatches what is still to come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.attention_stops import first_unmade, made_grid, made_map, made_row, stage_of_stop, unmade_of
from app.cursor import Look
from app.panels import PANELS
from app.panels.attention import AttentionPanel
from app.run import Run
from app.widgets.heatmap import ABSENT, SHOWN
from app.window import Window
from engine.frames import Where
from tests.app.conftest import MakeWindow, trigger, with_run
from tests.app.panel_runs import Shown, attention_answers, patterns, real_run, show

PROMPT = "abcdefghijklmnopqrstuvwxyz012345"


@pytest.fixture
def running(qtbot: Any, tiny_model: Path) -> tuple[Shown, Any]:
    """A real run of 40 positions and a panel that is answered by it."""
    import engine

    session = engine.Session(engine.load(tiny_model, device="cpu"), engine.Sampling(greedy=True))
    shown = show(qtbot, AttentionPanel, real_run(session, PROMPT, 8))
    shown.pin(layer=1, head=3)
    shown.answer(session)
    return shown, session


def stand(shown: Shown, stage: str, layer: int = 1, state: str = "paused") -> None:
    """The pass that reads the last position stops there."""
    n = shown.run.n_read
    shown.run.where = Where(state, 8, "decode", n, n + 1, layer, stage)  # type: ignore[arg-type]
    shown.panel.show_run()


def test_only_a_pass_that_stands_in_the_layer_is_followed(running: tuple[Shown, Any]) -> None:
    run = running[0].run
    for stage, wanted in (("scores", "masked"), ("softmax", "pattern"), ("mix", "contribution"), ("rope", None)):
        run.where = Where("paused", 8, "decode", 39, 40, 1, stage)
        assert stage_of_stop(run, Look(layer=1)) == wanted
        assert stage_of_stop(run, Look(layer=0)) is None
        assert stage_of_stop(run, Look(position=3, layer=1)) is None, "somebody looks back"
    run.where = Where("running", 8, "decode", 39, 40, 1, "scores")
    assert stage_of_stop(run, Look(layer=1)) is None


def test_what_the_pass_has_still_to_make(running: tuple[Shown, Any]) -> None:
    run = running[0].run
    run.where = Where("paused", 8, "decode", 39, 40, 1, "scores")
    assert [first_unmade(run, 1, stage) for stage in ("products", "masked", "pattern")] == [None, None, 39]  # type: ignore[arg-type]
    assert first_unmade(run, 0, "pattern") is None
    run.where = Where("paused", 8, "decode", 39, 40, 1, "softmax")
    assert (first_unmade(run, 1, "pattern"), first_unmade(run, 1, "contribution")) == (None, 39)
    run.where = Where("paused", 8, "decode", 39, 40, 1, "rope")
    assert first_unmade(run, 1, "products") == 39
    run.where = Where("paused", 8, "decode", 39, 40, 1, "")
    assert first_unmade(run, 1, "pattern") is None
    assert first_unmade(Run(), 1, "pattern") is None


@pytest.mark.parametrize(("block", "unmade", "cells"), [(1, 15, 15), (4, 15, 3), (4, 12, 3), (1, 0, 0)])
def test_cells_with_a_query_that_is_not_made_are_left_out(block: int, unmade: int, cells: int) -> None:
    answers = attention_answers(patterns(16), n=16, n_total=16, block=block)
    grid, part, row = (answers[f"attention.{name}"] for name in ("grid", "map", "row"))
    cut, shown = made_grid(grid, unmade), made_map(part, unmade)
    assert (cut.n, cut.maps.shape[1]) == (cells * block, cells)
    assert (shown.n, len(shown.map), len(shown.sight)) == (cells * block, cells, cells)
    np.testing.assert_array_equal(shown.map, part.map[:cells])
    assert made_row(row, unmade).rows.shape[1] == 0
    assert made_grid(grid, None) is grid
    assert made_map(part, None) is part
    assert made_row(row, None) is row


def test_an_answer_that_the_pass_has_made_is_whole(running: tuple[Shown, Any]) -> None:
    """While a run goes on the pass stands before softmax again and again: pictures of what is there are not redrawn."""
    run = running[0].run
    run.where = Where("running", 8, "decode", 39, 40, 0, "scores")
    for n, unmade in ((39, None), (40, 39)):
        answers = attention_answers(patterns(40), n=n, n_total=40)
        found = [unmade_of(run, answers[f"attention.{name}"]) for name in ("grid", "map", "row")]
        assert found == [unmade] * 3


def test_the_panel_looks_at_the_stage_where_the_pass_stands(running: tuple[Shown, Any]) -> None:
    shown, _ = running
    panel = shown.panel
    asked: list[str] = []
    panel.watches_changed.connect(lambda: asked.append(panel.watches()["attention.map"].stage))
    for stop, stage in (("scores", "masked"), ("softmax", "pattern"), ("mix", "contribution")):
        stand(shown, stop)
        assert panel._stages.stage == stage
        assert panel._stages.button(stage).isChecked()
        stand(shown, stop, state="running")
        assert panel._stages.stage == stage, "nothing flickers between two stops"
    stand(shown, "attention out")
    assert panel._stages.stage == "pattern", "what was chosen comes back"
    assert asked == ["masked", "pattern", "contribution", "pattern"]
    stand(shown, "scores", layer=2)
    assert panel._stages.stage == "pattern", "another layer is looked at"
    shown.pin(layer=2)
    assert panel._stages.stage == "masked"


def test_what_was_chosen_by_hand_stays(running: tuple[Shown, Any]) -> None:
    panel, shown = running[0].panel, running[0]
    stand(shown, "scores")
    panel._stages.button("contribution").click()
    for stop in ("scores", "softmax", "mix", "attention out"):
        stand(shown, stop)
        assert panel._stages.stage == "contribution"
    stand(shown, "scores")
    panel._stages.button("masked").click()  # where the pass stands: it is followed again
    stand(shown, "softmax")
    assert panel._stages.stage == "pattern"


def test_what_the_pass_has_not_made_is_hatched_and_comes_with_its_stage(running: tuple[Shown, Any]) -> None:
    shown, session = running
    panel, run = shown.panel, shown.run
    last = run.n_read - 1
    whole = panel.values()["map"].copy()

    def stop(stage: str) -> None:  # of the pass that read the last position, as if it were under way
        run.where = Where("paused", 8, "decode", last, run.n_read + 1, 1, stage)
        panel.show_run()

    panel._stages.choose("pattern")
    stop("rope")
    state = panel._large.cells.state
    assert (state[last] == ABSENT).all()
    assert state[last - 1, 0] == SHOWN
    assert (panel._heads.heads.state[-1] == ABSENT).all()
    assert f"{last} queries computed" in panel.caption()
    assert "not computed yet" in panel._describe_cell(last, 0)
    assert panel._bars.bars is None
    assert panel._row_title.text().endswith("has not come to this stage of layer 1 yet.")
    assert len(panel.values()["map"]) == last, "nor is it exported"
    stop("softmax")
    assert panel._large.cells.state[last, 0] == SHOWN
    np.testing.assert_array_equal(panel.values()["map"], whole)
    assert panel._bars.bars is not None
    panel._stages.choose("contribution")
    shown.answer(session)
    assert (panel._large.cells.state[last] == ABSENT).all(), "× V comes later"
    assert panel._heads.heads.state[-1, 0] == SHOWN, "the small maps show weights"
    stop("mix")
    assert panel._large.cells.state[last, 0] == SHOWN


# ---- in the window ---------------------------------------------------------------------------------------------------


@pytest.fixture
def live(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> Window:
    return with_run(make_window, qtbot, tiny_model, PANELS, tokens=4, size=(1280, 720), layout="explore")


def test_stepping_through_the_window(live: Window, qtbot: Any) -> None:
    panel = live.workspace.docks["attention"].panel
    assert isinstance(panel, AttentionPanel)
    run, seen = live.context.run, {}
    for _ in range(12):
        before = run.where
        trigger(live, "step_stage")
        qtbot.waitUntil(lambda before=before: run.where.state == "paused" and run.where != before, timeout=30_000)
        qtbot.waitUntil(lambda: live.complete, timeout=30_000)
        if run.where.layer == 0:
            unmade = int((panel._large.cells.state == ABSENT).sum()) if panel._large.cells is not None else -1
            seen[run.where.stage] = (panel._stages.stage, unmade)
    assert {stage: seen[stage] for stage in ("scores", "softmax", "mix")} == {
        "scores": ("masked", 0),
        "softmax": ("pattern", 0),
        "mix": ("contribution", 0),
    }
    assert seen["rope"][0] == "pattern"
    assert seen["rope"][1] != 0, "nothing of it is there"
