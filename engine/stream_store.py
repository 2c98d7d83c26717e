"""Where the blocks of a recorded residual stream lie: in memory, in memory-mapped files, or nowhere any more."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from engine.settings import Record

BLOCK = 128  # positions per block: growing never copies what is there
_LASTING = Path("/var/tmp")  # on Linux; /tmp is often memory itself


class StreamStore:
    """Blocks ``[n_layers + 1, BLOCK, d_model]``; the newest are in memory, as many as ``record`` allows, one at least.

    ``trouble`` is the sentence about a disk that had no room, "" where all is well.
    """

    def __init__(self, rows: int, d_model: int, like: Tensor, record: Record) -> None:
        self.record = record
        self.trouble = ""
        self._shape, self._like = (rows, BLOCK, d_model), like
        self._block_bytes = rows * BLOCK * d_model * like.element_size()
        self._blocks: list[Tensor | None] = []
        self._on_disk: set[int] = set()

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index: int) -> Tensor | None:
        """A block to read or to write; None where it was dropped. One on disk is the CPU's."""
        return self._blocks[index]

    @property
    def memory(self) -> int:
        """Bytes of the blocks in memory."""
        return self._block_bytes * sum(
            block is not None and index not in self._on_disk for index, block in enumerate(self._blocks)
        )

    @property
    def disk(self) -> int:
        """Bytes of the blocks in files."""
        return self._block_bytes * len(self._on_disk)

    def dropped(self, first: int, stop: int) -> bool:
        """Whether one of the blocks [first, stop) was let go."""
        return any(block is None for block in self._blocks[first:stop])

    def reserve(self, start: int, end: int) -> None:
        """Room for positions [start, end), and none behind them. A block that was dropped in its middle stays so."""
        count = -(-end // BLOCK)
        whole = -(-start // BLOCK)  # blocks from here on are written from their beginning
        del self._blocks[min(whole, count) :]
        self._on_disk = {index for index in self._on_disk if index < len(self._blocks)}
        self._arrange(count)
        while len(self._blocks) < count:
            self._blocks.append(self._new(len(self._blocks), count))

    def set_record(self, record: Record) -> None:
        """Another limit, from now on."""
        self.record, self.trouble = record, ""
        self._arrange(len(self._blocks))

    def put(self, index: int, block: Tensor | None, column: int = 0) -> None:
        """Fill a block of a restored record from a column on, ``[n_layers + 1, positions, d_model]``; None: that part
        was dropped, and the block is."""
        target = self._blocks[index]
        if block is None or target is None:
            self._blocks[index] = None
            self._on_disk.discard(index)
        else:
            target[:, column : column + block.shape[1]] = block

    def _in_memory(self, index: int, count: int) -> bool:
        return index >= count - max(1, self.record.memory // self._block_bytes)

    def _arrange(self, count: int) -> None:
        """Every block that exists where it belongs once there are ``count``."""
        for index, block in enumerate(self._blocks):
            if block is not None and self._in_memory(index, count) != (index not in self._on_disk):
                self._move(index, block, count)

    def _move(self, index: int, block: Tensor, count: int) -> None:
        moved = self._new(index, count)
        if moved is not None:
            moved.copy_(block)
        self._blocks[index] = moved

    def _new(self, index: int, count: int) -> Tensor | None:
        """An empty block in its place."""
        self._on_disk.discard(index)
        if self._in_memory(index, count):
            return self._like.new_empty(self._shape)
        mapped = self._mapped() if self.record.beyond == "disk" else None
        if mapped is not None:
            self._on_disk.add(index)
        return mapped

    def _mapped(self) -> Tensor | None:
        try:
            return mapped(self._shape, self._like.dtype)
        except OSError as error:
            self.trouble = f"The record could not go to disk ({error.strerror or error}), so old positions were let go."
            return None


def mapped(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An empty tensor on the CPU whose bytes lie in a temporary file, which goes when the tensor goes.

    Raises OSError where the disk has no room for it: to find out while writing would end the program.
    """
    n = torch.Size(shape).numel()
    file, path = tempfile.mkstemp(prefix="fluoroscope-record-", dir=_LASTING if _writable(_LASTING) else None)
    try:
        _take_room(file, n * dtype.itemsize)
        return torch.from_file(path, shared=True, size=n, dtype=dtype).view(shape)
    finally:
        os.close(file)
        with suppress(PermissionError):  # Windows keeps a file that is mapped; its temporary folder is cleaned there
            os.unlink(path)


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


def _take_room(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    zeros = bytes(1 << 20)
    for start in range(0, size, len(zeros)):
        os.write(file, zeros[: size - start])
