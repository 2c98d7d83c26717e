"""Reading byte ranges of files that may vanish or shrink while they are read.

Ranges are read and not memory-mapped: a mapped file that shrinks kills the process, and mapped pages would count
as a second copy of the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError, SourceError


class OpenFiles:
    """The weight files of one model, open for reading; a context manager that closes them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._stack = ExitStack()
        try:
            self._files: dict[Path, BinaryIO] = {path: self._stack.enter_context(path.open("rb")) for path in paths}
        except OSError as error:
            self._stack.close()
            raise SourceError(f"The file {error.filename} cannot be read: {error.strerror}.") from error

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def rows(self, info: TensorInfo, start: int, stop: int) -> bytearray:
        """The stored bytes of rows [start, stop) of a tensor. Raises CheckpointError if the file became shorter."""
        offset, size = info.span(start, stop)
        buffer = bytearray(size)
        file = self._files[info.file]
        try:
            file.seek(offset)
            count = file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            raise CheckpointError(f"Reading {info.file.name} failed: {error.strerror}.") from error
        if count != size:
            raise CheckpointError(f"{info.file.name} ends inside the tensor {info.name}; fetch the file again.")
        return buffer
