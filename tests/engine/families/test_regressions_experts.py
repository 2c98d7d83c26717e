"""Mixtures of experts beyond parity: old GGUF files, what the experts' own hook points show, how a choice is obeyed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import engine
from engine.config import MoESpec
from engine.errors import ConfigError, HookError
from engine.families import family_of_gguf, read_config
from engine.loading import Loaded
from tests.engine.families.compare import apart, logits_of, observed
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.gguf_files import write_gguf
from tests.engine.gguf_files.architectures import qwen2moe

FIRST = ("mixtral-default", "qwen2_moe-default", "qwen3_moe-default", "olmoe-default", "granitemoeshared-default")
EXPERT_POINTS = ("hook_pre", "hook_pre_linear", "hook_post", "hook_out")


@pytest.fixture(params=FIRST)
def oracle(request: pytest.FixtureRequest, oracles: Oracles) -> Oracle:
    """One variant of each family."""
    return oracles[request.param]


def _experts_of(loaded: Loaded, layer: int) -> list[str]:
    return [name for name in loaded.model.hook_points if name.startswith(f"blocks.{layer}.mlp.experts.")]


def test_old_mixtral_files_have_one_tensor_per_expert(oracles: Oracles, tmp_path: Path) -> None:
    oracle = oracles["mixtral-default"]
    stacked = engine.load(write_gguf(oracle.folder, tmp_path / "new.gguf"), device="cpu", dtype="float32")
    single = engine.load(
        write_gguf(oracle.folder, tmp_path / "old.gguf", old_experts=True), device="cpu", dtype="float32"
    )
    assert single.warnings == ()
    assert torch.equal(logits_of(single, oracle.ids), logits_of(stacked, oracle.ids))


def test_a_shared_gate_without_its_axis_of_one(
    oracles: Oracles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp's quantisation tool writes (1, d) as (d)."""
    oracle = oracles["qwen2_moe-default"]

    def squeezed(config: Any, state: Any, whole: Any = qwen2moe.tensors) -> dict[str, np.ndarray]:
        found = whole(config, state)
        return {name: t[0] if name.endswith("shared_expert_gate.weight") else t for name, t in found.items()}

    monkeypatch.setattr(qwen2moe, "tensors", squeezed)
    loaded = engine.load(write_gguf(oracle.folder, tmp_path / "m.gguf"), device="cpu", dtype="float32")
    assert apart(logits_of(loaded, oracle.ids), oracle.logits) <= 1e-4


def test_old_qwen_files_leave_out_the_widths() -> None:
    keys = {"embedding_length": 64, "feed_forward_length": 96, "expert_count": 6, "expert_used_count": 3}
    keys |= {"attention.head_count": 4, "block_count": 2}
    metadata = {"general.architecture": "qwen2moe"} | {f"qwen2moe.{key}": value for key, value in keys.items()}
    values = family_of_gguf("qwen2moe").gguf_values(metadata, lambda name: None)
    assert (values["moe_intermediate_size"], values["shared_expert_intermediate_size"]) == (32, 96)


def test_experts_show_what_transformers_weights_give(oracle: Oracle) -> None:
    """Each expert on the positions that chose it, in their order: gate, up, their product, and what it gives."""
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    names = [name for name in loaded.model.hook_points if name.startswith("blocks.1.")]
    seen = observed(loaded, oracle.ids, names)
    experts = oracle.model.model.layers[1].get_submodule(_experts_module(oracle))
    ids = seen["blocks.1.mlp.hook_expert_indices"].flatten(0, 1)
    read = _normed(loaded, seen["blocks.1.hook_resid_mid"]).flatten(0, 1)
    for expert in ids.unique().tolist():
        rows = read[(ids == expert).any(-1)]
        gate, up = (rows @ experts.gate_up_proj[expert].T).chunk(2, dim=-1)
        post = torch.nn.functional.silu(gate) * up
        expected = (gate, up, post, post @ experts.down_proj[expert].T)
        for name, tensor in zip(EXPERT_POINTS, expected, strict=True):
            assert apart(seen[f"blocks.1.mlp.experts.{expert}.{name}"], tensor) <= 1e-4


def _experts_module(oracle: Oracle) -> str:
    return "block_sparse_moe.experts" if "granite" in oracle.variant.family else "mlp.experts"


def _normed(loaded: Loaded, stream: Tensor) -> Tensor:
    with torch.inference_mode():
        return loaded.model.layers[1].ln2.recompute(stream)


def test_weighted_experts_are_what_the_mlp_routes(oracle: Oracle) -> None:
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    mlp = "blocks.0.mlp."
    names = [*_experts_of(loaded, 0), f"{mlp}hook_expert_indices", f"{mlp}hook_expert_weights", f"{mlp}hook_routed_out"]
    seen = observed(loaded, oracle.ids, names)
    ids, weights = (seen[f"{mlp}hook_expert_{what}"].flatten(0, 1) for what in ("indices", "weights"))
    summed = torch.zeros(len(ids), loaded.config.d_model)
    for expert in ids.unique().tolist():
        chosen = ids == expert
        summed[chosen.any(-1)] += seen[f"{mlp}experts.{expert}.hook_out"] * weights[chosen][:, None]
    assert apart(summed, seen[f"{mlp}hook_routed_out"].flatten(0, 1)) <= 1e-5


def test_decode_computes_the_chosen_experts_only(oracle: Oracle) -> None:
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    layers = range(loaded.config.n_layers)
    names = [name for layer in layers for name in _experts_of(loaded, layer) if name.endswith("hook_out")]
    names += [f"blocks.{layer}.mlp.hook_expert_indices" for layer in layers]
    seen = observed(loaded, oracle.ids[:1, :1], names)
    for layer in layers:
        chosen = seen[f"blocks.{layer}.mlp.hook_expert_indices"].flatten().tolist()
        fired = {int(name.split(".")[4]) for name in seen if name.startswith(f"blocks.{layer}.mlp.experts.")}
        assert fired == set(chosen)
        assert len(chosen) == len(set(chosen)) == loaded.config.layers[layer].mlp.top_k


@pytest.mark.parametrize("positions", [1, 9])
def test_a_replaced_choice_is_obeyed(positions: int, oracle: Oracle) -> None:
    """Other experts than the router's: these run, with the weights that their own scores give."""
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    spec = loaded.config.layers[0].mlp
    assert isinstance(spec, MoESpec)
    wanted = torch.arange(spec.top_k).expand(1, positions, spec.top_k)
    fired: set[int] = set()
    hooks: dict[str, Any] = {"blocks.0.mlp.hook_expert_indices": lambda tensor, point: wanted}
    for name in _experts_of(loaded, 0):
        hooks[name] = lambda tensor, point: fired.add(int(point.name.split(".")[4]))
    weights: dict[str, Tensor] = {}
    for what in ("hook_router_logits", "hook_expert_weights"):
        hooks[f"blocks.0.mlp.{what}"] = lambda tensor, point: weights.update({point.name[13:]: tensor.clone()})
    with loaded.model.hooks(hooks):
        logits_of(loaded, oracle.ids[:1, :positions])
    assert fired == set(range(spec.top_k))
    shares = weights["hook_router_logits"].softmax(-1)[..., : spec.top_k]
    if spec.renormalise or spec.score_chosen:
        shares = shares / shares.sum(-1, keepdim=True)
    assert apart(weights["hook_expert_weights"], shares) <= 1e-6


@pytest.mark.parametrize(
    ("family", "changed", "named"),
    [
        ("mixtral", {"num_experts_per_tok": 9}, "num_experts_per_tok = 9"),
        ("mixtral", {"num_local_experts": 2**30}, "num_local_experts"),
        ("mixtral", {"hidden_act": 3}, "hidden_act"),
        ("qwen2_moe", {"mlp_only_layers": "all"}, "mlp_only_layers"),
        ("qwen2_moe", {"mlp_only_layers": [0.5]}, "mlp_only_layers"),
        ("qwen2_moe", {"decoder_sparse_step": 0}, "decoder_sparse_step"),
        ("qwen2_moe", {"layer_types": ["sliding_attention"] * 24}, "layer_types"),
        ("qwen3_moe", {"norm_topk_prob": "yes"}, "norm_topk_prob"),
        ("olmoe", {"clip_qkv": -1.0}, "clip_qkv"),
        ("olmoe", {"sliding_window": 4096}, "sliding_window"),
        ("granitemoe", {"logits_scaling": 0}, "logits_scaling"),
        ("granitemoeshared", {"shared_intermediate_size": -1}, "shared_intermediate_size"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_name(family: str, changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_config({"model_type": family, **changed})


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("deepseek_v2", "n_routed_experts"),
        ("deepseek_v3", "n_routed_experts"),
        ("llama4_text", "num_local_experts"),
        ("gpt_oss", "num_local_experts"),
        ("qwen3_moe", "num_experts"),
        ("granitemoe", "num_local_experts"),
    ],
)
def test_no_family_takes_any_number_of_experts(family: str, key: str) -> None:
    """Every expert has four hook points."""
    with pytest.raises(ConfigError, match=f"{key} = 1073741824; at most"):
        read_config({"model_type": family, "num_experts_per_tok": 2, key: 2**30})


@pytest.mark.parametrize("name", ["granitemoe-default", "llama4_text-default", "gpt_oss-default", "mixtral-default"])
def test_replaced_scores_are_used_or_refused(name: str, oracles: Oracles) -> None:
    """Where weights are scores of the chosen logits alone, those of all experts are only shown."""
    oracle = oracles[name]
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    layer, spec = next((i, each.mlp) for i, each in enumerate(loaded.config.layers) if isinstance(each.mlp, MoESpec))
    with loaded.model.hooks({f"blocks.{layer}.mlp.hook_router_scores": lambda tensor, point: tensor.flip(-1)}):
        if spec.score_chosen:
            with pytest.raises(HookError, match=r"hook_router_scores only shows"):
                logits_of(loaded, oracle.ids)
        else:
            assert apart(logits_of(loaded, oracle.ids), oracle.logits) > 1e-2
