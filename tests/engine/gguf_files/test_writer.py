"""The writer of GGUF files does what llama.cpp's converter does: names, shapes, order of rows, keys.

Rearrangements are checked by formulas over single rows, written out anew from what llama.cpp's loader expects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tests.engine.families.oracle import build
from tests.engine.families.variants import VARIANTS
from tests.engine.gguf_files import K_TYPES, lost, part_paths, random_k_tensor, restored, restored_folder, write_gguf
from tests.engine.gguf_files.restore import read_values

HELD = [name for name, variant in VARIANTS.items() if variant.gguf]
Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A variant's model folder, built when first asked for; its weights are random throughout."""
    made: dict[str, Path] = {}

    def make(variant: str) -> Path:
        if variant not in made:
            made[variant] = build(VARIANTS[variant], tmp_path_factory.mktemp("gguf") / variant).folder
        return made[variant]

    return make


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_file(folder / "model.safetensors").items()}


def values_of(path: Path) -> dict[str, Any]:
    """Metadata without the architecture's prefix."""
    reader = GGUFReader(path)
    prefix = f"{reader.fields['general.architecture'].contents()}."
    return {key.removeprefix(prefix): field.contents() for key, field in reader.fields.items()}


def declared(architecture: str) -> re.Pattern[str]:
    """The tensor names that the gguf package declares for an architecture."""
    number = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = (gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[number])
    either = "|".join(re.escape(name).replace(re.escape("{bid}"), r"\d+") for name in names)
    return re.compile(rf"({either})\.(weight|bias)")


def known_keys(architecture: str) -> set[str]:
    """Every key that the gguf package spells, with the architecture filled in."""
    groups = [gguf.Keys, *(group for group in vars(gguf.Keys).values() if isinstance(group, type))]
    keys = {key for group in groups for key in vars(group).values() if isinstance(key, str)}
    return {key.replace("{arch}", architecture) for key in keys}


@pytest.mark.parametrize("name", HELD)
def test_a_file_has_the_architectures_names_and_keys(folder_of: Folders, tmp_path: Path, name: str) -> None:
    architecture = VARIANTS[name].gguf
    reader = GGUFReader(write_gguf(folder_of(name), tmp_path / "m.gguf"))
    assert architecture is not None
    assert reader.fields["general.architecture"].contents() == architecture
    wrong = [tensor.name for tensor in reader.tensors if not declared(architecture).fullmatch(tensor.name)]
    assert wrong == []
    assert {key for key in reader.fields if not key.startswith("GGUF.")} - known_keys(architecture) == set()
    assert {tensor.tensor_type for tensor in reader.tensors} == {Kind.F32}


@pytest.mark.parametrize("name", HELD)
def test_a_file_holds_every_weight_once(folder_of: Folders, tmp_path: Path, name: str) -> None:
    folder = folder_of(name)
    path = write_gguf(folder, tmp_path / "m.gguf")
    home, original = restored(folder, path), weights(folder)
    assert home.keys() == original.keys()
    assert max(float(np.abs(home[key] - original[key]).max()) for key in original) < 1e-6  # Gemma's norms are rounded
    made = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
    in_file = sum(tensor.size for key, tensor in read_values(path).items() if key not in made)
    assert in_file == sum(tensor.size for tensor in original.values())


LLAMA = "attn_norm attn_q attn_k attn_v attn_output ffn_norm ffn_gate ffn_up ffn_down"
WITH_BIASES = (
    "attn_norm attn_qkv attn_output ffn_norm ffn_up ffn_down "
    "attn_norm: attn_qkv: attn_output: ffn_norm: ffn_up: ffn_down:"
)
EXPERTS = "ffn_gate_inp ffn_gate_exps ffn_up_exps ffn_down_exps"
SHARED = "ffn_gate_shexp ffn_up_shexp ffn_down_shexp"
ATTENTION = "attn_q attn_k attn_v attn_output"
LATENT = "attn_norm attn_kv_a_mqa attn_kv_a_norm attn_k_b attn_v_b attn_output ffn_norm"
LAST_LAYER = {
    "gpt2-default": WITH_BIASES,
    "gpt_bigcode-multi-query": WITH_BIASES,
    "gpt_neox-parallel": WITH_BIASES,
    "falcon-7b": "attn_norm attn_norm: attn_qkv attn_output ffn_up ffn_down",
    "falcon-40b": "attn_norm attn_norm: attn_norm_2 attn_norm_2: attn_qkv attn_output ffn_up ffn_down",
    "llama-default": LLAMA,
    "llama-biases": " ".join(f"{part} {part}:" for part in LLAMA.split() if "norm" not in part) + " attn_norm ffn_norm",
    "smollm3-default": LLAMA,
    "mixtral-default": f"attn_norm {ATTENTION} ffn_norm {EXPERTS}",
    "qwen2-default": LLAMA + " attn_q: attn_k: attn_v:",
    "qwen3-default": LLAMA + " attn_q_norm attn_k_norm",
    "qwen2_moe-default": f"attn_norm {ATTENTION} attn_q: attn_k: attn_v: ffn_norm {EXPERTS} {SHARED} "
    "ffn_gate_inp_shexp",
    "qwen3_moe-default": f"attn_norm {ATTENTION} attn_q_norm attn_k_norm ffn_norm {EXPERTS}",
    "gemma-default": LLAMA,
    "gemma2-scaled-by-head": LLAMA + " post_attention_norm post_ffw_norm",
    "gemma3_text-scaled-by-head": LLAMA + " post_attention_norm post_ffw_norm attn_q_norm attn_k_norm",
    "phi3-default": "attn_norm attn_qkv attn_output ffn_norm ffn_up ffn_down",
    "olmo-default": f"{ATTENTION} ffn_gate ffn_up ffn_down",
    "olmo2-default": f"{ATTENTION} attn_q_norm attn_k_norm post_attention_norm ffn_gate ffn_up ffn_down post_ffw_norm",
    "olmoe-default": f"attn_norm {ATTENTION} attn_q_norm attn_k_norm ffn_norm {EXPERTS}",
    "granite-default": LLAMA,
    "granitemoe-default": f"attn_norm {ATTENTION} ffn_norm {EXPERTS}",
    "granitemoeshared-default": f"attn_norm {ATTENTION} ffn_norm {EXPERTS} {SHARED}",
    "deepseek_v2-default": f"{LATENT} attn_q {EXPERTS} {SHARED}",
    "deepseek_v3-default": f"{LATENT} attn_q_a attn_q_a_norm attn_q_b {EXPERTS} {SHARED} exp_probs_b:",
    "llama4_text-wide-chunk": f"attn_norm {ATTENTION} ffn_norm {EXPERTS} {SHARED}",
    "gpt_oss-default": f"attn_norm post_attention_norm attn_sinks {ATTENTION} {EXPERTS} "
    + " ".join(f"{part}:" for part in f"{ATTENTION} {EXPERTS}".split()),
}


@pytest.mark.parametrize("name", LAST_LAYER)
def test_names_of_a_layer(folder_of: Folders, tmp_path: Path, name: str) -> None:
    """Written out, so that a mistake of the name map that the writer uses is one here too; ``:`` marks a bias."""
    names = [tensor.name for tensor in GGUFReader(write_gguf(folder_of(name), tmp_path / "m.gguf")).tensors]
    last = max(int(found[1]) for key in names if (found := re.match(r"blk\.(\d+)\.", key)))
    found_names = {key.removeprefix(f"blk.{last}.") for key in names if key.startswith(f"blk.{last}.")}
    wanted = {f"{part[:-1]}.bias" if part.endswith(":") else f"{part}.weight" for part in LAST_LAYER[name].split()}
    assert found_names == wanted


def test_ends_of_a_model(folder_of: Folders, tmp_path: Path) -> None:
    def ends(name: str) -> set[str]:
        read = read_values(write_gguf(folder_of(name), tmp_path / f"{name}.gguf"))
        return {key for key in read if not key.startswith("blk.")}

    assert ends("llama-default") == {"token_embd.weight", "output_norm.weight", "output.weight"}
    assert ends("llama-tied") == {"token_embd.weight", "output_norm.weight"}
    assert ends("llama-llama3") == ends("llama-default") | {"rope_freqs.weight"}
    assert ends("olmo-default") == {"token_embd.weight", "output.weight"}
    assert ends("gpt2-default") == {
        "token_embd.weight",
        "position_embd.weight",
        "output_norm.weight",
        "output_norm.bias",
    }
    factors = {"rope_factors_long.weight", "rope_factors_short.weight"}
    assert ends("phi3-longrope-long") - ends("phi3-default") == factors


@pytest.mark.parametrize("name", ["llama-biases", "smollm3-default", "olmo-clip", "granite-default", "mixtral-default"])
def test_rotary_halves_become_neighbours(folder_of: Folders, tmp_path: Path, name: str) -> None:
    folder, config = folder_of(name), AutoConfig.from_pretrained(folder_of(name))
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    read, original = read_values(write_gguf(folder, tmp_path / "m.gguf")), weights(folder)
    for part, heads in (("q", config.num_attention_heads), ("k", config.num_key_value_heads)):
        for ending in ("weight", "bias") if name == "llama-biases" else ("weight",):
            stored = read[f"blk.1.attn_{part}.{ending}"]
            ours = original[f"model.layers.1.self_attn.{part}_proj.{ending}"]
            for row in range(heads * size):
                head, place = divmod(row, size)
                pair, which = divmod(place, 2)  # neighbours 2·pair and 2·pair + 1 were half a head apart
                assert np.array_equal(stored[row], ours[head * size + which * size // 2 + pair])


@pytest.mark.parametrize("name", ["qwen2-default", "olmo2-default", "deepseek_v2-default", "llama4_text-wide-chunk"])
def test_other_queries_stay_as_they_are(folder_of: Folders, tmp_path: Path, name: str) -> None:
    read = read_values(write_gguf(folder_of(name), tmp_path / "m.gguf"))
    assert np.array_equal(
        read["blk.1.attn_q.weight"], weights(folder_of(name))["model.layers.1.self_attn.q_proj.weight"]
    )


@pytest.mark.parametrize("name", ["gemma-default", "gemma2-scaled-by-head", "gemma3_text-scaled-by-head"])
def test_gemmas_norms_have_one_added(folder_of: Folders, tmp_path: Path, name: str) -> None:
    folder = folder_of(name)
    read, original = read_values(write_gguf(folder, tmp_path / "m.gguf")), weights(folder)
    pairs = {"output_norm": "model.norm", "blk.1.attn_norm": "model.layers.1.input_layernorm"}
    if name != "gemma-default":
        pairs["blk.1.ffn_norm"] = "model.layers.1.pre_feedforward_layernorm"
        pairs["blk.1.post_attention_norm"] = "model.layers.1.post_attention_layernorm"
        pairs["blk.1.post_ffw_norm"] = "model.layers.1.post_feedforward_layernorm"
    if name.startswith("gemma3"):
        pairs["blk.1.attn_k_norm"] = "model.layers.1.self_attn.k_norm"
    for ours, theirs in pairs.items():
        assert np.array_equal(read[f"{ours}.weight"], original[f"{theirs}.weight"] + np.float32(1))


def test_gpt2s_matrices_are_transposed(folder_of: Folders, tmp_path: Path) -> None:
    read = read_values(write_gguf(folder_of("gpt2-default"), tmp_path / "m.gguf"))
    original = weights(folder_of("gpt2-default"))
    for ours, theirs in {"attn_qkv": "attn.c_attn", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}.items():
        assert np.array_equal(read[f"blk.1.{ours}.weight"], original[f"transformer.h.1.{theirs}.weight"].T)
    assert np.array_equal(read["position_embd.weight"], original["transformer.wpe.weight"])


def test_neox_rows_are_grouped_by_kind(folder_of: Folders, tmp_path: Path) -> None:
    read = read_values(write_gguf(folder_of("gpt_neox-parallel"), tmp_path / "m.gguf"))
    original = weights(folder_of("gpt_neox-parallel"))
    heads, size = 4, 8
    for ending in ("weight", "bias"):
        stored = read[f"blk.1.attn_qkv.{ending}"]
        ours = original[f"gpt_neox.layers.1.attention.query_key_value.{ending}"]
        for kind in range(3):
            for head in range(heads):
                start, there = (kind * heads + head) * size, (head * 3 + kind) * size
                assert np.array_equal(stored[start : start + size], ours[there : there + size])


@pytest.mark.parametrize(("name", "groups"), [("falcon-7b", 1), ("falcon-40b", 2)])
def test_falcon_rows_are_grouped_by_kind(folder_of: Folders, tmp_path: Path, name: str, groups: int) -> None:
    path = write_gguf(folder_of(name), tmp_path / "m.gguf")
    stored, heads, size = read_values(path)["blk.1.attn_qkv.weight"].reshape(-1, 8, 32), 4, 8
    ours = weights(folder_of(name))["transformer.h.1.self_attention.query_key_value.weight"].reshape(-1, size, 32)
    per_group = heads // groups
    for group in range(groups):
        there = group * (per_group + 2)
        assert np.array_equal(stored[group * per_group : (group + 1) * per_group], ours[there : there + per_group])
        assert np.array_equal(stored[heads + group], ours[there + per_group])
        assert np.array_equal(stored[heads + groups + group], ours[there + per_group + 1])
    assert values_of(path)["attention.head_count_kv"] == groups


def test_falcon_40bs_norms(folder_of: Folders, tmp_path: Path) -> None:
    read = read_values(write_gguf(folder_of("falcon-40b"), tmp_path / "m.gguf"))
    original = weights(folder_of("falcon-40b"))
    assert np.array_equal(read["blk.1.attn_norm.weight"], original["transformer.h.1.ln_mlp.weight"])
    assert np.array_equal(read["blk.1.attn_norm_2.weight"], original["transformer.h.1.ln_attn.weight"])


@pytest.mark.parametrize(
    ("name", "layer", "parts"),
    [
        ("mixtral-default", "block_sparse_moe.experts", ("w1", "w3", "w2")),
        ("qwen2_moe-default", "mlp.experts", ("gate_proj", "up_proj", "down_proj")),
        ("olmoe-default", "mlp.experts", ("gate_proj", "up_proj", "down_proj")),
        ("deepseek_v3-default", "mlp.experts", ("gate_proj", "up_proj", "down_proj")),
    ],
)
def test_experts_are_stacked(folder_of: Folders, tmp_path: Path, name: str, layer: str, parts: tuple[str, ...]) -> None:
    read, original = read_values(write_gguf(folder_of(name), tmp_path / "m.gguf")), weights(folder_of(name))
    for ours, theirs in zip(("gate", "up", "down"), parts, strict=True):
        stack = read[f"blk.1.ffn_{ours}_exps.weight"]
        for expert, values in enumerate(stack):
            assert np.array_equal(values, original[f"model.layers.1.{layer}.{expert}.{theirs}.weight"])
        assert f"model.layers.1.{layer}.{len(stack)}.{parts[0]}.weight" not in original


def test_halves_of_granites_experts(folder_of: Folders, tmp_path: Path) -> None:
    name = "granitemoeshared-default"
    read, original = read_values(write_gguf(folder_of(name), tmp_path / "m.gguf")), weights(folder_of(name))
    both = original["model.layers.1.block_sparse_moe.input_linear.weight"]
    assert np.array_equal(read["blk.1.ffn_gate_exps.weight"], both[:, :48])
    assert np.array_equal(read["blk.1.ffn_up_exps.weight"], both[:, 48:])
    shared = original["model.layers.1.shared_mlp.input_linear.weight"]
    assert np.array_equal(read["blk.1.ffn_gate_shexp.weight"], shared[:28])
    assert np.array_equal(read["blk.1.ffn_up_shexp.weight"], shared[28:])


def test_llama4s_experts(folder_of: Folders, tmp_path: Path) -> None:
    name = "llama4_text-wide-chunk"
    read, original = read_values(write_gguf(folder_of(name), tmp_path / "m.gguf")), weights(folder_of(name))
    both = original["model.layers.1.feed_forward.experts.gate_up_proj"]
    for expert in range(4):
        assert np.array_equal(read["blk.1.ffn_gate_exps.weight"][expert], both[expert, :, :20].T)
        assert np.array_equal(read["blk.1.ffn_up_exps.weight"][expert], both[expert, :, 20:].T)
    down = original["model.layers.1.feed_forward.experts.down_proj"]
    assert np.array_equal(read["blk.1.ffn_down_exps.weight"], down.transpose(0, 2, 1))


def test_gpt_oss_experts_are_deinterleaved(folder_of: Folders, tmp_path: Path) -> None:
    name = "gpt_oss-default"
    read, original = read_values(write_gguf(folder_of(name), tmp_path / "m.gguf")), weights(folder_of(name))
    prefix = "model.layers.1.mlp.experts."
    both, biases = original[f"{prefix}gate_up_proj"], original[f"{prefix}gate_up_proj_bias"]
    for row in range(48):
        assert np.array_equal(read["blk.1.ffn_gate_exps.weight"][:, row], both[:, :, 2 * row])
        assert np.array_equal(read["blk.1.ffn_up_exps.weight"][:, row], both[:, :, 2 * row + 1])
        assert np.array_equal(read["blk.1.ffn_gate_exps.bias"][:, row], biases[:, 2 * row])
        assert np.array_equal(read["blk.1.ffn_up_exps.bias"][:, row], biases[:, 2 * row + 1])
    assert np.array_equal(read["blk.1.attn_sinks.weight"], original["model.layers.1.self_attn.sinks"])
    assert np.array_equal(
        read["blk.1.post_attention_norm.weight"], original["model.layers.1.post_attention_layernorm.weight"]
    )


@pytest.mark.parametrize("name", ["deepseek_v2-default", "deepseek_v3-default"])
def test_mla_in_both_forms(folder_of: Folders, tmp_path: Path, name: str) -> None:
    folder = folder_of(name)
    kv_b = weights(folder)["model.layers.1.self_attn.kv_b_proj.weight"].reshape(4, 8 + 10, 16)  # heads, nope + value
    new, old = write_gguf(folder, tmp_path / "new.gguf"), write_gguf(folder, tmp_path / "old.gguf", old_kv_b=True)
    read = read_values(new)
    for head in range(4):
        assert np.array_equal(read["blk.1.attn_k_b.weight"][head], kv_b[head, :8].T)
        assert np.array_equal(read["blk.1.attn_v_b.weight"][head], kv_b[head, 8:])
    assert np.array_equal(read_values(old)["blk.1.attn_kv_b.weight"], kv_b.reshape(-1, 16))
    sizes = ("head_count_kv", "key_length", "value_length", "key_length_mla", "value_length_mla")
    assert [values_of(new).get(f"attention.{key}") for key in sizes] == [1, 20, 16, 12, 10]
    assert [values_of(old).get(f"attention.{key}") for key in sizes] == [4, 12, 10, None, None]
    assert all(np.array_equal(restored(folder, old)[key], values) for key, values in weights(folder).items())


EXPECTED: dict[str, dict[str, Any]] = {
    "llama-default": {"vocab_size": 96, "block_count": 3, "rope.dimension_count": 8, "feed_forward_length": 48},
    "llama-linear": {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    "qwen2-yarn": {"rope.scaling.type": "yarn", "rope.scaling.original_context_length": 32, "rope.freq_base": 10000.0},
    "qwen3-default": {"attention.key_length": 12, "rope.dimension_count": None, "vocab_size": None},
    "qwen2_moe-default": {
        "expert_count": 6,
        "expert_used_count": 3,
        "expert_feed_forward_length": 20,
        "expert_shared_feed_forward_length": 28,
    },
    "gemma2-scaled-by-head": {
        "attn_logit_softcapping": 3.0,
        "final_logit_softcapping": 2.0,
        "attention.sliding_window": 12,
        "rope.freq_base": None,
    },
    "gemma3_text-scaled-by-head": {
        "rope.freq_base": 1e6,
        "rope.freq_base_swa": 1e4,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 8.0,
        "attention.sliding_window": 12,
    },
    "phi3-default": {"rope.dimension_count": 8, "attention.sliding_window": 0, "rope.scaling.attn_factor": None},
    "phi3-sliding": {"attention.sliding_window": 12},
    "phi3-partial-rotary": {"rope.dimension_count": 4},
    "gpt_neox-sequential": {"use_parallel_residual": False, "rope.dimension_count": 2},
    "gpt_neox-parallel": {"use_parallel_residual": True, "attention.head_count_kv": None},
    "falcon-40b": {"tensor_data_layout": "jploski", "context_length": 2048, "feed_forward_length": 128},
    "olmo-default": {"attention.layer_norm_epsilon": float(np.float32(1e-5)), "attention.clamp_kqv": None},
    "olmo-clip": {"attention.clamp_kqv": float(np.float32(0.6))},
    "olmo2-default": {"attention.sliding_window": None},
    "olmo3-default": {
        "attention.sliding_window": 12,
        "attention.sliding_window_pattern": [True, True, True, False],
        "rope.scaling.type": None,
    },
    "olmo3-yarn": {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0},
    "granite-default": {
        "attention.scale": float(np.float32(0.2)),
        "embedding_scale": 3.0,
        "residual_scale": float(np.float32(0.4)),
        "logit_scale": 2.5,
    },
    "granitemoeshared-default": {"expert_shared_feed_forward_length": 28, "expert_used_count": 3},
    "gpt_bigcode-multi-query": {"attention.head_count_kv": 1},
    "deepseek_v2-default": {
        "expert_gating_func": 1,
        "leading_dense_block_count": 1,
        "attention.q_lora_rank": None,
        "attention.kv_lora_rank": 16,
        "rope.dimension_count": 4,
        "expert_shared_count": 2,
        "expert_weights_scale": float(np.float32(1.7)),
        "expert_weights_norm": None,
    },
    "deepseek_v3-default": {
        "expert_gating_func": 2,
        "expert_weights_norm": True,
        "attention.q_lora_rank": 12,
        "expert_group_count": 4,
        "expert_group_used_count": 2,
        "expert_count": 8,
    },
    "llama4_text-wide-chunk": {
        "interleave_moe_layer_step": 2,
        "feed_forward_length": 48,
        "expert_feed_forward_length": 20,
        "attention.sliding_window": None,
    },
    "gpt_oss-default": {
        "attention.sliding_window": 12,
        "rope.scaling.type": "yarn",
        "rope.scaling.yarn_beta_fast": 32.0,
        "rope.scaling.yarn_beta_slow": 1.0,
        "expert_feed_forward_length": 48,
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_metadata(folder_of: Folders, tmp_path: Path, name: str) -> None:
    values = values_of(write_gguf(folder_of(name), tmp_path / "m.gguf"))
    assert {key: values.get(key) for key in EXPECTED[name]} == EXPECTED[name]
    assert len(values["tokenizer.ggml.tokens"]) == 96
    assert values["tokenizer.ggml.pre"] == "gpt-2"


def test_yarn_log_multiplier_is_a_tenth_of_mscale_all_dim(folder_of: Folders, tmp_path: Path) -> None:
    values = values_of(write_gguf(folder_of("deepseek_v3-yarn-mscale"), tmp_path / "m.gguf"))
    config = json.loads((folder_of("deepseek_v3-yarn-mscale") / "config.json").read_text())
    mscale = config["rope_parameters"]["mscale_all_dim"]
    assert values["rope.scaling.yarn_log_multiplier"] == pytest.approx(0.1 * mscale)


def test_rope_freqs_are_llama3s_divisors(folder_of: Folders, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(folder_of("llama-llama3"))
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 1.0 / (10000.0 ** (torch.arange(0, 8, 2) / 8))
    stored = read_values(write_gguf(folder_of("llama-llama3"), tmp_path / "m.gguf"))["rope_freqs.weight"]
    assert np.allclose(stored, (plain / scaled).numpy(), rtol=1e-5)
    assert stored.max() > 2


def test_longropes_factors(folder_of: Folders, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(folder_of("phi3-longrope-long"))
    path = write_gguf(folder_of("phi3-longrope-long"), tmp_path / "m.gguf")
    read = read_values(path)
    assert np.allclose(read["rope_factors_long.weight"], config.rope_parameters["long_factor"])
    assert np.allclose(read["rope_factors_short.weight"], config.rope_parameters["short_factor"])
    _, factor = ROPE_INIT_FUNCTIONS["longrope"](config, torch.device("cpu"))
    assert values_of(path)["rope.scaling.attn_factor"] == pytest.approx(factor)
    assert values_of(path)["rope.scaling.original_context_length"] == 32


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        *(("F16", 1e-3), ("BF16", 5e-3), ("Q8_0", 0.01), ("Q5_1", 0.05), ("Q5_0", 0.06), ("Q4_1", 0.08)),
        *(("Q4_0", 0.12), ("MXFP4", 0.3)),
    ],
)
def test_quantisations(folder_of: Folders, tmp_path: Path, kind: str, tolerance: float) -> None:
    folder = folder_of("qwen2_moe-default")
    path = write_gguf(folder, tmp_path / "m.gguf", quantisation=kind)
    types = {tensor.name: tensor.tensor_type for tensor in GGUFReader(path).tensors}
    assert (
        types["token_embd.weight"] == types["blk.1.attn_q.weight"] == types["blk.1.ffn_gate_exps.weight"] == Kind[kind]
    )
    for name in ("attn_norm.weight", "attn_q.bias", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight"):
        assert types[f"blk.1.{name}"] == Kind.F32
    blocks = kind not in ("F16", "BF16")
    assert types["blk.1.ffn_down_exps.weight"] == (Kind.F32 if blocks else Kind[kind])  # rows of 20
    name, original = "model.layers.1.self_attn.o_proj.weight", weights(folder)
    error = float(np.abs(restored(folder, path)[name] - original[name]).max())
    assert 0 < error < tolerance


def test_experts_may_be_quantised_alone(folder_of: Folders, tmp_path: Path) -> None:
    path = write_gguf(folder_of("gpt_oss-default"), tmp_path / "m.gguf", expert_quantisation="MXFP4")
    types = {tensor.name: tensor.tensor_type for tensor in GGUFReader(path).tensors}
    quantised = {name for name, kind in types.items() if kind != Kind.F32}
    assert {types[name] for name in quantised} == {Kind.MXFP4}
    assert quantised == {f"blk.{n}.ffn_{part}_exps.weight" for n in range(4) for part in ("gate", "up")}  # rows of 32


def test_parts(folder_of: Folders, tmp_path: Path) -> None:
    folder = folder_of("llama-default")
    first = write_gguf(folder, tmp_path / "m.gguf", parts=3)
    assert first.name == "m-00001-of-00003.gguf"
    assert sorted(tmp_path.iterdir()) == part_paths(tmp_path / "m.gguf", 3)
    readers = [GGUFReader(path) for path in part_paths(tmp_path / "m.gguf", 3)]
    assert [reader.fields["split.no"].contents() for reader in readers] == [0, 1, 2]
    assert {reader.fields["split.count"].contents() for reader in readers} == {3}
    total = sum(len(reader.tensors) for reader in readers)
    assert {reader.fields["split.tensors.count"].contents() for reader in readers} == {total}
    assert "llama.block_count" in readers[0].fields
    assert "llama.block_count" not in readers[1].fields
    assert all(np.array_equal(restored(folder, first)[name], values) for name, values in weights(folder).items())


def test_old_experts(folder_of: Folders, tmp_path: Path) -> None:
    folder = folder_of("mixtral-default")
    path = write_gguf(folder, tmp_path / "m.gguf", old_experts=True)
    read, original = read_values(path), weights(folder)
    assert not any("_exps" in name for name in read)
    for ours, theirs in {"gate": "w1", "up": "w3", "down": "w2"}.items():
        expert = original[f"model.layers.2.block_sparse_moe.experts.5.{theirs}.weight"]
        assert np.array_equal(read[f"blk.2.ffn_{ours}.5.weight"], expert)
    assert all(np.array_equal(restored(folder, path)[name], values) for name, values in original.items())


@pytest.mark.parametrize("kind", K_TYPES)
def test_random_k_tensors(folder_of: Folders, tmp_path: Path, kind: Kind) -> None:
    tensor = random_k_tensor(kind.name, (3, 4, 512), seed=1)
    assert tensor.shape == tensor.values.shape == (3, 4, 512)
    assert np.isfinite(tensor.values).all()
    assert 0.1 < tensor.values.std() < 0.5
    assert np.array_equal(tensor.data, random_k_tensor(kind, (3, 4, 512), seed=1).data)
    assert not np.array_equal(tensor.data, random_k_tensor(kind, (3, 4, 512), seed=2).data)
    with pytest.raises(ValueError, match="no whole number"):
        random_k_tensor(kind, (4, 96), seed=1)


def test_a_raw_tensor_replaces_the_writers(folder_of: Folders, tmp_path: Path) -> None:
    wide = VARIANTS["llama-default"].config | {"intermediate_size": 256}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **wide))
    model.save_pretrained(tmp_path / "wide")
    tensor = random_k_tensor("Q6_K", (32, 256), seed=3)
    path = write_gguf(tmp_path / "wide", tmp_path / "m.gguf", raw={"blk.1.ffn_down.weight": tensor})
    assert np.array_equal(read_values(path)["blk.1.ffn_down.weight"], tensor.values)
    copy = restored_folder(tmp_path / "wide", path, tmp_path / "copy")
    loaded = AutoModelForCausalLM.from_pretrained(copy)
    assert torch.equal(loaded.model.layers[1].mlp.down_proj.weight.detach(), torch.from_numpy(tensor.values))
    assert torch.equal(loaded.model.layers[0].mlp.down_proj.weight, model.model.layers[0].mlp.down_proj.weight)
    with pytest.raises(ValueError, match="no tensor"):
        write_gguf(tmp_path / "wide", tmp_path / "n.gguf", raw={"blk.9.ffn_down.weight": tensor})


def test_published_mxfp4_keeps_its_values(folder_of: Folders, tmp_path: Path) -> None:
    """Blocks as gpt-oss is published: the file's values are those that transformers unpacks."""
    stored = load_file(folder_of("gpt_oss-default") / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    name = "model.layers.1.mlp.experts.gate_up_proj"
    del stored[name]
    blocks = torch.randint(0, 256, (6, 96, 1, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(118, 130, (6, 96, 1), dtype=torch.uint8, generator=generator)
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "config.json").write_text((folder_of("gpt_oss-default") / "config.json").read_text())
    save_file(stored | {f"{name}_blocks": blocks, f"{name}_scales": scales}, folder / "model.safetensors")
    path = write_gguf(folder, tmp_path / "m.gguf")
    unpacked = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).numpy()  # (E, h, 2I)
    read = read_values(path)
    assert np.array_equal(read["blk.1.ffn_gate_exps.weight"], unpacked[:, :, ::2].transpose(0, 2, 1))
    assert np.array_equal(read["blk.1.ffn_up_exps.weight"], unpacked[:, :, 1::2].transpose(0, 2, 1))
    with pytest.raises(ValueError, match="packed"):
        restored(folder, path)


def test_fp8_is_unpacked(folder_of: Folders, tmp_path: Path) -> None:
    stored = load_file(folder_of("deepseek_v3-default") / "model.safetensors")
    name = "model.layers.0.mlp.gate_proj.weight"
    packed = stored[name].to(torch.float8_e4m3fn)
    folder = tmp_path / "fp8"
    folder.mkdir()
    (folder / "config.json").write_text((folder_of("deepseek_v3-default") / "config.json").read_text())
    scale = {f"{name}_scale_inv": torch.full((1, 1), 0.5)}
    save_file(stored | {name: packed} | scale, folder / "model.safetensors")
    read = read_values(write_gguf(folder, tmp_path / "m.gguf"))
    assert np.array_equal(read["blk.0.ffn_gate.weight"], packed.float().numpy() * np.float32(0.5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("falcon-rw", {}, "has no GGUF form"),
        ("qwen2_moe-dense-layers", {}, "no name for the tensor"),
        ("qwen2_moe-default", {"old_experts": True}, "never had one tensor per expert"),
        ("llama-default", {"old_kv_b": True}, "never had an attn_kv_b"),
    ],
)
def test_what_llama_cpp_has_not_is_refused(
    folder_of: Folders, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_gguf(folder_of(name), tmp_path / "m.gguf", **options)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("llama-dynamic", ["rope_type dynamic"]),
        ("mistral-sliding", ["sliding_window 12"]),
        ("gemma2-default", ["query_pre_attn_scalar 9"]),
        ("smollm3-every-second", ["no_rope_layers [1, 0, 1, 0]"]),
        ("llama4_text-default", ["attention_chunk_size 16", "floor_scale 6", "attn_scale 0.4"]),
        ("olmoe-clip", ["norm_topk_prob True", "clip_qkv 0.6"]),
        ("llama-default", []),
        ("gpt_oss-default", []),
        ("phi3-longrope-long", []),
        ("llama4_text-wide-chunk", []),
    ],
)
def test_lost_fields_are_named(folder_of: Folders, name: str, fields: list[str]) -> None:
    assert lost(folder_of(name)) == fields


def test_keys_can_be_replaced_and_left_out(folder_of: Folders, tmp_path: Path) -> None:
    changes = {
        "llama.rope.dimension_count": None,
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.add_bos_token": True,
    }
    values = values_of(write_gguf(folder_of("llama-default"), tmp_path / "m.gguf", metadata=changes))
    assert "rope.dimension_count" not in values
    assert values["tokenizer.ggml.pre"] == "llama-bpe"
    assert values["tokenizer.ggml.add_bos_token"] is True
