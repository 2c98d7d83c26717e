"""What a weight file's header says about one tensor. No torch here: headers are checked before anything heavy."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as it stands in a file: ``shape`` in torch order, ``size`` bytes from byte ``offset`` of ``file``."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # the format's own word: "BF16", "Q4_1", ...
    file: Path
    offset: int
    size: int

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def rows(self) -> int:
        """The length of the first axis; a scalar counts as one row."""
        return self.shape[0] if self.shape else 1

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """(byte offset in the file, bytes) of rows [start, stop)."""
        row = self.size // self.rows
        return self.offset + start * row, (stop - start) * row
