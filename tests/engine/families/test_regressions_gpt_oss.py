"""gpt-oss: a yarn that does not round, a rope that is there unsaid, sinks that read nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GptOssConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import engine
from engine.config import MoESpec
from engine.errors import HookError
from engine.families import family_of_gguf, read_config
from engine.loading import Loaded
from engine.model.rope import inverse_frequencies
from tests.engine.families import oracle as transformers_side
from tests.engine.families.compare import apart, logits_of, observed
from tests.engine.families.oracle import Oracle, Oracles, build
from tests.engine.families.variants import VARIANTS, Variant
from tests.engine.gguf_files import restored_folder, write_gguf

PLAIN: dict[str, Any] = {"model_type": "gpt_oss", "bos_token_id": None, "eos_token_id": 200002}
IDS = ["gpt_oss-default"]


def test_the_rope_that_a_config_does_not_name_is_yarn_without_rounding() -> None:
    """Rounding the ends of the ramp to 8 and 18, as others do, bends the frequencies between."""
    rope = read_config(PLAIN).ropes["global"]
    ours = inverse_frequencies(rope, 100)
    theirs, factor = ROPE_INIT_FUNCTIONS["yarn"](GptOssConfig())
    assert torch.equal(ours, theirs)
    assert rope.attention_factor == pytest.approx(factor)
    low, high = (64 * math.log(4096 / (turns * 2 * math.pi)) / (2 * math.log(150000)) for turns in (32, 1))
    assert (low, high) == pytest.approx((8.09, 17.40), abs=0.01)
    plain = 1 / 150000 ** (torch.arange(0, 64, 2) / 64)
    assert torch.allclose(ours[:9], plain[:9], rtol=1e-6)  # 8 lies before the ramp
    assert not torch.allclose(ours[9:10], plain[9:10], rtol=1e-2)
    assert torch.allclose(ours[18:], plain[18:] / 32, rtol=1e-6)


def test_a_rope_that_is_named_is_not_replaced() -> None:
    named = read_config(PLAIN | {"rope_scaling": {"rope_type": "default"}}).ropes["global"]
    assert (named.scaling, named.theta) == ("default", 150000.0)
    assert read_config(PLAIN | {"rope_scaling": None}) == read_config(PLAIN)


def test_a_gguf_file_without_scaling_has_a_plain_rope() -> None:
    values = family_of_gguf("gpt-oss").gguf_values({"general.architecture": "gpt-oss"}, lambda name: None)
    assert values["rope_scaling"]["rope_type"] == "default"


def test_even_layers_slide_over_128_positions() -> None:
    config = read_config(PLAIN)
    assert [getattr(layer.attention, "window", None) for layer in config.layers[:4]] == [128, None, 128, None]
    experts = config.layers[0].mlp
    assert isinstance(experts, MoESpec)
    assert (experts.n_experts, experts.top_k, experts.expert.limit, experts.expert.alpha) == (128, 4, 7.0, 1.702)


def test_a_gguf_file_with_packed_experts(tmp_path: Path) -> None:
    """As published: experts in MXFP4, in halves of gates and ups, the rest unrounded."""
    variant = Variant("gpt_oss", "packed", VARIANTS[IDS[0]].config | {"hidden_size": 64, "intermediate_size": 32})
    oracle = build(variant, tmp_path / "model")
    path = write_gguf(oracle.folder, tmp_path / "m.gguf", expert_quantisation="MXFP4")
    folder = restored_folder(oracle.folder, path, tmp_path / "restored")
    loaded = engine.load(path, device="cpu", dtype="float32")
    theirs = transformers_side.load(folder, variant)(input_ids=oracle.ids).logits
    assert loaded.warnings == ()
    assert apart(logits_of(loaded, oracle.ids), theirs) <= 1e-4
    assert apart(logits_of(loaded, oracle.ids), oracle.logits) > 0.1


@pytest.mark.parametrize("oracle", IDS, indirect=True)
def test_sinks_take_the_same_in_decode_as_in_prefill(oracle: Oracle, loaded: Loaded) -> None:
    names = [name for name in loaded.model.hook_points if name.endswith("hook_sink")]
    whole = observed(loaded, oracle.ids[:1], names)
    cache = engine.KVCache(loaded.config, dtype=loaded.dtype, device=loaded.device)
    rows: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(tensor: Tensor, point: Any) -> None:
        rows[point.name].append(tensor.clone())

    with loaded.model.hooks(dict.fromkeys(names, keep)):
        for position in range(oracle.ids.shape[1]):
            logits_of(loaded, oracle.ids[:1, position : position + 1], cache)
    for name in names:
        assert apart(torch.cat(rows[name], dim=2), whole[name]) <= 1e-4


def test_a_great_sink_takes_everything(oracles: Oracles) -> None:
    loaded = engine.load(oracles["gpt_oss-default"].folder, device="cpu", dtype="float32")
    loaded.model.get_parameter("blocks.1.attn.sinks").fill_(1000.0)
    seen = observed(loaded, oracles["gpt_oss-default"].ids, ["blocks.1.attn.hook_sink", "blocks.1.attn.hook_z"])
    assert torch.equal(seen["blocks.1.attn.hook_sink"], torch.ones_like(seen["blocks.1.attn.hook_sink"]))
    assert not seen["blocks.1.attn.hook_z"].any()


def test_what_a_sink_took_cannot_be_replaced(oracles: Oracles) -> None:
    loaded = engine.load(oracles[IDS[0]].folder, device="cpu", dtype="float32")
    name = "blocks.0.attn.hook_sink"
    with loaded.model.hooks({name: lambda tensor, point: tensor * 0}), pytest.raises(HookError, match=name):
        logits_of(loaded, oracles[IDS[0]].ids)
