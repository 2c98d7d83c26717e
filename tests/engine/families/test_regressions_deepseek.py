"""DeepSeek V2 and V3: what other engines got wrong, and both ways through latent attention."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import engine
from engine.config import LatentAttentionSpec, MoESpec
from engine.errors import ConfigError
from engine.families import read_config
from engine.loading import Loaded
from tests.engine.families.compare import apart, logits_of
from tests.engine.families.oracle import Oracle, Oracles, build, load
from tests.engine.families.variants import VARIANTS, Variant
from tests.engine.gguf_files import restored_folder, write_gguf

V2_LITE: dict[str, Any] = {
    "aux_loss_alpha": 0.001,
    "first_k_dense_replace": 1,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 1408,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 40,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_group": 1,
    "topk_method": "greedy",
    "v_head_dim": 128,
    "vocab_size": 102400,
}
LATENT = ["deepseek_v2-yarn-mscale", "deepseek_v3-default", "deepseek_v3-half-split"]


def test_the_scale_of_v2_lite_has_mscale_squared() -> None:
    """Left out by transformers until July 2026 and by others: scores 1.59 times too small."""
    attention = read_config(V2_LITE).layers[0].attention
    assert isinstance(attention, LatentAttentionSpec)
    mscale = 0.1 * 0.707 * math.log(40) + 1
    assert mscale**2 == pytest.approx(1.5896, abs=1e-4)
    assert attention.scale == pytest.approx(mscale**2 / math.sqrt(192))
    assert read_config(V2_LITE).ropes["global"].attention_factor == 1.0  # mscale / mscale_all_dim


def test_shared_experts_are_one_and_the_first_layer_is_dense() -> None:
    layers = read_config(V2_LITE).layers
    assert not isinstance(layers[0].mlp, MoESpec)
    experts = layers[1].mlp
    assert isinstance(experts, MoESpec)
    assert experts.shared is not None
    assert experts.shared.d_mlp == 2 * 1408


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"norm_topk_prob": True}, "norm_topk_prob"),
        ({"topk_method": "noaux_tc"}, "topk_method"),
        ({"scoring_func": "sigmoid"}, "scoring_func"),
        ({"moe_layer_freq": 2}, "moe_layer_freq"),
        ({"topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 9}, "topk_group = 9"),
        ({"topk_method": "group_limited_greedy", "n_group": 64, "topk_group": 5}, "6 of 64 experts"),
        ({"topk_method": "group_limited_greedy", "n_group": 7, "topk_group": 7}, "n_group = 7"),
        ({"num_experts_per_tok": 65}, "num_experts_per_tok = 65"),
        ({"qk_rope_head_dim": 63}, "63 entries"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_config(V2_LITE | wrong)


@pytest.mark.parametrize("oracle", LATENT, indirect=True)
def test_made_keys_and_values_give_what_absorbed_queries_give(oracle: Oracle, loaded: Loaded) -> None:
    """Asking for keys and values of every head takes another way, in prefill and in decode."""
    wanted = [n for n in loaded.model.hook_points if n.endswith(("hook_k_nope", "attn.hook_v"))]
    ids = oracle.ids[:1]
    plain = _read(loaded, ids)
    with loaded.model.hooks(dict.fromkeys(wanted, lambda tensor, point: None)):
        made = _read(loaded, ids)
    assert apart(made, plain) <= oracle.variant.tolerance


def _read(loaded: Loaded, ids: Tensor) -> Tensor:
    cache = engine.KVCache(loaded.config, dtype=loaded.dtype, device=loaded.device)
    return torch.cat([logits_of(loaded, part, cache) for part in ids.tensor_split([30, 31, 32, 40], dim=1)], dim=1)


@pytest.mark.parametrize("point", ["kv.hook_latent", "attn.hook_k_nope", "attn.hook_v", "attn.hook_pattern"])
def test_what_a_hook_gives_back_is_used(point: str, oracles: Oracles) -> None:
    """In the last position's pass alone: head 1 or the oldest latent is taken away."""
    oracle = oracles["deepseek_v3-default"]
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    before, last = oracle.ids[:1, :-1], oracle.ids[:1, -1:]

    def without(tensor: Tensor, _: object) -> Tensor:
        changed = tensor.clone()
        index = {"attn.hook_pattern": (slice(None), 1), "kv.hook_latent": (slice(None), 0)}
        changed[index.get(point, (slice(None), slice(None), 1))] = 0
        return changed

    def read(hooks: dict) -> Tensor:
        cache = engine.KVCache(loaded.config, dtype=loaded.dtype, device=loaded.device)
        logits_of(loaded, before, cache)
        with loaded.model.hooks(hooks):
            return logits_of(loaded, last, cache)

    plain, changed = read({}), read({f"blocks.2.{point}": without})
    assert apart(plain, changed) > 1e-2


def test_taking_a_heads_values_is_taking_its_pattern(oracles: Oracles) -> None:
    """The same in the way with made keys and in the absorbed one."""
    loaded = engine.load(oracles["deepseek_v3-default"].folder, device="cpu", dtype="float32")
    ids = oracles["deepseek_v3-default"].ids

    def off(tensor: Tensor, dim: int) -> Tensor:
        changed = tensor.clone()
        changed.select(dim, 1).zero_()
        return changed

    with loaded.model.hooks({"blocks.1.attn.hook_v": lambda tensor, point: off(tensor, 2)}):
        by_values = logits_of(loaded, ids)
    with loaded.model.hooks({"blocks.1.attn.hook_pattern": lambda tensor, point: off(tensor, 1)}):
        by_pattern = logits_of(loaded, ids)
    assert apart(by_values, by_pattern) <= 1e-4


def test_the_correction_of_choices_is_never_rounded_to_16_bits(oracles: Oracles) -> None:
    """As in transformers: the correction is coarser in bfloat16 than the scores."""
    oracle = oracles["deepseek_v3-default"]
    loaded = engine.load(oracle.folder, device="cpu", dtype="bfloat16")
    stored = load_file(oracle.folder / "model.safetensors")["model.layers.1.mlp.gate.e_score_correction_bias"]
    kept = loaded.model.get_parameter("blocks.1.mlp.router.choice_bias")
    assert kept.dtype == torch.float32
    assert torch.equal(kept, stored)
    assert torch.isfinite(logits_of(loaded, oracle.ids)).all()


@pytest.mark.parametrize("oracle", ["deepseek_v2-default", "deepseek_v3-default"], indirect=True)
def test_old_gguf_files_have_keys_and_values_in_one_map(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    read = engine.load(
        write_gguf(oracle.folder, tmp_path / "m.gguf", old_kv_b=True), device=loaded.device, dtype="float32"
    )
    assert read.warnings == ()
    assert apart(logits_of(read, oracle.ids), logits_of(loaded, oracle.ids)) <= 1e-5


@pytest.mark.parametrize("oracle", ["deepseek_v2-groups"], indirect=True)
def test_a_gguf_file_of_v2_with_groups(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    """Ranked by the best expert; a file cannot say it, several groups imply it."""
    read = engine.load(write_gguf(oracle.folder, tmp_path / "m.gguf"), device=loaded.device, dtype="float32")
    assert apart(logits_of(read, oracle.ids), logits_of(loaded, oracle.ids)) <= 1e-5


def test_a_gguf_file_whose_maps_from_the_latent_are_quantised(tmp_path: Path) -> None:
    """The map to keys lies transposed, its rows are the narrow side."""
    wide = VARIANTS["deepseek_v3-default"].config | {"qk_nope_head_dim": 32, "kv_lora_rank": 64, "v_head_dim": 32}
    variant = Variant("deepseek_v3", "wide", wide)
    oracle = build(variant, tmp_path / "model")
    path = write_gguf(oracle.folder, tmp_path / "m.gguf", quantisation="Q8_0")
    folder = restored_folder(oracle.folder, path, tmp_path / "restored")
    theirs = load(folder, variant)(input_ids=oracle.ids).logits
    assert apart(engine.load(path, device="cpu", dtype="float32").model(oracle.ids), theirs) <= 1e-4
    assert apart(oracle.logits, theirs) > 1e-2


def test_a_gguf_file_with_another_score_is_refused(oracles: Oracles, tmp_path: Path) -> None:
    folder = oracles["deepseek_v2-default"].folder
    path = write_gguf(folder, tmp_path / "m.gguf", metadata={"deepseek2.expert_gating_func": 3})
    with pytest.raises(ConfigError, match="expert_gating_func = 3"):
        engine.load(path, device="cpu", dtype="float32")
