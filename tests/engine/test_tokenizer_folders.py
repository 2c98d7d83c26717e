"""Folders that transformers' tokenizer classes save, read by the engine: the same ids, texts and pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers
from transformers import (
    CohereTokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    GPTNeoXTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)
from transformers.tokenization_utils_base import generate_merges

from engine.errors import TokenizerError
from engine.tokenizer import Tokenizer
from tests.engine.test_tokenizer_sentencepiece import gemma, llama
from tests.engine.tokenizer_texts import CODE, PROSE, TEXTS

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def byte_level() -> dict[str, Any]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([PROSE, CODE, *TEXTS.values()], trainer)
    state = json.loads(backend.to_str())["model"]
    return {"vocab": state["vocab"], "merges": [tuple(pair) for pair in state["merges"]]}


def sentencepiece(metadata: dict[str, Any]) -> dict[str, Any]:
    tokens = ["▁" * len(t) if t and not t.strip(" ") else t for t in metadata["tokenizer.ggml.tokens"]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = generate_merges(vocabulary, {token: -float(i) for i, token in enumerate(tokens)})
    return {"vocab": vocabulary, "merges": merges}


def saved(name: str, byte_level: dict[str, Any], folder: Path) -> PreTrainedTokenizerFast:
    ends = {"eos_token": END, "unk_token": END, "pad_token": END}
    made = {
        "gpt2": lambda: GPT2Tokenizer(**byte_level, **ends, bos_token=END),
        "gpt_neox": lambda: GPTNeoXTokenizer(**byte_level, **ends, bos_token=END),
        "qwen2": lambda: Qwen2Tokenizer(**byte_level, **ends),
        "cohere": lambda: CohereTokenizer(**byte_level, **ends, bos_token=END, add_bos_token=True),
        "llama": lambda: LlamaTokenizer(**sentencepiece(llama()), add_bos_token=True),
        "llama without a prefix": lambda: LlamaTokenizer(**sentencepiece(llama()), add_prefix_space=False),
        "gemma": lambda: GemmaTokenizer(**sentencepiece(gemma()), add_bos_token=True, add_eos_token=True),
    }[name]()
    made.save_pretrained(folder)
    return made


NAMES = ["gpt2", "gpt_neox", "qwen2", "cohere", "llama", "llama without a prefix", "gemma"]


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_folder_is_read_as_transformers_reads_it(byte_level: dict[str, Any], tmp_path: Path, name: str) -> None:
    oracle = saved(name, byte_level, tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer is not None
    for text in TEXTS.values():
        ids = tokenizer.encode(text)
        assert ids == oracle.encode(text)
        assert tokenizer.encode(text, special=False) == oracle.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == oracle.decode(ids)
        assert tokenizer.decode(ids, skip_special=True) == oracle.decode(ids, skip_special_tokens=True)
        assert b"".join(piece.raw for piece in tokenizer.pieces(ids)).decode() == tokenizer.decode(ids)
    assert tokenizer.special_ids == set(oracle.all_special_ids)
    assert tokenizer.bos_id == oracle.bos_token_id
    assert tokenizer.eos_ids == (oracle.eos_token_id,)


MUTATED = [key for key in llama() if key.startswith("tokenizer.")]
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.integers() | st.text(max_size=2) | st.floats(), max_size=3)
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(MUTATED), value=ODD, architecture=st.sampled_from(["llama", "gemma2", "phi3", 5]))
def test_odd_metadata_is_read_or_refused_in_one_sentence(key: str, value: Any, architecture: Any) -> None:
    metadata = llama(**{key: value, "general.architecture": architecture})
    try:
        tokenizer = Tokenizer.from_gguf(metadata)
    except TokenizerError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert isinstance(tokenizer.decode(tokenizer.encode("the cat")), str)
    assert "\n" not in refusal
