"""Branches are never lost: they come back from a file, at the next start and after a kill, also without the model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.command_line import Options
from app.compare import Comparison
from app.notices import SavedFrame, SettledFrame
from app.panels import PANELS
from app.run import Run
from app.worker import OpenRequest, RunRequest, Worker
from engine.errors import EngineError, RunFileError
from engine.frames import EndFrame, ErrorFrame, ModelFrame, SwitchedFrame, TreeFrame
from engine.run_file_reading import RunFile
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.kept_windows import WAIT, Start, arrived, close, environment, run
from tests.app.test_branching import Driver, branched
from tests.app.test_worker import Reader
from tests.engine.run_files import rewritten, with_facts

PROMPT = "hello abc"


@pytest.fixture
def loaded(worker: Worker, mailbox: Any, tiny_model: Path) -> Reader:
    """A reader after the tiny model was loaded."""
    worker.load(str(tiny_model))
    reader = Reader(mailbox)
    reader.next(ModelFrame)
    return reader


def branched_run(worker: Worker, reader: Reader, path: Path) -> Run:
    """Two branches, saved; the picture of the run then."""
    worker.run(RunRequest(PROMPT, GREEDY, 6))
    reader.next(EndFrame)
    n_prompt = len(picture(reader).prompt)
    worker.branch(n_prompt + 2, 9)
    worker.run(RunRequest(None, GREEDY, 3))
    reader.next(EndFrame)
    worker.branch(n_prompt + 4, 11)
    reader.next(SwitchedFrame)
    reader.next(TreeFrame)
    worker.save_run(path)
    reader.next(SavedFrame)
    return picture(reader)


def picture(reader: Reader) -> Run:
    """The window's picture of the run that came last."""
    made = Run()
    for frame in reader.frames:
        made.absorb(frame)
    return made


def opened(worker: Worker, reader: Reader, path: Path) -> Run:
    worker.open_run(OpenRequest(path))
    reader.next(ModelFrame)
    reader.next(EndFrame)
    return picture(reader)


def texts(steps: Any) -> list[str]:
    return [step.piece.text for step in steps]


def test_a_file_has_all_branches_and_they_go_on(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    before = branched_run(worker, loaded, tmp_path / "run.fluoro")
    assert before.tree is not None
    run = opened(worker, loaded, tmp_path / "run.fluoro")
    assert run.tree is not None
    assert (run.tree.current, run.prompt) == (2, before.prompt)
    assert [b.pieces for b in run.tree.branches] == [b.pieces for b in before.tree.branches]
    assert run.of_branches.keys() == {0, 1, 2}, "their steps are there before anybody goes there"
    assert str(run.of_branches) == str({number: before.of_branches[number] for number in run.of_branches})
    for number in (0, 1, 2):
        worker.switch(number)
        switched = loaded.next(SwitchedFrame)
        assert str(switched.steps) == str(tuple(before.of_branches[number]))
    worker.switch(1)
    worker.run(RunRequest(None, GREEDY, 2))
    loaded.next(EndFrame)
    assert len(picture(loaded).steps) == len(before.of_branches[1]) + 2
    assert not [frame for frame in loaded.frames if isinstance(frame, ErrorFrame)]


def test_without_the_model_one_goes_from_branch_to_branch_and_no_further(
    worker: Worker, loaded: Reader, tmp_path: Path
) -> None:
    before = branched_run(worker, loaded, tmp_path / "run.fluoro")
    orphan = rewritten(
        tmp_path / "run.fluoro", tmp_path / "orphan.fluoro", with_facts(lambda t: t["model"].update(source="gone"))
    )
    changed = with_facts(lambda t: t["model"]["identity"].update(headers="0" * 64))
    run = opened(worker, loaded, rewritten(orphan, tmp_path / "other.fluoro", changed))
    assert run.tree is not None
    assert run.tree.current == 2
    for number in (1, 0, 2):
        worker.switch(number)
        assert str(loaded.next(SwitchedFrame).steps) == str(tuple(before.of_branches[number]))
    worker.branch(len(run.prompt) + 1, 5)
    assert loaded.next(ErrorFrame).sentence.startswith("What is not recorded takes the model")
    worker.drop_branch(2)
    assert loaded.next(SwitchedFrame).number == 1
    assert [branch.number for branch in loaded.next(TreeFrame).branches] == [0, 1]
    worker.save_run(tmp_path / "again.fluoro")
    loaded.next(SavedFrame)
    with RunFile(tmp_path / "again.fluoro") as file:
        assert file.facts.tree is not None
        assert [node.number for node in file.facts.tree.branches] == [0, 1]


# ---- the window ------------------------------------------------------------------------------------------------------


@pytest.fixture
def driver(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> Driver:
    options = Options(model=str(tiny_model), sampling=GREEDY, tokens=6, size=(1600, 900), layout="explore")
    made = Driver(make_window(options, panels=PANELS, start=True), qtbot)
    qtbot.waitUntil(lambda: made.run.model is not None, timeout=60_000)
    made.window.bar.prompt.setPlainText(PROMPT)
    return made


def compared_and_saved(driver: Driver, path: Path) -> dict[str, np.ndarray]:
    """Branches 0 and 1 are compared, their difference is shown, and the run is saved: what is shown of it."""
    driver.ends("run")
    branched(driver, driver.run.n_prompt + 2)
    driver.ends("go_on")
    driver.branching.do("A", 1)
    driver.branching.do("B", 0)
    driver.branching.show_side("A − B")
    driver.bring_up("residual")
    driver.window.context.cursor.pin(position=driver.run.n_prompt + 4)
    driver.settle()
    driver.until(SavedFrame, lambda: driver.window.filing.save_run_as(path))
    return {name: array.copy() for name, array in driver.panel("residual").values().items()}


def reopened(driver: Driver, path: Path) -> None:
    driver.branching.end_comparison()
    driver.until(EndFrame, lambda: driver.ends("run"))  # another run
    assert driver.run.tree is None or len(driver.run.tree.branches) == 1
    driver.until(SettledFrame, lambda: driver.window.filing.open_model(str(path)))


@pytest.mark.parametrize("has_model", [True, False], ids=["with the model", "without it"])
def test_the_tree_and_the_comparison_are_as_they_were(driver: Driver, tmp_path: Path, has_model: bool) -> None:
    path = tmp_path / "run.fluoro"
    values = compared_and_saved(driver, path)
    tree = driver.run.tree
    if not has_model:
        lacks = with_facts(lambda t: t["model"]["identity"].update(headers="0" * 64))
        path = rewritten(path, tmp_path / "orphan.fluoro", lacks)
    reopened(driver, path)
    assert driver.window.filing.opened is not None
    assert bool(driver.window.filing.opened.why) is not has_model
    assert [(b.number, b.start, b.pieces) for b in driver.run.tree.branches] == [
        (b.number, b.start, b.pieces) for b in tree.branches
    ]
    assert driver.window.context.comparison == Comparison(1, 0, "A − B")
    assert driver.window.compare_bar.isVisible()
    driver.window.context.cursor.pin(position=driver.run.n_prompt + 4)
    driver.settle()
    assert any(np.abs(array).max() > 0 for array in values.values())
    again = driver.panel("residual").values()
    assert again.keys() == values.keys()
    for name, array in values.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
    shown = driver.bring_up("branches").tree
    assert shown.number == 1
    driver.until(SwitchedFrame, lambda: driver.branching.show_side("B"))
    assert driver.run.tree.current == 0
    assert ("Continue" in driver.window.activity) is has_model
    assert driver.window.actions_by_name["go_on"].isEnabled() is has_model
    assert driver.errors() == []


def test_a_run_of_before_compares_nothing(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "run.fluoro"
    compared_and_saved(driver, path)
    first = rewritten(path, tmp_path / "none.fluoro", with_facts(lambda t: t["tree"].update(compared=None)))
    reopened(driver, first)
    assert driver.window.context.comparison == Comparison()
    assert not driver.window.compare_bar.isVisible()


@pytest.mark.parametrize("loads", [True, False], ids=["of a model", "of the same one"])
def test_what_a_file_compared_that_did_not_arrive_is_not_for_the_next_run(
    driver: Driver, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, loads: bool
) -> None:
    def fails(*rest: Any) -> None:
        raise EngineError("Its branches cannot be told.")

    driver.ends("run")
    driver.branching.do("A", 0)
    driver.until(SavedFrame, lambda: driver.window.filing.save_run_as(tmp_path / "run.fluoro"))
    driver.branching.end_comparison()
    with monkeypatch.context() as broken:
        broken.setattr("app.changes.Changes.take_up", fails)
        driver.until(ErrorFrame, lambda: driver.window.filing.open_model(str(tmp_path / "run.fluoro")))
    assert driver.errors() == ["Its branches cannot be told."]
    assert driver.window.actions_by_name["run"].isEnabled(), "nothing is under way"
    if loads:
        driver.until(ModelFrame, lambda: driver.window.filing.open_model(str(tiny_model)))
    driver.until(EndFrame, lambda: driver.window.worker.run(RunRequest(PROMPT, GREEDY, 4)))
    assert driver.run.tree is not None
    assert driver.window.context.comparison == Comparison()


# ---- the session -----------------------------------------------------------------------------------------------------


def with_a_branch(window: Any, qtbot: Any) -> list[Any]:
    """A run of six tokens with a branch at its third, of two; the pieces of both."""
    run(window, qtbot, tokens=6)
    shown = window.context.run
    other = (shown.steps[2].piece.id + 1) % 90
    window.branching.branch_at(shown.n_prompt + 2, other)
    qtbot.waitUntil(lambda: shown.tree is not None and len(shown.tree.branches) == 2, timeout=WAIT)
    return [branch.pieces for branch in shown.tree.branches]


def test_branches_come_back_at_the_next_start(start: Start, qtbot: Any) -> None:
    window = start()
    pieces = with_a_branch(window, qtbot)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 8), timeout=WAIT)
    tree = window.context.run.tree
    assert [branch.pieces for branch in tree.branches] == pieces
    window.branching.switch(0)
    qtbot.waitUntil(lambda: window.context.run.n_tokens == 11, timeout=WAIT)
    assert texts(window.context.run.steps) == [piece.text for piece in pieces[0]]
    window.branching.do("drop", 1)
    qtbot.waitUntil(lambda: len(window.context.run.tree.branches) == 1, timeout=WAIT)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 11), timeout=WAIT)
    assert len(window.context.run.tree.branches) == 1


KILLED = """
import sys
from app import application, keeping
from engine.frames import EndFrame, SwitchedFrame
keeping.SAVE_EVERY_S, keeping.REST_PER_SAVE = 0.2, 0
plain = application.make_window

def make_window(*given, **more):
    window = plain(*given, **more)

    def take(frame):
        run = window.context.run
        if isinstance(frame, EndFrame) and run.tree is not None and len(run.tree.branches) == 1:
            window.branching.branch_at(run.n_prompt + 2, (run.steps[2].piece.id + 1) % 90)
        elif isinstance(frame, SwitchedFrame):
            window.actions_by_name["go_on"].trigger()

    window.received.connect(take)
    return window

application.make_window = make_window
from app.main import main
main(sys.argv[1:])
"""


def test_branches_are_there_after_a_kill(state: Path, tiny_model: Path, start: Start, qtbot: Any) -> None:
    words = ("--model", str(tiny_model), "--prompt", "hello", "--tokens", "6")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *words], env=environment(state), stderr=subprocess.DEVNULL
    )
    try:
        wait_for_branches(state / "window-1" / "run.fluoro", process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    window = start()
    assert window.left_bar.isVisible()
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: window.context.run.tree is not None, timeout=WAIT)
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=WAIT)
    first, second = window.context.run.tree.branches
    assert (len(first.pieces), window.context.run.tree.current) == (6, 1)
    assert second.pieces[0].id == (first.pieces[2].id + 1) % 90
    window.branching.switch(0)
    qtbot.waitUntil(lambda: texts(window.context.run.steps) == [p.text for p in first.pieces], timeout=WAIT)


def wait_for_branches(path: Path, process: subprocess.Popen) -> None:
    until = time.monotonic() + 120.0
    while True:
        assert process.poll() is None, "the program has ended"
        assert time.monotonic() < until, "no branch came"
        time.sleep(0.1)
        try:
            with RunFile(path) as file:
                if file.facts.tree is not None and len(file.facts.tree.branches) == 2:
                    return
        except RunFileError:
            continue
