"""Where the numbers of one tensor lie, and how they are to be read: all that a question about it needs. No torch here.

A question carries it to the engine's thread, which so opens files only, and reads no header in the middle of a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.checkpoint.presented import presented
from engine.checkpoint.tensors import TensorInfo

if TYPE_CHECKING:
    from engine.checkpoint.headers import Headers

_PARTNERS = ("_scale_inv", "_scale", "_scales")  # of a tensor whose numbers need others; the last of its stem


@dataclass(frozen=True)
class Origin:
    """The tensors of a model by their own names; ``stamps``: bytes and time of change of each file when it was read."""

    format: Literal["safetensors", "GGUF"]
    tensors: Mapping[str, TensorInfo]
    stamps: Mapping[Path, tuple[int, int]]
    block: tuple[int, int] | None = None


@dataclass(frozen=True)
class Stored:
    """One tensor: ``shape`` and ``dtype`` as it is presented, ``parts`` as they lie, the numbers before their scales.

    ``block``: rows and columns that share a scale of FP8. ``stamps``: those of the files of its parts.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    format: Literal["safetensors", "GGUF"]
    parts: tuple[TensorInfo, ...]
    block: tuple[int, int] | None
    stamps: tuple[tuple[Path, int, int], ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def matrices(self) -> tuple[int, int, int]:
        """(how many, rows, columns): all axes but the last two count the matrices; a vector is one row."""
        rows, columns = (1, 1, *self.shape)[-2:]
        return prod(self.shape[:-2]), rows, columns


def origin_of(headers: Headers) -> Origin:
    """The origin of what the headers tell. A file that has gone meanwhile has a stamp that fits none."""
    return Origin(headers.format, headers.tensors, {path: stamp(path) for path in headers.files}, headers.block)


def stamp(path: Path) -> tuple[int, int]:
    """What changes with a file: (bytes, time of change in ns); (-1, -1) where there is none."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def stored(origin: Origin, name: str) -> Stored:
    """One tensor of the model, together with its scales if it has any; scales themselves are read as they lie."""
    info = origin.tensors[name]
    stem = name.removesuffix("_blocks")
    names = (name, *(name + partner for partner in _PARTNERS[:2]), stem + _PARTNERS[2])
    near = {own: origin.tensors[own] for own in names if own in origin.tensors}
    plain = presented(near) if origin.format == "safetensors" else {}
    found = next((tensor for tensor in plain.values() if tensor.parts[0] == name), None)
    parts = (info,) if found is None else tuple(origin.tensors[part] for part in found.parts)
    files = dict.fromkeys(part.file for part in parts)
    return Stored(
        name=name if found is None else found.name,
        shape=info.shape if found is None else found.shape,
        dtype=info.dtype if found is None else found.dtype,
        format=origin.format,
        parts=parts,
        block=origin.block,
        stamps=tuple((file, *origin.stamps[file]) for file in files),
    )
