"""Every way in which safetensors store a weight: half types, FP8 with scales, MXFP4; what cannot be read is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import engine
from engine.checkpoint import quantised, weights
from engine.checkpoint.files import OpenFiles
from engine.checkpoint.safetensors_file import read_folder
from engine.checkpoint.weights import SafetensorsWeights
from engine.errors import CheckpointError, ConfigError
from engine.families import read_config
from tests.engine.tiny import tiny_llama

IDS = torch.arange(5, 65).view(2, 30)
FILE = "model.safetensors"
FP8: dict[str, Any] = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}


def _edit(folder: Path, **fields: Any) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **fields}))


def _logits(model: Any) -> Tensor:
    with torch.inference_mode():
        return model(IDS).logits


@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_types_of_floats(tmp_path: Path, stored: torch.dtype) -> None:
    model = tiny_llama(tmp_path)
    rounded = {name: tensor.to(stored) for name, tensor in load_file(tmp_path / FILE).items()}
    save_file(rounded, tmp_path / FILE)
    model.load_state_dict(rounded)
    loaded = engine.load(tmp_path, dtype="float32")
    assert loaded.stored_as == f"safetensors {str(stored).removeprefix('torch.')}"
    assert (loaded.model(IDS) - _logits(model)).abs().max() < 1e-4


def _as_fp8(folder: Path, scale_of: Any, suffix: str = "_scale_inv") -> dict[str, Tensor]:
    """Rewrite the folder's matrices as FP8 with random scales; gives them as the formula says that they are."""
    tensors, plain = load_file(folder / FILE), {}
    generator = torch.Generator().manual_seed(1)
    for name in [name for name in tensors if "_proj.weight" in name]:
        rows, columns = tensors[name].shape
        scale, spread = scale_of(rows, columns, generator)
        tensors[name] = (tensors[name] * 100).to(torch.float8_e4m3fn)
        tensors[name + suffix] = scale
        plain[name] = tensors[name].float() * spread(scale.float())[:rows, :columns]
    save_file(tensors, folder / FILE)
    return plain


def _blocks(high: int, wide: int, dtype: torch.dtype = torch.float32) -> Any:
    def scale_of(rows: int, columns: int, generator: torch.Generator) -> Any:
        grid = (-(-rows // high), -(-columns // wide))
        scale = (0.005 + 0.01 * torch.rand(grid, generator=generator)).to(dtype)
        return scale, lambda scale: torch.kron(scale, torch.ones(high, wide))

    return scale_of


def _one(*shape: int) -> Any:
    return lambda rows, columns, generator: (torch.full(shape, 0.0123), lambda scale: scale.expand(rows, columns))


def _rows(rows: int, columns: int, generator: torch.Generator) -> Any:
    return 0.02 * torch.rand(rows, 1, generator=generator), lambda scale: scale.expand(rows, columns)


@pytest.mark.parametrize(
    ("block", "scale_of", "suffix"),
    [
        ([128, 128], _blocks(128, 128), "_scale_inv"),
        ([16, 8], _blocks(16, 8), "_scale_inv"),
        ([12, 20], _blocks(12, 20), "_scale_inv"),  # edges that are cut off
        ([12, 20], _blocks(12, 20, torch.bfloat16), "_scale_inv"),
        ([12, 20], _blocks(12, 20, torch.float8_e8m0fnu), "_scale_inv"),
        (None, _one(), "_scale"),
        (None, _one(1), "_scale_inv"),
        (None, _rows, "_scale"),
    ],
)
def test_fp8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: Any, scale_of: Any, suffix: str) -> None:
    """Logits of transformers with the weights that the formula gives; slices that begin inside a block."""
    monkeypatch.setattr(weights, "SLICE", 300)
    model = tiny_llama(tmp_path)
    plain = _as_fp8(tmp_path, scale_of, suffix)
    _edit(tmp_path, quantization_config=FP8 | {"weight_block_size": block})
    model.load_state_dict(plain, strict=False)
    loaded = engine.load(tmp_path, dtype="float32")
    assert loaded.warnings == ()
    assert loaded.stored_as == "safetensors FP8"
    state = loaded.model.state_dict()
    assert torch.equal(state["blocks.1.mlp.down.weight"], plain["model.layers.1.mlp.down_proj.weight"])
    assert torch.equal(state["blocks.2.attn.qkv.weight"][-16:], plain["model.layers.2.self_attn.v_proj.weight"])
    assert (loaded.model(IDS) - _logits(model)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("block", "scale_of", "words"),
    [
        ([8, 8], _blocks(16, 8), r"weight_scale_inv .* do not fit .* blocks of 8 x 8"),
        (None, _blocks(16, 8), "a config without weight_block_size"),
        ([16, 8], _blocks(16, 8, torch.int32), "I32"),
    ],
)
def test_scales_that_do_not_fit(tmp_path: Path, block: Any, scale_of: Any, words: str) -> None:
    tiny_llama(tmp_path)
    _as_fp8(tmp_path, scale_of)
    _edit(tmp_path, quantization_config=FP8 | {"weight_block_size": block})
    with pytest.raises(CheckpointError, match=words):
        engine.load(tmp_path)


def test_fp8_without_scales(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    _as_fp8(tmp_path, _one(1), suffix="_lost")
    _edit(tmp_path, quantization_config=FP8)
    with pytest.raises(CheckpointError, match=r"q_proj\.weight is stored as F8_E4M3, which cannot be read"):
        engine.load(tmp_path)


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_mxfp4_is_what_transformers_makes_of_it(tmp_path: Path, slices: int) -> None:
    """Every byte and exponents from 2^-20 to 2^19; any number of experts at a time."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (5, 6, 3, 16), dtype=torch.uint8, generator=generator)
    blocks.view(-1)[:256] = torch.arange(256, dtype=torch.uint8)
    exponents = torch.randint(107, 147, (5, 6, 3), dtype=torch.uint8, generator=generator)
    save_file({"w_blocks": blocks, "w_scales": exponents, "w_bias": torch.ones(2)}, tmp_path / FILE)
    tensors = read_folder(tmp_path)
    with OpenFiles([tmp_path / FILE]) as files:
        read = SafetensorsWeights(tensors, files)
        assert set(read.tensors) == {"w", "w_bias"}
        assert read.tensors["w"].shape == (5, 96, 6)
        parts = [read.rows("w", start, min(start + slices, 5)) for start in range(0, 5, slices)]
    theirs = convert_moe_packed_tensors(blocks, exponents, dtype=torch.float32)
    assert torch.equal(torch.cat(parts), theirs)


def test_mxfp4_is_unpacked_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "STEP", 7)
    test_mxfp4_is_what_transformers_makes_of_it(tmp_path, 2)


@pytest.mark.parametrize(
    ("blocks", "exponents", "words"),
    [
        ((2, 4, 3, 8), (2, 4, 3), "no MXFP4 blocks of 16 bytes"),
        ((2, 4, 3, 16), (2, 4, 2), "no MXFP4 blocks"),
        ((24, 16), (24,), "no MXFP4 blocks"),
    ],
)
def test_packed_tensors_of_another_form(
    tmp_path: Path, blocks: tuple[int, ...], exponents: tuple[int, ...], words: str
) -> None:
    tiny_llama(tmp_path)
    packed = {"w_blocks": torch.zeros(blocks, dtype=torch.uint8), "w_scales": torch.zeros(exponents, dtype=torch.uint8)}
    save_file(load_file(tmp_path / FILE) | packed, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=words):
        engine.load(tmp_path)


LLAMA: dict[str, Any] = {"model_type": "llama", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48}
LLAMA |= {"num_hidden_layers": 1, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"quant_method": "gptq", "bits": 4}, "quant_method = 'gptq'; weights quantised so cannot be read, only fp8"),
        ({"quant_method": "awq"}, "'awq'"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "'bitsandbytes'"),
        ({"quant_method": "compressed-tensors"}, "'compressed-tensors'"),
        ({"load_in_8bit": True}, "quant_method = None"),
        ("fp8", "quantization_config = 'fp8'; a table is needed"),
        ({"quant_method": ["fp8"]}, "quant_method = "),
        (FP8 | {"fmt": "e5m2"}, "quantization_config.fmt = 'e5m2'"),
        (FP8 | {"activation_scheme": "static"}, "activation_scheme = 'static'"),
        (FP8 | {"expert_dtype": "fp4"}, "expert_dtype = 'fp4'"),
        (FP8 | {"scale_fmt": {}}, "scale_fmt = {}"),
        (FP8 | {"weight_block_size": 128}, "weight_block_size = 128; two whole numbers"),
        (FP8 | {"weight_block_size": [128, 0]}, "weight_block_size"),
        (FP8 | {"weight_block_size": [True, 8]}, "weight_block_size"),
    ],
)
def test_quantisations_that_cannot_be_read(table: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_config(LLAMA | {"quantization_config": table})


def test_a_config_with_a_quantisation_that_can_be_read() -> None:
    for table in (None, {}, FP8, {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}):
        assert read_config(LLAMA | {"quantization_config": table}) == read_config(LLAMA)


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_a_wrapper_says_it_for_its_text_model(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    from engine.families import llama

    monkeypatch.setattr(llama, "WRAPPERS", ("picture_book",), raising=False)
    table = {"quantization_config": {"quant_method": "gptq"}}
    text = LLAMA | (table if place == "inside" else {})
    outer = table if place == "outside" else {}
    assert read_config({"model_type": "picture_book", "text_config": LLAMA}) == read_config(LLAMA)
    with pytest.raises(ConfigError, match="'gptq'"):
        read_config({"model_type": "picture_book", "text_config": text} | outer)
