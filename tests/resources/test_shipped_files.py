"""What is shipped: an ordinary folder, small, without anything that could run when it is opened."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

import engine
from engine.loading import Loaded
from tests.resources.shipped import FOLDER, ROOT, read_json

MODEL = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
BESIDE = {"README.md", "figures.json", "training.json"}
LARGEST = 16 * 2**20  # bytes of the whole folder


def shipped() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_model_and_card_are_there() -> None:
    assert {path.name for path in shipped()} >= MODEL | BESIDE


def test_nothing_but_weights_json_card_and_scripts() -> None:
    assert {path.suffix for path in shipped()} <= {".safetensors", ".json", ".md", ".py"}


def test_small() -> None:
    assert sum(path.stat().st_size for path in shipped()) <= LARGEST


def test_everyone_can_read_the_files() -> None:
    assert [path.name for path in shipped() if not path.stat().st_mode & 0o004] == []


def test_weights_are_bfloat16_under_mixtral_names() -> None:
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert {file.get_slice(name).get_dtype() for name in names} == {"BF16"}
    assert len(names) == 2 + 6 * (4 + 2 + 1 + 8 * 3)
    assert "model.layers.5.block_sparse_moe.experts.7.w2.weight" in names


def test_engine_opens_it_without_complaint(demo: Loaded) -> None:
    assert demo.warnings == ()
    assert (demo.config.family, demo.stored_as) == ("mixtral", "safetensors bfloat16")
    assert demo.parameters == read_json("figures.json")["model"]["parameters"]


def test_its_own_sampling_is_the_default(demo: Loaded) -> None:
    assert demo.sampling == engine.Sampling(temperature=0.7, top_p=0.9)
    assert engine.Session(demo).sampling == demo.sampling


def test_card_begins_like_a_hub_card() -> None:
    before, front, _ = (FOLDER / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert before == ""
    assert "license: apache-2.0" in front.splitlines()
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
