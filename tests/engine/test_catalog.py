"""The catalog: what its files say against what the engine computes from them, and files that are damaged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import resources
from engine.checkpoint import catalog as catalog_file
from engine.checkpoint.catalog import CatalogEntry, catalog, catalog_complaint, entry
from engine.checkpoint.counts import active_parameters, parameters
from engine.checkpoint.inventory import inventory
from engine.checkpoint.source import resolve
from engine.checkpoint.traits import TRAITS, traits
from engine.errors import SourceError
from engine.families import read_config
from engine.model.decoder import Decoder
from tests.engine.families.hub_configs import HUB

NAMES = [known.name for known in catalog()]
BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "FP8": 8, "MXFP4": 4.25}
LICENCES = {"Apache-2.0", "MIT"}  # SPDX; others are named as their owners name them


@pytest.fixture(params=NAMES)
def known(request: pytest.FixtureRequest) -> CatalogEntry:
    found = entry(request.param)
    assert found is not None
    return found


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the catalog's files that may be damaged."""
    for path in (Path(resources.__file__).parent / "catalog").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(catalog_file, "_folder", lambda: tmp_path)
    catalog_file._listed.cache_clear()
    yield tmp_path
    catalog_file._listed.cache_clear()


# -- the files as they are -------------------------------------------------------------------------------------------


def test_about_twenty_models_those_to_begin_with_first_then_small_ones() -> None:
    assert catalog_complaint() == ""
    assert 20 <= len(NAMES) == len(set(NAMES)) <= 30
    assert [known.name for known in catalog() if known.starter] == NAMES[:2] == ["demo", "smollm2"]
    sizes = [known.size for known in catalog()[2:]]
    assert sizes == sorted(sizes)


def test_parameters_are_those_that_were_published(known: CatalogEntry) -> None:
    if known.built_in:
        figures = json.loads((Path(resources.__file__).parent / "demo_model" / "figures.json").read_text())
        assert known.parameters == figures["model"]["parameters"]
    else:
        assert known.parameters == known.published_parameters


def test_the_decoder_itself_has_as_many(known: CatalogEntry) -> None:
    """With one layer of each kind, so that no module is made sixty times."""
    few = replace(known.config, layers=tuple(dict.fromkeys(known.config.layers)))
    with torch.device("meta"):
        decoder = Decoder(few)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == parameters(few)


def test_the_built_in_model_counts_as_its_files_do() -> None:
    found, known = inventory("demo"), entry("demo")
    assert known is not None
    assert (known.parameters, known.active) == (found.parameters, found.active)


def test_active_parameters_of_models_whose_names_tell_them() -> None:
    told = {"granite-1b-a400m": 0.4e9, "olmoe-1b-7b": 1.3e9, "qwen1.5-moe": 2.7e9, "mixtral-8x7b": 12.9e9}
    told |= {"llama-4-scout": 17e9, "deepseek-r1": 37e9, "qwen3-30b-a3b": 3.3e9}  # as their makers say
    for name, active in told.items():
        known = entry(name)
        assert known is not None
        assert known.active == pytest.approx(active, rel=0.08), name
    dense = [known for known in catalog() if "dense" in known.shows]
    assert all(known.active == known.parameters for known in dense)


def test_size_is_about_what_the_weights_take(known: CatalogEntry) -> None:
    """The vocabulary's files come to it, and copies: an embedding that is stored twice, masks that are no weights."""
    whole = known.parameters * BITS[known.dtype] / 8
    assert 0.95 < known.size / whole < 1.3


def test_what_it_shows_it_has(known: CatalogEntry) -> None:
    assert known.shows
    assert set(known.shows) <= set(traits(known.config))
    assert set(known.shows) & {"dense", "mixture of experts"}
    assert known.about.endswith(".")
    assert len(known.about) < 140


def test_every_kind_of_part_is_shown_by_a_model() -> None:
    shown = {trait for known in catalog() for trait in known.shows}
    assert shown == set(TRAITS)
    assert {known.kind for known in catalog()} == {"base", "instruct"}
    experts = sorted(known.parameters for known in catalog() if "mixture of experts" in known.shows)
    assert experts[0] < 1e7
    assert experts[-1] > 1e11


def test_traits_are_those_of_published_models() -> None:
    expected = {
        "openai-community/gpt2": ("dense", "multi-head", "learned positions", "layer norm", "biases"),
        "mistralai/Mistral-7B-v0.1": ("dense", "grouped-query", "sliding window"),
        "microsoft/Phi-3-mini-4k-instruct": ("dense", "multi-head", "sliding window"),
        "tiiuae/falcon-7b": ("dense", "multi-query", "parallel block", "layer norm"),
        "Qwen/Qwen3-30B-A3B": ("mixture of experts", "grouped-query", "qk-norm"),
    }
    for name, found in expected.items():
        assert traits(read_config(HUB[name][0])) == found


@pytest.mark.parametrize("name", ["gpt2", "mistral-7b", "qwen3-0.6b", "gemma-3-1b", "pythia-70m", "qwen3-30b-a3b"])
def test_the_few_values_mean_what_the_whole_config_means(name: str) -> None:
    known = entry(name)
    assert known is not None
    assert read_config(HUB[known.hub][0]) == known.config


@pytest.mark.parametrize("name", [known.name for known in catalog() if not known.built_in])
def test_values_that_change_nothing_are_not_kept(name: str) -> None:
    """Every key is asked for by the model's family."""
    known = entry(name)
    assert known is not None
    asked: set[str] = set()

    class Watched(dict):
        def get(self, key, default=None):
            asked.add(key)
            return super().get(key, default)

        def __getitem__(self, key):
            asked.add(key)
            return super().__getitem__(key)

        def __contains__(self, key):
            asked.add(key)
            return super().__contains__(key)

    read_config(Watched(known.values))
    assert set(known.values) <= asked


def test_licence_and_place(known: CatalogEntry) -> None:
    assert known.licence in LICENCES or known.licence.endswith(("License", "Terms of Use"))
    assert known.gated == (known.hub.partition("/")[0] in ("google", "meta-llama", "mistralai"))
    assert bool(known.hub) != known.built_in


# -- quickly, and without torch --------------------------------------------------------------------------------------


def test_the_catalog_is_read_at_once_and_computes_nothing() -> None:
    code = (
        "import time, sys; import engine.checkpoint.catalog as c; began = time.perf_counter(); c.catalog(); "
        "print(time.perf_counter() - began, bool({'torch', 'engine.families', 'numpy'} & set(sys.modules)))"
    )
    seconds, heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy == "False"
    assert float(seconds) < 0.05  # 1 ms here; a busy machine may take longer


def test_the_largest_model_is_counted_at_once() -> None:
    known = entry("deepseek-r1")
    assert known is not None
    config = read_config(known.values)
    began = time.perf_counter()
    assert parameters(config) - active_parameters(config) > 6e11
    assert time.perf_counter() - began < 8


# -- files that are not sound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b'{"title": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_costs_its_own_model_only(files: Path, content: bytes) -> None:
    (files / "gpt2.json").write_bytes(content)
    names = [known.name for known in catalog()]
    assert names == [name for name in NAMES if name != "gpt2"]
    assert catalog_complaint() == (
        "Files of the catalog are damaged (gpt2.json), so their models are not listed; install Fluoroscope again."
    )


@pytest.mark.parametrize("odd", [{"sise": 1}, {"size": "551 MB"}, {"size": 0}, {"size": None}])
def test_a_row_with_a_field_that_is_not_known_or_no_size_is_damaged(files: Path, odd: dict[str, object]) -> None:
    row = json.loads((files / "gpt2.json").read_text())
    (files / "gpt2.json").write_text(json.dumps(row | odd))
    assert "gpt2.json" in catalog_complaint()


def test_without_its_files_the_built_in_model_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    for path in files.iterdir():
        path.unlink()
    assert [known.name for known in catalog()] == ["demo"]
    assert catalog_complaint().startswith("Files resources/catalog are missing")
    monkeypatch.setattr(catalog_file, "_folder", lambda: tmp_path / "nothing")
    catalog_file._listed.cache_clear()
    assert [known.name for known in catalog()] == ["demo"]


def test_names_are_found_in_any_letter_case() -> None:
    assert entry("GPT2") is entry("gpt2") is not None
    assert entry("nothing") is None


def test_a_wrong_name_is_told_the_nearest_one() -> None:
    with pytest.raises(
        SourceError, match=r"no catalog name \(did you mean qwen3-0\.6b\? fluoroscope models lists all\)"
    ):
        resolve("Qwen3-0.6")
    with pytest.raises(SourceError, match=r"no catalog name \(fluoroscope models lists them\)"):
        resolve("zzzzzz")
