"""The shipped demo model, once in the engine and once in transformers; missing files fail every test that asks."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import engine
from engine.loading import Loaded
from tests.resources.shipped import FOLDER


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo() -> Loaded:
    """In the engine, float32."""
    return engine.load(FOLDER, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def oracle() -> Any:
    """In transformers, float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers' own making
        found = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32, attn_implementation="eager")
    return found.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def oracle_tokenizer() -> Any:
    """As transformers reads it."""
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="session")
def backend() -> Tokenizer:
    """The tokenizer as training used it."""
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
