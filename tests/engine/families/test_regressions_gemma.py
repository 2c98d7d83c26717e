"""What other engines got wrong about Gemma: casts of the norm, the rounded embedding scale, one rope for all layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import engine
from engine.errors import ConfigError
from engine.families import family_of_gguf, read_config
from engine.loading import Loaded
from tests.engine.families import oracle as transformers_side
from tests.engine.families.compare import apart, logits_of, observed
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.gguf_files import write_gguf

FAMILIES = ("gemma-default", "gemma2-default", "gemma3_text-default")


def _in_bfloat16(oracle: Oracle) -> tuple[Loaded, Any]:
    theirs = transformers_side.load(oracle.folder, oracle.variant, dtype=torch.bfloat16)
    return engine.load(oracle.folder, device="cpu", dtype="bfloat16"), theirs


@pytest.mark.parametrize("name", FAMILIES)
def test_the_embedding_scale_is_rounded_first(name: str, oracles: Oracles) -> None:
    """√32 is no bfloat16: multiplying by the unrounded number gives other embeddings."""
    ours, theirs = _in_bfloat16(oracles[name])
    ids = oracles[name].ids
    scaled = observed(ours, ids, ["hook_embed_scaled"])["hook_embed_scaled"]
    with torch.inference_mode():
        assert torch.equal(scaled, theirs.model.embed_tokens(ids))
        assert not torch.equal(scaled, ours.model.embed(ids) * 32**0.5)


@pytest.mark.parametrize("name", FAMILIES)
def test_norms_are_cast_after_the_weight(name: str, oracles: Oracles) -> None:
    """transformers #29402: (x · (1 + w)) in float32, cast once; with and without a hook on the way."""
    ours, theirs = _in_bfloat16(oracles[name])
    x = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(3)).bfloat16()
    norm, looked = ours.model.layers[0].ln1, {"blocks.0.ln1.hook_normalized": lambda tensor, point: None}
    with torch.inference_mode():
        expected = theirs.model.layers[0].input_layernorm(x)
        assert torch.equal(norm(x), expected)
        with ours.model.hooks(looked):
            assert torch.equal(norm(x), expected)


def test_sliding_layers_turn_without_the_scaling() -> None:
    """Only layers that see all are stretched, and each kind has a base of its own; in both dialects."""
    old = {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    new = {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
        }
    }
    for dialect in (old, new):
        config = read_config({"model_type": "gemma3_text", **dialect})
        bases = {name: (rope.theta, rope.scaling, rope.factor) for name, rope in config.ropes.items()}
        assert bases == {"global": (5e5, "linear", 8.0), "local": (2e4, "default", 1.0)}
        assert [layer.attention.rope for layer in config.layers[:6]] == ["local"] * 5 + ["global"]


@pytest.mark.parametrize("given", ["model.language_model.", "language_model.model."])
def test_both_prefixes_of_a_wrapper(given: str, oracles: Oracles, tmp_path: Path) -> None:
    """Files before and after transformers 4.52 name the text model's tensors differently."""
    oracle = oracles["gemma3-wrapper"]
    tensors = {_own(name, given): tensor for name, tensor in _stored(oracle.folder).items()}
    assert any(name.startswith(given) for name in tensors)
    (tmp_path / "config.json").write_text((oracle.folder / "config.json").read_text())
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = engine.load(tmp_path, device="cpu", dtype="float32")
    assert loaded.warnings == ()
    assert apart(logits_of(loaded, oracle.ids), oracle.logits) <= 1e-4


def _stored(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def _own(name: str, prefix: str) -> str:
    for known in ("model.language_model.", "language_model.model."):
        if name.startswith(known):
            return prefix + name.removeprefix(known)
    return name


@pytest.mark.parametrize("name", ["gemma-default", "gemma2-scaled-by-head", "gemma3_text-scaled-by-head"])
def test_gguf_norms_lose_their_one_before_they_are_rounded(name: str, oracles: Oracles, tmp_path: Path) -> None:
    """1 + w in bfloat16 would keep two digits of w."""
    oracle = oracles[name]
    path = write_gguf(oracle.folder, tmp_path / "m.gguf")
    ours = engine.load(path, device="cpu", dtype="bfloat16").model.ln_final.weight
    assert apart(ours, oracle.model.model.norm.weight) <= 2**-9  # half a step of values below 1


@pytest.mark.parametrize(("architecture", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_a_27b_file_implies_another_scale(architecture: str, layers: int) -> None:
    """The file does not hold query_pre_attn_scalar; that of 27B is hidden_size / heads, of all others the head's."""
    sizes = {"embedding_length": 5376, "attention.head_count": 32, "attention.key_length": 128, "block_count": layers}
    metadata = {f"{architecture}.{key}": value for key, value in sizes.items()}
    family = family_of_gguf(architecture)
    read = {"general.architecture": architecture, **metadata}
    assert family.gguf_values(read, lambda name: None)["query_pre_attn_scalar"] == 168
    smaller = read | {f"{architecture}.block_count": layers - 1}
    assert family.gguf_values(smaller, lambda name: None)["query_pre_attn_scalar"] == 128


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("gemma3_text", "attn_logit_softcapping", 50.0),  # transformers has the field and never applies it
        ("gemma3_text", "use_bidirectional_attention", True),
        ("gemma2", "layer_types", ["chunked_attention"] * 26),
        ("gemma2", "hidden_activation", "mish"),
        ("gemma", "query_pre_attn_scalar", 144),
    ],
)
def test_what_is_not_understood_is_refused_by_name(family: str, field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{field}"):
        read_config({"model_type": family, field: value})
