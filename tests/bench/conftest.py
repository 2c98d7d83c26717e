"""A tiny model as a GGUF file, which every side can load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.gguf_writer import write_gguf
from tests.engine.tiny import tiny_llama


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama of three layers with a tokenizer of its own; no token ends its runs."""
    folder = tmp_path_factory.mktemp("bench")
    model = tiny_llama(folder / "tiny", bos_token_id=None, eos_token_id=None, max_position_embeddings=256)
    endless = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.bos_token_id": None}
    return write_gguf(folder / "tiny.gguf", model, metadata=endless)
