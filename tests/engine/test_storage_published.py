"""Models in the form in which they are published: gpt-oss with packed experts, DeepSeek V3 in FP8 with a layer more."""

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
from engine.errors import CheckpointError
from tests.engine.families.compare import apart
from tests.engine.families.oracle import Oracle, build, load
from tests.engine.families.variants import VARIANTS, Variant

FILE = "model.safetensors"
# rows of MXFP4 are whole groups of 32
OSS = VARIANTS["gpt_oss-default"].config | {"hidden_size": 64, "intermediate_size": 32}


def _oracle(name: str, folder: Path, config: dict[str, Any] | None = None) -> Oracle:
    variant = VARIANTS[name]
    return build(variant if config is None else Variant(variant.family, "packed", config), folder)


def _rewritten(oracle: Oracle, tensors: dict[str, Tensor], quantisation: dict[str, Any]) -> None:
    save_file(tensors, oracle.folder / FILE)
    values = oracle.values | {"quantization_config": quantisation}
    (oracle.folder / "config.json").write_text(json.dumps(values))


def _packed(tensors: dict[str, Tensor], plain: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random blocks in the place of every expert's matrices; ``plain`` gets what transformers makes of them."""
    generator, changed = torch.Generator().manual_seed(3), {}
    for name, tensor in tensors.items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            changed[name] = tensor
            continue
        experts, d_in, d_out = tensor.shape
        blocks = torch.randint(0, 256, (experts, d_out, d_in // 32, 16), dtype=torch.uint8, generator=generator)
        exponents = torch.randint(122, 126, blocks.shape[:3], dtype=torch.uint8, generator=generator)
        changed |= {f"{name}_blocks": blocks, f"{name}_scales": exponents}
        plain[name] = convert_moe_packed_tensors(blocks, exponents, dtype=torch.float32)
    return changed


def test_gpt_oss_with_packed_experts(tmp_path: Path) -> None:
    oracle = _oracle("gpt_oss-default", tmp_path, OSS)
    plain: dict[str, Tensor] = {}
    packed = _packed(load_file(tmp_path / FILE), plain)
    _rewritten(oracle, packed, {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    assert len(plain) == 8
    oracle.model.load_state_dict(plain, strict=False)
    loaded = engine.load(tmp_path, dtype="float32")
    assert loaded.warnings == ()
    assert loaded.stored_as == "safetensors MXFP4"
    assert apart(loaded.model(oracle.ids), oracle.logits) < 1e-4


def test_packed_experts_without_their_exponents(tmp_path: Path) -> None:
    oracle = _oracle("gpt_oss-default", tmp_path, OSS)
    packed = {name: t for name, t in _packed(load_file(tmp_path / FILE), {}).items() if not name.endswith("_scales")}
    _rewritten(oracle, packed, {"quant_method": "mxfp4"})
    with pytest.raises(CheckpointError, match=r"lack the tensor model\.layers\.0\.mlp\.experts\.gate_up_proj and 7"):
        engine.load(tmp_path)


def _as_fp8(tensors: dict[str, Tensor], plain: dict[str, Tensor]) -> dict[str, Tensor]:
    """Blocks of 12 x 20 with random scales, as ``weight_scale_inv``; routers, norms and embeddings stay."""
    generator, changed = torch.Generator().manual_seed(3), {}
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            changed[name] = tensor
            continue
        rows, columns = tensor.shape
        scale = 0.005 + 0.01 * torch.rand(-(-rows // 12), -(-columns // 20), generator=generator)
        changed |= {name: (tensor * 100).to(torch.float8_e4m3fn), f"{name}_scale_inv": scale}
        plain[name] = changed[name].float() * torch.kron(scale, torch.ones(12, 20))[:rows, :columns]
    return changed


def _with_prediction_layer(tensors: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """The layer behind the last one that DeepSeek's files have for predicting further tokens."""
    last = f"model.layers.{index - 1}."
    more = {n.replace(last, f"model.layers.{index}."): t.clone() for n, t in tensors.items() if n.startswith(last)}
    names = ("eh_proj.weight", "enorm.weight", "hnorm.weight", "shared_head.norm.weight", "shared_head.head.weight")
    return tensors | more | {f"model.layers.{index}.{name}": torch.ones(3, 2) for name in names}


def test_deepseek_v3_in_fp8(tmp_path: Path) -> None:
    oracle = _oracle("deepseek_v3-default", tmp_path / "model")
    plain: dict[str, Tensor] = {}
    tensors = _as_fp8(load_file(oracle.folder / FILE), plain)
    assert any(".experts.3.down_proj.weight_scale_inv" in name for name in tensors)
    table = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [12, 20]}
    _rewritten(oracle, _with_prediction_layer(tensors, 4), table)
    loaded = engine.load(oracle.folder, dtype="float32")
    assert loaded.warnings == ()
    assert loaded.stored_as == "safetensors FP8"
    theirs = load(_plain_folder(oracle, tensors | plain, tmp_path / "plain"), oracle.variant)
    assert apart(loaded.model(oracle.ids), theirs(oracle.ids).logits) < 1e-4


def _plain_folder(oracle: Oracle, tensors: dict[str, Tensor], folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(oracle.values))
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith("_scale_inv")}
    save_file(plain, folder / FILE, {"format": "pt"})
    return folder


def test_a_layer_that_is_missing_is_not_ignored(tmp_path: Path) -> None:
    """Only layers behind the last one are further predictions; one within is a weight."""
    oracle = _oracle("deepseek_v3-default", tmp_path)
    tensors = load_file(tmp_path / FILE)
    save_file({n: t for n, t in tensors.items() if ".layers.3.self_attn.o_proj" not in n}, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"lack the tensor model\.layers\.3\.self_attn\.o_proj\.weight"):
        engine.load(oracle.folder)
