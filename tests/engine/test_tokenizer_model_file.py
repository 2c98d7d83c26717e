"""tokenizer.model alone: a protocol buffer written here byte by byte, against the GGUF file of the same vocabulary."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import TokenizerError
from engine.tokenizer import Tokenizer
from tests.engine.test_tokenizer_sentencepiece import llama
from tests.engine.tokenizer_texts import TEXTS


def varint(number: int) -> bytes:
    groups = []
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def field(number: int, value: int | bytes | float) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value % 2**64)


def model(trainer: dict[int, Any] | None = None, normalizer: dict[int, Any] | None = None) -> bytes:
    """The vocabulary of ``llama()`` without its two added tokens, as SentencePiece stores it."""
    values = llama()
    columns = [values[f"tokenizer.ggml.{key}"][:-2] for key in ("tokens", "scores", "token_type")]
    pieces = b""
    for piece, score, kind in zip(*columns, strict=True):
        kind_field = field(3, kind) if kind != 1 else b""
        pieces += field(1, field(1, piece.encode()) + field(2, score) + kind_field)
    settings = {3: 2, 35: 1, 40: 0, 41: 1, 42: 2, 43: -1} | (trainer or {})
    rules = {1: b"identity", 2: b"", 3: 1, 4: 0, 5: 1} | (normalizer or {})
    return pieces + b"".join(
        field(number, b"".join(field(key, value) for key, value in table.items()))
        for number, table in ((2, settings), (3, rules))
    )


def save(folder: Path, data: bytes, **config: Any) -> Path:
    (folder / "tokenizer.model").write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


N = len(llama()["tokenizer.ggml.tokens"]) - 2
ADDED = {
    str(N): {"content": "<|user|>", "special": True},
    str(N + 1): {"content": "<tool call>", "special": False},
}


@pytest.mark.parametrize("prefixed", [True, False])
def test_it_gives_the_ids_of_a_gguf_file(tmp_path: Path, prefixed: bool) -> None:
    folder = save(tmp_path, model(normalizer={3: int(prefixed)}), added_tokens_decoder=ADDED)
    tokenizer = Tokenizer.from_folder(folder)
    rebuilt = Tokenizer.from_gguf(llama(**{"tokenizer.ggml.add_space_prefix": prefixed}))
    assert tokenizer is not None
    for text in (*TEXTS.values(), "a<|user|> b <tool call>c</s>"):
        ids = rebuilt.encode(text)
        assert tokenizer.encode(text, special=False) == ids
        assert tokenizer.encode(text) == [1, *ids]
        assert tokenizer.decode(ids) == rebuilt.decode(ids)
        assert tokenizer.pieces(ids) == rebuilt.pieces(ids)
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.n_vocab) == (1, (2,), N + 2)
    assert tokenizer.special_ids == rebuilt.special_ids


def test_the_begin_token_can_be_turned_off(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, model(), add_bos_token=False))
    assert tokenizer is not None
    assert tokenizer.encode("the") == tokenizer.encode("the", special=False)


BAD: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "a unigram model": (model({3: 1}), {}, "byte pair"),
    "a table of normalization": (model(None, {2: b"table"}), {}, "normalizes"),
    "removed spaces": (model(None, {4: 1}), {}, "removes spaces"),
    "spaces after words": (model({24: 1}), {}, "after words"),
    "another class": (model(), {"tokenizer_class": "GemmaTokenizer"}, "GemmaTokenizer"),
    "a gap in the added ids": (model(), {"added_tokens_decoder": {str(N + 5): {"content": "<x>"}}}, "leave ids out"),
    "nothing": (b"", {}, "not supported"),
    "a text": (b"The quick brown fox", {}, r"tokenizer\.model"),
    "cut off": (model()[:-3], {}, "cut off"),
    "a length of 2**63": (varint(1 << 3 | 2) + varint(2**63), {}, "cut off"),
    "a piece twice": (model() + field(1, field(1, b"<s>")), {}, "twice"),
    "no UTF-8": (model() + field(1, field(1, b"\xff")), {}, "UTF-8|utf-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    data, config, word = BAD[name]
    with pytest.raises(TokenizerError, match=rf"^[^\n]*({word})[^\n]*$"):
        Tokenizer.from_folder(save(tmp_path, data, **config))


MODEL = model()


@settings(deadline=None, max_examples=150)
@given(place=st.integers(0, len(MODEL) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_gives_a_tokenizer_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    folder = save(tmp_path_factory.getbasetemp(), MODEL[:place] + bytes([byte]) + MODEL[place + 1 :])
    refusal = ""
    try:
        tokenizer = Tokenizer.from_folder(folder)
    except TokenizerError as error:
        refusal = str(error)
    else:
        assert tokenizer is not None
        assert tokenizer.decode(tokenizer.encode("the cat", special=False)) is not None
    assert "\n" not in refusal
