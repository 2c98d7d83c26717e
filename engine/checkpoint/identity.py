"""What tells one model from another without reading its weights: sums of its configuration and of its headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint.safetensors_file import INDEX, read_folder
from engine.checkpoint.tensors import TensorInfo
from engine.errors import SourceError


@dataclass(frozen=True)
class Identity:
    """SHA-256 in hexadecimal: of config.json (of a GGUF file's single values), and of the headers of the weights."""

    config: str
    headers: str


def identity(path: Path) -> Identity:
    """Of a model folder or GGUF file; its weights are not read, so changed numbers under the same header go unseen.

    Raises SourceError, CheckpointError where its headers cannot be read.
    """
    if path.is_dir():
        return identity_of_folder(path, read_folder(path))
    from engine.checkpoint.gguf_file import GGUFFile

    with GGUFFile(path) as file:
        return identity_of_gguf(file.metadata, file.tensors())


def identity_of_folder(folder: Path, tensors: Mapping[str, TensorInfo]) -> Identity:
    """Of a folder whose headers have been read and checked."""
    with _read_errors():
        index = [(folder / INDEX).read_bytes()] if (folder / INDEX).is_file() else []
        return Identity(_sum([(folder / "config.json").read_bytes()]), _sum([*index, *_headers(tensors)]))


def identity_of_gguf(metadata: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Identity:
    """Of a GGUF model: its single values stand for config.json; its lists (the vocabulary) are in the header."""
    single = {key: value for key, value in metadata.items() if not isinstance(value, list)}
    with _read_errors():
        return Identity(_sum([json.dumps(single, sort_keys=True).encode()]), _sum(_headers(tensors)))


def _headers(tensors: Mapping[str, TensorInfo]) -> Iterator[bytes]:
    """What stands before the first tensor of each file."""
    starts: dict[Path, int] = {}
    for info in tensors.values():
        starts[info.file] = min(info.offset, starts.get(info.file, info.offset))
    for file in sorted(starts):
        with file.open("rb") as opened:
            yield opened.read(starts[file])


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"The file {error.filename} cannot be read: {error.strerror}.") from error


def _sum(parts: Iterable[bytes]) -> str:
    """Each part with its length before it, so that moving a byte from one to the next changes the sum."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()
