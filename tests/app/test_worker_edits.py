"""Edits by way of the engine's thread: while idle, in a pass that stands, and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.mailbox import Mailbox
from app.notices import EditsFrame
from app.worker import RunRequest, Worker
from engine.edits import Edit
from engine.frames import AnswerFrame, EndFrame, ErrorFrame, ModelFrame, StepFrame, Where
from engine.questions import AskUntouched
from engine.settings import Sampling
from tests.app.test_worker import Reader

ZERO = Edit("zero", "attn.hook_z", (1,), heads=(0,))
BAN = Edit("ban", "hook_logits_final", entries=(5,))


@pytest.fixture
def loaded(worker: Worker, mailbox: Mailbox, tiny_model: Path) -> Reader:
    worker.load(str(tiny_model))
    reader = Reader(mailbox)
    reader.next(ModelFrame)
    return reader


def _run(tokens: int = 4, armed: str | None = None) -> RunRequest:
    return RunRequest("hello", Sampling(greedy=True), tokens, armed=armed)


def _steps(reader: Reader, since: int = 0) -> list[StepFrame]:
    reader.next(EndFrame)
    return [frame for frame in reader.frames[since:] if isinstance(frame, StepFrame)]


def test_while_idle(worker: Worker, loaded: Reader) -> None:
    worker.set_edits((ZERO,))
    assert loaded.next(EditsFrame).edits == (ZERO,)
    worker.run(_run())
    edited = _steps(loaded)
    assert all(step.edited for step in edited)
    worker.set_edits(())
    worker.run(_run())
    plain = _steps(loaded, len(loaded.frames))
    assert not any(step.edited for step in plain)
    assert not np.array_equal(plain[0].sampling.raw, edited[0].sampling.raw)


def test_in_a_pass_that_stands(worker: Worker, loaded: Reader) -> None:
    """Accepted where it stands, in force in this pass, and the answer beside it says what it did."""
    worker.run(_run(armed="layer"))
    assert loaded.paused().layer == 0
    worker.set_edits((ZERO,))
    assert loaded.next(EditsFrame).edits == (ZERO,)
    worker.step("layer")
    assert loaded.paused().layer == 1
    worker.ask("beside", AskUntouched(None))
    beside = loaded.next(AnswerFrame).answer
    assert beside.points == ("blocks.1.attn.hook_z",)
    assert beside.parting[2].min() > 0
    assert not beside.parting[:2].any()
    worker.resume()
    assert [step.edited for step in _steps(loaded)] == [True] * 4


@pytest.mark.parametrize("armed", [None, "layer"])
def test_one_that_does_not_fit(worker: Worker, loaded: Reader, armed: str | None) -> None:
    """A sentence, and the edits there were stay in force."""
    worker.set_edits((BAN,))
    loaded.next(EditsFrame)
    if armed:
        worker.run(_run(armed=armed))
        loaded.paused()
    worker.set_edits((ZERO, Edit("zero", "attn.hook_z", (9,))))
    error = loaded.next(ErrorFrame)
    assert (error.task, error.details) == ("edit", "")
    assert "blocks.9.attn.hook_z" in error.sentence
    if armed:
        worker.resume()
    else:
        worker.run(_run())
    steps = _steps(loaded)
    assert all(step.edited and 5 not in step.sampling.ids[step.sampling.raw > 0] for step in steps)


def test_without_a_model(worker: Worker, mailbox: Mailbox) -> None:
    worker.set_edits((ZERO,))
    assert "No model is loaded" in Reader(mailbox).next(ErrorFrame).sentence


def test_given_while_a_run_is_stopped_for_good(worker: Worker, loaded: Reader) -> None:
    """Whatever comes first, the edits are taken or refused, and the thread lives."""
    for count in range(20):
        worker.run(_run(400))
        loaded.until(lambda frame: isinstance(frame, StepFrame | Where))
        worker.stop()
        worker.set_edits((ZERO,) * (1 + count % 2))
        assert loaded.next(EditsFrame).edits == (ZERO,) * (1 + count % 2)
    worker.set_edits(())
    assert loaded.next(EditsFrame).edits == ()
    worker.run(_run())
    loaded.until(lambda frame: isinstance(frame, EndFrame) and frame.reason == "limit")


def test_given_for_a_model_that_another_replaces(worker: Worker, loaded: Reader, tiny_model: Path) -> None:
    """They were not meant for the passes of the new one."""
    worker.load(str(tiny_model))
    worker.set_edits((ZERO,))
    loaded.next(ModelFrame)
    worker.run(_run())
    assert not any(step.edited for step in _steps(loaded))
    assert not any(isinstance(frame, EditsFrame | ErrorFrame) for frame in loaded.frames)
