"""A byte-level vocabulary of any size for a GGUF file: control tokens, characters that stand for bytes, two merges.

Facts: ``TextModel._set_vocab_gpt2`` in ``conversion/base.py`` of llama.cpp; the characters are GPT-2's
``bytes_to_unicode``.
"""

from __future__ import annotations

from typing import Any

from gguf import TokenType

from tests.engine.gguf_files.model_folder import Config

CONTROL = ["<|0|>", "<|1|>", "<|2|>"]
MERGES = ["i n", "a n"]


def tokenizer(config: Config) -> dict[str, Any]:
    """The ``tokenizer.ggml.*`` keys; token ids come from the config where they lie in the vocabulary."""
    size = config["vocab_size"]
    tokens, types = vocabulary(size)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": _token(config.get("bos_token_id"), size, 1),
        "tokenizer.ggml.eos_token_id": _token(config.get("eos_token_id"), size, 2),
    }


def vocabulary(size: int) -> tuple[list[str], list[int]]:
    """``size`` (at least 90) tokens and their types: as many byte characters as fit, the rest unused."""
    characters = _byte_characters()[: size - len(CONTROL) - len(MERGES)]
    words = [*CONTROL, *characters, *(merge.replace(" ", "") for merge in MERGES)]
    types = [TokenType.CONTROL] * len(CONTROL) + [TokenType.NORMAL] * (len(words) - len(CONTROL))
    rest = size - len(words)
    names = words + [f"[PAD{len(words) + i}]" for i in range(rest)]
    return names, [int(kind) for kind in types] + [int(TokenType.UNUSED)] * rest


def _byte_characters() -> list[str]:
    """Printable bytes stand for themselves, the others for the characters from 256 on; printable ones come first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _token(value: Any, size: int, default: int) -> int:
    first = value[0] if isinstance(value, list) else value
    return first if isinstance(first, int) and 0 <= first < size else default
