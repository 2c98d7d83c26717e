"""Downloads against a hub on this computer: several, paused, resumed, cancelled, failed; nothing is left over."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.downloads import AT_ONCE, Downloads, left_s
from app.mailbox import Mailbox
from app.notices import DownloadFrame
from engine.errors import DiskError
from tests.engine.fake_hub import FakeHub, serving

WEIGHTS = os.urandom(600_000)
FILES = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    with serving(FakeHub(files=dict(FILES)), monkeypatch) as server:
        yield server


@pytest.fixture
def downloads(mailbox: Mailbox) -> Iterator[Downloads]:
    made = Downloads(mailbox)
    yield made
    assert made.close(5.0)


class Journal:
    """Every frame of the downloads, as it comes out of the mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox, self.frames = mailbox, []

    def until(self, wanted, seconds: float = 20.0) -> DownloadFrame:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            fresh = [frame for frame in self._mailbox.drain() if isinstance(frame, DownloadFrame)]
            self.frames += fresh
            for frame in fresh:
                if wanted(frame):
                    return frame
            time.sleep(0.005)
        raise AssertionError(f"waited in vain; came: {self.frames[-3:]}")

    def state(self, *states: str) -> DownloadFrame:
        return self.until(lambda frame: frame.state in states)


@pytest.fixture
def journal(mailbox: Mailbox) -> Journal:
    return Journal(mailbox)


def arriving(frame: DownloadFrame) -> bool:
    return frame.state == "running" and frame.text == "model.safetensors" and 20_000 < frame.done < frame.total


def parts(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*.part") if path.stat().st_size]


def test_a_download_says_how_far_it_is_and_where_it_lies(hub: FakeHub, downloads: Downloads, journal: Journal) -> None:
    hub.faults.delay = 0.002
    downloads.start("org/model")
    moving = journal.until(lambda frame: arriving(frame) and frame.speed > 0)
    assert moving.total == sum(map(len, FILES.values()))
    assert left_s(moving) == pytest.approx((moving.total - moving.done) / moving.speed)
    done = journal.state("done", "failed")
    assert (Path(done.path) / "model.safetensors").read_bytes() == WEIGHTS
    assert "commit" in done.text
    assert downloads.running == ()


def test_paused_it_keeps_what_arrived_and_resumed_it_goes_on_there(
    hub: FakeHub, downloads: Downloads, journal: Journal, tmp_path: Path
) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    downloads.pause("org/model")
    paused = journal.state("paused")
    assert paused.done > 0
    (part,) = parts(tmp_path)
    kept = part.stat().st_size
    hub.faults.delay = 0.0
    downloads.start("org/model")
    done = journal.state("done", "failed")
    assert (Path(done.path) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked("model.safetensors")[-1] == f"bytes={kept}-"


def test_a_pause_that_is_taken_back_at_once_ends_in_the_model(
    hub: FakeHub, downloads: Downloads, journal: Journal
) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    downloads.pause("org/model")
    downloads.start("org/model")
    hub.faults.delay = 0.0
    done = journal.state("done", "failed", "paused")
    assert done.state == "done"


def test_cancelled_nothing_is_left(hub: FakeHub, downloads: Downloads, journal: Journal, tmp_path: Path) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    downloads.cancel("org/model")
    journal.state("cancelled")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    hub.faults.delay = 0.0
    downloads.start("org/model")
    journal.state("done")
    assert "bytes=" not in "".join(hub.asked("model.safetensors"))


def test_one_of_an_earlier_day_is_cancelled_too(
    hub: FakeHub, downloads: Downloads, mailbox: Mailbox, journal: Journal, tmp_path: Path
) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    assert downloads.close(5.0)
    assert parts(tmp_path)
    later = Downloads(mailbox)
    later.cancel("org/model")
    journal.state("cancelled")
    assert parts(tmp_path) == []
    assert later.close(5.0)


def test_a_failure_is_one_sentence_and_can_be_tried_again(hub: FakeHub, downloads: Downloads, journal: Journal) -> None:
    hub.faults.status = 404
    downloads.start("org/model")
    failed = journal.state("failed")
    assert "404" in failed.sentence
    assert not failed.needs_token
    assert failed.details == ""
    hub.faults.status = 0
    downloads.start("org/model")
    journal.state("done")


def test_what_needs_a_token_says_so(hub: FakeHub, downloads: Downloads, journal: Journal) -> None:
    hub.faults.status = 401
    downloads.start("org/model")
    assert journal.state("failed").needs_token


def test_more_than_the_line_takes_wait_for_their_turn(hub: FakeHub, downloads: Downloads, journal: Journal) -> None:
    names = [f"org/model@{branch}" for branch in ("main", "main2", "main3")]
    hub.faults.delay = 0.05
    for name in names:
        downloads.start(name)
    assert len(downloads.running) == AT_ONCE
    journal.until(lambda frame: frame.source == names[-1] and frame.state == "waiting")
    downloads.pause(names[-1])
    journal.until(lambda frame: frame.source == names[-1] and frame.state == "paused")
    hub.faults.delay = 0.0
    downloads.start(names[-1])
    journal.until(lambda frame: frame.source == names[-1] and frame.state in ("done", "failed"))


def test_closing_pauses_and_the_next_program_resumes(
    hub: FakeHub, downloads: Downloads, mailbox: Mailbox, journal: Journal, tmp_path: Path
) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    assert downloads.close(5.0)
    assert parts(tmp_path)
    hub.faults.delay = 0.0
    later = Downloads(mailbox)
    later.start("org/model")
    journal.state("done")
    assert hub.asked("model.safetensors")[-1].startswith("bytes=")
    assert later.close(5.0)


class Answering(Mailbox):
    """Somebody who presses Resume, or Cancel, the very moment a download has stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.then: list = []

    def post(self, frame: object) -> None:
        super().post(frame)
        if isinstance(frame, DownloadFrame) and frame.state == "paused" and self.then:
            self.then.pop()(frame.source)


@pytest.mark.parametrize(("deed", "ending"), [("start", "done"), ("cancel", "cancelled")])
def test_what_is_asked_the_moment_it_has_stopped_is_not_lost(hub: FakeHub, deed: str, ending: str) -> None:
    mailbox = Answering()
    downloads, journal = Downloads(mailbox), Journal(mailbox)
    mailbox.then = [getattr(downloads, deed)]
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    downloads.pause("org/model")
    hub.faults.delay = 0.0
    journal.state(ending)
    assert downloads.close(5.0)


def test_closing_does_not_keep_what_was_just_cancelled(
    hub: FakeHub, downloads: Downloads, journal: Journal, tmp_path: Path
) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    downloads.cancel("org/model")
    assert downloads.close(5.0)
    assert parts(tmp_path) == []
    assert not list((tmp_path / "cache").rglob("download.json"))


def test_a_download_that_cannot_be_discarded_says_why(
    hub: FakeHub, downloads: Downloads, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str) -> int:
        raise DiskError("It is a link to another place.")

    monkeypatch.setattr("engine.checkpoint.shelf.discard", refuse)
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(arriving)
    downloads.cancel("org/model")
    assert journal.state("failed", "paused").sentence == "It is a link to another place."
    assert downloads.running == ()


def test_the_speed_is_that_of_the_network_alone(hub: FakeHub, downloads: Downloads, journal: Journal) -> None:
    hub.faults.delay = 0.006
    downloads.start("org/model")
    journal.until(lambda frame: arriving(frame) and frame.done > 300_000)
    downloads.pause("org/model")
    journal.state("paused")
    seen = len(journal.frames)
    hub.faults.delay = 0.05  # 80 kB in a second
    downloads.start("org/model")
    journal.until(lambda frame: arriving(frame) and frame.speed > 0)
    downloads.pause("org/model")
    journal.state("paused")
    assert max(frame.speed for frame in journal.frames[seen:]) < 300_000
