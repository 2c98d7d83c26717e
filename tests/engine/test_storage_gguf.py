"""Every quantisation and every form of GGUF files: transformers computes the same with the dequantised values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import engine
from engine.checkpoint import weights
from engine.errors import CheckpointError, SourceError
from engine.loading import Loaded
from tests.engine.families.compare import apart
from tests.engine.families.oracle import Oracle, build, load
from tests.engine.families.variants import VARIANTS, Variant
from tests.engine.gguf_files import K_TYPES, RawTensor, part_paths, random_k_tensor, restored_folder, write_gguf

# rows are whole blocks of 32, of 256 where K-types are put in
DENSE = VARIANTS["llama-default"].config | {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
LONG_ROWS = DENSE | {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "head_dim": 64}
EXPERTS = VARIANTS["mixtral-default"].config | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}


def _oracle(family: str, config: dict[str, Any], folder: Path, seed: int = 0) -> Oracle:
    return build(Variant(family, "stored", config, seed=seed), folder)


def _agrees(oracle: Oracle, path: Path, target: Path) -> Loaded:
    """With transformers, given the values that the file holds."""
    theirs = load(restored_folder(oracle.folder, path, target), oracle.variant)
    loaded = engine.load(path, device="cpu", dtype="float32")
    with torch.inference_mode():
        expected = theirs(oracle.ids).logits
    assert apart(loaded.model(oracle.ids), expected) <= 1e-4 * max(1.0, float(expected.abs().max()))
    assert loaded.warnings == ()
    return loaded


@pytest.mark.parametrize("quantisation", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"])
@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_quantisations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, quantisation: str) -> None:
    """Dense weights and stacked experts, dequantised in slices of a few rows."""
    monkeypatch.setattr(weights, "SLICE", 500)
    oracle = _oracle(family, DENSE if family == "llama" else EXPERTS, tmp_path / "model")
    path = write_gguf(oracle.folder, tmp_path / "m.gguf", quantisation=quantisation)
    loaded = _agrees(oracle, path, tmp_path / "restored")
    assert loaded.stored_as == f"GGUF {quantisation}"
    if quantisation not in ("F16", "BF16"):
        exact = load_file(oracle.folder / "model.safetensors")["model.layers.1.self_attn.o_proj.weight"]
        assert not torch.equal(loaded.model.state_dict()["blocks.1.attn.out.weight"], exact)


@pytest.mark.parametrize("kind", [kind.name for kind in K_TYPES])
def test_types_with_blocks_of_256(tmp_path: Path, kind: str) -> None:
    """Which the package reads and does not write: random blocks in the place of three matrices."""
    oracle = _oracle("llama", LONG_ROWS, tmp_path / "model")
    shapes = {"attn_output": (256, 256), "ffn_gate": (512, 256), "ffn_down": (256, 512)}
    raw = {f"blk.0.{name}.weight": random_k_tensor(kind, shape, 1) for name, shape in shapes.items()}
    loaded = _agrees(oracle, write_gguf(oracle.folder, tmp_path / "m.gguf", raw=raw), tmp_path / "restored")
    state = loaded.model.state_dict()
    assert np.array_equal(state["blocks.0.mlp.down.weight"].numpy(), raw["blk.0.ffn_down.weight"].values)
    assert np.array_equal(state["blocks.0.mlp.gate_up.weight"].numpy()[:512], raw["blk.0.ffn_gate.weight"].values)


@pytest.mark.parametrize("kind", ["IQ2_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0"])
def test_rarer_types_are_what_the_package_says(tmp_path: Path, kind: str) -> None:
    """Only that they load: their values are the package's own."""
    quantisation = gguf.GGMLQuantizationType[kind]
    per_block, size = gguf.GGML_QUANT_SIZES[quantisation]
    oracle = _oracle("llama", LONG_ROWS, tmp_path / "model")
    data = np.zeros((256, 512 // per_block * size), dtype=np.uint8)
    data[:, 7::11] = 3
    raw = {"blk.0.ffn_down.weight": RawTensor(quantisation, data)}
    state = engine.load(write_gguf(oracle.folder, tmp_path / "m.gguf", raw=raw)).model.state_dict()
    assert np.array_equal(state["blocks.0.mlp.down.weight"].numpy(), gguf.quants.dequantize(data, quantisation))


@pytest.mark.parametrize("options", [{}, {"old_experts": True}, {"parts": 4}, {"old_experts": True, "parts": 4}])
def test_forms_of_mixtral(tmp_path: Path, options: dict[str, Any]) -> None:
    """Stacked experts, one tensor for each as in old files, and either in several files."""
    oracle = _oracle("mixtral", EXPERTS, tmp_path / "model")
    path = write_gguf(oracle.folder, tmp_path / "m.gguf", quantisation="Q8_0", **options)
    loaded = _agrees(oracle, path, tmp_path / "restored")
    if options.get("parts"):
        last = part_paths(tmp_path / "m.gguf", 4)[3]
        again = engine.load(last, device="cpu", dtype="float32")
        assert torch.equal(again.model(oracle.ids), loaded.model(oracle.ids))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    oracle = _oracle("mixtral", EXPERTS, tmp_path / "model")
    first = write_gguf(oracle.folder, tmp_path / "m.gguf", parts=3)
    part_paths(tmp_path / "m.gguf", 3)[1].unlink()
    with pytest.raises(SourceError, match=r"3 parts and m-00002-of-00003\.gguf is missing"):
        engine.load(first)


def test_an_old_file_that_lacks_an_expert(tmp_path: Path) -> None:
    """The config says six experts, the file has two."""
    oracle = _oracle("mixtral", EXPERTS | {"num_local_experts": 2, "num_experts_per_tok": 1}, tmp_path / "model")
    path = write_gguf(oracle.folder, tmp_path / "m.gguf", old_experts=True, metadata={"llama.expert_count": 6})
    with pytest.raises(CheckpointError, match=r"has the shape|lack the tensor blk\.0\.ffn_gate\.2\.weight"):
        engine.load(path)


def test_a_tensor_that_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    """A rope table of the file's own is used, a bias that the architecture does not have is not."""
    oracle = _oracle("llama", DENSE, tmp_path / "model")
    path = write_gguf(oracle.folder, tmp_path / "m.gguf")
    whole = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(tmp_path / "more.gguf", "llama")
    for field in whole.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    for tensor in whole.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.add_tensor("blk.0.mystery.weight", np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    loaded = engine.load(tmp_path / "more.gguf")
    assert loaded.warnings == (
        "The file has 1 tensor that this model does not know and does without: blk.0.mystery.weight.",
    )
    assert torch.equal(loaded.model(oracle.ids), engine.load(path).model(oracle.ids))
