"""Attention maps of a viewed layer, kept reduced to what a screen can show while the sequence grows.

Rows are captured in decode (the pattern exists in the pass) and recomputed for prefill. A cell stands for a square of
``block`` x ``block`` (query, key) pairs: their maximum, or of figures with signs the one of largest magnitude, so that
reducing further later loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.hooks import HookPoint
from engine.meter import MAPS


class AttentionMaps:
    """Maps of the heads of one layer (all, or one), of all queries and keys or of a region of them.

    ``n`` is one past the last query position that is in; ``captured`` rows came from the pass. ``maps`` is float32
    ``[heads, rows, columns]``, no more than ``most`` of both; it begins at the region's first query and key.
    """

    def __init__(
        self,
        n_heads: int,
        head: int | None,
        most: int,
        device: torch.device,
        *,
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
        signed: bool = False,
    ) -> None:
        self.first = 0 if rows is None else rows[0]
        self.stop = None if rows is None else rows[1]
        self.n = self.first
        self.captured = 0
        self.block = 1
        self.columns = 0  # how many keys of the region are in
        self._keys = slice(*columns) if columns is not None else slice(0, None)
        self._head, self._most, self._signed = head, max(8, most), signed
        heads = n_heads if head is None else 1
        self._maps = torch.zeros(heads, self._most, self._most, device=device)
        self._detach: Callable[[], None] | None = None
        self._end: Callable[[], int] = lambda: 0
        self.row: Tensor | None = None  # [n_heads, keys] of the last decode pass
        for start, stop in filter(None, (rows, columns)):
            self.make_room(stop - start)

    def coarser(self, most: int) -> AttentionMaps:
        """A copy with ``most`` cells along an axis or fewer, which follows nothing yet."""
        made = copy(self)
        made._most, made._detach, made._maps = max(8, most), None, self._maps.clone()
        made.make_room(max(self.n - self.first, self.columns, (self.stop or 0) - self.first))
        made._maps = made._maps[:, : made._most, : made._most].contiguous()
        return made

    def follow(self, point: HookPoint, end: Callable[[], int]) -> None:
        """Take the rows of every decode pass from its hook_pattern; ``end()`` is one past its newest position."""
        self.leave()
        self._end = end
        self._detach = point.observe(self._capture, MAPS)

    def leave(self) -> None:
        """Stop following."""
        if self._detach is not None:
            self._detach()
            self._detach = None

    def add(self, rows: Tensor) -> None:
        """Append the next query rows, ``[n_heads, rows, keys]`` with all keys from position 0 on."""
        figures = self._cut(rows)
        if not figures.shape[2]:  # queries before the keys of the region
            self.n += figures.shape[1]
            return
        self.make_room(max(self.n - self.first + figures.shape[1], figures.shape[2]))
        before = (self.n - self.first) % self.block
        cells = self._pooled(F.pad(figures, (0, 0, before, 0)), self.block)
        row = (self.n - self.first) // self.block
        target = self._maps[:, row : row + cells.shape[1], : cells.shape[2]]
        target.copy_(self._stronger(target, cells))
        self.n += figures.shape[1]
        self.columns = max(self.columns, figures.shape[2])

    def sample(self, row: Tensor) -> Tensor:
        """The cells ``[heads, 1, columns]`` of one query ``[n_heads, 1, keys]`` that stands for others."""
        return self._pooled_keys(self._cut(row), self.block)

    def with_samples(self, samples: list[Tensor], every: int, end: int) -> Tensor:
        """``[heads, rows, columns]`` up to the query ``end``: the map so far, and below it samples, of which each
        stands for ``every`` queries (a multiple of the block), the first from ``n`` on."""
        rows = -(-(end - self.first) // self.block)
        columns = max(-(-self.columns // self.block), *(cells.shape[2] for cells in samples))
        whole = self._maps[:, :rows, :columns].clone()
        row, high = (self.n - self.first) // self.block, every // self.block
        for place, cells in enumerate(samples):
            target = whole[:, row + place * high : row + (place + 1) * high, : cells.shape[2]]
            target.copy_(self._stronger(target, cells.expand_as(target)))
        return whole

    def maps(self) -> Tensor:
        """A view ``[heads, rows, columns]``."""
        return self._maps[:, : -(-(self.n - self.first) // self.block), : -(-self.columns // self.block)]

    def reaches(self, length: int) -> bool:
        """Whether queries from position ``length`` on are in, or the last row that was captured is of one of them."""
        return self.n > length or (self.row is not None and self.row.shape[1] > length)

    def make_room(self, positions: int) -> None:
        """So many queries or keys must have their place: cells stand for more of them where they have not."""
        while -(-positions // self.block) > self._most:
            used = self.maps()
            halved = self._pooled(used, 2) if used.numel() else used
            self._maps.zero_()
            self._maps[:, : halved.shape[1], : halved.shape[2]] = halved
            self.block *= 2

    def _capture(self, pattern: Tensor) -> None:
        """Only a row that continues the map: after a jump the rows before are recomputed first."""
        end = self._end()
        pattern = F.pad(pattern, (end - pattern.shape[3], 0))  # keys that the layer has let go are not seen
        self.row = pattern[0, :, 0] if pattern.shape[2] == 1 else None
        if end - pattern.shape[2] == self.n and (self.stop is None or end <= self.stop):
            self.captured += pattern.shape[2]
            self.add(pattern[0])

    def _cut(self, rows: Tensor) -> Tensor:
        """Of the head and the keys that the map is of, float32."""
        if self._head is not None and rows.shape[0] > 1:
            rows = rows[self._head : self._head + 1]
        return rows[:, :, self._keys].float()

    def _pooled(self, figures: Tensor, block: int) -> Tensor:
        """Squares of ``block`` as one cell: ``[heads, ceil(rows / block), ceil(keys / block)]``."""
        if block == 1:
            return figures
        whole = F.pad(figures, (0, 0, 0, -figures.shape[1] % block))  # 0 never wins: not a maximum, not a magnitude
        rows = self._strongest(whole.unflatten(1, (-1, block)), 2)
        return self._pooled_keys(rows, block)

    def _pooled_keys(self, figures: Tensor, block: int) -> Tensor:
        if block == 1 or not figures.shape[2]:
            return figures
        return self._strongest(F.pad(figures, (0, -figures.shape[2] % block)).unflatten(2, (-1, block)), 3)

    def _strongest(self, figures: Tensor, axis: int) -> Tensor:
        high = figures.amax(axis)
        if not self._signed:
            return high
        low = figures.amin(axis)
        return torch.where(high >= -low, high, low)

    def _stronger(self, one: Tensor, other: Tensor) -> Tensor:
        if not self._signed:
            return torch.maximum(one, other)
        return torch.where((other.abs() <= one.abs()) | one.isnan(), one, other)
