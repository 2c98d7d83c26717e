"""How the tokens of a vocabulary spell bytes: the inverse of what the vocabulary's decoder does, token by token."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import TokenizerError

_SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's one visible character for each byte: itself where it is visible, else the next one from U+0100 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


BYTE_ALPHABET = _byte_alphabet()


@dataclass(frozen=True)
class Spelling:
    """``byte-level``: each character stands for a byte. ``sentencepiece``: ▁ is a space, <0x41> a byte.

    The decoder takes up to ``strip`` spaces from the beginning of a text, or every ▁ of its first token (``all``).
    """

    kind: Literal["byte-level", "sentencepiece"]
    strip: int = 0
    all: bool = False

    def raw(self, token: str, first: bool) -> bytes:
        """The bytes of a token; ``first`` where it opens the text."""
        if self.kind == "byte-level":
            return _from_byte_level(token)
        if first and self.all:
            token = token.replace(_SPACE, "")
        byte = _BYTE.fullmatch(token)
        text = bytes([int(byte[1], 16)]) if byte else token.replace(_SPACE, " ").encode()
        return _without_spaces(text, self.strip) if first else text


def _from_byte_level(token: str) -> bytes:
    try:
        return bytes([BYTE_ALPHABET[character] for character in token])
    except KeyError:  # an added token is plain text and may hold anything
        return token.encode()


def _without_spaces(text: bytes, most: int) -> bytes:
    spaces = len(text) - len(text.lstrip(b" "))
    return text[min(spaces, most) :]


def spelling_of(decoder: Any) -> Spelling:
    """The spelling behind a decoder of the ``tokenizers`` library. Raises TokenizerError for other kinds."""
    state = json.loads(decoder.__getstate__()) if decoder is not None else {}
    steps = state.get("decoders", [state])
    kinds = {step.get("type") for step in steps}
    if kinds == {"ByteLevel"}:
        return Spelling("byte-level")
    known = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}
    if not kinds or not kinds <= known or not any(_turns_marks_into_spaces(step) for step in steps):
        names = ", ".join(sorted(str(kind) for kind in kinds))
        raise TokenizerError(
            f"The tokenizer's decoder ({names}) is not supported; byte-level and SentencePiece ones are."
        )
    strip = sum(step["start"] for step in steps if step["type"] == "Strip")
    prepends = any(step["type"] == "Metaspace" and step.get("prepend_scheme") != "never" for step in steps)
    return Spelling("sentencepiece", strip=strip, all=prepends)


def _turns_marks_into_spaces(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Metaspace":
        return step.get("replacement") == _SPACE
    return step["type"] == "Replace" and step["pattern"] == {"String": _SPACE} and step["content"] == " "
