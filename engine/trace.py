"""What a run records: the residual stream at every layer boundary, the norms of what each layer adds, the routing.

Everything else in a layer can be recomputed from its incoming residual stream and the KV cache.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.hooks import HookPoint, HookPoints
from engine.routing import RoutingRecord

_BLOCK = 128  # positions per buffer: growing never copies what is there


class Trace:
    """Boundary l is the residual stream entering layer l; boundary n_layers leaves the last layer.

    ``reach[l]``, ``reach_attention[l]`` and ``reach_mlp[l]`` say how many positions are recorded of each.
    ``spans`` are the [start, end) of the finished passes. ``routing`` is what the routers decided.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        self.config = config
        self.spans: list[tuple[int, int]] = []
        self.routing = RoutingRecord(config)
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._residual: list[Tensor] = []  # [n_layers + 1, _BLOCK, d_model]
        self._norms: list[Tensor] = []  # [rows, _BLOCK]; rows: boundaries, then what attention, then what MLPs added
        self._reach = [0] * (3 * config.n_layers + 1)  # by the same rows
        self._end = 0
        self._parts: list[tuple[int, slice, slice]] = []
        self._staged: dict[int, Tensor] = {}  # row to [1, 1, d_model], of a pass over one position

    @property
    def reach(self) -> list[int]:
        return self._reach[: self.config.n_layers + 1]

    @property
    def reach_attention(self) -> list[int]:
        return self._reach[self._delta_row(0, 0) : self._delta_row(1, 0)]

    @property
    def reach_mlp(self) -> list[int]:
        return self._reach[self._delta_row(1, 0) :]

    def begin_pass(self, start: int, end: int) -> None:
        """The next tensors belong to positions [start, end)."""
        self.truncate(start)
        self.routing.begin_pass(start)
        self._end, self._parts = end, _parts(start, end)
        while len(self._residual) * _BLOCK < end:
            self._residual.append(self._like.new_empty(self.config.n_layers + 1, _BLOCK, self.config.d_model))
            self._norms.append(self._like.new_empty(len(self._reach), _BLOCK, dtype=torch.float32))

    def end_pass(self) -> None:
        """All layers have been recorded."""
        self._settle()
        self.spans.append((self.spans[-1][1] if self.spans else 0, self._end))

    def truncate(self, length: int) -> None:
        """Forget what was recorded from this position on."""
        self._staged.clear()
        self.routing.truncate(length)
        self._reach = [min(n, length) for n in self._reach]
        while self.spans and self.spans[-1][1] > length:
            self.spans.pop()

    def attach(self, points: HookPoints) -> list[Callable[[], None]]:
        """Listen to a model's passes; call the results to stop."""
        detach = [points["blocks.0.hook_resid_pre"].observe(partial(self._put_residual, 0))]
        for layer in range(self.config.n_layers):
            prefix = f"blocks.{layer}."
            for which, name in enumerate(("hook_attn_out", "hook_mlp_out")):
                detach.append(points[prefix + name].observe(partial(self._put_norms, self._delta_row(which, layer))))
            detach.append(points[prefix + "hook_resid_post"].observe(partial(self._put_residual, layer + 1)))
            if layer:
                entering = points[prefix + "hook_resid_pre"]
                detach.append(entering.observe(partial(self._put_edited, layer, entering)))
        return detach + self.routing.attach(points)

    def residual(self, boundary: int, start: int, end: int) -> Tensor:
        """``[end - start, d_model]``, in the model's dtype. The positions must be recorded."""
        self._settle()
        if start == end:
            return self._like.new_empty(0, self.config.d_model)
        return _gathered([block[boundary] for block in self._residual], start, end)

    def column(self, position: int) -> Tensor:
        """``[rows, d_model]``: every recorded boundary of one position, from the embedding up."""
        self._settle()
        rows = sum(1 for n in self.reach if n > position)
        if not rows:
            return self._like.new_empty(0, self.config.d_model)
        return self._residual[position // _BLOCK][:rows, position % _BLOCK]

    def norm_table(self) -> Tensor:
        """L2 norms, float32 ``[3 · n_layers + 1, positions]``: residual stream by boundary, what attention added by
        layer, what the MLP added by layer. 0 where a row does not reach."""
        self._settle()
        positions = max(self._reach)
        if not positions:
            return self._like.new_empty(len(self._reach), 0, dtype=torch.float32)
        table = torch.cat(self._norms, dim=1)[:, :positions]
        reach = torch.tensor(self._reach, device=table.device)
        return torch.where(torch.arange(positions, device=table.device) < reach[:, None], table, 0.0)

    def norm(self, boundary: int, position: int) -> Tensor:
        """L2 norm of the residual stream at a recorded place."""
        self._settle()
        return self._norms[position // _BLOCK][boundary, position % _BLOCK]

    def delta_norm(self, which: int, layer: int, position: int) -> Tensor:
        """L2 norm of what attention (0) or the MLP (1) added at a recorded place."""
        self._settle()
        return self._norms[position // _BLOCK][self._delta_row(which, layer), position % _BLOCK]

    def span_end(self, position: int) -> int:
        """Where the pass ended that read this position."""
        index = bisect_right(self.spans, position, key=lambda span: span[1])
        return self.spans[index][1] if index < len(self.spans) else self._end

    def _delta_row(self, which: int, layer: int) -> int:
        return 1 + (1 + which) * self.config.n_layers + layer

    def _put_residual(self, boundary: int, tensor: Tensor) -> None:
        if tensor.shape[1] > 1:
            for index, inside, outside in self._parts:
                self._residual[index][boundary, inside] = tensor[0, outside]
        self._put_norms(boundary, tensor)

    def _put_edited(self, boundary: int, point: HookPoint, tensor: Tensor) -> None:
        """A hook between two layers may have replaced what the layer before left."""
        if point.listeners:
            self._put_residual(boundary, tensor)

    def _put_norms(self, row: int, tensor: Tensor) -> None:
        self._reach[row] = self._end
        if tensor.shape[1] == 1:
            self._staged[row] = tensor
            return
        norms = _norms(tensor[0])
        for index, inside, outside in self._parts:
            self._norms[index][row, inside] = norms[outside]

    def _settle(self) -> None:
        """Write what a pass over one position has left so far, all layers at once: a tenth of the cost in decode."""
        if not self._staged:
            return
        rows, vectors = list(self._staged), torch.cat(list(self._staged.values()))[:, 0]
        self._staged.clear()
        (index, inside, _), boundaries = self._parts[0], self.config.n_layers + 1
        self._norms[index][rows, inside.start] = _norms(vectors)
        stream = [place for place, row in enumerate(rows) if row < boundaries]
        if stream:
            self._residual[index][[rows[place] for place in stream], inside.start] = vectors[stream]


def _norms(rows: Tensor) -> Tensor:
    """L2 norms over the last axis, computed in float32."""
    return torch.linalg.vector_norm(rows.float(), dim=-1)


def _parts(start: int, end: int) -> list[tuple[int, slice, slice]]:
    """(buffer, positions inside it, positions inside the pass) of a pass over [start, end)."""
    parts = []
    for index in range(start // _BLOCK, -(-end // _BLOCK)):
        first, last = max(start, index * _BLOCK), min(end, (index + 1) * _BLOCK)
        inside = slice(first - index * _BLOCK, last - index * _BLOCK)
        parts.append((index, inside, slice(first - start, last - start)))
    return parts


def _gathered(blocks: list[Tensor], start: int, end: int) -> Tensor:
    parts = [blocks[index][inside] for index, inside, _ in _parts(start, end)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
