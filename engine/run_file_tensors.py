"""The safetensors inside a run file: packed, and unpacked once every name, type and shape is what it must be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from engine.checkpoint.safetensors_file import header_length, parse_header
from engine.checkpoint.tensors import TensorInfo
from engine.checkpoint.values import TYPES
from engine.errors import CheckpointError, RunFileError
from engine.transfer import to_host

Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]

PIECE = 2**22  # bytes
_NAMES = {dtype: name for name, dtype in TYPES.items()}


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file, from tensors of any device, to the last bit."""
    return b"".join(pieces(tensors))


def pieces(tensors: Mapping[str, Tensor]) -> Iterator[bytes]:
    """The same in pieces of a few milliseconds, so that a large one is never held twice."""
    yield header_of(tensors)
    for tensor in tensors.values():
        raw = tensor.contiguous().view(-1).view(torch.uint8)
        for start in range(0, raw.numel(), PIECE):
            yield to_host({"piece": raw[start : start + PIECE]})["piece"].tobytes()


def header_of(tensors: Mapping[str, Tensor]) -> bytes:
    """What stands before the data (``engine/checkpoint/safetensors_file.py``), filled up so that this is aligned."""
    table, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        table[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the file that ``pieces`` make."""
    return len(header_of(tensors)) + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The same from numpy."""
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def packed_size(shapes: Shapes) -> int:
    """No sound file of these tensors has more bytes."""
    return 4096 + sum(512 + torch.Size(shape).numel() * dtype.itemsize for dtype, shape in shapes.values())


def unpack(name: str, data: bytes, shapes: Shapes, optional: frozenset[str] = frozenset()) -> dict[str, Tensor]:
    """The tensors of ``data``; they must be those of ``shapes``, of which ``optional`` ones may be missing.

    Raises RunFileError with a piece of a sentence.
    """
    headers = _headers(name, data)
    if not shapes.keys() - optional <= headers.keys() <= shapes.keys():
        raise RunFileError(f"{name} holds other tensors than it should")
    for tensor, info in headers.items():
        dtype, shape = shapes[tensor]
        if info.dtype != _NAMES[dtype] or info.shape != shape:
            raise RunFileError(f"in {name} the tensor {tensor} is {info.dtype} of shape {list(info.shape)}")
    return safetensors.torch.load(data)


def unpack_arrays(name: str, data: bytes, known: set[str], optional: set[str]) -> dict[str, np.ndarray]:
    """The arrays of ``data`` by name, of one axis each; they must be those that are ``known``, where ``optional`` ones
    may be missing."""
    headers = _headers(name, data)
    if not known - optional <= headers.keys() <= known or any(len(info.shape) != 1 for info in headers.values()):
        raise RunFileError(f"{name} holds other tables than it should")
    if any(info.dtype not in ("BOOL", "U8", "I64", "F32", "F64") for info in headers.values()):
        raise RunFileError(f"{name} holds numbers of a wrong type")
    return safetensors.numpy.load(data)


def _headers(name: str, data: bytes) -> dict[str, TensorInfo]:
    try:
        length = header_length(Path(name), data[:8], len(data))
        return parse_header(Path(name), data[8 : 8 + length], len(data))
    except CheckpointError as error:
        raise RunFileError(f"the tensors in {name} are damaged") from error
