"""Looking at a model on the hub before it is downloaded: the same inventory as of its files, from headers alone."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.checkpoint import ranges, remote
from engine.checkpoint.hub import remote_file
from engine.checkpoint.inventory import Inventory, inventory
from engine.checkpoint.remote import remote_config, remote_inventory
from engine.checkpoint.source import HubId
from engine.config import ModelConfig
from engine.errors import AccessError, Cancelled, CheckpointError, ConfigError, NetworkError, SourceError
from tests.engine.fake_hub import FakeHub, serving
from tests.engine.gguf_writer import write_gguf
from tests.engine.tiny import tiny_llama

HUB = HubId("org/model")


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_inventories", remote._Recent())
    monkeypatch.setattr(remote, "_configs", remote._Recent())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(), monkeypatch) as server:
        yield server


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def same(found: Inventory, local: Inventory) -> bool:
    return replace(found, name="", source="", origin=None) == replace(local, name="", source="", origin=None)


def sent(hub: FakeHub) -> int:
    """Bytes that the hub was asked for by ranges."""
    spans = [r.removeprefix("bytes=").split("-") for method, path, r in hub.requests if "/resolve/" in path and r]
    return sum(int(last) - int(first) + 1 for first, last in spans)


# ---- the same as of files on the disk -------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_size", [None, "20KB"])
def test_safetensors(hub: FakeHub, tmp_path: Path, shard_size: str | None) -> None:
    tiny_llama(tmp_path, shard_size=shard_size)
    hub.files = files_of(tmp_path)
    found, local = remote_inventory(HUB), inventory(tmp_path)
    assert len(local.files) == (1 if shard_size is None else 7)
    assert same(found, local)
    assert (found.name, found.source, found.origin) == ("org/model", "org/model", None)
    assert not found.complaints
    assert remote_config(HUB) == local.config


def test_of_large_files_only_the_header_is_read(hub: FakeHub, tmp_path: Path) -> None:
    tiny_llama(tmp_path, hidden_size=128, intermediate_size=512, vocab_size=2000)
    hub.files = files_of(tmp_path)
    assert len(hub.files["model.safetensors"]) > 4_000_000
    remote_inventory(HUB)
    assert sent(hub) < remote.FIRST + 10_000
    assert all(ranges_asked for ranges_asked in hub.asked(".safetensors"))


def test_a_header_longer_than_the_first_request(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST", 100)
    tiny_llama(tmp_path)
    hub.files = files_of(tmp_path)
    assert same(remote_inventory(HUB), inventory(tmp_path))
    assert hub.asked("model.safetensors")[0] == "bytes=0-99"


@pytest.mark.parametrize("split", [0, 10])
def test_gguf(hub: FakeHub, tmp_path: Path, split: int) -> None:
    divisors = np.linspace(1, 2, 4)
    write_gguf(tmp_path / "m-F32.gguf", tiny_llama(tmp_path / "folder"), rope_freqs=divisors, split=split)
    written = files_of(tmp_path)
    hub.files = {f"sub/{name}": content for name, content in written.items()} | {"README.md": b"x"}
    found, local = remote_inventory(HubId("org/model", "main", "F32")), inventory(tmp_path / min(written))
    assert len(local.files) == (1 if not split else 4)
    assert same(found, local)
    assert found.source == "org/model:F32"
    config = remote_config(HubId("org/model", "main", f"sub/{min(written)}"))
    assert config == local.config
    assert isinstance(config, ModelConfig)
    assert config.layers[0].attention.rope is not None


def test_a_gguf_header_that_is_longer_than_a_step(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "STEP", 1000)
    monkeypatch.setattr(remote, "LONGEST_STEP", 3000)
    tokens = [f"token {number}" for number in range(2000)]
    model = tiny_llama(tmp_path / "folder")
    path = write_gguf(tmp_path / "m.gguf", model, metadata={"tokenizer.ggml.tokens": tokens})
    hub.files = {"m.gguf": path.read_bytes()}
    assert same(remote_inventory(HubId("org/model", "main", "m.gguf")), inventory(path))
    asked = hub.asked("m.gguf")
    assert asked[:4] == ["bytes=0-999", "bytes=1000-2999", "bytes=3000-5999", "bytes=6000-8999"]
    assert sent(hub) < len(hub.files["m.gguf"]) / 2


def test_a_large_vocabulary_takes_a_moment(hub: FakeHub, tmp_path: Path) -> None:
    tokens = [f"token {number}" for number in range(250_000)]
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "folder"), metadata={"tokenizer.ggml.tokens": tokens})
    hub.files = {"m.gguf": path.read_bytes()}
    began = time.monotonic()
    assert isinstance(remote_config(HubId("org/model", "main", "m.gguf")), ModelConfig)
    assert time.monotonic() - began < 8


def test_many_shards_take_few_requests_and_little_time(hub: FakeHub) -> None:
    """163 parts, as the largest models have."""
    header = {f"t{n}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n in range(20)}
    index: dict[str, str] = {}
    for part in range(163):
        name = f"model-{part:05}.safetensors"
        text = json.dumps({f"{part}.{key}": value for key, value in header.items()}).encode()
        hub.files[name] = len(text).to_bytes(8, "little") + text + bytes(80)
        index |= {f"{part}.{key}": name for key in header}
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": index}).encode()
    hub.files["config.json"] = b'{"model_type": "unheard-of"}'
    began = time.monotonic()
    found = remote_inventory(HUB)
    assert time.monotonic() - began < 8
    assert len(found.entries) == 163 * 20
    assert len(found.files) == 163
    assert found.config is None
    assert "unheard-of" in found.complaints[0]
    assert len(hub.requests) == 163 + 3
    hub.requests.clear()
    assert "unheard-of" in str(remote_config(HUB))
    assert len(hub.requests) == 2  # the listing and config.json: no header, no index


def test_no_more_than_a_few_requests_at_once(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_llama(tmp_path, shard_size="5KB")
    hub.files = files_of(tmp_path)
    now, most, lock = [0], [0], threading.Lock()
    original = remote.read_range

    def counted(*arguments: object) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        data = original(*arguments)  # type: ignore[arg-type]
        with lock:
            now[0] -= 1
        return data

    monkeypatch.setattr(remote, "read_range", counted)
    remote_inventory(HUB)
    assert most[0] == remote.AT_ONCE


def test_what_was_looked_at_is_remembered_by_its_commit(hub: FakeHub, tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    hub.files = files_of(tmp_path)
    first = remote_inventory(HUB)
    count = len(hub.requests)
    assert remote_inventory(HUB) is first
    assert len(hub.requests) == count + 1  # the listing
    hub.move_on(dict(hub.files))
    assert remote_inventory(HUB) is not first


def test_only_a_few_are_remembered(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    recent: remote._Recent[str] = remote._Recent()
    made: list[int] = []
    for number in (*range(remote.REMEMBERED + 1), 0):
        recent.get(number, lambda number=number: made.append(number) or "x")  # type: ignore[misc]
    assert made == [*range(remote.REMEMBERED + 1), 0]
    assert len(recent._known) == remote.REMEMBERED


# ---- what there is nothing sound to list of --------------------------------------------------------------------------


def test_gguf_without_a_file_part_lists_the_choices(hub: FakeHub) -> None:
    hub.files = {"m-Q4_0.gguf": b"GGUF", "m-Q8_0.gguf": b"GGUF"}
    for look in (remote_inventory, remote_config):
        with pytest.raises(SourceError, match="org/model:Q4_0"):
            look(HUB)


def test_repositories_without_a_model(hub: FakeHub) -> None:
    for files, words in (
        ({"README.md": b""}, "no"),
        ({"config.json": b"{}", "pytorch_model.bin": b""}, "pickle"),
        ({"model.safetensors": b""}, r"config\.json"),
    ):
        hub.files = files
        for look in (remote_inventory, remote_config):
            with pytest.raises(SourceError, match=words):
                look(HUB)


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_broken_config(hub: FakeHub, config: bytes) -> None:
    hub.files = {"config.json": config, "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}
    for look in (remote_inventory, remote_config):
        with pytest.raises(ConfigError, match=r"config\.json"):
            look(HUB)


def test_a_huge_config_is_not_read(hub: FakeHub) -> None:
    hub.files = {"config.json": b" " * 3_000_000, "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}
    with pytest.raises(ConfigError, match="larger than"):
        remote_config(HUB)
    assert not hub.asked("config.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "only 0 bytes"),
        (b"123", "only 3 bytes"),
        ((10**15).to_bytes(8, "little") + bytes(20), "more than the allowed"),
        ((5000).to_bytes(8, "little") + bytes(20), "but the file has only"),
        ((20).to_bytes(8, "little") + bytes(20), "not valid JSON"),
        ((2).to_bytes(8, "little") + b"[]" + bytes(20), "not a table"),
        ((2).to_bytes(8, "little") + b"{}" + bytes(20), "belong to no tensor"),
    ],
)
def test_a_broken_safetensors_header(hub: FakeHub, content: bytes, words: str) -> None:
    hub.files = {"config.json": b"{}", "model.safetensors": content}
    with pytest.raises(CheckpointError, match=words):
        remote_inventory(HUB)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not begin with"),
        (b"GGUX" + bytes(100), "does not begin with"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16 + bytes(100), "too many"),
        (b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\xff" * 8 + bytes(50), "claims"),
    ],
)
def test_a_broken_gguf_header(hub: FakeHub, content: bytes, words: str) -> None:
    hub.files = {"m-Q4_0.gguf": content}
    for look in (remote_inventory, remote_config):
        with pytest.raises(CheckpointError, match=words):
            look(HubId("org/model", "main", "Q4_0"))


def test_headers_that_go_on_and_on(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GGUF file whose metadata never end: what is read of it has a limit."""
    monkeypatch.setattr(remote, "LARGEST_HEADERS", 2**20)
    field = (10).to_bytes(8, "little") + b"key-%06d" + (8).to_bytes(4, "little") + (2**16).to_bytes(8, "little")
    fields = b"".join(field % number + bytes(2**16) for number in range(64))
    hub.files = {"m-Q4_0.gguf": b"GGUF\x03\0\0\0" + bytes(8) + (64).to_bytes(8, "little") + fields}
    with pytest.raises(CheckpointError, match="have more than 1048576 bytes"):
        remote_inventory(HubId("org/model", "main", "Q4_0"))


def test_an_index_that_names_other_places(hub: FakeHub) -> None:
    hub.files = {"config.json": b"{}", "../evil.safetensors": b"x", "a/b.safetensors": b"x", "run.py": b"x"}
    for name in ("../evil.safetensors", "a/b.safetensors", "run.py", "/etc/passwd"):
        hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": name}}).encode()
        with pytest.raises(SourceError, match="lacks a sound index"):
            remote_inventory(HUB)
    assert not [path for _, path, _ in hub.requests if "evil" in path or "run.py" in path or "b.safetensors" in path]


# ---- the line, and the server at its other end -----------------------------------------------------------------------


def test_a_gated_model_asks_for_a_token(hub: FakeHub, tmp_path: Path) -> None:
    """Its listing can be seen, its files cannot."""
    tiny_llama(tmp_path)
    hub.files, hub.gated = files_of(tmp_path), "auto"
    for look in (remote_inventory, remote_config):
        with pytest.raises(AccessError) as caught:
            look(HUB)
        assert (caught.value.repo, caught.value.status, caught.value.gated) == ("org/model", 401, True)


def test_a_server_without_ranges(hub: FakeHub, tmp_path: Path) -> None:
    """From the beginning of a file it is as good as one with them; the rest of the answer is not read."""
    tiny_llama(tmp_path)
    hub.files, hub.faults.ignore_range = files_of(tmp_path), True
    assert same(remote_inventory(HUB), inventory(tmp_path))


def test_a_server_without_ranges_is_not_asked_for_what_lies_deep(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "SKIPPED", 1000)
    hub.faults.ignore_range = True
    hub.files = {"f.json": os.urandom(5000)}
    file = remote_file("org/model", hub.commit, "f.json", 5000, "", None)
    assert ranges.read_range(file, 900, 950, lambda: None) == hub.files["f.json"][900:950]
    with pytest.raises(NetworkError, match="does not send parts of files"):
        ranges.read_range(file, 2000, 2010, lambda: None)


def test_an_endless_file_is_read_no_further_than_asked(hub: FakeHub, tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    hub.files, hub.faults.endless = files_of(tmp_path), "file"
    began = time.monotonic()
    assert same(remote_inventory(HUB), inventory(tmp_path))
    assert time.monotonic() - began < 8


def test_a_wrong_sum_of_a_small_file(hub: FakeHub, tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    hub.files, hub.faults.corrupt = files_of(tmp_path), True
    with pytest.raises(NetworkError, match=r"config\.json arrived damaged"):
        remote_config(HUB)


def test_cut_connections_are_tried_again(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.checkpoint.retries.WAITS", (0.01, 0.01, 0.01))
    tiny_llama(tmp_path)
    hub.files, hub.faults.cut_after, hub.faults.cuts = files_of(tmp_path), 100, 2
    assert same(remote_inventory(HUB), inventory(tmp_path))
    hub.faults.cuts = None
    with pytest.raises(NetworkError, match="cut after 100 bytes"):
        remote_inventory(HubId("org/model", hub.commit))


def test_a_server_that_trickles_is_given_up(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "DEADLINE", 0.2)
    tiny_llama(tmp_path)
    hub.files, hub.faults.delay = files_of(tmp_path), 0.3
    began = time.monotonic()
    with pytest.raises(NetworkError, match=r"was lost \(more than 0\.2 s\)"):
        remote_inventory(HUB)
    assert time.monotonic() - began < 8


def test_all_patience_ends(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "DEADLINE", 0.2)
    tiny_llama(tmp_path)
    hub.files, hub.faults.delay = files_of(tmp_path), 1.0
    with pytest.raises(NetworkError, match=r"more than 0\.2 s"):
        remote_inventory(HUB)


def test_looking_can_be_cancelled(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While several headers are on their way, slowly."""
    tiny_llama(tmp_path, shard_size="5KB")
    hub.files = files_of(tmp_path)
    began = time.monotonic()
    threads: set[int] = set()
    original = remote.read_range

    def slow(*arguments: Any) -> bytes:
        hub.faults.delay = 3.0
        return original(*arguments)

    monkeypatch.setattr(remote, "read_range", slow)

    def cancel() -> None:
        threads.add(threading.get_ident())
        if time.monotonic() - began > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        remote_inventory(HUB, cancel)
    assert time.monotonic() - began < 8
    assert threads == {threading.get_ident()}  # whoever asks need not think of threads
    while [thread for thread in threading.enumerate() if thread.name.startswith("fluoroscope headers")]:
        assert time.monotonic() - began < 8  # the others do not go on
        time.sleep(0.02)


def test_nothing_is_written(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_llama(tmp_path / "model", shard_size="20KB")
    hub.files = files_of(tmp_path / "model")
    (tmp_path / "cache").mkdir()
    for name in ("FLUOROSCOPE_CACHE", "HF_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    remote_inventory(HUB)
    assert not list((tmp_path / "cache").rglob("*"))
