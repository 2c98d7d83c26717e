"""Safetensors headers: sound ones are read, every kind of broken one is named in a sentence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.checkpoint.files import OpenFiles
from engine.checkpoint.safetensors_file import INDEX, read_folder, read_header
from engine.checkpoint.weights import SafetensorsWeights
from engine.errors import CheckpointError, EngineError, SourceError


def _write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def _entry(shape: list[int], start: int, stop: int, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_rows_equal_what_the_reference_library_wrote(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(7, 5),
        "b": torch.randn(4, 3, 2).to(torch.bfloat16),
        "c": torch.randn(9).to(torch.float16),
        "d": torch.randn(2, 2, dtype=torch.float64),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    infos = read_folder(tmp_path)
    assert {name: info.shape for name, info in infos.items()} == {n: tuple(t.shape) for n, t in tensors.items()}
    with OpenFiles({info.file for info in infos.values()}) as files:
        weights = SafetensorsWeights(infos, files)
        for name, tensor in tensors.items():
            assert torch.equal(weights.rows(name, 0, tensor.shape[0]), tensor)
            assert torch.equal(weights.rows(name, 1, 2), tensor[1:2])


BROKEN = {
    "empty": (b"", 0, "only 8 bytes"),
    "header past the end": (b"{}", 100, "claims 100 bytes, but the file has only 10"),
    "oversized header": (b"{}", 10**9, "more than the allowed"),
    "no JSON": (b"{nonsense", None, "not valid JSON"),
    "deep JSON": (b"[" * 200_000, None, "not valid JSON"),
    "no table": (b"[1, 2]", None, "not a table"),
    "twice": (b'{"a": 1, "a": 2}', None, "occurs twice"),
    "entry": ({"a": 3}, None, "entry of 'a' is not a table"),
    "dtype": ({"a": _entry([1], 0, 4, "F31")}, None, "unknown dtype 'F31'"),
    "dtype kind": ({"a": _entry([1], 0, 4, ["F32"])}, None, "unknown dtype"),
    "negative shape": ({"a": _entry([-1], 0, 4)}, None, "impossible shape"),
    "float shape": ({"a": _entry([1.5], 0, 4)}, None, "impossible shape"),
    "backwards": ({"a": _entry([1], 4, 0)}, None, "impossible byte range"),
    "size": ({"a": _entry([2], 0, 4)}, None, "has 4 bytes"),
    "overflow": ({"a": _entry([2**62, 2**62], 0, 4)}, None, "has 4 bytes"),
    "overlap": ({"a": _entry([1], 0, 4), "b": _entry([1], 2, 6)}, None, "overlaps"),
    "gap": ({"a": _entry([1], 0, 4), "b": _entry([1], 8, 12)}, None, "leaves a gap"),
    "start": ({"a": _entry([1], 4, 8)}, None, "leaves a gap"),
    "truncated": ({"a": _entry([100], 0, 400)}, None, "is truncated"),
    "surplus": ({"a": _entry([1], 0, 4)}, None, "belong to no tensor"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_header_is_named(tmp_path: Path, case: str) -> None:
    header, length, words = BROKEN[case]
    data = {"empty": b"", "header past the end": b"", "surplus": bytes(9)}.get(case, bytes(4))
    if case == "overlap":
        data = bytes(6)
    path = _write(tmp_path / "m.safetensors", header, data, length)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_header(path)
    assert "m.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(4, 4), "b": torch.ones(3)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_header(path)


def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(4, 4), "b": torch.ones(3)}, path)
    whole, chance = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(8 + whole[0])] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_header(path)
        except EngineError:
            refused += 1
    assert refused > 250


def test_a_file_that_shrinks_after_the_check(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    infos = read_folder(tmp_path)
    with OpenFiles([tmp_path / "model.safetensors"]) as files:
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(CheckpointError, match="ends inside the tensor a"):
            SafetensorsWeights(infos, files).rows("a", 0, 4)


def test_folders_without_usable_weights(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no \.safetensors file"):
        read_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(SourceError, match="pickle"):
        read_folder(tmp_path)
    for name in ("a", "b"):
        save_file({name: torch.ones(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(SourceError, match="2 safetensors files but no"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "not a safetensors file beside it"),
        ('{"weight_map": {"a": 3}}', "not a safetensors file beside it"),
        ('{"weight_map": {"a": "b.safetensors"}}', "lacks b.safetensors"),
        ('{"weight_map": {"c": "a.safetensors"}}', "does not have it"),
    ],
)
def test_a_broken_index_is_named(tmp_path: Path, index: str, words: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match=words):
        read_folder(tmp_path)
