"""Models that many engine tests share: a tiny random one and the real SmolLM2, each with its transformers oracle."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import engine
from engine.loading import Loaded
from tests.engine.tiny import tiny_llama


@dataclass(frozen=True)
class Pair:
    """One set of weights twice: in the engine and in transformers (eager attention, so that patterns can be had)."""

    loaded: Loaded
    oracle: Any


def pair(folder: Path, dtype: str = "float32", **overrides: Any) -> Pair:
    """A tiny random llama on both sides."""
    oracle = tiny_llama(folder, **{"attn_implementation": "eager", **overrides})
    oracle = oracle.to(getattr(torch, dtype)).requires_grad_(False)
    return Pair(engine.load(folder, device="cpu", dtype=dtype), oracle)


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Three layers, 4 query heads on 2 key/value heads of 8, context 512."""
    return pair(tmp_path_factory.mktemp("tiny"), max_position_embeddings=512)


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path) -> Loaded:
    """The real model in the engine."""
    return engine.load(smollm2_gguf, device="cpu")


@pytest.fixture(scope="session")
def smollm2_pair(smollm2: Loaded, smollm2_gguf: Path) -> Pair:
    """The real model on both sides, from the same file (transformers takes about 20 s to read it)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers' own making
        oracle = AutoModelForCausalLM.from_pretrained(
            smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32, attn_implementation="eager"
        )
    return Pair(smollm2, oracle.eval())
