"""Byte-level vocabularies of every family: a GGUF file, a folder and transformers' own class give the same ids."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, trainers
from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Punctuation, Sequence, Split
from transformers import CohereTokenizer, GPT2Tokenizer, GPTNeoXTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.integrations.gguf import gguf_tokenizer_mapping as published

from engine.pre_tokenizers import _CASED_LETTERS, BOS_BY_DEFAULT, COMPOSES, IGNORE_MERGES, PRE_TOKENIZERS, splitter
from engine.tokenizer import Tokenizer
from tests.engine.tokenizer_texts import CODE, PROSE, TEXTS

BYTES = ByteLevel(add_prefix_space=False, use_regex=False)
WORDS = ByteLevel(add_prefix_space=False)
SPECIAL = ["<|endoftext|>", "<|begin|>", "<|im_end|>"]
USER_DEFINED = "<think it over>"


def isolated(*patterns: str) -> list[PreTokenizer]:
    return [Split(Regex(pattern), "isolated") for pattern in patterns]


def deepseek_words() -> str:
    """The long expression of DeepSeek V3's tokenizer.json."""
    signs = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    return signs + r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


# The pre-tokenizers of the models' own tokenizer.json: their components, not our expressions.
PUBLISHED: dict[str, list[PreTokenizer]] = {
    "gpt-2": [WORDS],
    "olmo": [WORDS],
    "smollm": [Digits(individual_digits=True), WORDS],
    "starcoder": [Digits(individual_digits=True), WORDS],
    "command-r": [Digits(individual_digits=True), WORDS],
    "falcon": [Punctuation("contiguous"), WORDS, Digits(individual_digits=False), *isolated("[0-9][0-9][0-9]")],
    "llama-bpe": [*isolated(published._LLAMA3_SPLIT), BYTES],
    "dbrx": [*isolated(published._LLAMA3_SPLIT), BYTES],
    "qwen2": [*isolated(published._QWEN2_SPLIT), BYTES],
    "gpt-4o": [*isolated(published._GPT4O_SPLIT), BYTES],
    "tekken": [*isolated(published._TEKKEN_SPLIT), BYTES],
    "deepseek-llm": [
        # the class of letters in the file is that of the cased ones, without Georgian
        *isolated(
            "[\r\n]", r"\s?[\p{Lu}\p{Ll}\p{Lt}]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+"
        ),
        Digits(individual_digits=True),
        BYTES,
    ],
    "deepseek-coder": [
        *isolated("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"),
        Digits(individual_digits=True),
        BYTES,
    ],
    "deepseek-v3": [*isolated(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", deepseek_words()), BYTES],
}
CLASSES: dict[str, type] = {
    "gpt-2": GPT2Tokenizer,
    "olmo": GPTNeoXTokenizer,
    "command-r": CohereTokenizer,
    "qwen2": Qwen2Tokenizer,
}


@pytest.fixture(scope="module")
def trained() -> Callable[[str], Backend]:
    """A tokenizer.json of 700 tokens for a pre-tokenizer by name, trained once."""
    made: dict[str, Backend] = {}

    def get(pre: str) -> Backend:
        if pre not in made:
            made[pre] = train(pre)
        return made[pre]

    return get


def train(pre: str) -> Backend:
    backend = Backend(models.BPE(ignore_merges=pre in IGNORE_MERGES))
    if pre in COMPOSES:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = Sequence(PUBLISHED[pre])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([PROSE, CODE, *TEXTS.values()] * 2, trainer)
    backend.add_tokens([AddedToken(USER_DEFINED, normalized=False)])
    return backend


def metadata_of(backend: Backend, pre: str) -> dict[str, Any]:
    """What a converter writes: the vocabulary and the merges, and the pre-tokenizer only by name."""
    state = json.loads(backend.to_str())["model"]
    tokens = [backend.id_to_token(i) for i in range(backend.get_vocab_size())]
    types = [3 if token in SPECIAL else 4 if token == USER_DEFINED else 1 for token in tokens]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in state["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def test_every_group_of_names_has_a_published_example() -> None:
    assert {PRE_TOKENIZERS[pre] for pre in PUBLISHED} == set(PRE_TOKENIZERS.values())


@pytest.mark.parametrize("pre", PUBLISHED)
def test_a_gguf_file_and_a_folder_give_the_published_ids(
    trained: Callable[[str], Backend], tmp_path: Path, pre: str
) -> None:
    backend = trained(pre)
    backend.save(str(tmp_path / "tokenizer.json"))
    folder = Tokenizer.from_folder(tmp_path)
    rebuilt = Tokenizer.from_gguf(metadata_of(backend, pre))
    oracle = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert folder is not None
    for text in (*TEXTS.values(), f"a {USER_DEFINED}{SPECIAL[2]}  b"):
        expected = oracle.encode(text, add_special_tokens=False)
        assert rebuilt.encode(text) == folder.encode(text) == expected
        assert rebuilt.pieces(expected) == folder.pieces(expected)
        whole = unicodedata.normalize("NFC", text) if pre in COMPOSES else text
        assert rebuilt.decode(expected) == whole
        assert b"".join(piece.raw for piece in rebuilt.pieces(expected)) == whole.encode()


@pytest.mark.parametrize("pre", CLASSES)
def test_transformers_own_class_gives_the_same_ids(trained: Callable[[str], Backend], pre: str) -> None:
    state = json.loads(trained(pre).to_str())["model"]
    merges = [tuple(pair) for pair in state["merges"]]
    oracle = CLASSES[pre](vocab=state["vocab"], merges=merges, unk_token=SPECIAL[0], eos_token=SPECIAL[2])
    rebuilt = Tokenizer.from_gguf(metadata_of(trained(pre), pre))
    for text in TEXTS.values():
        assert rebuilt.encode(text) == oracle.encode(text, add_special_tokens=False)


def pieces_of(splits: PreTokenizer, text: str) -> list[tuple[int, int]]:
    return [span for _, span in splits.pre_tokenize_str(text)]


ALPHABET = st.sampled_from("aZéſß你あ안😀 \t\r\n\u00a0\u3000'sSlLtT019½²٣Ⅷ.,!?_$+<`~|^-/“。！\u0301\u200d\u093eΣǅ")
SAME_CUTS = [pre for pre in PUBLISHED if pre != "falcon"]  # Falcon's cuts single bytes, which no merge crosses


@pytest.mark.parametrize("pre", SAME_CUTS)
@settings(deadline=None, max_examples=150)
@given(text=st.text(alphabet=ALPHABET))
def test_random_text_is_cut_as_published(pre: str, text: str) -> None:
    assert pieces_of(splitter(PRE_TOKENIZERS[pre]), text) == pieces_of(Sequence(PUBLISHED[pre]), text)


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet=ALPHABET))
def test_falcons_punctuation_and_hundreds_are_cut_as_published(text: str) -> None:
    signs, words, hundreds = PRE_TOKENIZERS["falcon"]
    components = [Punctuation("contiguous"), WORDS, *isolated("[0-9][0-9][0-9]")]
    assert pieces_of(splitter((signs, words, hundreds)), text) == pieces_of(Sequence(components), text)


def by_hand(text: str, digits: int) -> list[str]:
    """Llama 3's and Qwen 2's rules of cutting, written out without a regular expression."""
    parts, at = [], 0
    while at < len(text):
        end = next(end for rule in RULES if (end := rule(text, at, digits)) > at)
        parts.append(text[at:end])
        at = end
    return parts


def run(text: str, at: int, kind: Callable[[str], bool], most: int = 10**9) -> int:
    """The end of the run of characters of a kind."""
    end = at
    while end < len(text) and end - at < most and kind(text[end]):
        end += 1
    return end


def letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L"


def number(character: str) -> bool:
    return unicodedata.category(character)[0] == "N"


def space(character: str) -> bool:
    return character in " \t\r\n\u00a0\u3000"


def sign(character: str) -> bool:
    return not (letter(character) or number(character) or space(character))


def clitic(text: str, at: int, digits: int) -> int:
    rest = text[at:].replace("ſ", "s").lower()
    return at + next((len(end) for end in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if rest.startswith(end)), 0)


def word(text: str, at: int, digits: int) -> int:
    first = text[at]
    start = at if letter(first) or number(first) or first in "\r\n" else at + 1
    end = run(text, start, letter)
    return end if end > start else at


def digits_together(text: str, at: int, digits: int) -> int:
    return run(text, at, number, digits)


def signs(text: str, at: int, digits: int) -> int:
    start = at + (text[at] == " ")
    end = run(text, start, sign)
    return run(text, end, lambda character: character in "\r\n") if end > start else at


def lines(text: str, at: int, digits: int) -> int:
    blank = text[at : run(text, at, space)]
    return at + max(blank.rfind("\r"), blank.rfind("\n")) + 1


def spaces(text: str, at: int, digits: int) -> int:
    """All of a run at the end of the text; before a word, all but its last, and a single one."""
    end = run(text, at, space)
    return end if end == len(text) or end - at <= 1 else end - 1


RULES = (clitic, word, digits_together, signs, lines, spaces)


@pytest.mark.parametrize(("pre", "digits"), [("llama-bpe", 3), ("dbrx", 3), ("qwen2", 1)])
@settings(deadline=None, max_examples=300)
@given(text=st.text(alphabet=ALPHABET))
def test_the_rules_of_cutting_by_hand(pre: str, digits: int, text: str) -> None:
    cuts = Sequence(isolated(*PRE_TOKENIZERS[pre])).pre_tokenize_str(text)
    assert [piece for piece, _ in cuts] == by_hand(text, digits)


def test_deepseeks_letters_are_cased_ones() -> None:
    """A range whose end was composed to another character would hold letters of other kinds, or be empty."""
    count = 0
    for entry in _CASED_LETTERS.split():
        first, last = (int(end, 16) for end in (entry.split("-") * 2)[:2])
        assert first <= last
        for code in range(first, last + 1):
            category = unicodedata.category(chr(code))
            assert category in ("Lu", "Ll", "Lt") or category == "Cn" or code in range(0x10A0, 0x10FF)
            count += category != "Cn"
    cased = sum(unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt") for code in range(0x2C80))
    assert count > cased > 1000


def test_a_whole_piece_is_looked_up_before_merging(trained: Callable[[str], Backend]) -> None:
    metadata = metadata_of(trained("llama-bpe"), "llama-bpe")
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], "zzzyx"]
    metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], 1]
    last = len(metadata["tokenizer.ggml.tokens"]) - 1
    assert Tokenizer.from_gguf(metadata).encode("zzzyx") == [last]
    assert last not in Tokenizer.from_gguf({**metadata, "tokenizer.ggml.pre": "dbrx"}).encode("zzzyx")


@pytest.mark.parametrize("pre", PUBLISHED)
def test_the_begin_token_is_put_in_front_where_the_file_does_not_say(
    trained: Callable[[str], Backend], pre: str
) -> None:
    metadata = metadata_of(trained(pre), pre)
    asked = Tokenizer.from_gguf({**metadata, "tokenizer.ggml.add_bos_token": True})
    assert asked.encode("a")[0] == 1
    del metadata["tokenizer.ggml.add_bos_token"]
    assert (Tokenizer.from_gguf(metadata).encode("a")[0] == 1) is (pre in ("llama-bpe", "tekken"))
    assert {"llama-bpe", "tekken", "pixtral"} <= BOS_BY_DEFAULT


def test_the_ends_of_a_turn_are_known_by_their_text(trained: Callable[[str], Backend]) -> None:
    metadata = metadata_of(trained("gpt-4o"), "gpt-4o")
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]

    def ends(*more: str, kind: int = 3) -> set[str]:
        changed = {
            "tokenizer.ggml.tokens": tokens + list(more),
            "tokenizer.ggml.token_type": types + [kind] * len(more),
        }
        return {(tokens + list(more))[i] for i in Tokenizer.from_gguf({**metadata, **changed}).eos_ids}

    assert ends() == {"<|endoftext|>", "<|im_end|>"}
    assert ends("<|end|>", "<|eot_id|>") == {"<|endoftext|>", "<|im_end|>", "<|end|>", "<|eot_id|>"}
    assert ends("<|end|>", "<|return|>", "<|call|>") == {"<|endoftext|>", "<|im_end|>", "<|return|>", "<|call|>"}
    assert ends("<|end|>", kind=1) == {"<|endoftext|>", "<|im_end|>"}  # plain text that looks like one
