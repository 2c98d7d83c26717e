"""What other engines got wrong about windows, longrope, two ropes and layers without rope."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import engine
from engine.config import ModelConfig
from engine.errors import ConfigError
from engine.families import family_of_gguf, read_config
from engine.loading import Loaded
from engine.model.rope import inverse_frequencies
from tests.engine.families import oracle as transformers_side
from tests.engine.families.compare import apart, logits_of, observed, read_in_parts
from tests.engine.families.oracle import Oracle, Oracles, build
from tests.engine.families.reference import reference
from tests.engine.families.variants import VARIANTS
from tests.engine.patterns import pattern_rows

LONG_FACTORS = [1.0 + 0.5 * i for i in range(48)]
SHORT_FACTORS = [1.0 + 0.01 * i for i in range(48)]
PHI_35: dict[str, Any] = {
    "model_type": "phi3",
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "sliding_window": 262144,
    "rope_theta": 10000.0,
    "rope_scaling": {"type": "longrope", "long_factor": LONG_FACTORS, "short_factor": SHORT_FACTORS},
}
OLMO_3: dict[str, Any] = {
    "model_type": "olmo3",
    "num_hidden_layers": 8,
    "max_position_embeddings": 65536,
    "sliding_window": 4096,
    "rope_theta": 500000,
    "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192},
}


@pytest.mark.parametrize("n_positions", [1, 4096, 4097, 131072])
def test_longrope_has_short_factors_up_to_the_original_context(n_positions: int) -> None:
    """Also what it is multiplied by; some engines take the long factors always."""
    rope = read_config(PHI_35).ropes["global"]
    theirs = AutoConfig.for_model(**json.loads(json.dumps(PHI_35)))
    inverse, factor = ROPE_INIT_FUNCTIONS["longrope"](theirs, seq_len=n_positions)
    assert torch.equal(inverse_frequencies(rope, n_positions), inverse)
    assert rope.attention_factor == factor > 1.1


@pytest.mark.parametrize("name", ["su", "yarn"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_longrope_had_other_names(name: str, key: str) -> None:
    table = {k: v for k, v in PHI_35["rope_scaling"].items() if k != "type"}
    assert read_config({**PHI_35, "rope_scaling": {**table, key: name}}) == read_config(PHI_35)


def test_phi_4_mini_turns_three_quarters_of_a_head() -> None:
    table = {"type": "longrope", "long_factor": LONG_FACTORS[:36], "short_factor": SHORT_FACTORS[:36]}
    values = {**PHI_35, "partial_rotary_factor": 0.75, "rope_scaling": table}
    assert read_config(values).ropes["global"].dim == 72
    with pytest.raises(ConfigError, match="a list of 36 numbers"):
        read_config({**PHI_35, "partial_rotary_factor": 0.75})


def test_only_full_layers_of_olmo_3_are_stretched() -> None:
    config = read_config(OLMO_3)
    assert [layer.attention.rope for layer in config.layers] == [*["local"] * 3, "global"] * 2
    assert [layer.attention.window for layer in config.layers] == [*[4096] * 3, None] * 2
    assert (config.ropes["global"].scaling, config.ropes["local"].scaling) == ("yarn", "default")
    assert {rope.theta for rope in config.ropes.values()} == {500_000.0}


def test_rope_scaling_added_by_hand_to_a_newer_file_counts() -> None:
    """As the model cards of Qwen tell their readers to."""
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    values = {"model_type": "qwen3", "rope_theta": 1e6, "rope_scaling": scaling}
    both = {**values, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
    theirs = AutoConfig.for_model(**json.loads(json.dumps(both))).to_dict()
    assert read_config(both) == read_config(values) == read_config(theirs)
    assert read_config(both).ropes["global"].factor == 4.0


def test_the_fourth_layer_has_no_rope_not_the_first() -> None:
    config = read_config({"model_type": "smollm3", "num_hidden_layers": 8})
    assert [layer.attention.rope for layer in config.layers] == [*["global"] * 3, None] * 2
    assert config.ropes["global"].theta == 2_000_000


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"model_type": "phi3", "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type = 'linear'.*longrope"),
        ({"model_type": "qwen2", "layer_types": ["sliding_attention"] * 32}, "sliding_attention.*use_sliding_window"),
        ({"model_type": "llama", "rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"model_type": "gemma", "rope_scaling": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"model_type": "smollm3", "layer_types": ["sliding_attention"] * 36}, "sliding_window = None"),
        ({"model_type": "smollm3", "no_rope_layers": [1, 0]}, "36 entries"),
        ({"model_type": "olmo3", "layer_types": ["chunked_attention"] * 32}, "chunked_attention"),
        ({"model_type": "granite", "attention_multiplier": 0}, "attention_multiplier = 0"),
        ({"model_type": "mistral", "layer_types": ["full_attention"] * 32}, "layer_types"),
    ],
)
def test_what_is_not_understood_is_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read_config(values)


# -- GGUF --------------------------------------------------------------------------------------------------------------


def _from_gguf(architecture: str, **more: Any) -> ModelConfig:
    """The specs of a file with just the keys that llama.cpp needs."""
    sizes = {"context_length": 64, "embedding_length": 64, "block_count": 4, "feed_forward_length": 32}
    keys = {**sizes, "attention.head_count": 4, "attention.layer_norm_rms_epsilon": 1e-5, **more}
    metadata = {"general.architecture": architecture, **{f"{architecture}.{key}": keys[key] for key in keys}}
    return read_config(family_of_gguf(architecture).gguf_values(metadata | {f"{architecture}.vocab_size": 8}, _absent))


def _absent(name: str) -> None:
    return None


@pytest.mark.parametrize("architecture", ["llama", "smollm3", "qwen2", "qwen3", "phi3", "granite", "olmo", "olmo2"])
def test_what_a_gguf_file_leaves_out(architecture: str) -> None:
    """Not what an absent key of config.json means: 4 key/value heads of SmolLM3, heads of 128 of Qwen 3, ..."""
    config = _from_gguf(architecture)
    attention = config.layers[0].attention
    assert (attention.n_kv_heads, attention.d_head, attention.scale) == (4, 16, 0.25)
    assert config.ropes["global"].theta == 10_000
    assert config.tied


def test_olmo_3_is_an_olmo_2_file_with_a_window() -> None:
    scaling = {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 8}
    config = _from_gguf("olmo2", **{"attention.sliding_window": 16, "rope.freq_base": 5e5}, **scaling)
    assert [layer.attention.window for layer in config.layers] == [16, 16, 16, None]
    assert (config.ropes["global"].scaling, config.ropes["local"].scaling) == ("yarn", "default")
    assert {rope.theta for rope in config.ropes.values()} == {500_000.0}


# -- windows longer than a block of rows, prompts longer than both ----------------------------------------------


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Oracle, Loaded]:
    """Mistral with a window of 150 and a prompt of 400."""
    given = VARIANTS["mistral-sliding"]
    config = given.config | {"sliding_window": 150, "max_position_embeddings": 512}
    oracle = build(replace(given, config=config, prompt=400), tmp_path_factory.mktemp("wide"))
    return oracle, engine.load(oracle.folder, device="cpu", dtype="float32")


@pytest.mark.parametrize("cuts", [[], [149, 150, 151], [300, *range(301, 330)], [*range(37, 400, 37)]])
def test_a_window_that_lets_go_again_and_again(cuts: list[int], wide: tuple[Oracle, Loaded]) -> None:
    oracle, loaded = wide
    assert apart(read_in_parts(loaded, oracle.ids, cuts), oracle.logits) <= 1e-4


def test_a_cancelled_pass_takes_nothing_from_the_window(wide: tuple[Oracle, Loaded]) -> None:
    """Cancelled in the last layer, when all others have appended already."""
    oracle, loaded = wide
    cache = engine.KVCache(loaded.config, batch=2, dtype=loaded.dtype, device=loaded.device)
    logits_of(loaded, oracle.ids[:, :300], cache)
    for start, end in ((300, 301), (301, 351), (351, 352)):
        part = oracle.ids[:, start:end]
        with pytest.raises(KeyboardInterrupt), loaded.model.hooks({"blocks.2.hook_attn_out": _interrupted}):
            logits_of(loaded, part, cache)
        assert apart(logits_of(loaded, part, cache), oracle.logits[:, start:end]) <= 1e-4
    assert cache.firsts == [352 - 149] * 3


def _interrupted(tensor: Tensor, point: Any) -> None:
    raise KeyboardInterrupt


# -- what is looked at later is what the pass had ----------------------------------------------

LOOKED_AT = ("mistral-sliding", "smollm3-sliding", "qwen3-default", "olmo2-default", "olmo3-yarn", "phi3-longrope-long")


@pytest.mark.parametrize("name", [*LOOKED_AT, "llama-dynamic", "olmo-clip"])
def test_a_pattern_looked_at_later_is_that_of_its_pass(name: str, oracles: Oracles) -> None:
    """Where the window has let go of keys, and where the rope has changed since."""
    oracle = oracles[name]
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    session = engine.Session(loaded)
    list(session.generate(oracle.ids[0, :28].tolist(), max_new_tokens=12))
    trace, cache = session.trace, session.cache
    assert cache.length >= 30
    again = engine.KVCache(loaded.config, dtype=loaded.dtype, device=loaded.device)
    tokens, start = torch.tensor([[*session.prompt, *session.output]]), 0
    while start < cache.length:
        end = trace.span_end(start)
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(loaded.config.n_layers)]
        seen: dict[str, Tensor] = {}
        with loaded.model.hooks(dict.fromkeys(names, lambda t, point, seen=seen: seen.update({point.name: t}))):
            logits_of(loaded, tokens[:, start:end], again)
        for layer, point in enumerate(names):
            ours = pattern_rows(loaded.model, trace, cache, layer, start, end)
            assert apart(ours[..., -seen[point].shape[-1] :], seen[point][0]) <= 1e-5
        start = end


@pytest.mark.parametrize("name", ["olmo-clip", "olmo2-default", "olmo3-yarn"])
def test_rope_tables_of_olmo_stay_float32(name: str, oracles: Oracles) -> None:
    """In bfloat16 other tables would turn far positions elsewhere."""
    oracle = oracles[name]
    theirs = transformers_side.load(oracle.folder, oracle.variant, dtype=torch.bfloat16)
    ours = engine.load(oracle.folder, device="cpu", dtype="bfloat16")
    point = "blocks.0.attn.hook_rot_k"
    expected = reference(Oracle(oracle.variant, oracle.folder, theirs), oracle.ids)[point]
    assert torch.equal(observed(ours, oracle.ids, [point])[point], expected)
    cos = [name for name in ours.model.hook_points if name.endswith("hook_cos")]
    assert all(tensor.dtype == torch.float32 for tensor in observed(ours, oracle.ids, cos).values())
    assert all(ours.model.hook_points[each].dtype == "float32" for each in cos)
