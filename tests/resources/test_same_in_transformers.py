"""The shipped model in the engine and in transformers: the same logits, the same experts, the same tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import engine
from engine.loading import Loaded
from tests.resources.shipped import TEXTS, TOLERANCE, ids

KINDS = pytest.mark.parametrize("kind", TEXTS)


def apart(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


def test_transformers_opens_it_as_mixtral(oracle: Any, demo: Loaded) -> None:
    assert type(oracle).__name__ == "MixtralForCausalLM"
    assert oracle.num_parameters() == demo.parameters


@KINDS
def test_prefill(demo: Loaded, oracle: Any, kind: str) -> None:
    given = ids(demo, kind)
    assert apart(demo.model(given), oracle(given).logits) <= TOLERANCE


@KINDS
def test_decode(demo: Loaded, oracle: Any, kind: str) -> None:
    given, cache = ids(demo, kind), engine.KVCache(demo.config)
    parts = [demo.model(part, cache) for part in (given[:, :5], *given[:, 5:].split(1, dim=1))]
    assert apart(torch.cat(parts, dim=1), oracle(given).logits) <= TOLERANCE


@KINDS
def test_experts_chosen(demo: Loaded, oracle: Any, kind: str) -> None:
    given, chosen = ids(demo, kind), []
    names = [f"blocks.{layer}.mlp.hook_expert_indices" for layer in range(demo.config.n_layers)]
    with demo.model.hooks(dict.fromkeys(names, lambda found, point: chosen.append(found[0].sort(-1).values))):
        demo.model(given)
    theirs = oracle(given, output_router_logits=True).router_logits
    assert len(chosen) == len(theirs) == 6
    for ours, logits in zip(chosen, theirs, strict=True):
        assert torch.equal(ours, logits.view(-1, 8).topk(2).indices.sort(-1).values)


@KINDS
def test_tokens(demo: Loaded, oracle_tokenizer: Any, kind: str) -> None:
    assert demo.tokenizer is not None
    ours = demo.tokenizer.encode(TEXTS[kind])
    assert ours == oracle_tokenizer(TEXTS[kind]).input_ids
    assert demo.tokenizer.decode(ours) == oracle_tokenizer.decode(ours) == TEXTS[kind]


def test_every_digit_is_a_token_and_an_equals_sign_one(demo: Loaded) -> None:
    assert demo.tokenizer is not None
    pieces = [demo.tokenizer.decode([token]) for token in demo.tokenizer.encode("12 + 30 = 42\n")]
    assert pieces == ["1", "2", " +", " ", "3", "0", " =", " ", "4", "2", "\n"]


def test_a_text_beyond_ascii_comes_back(demo: Loaded) -> None:
    assert demo.tokenizer is not None
    assert demo.tokenizer.decode(demo.tokenizer.encode("Dornröschen schläft 100 Jahre – 睡")) == (
        "Dornröschen schläft 100 Jahre – 睡"
    )
