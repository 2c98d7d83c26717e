"""config.json in both dialects, absent and null, and what is said of a bad one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MistralConfig, Qwen3Config, Qwen3ForCausalLM

import engine
import engine.families
from engine import dialect
from engine.config import AttentionSpec, LayerSpec, MLPSpec, ModelConfig, NormSpec, RopeSpec
from engine.errors import ConfigError, EngineError
from engine.families import family_of, family_of_gguf, read_config
from engine.model import mlp
from tests.engine.tiny import randomised

LLAMA_3_2_1B: dict[str, Any] = {
    "model_type": "llama",
    "attention_bias": False,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
SMALL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def test_a_real_config_becomes_specs() -> None:
    norm = NormSpec("rms", 1e-5)
    layer = LayerSpec(AttentionSpec(32, 8, 64, 0.125, "global"), MLPSpec(8192, "silu"), norm, norm)
    rope = RopeSpec(500000.0, 64, 131072, "llama3", 32.0, 8192, 1.0, 4.0)
    assert read_config(LLAMA_3_2_1B) == ModelConfig(
        family="llama",
        d_model=2048,
        d_vocab=128256,
        n_ctx=131072,
        layers=(layer,) * 16,
        ropes={"global": rope},
        final_norm=norm,
        tied=True,
        bos_token_id=128000,
        eos_token_ids=(128001, 128008, 128009),
    )
    assert layer.attention.group == 4


SCALINGS: list[dict[str, Any] | None] = [
    None,
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "dynamic", "factor": 2.0},
    dict(LLAMA_3_2_1B["rope_scaling"]),
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "truncate": False},
]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_both_dialects_give_the_same_specs(scaling: dict[str, Any] | None, tmp_path: Path) -> None:
    old = {**SMALL, "rope_theta": 77.0, "rope_scaling": scaling, "max_position_embeddings": 2048}
    LlamaConfig(**old).save_pretrained(tmp_path)
    new = json.loads((tmp_path / "config.json").read_text())
    assert "rope_parameters" in new, "this transformers no longer writes the newer dialect"
    assert "rope_theta" not in new
    assert read_config(old) == read_config(new)
    assert read_config(old).ropes["global"].theta == 77.0


def test_type_is_an_older_name_of_rope_type() -> None:
    renamed = [{**SMALL, "rope_scaling": {name: "linear", "factor": 3.0}} for name in ("type", "rope_type")]
    assert read_config(renamed[0]) == read_config(renamed[1])
    assert read_config(renamed[0]).ropes["global"].factor == 3.0


def test_original_context_at_top_level_wins_and_falls_back_to_the_context() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 100}
    values = {**SMALL, "rope_scaling": yarn, "original_max_position_embeddings": 50}
    assert read_config(values).ropes["global"].original_n_ctx == 50
    del yarn["original_max_position_embeddings"], values["original_max_position_embeddings"]
    assert read_config(values).ropes["global"].original_n_ctx == 2048


def test_dynamic_scaling_reaches_beyond_the_trained_context() -> None:
    config = read_config({**SMALL, "max_position_embeddings": 100, "rope_scaling": {"type": "dynamic", "factor": 2.5}})
    assert (config.n_ctx, config.ropes["global"].n_ctx) == (250, 100)


@pytest.mark.parametrize("oracle", [LlamaConfig(), MistralConfig(sliding_window=None)])
def test_an_absent_key_means_what_it_means_in_transformers(oracle: Any) -> None:
    read = read_config({"model_type": oracle.model_type, "sliding_window": None})
    attention = read.layers[0].attention
    assert (read.d_model, read.d_vocab, read.n_ctx) == (
        oracle.hidden_size,
        oracle.vocab_size,
        oracle.max_position_embeddings,
    )
    assert (read.n_layers, read.tied) == (oracle.num_hidden_layers, oracle.tie_word_embeddings)
    assert (attention.n_heads, attention.n_kv_heads) == (oracle.num_attention_heads, oracle.num_key_value_heads)
    assert attention.d_head == oracle.hidden_size // oracle.num_attention_heads
    assert read.layers[0].mlp == MLPSpec(oracle.intermediate_size, oracle.hidden_act)
    assert read.final_norm.eps == oracle.rms_norm_eps
    assert read.ropes["global"].theta == oracle.rope_parameters["rope_theta"]
    assert (read.bos_token_id, read.eos_token_ids) == (oracle.bos_token_id, (oracle.eos_token_id,))


def test_null_differs_from_absent() -> None:
    absent = read_config({**SMALL, "model_type": "mistral", "num_attention_heads": 8, "sliding_window": None})
    null = read_config(
        {
            **SMALL,
            "model_type": "mistral",
            "num_attention_heads": 8,
            "sliding_window": None,
            "num_key_value_heads": None,
        }
    )
    assert absent.layers[0].attention.n_kv_heads == 8
    assert null.layers[0].attention.n_kv_heads == 8
    sixteen = {**SMALL, "model_type": "mistral", "num_attention_heads": 16, "sliding_window": None}
    assert read_config(sixteen).layers[0].attention.n_kv_heads == 8
    assert read_config({**sixteen, "num_key_value_heads": None}).layers[0].attention.n_kv_heads == 16
    assert read_config({**SMALL, "eos_token_id": None}).eos_token_ids == ()
    assert read_config(SMALL).eos_token_ids == (2,)


def test_a_null_head_dim_divides_the_model_and_a_given_one_stands() -> None:
    assert read_config({**SMALL, "head_dim": None}).layers[0].attention.d_head == 8
    given = read_config({**SMALL, "head_dim": 20}).layers[0].attention
    assert (given.d_head, given.scale) == (20, 20**-0.5)


def test_attention_bias_is_on_all_four_maps_and_mlp_bias_apart() -> None:
    layer = read_config({**SMALL, "attention_bias": True}).layers[0]
    assert (layer.attention.qkv_bias, layer.attention.out_bias, layer.mlp.bias) == (True, True, False)
    layer = read_config({**SMALL, "mlp_bias": True}).layers[0]
    assert (layer.attention.qkv_bias, layer.attention.out_bias, layer.mlp.bias) == (False, False, True)


BAD: list[tuple[str, Any]] = [
    ("hidden_size", 0),
    ("hidden_size", "32"),
    ("hidden_size", 2**40),
    ("hidden_size", 32.5),
    ("vocab_size", True),
    ("vocab_size", -1),
    ("vocab_size", None),
    ("intermediate_size", []),
    ("num_hidden_layers", 10**6),
    ("num_attention_heads", float("nan")),
    ("num_key_value_heads", 0),
    ("head_dim", -8),
    ("rms_norm_eps", 0),
    ("rms_norm_eps", float("inf")),
    ("rope_theta", -1.0),
    ("rope_theta", "many"),
    ("max_position_embeddings", None),
    ("original_max_position_embeddings", "x"),
    ("hidden_act", 3),
    ("attention_bias", "yes"),
    ("tie_word_embeddings", 1),
    ("eos_token_id", "</s>"),
    ("eos_token_id", [1, "x"]),
    ("bos_token_id", True),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_value_is_an_error_that_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        read_config({**SMALL, field: value})


@pytest.mark.parametrize(
    ("scaling", "match"),
    [
        ("linear", "one flat table"),
        ({"full_attention": {"rope_theta": 1e6}, "sliding_attention": {}}, "one flat table"),
        ({"rope_type": "by-parts"}, "by-parts.*supported are default, linear, dynamic, llama3, yarn, longrope"),
        ({"rope_type": "longrope", "factor": 2.0}, r"short_factor = None; a list of 4 numbers"),
        ({"rope_type": ["linear"]}, "not supported"),
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "linear", "factor": -2}, "factor"),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.5}, "high_freq_factor"),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": "x"}, "low_freq_factor"),
        ({"rope_type": "yarn", "factor": 8.0, "beta_fast": None}, "beta_fast"),
        ({"rope_type": "yarn", "factor": 8.0, "attention_factor": 0}, "attention_factor"),
        ({"rope_type": "yarn", "factor": 8.0, "truncate": "no"}, "truncate"),
    ],
)
@pytest.mark.parametrize("dialect", ["rope_scaling", "rope_parameters"])
def test_bad_rope_parameters(dialect: str, scaling: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        read_config({**SMALL, dialect: scaling})


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="4 query heads for 3 key/value heads"):
        read_config({**SMALL, "num_key_value_heads": 3})
    with pytest.raises(ConfigError, match=r"head_dim.*32.*5 heads"):
        read_config({**SMALL, "num_attention_heads": 5})
    with pytest.raises(ConfigError, match="odd"):
        read_config({**SMALL, "head_dim": 7})


@pytest.mark.parametrize("values", [{}, {"model_type": None}, {"model_type": ["llama"]}])
def test_no_language_model(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="model_type"):
        read_config(values)


def test_an_unknown_kind_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'mamba'.*llama, .*mistral"):
        read_config({**SMALL, "model_type": "mamba"})
    with pytest.raises(ConfigError, match=r"'mamba'.*llama"):
        family_of_gguf("mamba")


@pytest.mark.parametrize(
    ("family", "key"),
    [("llama", "hidden_act"), ("gpt2", "activation_function"), ("gpt_neox", "hidden_act"), ("falcon", "activation")],
)
@pytest.mark.parametrize("name", ["swoosh", "clamped_swiglu"])
def test_an_unknown_activation_is_named_with_its_field(family: str, key: str, name: str) -> None:
    """Also gpt-oss's own, which has parameters that no config of another family gives."""
    with pytest.raises(ConfigError, match=f"says {key} = '{name}'"):
        read_config({"model_type": family, key: name})


def test_the_activations_that_a_config_may_name_are_those_there_are() -> None:
    assert set(dialect.ACTIVATIONS) == set(mlp.ACTIVATIONS)


def test_the_window_of_mistral() -> None:
    mistral = {**SMALL, "model_type": "mistral", "num_attention_heads": 8, "max_position_embeddings": 32768}
    for values, window in (({}, 4096), ({"sliding_window": 7}, 7), ({"sliding_window": None}, None)):
        assert read_config(mistral | values).layers[1].attention.window == window  # absent is not null
    for bad in ("4096", -1, True):
        with pytest.raises(ConfigError, match="sliding_window"):
            read_config({**mistral, "sliding_window": bad})


FAMILY_FILE = """
from engine.families import llama
from engine.fields import Fields
MODEL_TYPES = ("made_up",)
GGUF_ARCHITECTURES = ("made_up_gguf",)
DEFAULTS, NAMES, ignored = llama.DEFAULTS, llama.NAMES, llama.ignored
def config(fields):
    return llama.config(Fields({**fields._values, "hidden_size": 64}, DEFAULTS))
"""


def test_a_family_is_added_by_adding_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {**SMALL, "model_type": "made_up"}
    with pytest.raises(ConfigError, match="made_up"):
        read_config(values)
    (tmp_path / "made_up_family.py").write_text(FAMILY_FILE)
    monkeypatch.setattr(engine.families, "__path__", [*engine.families.__path__, str(tmp_path)])
    assert read_config(values).d_model == 64
    assert family_of(values) is family_of_gguf("made_up_gguf")


def test_the_family_in_readme_runs_as_qwen3_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen 3 is that model; the same weights under the new name give the same logits as transformers."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = readme.split("<!-- family example -->")[1].split("```python\n")[1].split("```")[0]
    (tmp_path / "yours_family.py").write_text(code)
    monkeypatch.setattr(engine.families, "__path__", [*engine.families.__path__, str(tmp_path)])
    settings = Qwen3Config(**TINY_QWEN3)
    model = randomised(Qwen3ForCausalLM(settings), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    values = {**json.loads(file.read_text()), "model_type": "yours"}
    for field in ("use_sliding_window", "layer_types", "sliding_window", "max_window_layers"):
        values.pop(field, None)
    file.write_text(json.dumps(values))
    ids = torch.arange(3, 30)[None]
    with torch.inference_mode():
        expected = model(ids).logits
    loaded = engine.load(tmp_path / "model", device="cpu", dtype="float32")
    assert loaded.config.family == "yours"
    assert (loaded.model(ids) - expected).abs().max() < 1e-4


TINY_QWEN3 = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def test_every_error_is_an_engine_error() -> None:
    assert issubclass(ConfigError, EngineError)
