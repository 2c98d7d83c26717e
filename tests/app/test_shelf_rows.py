"""How the shelf is filled: this computer, the catalog, the hub; from headers alone, each read once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from app.shelf import LookFrame, SearchFrame, ShelfFrame, ShelfItem, ShelfQuery
from app.shelf_rows import Readings, fill_shelf, look_closer, search_hub
from engine.checkpoint import understood
from engine.checkpoint.catalog import catalog
from engine.checkpoint.inventory import inventory
from engine.errors import Cancelled
from tests.engine.fake_hub import FakeHub, serving

pytestmark = pytest.mark.usefixtures("own_computer")


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A folder of the user's own with one model in it."""
    shutil.copytree(tiny_model, tmp_path / "mine" / "tiny")
    return tmp_path / "mine"


def filled(query: ShelfQuery, readings: Readings | None = None) -> list[ShelfFrame]:
    frames: list[ShelfFrame] = []
    fill_shelf(query, readings or Readings(), lambda: None, frames.append)
    return frames


def item_of(frame: ShelfFrame, source: str) -> ShelfItem:
    return next(item for item in frame.items if item.source == source)


def numbers_in(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 (it is no dict)


def test_the_catalog_is_there_measured_with_the_built_in_model_first() -> None:
    frame = filled(ShelfQuery())[-1]
    assert frame.complete
    assert [item.source for item in frame.items] == [known.name for known in catalog()]
    assert frame.items[0].origin == "built in"
    assert all(item.section == ("computer" if item.source == "demo" else "catalog") for item in frame.items)
    for item, known in zip(frame.items, catalog(), strict=True):
        assert item.measure is not None, item.complaint
        assert item.measure.parameters == known.parameters
        assert item.measure.facts["layers"] == str(known.config.n_layers)


def test_a_model_of_the_disk_is_listed_at_once_and_measured_from_its_headers(folder: Path) -> None:
    first, *_, last = filled(ShelfQuery(folders=(folder,)))
    source = str(folder / "tiny")
    assert item_of(first, source).measure is None
    assert not first.complete
    found = item_of(last, source)
    assert (found.section, found.origin) == ("computer", "folder")
    assert found.measure.parameters == numbers_in(folder / "tiny")
    assert found.measure.fits[0].weights == 4 * numbers_in(folder / "tiny")
    assert found.measure.fits[0].verdict == "fits"


def test_the_cache_grows_with_the_context_and_stops_at_the_models_own(folder: Path) -> None:
    source = str(folder / "tiny")

    def cache(context: int) -> int:
        measure = item_of(filled(ShelfQuery(context=context, folders=(folder,)))[-1], source).measure
        return measure.fits[0].cache

    assert cache(200) == 2 * cache(100)
    assert cache(10_000) == cache(512)  # the tiny model has 512 positions


def test_types_are_judged_beside_each_other(folder: Path) -> None:
    measure = item_of(filled(ShelfQuery(dtype="bfloat16", folders=(folder,)))[-1], str(folder / "tiny")).measure
    assert [fit.dtype for fit in measure.fits] == ["bfloat16", "float32", "float16"]
    assert measure.fits[1].weights == 2 * measure.fits[0].weights


def test_headers_are_read_once_and_again_when_they_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counting(source: str, check):
        read.append(source)
        return inventory(source, check)

    monkeypatch.setattr(understood, "inventory", counting)
    readings = Readings()
    filled(ShelfQuery(folders=(folder,)), readings)
    filled(ShelfQuery(context=7, folders=(folder,)), readings)
    assert len(read) == 1
    (folder / "tiny" / "config.json").write_text("{}")
    changed = filled(ShelfQuery(folders=(folder,)), readings)[-1]
    assert len(read) == 2
    assert item_of(changed, str(folder / "tiny")).measure is None
    assert item_of(changed, str(folder / "tiny")).complaint


def test_a_damaged_model_is_listed_with_a_sentence(folder: Path) -> None:
    weights = folder / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    found = item_of(filled(ShelfQuery(folders=(folder,)))[-1], str(folder / "tiny"))
    assert found.complaint.endswith(".")
    assert found.measure is None


def test_looking_can_be_cancelled(folder: Path) -> None:
    def cancelled() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fill_shelf(ShelfQuery(folders=(folder,)), Readings(), cancelled, lambda frame: None)


def test_without_a_home_the_catalog_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FLUOROSCOPE_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    frame = filled(ShelfQuery())[-1]
    assert len(frame.items) == len(catalog())
    assert frame.disk_free == 0


# ---- the hub -------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
    with serving(FakeHub(files=files), monkeypatch) as server:
        yield server


def found_by(text: str) -> SearchFrame:
    frames: list[SearchFrame] = []
    search_hub(text, lambda: None, frames.append)
    (frame,) = frames
    return frame


def looked_at(item: ShelfItem, source: str, query: ShelfQuery | None = None) -> LookFrame:
    frames: list[LookFrame] = []
    look_closer(item, source, query or ShelfQuery(), lambda: None, frames.append)
    (frame,) = frames
    return frame


def test_the_hub_is_searched_and_what_it_lacks_is_said(hub: FakeHub) -> None:
    frame = found_by("org/model")
    assert [item.source for item in frame.items] == ["org/model"]
    assert frame.items[0].section == "hub"
    assert not frame.items[0].here
    assert "nothing like it" in found_by("nothing like it").sentence


def test_a_hub_that_fails_is_one_sentence(hub: FakeHub) -> None:
    hub.faults.status = 404
    frame = found_by("org")
    assert frame.items == ()
    assert frame.sentence.endswith(".")
    hub.faults.status = 401
    assert looked_at(ShelfItem("org/model", "hub", "org/model"), "org/model").item.needs_token


def test_a_model_of_the_hub_is_measured_before_it_is_downloaded(hub: FakeHub, tiny_model: Path, tmp_path: Path) -> None:
    item = replace(found_by("org/model").items[0], licence="MIT")
    looked = looked_at(item, "org/model").item
    assert looked.measure.parameters == numbers_in(tiny_model)
    assert looked.licence == "MIT"
    assert looked.size > 0
    assert not (tmp_path / "cache").exists()
    sent = hub.asked("model.safetensors")
    assert sent
    assert all(ranges for ranges in sent)  # headers alone


def test_a_repository_of_gguf_files_has_a_choice(hub: FakeHub, smollm2_gguf: Path, tmp_path: Path) -> None:
    head = smollm2_gguf.read_bytes()
    hub.files = {"small.Q4_1.gguf": head, "README.md": b""}
    looked = looked_at(ShelfItem("org/model", "hub", "org/model"), "org/model").item
    assert [choice.name for choice in looked.choices] == ["Q4_1"]
    assert looked.measure.parameters == 134_515_008
    chosen = looked_at(ShelfItem("org/model", "hub", "org/model"), "org/model:Q4_1").item
    assert chosen.measure.parameters == 134_515_008
