"""Headers are read beside window and engine: newest first, given up when nobody wants them, ended in time."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import inventory_reader
from app.inquiries import Inquiries, Inquiry
from app.inventory_reader import InventoryReader
from app.mailbox import Mailbox
from engine.errors import SourceError
from engine.frames import AnswerFrame, ErrorFrame, Listed
from engine.questions import AskInventory
from tests.app import leaks
from tests.engine.fake_hub import FakeHub, serving


class Reading:
    """A reader, and what it posted."""

    def __init__(self) -> None:
        self.box, self.inquiries = Mailbox(), Inquiries()
        self.reader = InventoryReader(self.box, self.inquiries)
        self.frames: list[object] = []

    def ask(self, source: str) -> Inquiry:
        inquiry = self.inquiries.put("tensors.headers", AskInventory(source), standing=False)
        self.reader.read(inquiry)
        return inquiry

    def next(self, seconds: float = 20.0) -> object:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.frames += self.box.drain()
            if self.frames:
                return self.frames.pop(0)
            time.sleep(0.002)
        raise AssertionError("nothing came")


@pytest.fixture
def reading() -> Iterator[Reading]:
    before = leaks.threads()
    made = Reading()
    yield made
    made.reader.cancel()
    assert made.reader.join(2.0)
    assert leaks.threads() <= before


def test_it_answers_with_the_inventory_and_its_trees(reading: Reading, tiny_model: Path) -> None:
    inquiry = reading.ask(str(tiny_model))
    frame = reading.next()
    assert isinstance(frame, AnswerFrame)
    assert (frame.key, frame.ticket) == ("tensors.headers", inquiry.ticket)
    answer = frame.answer
    assert isinstance(answer, Listed)
    assert answer.asked == str(tiny_model)
    assert answer.inventory is not None
    assert len(answer.by_layer.entries) == len(answer.by_component.entries) == len(answer.inventory.entries)
    assert not reading.inquiries.open()


def test_what_cannot_be_read_is_a_sentence(reading: Reading, tmp_path: Path) -> None:
    reading.ask(str(tmp_path / "nothing"))
    answer = reading.next().answer
    assert answer.inventory is None
    assert "There is no file or folder" in answer.sentence


def test_a_mistake_is_told_and_the_thread_goes_on(
    reading: Reading, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inventory_reader.read_inventory
    monkeypatch.setattr(inventory_reader, "read_inventory", lambda source, check: 1 / 0)
    reading.ask("x")
    assert isinstance(frame := reading.next(), ErrorFrame)
    assert "ZeroDivisionError" in frame.sentence
    assert "ZeroDivisionError" in reading.next().answer.sentence
    monkeypatch.setattr(inventory_reader, "read_inventory", real)
    reading.ask(str(tiny_model))
    assert reading.next().answer.inventory is not None


def slow(started: threading.Event) -> Callable:
    """A reading that only ends when it is not wanted any more."""

    def read(source: str, check: Callable[[], None]) -> None:
        if not source.startswith("slow"):
            raise SourceError(f"{source} was read.")
        started.set()
        while True:
            check()
            time.sleep(0.001)

    return read


def test_the_newest_wins(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    monkeypatch.setattr(inventory_reader, "read_inventory", slow(started))
    reading.ask("slow")
    assert started.wait(5)
    for source in ("one", "two", "three"):
        last = reading.ask(source)
    frame = reading.next()
    assert (frame.ticket, frame.answer.sentence) == (last.ticket, "three was read.")
    assert reading.reader.join(2.0)
    assert reading.box.drain() == []


def test_it_ends_in_time_and_reads_nothing_after(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    monkeypatch.setattr(inventory_reader, "read_inventory", slow(started))
    reading.ask("slow")
    assert started.wait(5)
    reading.reader.cancel()
    assert reading.reader.join(1.0)
    reading.ask("one")
    assert reading.reader.join(1.0)
    assert reading.box.drain() == []


def test_a_question_that_was_dropped_is_given_up(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    monkeypatch.setattr(inventory_reader, "read_inventory", slow(started))
    reading.ask("slow")
    assert started.wait(5)
    reading.inquiries.clear()
    assert reading.reader.join(2.0)
    assert reading.box.drain() == []


def test_a_model_on_the_hub_is_read_from_there_unless_it_is_here(
    reading: Reading, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    with serving(FakeHub(), monkeypatch) as hub:
        hub.files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
        reading.ask("org/model")
        answer = reading.next().answer
        assert (answer.sentence, answer.inventory.name) == ("", "org/model")
        assert answer.inventory.origin is None, "its weights cannot be read"
        asked = len(hub.requests)
        folder = tmp_path / "org--model" / "1"
        shutil.copytree(tiny_model, folder)
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        manifest = {"source": "org/model", "model": ".", "files": sizes}
        (folder / "complete.json").write_text(json.dumps(manifest))
        reading.ask("org/model")
        assert reading.next().answer.inventory.origin is not None
        assert len(hub.requests) == asked
