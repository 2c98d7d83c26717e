"""SentencePiece's own ``tokenizer.model``: a protocol buffer, read field by field with every length checked.

Field numbers are those of github.com/google/sentencepiece src/sentencepiece_model.proto; the encoding that of
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import TokenizerError
from engine.tokenizer_sentencepiece import NORMAL, Vocabulary

LARGEST_FILE = 64 * 2**20  # bytes; the largest published one has 4 million
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # of ModelProto
_BPE = 2  # of TrainerSpec.model_type
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # wire types

Value = int | bytes


@dataclass(frozen=True)
class SentencePieceFile:
    """The vocabulary, and the ids of ``bos``, ``eos`` and ``unk`` by name where the file has them."""

    vocabulary: Vocabulary
    ids: Mapping[str, int]


def read_sentencepiece(path: Path) -> SentencePieceFile:
    """A BPE model without a table of normalization, as Llama's and Mistral's are. Raises TokenizerError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise TokenizerError(f"{path.name} has more than {LARGEST_FILE} bytes; it is no SentencePiece model.")
        return _read(path.read_bytes(), path.name)
    except OSError as error:
        raise TokenizerError(f"{path.name} cannot be read ({error.strerror}); fetch the model again.") from error
    except (ValueError, TypeError, struct.error) as error:
        raise TokenizerError(f"{path.name} is no SentencePiece model ({error}); fetch the model again.") from error


def _read(data: bytes, file: str) -> SentencePieceFile:
    pieces: list[tuple[str, float, int]] = []
    parts: dict[int, dict[int, Value]] = {_TRAINER: {}, _NORMALIZER: {}}
    for number, value in _fields(data):
        if number == _PIECES:
            pieces.append(_piece(dict(_fields(_bytes(value)))))
        elif number in parts:
            parts[number].update(_fields(_bytes(value)))
    _refuse_other_kinds(parts[_TRAINER], parts[_NORMALIZER], file)
    ids = _special_ids(parts[_TRAINER], len(pieces))
    texts, scores, kinds = (list(column) for column in zip(*pieces, strict=True)) if pieces else ([], [], [])
    if not texts or len(set(texts)) != len(texts):
        raise ValueError("it has no pieces, or one twice")
    prefixed = parts[_NORMALIZER].get(3, 1) != 0
    return SentencePieceFile(Vocabulary(texts, kinds, scores, ids.get("unk"), prefixed), ids)


def _piece(fields: Mapping[int, Value]) -> tuple[str, float, int]:
    kind = fields.get(3, NORMAL)
    if not isinstance(kind, int):
        raise ValueError("a piece has no type")
    return _bytes(fields.get(1, b"")).decode(), struct.unpack("<f", _bytes(fields.get(2, b"\0\0\0\0")))[0], kind


def _special_ids(trainer: Mapping[int, Value], n: int) -> dict[str, int]:
    """Ids are 32 bits with a sign, stored as 64: -1 means that there is no such token."""
    found = {"unk": trainer.get(40, 0), "bos": trainer.get(41, 1), "eos": trainer.get(42, 2)}
    return {name: i for name, i in found.items() if isinstance(i, int) and i < n}


def _refuse_other_kinds(trainer: Mapping[int, Value], normalizer: Mapping[int, Value], file: str) -> None:
    """What would give other ids: another algorithm, a table of normalization, removed or trailing spaces."""
    reasons = {
        "its algorithm is not byte pair encoding": trainer.get(3, 1) != _BPE,
        "it puts spaces after words": trainer.get(24, 0) != 0,
        "it normalizes characters": normalizer.get(2, b"") != b"",
        "it removes spaces": normalizer.get(4, 1) != 0,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        raise TokenizerError(
            f"{file} is a SentencePiece model that is not supported ({reason}) and there is no tokenizer.json; "
            "convert it with transformers' save_pretrained."
        )


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where bytes are needed")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Every field of a message: its number and its value, a number or bytes. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        else:
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, -1)
        if length < 0 or at + length > len(data):
            raise ValueError(f"field {number} is cut off or of an unknown kind")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it is cut off")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number is too long")
