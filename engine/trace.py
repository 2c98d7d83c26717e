"""What a run records: the residual stream at every layer boundary, and the norms of what each layer adds.

Everything else in a layer can be recomputed from its incoming residual stream and the KV cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.hooks import HookPoint, HookPoints

_BLOCK = 128  # positions per buffer: growing never copies what is there


class Trace:
    """Boundary l is the residual stream entering layer l; boundary n_layers leaves the last layer.

    ``reach[l]``, ``reach_attention[l]`` and ``reach_mlp[l]`` say how many positions are recorded of each.
    ``spans`` are the [start, end) of the finished passes.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        self.config = config
        self.spans: list[tuple[int, int]] = []
        self.reach = [0] * (config.n_layers + 1)
        self.reach_attention = [0] * config.n_layers
        self.reach_mlp = [0] * config.n_layers
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._residual: list[Tensor] = []  # [n_layers + 1, _BLOCK, d_model]
        self._deltas: list[Tensor] = []  # norms [2, n_layers, _BLOCK]: attention, MLP
        self._start = 0
        self._end = 0

    def begin_pass(self, start: int, end: int) -> None:
        """The next tensors belong to positions [start, end)."""
        self.truncate(start)
        self._start, self._end = start, end
        layers, d_model = self.config.n_layers, self.config.d_model
        while len(self._residual) * _BLOCK < end:
            self._residual.append(self._like.new_empty(layers + 1, _BLOCK, d_model))
            self._deltas.append(self._like.new_empty(2, layers, _BLOCK, dtype=torch.float32))

    def end_pass(self) -> None:
        """All layers have been recorded."""
        self.spans.append((self._start, self._end))

    def truncate(self, length: int) -> None:
        """Forget what was recorded from this position on."""
        for reach in (self.reach, self.reach_attention, self.reach_mlp):
            reach[:] = [min(n, length) for n in reach]
        self.spans = [span for span in self.spans if span[1] <= length]

    def attach(self, points: HookPoints) -> list[Callable[[], None]]:
        """Listen to a model's passes; call the results to stop."""
        detach = [points["blocks.0.hook_resid_pre"].observe(partial(self._put_residual, 0))]
        for layer in range(self.config.n_layers):
            prefix = f"blocks.{layer}."
            detach.append(points[prefix + "hook_attn_out"].observe(partial(self._put_delta, 0, layer)))
            detach.append(points[prefix + "hook_mlp_out"].observe(partial(self._put_delta, 1, layer)))
            detach.append(points[prefix + "hook_resid_post"].observe(partial(self._put_residual, layer + 1)))
            if layer:
                entering = points[prefix + "hook_resid_pre"]
                detach.append(entering.observe(partial(self._put_edited, layer, entering)))
        return detach

    def residual(self, boundary: int, start: int, end: int) -> Tensor:
        """``[end - start, d_model]``, in the model's dtype. The positions must be recorded."""
        if start == end:
            return self._like.new_empty(0, self.config.d_model)
        return self._gathered([block[boundary] for block in self._residual], start, end)

    def column(self, position: int) -> Tensor:
        """``[rows, d_model]``: every recorded boundary of one position, from the embedding up."""
        rows = sum(1 for n in self.reach if n > position)
        if not rows:
            return self._like.new_empty(0, self.config.d_model)
        return self._residual[position // _BLOCK][:rows, position % _BLOCK]

    def norms(self, boundary: int, start: int, end: int) -> Tensor:
        """L2 norms of the residual stream, float32 ``[end - start]``."""
        return _norms(self.residual(boundary, start, end))

    def delta_norms(self, which: int, layer: int, start: int, end: int) -> Tensor:
        """L2 norms of what attention (0) or the MLP (1) added, float32 ``[end - start]``."""
        if start == end:
            return self._like.new_empty(0, dtype=torch.float32)
        return self._gathered([block[which, layer] for block in self._deltas], start, end)

    def span_end(self, position: int) -> int:
        """Where the pass ended that read this position."""
        for start, end in self.spans:
            if start <= position < end:
                return end
        return self._end

    def _gathered(self, blocks: list[Tensor], start: int, end: int) -> Tensor:
        parts = []
        for index in range(start // _BLOCK, -(-end // _BLOCK)):
            first = index * _BLOCK
            parts.append(blocks[index][max(start - first, 0) : end - first])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _put_residual(self, boundary: int, tensor: Tensor) -> None:
        rows = tensor[0]
        for index, inside, outside in self._parts():
            self._residual[index][boundary, inside] = rows[outside]
        self.reach[boundary] = self._end

    def _put_edited(self, boundary: int, point: HookPoint, tensor: Tensor) -> None:
        """A hook between two layers may have replaced what the layer before left."""
        if point.listeners:
            self._put_residual(boundary, tensor)

    def _put_delta(self, which: int, layer: int, tensor: Tensor) -> None:
        norms = _norms(tensor[0])
        for index, inside, outside in self._parts():
            self._deltas[index][which, layer, inside] = norms[outside]
        (self.reach_attention, self.reach_mlp)[which][layer] = self._end

    def _parts(self) -> list[tuple[int, slice, slice]]:
        """(buffer, positions inside it, positions inside the pass) of the pass under way."""
        parts = []
        for index in range(self._start // _BLOCK, -(-self._end // _BLOCK)):
            first, last = max(self._start, index * _BLOCK), min(self._end, (index + 1) * _BLOCK)
            inside = slice(first - index * _BLOCK, last - index * _BLOCK)
            parts.append((index, inside, slice(first - self._start, last - self._start)))
        return parts


def _norms(rows: Tensor) -> Tensor:
    """L2 norms over the last axis, computed in float32."""
    return torch.linalg.vector_norm(rows.float(), dim=-1)
