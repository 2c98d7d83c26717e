"""Boxes set in lines like words of a text. Plain numbers: no widgets."""

from __future__ import annotations

from bisect import bisect_right


class Lines:
    """Boxes of given widths, left to right, a new line where the next would not fit. Adding one costs the same always.

    Lengths are in pixels. A box may have a ``lead``: room before it, on the same line.
    """

    def __init__(self, width: float, gap: float) -> None:
        self.width = width
        self.gap = gap
        self._lefts: list[float] = []
        self._widths: list[float] = []
        self._lines: list[int] = []  # of each box
        self._firsts: list[int] = []  # the first box of each line

    def __len__(self) -> int:
        return len(self._lefts)

    @property
    def n_lines(self) -> int:
        return len(self._firsts)

    def add(self, width: float, lead: float = 0.0) -> None:
        """Set one more box. One that is wider than the line stands alone and is narrowed to it."""
        start = self._lefts[-1] + self._widths[-1] + self.gap if self._lefts else 0.0
        width = min(width, max(1.0, self.width - lead))
        if not self._firsts or start + lead + width > self.width:
            self._firsts.append(len(self))
            start = 0.0
        self._lefts.append(start + lead)
        self._widths.append(width)
        self._lines.append(len(self._firsts) - 1)

    def place(self, index: int) -> tuple[int, float, float]:
        """Line, left edge and width of a box."""
        return self._lines[index], self._lefts[index], self._widths[index]

    def line(self, number: int) -> range:
        """The boxes of a line."""
        end = self._firsts[number + 1] if number + 1 < self.n_lines else len(self)
        return range(self._firsts[number], end)

    def at(self, line: int, x: float) -> int | None:
        """The box under a point; None between boxes and outside."""
        if not 0 <= line < self.n_lines:
            return None
        boxes = self.line(line)
        index = bisect_right(self._lefts, x, boxes.start, boxes.stop) - 1
        inside = index >= boxes.start and x < self._lefts[index] + self._widths[index]
        return index if inside else None

    def nearest(self, line: int, x: float) -> int:
        """The box of an existing line that is nearest to ``x``."""
        return min(self.line(line), key=lambda i: abs(self._lefts[i] + self._widths[i] / 2 - x))
