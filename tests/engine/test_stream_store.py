"""Where the record lies: within its memory, on disk, dropped; and what happens where the disk has no room."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

import engine
import engine.stream_store as store_module
from engine.errors import EngineError
from engine.settings import Record
from engine.stream_store import BLOCK, StreamStore, mapped
from tests.engine.conftest import Pair

ROWS, WIDTH = 3, 8
BLOCK_BYTES = ROWS * BLOCK * WIDTH * 4


def _store(blocks: int, beyond: str) -> StreamStore:
    return StreamStore(ROWS, WIDTH, torch.empty(0), Record(memory=blocks * BLOCK_BYTES, beyond=beyond))


def _filled(store: StreamStore, blocks: int) -> None:
    for index in range(blocks):
        store.reserve(index * BLOCK, (index + 1) * BLOCK)
        block = store[index]
        assert block is not None, "the newest block is always there"
        block.fill_(index)


def _values(store: StreamStore) -> list[float | None]:
    blocks = [store[index] for index in range(len(store))]
    assert all(block is None or (block == block.flatten()[0]).all() for block in blocks)
    return [None if block is None else float(block.flatten()[0]) for block in blocks]


def test_the_oldest_go_to_disk() -> None:
    store = _store(2, "disk")
    _filled(store, 5)
    assert _values(store) == [0, 1, 2, 3, 4]
    assert (store.memory, store.disk) == (2 * BLOCK_BYTES, 3 * BLOCK_BYTES)
    assert not store.dropped(0, 5)


def test_the_oldest_are_dropped() -> None:
    store = _store(2, "drop")
    _filled(store, 5)
    assert _values(store) == [None, None, None, 3, 4]
    assert (store.memory, store.disk) == (2 * BLOCK_BYTES, 0)
    assert store.dropped(0, 5)
    assert not store.dropped(3, 5)


def test_another_limit_moves_what_is_there() -> None:
    store = _store(5, "disk")
    _filled(store, 5)
    store.set_record(Record(memory=BLOCK_BYTES, beyond="disk"))
    assert (store.memory, store.disk, _values(store)) == (BLOCK_BYTES, 4 * BLOCK_BYTES, [0, 1, 2, 3, 4])
    store.set_record(Record(memory=4 * BLOCK_BYTES, beyond="disk"))
    assert (store.memory, store.disk, _values(store)) == (4 * BLOCK_BYTES, BLOCK_BYTES, [0, 1, 2, 3, 4])
    store.set_record(Record(memory=2 * BLOCK_BYTES, beyond="drop"))
    assert (store.memory, store.disk, _values(store)) == (2 * BLOCK_BYTES, BLOCK_BYTES, [0, None, None, 3, 4])


def test_a_truncated_store_keeps_what_stands_before() -> None:
    store = _store(2, "drop")
    _filled(store, 4)
    store.reserve(3 * BLOCK - 5, 3 * BLOCK + 1)
    assert [store[index] is None for index in range(4)] == [True, True, False, False]
    assert (store[2] == 2).all()
    store.reserve(BLOCK - 1, BLOCK)  # into the middle of a block that was dropped: it stays so
    assert len(store) == 1
    assert store[0] is None
    store.reserve(0, 10)
    assert store[0] is not None


def test_one_block_is_always_in_memory() -> None:
    store = _store(0, "drop")
    _filled(store, 3)
    assert _values(store) == [None, None, 2]


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    store = _store(1, "disk")
    _filled(store, 3)
    assert _values(store) == [None, None, 2]
    assert store.trouble == ("The record could not go to disk (No space left on device), so old positions were let go.")
    store.set_record(Record(memory=4 * BLOCK_BYTES, beyond="disk"))
    assert store.trouble == ""


def test_files_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_LASTING", tmp_path)
    tensor = mapped((3, 5), torch.bfloat16)
    tensor.fill_(2)
    assert float(tensor.sum()) == 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"memory": -1}, {"beyond": "cloud"}])
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=r"must be 0 bytes or more|can go to disk, or drop"):
        Record(**wrong)


def test_a_run_within_little_memory_makes_the_same_tokens(tiny: Pair) -> None:
    """Tokens, norms and choices are never let go; a long prompt is written to disk as it is read."""
    prompt = torch.randint(3, 90, (300,), generator=torch.Generator().manual_seed(0)).tolist()
    free = engine.Session(tiny.loaded, engine.Sampling(greedy=True))
    expected = [step.id for step in free.generate(prompt, 12)]
    for beyond in ("disk", "drop"):
        session = engine.Session(
            tiny.loaded, engine.Sampling(greedy=True), record=Record(memory=100_000, beyond=beyond)
        )
        steps = list(session.generate(prompt, 12))
        assert [step.id for step in steps] == expected
        use = steps[-1].frame().record
        assert use == session.trace.use()
        assert use.memory <= 100_000
        assert (use.disk > 0, use.dropped > 0) == (beyond == "disk", beyond == "drop")
        assert use.positions == 311
        torch.testing.assert_close(session.trace.norm_table(), free.trace.norm_table())
        torch.testing.assert_close(session.trace.residual(2, 0, 311), free.trace.residual(2, 0, 311))
        assert len(session.prompt + session.output) == 312


def test_a_record_restored_is_the_same(tiny: Pair) -> None:
    prompt = torch.randint(3, 90, (200,), generator=torch.Generator().manual_seed(1)).tolist()
    session = engine.Session(tiny.loaded, engine.Sampling(greedy=True))
    list(session.generate(prompt, 5))
    other = engine.Session(tiny.loaded)
    with torch.inference_mode():
        other.trace.restore(session.trace.spans, session.trace.blocks())
    assert other.trace.spans == session.trace.spans
    assert other.trace.reach == session.trace.reach
    assert torch.equal(other.trace.residual(3, 0, 204), session.trace.residual(3, 0, 204))
    assert torch.equal(other.trace.norm_table(), session.trace.norm_table())
    assert other.trace.span(150) == (0, 200)
    assert other.trace.span(202) == (202, 203)
