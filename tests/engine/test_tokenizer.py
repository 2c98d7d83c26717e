"""Tokenizers built here against independent oracles, and the real one of SmolLM2."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from engine.errors import TokenizerError
from engine.pre_tokenizers import PRE_TOKENIZERS
from engine.spelling import BYTE_ALPHABET, spelling_of
from engine.tokenizer import Extras, PieceStream, Tokenizer

TEXTS = (
    "",
    "The capital of France is",
    "\tdef f(x):\n\t\treturn x  +  12345.678\r\n\r\n",
    "emoji 😀👩‍👩‍👧 family",
    "你好,世界。こんにちは 안녕",
    "e\u0301 combining a\u0308, composed \u00e9",
    "nul \x00 and \x7f <|im_start|>user x<|im_end|>",
    "don't WE'LL I'm   three   spaces ",
)
CORPUS = [*TEXTS, "the quick brown fox jumps over the lazy dog 1234567890 " * 3]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def byte_level() -> Backend:
    """A byte-level BPE with the pre-tokenizer components that SmolLM2's own tokenizer.json has."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def save(folder: Path, backend: Backend, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def from_folder(byte_level: Backend, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = save(tmp_path_factory.mktemp("byte-level"), byte_level, bos_token=SPECIAL[1], eos_token=SPECIAL[2])
    return Tokenizer.from_folder(folder)


def gguf_metadata(backend: Backend, **changes: object) -> dict[str, object]:
    """The metadata a converter would write for a byte-level BPE."""
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    values: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in tokens],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    values.update({f"tokenizer.{key}": value for key, value in changes.items()})
    return {key: value for key, value in values.items() if value is not None}


@pytest.mark.parametrize("text", TEXTS)
def test_a_folder_and_a_gguf_file_give_what_transformers_gives(
    byte_level: Backend, from_folder: Tokenizer, text: str
) -> None:
    oracle = PreTrainedTokenizerFast(tokenizer_object=byte_level)
    rebuilt = Tokenizer.from_gguf(gguf_metadata(byte_level))
    expected = oracle.encode(text)
    assert from_folder.encode(text) == rebuilt.encode(text) == expected
    assert from_folder.decode(expected) == oracle.decode(expected, clean_up_tokenization_spaces=False)
    assert rebuilt.decode(expected, skip_special=True) == oracle.decode(
        expected, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


@settings(deadline=None, max_examples=150)
@given(text=st.text())
def test_text_comes_back_and_its_pieces_are_its_bytes(byte_level: Backend, text: str) -> None:
    tokenizer = Tokenizer(byte_level, spelling_of(byte_level.decoder), Extras())
    ids = tokenizer.encode(text)
    pieces = tokenizer.pieces(ids)
    assert tokenizer.decode(ids) == text
    assert b"".join(piece.raw for piece in pieces) == text.encode()
    ends = [0]
    for piece in pieces:
        assert piece.start == ends[-1]
        assert text.encode()[piece.start : piece.end] == piece.raw
        ends.append(piece.end)


@settings(deadline=None, max_examples=60)
@given(text=st.text(alphabet=st.sampled_from("aZé你😀 \t\r\n'019.,!_s٣Ⅷ\u0301")))
def test_single_digits_equal_digits_and_byte_level(text: str) -> None:
    parts = [pre_tokenizers.Split(Regex(split), "isolated") for split in PRE_TOKENIZERS["smollm"]]
    ours = pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    digits = pre_tokenizers.Digits(individual_digits=True)
    published = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    assert ours.pre_tokenize_str(text) == published.pre_tokenize_str(text)


SPLITS = {
    "gpt-2": ["ab", " 123", "'s", " x", "!?", " ", " y"],
    "smollm": ["ab", " ", "1", "2", "3", "'s", " x", "!?", " ", " y"],
    "llama-bpe": ["ab", " ", "123", "'s", " x", "!?", " ", " y"],
    "qwen2": ["ab", " ", "1", "2", "3", "'s", " x", "!?", " ", " y"],
    "gpt-4o": ["ab", " ", "123", "'s", " x", "!?", " ", " y"],
    "tekken": ["ab", " ", "1", "2", "3", "'s", " x", "!?", " ", " y"],
    "deepseek-v3": ["ab", " ", "123", "'s", " x", "!?", " ", " y"],
}


@pytest.mark.parametrize("pre", SPLITS)
def test_a_pre_tokenizer_splits_as_named(pre: str) -> None:
    parts = [pre_tokenizers.Split(Regex(split), "isolated") for split in PRE_TOKENIZERS[pre]]
    pieces = pre_tokenizers.Sequence(parts).pre_tokenize_str("ab 123's x!?  y")
    assert [piece for piece, _ in pieces] == SPLITS[pre]


def test_every_split_is_a_pattern_the_library_reads() -> None:
    for splits in PRE_TOKENIZERS.values():
        for split in splits:
            assert pre_tokenizers.Split(Regex(split), "isolated").pre_tokenize_str("a 1") is not None


def test_the_byte_alphabet_is_the_librarys() -> None:
    assert set(BYTE_ALPHABET) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_ALPHABET.values()) == list(range(256))


def test_special_tokens_are_added_as_the_file_says(byte_level: Backend, tmp_path: Path) -> None:
    changed = Backend.from_str(byte_level.to_str())
    changed.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[1]} $A {SPECIAL[2]}", special_tokens=[(SPECIAL[1], 1), (SPECIAL[2], 2)]
    )
    save(tmp_path, changed, bos_token={"content": SPECIAL[1]}, eos_token=SPECIAL[2])
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    tokenizer = Tokenizer.from_folder(tmp_path)
    plain = tokenizer.encode("hello", special=False)
    assert tokenizer.encode("hello") == [1, *plain, 2]
    assert tokenizer.encode("hello") == PreTrainedTokenizerFast(tokenizer_object=changed).encode("hello")
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.special_ids) == (1, (2, 0), frozenset({0, 1, 2}))
    added = Tokenizer.from_gguf(gguf_metadata(byte_level, **{"ggml.add_bos_token": True, "ggml.add_eos_token": True}))
    assert added.encode("hello") == [1, *plain, 2]
    assert added.encode("hello", special=False) == plain
    assert Tokenizer.from_gguf(gguf_metadata(byte_level, **{"ggml.pre": "llama-bpe"})).encode("")[0] == 1


def sentencepiece_metadata(**changes: object) -> dict[str, object]:
    control = ["<unk>", "<s>", "</s>"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    words = ["▁", "h", "e", "l", "o", "w", "r", "d", "he", "ll", "▁he", "llo", "▁hello", "▁w", "or", "▁wor", "ld", "▁▁"]
    tokens = control + bytes_ + words
    values: dict[str, object] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(words),
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(i) for i in range(len(words))],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    return values | {f"tokenizer.{key}": value for key, value in changes.items()}


def by_score(text: str, tokens: list[str], scores: list[float]) -> list[int]:
    """SentencePiece BPE from its definition: join the neighbours whose union scores best, the leftmost first."""
    number = {token: i for i, token in enumerate(tokens)}
    symbols = list("▁" + text.replace(" ", "▁"))
    while True:
        joins = [(-scores[number[a + b]], i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in number]
        if not joins:
            break
        i = min(joins)[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    ids: list[int] = []
    for symbol in symbols:
        ids += [number[symbol]] if symbol in number else [3 + byte for byte in symbol.encode()]
    return ids


@settings(deadline=None, max_examples=150)
@given(text=st.text(alphabet=st.sampled_from("helowrd é你😀\n"), min_size=1))
def test_sentencepiece_from_scores(text: str) -> None:
    metadata = sentencepiece_metadata()
    tokenizer = Tokenizer.from_gguf(metadata)
    ids = tokenizer.encode(text, special=False)
    assert ids == by_score(text, metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"])
    assert tokenizer.encode(text) == [1, *ids]
    assert tokenizer.decode(ids) == text
    assert b"".join(piece.raw for piece in tokenizer.pieces(ids)) == text.encode()


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_pieces_of_metaspace_are_what_its_decoder_gives(scheme: str) -> None:
    backend = Backend(models.BPE(vocab={"▁": 0, "▁a▁b": 1, "c": 2, "▁c": 3}, merges=[]))
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    tokenizer = Tokenizer(backend, spelling_of(backend.decoder), Extras())
    for ids in ([1, 3], [0, 3], [2, 0], [3, 3]):
        assert b"".join(piece.raw for piece in tokenizer.pieces(ids)).decode() == tokenizer.decode(ids)


def test_the_real_tokenizer(smollm2_gguf: Path) -> None:
    fields = gguf.GGUFReader(smollm2_gguf).fields
    metadata = {key: field.contents() for key, field in fields.items() if key.startswith("tokenizer.")}
    began = time.perf_counter()
    tokenizer = Tokenizer.from_gguf(metadata)
    assert time.perf_counter() - began < 1.5
    assert tokenizer.encode("The capital of France is") == [504, 3575, 282, 4649, 314]
    assert (tokenizer.n_vocab, tokenizer.bos_id, tokenizer.eos_ids) == (49152, 1, (2, 0))
    text = tokenizer.chat([{"role": "user", "content": "Hi"}])
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    pieces = tokenizer.pieces(tokenizer.encode(text, special=False))
    assert [piece.id for piece in pieces if piece.special] == [1, 2, 1, 2, 1]
    for sample in TEXTS:
        assert tokenizer.decode(tokenizer.encode(sample)) == sample


def test_a_stream_and_short_names(from_folder: Tokenizer) -> None:
    ids = from_folder.encode("a 😀")
    stream = PieceStream(from_folder)
    assert tuple(stream.add(token) for token in ids) == from_folder.pieces(ids)
    half = next(piece for piece in from_folder.pieces(ids) if "\ufffd" in piece.text)
    assert from_folder.vocabulary_text(half.id) == " ".join(f"{byte:02X}" for byte in half.raw)
    assert from_folder.vocabulary_text(2) == SPECIAL[2]
    padding = from_folder.n_vocab + 3
    assert from_folder.vocabulary_text(padding) == f"#{padding}"
    assert from_folder.piece(padding).raw == b""
    assert from_folder.decode([padding]) == ""


def test_the_token_of_a_text(from_folder: Tokenizer) -> None:
    for token in {*from_folder.encode("a cat, 42 times"), 2}:
        text = from_folder.piece(token).text
        assert from_folder.piece(from_folder.token_of(text)).text == text
    for text in ("a cat, 42 times", "", "😀"):
        with pytest.raises(TokenizerError, match="tokens to this model, and one is needed"):
            from_folder.token_of(text)
    ids = from_folder.encode("a cat", special=False)
    with pytest.raises(TokenizerError) as refused:
        from_folder.token_of("a cat")
    named = ", ".join(f"“{from_folder.vocabulary_text(token)}”" for token in ids)
    assert f"is {len(ids)} tokens to this model, and one is needed (they are {named})" in str(refused.value)
    with pytest.raises(TokenizerError, match=r"they are .*…"):
        from_folder.token_of("a cat, 42 times, and again 42 times, and once more")
    with pytest.raises(TokenizerError, match="surrogate"):
        from_folder.token_of("\ud800")


def test_a_stream_goes_back(from_folder: Tokenizer) -> None:
    ids, stream = from_folder.encode("a cat, 42 times"), PieceStream(from_folder)
    pieces = [stream.add(token) for token in ids]
    stream.go_back(pieces[2])
    assert [stream.add(token) for token in ids[3:]] == pieces[3:]


@pytest.mark.parametrize("bad", ["\ud800", None, 3, b"bytes", "x" * 8_000_001])
def test_what_cannot_be_encoded_is_an_error(from_folder: Tokenizer, bad: object) -> None:
    with pytest.raises(TokenizerError):
        from_folder.encode(bad)


@pytest.mark.parametrize("bad", [-1, 2**31, 2**70, "1", 1.5, None, True])
def test_what_is_no_id_is_an_error(from_folder: Tokenizer, bad: object) -> None:
    for read in (from_folder.decode, from_folder.pieces):
        with pytest.raises(TokenizerError, match="not a token id"):
            read([bad])


def test_a_folder_without_tokenizer_files_has_none(tmp_path: Path) -> None:
    assert Tokenizer.from_folder(tmp_path) is None
    (tmp_path / "spiece.model").write_bytes(b"x")
    with pytest.raises(TokenizerError, match=r"spiece\.model but no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"model": 3}', b"\xff\xfe", b'{"model":{"type":"BPE","vocab":{"a":-1}}}']
)
def test_a_damaged_tokenizer_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"^[^\n]+$"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", '"x"', "[" * 100_000])
def test_a_damaged_config_is_an_error(tmp_path: Path, byte_level: Backend, content: str) -> None:
    save(tmp_path, byte_level)
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        Tokenizer.from_folder(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(TokenizerError, match="at most"):
        Tokenizer.from_folder(tmp_path)


def test_an_unknown_decoder_is_refused(tmp_path: Path, byte_level: Backend) -> None:
    changed = Backend.from_str(byte_level.to_str())
    changed.decoder = decoders.WordPiece()
    with pytest.raises(TokenizerError, match="WordPiece"):
        Tokenizer.from_folder(save(tmp_path, changed))


def test_chat_templates_are_found_where_they_may_stand(tmp_path: Path, byte_level: Backend) -> None:
    named = [
        {"name": "tool_use", "template": "T"},
        {"name": "default", "template": "{{ messages[0].content }}{{ eos_token }}"},
    ]
    save(tmp_path, byte_level, eos_token="<|im_end|>", chat_template=named)
    assert Tokenizer.from_folder(tmp_path).chat([{"role": "user", "content": "a"}]) == "a<|im_end|>"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert Tokenizer.from_folder(tmp_path).chat([]) == "file"
    save(tmp_path / "none", byte_level)
    bare = Tokenizer.from_folder(tmp_path / "none")
    assert not bare.has_chat_template
    with pytest.raises(TokenizerError, match="no chat template"):
        bare.chat([])


BAD_GGUF = {
    "unknown pre": ({"ggml.pre": "mystery"}, "mystery"),
    "no pre": ({"ggml.pre": None}, "missing"),
    "unknown model": ({"ggml.model": "bert"}, "bert"),
    "no tokens": ({"ggml.tokens": None}, "tokens"),
    "empty tokens": ({"ggml.tokens": []}, "no tokens"),
    "tokens of another type": ({"ggml.tokens": [1, 2]}, "tokens"),
    "types of another length": ({"ggml.token_type": [1]}, "token_type"),
    "no merges": ({"ggml.merges": None}, "merges"),
    "a merge of one part": ({"ggml.merges": ["ab"]}, "merge"),
    "a merge of unknown parts": ({"ggml.merges": ["日 本"]}, "GGUF"),
    "an id out of range": ({"ggml.bos_token_id": 10**6}, "bos"),
    "an id of another type": ({"ggml.eos_token_id": "2"}, "eos"),
    "a template of another type": ({"chat_template": 5}, "chat_template"),
}


@pytest.mark.parametrize("name", BAD_GGUF)
def test_bad_gguf_metadata_is_one_sentence(byte_level: Backend, name: str) -> None:
    changes, word = BAD_GGUF[name]
    with pytest.raises(TokenizerError, match=rf"^[^\n]*{word}[^\n]*$"):
        Tokenizer.from_gguf(gguf_metadata(byte_level, **changes))


def test_user_defined_tokens_stay_whole_and_are_text(byte_level: Backend) -> None:
    metadata = gguf_metadata(byte_level)
    metadata["tokenizer.ggml.tokens"] += ["two words"]
    metadata["tokenizer.ggml.token_type"] += [4]
    tokenizer = Tokenizer.from_gguf(metadata)
    last = tokenizer.n_vocab - 1
    assert tokenizer.encode("a two words b").count(last) == 1
    assert tokenizer.piece(last).raw == b"two words"
    assert tokenizer.decode([last], skip_special=True) == "two words"
    assert last not in tokenizer.special_ids


def test_without_a_space_prefix_nothing_is_added_or_stripped() -> None:
    bare = Tokenizer.from_gguf(sentencepiece_metadata(**{"ggml.add_space_prefix": False, "ggml.add_bos_token": False}))
    assert bare.decode(bare.encode(" hello")) == " hello"
    assert bare.encode("hello") != bare.encode(" hello")
