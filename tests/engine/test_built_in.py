"""The model that comes with the program: found by its name, never downloaded, and honest when it is damaged."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

import engine
import resources
from engine.checkpoint.catalog import catalog, entry
from engine.checkpoint.fetch import cached, default_cache, fetch
from engine.checkpoint.source import resolve
from engine.errors import CheckpointError, DiskError, SourceError
from tests.embedded import embed
from tests.engine.tiny import tiny_llama


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_llama(tmp_path / "tiny")
    return embed(tmp_path / "tiny", tmp_path / "demo_model", monkeypatch)


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_it_is_the_first_of_the_catalog_and_the_only_one_built_in() -> None:
    assert [known.name for known in catalog() if known.built_in] == ["demo"]
    assert catalog()[0].name == "demo"


@pytest.mark.parametrize("name", ["demo", "Demo", " demo "])
def test_its_name_is_enough(embedded: Path, name: str) -> None:
    found = resolve(name)
    assert (found.kind, found.path, found.entry) == ("catalog", embedded, entry("demo"))


@pytest.mark.usefixtures("_no_network")
def test_it_is_loaded_under_its_title_and_kept_under_its_name(embedded: Path) -> None:
    loaded = engine.load("demo", device="cpu")
    assert (loaded.name, loaded.source) == ("Fluoroscope demo", "demo")


@pytest.mark.usefixtures("_no_network")
def test_fetching_it_downloads_nothing(embedded: Path, tmp_path: Path) -> None:
    fetched = fetch("demo", cache=tmp_path / "cache")
    assert fetched.path == embedded
    assert "built in" in fetched.origin
    assert not (tmp_path / "cache").exists()
    assert cached("demo", tmp_path) is None


def test_an_installation_without_it_is_one_sentence(embedded: Path, tmp_path: Path) -> None:
    (embedded / "config.json").unlink()
    with pytest.raises(SourceError, match="missing from this installation") as raised:
        engine.load("demo", device="cpu")
    assert "install Fluoroscope again, or open another model." in str(raised.value)
    with pytest.raises(SourceError, match="missing from this installation"):
        fetch("demo", cache=tmp_path)


def test_damaged_weights_are_not_to_be_fetched_but_installed(embedded: Path) -> None:
    weights = embedded / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    sentence = "Fluoroscope demo cannot be used. .* truncated.* install that again, or open another model."
    with pytest.raises(CheckpointError, match=sentence):
        engine.load("demo", device="cpu")
    with pytest.raises(CheckpointError) as raised:
        engine.load(embedded, device="cpu")  # the same folder, opened as any other
    assert "install" not in str(raised.value)


def test_what_lies_in_this_installation() -> None:
    """Not another in its place: the files that are shipped, loaded and run without a network."""
    loaded = engine.load("demo", device="cpu", dtype="float32")
    assert resources.path("demo_model/config.json").parent == resolve("demo").path
    size = sum(resources.path(f"demo_model/{name}").stat().st_size for name in ("model.safetensors", "tokenizer.json"))
    known = entry("demo")
    assert known is not None
    assert size == pytest.approx(known.size, rel=0.02)
    text = "Once upon a time there was"
    steps = list(engine.Session(loaded, engine.Sampling(greedy=True)).generate(text, max_new_tokens=4))
    assert len(steps) == 4
    assert re.search(r"[a-z]", "".join(step.text for step in steps))


# ---- a home and a cache that are not there -----------------------------------------------------------------------


def test_a_source_in_a_home_that_does_not_exist_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="stands for no home folder"):
        resolve("~no-such-user-here/model")


def test_without_a_home_the_user_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FLUOROSCOPE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DiskError, match="FLUOROSCOPE_CACHE"):
        default_cache()
    with pytest.raises(DiskError, match="FLUOROSCOPE_CACHE"):
        fetch("smollm2")
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    assert default_cache() == tmp_path


@pytest.mark.usefixtures("_no_network")
def test_a_cache_that_cannot_be_made_is_said_before_the_network_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match=r"cannot be written \(Not a directory\); choose another place"):
        fetch("smollm2", cache=tmp_path / "file" / "cache")
    assert cached("smollm2", tmp_path / "file" / "cache") is None
