"""The header of a GGUF file, checked as it is read: no count is believed that the file is too short for.

Format: github.com/ggml-org/ggml docs/gguf.md. The ``gguf`` package knows the quantisations (their names, block sizes
and formulas); its reader is not used, because it takes 4 s for a vocabulary of 49 152 and trusts every count.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType

from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError, SourceError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LONGEST_STRING = 2**24
LONGEST_ARRAY = 2**21  # the largest vocabularies have 2**18 tokens and 2**19 merges
LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8  # bytes of the shortest tensor entry: name, axes, type, offset
LEAST_FIELD = 8 + 1 + 4 + 1  # bytes of the shortest metadata entry: key, type, value
MOST_AXES = 4

_SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}


@dataclass(frozen=True)
class GGUFHeader:
    """``metadata`` in Python's types (arrays as lists), ``tensors`` by name in the order of the file."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def read_header(path: Path) -> GGUFHeader:
    """The header of one GGUF file. Raises SourceError if unreadable, CheckpointError naming the problem if unsound."""
    try:
        with path.open("rb", buffering=2**20) as file:
            return parse_header(path, file, path.stat().st_size)
    except OSError as error:
        raise SourceError(f"The file {path} cannot be read: {error.strerror}.") from error


class Readable(Protocol):
    """What a header is read from, from its first byte on."""

    def read(self, count: int, /) -> bytes: ...


def parse_header(path: Path, file: Readable, size: int) -> GGUFHeader:
    """The header of a file of ``size`` bytes, which need not be on this machine. Raises CheckpointError."""
    return _header(_Cursor(path, file, size))


class _Cursor:
    """A position in the file that never reads past its end."""

    def __init__(self, path: Path, file: Readable, size: int) -> None:
        self.path, self.size, self.position = path, size, 0
        self._read = file.read

    @property
    def left(self) -> int:
        return self.size - self.position

    def broken(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.path.name} is not a sound GGUF file: {problem}; fetch the file again.")

    def take(self, count: int) -> bytes:
        data = self._read(count) if count <= self.left else b""
        if len(data) != count:
            raise self.broken(f"it is truncated: its header goes on after the end of the file at byte {self.size}")
        self.position += count
        return data

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        raw = self.raw_text()
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.broken(f"a text in its header is not UTF-8 at byte {self.position}") from error

    def raw_text(self) -> bytes:
        count = int.from_bytes(self.take(8), "little")
        if count > LONGEST_STRING:
            raise self.broken(f"a text in its header claims {count} bytes")
        return self.take(count)


def _header(cursor: _Cursor) -> GGUFHeader:
    tensor_count, field_count = _counts(cursor)
    metadata: dict[str, Any] = {}
    for _ in range(field_count):
        key = cursor.text()
        if key in metadata:
            raise cursor.broken(f"the key {key!r} occurs twice")
        metadata[key] = _value(cursor, cursor.number("I"))
    entries = [_tensor_entry(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= 2**16 or alignment & (alignment - 1):
        raise cursor.broken(f"its alignment {alignment!r} is not a power of two")
    start = -(-cursor.position // alignment) * alignment
    return GGUFHeader(metadata, _located(cursor, entries, start))


def _counts(cursor: _Cursor) -> tuple[int, int]:
    if cursor.size < 24 or cursor.take(4) != MAGIC:
        raise cursor.broken("it does not begin with the letters GGUF")
    version = cursor.number("I")
    if version & 0xFFFF == 0:
        raise CheckpointError(f"{cursor.path.name} is a big-endian GGUF file; only little-endian ones can be read.")
    if version not in VERSIONS:
        raise CheckpointError(f"{cursor.path.name} is GGUF version {version}; versions 2 and 3 can be read.")
    tensors, fields = cursor.number("Q"), cursor.number("Q")
    if tensors * LEAST_TENSOR + fields * LEAST_FIELD > cursor.left:
        raise cursor.broken(f"it claims {tensors} tensors and {fields} fields, too many for {cursor.size} bytes")
    return tensors, fields


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == GGUFValueType.STRING:
        return cursor.text()
    if kind == GGUFValueType.ARRAY:
        return _array(cursor, cursor.number("I"), cursor.number("Q"))
    return cursor.number(_scalar_code(cursor, kind))


def _scalar_code(cursor: _Cursor, kind: int) -> str:
    if kind not in _SCALARS:
        raise cursor.broken(f"its metadata has a value of the unknown type {kind}")
    return _SCALARS[GGUFValueType(kind)]


def _array(cursor: _Cursor, kind: int, count: int) -> list[Any]:
    if count > LONGEST_ARRAY:
        raise cursor.broken(f"a list in its metadata claims {count} entries")
    if kind == GGUFValueType.STRING:
        return _texts(cursor, count)
    code = _scalar_code(cursor, kind)
    return list(struct.unpack(f"<{count}{code}", cursor.take(count * struct.calcsize("<" + code))))


def _texts(cursor: _Cursor, count: int) -> list[str]:
    """A vocabulary: many short texts; a token that is no UTF-8 keeps its bytes as surrogates."""
    if 8 * count > cursor.left:
        raise cursor.broken(f"a list of {count} texts in its metadata goes on after the end of the file")
    take: Callable[[], bytes] = cursor.raw_text
    return [take().decode("utf-8", "surrogateescape") for _ in range(count)]


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int


def _tensor_entry(cursor: _Cursor) -> _Entry:
    name, axes = cursor.text(), cursor.number("I")
    if axes > MOST_AXES:
        raise cursor.broken(f"the tensor {name!r} has {axes} axes")
    shape = tuple(reversed([cursor.number("Q") for _ in range(axes)]))
    if not shape or any(not 0 < n < 2**40 for n in shape):
        raise cursor.broken(f"the tensor {name!r} has the impossible shape {list(shape)}")
    return _Entry(name, shape, _quantisation(cursor, name, cursor.number("I")), cursor.number("Q"))


def _quantisation(cursor: _Cursor, tensor: str, number: int) -> GGMLQuantizationType:
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        kind = None
    if kind is None or kind not in GGML_QUANT_SIZES:
        raise CheckpointError(
            f"{cursor.path.name} stores {tensor} in a quantisation of unknown number {number}; "
            "get the model in a known one, such as Q8_0 or Q4_K_M."
        )
    return kind


def _located(cursor: _Cursor, entries: list[_Entry], start: int) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for entry in entries:
        if entry.name in tensors:
            raise cursor.broken(f"the tensor {entry.name!r} occurs twice")
        tensors[entry.name] = _located_one(cursor, entry, start)
    _check_overlap(cursor, tensors)
    return tensors


def _located_one(cursor: _Cursor, entry: _Entry, start: int) -> TensorInfo:
    block, block_bytes = GGML_QUANT_SIZES[entry.kind]
    if entry.shape[-1] % block:
        raise cursor.broken(f"rows of {entry.shape[-1]} in {entry.name!r} do not divide into blocks of {block}")
    size = prod(entry.shape) // block * block_bytes
    if start + entry.offset + size > cursor.size:
        raise cursor.broken(f"it is truncated: {entry.name!r} ends after the end of the file at byte {cursor.size}")
    return TensorInfo(entry.name, entry.shape, entry.kind.name, cursor.path, start + entry.offset, size)


def _check_overlap(cursor: _Cursor, tensors: dict[str, TensorInfo]) -> None:
    end = 0
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        if info.offset < end:
            raise cursor.broken(f"the tensor {info.name!r} overlaps the one before it")
        end = info.offset + info.size
