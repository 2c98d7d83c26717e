"""A byte-level tokenizer from ``vocab.json`` and ``merges.txt``, which old folders of GPT-2 and Qwen have alone.

The files say nothing of how text is split; the class in tokenizer_config.json or the model type in config.json does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from engine.errors import TokenizerError
from engine.pre_tokenizers import COMPOSES, PRE_TOKENIZERS, splitter
from engine.tokenizer import backend_call, read_table, read_text

LARGEST_VOCABULARY = 2**22
# the split by transformers' class, and by model type where no class is named
SPLITS = {"GPT2Tokenizer": "gpt-2", "GPTNeoXTokenizer": "olmo", "Qwen2Tokenizer": "qwen2"}
CLASSES = {"gpt2": "GPT2Tokenizer", "gpt_neox": "GPTNeoXTokenizer", "qwen2": "Qwen2Tokenizer"}


def read_vocabulary_files(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer of a folder whose tokenizer_config.json is ``config``. Raises TokenizerError."""
    pre = _split_name(folder, config)
    added = added_tokens(folder, config)
    vocabulary = _numbers(read_table(folder / "vocab.json"), "vocab.json")
    vocabulary |= {token.content: number for number, token in added.items()}
    merges = _merges(read_text(folder / "merges.txt"))
    backend = backend_call(
        "be built from vocab.json and merges.txt", lambda: tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    )
    if pre in COMPOSES:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = splitter(PRE_TOKENIZERS[pre])
    backend.decoder = decoders.ByteLevel()
    _add(backend, list(added.values()), config)
    return backend


def _split_name(folder: Path, config: Mapping[str, Any]) -> str:
    """The name of the split in PRE_TOKENIZERS. Raises TokenizerError where it cannot be known."""
    named = config.get("tokenizer_class") or CLASSES.get(str(read_table(folder / "config.json").get("model_type")))
    pre = SPLITS.get(str(named).removesuffix("Fast"))
    if pre is None or config.get("add_prefix_space"):
        what = f"the class {named}" if pre is None else "add_prefix_space"
        raise TokenizerError(
            f"The folder has vocab.json and merges.txt but no tokenizer.json, and {what} is not supported for these; "
            "convert it with transformers' save_pretrained."
        )
    return pre


def _numbers(values: Mapping[str, Any], file: str) -> dict[str, int]:
    for token, number in values.items():
        if type(number) is not int or not 0 <= number < LARGEST_VOCABULARY:
            raise TokenizerError(f"{file} gives the token {token[:40]!r} no id that can be; fetch the model again.")
    return dict(values)


def _merges(text: str) -> list[tuple[str, str]]:
    """The rules, one a line; only "\\n" ends a line here, as tokens may hold other line separators."""
    rules: list[tuple[str, str]] = []
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#version"):
            continue
        left, _, right = line.rstrip("\r").partition(" ")
        if not left or not right or " " in right:
            raise TokenizerError(f"merges.txt has the line {line[:40]!r}, which is no pair; fetch the model again.")
        rules.append((left, right))
    return rules


def added_tokens(folder: Path, config: Mapping[str, Any]) -> dict[int, AddedToken]:
    """added_tokens.json (text to id), then added_tokens_decoder (id to a table), which says more."""
    numbers = _numbers(read_table(folder / "added_tokens.json"), "added_tokens.json")
    found = {number: AddedToken(text, normalized=False) for text, number in numbers.items()}
    listed = config.get("added_tokens_decoder") or {}
    try:
        found |= {int(number): AddedToken(**_options(table)) for number, table in listed.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError("The added_tokens_decoder of tokenizer_config.json is damaged; fetch it again.") from error
    _numbers({token.content: number for number, token in found.items()}, "tokenizer_config.json")
    return found


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    flags = {name: table[name] for name in ("lstrip", "rstrip", "single_word", "special") if name in table}
    return {"content": table["content"], "normalized": table.get("normalized", False), **flags}


def _add(backend: tokenizers.Tokenizer, added: list[AddedToken], config: Mapping[str, Any]) -> None:
    """The added tokens, and the special ones that the configuration names and the vocabulary has."""
    texts = [config.get(f"{name}_token", "<|endoftext|>") for name in ("bos", "eos", "unk", "pad")]
    texts = [text.get("content") if isinstance(text, dict) else text for text in texts]
    named = [text for text in texts if isinstance(text, str) and backend.token_to_id(text) is not None]
    special = [token for token in added if token.special]
    plain = [token for token in added if not token.special and token.content not in named]
    backend_call("take its added tokens", lambda: (backend.add_special_tokens(special), backend.add_tokens(plain)))
    known = {token.content for token in special}
    missing = [AddedToken(text, normalized=False) for text in dict.fromkeys(named) if text not in known]
    backend_call("take its special tokens", lambda: backend.add_special_tokens(missing))
