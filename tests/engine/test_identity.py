"""What tells models from each other: their configuration and headers, however they are called and wherever they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import engine
from engine.checkpoint.identity import identity
from engine.checkpoint.safetensors_file import SINGLE
from engine.errors import EngineError
from tests.engine.tiny import tiny_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("identity")
    tiny_llama(made)
    return made


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def test_a_copy_is_the_same_model_and_a_loaded_one_knows_what_it_is(folder: Path, tmp_path: Path) -> None:
    assert identity(copied(folder, tmp_path / "copy")) == identity(folder)
    assert engine.load(folder, device="cpu").identity == identity(folder)


def test_another_configuration_is_another_model(folder: Path, tmp_path: Path) -> None:
    other = copied(folder, tmp_path / "other")
    values = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**values, "rope_theta": 5.0}))
    assert identity(other).config != identity(folder).config
    assert identity(other).headers == identity(folder).headers


def test_other_headers_are_another_model_and_other_numbers_are_not_seen(folder: Path, tmp_path: Path) -> None:
    wider, changed = tmp_path / "wider", copied(folder, tmp_path / "changed")
    tiny_llama(wider, intermediate_size=64)
    assert identity(wider).headers != identity(folder).headers
    data = bytearray((changed / SINGLE).read_bytes())
    data[-1] ^= 1
    (changed / SINGLE).write_bytes(data)
    assert identity(changed) == identity(folder)


def test_every_part_of_a_sharded_model_counts(folder: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    tiny_llama(sharded, shard_size="20KB")
    assert identity(sharded).headers != identity(folder).headers
    again = copied(sharded, tmp_path / "again")
    assert identity(again) == identity(sharded)


def test_a_gguf_file_is_told_by_its_metadata_and_tensors(smollm2_gguf: Path) -> None:
    found = identity(smollm2_gguf)
    assert found == engine.load(smollm2_gguf, device="cpu").identity
    assert found.config != found.headers


def test_what_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has no weights"):
        identity(tmp_path)
    with pytest.raises(EngineError, match="cannot be read"):
        identity(tmp_path / "none.gguf")
