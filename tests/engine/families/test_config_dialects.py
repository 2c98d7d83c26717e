"""Both dialects of config.json, and keys that are absent or null, mean what transformers takes them to mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from engine.config import ModelConfig
from engine.errors import ConfigError
from engine.families import read_config
from tests.engine.families.dialect import old_dialect
from tests.engine.families.hub_configs import HUB
from tests.engine.families.oracle import Oracle, Oracles, with_config
from tests.engine.families.variants import VARIANTS

FIRST_OF_FAMILY = {variant.family: variant.id for variant in reversed(VARIANTS.values())}
PLAIN_FAMILIES = [family for family, first in FIRST_OF_FAMILY.items() if "text_config" not in VARIANTS[first].config]

# a size that no default can stand for may be asked for instead
SIZES = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
SIZES |= {"n_embd", "n_layer", "n_head", "num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok"}


def _as_transformers_saves(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``values`` read by transformers and written in its newer dialect."""
    AutoConfig.for_model(**json.loads(json.dumps(values))).save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def test_the_older_dialect_is_the_same_model_for_transformers(oracle: Oracle) -> None:
    old = old_dialect(oracle.values)
    assert "rope_parameters" not in json.dumps(old)
    assert "layer_types" not in json.dumps(old)
    again = with_config(oracle, AutoConfig.for_model(**old))
    assert torch.equal(again.logits, oracle.logits)


def test_both_dialects_give_one_config(oracle: Oracle) -> None:
    assert read_config(old_dialect(oracle.values)) == read_config(oracle.values)


@pytest.mark.parametrize("name", HUB)
def test_published_configs(name: str, tmp_path: Path) -> None:
    values, facts = HUB[name]
    read = read_config(values)
    attention = read.layers[0].attention
    heads = (attention.n_heads, attention.n_kv_heads, attention.d_head)
    assert (read.n_layers, read.d_model, read.d_vocab, read.n_ctx, read.tied, *heads) == facts
    assert read == read_config(_as_transformers_saves(values, tmp_path))


@pytest.mark.parametrize("how", ["absent", "null"])
@pytest.mark.parametrize("family", PLAIN_FAMILIES)
def test_a_key_that_is_missing(family: str, how: str, oracles: Oracles) -> None:
    """One key after the other: read as transformers completes it, where that is a config at all."""
    values = oracles[FIRST_OF_FAMILY[family]].values
    compared = 0
    for key in values.keys() - {"model_type"}:
        changed = {name: value for name, value in values.items() if name != key}
        changed |= {key: None} if how == "null" else {}
        complete = _completed(changed)
        if complete is not None:
            read = _read(changed)
            assert read == _read(complete) or (read is None and key in SIZES), f"{key} is {how}"
            compared += read is not None
    assert compared >= 5


def _completed(values: dict[str, Any]) -> dict[str, Any] | None:
    """Every field as transformers sees it; None where it takes this for no config."""
    try:
        return AutoConfig.for_model(**json.loads(json.dumps(values))).to_dict() | {"dtype": "float32"}
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError):
        return None


def _read(values: dict[str, Any]) -> ModelConfig | None:
    """None where the engine refuses: some defaults of transformers fit no small model (8 key heads for 4 heads)."""
    try:
        return read_config(values)
    except ConfigError:
        return None
