"""Configs that nobody wrote: drawn inside each family's legal space, and damaged in every way.

Legal ones compute what transformers computes. Damaged ones are refused with a sentence at once, or are still legal.
``FLUOROSCOPE_FUZZ=200 pytest tests/engine/test_fuzz_config.py`` draws 200 legal and 2,000 damaged configs of each
family, other ones in each run.
"""

from __future__ import annotations

import copy
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

import engine
from engine.errors import EngineError
from engine.families import family_of, read_config, slots_of
from tests.engine.families.compare import apart
from tests.engine.families.oracle import build
from tests.engine.families.variants import VARIANTS, Variant

Values = dict[str, Any]

LARGE = int(os.environ.get("FLUOROSCOPE_FUZZ", "0"))
LEGAL, DAMAGED = LARGE or 3, 10 * LARGE or 80
QUIET = {"deadline": None, "database": None, "derandomize": not LARGE, "suppress_health_check": list(HealthCheck)}
TOLERANCE = 1e-3  # a field that is read wrongly moves logits by more than 0.01; sizes drawn large round more

FIRST = {variant.family: variant for variant in reversed(VARIANTS.values())}  # of each family
BASES = dict(sorted((variant.id, variant) for variant in FIRST.values()))
NESTED = ("text_config", "rope_parameters")  # tables whose fields are damaged too

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2.5, -0.5, 1e-5, 999, 10_000, 2**31 - 1, 2**63, 10**40, 1e308, float("nan")),
    *("", "junk", "x" * 5000, [], [1], [None] * 8, ["x"] * 3, [10**9] * 8, {}, {"a": {"b": [1]}}, [[[]]]),
    *({"rope_type": "yarn"}, {"rope_type": "default", "factor": {}}, {"quant_method": "gptq"}),
)


@cache
def _base(name: str) -> str:
    """The whole config.json of a variant, in the newer dialect."""
    variant = BASES[name]
    config = AutoConfig.for_model(variant.family, **copy.deepcopy(variant.config))
    return config.to_json_string(use_diff=False)


def _tables(values: Values) -> list[Values]:
    """The config's tables: itself and those inside."""
    inner = [values[key] for key in NESTED if isinstance(values.get(key), dict)]
    return [values, *(table for each in inner for table in _tables(each))]


@st.composite
def damaged(draw: st.DrawFn, name: str) -> Values:
    """One to three fields dropped or replaced by what they cannot be."""
    values = json.loads(_base(name))
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(_tables(values)))
        if not table:
            continue
        key = draw(st.sampled_from(sorted(table)))
        if draw(st.integers(0, 4)):
            table[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        else:
            del table[key]
    return values


def _refused(values: Values) -> str:
    """The sentence by which a config is refused, "" for one that is not."""
    try:
        family = family_of(values)
        slots_of(family, read_config(values), lambda name: False)
    except EngineError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", BASES)
def test_a_damaged_config_is_refused_with_a_sentence_or_still_legal(name: str) -> None:
    """Nothing but EngineError, in less than a second."""
    outcomes: list[bool] = []

    @settings(max_examples=DAMAGED, **QUIET)
    @given(damaged(name))
    def try_one(values: Values) -> None:
        began = time.process_time()
        sentence = _refused(values)
        assert time.process_time() - began < 1
        assert "\n" not in sentence
        assert len(sentence) < 700
        outcomes.append(bool(sentence))

    assert not _refused(json.loads(_base(name)))
    try_one()
    assert any(outcomes)


@pytest.mark.parametrize("name", BASES)
def test_a_damaged_config_beside_sound_weights(name: str, tmp_path: Path) -> None:
    """What is not refused loads: all that the weights must fit is checked before anything is allocated."""
    build(BASES[name], tmp_path)
    whole = json.loads((tmp_path / "config.json").read_text())

    @settings(max_examples=LARGE or 4, **QUIET)
    @given(damaged(name))
    def try_one(values: Values) -> None:
        (tmp_path / "config.json").write_text(json.dumps(values))
        began = time.process_time()
        try:
            loaded = engine.load(tmp_path, device="cpu", dtype="float32")
        except EngineError:
            loaded = None
        assert time.process_time() - began < 1
        if loaded is not None:
            logits = loaded.model(torch.arange(3, 20)[None])
            assert logits.shape == (1, 17, loaded.config.d_vocab)

    try_one()
    (tmp_path / "config.json").write_text(json.dumps(whole))
    engine.load(tmp_path, device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("mixtral-default", "num_local_experts", 2**31 - 1, "num_local_experts = 2147483647"),
        ("mixtral-default", "num_local_experts", 10_000, "lack the tensor .* and 999 more"),
        ("deepseek_v3-default", "n_routed_experts", 10_000, "lack the tensor .* and 999 more"),
        ("llama-default", "num_hidden_layers", 10_000, "no model has that many layers"),
        (
            "llama-default",
            "vocab_size",
            2**31 - 1,
            r"the configuration needs \[2147483647, 32\]",
        ),
        ("llama-default", "max_position_embeddings", 2**31 - 1, ""),
    ],
)
def test_a_huge_number_takes_no_time_and_no_memory(name: str, key: str, value: int, words: str, tmp_path: Path) -> None:
    """It stands in the config beside small weights; what only bounds the context is taken as it is."""
    build(BASES[name], tmp_path)
    values = json.loads((tmp_path / "config.json").read_text()) | {key: value}
    (tmp_path / "config.json").write_text(json.dumps(values))
    began = time.process_time()
    if words:
        with pytest.raises(EngineError, match=words):
            engine.load(tmp_path, device="cpu")
    else:
        engine.load(tmp_path, device="cpu").model(torch.arange(3, 20)[None])
    assert time.process_time() - began < 1


def _sizes(heads: str, kv_heads: str | None, hidden: str, layers: str, width: str | None) -> Any:
    """Any small sizes that fit each other; ``heads`` ... are the family's names for them."""

    @st.composite
    def draw_sizes(draw: st.DrawFn, own: Values) -> Values:
        groups, count = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 4]))
        chosen = {heads: groups * count, hidden: groups * count * draw(st.sampled_from([8, 16]))}
        if kv_heads is not None and own.get(kv_heads) is not None:
            chosen[kv_heads] = count if own[kv_heads] != own[heads] else groups * count
        if width is not None and width in own:
            chosen[width] = draw(st.sampled_from([16, 44]))
        if "layer_types" not in own and "moe_layers" not in own and "no_rope_layers" not in own:
            chosen[layers] = draw(st.integers(1, 5))
        return chosen

    return draw_sizes


_COMMON = _sizes("num_attention_heads", "num_key_value_heads", "hidden_size", "num_hidden_layers", "intermediate_size")
_GPT2 = _sizes("n_head", None, "n_embd", "n_layer", "n_inner")

# fields of many families, and any of the values that they may have
FREE: dict[str, tuple[Any, ...]] = {
    "sliding_window": (3, 7, 20),
    "attention_chunk_size": (5, 16),
    "head_dim": (8, 10, 16),
    "tie_word_embeddings": (True, False),
    "rms_norm_eps": (1e-6, 1e-3),
    "layer_norm_eps": (1e-6, 1e-3),
    "layer_norm_epsilon": (1e-6, 1e-3),
    "attention_bias": (True, False),
    "mlp_bias": (True, False),
    "norm_topk_prob": (True, False),
    "num_experts_per_tok": (1, 2, 3),
    "moe_intermediate_size": (12, 20),
    "n_shared_experts": (1, 3),
    "first_k_dense_replace": (0, 1),
    "routed_scaling_factor": (0.5, 2.5),
    "kv_lora_rank": (8, 20),
    "qk_nope_head_dim": (4, 10),
    "qk_rope_head_dim": (4, 8),
    "v_head_dim": (6, 12),
    "attn_logit_softcapping": (2.0, 30.0),
    "final_logit_softcapping": (2.0, 30.0),
    "query_pre_attn_scalar": (5, 64),
    "embedding_multiplier": (0.5, 4.0),
    "residual_multiplier": (0.3, 1.0),
    "attention_multiplier": (0.1, 0.4),
    "logits_scaling": (0.5, 4.0),
    "clip_qkv": (0.3, 2.0),
    "max_window_layers": (0, 1, 2),
    "swiglu_limit": (0.3, 7.0),
}


def _fixed(variant: Variant) -> bool:
    """Falcon's and longrope's sizes are told by other fields too; a wrapper's are those of its text model."""
    text = json.dumps(variant.config)
    return "text_config" in text or '_factor": [' in text or variant.family == "falcon"


@st.composite
def legal(draw: st.DrawFn, variant: Variant) -> Variant:
    """The variant in other sizes, with other values of the fields that it has."""
    own = copy.deepcopy(variant.config)
    if "text_config" in own:
        return variant
    free = [key for key in FREE if own.get(key) is not None and not isinstance(own[key], dict)]
    changed = {key: draw(st.sampled_from(FREE[key])) for key in free}
    if not _fixed(variant):
        changed |= draw((_GPT2 if "n_embd" in own else _COMMON)(own))
    if "kv_lora_rank" in own:
        changed["num_key_value_heads"] = changed["num_attention_heads"]
    prompt = draw(st.integers(1, 60))
    config = own | changed
    return Variant(variant.family, "drawn", config, eager=True, prompt=prompt, seed=draw(st.integers(0, 99)))


@pytest.mark.parametrize("name", BASES)
def test_legal_configs_compute_what_transformers_computes(name: str, tmp_path: Path) -> None:
    kin = [variant for variant in VARIANTS.values() if variant.family == BASES[name].family]
    kin = [variant for variant in kin if variant.decodes_as_prefill]

    @settings(max_examples=LEGAL, **QUIET)
    @given(st.sampled_from(kin).flatmap(legal))
    def try_one(variant: Variant) -> None:
        oracle = build(variant, tmp_path)
        loaded = engine.load(tmp_path, device="cpu", dtype="float32")
        assert loaded.warnings == ()
        theirs = oracle.logits
        assert apart(loaded.model(oracle.ids), theirs) <= TOLERANCE * max(1.0, float(theirs.abs().max()))

    try_one()
