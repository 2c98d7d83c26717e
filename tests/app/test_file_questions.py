"""Questions about files reach the engine's thread with no model, in a pass, at a stop; and outlive what void others."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.board import Board
from app.mailbox import Mailbox
from app.receiving import newest_answers
from app.worker import RunRequest, Worker
from engine import tensor_answers
from engine.checkpoint import values
from engine.checkpoint.inventory import inventory
from engine.checkpoint.stored import Stored, stored
from engine.frames import (
    AnswerFrame,
    CacheState,
    EndFrame,
    ErrorFrame,
    Listed,
    ModelFrame,
    RunFrame,
    SingularValues,
    StepFrame,
    TensorBlock,
    TensorFigures,
    Unreadable,
)
from engine.questions import AskCacheState, AskInventory, AskSingularValues, AskTensorBlock, AskTensorFigures
from engine.settings import Sampling
from tests.app.test_worker import Reader

LONG = 400


@pytest.fixture
def reader(worker: Worker, mailbox: Mailbox) -> Reader:
    return Reader(mailbox)


@pytest.fixture
def tensor(tiny_model: Path) -> Stored:
    origin = inventory(tiny_model).origin
    assert origin is not None
    return stored(origin, "model.layers.1.mlp.up_proj.weight")


def request(tokens: int = 4, **more: Any) -> RunRequest:
    return RunRequest("hello", Sampling(greedy=True), tokens, **more)


def answers(kind: type) -> Any:
    return lambda frame: isinstance(frame, AnswerFrame) and isinstance(frame.answer, kind)


def test_no_model_is_needed(worker: Worker, reader: Reader, tensor: Stored, tiny_model: Path) -> None:
    ticket = worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    frame = reader.until(answers(TensorFigures))
    assert (frame.ticket, frame.answer.count) == (ticket, tensor.elements)
    worker.ask("tensors.headers", AskInventory(str(tiny_model)))
    assert reader.until(answers(Listed)).answer.inventory is not None


def test_it_is_answered_in_a_running_pass_and_at_a_stop(
    worker: Worker, reader: Reader, tensor: Stored, tiny_model: Path
) -> None:
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    worker.run(request(LONG))
    reader.next(StepFrame)
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    reader.until(answers(TensorFigures))
    assert not any(isinstance(frame, EndFrame) for frame in reader.frames)
    worker.pause()
    reader.paused()
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    reader.until(answers(TensorFigures))
    worker.stop()
    assert reader.next(EndFrame).reason == "stopped"


def test_singular_values_wait_for_the_end_of_the_run(
    worker: Worker, reader: Reader, tensor: Stored, tiny_model: Path
) -> None:
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    worker.run(request(LONG))
    reader.next(StepFrame)
    worker.ask("tensors.spectrum", AskSingularValues(tensor, 0))
    worker.pause()
    reader.paused()
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    reader.until(answers(TensorFigures))
    assert not any(answers(SingularValues)(frame) for frame in reader.frames)
    worker.stop()
    reader.next(EndFrame)
    assert len(reader.until(answers(SingularValues)).answer.values) == min(tensor.shape)


def test_another_tensor_cancels_the_one_before(
    worker: Worker, reader: Reader, tensor: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "SLICE", 16)
    seen, go = threading.Event(), threading.Event()
    moments = tensor_answers._Moments.add

    def held(self: Any, part: Any) -> None:
        seen.set()
        assert go.wait(20)
        moments(self, part)

    monkeypatch.setattr(tensor_answers._Moments, "add", held)
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    assert seen.wait(20)
    last = worker.ask("tensors.figures", AskTensorFigures(tensor, None))
    go.set()
    assert reader.until(answers(TensorFigures)).ticket == last


def test_a_run_that_is_stopped_before_it_begins_loses_no_answer(
    worker: Worker, reader: Reader, tensor: Stored, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    seen, go = threading.Event(), threading.Event()
    moments = tensor_answers._Moments.add

    def held(self: Any, part: Any) -> None:
        seen.set()
        assert go.wait(20)
        moments(self, part)

    monkeypatch.setattr(values, "SLICE", 16)
    monkeypatch.setattr(tensor_answers._Moments, "add", held)
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    assert seen.wait(20)
    worker.run(request())  # the answer makes room for it
    go.set()
    worker.stop()
    reader.until(answers(TensorFigures))


def test_a_file_that_has_gone_is_an_answer_and_no_error(worker: Worker, reader: Reader, tensor: Stored) -> None:
    gone = Stored(**{**vars(tensor), "stamps": ((Path("/nowhere/model.safetensors"), 1, 1),)})
    worker.ask("tensors.figures", AskTensorFigures(gone, 0))
    assert "no longer there" in reader.until(answers(Unreadable)).answer.sentence
    assert not any(isinstance(frame, ErrorFrame) for frame in reader.frames)


def test_a_mistake_of_ours_is_told_and_whoever_waits_has_an_answer(
    worker: Worker, reader: Reader, tensor: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(self: Any, part: Any) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(tensor_answers._Moments, "add", mistaken)
    ticket = worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    frame = reader.until(answers(Unreadable))
    assert frame.ticket == ticket
    assert "ZeroDivisionError" in frame.answer.sentence
    assert any(isinstance(frame, ErrorFrame) and "Traceback" in frame.details for frame in reader.frames)


def test_what_nobody_wants_any_more_ends_without_an_answer(
    worker: Worker, reader: Reader, tensor: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "SLICE", 16)
    seen, go, parts = threading.Event(), threading.Event(), []
    moments = tensor_answers._Moments.add

    def held(self: Any, part: Any) -> None:
        parts.append(part)
        seen.set()
        assert go.wait(20)
        moments(self, part)

    monkeypatch.setattr(tensor_answers._Moments, "add", held)
    board = Board(worker)
    board.ask("tensors.figures", AskTensorFigures(tensor, 0))
    assert seen.wait(20)
    board.unask("tensors.figures")
    assert board.complete
    go.set()
    worker.ask("tensors.block", AskTensorBlock(tensor, 0, (0, 2), (0, 2)))
    reader.until(answers(TensorBlock))
    assert not any(answers(TensorFigures)(frame) for frame in reader.frames)
    assert len(parts) == 1  # of some ninety


def test_a_new_run_does_not_void_what_was_asked_about_files() -> None:
    listed, state = AnswerFrame("tensors.headers", 1, 0, Listed("x", None)), AnswerFrame("cache.state", 2, 0, None)
    assert newest_answers([listed, state, RunFrame((), 4, False)]) == [listed]


def test_others_do_not_wait_for_a_long_one(
    worker: Worker, reader: Reader, tensor: Stored, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while idle nor at a stop inside a pass."""
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    worker.run(request(2))
    reader.next(EndFrame)
    moments = tensor_answers._Moments.add

    def slowly(self: Any, part: Any) -> None:
        time.sleep(0.03)
        moments(self, part)

    monkeypatch.setattr(values, "SLICE", 64)  # some 24 slices
    monkeypatch.setattr(tensor_answers._Moments, "add", slowly)
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    worker.ask("cache.state", AskCacheState())
    assert isinstance(reader.next(AnswerFrame).answer, CacheState)
    reader.until(answers(TensorFigures))
    worker.run(request(LONG, armed="layer"))
    reader.paused()
    worker.ask("tensors.figures", AskTensorFigures(tensor, 0))
    worker.ask("cache.state", AskCacheState())
    assert isinstance(reader.next(AnswerFrame).answer, CacheState)
    reader.until(answers(TensorFigures))
