"""Attention maps of a viewed layer, kept reduced to what a screen can show while the sequence grows.

Rows are captured in decode (the pattern exists in the pass) and recomputed for prefill. A cell is the maximum over a
square of ``block`` x ``block`` (query, key) pairs, so reducing further later loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.hooks import HookPoint


class AttentionMaps:
    """Maps of the heads of one layer (all, or one). ``n`` query positions are in; ``captured`` of them from the pass.

    ``maps`` is float32 ``[heads, cells, cells]`` with cells = ceil(n / block) ≤ most.
    """

    def __init__(self, n_heads: int, head: int | None, most: int, device: torch.device) -> None:
        self.n = 0
        self.captured = 0
        self.block = 1
        self._head, self._most = head, max(8, most)
        heads = n_heads if head is None else 1
        self._maps = torch.zeros(heads, self._most, self._most, device=device)
        self._detach: Callable[[], None] | None = None
        self._end: Callable[[], int] = lambda: 0
        self.row: Tensor | None = None  # [n_heads, keys] of the last decode pass

    def follow(self, point: HookPoint, end: Callable[[], int]) -> None:
        """Take the rows of every decode pass from its hook_pattern; ``end()`` is one past its newest position."""
        self.leave()
        self._end = end
        self._detach = point.observe(self._capture)

    def leave(self) -> None:
        """Stop following."""
        if self._detach is not None:
            self._detach()
            self._detach = None

    def add(self, pattern: Tensor) -> None:
        """Append the next query rows, ``[n_heads, rows, keys]``; keys = n + rows."""
        if self._head is not None:
            pattern = pattern[self._head : self._head + 1]
        self._make_room(pattern.shape[2])
        cells = F.max_pool2d(self._padded(pattern)[None], self.block)[0]
        row, column = self.n // self.block, cells.shape[2]
        target = self._maps[:, row : row + cells.shape[1], :column]
        torch.maximum(target, cells, out=target)
        self.n += pattern.shape[1]

    def maps(self) -> Tensor:
        """A view ``[heads, cells, cells]``."""
        cells = -(-self.n // self.block)
        return self._maps[:, :cells, :cells]

    def _capture(self, pattern: Tensor) -> None:
        """Only a row that continues the map: after a jump the rows before are recomputed first."""
        end = self._end()
        pattern = F.pad(pattern, (end - pattern.shape[3], 0))  # keys that the layer has let go are not seen
        self.row = pattern[0, :, 0] if pattern.shape[2] == 1 else None
        if end - pattern.shape[2] == self.n:
            self.captured += pattern.shape[2]
            self.add(pattern[0])

    def _padded(self, pattern: Tensor) -> Tensor:
        """Rows start at a multiple of the block, rows and columns end at one; 0 never wins a maximum."""
        before = self.n % self.block
        rows, columns = before + pattern.shape[1], pattern.shape[2]
        return F.pad(pattern.float(), (0, -columns % self.block, before, -rows % self.block))

    def _make_room(self, positions: int) -> None:
        while -(-positions // self.block) > self._most:
            used = self.maps()
            odd = used.shape[1] % 2
            halved = F.max_pool2d(F.pad(used, (0, odd, 0, odd))[None], 2)[0] if self.n else used
            self._maps.zero_()
            self._maps[:, : halved.shape[1], : halved.shape[2]] = halved
            self.block *= 2
