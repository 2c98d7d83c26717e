"""Folders with vocab.json and merges.txt alone, against transformers' reading of the same folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from engine.errors import TokenizerError
from engine.tokenizer import Tokenizer
from tests.engine.tokenizer_texts import CODE, PROSE, TEXTS

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([PROSE, CODE, *TEXTS.values()], trainer)
    return json.loads(backend.to_str())["model"]


def save(folder: Path, state: dict[str, Any], model_type: str = "gpt2", **config: Any) -> Path:
    (folder / "vocab.json").write_text(json.dumps(state["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in state["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


ADDED = {
    "500": {"content": "<|im_start|>", "special": True, "normalized": False},
    "501": {"content": "<think>", "special": False, "normalized": False, "rstrip": True},
}
FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2, no configuration": ("gpt2", {}),
    "gpt2": ("gpt2", {"tokenizer_class": "GPT2Tokenizer", "eos_token": END}),
    "gpt_neox": ("gpt_neox", {"tokenizer_class": "GPTNeoXTokenizerFast", "eos_token": END}),
    "qwen2": (
        "qwen2",
        {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_start|>", "added_tokens_decoder": ADDED},
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_are_those_of_transformers(tmp_path: Path, state: dict[str, Any], name: str) -> None:
    model_type, config = FOLDERS[name]
    folder = save(tmp_path, state, model_type, **config)
    tokenizer = Tokenizer.from_folder(folder)
    oracle = AutoTokenizer.from_pretrained(folder)
    assert tokenizer is not None
    for text in (*TEXTS.values(), f"a {END} b<|im_start|> c <think>  d"):
        ids = tokenizer.encode(text)
        assert ids == oracle.encode(text)
        assert tokenizer.decode(ids) == oracle.decode(ids)
    assert END in {tokenizer.piece(i).text for i in tokenizer.special_ids}


def test_added_tokens_keep_their_ids(tmp_path: Path, state: dict[str, Any]) -> None:
    folder = save(tmp_path, state, "qwen2", **FOLDERS["qwen2"][1])
    (folder / "added_tokens.json").write_text(json.dumps({"<more>": 777}))
    tokenizer = Tokenizer.from_folder(folder)
    assert tokenizer is not None
    assert tokenizer.encode("<think><|im_start|><more>") == [501, 500, 777]
    assert tokenizer.special_ids == {0, 500}
    assert tokenizer.eos_ids == (500,)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown class": ({"tokenizer_class": "RobertaTokenizer"}, "RobertaTokenizer"),
    "a space in front": ({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}, "add_prefix_space"),
    "added tokens of another kind": ({"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": [1]}, "damaged"),
    "an added token without text": ({"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {"1": {}}}, "damaged"),
    "an id that is none": (
        {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {"-5": {"content": "x"}}},
        "no id",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, state: dict[str, Any], name: str) -> None:
    config, word = BAD[name]
    with pytest.raises(TokenizerError, match=rf"^[^\n]*{word}[^\n]*$"):
        Tokenizer.from_folder(save(tmp_path, state, **config))


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        ("vocab.json", "[]", "vocab.json"),
        ("vocab.json", '{"a": "b"}', "'a'"),
        ("vocab.json", '{"a": 4294967296}', "'a'"),
        ("merges.txt", "a b c\n", "'a b c'"),
        ("merges.txt", "日 本\n", "merges.txt"),
        ("config.json", '{"model_type": 3}', "class None"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, state: dict[str, Any], file: str, content: str, word: str) -> None:
    folder = save(tmp_path, state)
    (folder / file).write_text(content)
    with pytest.raises(TokenizerError, match=rf"^[^\n]*{word}[^\n]*$"):
        Tokenizer.from_folder(folder)


def test_one_of_the_two_files_is_not_enough(tmp_path: Path, state: dict[str, Any]) -> None:
    save(tmp_path, state)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(TokenizerError, match=r"vocab\.json but no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
