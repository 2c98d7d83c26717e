"""The figures that ``fluoroscope --self-test`` compares with: the engine's of today, and those of transformers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from app.self_checks import TOLERANCE
from resources.demo_model.expected import FILE, computed, written


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return json.loads(FILE.read_bytes())


def test_the_file_is_what_the_command_writes(stored: dict[str, Any]) -> None:
    """But for the last digits, which differ between processors."""
    found = computed()
    assert json.loads(written(found)) == found
    for name in ("prompt", "tokens"):
        assert found[name] == stored[name]
    for ours, step in zip(found["steps"], stored["steps"], strict=True):
        assert ours["ids"] == step["ids"]
        assert ours["logits"] == pytest.approx(step["logits"], abs=1e-3)


def test_transformers_chooses_the_same_by_the_same_logits(stored: dict, oracle: Any, oracle_tokenizer: Any) -> None:
    sequence = oracle_tokenizer(stored["prompt"]).input_ids
    for token, step in zip(stored["tokens"], stored["steps"], strict=True):
        logits = oracle(torch.tensor([sequence])).logits[0, -1]
        best = logits.topk(len(step["ids"]))
        assert best.indices.tolist() == step["ids"]
        assert best.values.tolist() == pytest.approx(step["logits"], abs=1e-3)
        assert int(best.indices[0]) == token
        sequence.append(token)


def test_the_tolerance_tells_tokens_apart(stored: dict[str, Any]) -> None:
    """The best token leads by far more than what is forgiven."""
    leads = [step["logits"][0] - step["logits"][1] for step in stored["steps"]]
    assert min(leads) > 10 * TOLERANCE
