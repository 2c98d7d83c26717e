"""Llama 4: the rope of Scout, models without experts, the norm that many experts go without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, Llama4TextConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import engine
from engine.config import MLPSpec
from engine.errors import ConfigError
from engine.families import family_of_gguf, read_config
from engine.loading import Loaded
from engine.model.rope import inverse_frequencies
from tests.engine.families.compare import apart, logits_of
from tests.engine.families.oracle import Oracle, Oracles, build
from tests.engine.families.variants import LLAMA4, Variant
from tests.engine.gguf_files import write_gguf

SCOUT_ROPE: dict[str, Any] = {
    "factor": 16.0,
    "high_freq_factor": 1.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
SCOUT: dict[str, Any] = {"model_type": "llama4_text", "rope_scaling": SCOUT_ROPE, "no_rope_layers": []}
ALL_DENSE: dict[str, Any] = LLAMA4 | {
    "num_local_experts": 0,
    "moe_layers": [],
    "interleave_moe_layer_step": 0,
    "no_rope_layers": [1, 1, 1, 1],
    "layer_types": ["full_attention"] * 4,
}


def test_scouts_rope_has_no_middle_band() -> None:
    """Its two bounds are one: frequencies are divided or not, none in between."""
    ours = inverse_frequencies(read_config(SCOUT).ropes["global"], 100)
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](AutoConfig.for_model(**json.loads(json.dumps(SCOUT))))
    assert torch.isfinite(ours).all()
    assert torch.equal(ours, theirs)


def test_every_fourth_layer_sees_everything_and_has_no_rope() -> None:
    attentions = [layer.attention for layer in read_config(SCOUT).layers[:8]]
    assert [attention.kind for attention in attentions] == ["chunked", "chunked", "chunked", "full"] * 2
    assert [attention.rope for attention in attentions] == ["global", "global", "global", None] * 2
    assert [getattr(attention, "temperature", None) for attention in attentions] == [None, None, None, (0.1, 8192)] * 2
    assert attentions[0].first_seen(8191) == 0
    assert attentions[0].first_seen(8192) == 8192


def test_the_first_files_say_the_temperature_by_a_number() -> None:
    assert read_config(SCOUT | {"attn_temperature_tuning": 4}) == read_config(SCOUT)
    assert read_config(SCOUT | {"attn_temperature_tuning": 0}) != read_config(SCOUT)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return build(Variant("llama4_text", "dense", ALL_DENSE), tmp_path_factory.mktemp("dense"))


def test_a_model_without_experts(dense: Oracle) -> None:
    """MobileLLM: rope and every position in all layers."""
    loaded = engine.load(dense.folder, device="cpu", dtype="float32")
    assert all(isinstance(layer.mlp, MLPSpec) for layer in loaded.config.layers)
    assert apart(logits_of(loaded, dense.ids), dense.logits) <= 1e-4


def test_a_gguf_file_without_experts(dense: Oracle, tmp_path: Path) -> None:
    path = write_gguf(dense.folder, tmp_path / "m.gguf")
    assert apart(engine.load(path, device="cpu", dtype="float32").model(dense.ids), dense.logits) <= 1e-4


def test_of_gguf_files_only_those_with_128_experts_have_no_norms_of_queries_and_keys() -> None:
    family = family_of_gguf("llama4")
    for count, normed in ((16, True), (128, False)):
        metadata = {"general.architecture": "llama4", "llama4.expert_count": count}
        assert family.gguf_values(metadata, lambda name: None)["use_qk_norm"] is normed


@pytest.mark.parametrize("oracle", ["llama4-wrapper"], indirect=True)
def test_what_sees_is_left_out_without_a_warning(oracle: Oracle, loaded: Loaded) -> None:
    assert loaded.warnings == ()
    assert loaded.config.family == "llama4_text"


@pytest.mark.parametrize("wrong", [{"moe_layers": [4]}, {"moe_layers": "all"}, {"num_experts_per_tok": 5}])
def test_layers_and_experts_that_are_not_there_are_refused(wrong: dict[str, Any], oracles: Oracles) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        read_config(oracles["llama4_text-default"].values | wrong)


def test_absent_fields_are_those_of_transformers() -> None:
    assert read_config({"model_type": "llama4_text"}) == read_config(Llama4TextConfig().to_dict())
