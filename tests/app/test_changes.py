"""The worker takes its run back and from branch to branch: running, standing inside a pass, and idle."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from app.changes import Changes
from app.mailbox import Mailbox
from app.notices import CancelledFrame
from app.run import Run
from app.worker import OpenRequest, RunRequest, Worker
from engine.frames import (
    AnswerFrame,
    BackFrame,
    EndFrame,
    ErrorFrame,
    ModelFrame,
    ProgressFrame,
    ResidualVectors,
    RunFrame,
    StepFrame,
    SwitchedFrame,
    TreeFrame,
    Where,
)
from engine.questions import AskResidualVectors
from engine.settings import Sampling
from tests.app.test_worker import Reader

SAMPLING = Sampling(temperature=0.8, seed=5)
PROMPT = "hello"  # five tokens
LONG = 400


@pytest.fixture
def loaded(worker: Worker, mailbox: Mailbox, tiny_model: Path) -> Reader:
    """A reader after the tiny model was loaded."""
    reader = Reader(mailbox)
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    return reader


def run(worker: Worker, tokens: int = 8, prompt: str | None = PROMPT, **more) -> None:
    worker.run(RunRequest(prompt, SAMPLING, tokens, **more))


def ended(worker: Worker, reader: Reader, tokens: int = 8) -> list[StepFrame]:
    """The steps of a run that has ended."""
    run(worker, tokens)
    assert reader.next(EndFrame).reason == "limit"
    return picture(reader).steps


def picture(reader: Reader) -> Run:
    """What the window makes of all that came."""
    made = Run()
    for frame in reader.frames:
        made.absorb(frame)
    return made


def ids(steps) -> list[int]:
    return [step.piece.id for step in steps]


def test_back_while_idle_and_on_again(worker: Worker, loaded: Reader) -> None:
    whole = ended(worker, loaded)
    worker.back(5 + 3)
    assert loaded.next(BackFrame) == BackFrame(8)
    assert loaded.next(TreeFrame).current == 0
    assert ids(picture(loaded).steps) == ids(whole[:3])
    assert worker.where() is None
    run(worker, 5, None)
    assert loaded.next(EndFrame).reason == "limit"
    again = picture(loaded).steps
    assert ids(again) == ids(whole)
    assert all(np.array_equal(one.sampling.raw, two.sampling.raw) for one, two in zip(again, whole, strict=True))


def test_a_branch_while_idle_and_back_to_the_first(worker: Worker, loaded: Reader) -> None:
    whole = ended(worker, loaded)
    worker.branch(7, 9)
    switched = loaded.next(SwitchedFrame)
    assert (switched.number, ids(switched.steps)) == (1, [*ids(whole[:2]), 9])
    step = switched.steps[-1]
    assert (step.index, step.start, step.end, step.sampling.chosen, step.sampling.by_hand) == (2, 6, 7, 9, True)
    assert step.sampling.chosen_raw == pytest.approx(dict(zip(step.sampling.ids, step.sampling.raw, strict=True))[9])
    assert [piece.id for piece in step.candidates] == step.sampling.ids.tolist()
    tree = loaded.next(TreeFrame)
    assert (tree.current, [(b.number, b.parent, b.start, len(b.pieces)) for b in tree.branches]) == (
        1,
        [(0, None, 5, 8), (1, 0, 7, 1)],
    )
    run(worker, 3, None)
    assert loaded.next(EndFrame).reason == "limit"
    worker.switch(0)
    assert ids(loaded.next(SwitchedFrame).steps) == ids(whole)
    worker.switch(1)
    assert len(loaded.next(SwitchedFrame).steps) == 6
    worker.drop_branch(1)  # the current one: to the first
    assert loaded.next(SwitchedFrame).number == 0
    assert [b.number for b in loaded.next(TreeFrame).branches] == [0]


def test_a_token_by_its_text(worker: Worker, loaded: Reader) -> None:
    ended(worker, loaded)
    worker.branch(6, "h")
    assert loaded.next(SwitchedFrame).steps[-1].piece.text == "h"
    worker.branch(6, "no single token")
    error = loaded.next(ErrorFrame)
    assert error.task == "branch"
    assert "one is needed" in error.sentence
    assert error.details == ""


@pytest.mark.parametrize(
    ("change", "task"),
    [
        (lambda worker: worker.back(2), "back"),
        (lambda worker: worker.back(99), "back"),
        (lambda worker: worker.branch(4, 9), "branch"),
        (lambda worker: worker.branch(99, 9), "branch"),
        (lambda worker: worker.branch(6, 10**9), "branch"),
        (lambda worker: worker.branch(6, -1), "branch"),
        (lambda worker: worker.switch(7), "branch"),
        (lambda worker: worker.drop_branch(0), "branch"),
        (lambda worker: worker.drop_branch(7), "branch"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(worker: Worker, loaded: Reader, change, task: str) -> None:
    whole = ended(worker, loaded)
    change(worker)
    error = loaded.next(ErrorFrame)
    assert (error.task, error.details) == (task, "")
    assert picture(loaded).steps == whole
    run(worker, 2, None)
    assert loaded.next(EndFrame).reason == "limit"


def test_without_a_run_there_is_nothing_to_go_back_to(worker: Worker, loaded: Reader) -> None:
    worker.back(1)
    assert "run a prompt first" in loaded.next(ErrorFrame).sentence


def test_inside_a_pass_that_stands(worker: Worker, loaded: Reader) -> None:
    """It stands at the start of the next pass then, and goes on from there."""
    whole = ended(worker, loaded)
    run(worker, 8, armed="token")
    loaded.paused()
    for _ in range(3):
        worker.step("token")
        loaded.paused()
    worker.step("layer")
    assert loaded.paused().layer == 0
    worker.back(5 + 1)
    assert loaded.next(BackFrame).n_tokens == 6
    where = loaded.paused()
    assert (where.stage, where.layer, where.start, where.end) == ("start", None, 5, 6)
    assert sum(isinstance(frame, EndFrame) for frame in loaded.frames) == 1  # the run before
    worker.branch(5, whole[0].piece.id)
    assert loaded.next(SwitchedFrame).number == 1
    assert loaded.paused().end == 6
    worker.resume()
    assert loaded.next(EndFrame).reason == "limit"
    assert ids(picture(loaded).steps) == ids(whole)


def test_a_run_that_runs_goes_on_running_with_the_tokens_left(worker: Worker, loaded: Reader) -> None:
    run(worker, LONG)
    for _ in range(6):
        loaded.next(StepFrame)
    worker.back(5 + 2)
    assert loaded.next(BackFrame).n_tokens == 7
    loaded.next(StepFrame)
    worker.branch(6, 9)
    assert loaded.next(SwitchedFrame).number == 1
    assert loaded.next(EndFrame).reason == "limit"
    made = picture(loaded)
    assert len(made.steps) == LONG
    assert [step.index for step in made.steps] == list(range(LONG))
    assert made.steps[1].piece.id == 9
    assert made.tree is not None
    assert made.tree.current == 1


@pytest.mark.parametrize("stands", [True, False])
def test_a_change_that_comes_while_another_is_made(
    worker: Worker, loaded: Reader, monkeypatch: pytest.MonkeyPatch, stands: bool
) -> None:
    """The run goes on, or stands, as before the first of them."""
    make, begun, go_on = Changes.make, Event(), Event()

    def slow(self: Changes, session, change) -> None:
        begun.set()
        assert go_on.wait(10)
        make(self, session, change)

    monkeypatch.setattr(Changes, "make", slow)
    run(worker, LONG)
    for _ in range(6):
        loaded.next(StepFrame)
    if stands:
        worker.pause()
        loaded.paused()
    worker.back(5 + 3)
    assert begun.wait(10)
    worker.back(5 + 2)
    go_on.set()
    assert [loaded.next(BackFrame).n_tokens for _ in range(2)] == [8, 7]
    if stands:
        assert (loaded.paused().stage, worker.where().state) == ("start", "paused")
        worker.resume()
    assert loaded.next(EndFrame).reason == "limit"
    assert len(picture(loaded).steps) == LONG


def test_back_in_the_middle_of_a_move_stands_there(worker: Worker, loaded: Reader) -> None:
    """A run that goes token by token does not run away when it is taken back before the next one is there."""
    run(worker, LONG, armed="token")
    loaded.paused()
    worker.set_pace(5)
    worker.step("token")
    worker.back(5)
    assert loaded.next(BackFrame).n_tokens == 5
    assert loaded.paused().stage == "start"
    worker.set_pace(None)
    assert worker.where().state == "paused"


def test_what_is_commanded_right_behind_a_change_is_done(worker: Worker, loaded: Reader) -> None:
    run(worker, LONG, armed="layer")
    loaded.paused()
    for _ in range(10):
        worker.back(5)
        worker.step("layer")
        loaded.next(TreeFrame)
        assert loaded.paused().layer == 0
    worker.back(5)
    worker.resume()
    assert loaded.next(EndFrame).reason == "limit"
    assert len(picture(loaded).steps) == LONG


def test_stop_right_behind_a_change_ends_the_run(worker: Worker, loaded: Reader) -> None:
    run(worker, LONG)
    loaded.next(StepFrame)
    loaded.next(StepFrame)
    worker.back(6)
    worker.stop()
    assert loaded.next(EndFrame).reason == "stopped"
    loaded.next(BackFrame)
    assert len(picture(loaded).steps) == 1


def forgetful(model: Path, folder: Path) -> None:
    """The same model with a window."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 8}
    (folder / "config.json").write_text(json.dumps(config))


def test_a_run_that_was_stopped_is_taken_back_where_the_cache_forgets(
    worker: Worker, mailbox: Mailbox, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop was meant for the run, not for what comes behind it."""
    monkeypatch.setattr("engine.cache.FIRST_CAPACITY", 4)
    forgetful(tiny_model, tmp_path)
    reader = Reader(mailbox)
    worker.load(str(tmp_path))
    reader.next(ModelFrame)
    run(worker, LONG)
    for _ in range(60):
        reader.next(StepFrame)
    worker.stop()
    reader.next(EndFrame)
    worker.back(5 + 20)
    back = reader.next(BackFrame)
    assert back.n_tokens == 25
    assert back.refilled > 0
    run(worker, 30, None)
    reader.next(EndFrame)
    worker.back(5 + 10)
    run(worker, 2, None)  # goes on from there, however soon it comes
    assert reader.next(BackFrame).n_tokens == 15
    reader.next(EndFrame)
    assert len(picture(reader).steps) == 12


def test_a_refill_says_how_far_it_is_and_can_be_given_up(
    worker: Worker, mailbox: Mailbox, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While idle, too; the run stays where it was, and the next change is not given up for it."""
    monkeypatch.setattr("engine.cache.FIRST_CAPACITY", 4)
    monkeypatch.setattr("app.worker.REFILL_TOLD_S", 0.0)
    forgetful(tiny_model, tmp_path)
    reader = Reader(mailbox)
    worker.load(str(tmp_path))
    reader.next(ModelFrame)
    run(worker, 40)
    reader.next(EndFrame)
    check = worker._session.check
    worker._session.check = lambda: (time.sleep(0.02), check())
    worker.back(5 + 20)
    first = reader.next(ProgressFrame)
    assert (first.task, first.unit, first.done) == ("back", "tokens", 0)
    further = reader.until(lambda frame: isinstance(frame, ProgressFrame) and frame.done > 0)
    assert further.done < further.total == first.total
    worker.stop()
    assert reader.next(CancelledFrame).task == "back"
    assert worker._session.n_tokens == 45
    worker.back(5 + 20)
    back = reader.next(BackFrame)
    assert (back.n_tokens, back.refilled) == (25, first.total)
    told = [frame.done for frame in reader.frames if isinstance(frame, ProgressFrame) and frame.task == "back"]
    assert max(told) < first.total
    worker.ask("after", AskResidualVectors(9))
    assert isinstance(answer(reader, "after"), ResidualVectors)


def test_another_run_right_behind_a_change_wins(worker: Worker, loaded: Reader) -> None:
    run(worker, LONG)
    loaded.next(StepFrame)
    worker.back(5)
    run(worker, 3, "another")
    loaded.until(lambda frame: isinstance(frame, EndFrame) and frame.reason == "limit")
    time.sleep(0.05)
    made = picture(loaded)
    assert (len(made.prompt), len(made.steps)) == (7, 3)
    assert made.tree is not None
    assert [branch.number for branch in made.tree.branches] == [0]


def test_commands_come_through_within_200_ms(worker: Worker, loaded: Reader) -> None:
    run(worker, LONG)
    for _ in range(30):
        loaded.next(StepFrame)
    for change, kind in ((lambda: worker.branch(8, 9), SwitchedFrame), (lambda: worker.back(8), BackFrame)):
        began = time.monotonic()
        change()
        loaded.next(kind)
        assert time.monotonic() - began < 0.2
    worker.stop()


def test_another_branch_is_asked_about_where_no_pass_computes(worker: Worker, loaded: Reader) -> None:
    ended(worker, loaded)
    question = AskResidualVectors(9)
    worker.ask("mine", question)
    before = answer(loaded, "mine")
    worker.branch(7, 9)
    run(worker, 6, None, armed="pause")
    assert loaded.paused().stage == "start"
    worker.ask_on(0, "other", question)
    there = answer(loaded, "other")
    assert isinstance(before, ResidualVectors)
    assert np.array_equal(before.vectors, there.vectors)
    worker.step("layer")
    loaded.paused()
    worker.watch_on(0, "watch", question)  # waits for a place where it can be answered
    worker.ask("own", AskResidualVectors(7))
    answer(loaded, "own")
    assert not any(isinstance(frame, AnswerFrame) and frame.key == "watch" for frame in loaded.frames)
    worker.resume()
    assert np.array_equal(answer(loaded, "watch").vectors, before.vectors)
    worker.drop_branch(0)
    assert loaded.next(ErrorFrame).task == "branch"


def answer(reader: Reader, key: str):
    return reader.until(lambda frame: isinstance(frame, AnswerFrame) and frame.key == key).answer


def test_the_branch_that_is_stood_on_is_saved_and_opened(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    ended(worker, loaded)
    worker.branch(7, 9)
    run(worker, 3, None)
    loaded.next(EndFrame)
    tokens = ids(picture(loaded).steps)
    worker.save_run(tmp_path / "branch.fluoro")
    loaded.until(lambda frame: type(frame).__name__ == "SavedFrame")
    worker.open_run(OpenRequest(tmp_path / "branch.fluoro"))
    loaded.next(ModelFrame)
    loaded.next(EndFrame)
    made = picture(loaded)
    assert ids(made.steps) == tokens
    assert made.steps[2].sampling.by_hand
    worker.back(5 + 4)
    assert loaded.next(BackFrame).n_tokens == 9
    run(worker, 2, None)
    loaded.next(EndFrame)
    assert ids(picture(loaded).steps) == tokens


def test_it_quits_in_time_in_the_middle_of_changes(worker: Worker, loaded: Reader) -> None:
    run(worker, LONG)
    loaded.next(StepFrame)
    for _ in range(20):
        worker.back(6)
        worker.branch(5, 9)
    assert worker.quit()


def test_where_is_told_from_the_new_place(worker: Worker, loaded: Reader) -> None:
    run(worker, 8, armed="pause")
    assert loaded.paused().start == 0
    worker.back(5)
    loaded.next(TreeFrame)
    assert loaded.paused() == Where("paused", 0, "prefill", 0, 5, None, "start")


def test_a_save_under_way_is_of_the_run_as_it_is_then(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    run(worker, LONG)
    for _ in range(8):
        loaded.next(StepFrame)
    worker.pause()
    loaded.paused()
    worker.save_run(tmp_path / "run.fluoro")
    worker.back(5 + 3)
    loaded.next(BackFrame)
    loaded.until(lambda frame: type(frame).__name__ == "SavedFrame")
    assert not any(isinstance(frame, EndFrame) for frame in loaded.frames)
    worker.open_run(OpenRequest(tmp_path / "run.fluoro"))
    loaded.next(ModelFrame)
    assert len(picture(loaded).steps) == 0
    loaded.next(EndFrame)
    assert len(picture(loaded).steps) in (3, 8)  # it may have been done before the run was taken back


def test_a_run_without_its_model_says_which_one_is_needed(
    worker: Worker, loaded: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(worker, loaded)
    worker.save_run(tmp_path / "run.fluoro")
    loaded.until(lambda frame: type(frame).__name__ == "SavedFrame")
    monkeypatch.setattr("engine.run_file_opening._model", lambda file, *more: (None, "It takes the model tiny."))
    worker.open_run(OpenRequest(tmp_path / "run.fluoro"))
    loaded.next(ModelFrame)
    loaded.next(EndFrame)
    for change in (lambda: worker.back(6), lambda: worker.branch(6, 9)):
        change()
        assert loaded.next(ErrorFrame).sentence == "It takes the model tiny."
    assert len(picture(loaded).steps) == 8


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_wanted_in_whatever_order(worker: Worker, loaded: Reader, seed: int) -> None:
    """At rest the window's picture is the session's run, and the tree tells its path."""
    chance = random.Random(seed)
    run(worker, LONG)
    loaded.next(StepFrame)
    for _ in range(60):
        chance.choice(_WISHES)(worker, chance)
        time.sleep(chance.choice((0, 0, 0.001, 0.02)))
    worker.stop()
    worker.ask("rest", AskResidualVectors(0))
    run(worker, 1, "the end", armed="pause")
    last = loaded.next(RunFrame)
    made = Run()
    for frame in loaded.frames[: loaded.frames.index(last)]:
        made.absorb(frame)
    errors = [frame.details for frame in loaded.frames if isinstance(frame, ErrorFrame) and frame.details]
    assert errors == []
    assert [step.index for step in made.steps] == list(range(len(made.steps)))
    assert made.tree is not None
    branches = {branch.number: branch for branch in made.tree.branches}
    path: list[int] = []
    number, end = made.tree.current, None
    while number is not None:
        branch = branches[number]
        own = [piece.id for piece in branch.pieces]
        path = (own if end is None else own[: max(0, end - branch.start)]) + path
        end, number = branch.start if end is None else min(end, branch.start), branch.parent
    assert ids(made.steps) == path


_WISHES = (
    lambda worker, chance: worker.back(5 + chance.randrange(12)),
    lambda worker, chance: worker.branch(5 + chance.randrange(12), chance.randrange(90)),
    lambda worker, chance: worker.switch(chance.randrange(6)),
    lambda worker, chance: worker.drop_branch(chance.randrange(6)),
    lambda worker, chance: worker.pause(),
    lambda worker, chance: worker.resume(),
    lambda worker, chance: worker.step(chance.choice(("stage", "layer", "token"))),
    lambda worker, chance: worker.stop(),
    lambda worker, chance: run(worker, 20, None, armed=chance.choice((None, "pause", "token"))),
    lambda worker, chance: worker.ask_on(chance.randrange(4), "other", AskResidualVectors(chance.randrange(8))),
    lambda worker, chance: worker.watch_on(chance.randrange(4), "watch", AskResidualVectors(chance.randrange(8))),
)
