"""The KV cache: keys (after rope) and values of every position read so far, layer by layer.

A pass appends to one layer after the other and commits once at its end, so a cancelled pass leaves no trace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.errors import ContextError

_FIRST_CAPACITY = 256


class KVCache:
    """Buffers ``[batch, n_kv_heads, capacity, d_head]`` per layer; they double when full, up to the context.

    ``length`` counts committed positions; ``lengths[layer]`` also what the pass under way has appended.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.length = 0
        self.lengths = [0] * config.n_layers
        self._batch, self._dtype, self._device = batch, dtype, device
        self._capacity = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def reserve(self, positions: int) -> None:
        """Make room for this many positions. Raises ContextError beyond the model's context."""
        if positions > self.config.n_ctx:
            raise ContextError(
                f"{positions} positions do not fit into this model's context of {self.config.n_ctx}; shorten the text."
            )
        if positions > self._capacity:
            self._grow(min(max(positions, 2 * self._capacity, _FIRST_CAPACITY), self.config.n_ctx))

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write ``[batch, n_kv_heads, pos, d_head]`` behind the committed positions of a layer.

        Returns views of all keys and values of the layer, ``[batch, n_kv_heads, key, d_head]``.
        """
        end = self.length + keys.shape[2]
        self.reserve(end)
        self._keys[layer][:, :, self.length : end] = keys
        self._values[layer][:, :, self.length : end] = values
        self.lengths[layer] = end
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def commit(self, positions: int) -> None:
        """The pass is done: every layer has these positions more."""
        self.length += positions

    def rollback(self) -> None:
        """Forget what an unfinished pass has appended."""
        self.lengths = [self.length] * len(self.lengths)

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` positions."""
        if not 0 <= length <= self.length:
            raise ContextError(f"The cache holds {self.length} positions; it cannot be cut to {length}.")
        self.length = length
        self.rollback()

    def keys(self, layer: int) -> Tensor:
        """Keys after rope, as stored: a view ``[batch, n_kv_heads, key, d_head]``."""
        return self._view(self._keys, layer)

    def values(self, layer: int) -> Tensor:
        """Values as stored: a view ``[batch, n_kv_heads, key, d_head]``."""
        return self._view(self._values, layer)

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """[batch, n_kv_heads, key, d_head] of each layer's keys; values have the same."""
        facts = zip(self.config.layers, self.lengths, strict=True)
        return [(self._batch, spec.attention.n_kv_heads, n, spec.attention.d_head) for spec, n in facts]

    @property
    def bytes_per_token(self) -> int:
        """Sum over layers of 2 · n_kv_heads · d_head · bytes, times batch."""
        return sum(self.layer_bytes(layer) for layer in range(self.config.n_layers))

    @property
    def bytes_now(self) -> int:
        """Bytes of the positions stored, counting those of a pass under way."""
        return sum(n * self.layer_bytes(layer) for layer, n in enumerate(self.lengths))

    @property
    def bytes_allocated(self) -> int:
        """Bytes of the buffers."""
        return self._capacity * self.bytes_per_token

    def layer_bytes(self, layer: int) -> int:
        """Bytes that one position takes in one layer."""
        attention = self.config.layers[layer].attention
        return 2 * self._batch * attention.n_kv_heads * attention.d_head * self._dtype.itemsize

    def _view(self, buffers: list[Tensor], layer: int) -> Tensor:
        if not buffers:
            attention = self.config.layers[layer].attention
            shape = (self._batch, attention.n_kv_heads, 0, attention.d_head)
            return torch.empty(shape, dtype=self._dtype, device=self._device)
        return buffers[layer][:, :, : self.lengths[layer]]

    def _grow(self, capacity: int) -> None:
        """Layer by layer, so that only one layer is held twice."""
        for buffers in (self._keys, self._values):
            for layer, spec in enumerate(self.config.layers):
                shape = (self._batch, spec.attention.n_kv_heads, capacity, spec.attention.d_head)
                larger = torch.empty(shape, dtype=self._dtype, device=self._device)
                if len(buffers) <= layer:
                    buffers.append(larger)
                    continue
                kept = self.lengths[layer]
                larger[:, :, :kept] = buffers[layer][:, :, :kept]
                buffers[layer] = larger
        self._capacity = capacity
