"""Models that other programs keep on this computer: found where they lie, whatever else lies there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.checkpoint import ollama, search_folders
from engine.checkpoint.found import FoundModel, found_models, hub_caches, lm_studio_places
from engine.checkpoint.inventory import inventory
from engine.checkpoint.source import resolve
from engine.checkpoint.titles import title_of
from engine.errors import Cancelled
from tests.engine.gguf_files import part_paths, write_gguf
from tests.engine.tiny import tiny_llama

VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS")
COMMIT, OLDER = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama: one folder with one file, one in several, a GGUF file, one in three parts."""
    folder = tmp_path_factory.mktemp("made")
    tiny_llama(folder / "one")
    tiny_llama(folder / "several", shard_size="20KB")
    write_gguf(folder / "one", folder / "tiny.gguf")
    write_gguf(folder / "one", folder / "split.gguf", parts=3)
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with nothing in it, and no variable that leads elsewhere."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setattr(Path, "home", lambda: place)
    monkeypatch.setattr(ollama, "OF_THE_SERVICE", ())
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "own"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return place


def only(*extra: Path) -> FoundModel:
    (model,) = found_models(extra)
    return model


def sizes(*files: Path) -> int:
    return sum(file.stat().st_size for file in files)


def test_nothing_is_found_where_nothing_is() -> None:
    assert found_models() == ()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.delenv("FLUOROSCOPE_CACHE")
    assert found_models() == ()


# -- Fluoroscope's own cache -----------------------------------------------------------------------------------------


def test_complete_downloads_are_found(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own" / "some--model" / COMMIT
    shutil.copytree(made / "one", folder)
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    manifest = {"source": "some/model", "commit": COMMIT, "model": ".", "files": files}
    (folder / "complete.json").write_text(json.dumps(manifest))
    weights = sizes(folder / "model.safetensors")
    expected = FoundModel("some/model", str(folder), "Fluoroscope", weights, "safetensors", COMMIT[:12])
    assert only() == expected
    assert title_of(folder) == inventory(folder).name == "some/model"
    (folder / "complete.json").unlink()
    assert found_models() == ()


# -- the hub's cache -------------------------------------------------------------------------------------------------


def in_hub_cache(place: Path, name: str, source: Path, commit: str = COMMIT) -> Path:
    """As huggingface_hub lays it out: links in a snapshot, bytes under their sum."""
    repository = place / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for path in [source] if source.is_file() else source.iterdir():
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.fixture
def cache(home: Path) -> Path:
    return home / ".cache" / "huggingface" / "hub"


def test_snapshots_are_found_and_named_by_their_repository(made: Path, cache: Path) -> None:
    snapshot = in_hub_cache(cache, "some-org/some--model", made / "several")
    files = sorted(snapshot.glob("*.safetensors"))
    assert len(files) > 3
    expected = FoundModel("some-org/some--model", str(snapshot), "hub cache", sizes(*files), "safetensors", COMMIT[:12])
    assert only() == expected
    assert resolve(expected.source).kind == "folder"
    assert engine.load(expected.source).name == "some-org/some--model"


def test_the_newest_commit_comes_first_and_a_repository_without_an_organisation_has_none(
    made: Path, cache: Path
) -> None:
    in_hub_cache(cache, "gpt2", made / "one", OLDER)
    in_hub_cache(cache, "gpt2", made / "several")
    first, second = found_models()
    assert (first.name, first.detail, second.detail) == ("gpt2", COMMIT[:12], OLDER[:12])


def test_gguf_files_of_a_snapshot_are_each_a_model(made: Path, cache: Path) -> None:
    snapshot = in_hub_cache(cache, "some/GGUF", made / "tiny.gguf")
    for part in part_paths(made / "split.gguf", 3):
        (snapshot / "sub").mkdir(exist_ok=True)
        shutil.copy(part, snapshot / "sub")
    (snapshot / "mmproj-tiny.gguf").write_bytes(b"GGUF")
    found = {model.detail: model for model in found_models()}
    assert set(found) == {f"tiny, {COMMIT[:12]}", f"split, {COMMIT[:12]}"}
    whole = found[f"split, {COMMIT[:12]}"]
    assert whole.size == sizes(*part_paths(made / "split.gguf", 3))
    assert whole.name == "some/GGUF"
    assert whole.complaint == ""
    assert engine.load(whole.source).name == "some/GGUF split"
    assert inventory(found[f"tiny, {COMMIT[:12]}"].source).name == "some/GGUF tiny"


def test_what_is_no_model_is_passed_over(made: Path, cache: Path, tmp_path: Path) -> None:
    only_tokens = tmp_path / "tokens"
    only_tokens.mkdir()
    (only_tokens / "config.json").write_text("{}")
    (only_tokens / "pytorch_model.bin").write_bytes(b"\x80")
    in_hub_cache(cache, "old/pickle", only_tokens)
    (cache / "datasets--a--b" / "snapshots" / COMMIT).mkdir(parents=True)
    shutil.copytree(made / "one", cache / "datasets--a--b" / "snapshots" / COMMIT / "x")
    (cache / "models--empty--one").mkdir()
    (cache / "version.txt").write_text("1")
    whole = in_hub_cache(cache, "a/pipeline", made / "one")
    shutil.copytree(made / "one", whole / "text_encoder")
    (whole / "config.json").unlink()  # a pipeline of several networks has none of its own
    assert found_models() == ()


def test_missing_shards_are_a_complaint(made: Path, cache: Path) -> None:
    snapshot = in_hub_cache(cache, "some/model", made / "several")
    gone = sorted(snapshot.glob("*.safetensors"))[1]
    gone.resolve().unlink()  # the link is still there and leads nowhere
    model = only()
    assert model.complaint == f"The file {gone.name} of this model is missing; download it again where it came from."
    assert 0 < model.size < sizes(*(made / "several").glob("*.safetensors"))


def test_the_places_are_those_of_the_hubs_library(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As constants.py of huggingface_hub finds them."""
    assert hub_caches(home) == [home / ".cache" / "huggingface" / "hub"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_caches(home) == [tmp_path / "xdg" / "huggingface" / "hub"]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert hub_caches(home) == [tmp_path / "hf" / "hub"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert hub_caches(home)[0] == tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", f"${{HF_HOME}}{os.sep}other")
    assert hub_caches(home)[0] == tmp_path / "hf" / "other"
    monkeypatch.setenv("HF_HOME", "~nobody-of-this-name/hf")
    assert hub_caches(home)[-1] == Path("~nobody-of-this-name/hf/hub")
    assert found_models() == ()


# -- Ollama ----------------------------------------------------------------------------------------------------------


def in_ollama(store: Path, name: str, weights: bytes, *more: dict[str, Any], size: int | None = None) -> Path:
    """A pulled model: "HOST/NAMESPACE/NAME:TAG" and its layers."""
    blobs = store / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)

    def layer(kind: str, data: bytes, size: int | None = None) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / f"sha256-{digest}").write_bytes(data)
        given = len(data) if size is None else size
        return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}", "size": given}

    noted = json.dumps({"model_family": "llama", "file_type": "Q4_K_M"}).encode()
    layers = [layer("model", weights, size), layer("template", b"{{ .Prompt }}"), *more]
    manifest = store / "manifests" / Path(*name.replace(":", "/").split("/"))
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": layer("config", noted), "layers": layers}))
    return manifest


LIBRARY = "registry.ollama.ai/library"


@pytest.fixture
def store(home: Path) -> Path:
    return home / ".ollama" / "models"


def test_pulled_models_are_found_by_the_names_that_ollama_gives_them(made: Path, store: Path) -> None:
    weights = (made / "tiny.gguf").read_bytes()
    in_ollama(store, f"{LIBRARY}/tiny:1b", weights)
    in_ollama(store, "hf.co/some-org/some-model:Q8_0", weights + b"\0" * 32)
    in_ollama(store, "registry.ollama.ai/someone/theirs:latest", weights + b"\0" * 64)
    found = {model.name: model for model in found_models()}
    assert set(found) == {"tiny:1b", "hf.co/some-org/some-model:Q8_0", "someone/theirs:latest"}
    model = found["tiny:1b"]
    assert (model.origin, model.size, model.format, model.detail) == ("Ollama", len(weights), "GGUF", "Q4_K_M")
    assert resolve(model.source).kind == "gguf"
    assert engine.load(model.source).name == "tiny:1b"
    assert inventory(model.source).name == "tiny:1b"


def test_two_tags_of_one_file_are_one_model(made: Path, store: Path) -> None:
    for tag in ("latest", "1b"):
        in_ollama(store, f"{LIBRARY}/tiny:{tag}", (made / "tiny.gguf").read_bytes())
    assert only().name == "tiny:1b"


def test_another_store_comes_first(made: Path, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_ollama(store, f"{LIBRARY}/tiny:1b", (made / "tiny.gguf").read_bytes())
    in_ollama(tmp_path / "disk", f"{LIBRARY}/tiny:1b", (made / "tiny.gguf").read_bytes())
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "disk"))
    first, second = found_models()
    assert first.source.startswith(str(tmp_path / "disk"))
    assert second.source.startswith(str(store))


def test_models_that_cannot_be_opened_are_listed_with_the_reason(made: Path, store: Path) -> None:
    weights = (made / "tiny.gguf").read_bytes()
    adapter = {"mediaType": "application/vnd.ollama.image.adapter", "digest": "sha256:" + "0" * 64, "size": 1}
    in_ollama(store, f"{LIBRARY}/adapted:1b", weights, adapter)
    in_ollama(store, f"{LIBRARY}/half:1b", weights + b"half", size=len(weights) + 100)
    in_ollama(store, f"{LIBRARY}/other:1b", b"not a GGUF file")
    cloud = in_ollama(store, f"{LIBRARY}/cloud:1b", b"")
    cloud.write_text(json.dumps({"schemaVersion": 2, "layers": []}))
    complaints = {model.name: model.complaint for model in found_models()}
    assert "adapter" in complaints["adapted:1b"]
    assert "not all there" in complaints["half:1b"]
    assert "no GGUF file" in complaints["other:1b"]
    assert "names no weights" in complaints["cloud:1b"]


HOSTILE: dict[str, Any] = {
    "no table": [],
    "empty": {},
    "layers is a text": {"layers": "x"},
    "layers of other types": {"layers": [1, None, [], "x", {"mediaType": ["x"]}]},
    "a digest that leaves the store": {
        "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../secret", "size": 4}]
    },
    "a digest of another type": {
        "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": {"a": 1}, "size": "4"}]
    },
    "a digest that is not there": {
        "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "f" * 64, "size": 2**80}]
    },
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tables_are_a_complaint(store: Path, case: str) -> None:
    manifest = store / "manifests" / LIBRARY / "bad" / "1b"
    manifest.parent.mkdir(parents=True)
    (store / "secret").write_bytes(b"GGUF")
    manifest.write_text(json.dumps(HOSTILE[case]))
    model = only()
    assert (model.name, bool(model.complaint)) == ("bad:1b", True)
    assert model.size == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[" * 200_000, b"1" * 2_000_000, b'{"layers": 1e999}'])
def test_tables_that_are_none_are_a_complaint_at_once(store: Path, content: bytes) -> None:
    manifest = store / "manifests" / LIBRARY / "bad" / "1b"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(content)
    began = time.monotonic()
    assert "cannot be read" in only().complaint
    assert time.monotonic() - began < 8


def test_a_pipe_among_the_blobs_holds_nothing_up(store: Path, made: Path) -> None:
    in_ollama(store, f"{LIBRARY}/tiny:1b", (made / "tiny.gguf").read_bytes())
    (blob,) = [path for path in (store / "blobs").iterdir() if path.read_bytes()[:4] == b"GGUF"]
    blob.unlink()
    os.mkfifo(blob)
    assert "not all there" in only().complaint


# -- LM Studio, and folders of the user's own ------------------------------------------------------------------------


def test_lm_studio(made: Path, home: Path) -> None:
    place = home / ".lmstudio" / "models" / "publisher"
    (place / "Some-GGUF").mkdir(parents=True)
    shutil.copy(made / "tiny.gguf", place / "Some-GGUF" / "tiny-Q8_0.gguf")
    (place / "Some-GGUF" / "mmproj-tiny-F16.gguf").write_bytes(b"GGUF")
    shutil.copytree(made / "one", place / "whole")
    quantised, plain = found_models()
    assert (quantised.name, quantised.detail, quantised.format) == ("tiny-Q8_0", "publisher/Some-GGUF", "GGUF")
    assert (plain.name, plain.detail, plain.format) == ("publisher/whole", "", "safetensors")
    assert {quantised.origin, plain.origin} == {"LM Studio"}
    assert engine.load(plain.source).name == "whole"


def test_lm_studio_may_live_and_keep_its_models_elsewhere(home: Path, tmp_path: Path) -> None:
    assert lm_studio_places(home) == [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]
    (tmp_path / "lm").mkdir()
    (home / ".lmstudio-home-pointer").write_text(f"{tmp_path / 'lm'}\n")
    assert lm_studio_places(home)[0] == tmp_path / "lm" / "models"
    (tmp_path / "lm" / "settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "disk")}))
    assert lm_studio_places(home)[0] == tmp_path / "disk"
    for hostile in ("[1]", '{"downloadsFolder": 7}', '{"downloadsFolder": "\\u0000"}', "{"):
        (tmp_path / "lm" / "settings.json").write_text(hostile)
        assert lm_studio_places(home)[0] == tmp_path / "lm" / "models"
    (tmp_path / "lm" / "settings.json").write_text('{"downloadsFolder": "/\\ud800"}')  # a name that none can have
    assert found_models() == ()


def test_folders_of_the_users_own(made: Path, tmp_path: Path) -> None:
    own = tmp_path / "my models"
    shutil.copytree(made, own / "llamas")
    found = {model.name: model for model in found_models([own])}
    assert set(found) == {"llamas/one", "llamas/several", "tiny", "split"}
    assert {model.origin for model in found.values()} == {"folder"}
    assert found["split"].size == sizes(*part_paths(made / "split.gguf", 3))
    assert only(own / "llamas" / "one").name == "one"
    assert all(inventory(model.source).parameters > 0 for model in found.values())


def test_a_split_file_whose_first_part_is_missing(made: Path, tmp_path: Path) -> None:
    parts = part_paths(made / "split.gguf", 3)
    for part in parts[1:]:
        shutil.copy(part, tmp_path)
    model = only(tmp_path)
    assert (model.name, parts[0].name in model.complaint) == ("split", True)


def test_a_name_that_claims_any_number_of_parts(tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-99999.gguf").write_bytes(b"GGUF")
    began = time.monotonic()
    assert "missing" in only(tmp_path).complaint
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("index", [b"", b"[]", b"{}", b'{"weight_map": {"a": "../../x.safetensors"}}', b"[" * 100_000])
def test_an_index_that_is_not_sound(tmp_path: Path, index: bytes) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_bytes(index)
    model = only(tmp_path)
    assert "model.safetensors.index.json" in model.complaint
    assert model.size == 0


def test_each_model_is_listed_once(made: Path, cache: Path, tmp_path: Path) -> None:
    snapshot = in_hub_cache(cache, "some/model", made / "one")
    (tmp_path / "link").symlink_to(snapshot)
    assert only(cache, tmp_path / "link", cache.parent).origin == "hub cache"


# -- links, loops, what cannot be read, and too much of it -----------------------------------------------------------


def test_a_loop_of_links_ends(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "loop"
    shutil.copytree(made / "one", place / "model")
    for name in ("a", "b"):
        (place / name).symlink_to(place)
    (place / "self").symlink_to(place / "self")
    assert only(place).name == "model"


def test_folders_that_cannot_be_read_are_passed_over(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(made / "one", place / "model")
    (place / "closed").mkdir()
    (place / "closed").chmod(0)
    try:
        assert only(place, tmp_path / "nothing", made / "tiny.gguf", Path("x" * 5000)).name == "model"
    finally:
        (place / "closed").chmod(0o700)


def test_a_folder_whose_files_cannot_be_reached_is_passed_over(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may be listed but not entered."""
    shutil.copytree(made / "one", tmp_path / "model")

    def refuse(path: Path, **more: object) -> os.stat_result:
        if path.parent == tmp_path / "model":
            raise PermissionError(13, "Permission denied", str(path))
        return os.stat(path, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(Path, "lstat", lambda path: refuse(path, follow_symlinks=False))
    assert only(tmp_path).size == 0


def test_what_lies_too_deep_is_not_looked_for(made: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcd")
    deep.mkdir(parents=True)
    shutil.copy(made / "tiny.gguf", deep)
    assert only(tmp_path).name == "tiny"
    (deep / "e").mkdir()
    (deep / "tiny.gguf").rename(deep / "e" / "tiny.gguf")
    assert found_models([tmp_path]) == ()


def test_a_place_with_too_much_in_it_is_given_up(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_folders, "MOST_ENTRIES", 100)
    many = tmp_path / "many"
    for index in range(150):
        (many / f"{index:03}").mkdir(parents=True)
    shutil.copytree(made / "one", many / "zzz")
    assert found_models([many]) == ()
    assert only(made / "one").name == "one"  # every place has as much


def test_thousands_of_files_take_less_than_a_second(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for file in range(500):
            (tmp_path / str(folder) / f"{file}.jpg").touch()
    began = time.monotonic()
    assert found_models([tmp_path]) == ()
    assert time.monotonic() - began < 8


def test_a_search_can_be_cancelled(made: Path, tmp_path: Path) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        found_models([made], check=check)
    assert calls == 5


def test_nothing_is_written(made: Path, cache: Path, store: Path, tmp_path: Path) -> None:
    in_hub_cache(cache, "some/model", made / "several")
    in_ollama(store, f"{LIBRARY}/tiny:1b", (made / "tiny.gguf").read_bytes())
    before = {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*")}
    assert len(found_models([made])) == 6
    assert {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*")} == before


NAMES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a folder": (lambda made: made / "one", "one"),
    "a file": (lambda made: made / "tiny.gguf", "tiny"),
    "a part": (lambda made: part_paths(made / "split.gguf", 3)[1], "split"),
}


@pytest.mark.parametrize("case", NAMES)
def test_titles_of_plain_paths(made: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, name = NAMES[case]
    assert title_of(path(made)) == name
    monkeypatch.chdir(made / "one")
    assert title_of(Path()) == "one"
