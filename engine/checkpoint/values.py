"""The numbers of one tensor, read from its files a piece at a time: what is asked about a weight never reads it whole.

A tensor is a pile of matrices; one is read in rectangles. Quantised numbers are those that the decoder computes with:
GGUF's blocks are dequantised, FP8 is multiplied by its scales, MXFP4 by its powers of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.checkpoint.files import OpenFiles
from engine.checkpoint.gguf_file import block_of, can_dequantise, dequantised
from engine.checkpoint.quantised import FP8, MXFP4, Packed, Scaled, quantised, unpacked
from engine.checkpoint.stored import Stored, stamp
from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError, SourceError

SLICE = 2**18  # elements of a piece: 2 MB as float64
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

Flat = Callable[[int, int], Tensor]  # elements [start, stop) of what a file holds, in its order, as float64


@dataclass(frozen=True)
class Piece:
    """``values`` float64 [rows, columns] of one matrix, from this row and column on."""

    row: int
    column: int
    values: Tensor


class Values:
    """One tensor, open for reading; a context manager. ``matrices``: (how many, rows, columns) as they lie in the file.

    ``turned``: the matrices lie the other way round than they are presented. Raises SourceError where a file has gone
    or changed since its header was read, CheckpointError for a type whose numbers cannot be read.
    """

    def __init__(self, stored: Stored) -> None:
        _check_unchanged(stored)
        _check_readable(stored)
        self.stored = stored
        self.turned = stored.dtype == MXFP4
        count, rows, columns = stored.matrices
        self.matrices = (count, columns, rows) if self.turned else (count, rows, columns)
        self._files = OpenFiles(dict.fromkeys(part.file for part in stored.parts))
        try:
            self._whole, self._step = self._reader()
        except BaseException:
            self._files.__exit__()
            raise

    def __enter__(self) -> Values:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.__exit__(*exception)

    def pieces(self, matrix: int) -> Iterator[Piece]:
        """A whole matrix, row by row: as many rows at a time as make a piece, or parts of one row."""
        _, rows, columns = self.matrices
        if not rows * columns:
            return
        high = max(1, SLICE // columns)
        wide = columns if columns <= SLICE else SLICE
        for row in range(0, rows, high):
            for column in range(0, columns, wide):
                yield Piece(row, column, self.part(matrix, (row, row + high), (column, column + wide)))

    def strips(self, matrix: int) -> Iterator[Tensor]:
        """A whole matrix, column by column: all rows, as many columns at a time as make a piece."""
        _, rows, columns = self.matrices
        wide = max(1, SLICE // max(rows, 1) // self._step) * self._step
        for column in range(0, columns, wide):
            yield self.part(matrix, (0, rows), (column, column + wide))

    def part(self, matrix: int, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """Float64 [rows, columns] of a rectangle; what lies outside the matrix is left out."""
        _, n_rows, n_columns = self.matrices
        (top, bottom), (left, right) = rows, columns
        bottom, right = min(bottom, n_rows), min(right, n_columns)
        return self._whole(matrix * n_rows + top, matrix * n_rows + bottom, left, right)

    def _reader(self) -> tuple[Callable[[int, int, int, int], Tensor], int]:
        """How to read [rows, columns) of all matrices as one, and the elements that can only be read together."""
        first = self.stored.parts[0]
        if self.stored.format == "GGUF":
            return self._rectangles(self._gguf(first)), block_of(first.dtype)[0]
        if self.stored.dtype in (FP8, MXFP4):
            (tensor,) = quantised({part.name: part for part in self.stored.parts}, self.stored.block)
            if isinstance(tensor, Scaled):
                return self._scaled(tensor), 1
            assert isinstance(tensor, Packed)
            return self._packed(tensor), 32
        return self._rectangles(self._plain(first)), 1

    def _rectangles(self, flat: Flat) -> Callable[[int, int, int, int], Tensor]:
        """From elements in a row to rectangles."""
        columns = self.matrices[2]

        def read(top: int, bottom: int, left: int, right: int) -> Tensor:
            if (left, right) == (0, columns):
                return flat(top * columns, bottom * columns).view(bottom - top, columns)
            return torch.stack([flat(row * columns + left, row * columns + right) for row in range(top, bottom)])

        return read

    def _plain(self, info: TensorInfo) -> Flat:
        dtype = TYPES[info.dtype]
        one_by_one = replace(info, shape=(info.elements,))

        def read(start: int, stop: int) -> Tensor:
            return torch.frombuffer(self._files.rows(one_by_one, start, stop), dtype=dtype).double()

        return read

    def _gguf(self, info: TensorInfo) -> Flat:
        block, size = block_of(info.dtype)
        by_block = replace(info, shape=(info.size // size,))

        def read(start: int, stop: int) -> Tensor:
            first, last = start // block, -(-stop // block)
            values = dequantised(self._files.rows(by_block, first, last), info.dtype)
            return torch.from_numpy(values)[start - first * block : stop - first * block].double()

        return read

    def _scaled(self, tensor: Scaled) -> Callable[[int, int, int, int], Tensor]:
        numbers = self._rectangles(self._plain(tensor.weight))
        scale = self._plain(tensor.scale)
        (high, wide), (_, _, columns) = tensor.block, self.matrices
        per_row = -(-columns // wide)

        def read(top: int, bottom: int, left: int, right: int) -> Tensor:
            first, last, begin, end = top // high, -(-bottom // high), left // wide, -(-right // wide)
            scales = torch.stack([scale(row * per_row + begin, row * per_row + end) for row in range(first, last)])
            across = torch.arange(left, right) // wide - begin
            return numbers(top, bottom, left, right) * scales[torch.arange(top, bottom) // high - first][:, across]

        return read

    def _packed(self, tensor: Packed) -> Callable[[int, int, int, int], Tensor]:
        """Rows of all experts as they lie: each of its groups has 16 bytes and one exponent."""
        groups = tensor.blocks.shape[2]
        blocks = replace(tensor.blocks, shape=(tensor.exponents.elements, 16))
        exponents = replace(tensor.exponents, shape=(tensor.exponents.elements,))

        def read(top: int, bottom: int, left: int, right: int) -> Tensor:
            begin, end = left // 32, -(-right // 32)
            spans = [(row * groups + begin, row * groups + end) for row in range(top, bottom)]
            if (begin, end) == (0, groups):
                spans = [(top * groups, bottom * groups)]
            parts = [torch.cat([self._bytes(info, *span) for span in spans]) for info in (blocks, exponents)]
            values = unpacked(*parts).view(bottom - top, -1)
            return values[:, left - begin * 32 : right - begin * 32].double()

        return read

    def _bytes(self, info: TensorInfo, start: int, stop: int) -> Tensor:
        return torch.frombuffer(self._files.rows(info, start, stop), dtype=torch.uint8)


def _check_unchanged(stored: Stored) -> None:
    for path, *before in stored.stamps:
        now = stamp(path)
        if now == (-1, -1):
            raise SourceError(f"The file {path} is no longer there, so {stored.name} cannot be read; open it again.")
        if now != tuple(before):
            raise SourceError(f"The file {path.name} has changed since its tensors were listed; list them again.")


def _check_readable(stored: Stored) -> None:
    if stored.format == "GGUF":
        known = can_dequantise(stored.dtype)
    else:
        known = stored.dtype in (FP8, MXFP4) or stored.dtype in TYPES
    if not known:
        raise CheckpointError(f"{stored.name} is stored as {stored.dtype}, whose numbers cannot be read here.")
