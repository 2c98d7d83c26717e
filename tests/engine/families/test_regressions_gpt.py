"""What published files of GPT-2, StarCoder, GPT-NeoX and Falcon have that freshly saved ones have not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.activations import ACT2FN

import engine
from engine.errors import CheckpointError, ConfigError
from engine.families import family_of, read_config
from engine.model.mlp import ACTIVATIONS
from tests.engine.families import oracle as transformers_side
from tests.engine.families.compare import apart, logits_of
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.gguf_files import write_gguf

Tensors = dict[str, Tensor]


def _with_tensors(oracle: Oracle, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    shutil.copytree(oracle.folder, folder)
    changed = change(load_file(oracle.folder / "model.safetensors"))
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _as_first_gpt2(tensors: Tensors) -> Tensors:
    """Without the prefix, with causal masks and a second copy of the embedding."""
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 128, 128) for layer in range(3)}
    masks |= {f"h.{layer}.attn.masked_bias": torch.tensor(-10000.0) for layer in range(3)}
    return bare | masks | {"lm_head.weight": bare["wte.weight"].clone()}


def _as_first_pythia(tensors: Tensors) -> Tensors:
    parts = {
        "bias": torch.ones(1, 1, 128, 128),
        "masked_bias": torch.tensor(-1e9),
        "rotary_emb.inv_freq": torch.ones(1),
    }
    prefixes = [f"gpt_neox.layers.{layer}.attention" for layer in range(3)]
    return tensors | {f"{prefix}.{part}": value.clone() for prefix in prefixes for part, value in parts.items()}


def _with_unembedding(tensors: Tensors) -> Tensors:
    return tensors | {"lm_head.weight": tensors["transformer.word_embeddings.weight"].clone()}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gpt2-default", _as_first_gpt2),
        ("gpt_neox-parallel", _as_first_pythia),
        ("falcon-7b", _with_unembedding),
    ],
)
def test_old_files(name: str, change: Callable[[Tensors], Tensors], oracles: Oracles, tmp_path: Path) -> None:
    oracle = oracles[name]
    loaded = engine.load(_with_tensors(oracle, tmp_path / "old", change), device="cpu", dtype="float32")
    assert loaded.warnings == ()
    assert apart(logits_of(loaded, oracle.ids), oracle.logits) <= 1e-4


def test_a_name_with_and_without_its_prefix_is_refused(oracles: Oracles, tmp_path: Path) -> None:
    def doubled(tensors: Tensors) -> Tensors:
        return tensors | {"wte.weight": torch.zeros(96, 32)}

    with pytest.raises(CheckpointError, match="same name but for a prefix"):
        engine.load(_with_tensors(oracles["gpt2-default"], tmp_path / "twice", doubled))


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("name", ["gpt2-default", "gpt_neox-sequential", "falcon-40b"])
def test_layer_norm_in_bfloat16_is_torchs(name: str, hooked: bool, oracles: Oracles) -> None:
    """Half precision is rounded once, behind weight and bias, also where a hook looks between."""
    loaded = engine.load(oracles[name].folder, device="cpu", dtype="bfloat16")
    norm = loaded.model.ln_final
    x = torch.randn(1, 500, 32, generator=torch.Generator().manual_seed(3)).bfloat16() * 3 + 1
    eps = loaded.config.final_norm.eps
    wanted = torch.nn.functional.layer_norm(x, (32,), norm.weight, norm.bias, eps)
    points = ("ln_final.hook_scale", "ln_final.hook_normalized") if hooked else ()
    seen: Tensors = {}
    with loaded.model.hooks(dict.fromkeys(points, lambda tensor, point: seen.update({point.name: tensor}))):
        ours = norm(x)
    assert {tensor.dtype for tensor in seen.values()} <= {torch.bfloat16}
    assert len(seen) == len(points)
    assert (ours != wanted).float().mean() < 0.01


@pytest.mark.parametrize("name", ["gpt2-default", "gpt_bigcode-multi-query", "gpt_neox-parallel", "falcon-7b"])
def test_bfloat16_stays_as_near_as_transformers(name: str, oracles: Oracles) -> None:
    oracle = oracles[name]
    theirs = transformers_side.load(oracle.folder, oracle.variant, dtype=torch.bfloat16)
    with torch.inference_mode():
        error = (theirs(input_ids=oracle.ids).logits.double() - oracle.logits.double()).norm()
    loaded = engine.load(oracle.folder, device="cpu", dtype="bfloat16")
    assert (logits_of(loaded, oracle.ids).double() - oracle.logits.double()).norm() <= 1.5 * error


def test_heads_without_keys_of_their_own(oracles: Oracles) -> None:
    """Falcon's num_kv_heads counts in the newer architecture only."""
    values = oracles["falcon-7b"].values
    assert values["num_kv_heads"] == 4
    assert read_config(values).layers[0].attention.n_kv_heads == 1
    assert read_config(values | {"multi_query": False}).layers[0].attention.n_kv_heads == 4
    assert read_config(values | {"new_decoder_architecture": True}).layers[0].attention.n_kv_heads == 4


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("gpt2-default", {"add_cross_attention": True}, "add_cross_attention = True"),
        ("gpt2-default", {"activation_function": "mish"}, "'mish'"),
        ("gpt_bigcode-multi-head", {"n_head": 5}, "5 heads"),
        ("gpt_neox-parallel", {"rope_parameters": None, "rotary_pct": 1.5}, "rotary_pct = 1.5"),
        ("falcon-7b", {"num_ln_in_parallel_attn": 3}, "num_ln_in_parallel_attn = 3"),
        ("falcon-7b", {"sliding_window": 12}, "sliding_window = 12"),
    ],
)
def test_what_is_not_understood_is_refused(
    name: str, change: dict[str, Any], words: str, oracles: Oracles, tmp_path: Path
) -> None:
    shutil.copytree(oracles[name].folder, tmp_path / "changed")
    (tmp_path / "changed" / "config.json").write_text(json.dumps(oracles[name].values | change))
    with pytest.raises(ConfigError, match=words):
        engine.load(tmp_path / "changed", device="cpu", dtype="float32")


@pytest.mark.parametrize(("d_head", "turned"), [(98, 2), (44, 30), (64, 16), (8, 8)])
def test_neox_gguf_turns_as_many_entries_as_the_file_says(d_head: int, turned: int) -> None:
    """The share of a head that transformers' config holds is no whole number of them in floating point."""
    sizes = {"embedding_length": 2 * d_head, "attention.head_count": 2, "block_count": 1, "feed_forward_length": 8}
    sizes |= {"rope.dimension_count": turned, "vocab_size": 9}
    metadata = {"general.architecture": "gptneox"} | {f"gptneox.{key}": value for key, value in sizes.items()}
    values = family_of({"model_type": "gpt_neox"}).gguf_values(metadata, lambda name: (0.0,))
    assert read_config(values).ropes["global"].dim == turned


def test_falcon_gguf_of_another_width_is_refused(oracles: Oracles, tmp_path: Path) -> None:
    """The converter writes four times the stream's width whatever the model's is; llama.cpp refuses it as well."""
    path = write_gguf(oracles["falcon-11b"].folder, tmp_path / "m.gguf")
    with pytest.raises(CheckpointError, match=r"ffn_up.weight has the shape \[56, 32\]"):
        engine.load(path)


def test_gelu_fast_is_the_tanh_form() -> None:
    """GPT-NeoX-20B names it."""
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert apart(ACTIVATIONS["gelu_fast"](x), ACT2FN["gelu_fast"](x)) <= 1e-9
