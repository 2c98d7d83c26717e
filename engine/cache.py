"""The KV cache: what attention keeps of every position read so far, layer by layer.

A layer stores the parts that its spec names: keys (after rope) and values, or a latent. A layer that attends through a
window or within a chunk lets go of positions that no later query can see. A pass appends to one layer after the other
and commits once at its end, so a cancelled pass leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config import AttentionSpec, LatentAttentionSpec, ModelConfig, entries_per_position
from engine.errors import ContextError
from engine.hooks import HookPoint
from engine.reach import FIRST_CAPACITY


class _LayerCache:
    """One layer's buffers, one per part: ``[batch, heads, capacity, width]``. Column 0 holds position ``base``."""

    def __init__(self, spec: AttentionSpec | LatentAttentionSpec, n_ctx: int, batch: int, like: Tensor) -> None:
        self.spec, self.n_ctx = spec, n_ctx
        self.base = self.first = self.end = 0  # positions [first, end) are stored
        self.first_before = 0  # ``first`` before the last commit: what is behind it lies in the buffers still
        self.buffers = [like.new_empty(batch, part.heads, 0, part.width) for part in spec.cached]

    @property
    def capacity(self) -> int:
        return self.buffers[0].shape[2]

    def append(self, start: int, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        end = start + parts[0].shape[2]
        if end - self.base > self.capacity:
            self._make_room(start, end)
        count, column = end - start, start - self.base
        for buffer, part in zip(self.buffers, parts, strict=True):
            buffer.narrow(2, column, count).copy_(part)
        self.end = end
        return self.views()

    def views(self) -> tuple[Tensor, ...]:
        column, count = self.first - self.base, self.end - self.first
        return tuple(buffer.narrow(2, column, count) for buffer in self.buffers)

    def commit(self, before: int, length: int) -> None:
        """Positions that the next query does not see are let go; after a long prefill their memory too.

        The memory of those that the pass itself saw stays until the next one: it may still be taken back.
        """
        self.first_before = self.first
        self.first = max(self.first, min(length, self.spec.first_seen(length)))
        oldest = self.first_before if before else self.first
        if self.capacity > max(4 * (self.end - oldest), 4 * FIRST_CAPACITY) and oldest > self.base:
            self._move(max(FIRST_CAPACITY, 2 * (self.end - oldest)), oldest)

    def cut(self, length: int) -> None:
        """What is there of the positions that the next query sees; all that lies in the buffers may be."""
        self.base = self._there(length)
        self.first = self.first_before = max(self.base, min(length, self.spec.first_seen(length)))
        self.end = length

    def _there(self, length: int) -> int:
        """From which position on the first ``length`` lie in the buffers."""
        return self.base if self.base < length else length

    def missing(self, length: int) -> tuple[int, int]:
        """[start, end) of the positions that the next query sees and that are not there, were it cut to ``length``."""
        return min(length, self.spec.first_seen(length)), self._there(length)

    def tail(self, start: int, end: int) -> tuple[int, tuple[Tensor, ...]]:
        """The first position stored of [start, end), and copies of those from there on."""
        first = min(max(start, self.first), end)
        column = first - self.base if first < end else 0
        return first, tuple(buffer.narrow(2, column, end - first).clone() for buffer in self.buffers)

    def extend(self, first: int, end: int, parts: tuple[Tensor, ...]) -> None:
        """Go on with positions [first, end); what does not border on them is let go."""
        if first > self.end or first == end:
            self.base = self.first = self.end = first
        self.append(first, parts)
        self.first = self.first_before = max(self.first, min(end, self.spec.first_seen(end)))

    def fill(self, parts: tuple[Tensor, ...]) -> None:
        """The positions before the first one stored."""
        kept, count = self.views(), parts[0].shape[2]
        self.buffers = [torch.cat((part, old), dim=2) for part, old in zip(parts, kept, strict=True)]
        self.base = self.first = self.first_before = self.first - count

    def bytes_of(self, start: int, end: int) -> int:
        """Of what is stored of positions [start, end)."""
        count = max(0, min(end, self.end) - max(start, self.first))
        return sum(part.shape[1] * count * part.shape[3] * part.element_size() for part in self.buffers)

    def twin(self) -> _LayerCache:
        """The same, in buffers of its own."""
        made = copy(self)
        made.buffers = [buffer.clone() for buffer in self.buffers]
        return made

    def first_of(self, last_pass_undone: bool) -> int:
        """The first position stored, or what it was before the last pass if that lies in the buffers still."""
        return min(self.first, max(self.base, self.first_before)) if last_pass_undone else self.first

    def _make_room(self, start: int, end: int) -> None:
        """Doubles, unless letting go of what is not seen any more makes room enough."""
        needed, self.end = end - self.first, start
        if 2 * needed <= self.capacity:
            self._move(self.capacity, self.first)
        else:
            self._move(max(needed, min(max(2 * (start - self.first), FIRST_CAPACITY), self.n_ctx)), self.first)

    def _move(self, capacity: int, oldest: int) -> None:
        kept = self.end - oldest
        for index, buffer in enumerate(self.buffers):
            larger = buffer.new_empty(*buffer.shape[:2], capacity, buffer.shape[3])
            larger[:, :, :kept] = buffer.narrow(2, oldest - self.base, kept)
            self.buffers[index] = larger
        self.base = oldest


@dataclass(frozen=True)
class CacheTail:
    """What every layer stored of positions [start, end): its first position, and its parts from there on, ``[batch,
    heads, pos, width]``. A layer that forgets may have none of the first ones."""

    start: int
    end: int
    layers: tuple[tuple[int, tuple[Tensor, ...]], ...]

    @property
    def bytes(self) -> int:
        """Of all parts."""
        return sum(part.numel() * part.element_size() for _, parts in self.layers for part in parts)

    def joined(self, behind: CacheTail) -> CacheTail | None:
        """With the positions that follow; None where a layer has some of these, and not the first ones behind them."""
        layers = []
        for (first, parts), (next_first, more) in zip(self.layers, behind.layers, strict=True):
            if self.end not in (first, next_first) or len(parts) != len(more):
                return None
            both = tuple(torch.cat(pair, dim=2) for pair in zip(parts, more, strict=True))
            layers.append((first if next_first == self.end else next_first, both))
        return CacheTail(self.start, behind.end, tuple(layers))

    def split(self, at: int) -> tuple[CacheTail, CacheTail]:
        """The positions before ``at``, and those from it on: copies, so that each goes with its memory."""
        before, behind = [], []
        for first, parts in self.layers:
            middle = max(first, at)
            before.append((min(first, at), _columns(parts, 0, middle - first if first < at else 0)))
            behind.append((middle, _columns(parts, middle - first, self.end - first)))
        return CacheTail(self.start, at, tuple(before)), CacheTail(at, self.end, tuple(behind))


def _columns(parts: tuple[Tensor, ...], start: int, end: int) -> tuple[Tensor, ...]:
    return tuple(part[:, :, start:end].clone() for part in parts)


class KVCache:
    """What each layer stores, and how far: ``length`` counts committed positions."""

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
        self.remade = 0  # positions before this one were computed again from a record, not left by their passes
        self._before = 0  # where the last pass began
        like = torch.empty(0, dtype=dtype, device=device)
        self._layers = [_LayerCache(spec.attention, config.n_ctx, batch, like) for spec in config.layers]
        self._itemsize = dtype.itemsize
        per_position = [batch * entries_per_position(config, layer) for layer in range(config.n_layers)]
        self._layer_bytes = [entries * dtype.itemsize for entries in per_position]
        self._after: dict[int, int] = {}

    def check(self, positions: int) -> None:
        """Raises ContextError beyond the model's context."""
        if positions > self.config.n_ctx:
            raise ContextError(
                f"{positions} positions do not fit into this model's context of {self.config.n_ctx}; shorten the text."
            )

    def append(self, layer: int, *parts: Tensor) -> tuple[Tensor, ...]:
        """Write ``[batch, heads, pos, width]`` of every part behind the committed positions of a layer.

        Returns views of all that the layer holds, ``[batch, heads, key, width]``; the last key is the newest position.
        """
        self.check(self.length + parts[0].shape[2])
        return self._layers[layer].append(self.length, parts)

    def commit(self, positions: int) -> None:
        """The pass is done: every layer has these positions more."""
        self._before, self.length = self.length, self.length + positions
        for stored in self._layers:
            stored.commit(self._before, self.length)

    def rollback(self) -> None:
        """Forget what an unfinished pass has appended."""
        for stored in self._layers:
            stored.end = min(stored.end, self.length)

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` positions.

        The last pass can always be taken back, as one must that is cancelled between its last layer and its token.
        Raises ContextError where there are fewer, or where a layer has let go of positions that the next query sees.
        """
        if not 0 <= length <= self.length:
            raise ContextError(f"The cache holds {self.length} positions; it cannot be cut to {length}.")
        firsts = [stored.first_of(length == self._before) for stored in self._layers]
        for index, (stored, first) in enumerate(zip(self._layers, firsts, strict=True)):
            if min(length, stored.spec.first_seen(length)) < first and length:
                raise ContextError(
                    f"Layer {index} keeps positions from {first} on; the cache cannot be cut to {length}."
                )
        self.length, self.remade = length, min(self.remade, length)
        for stored, first in zip(self._layers, firsts, strict=True):
            stored.first = stored.first_before = min(first, length)
            stored.base = min(stored.base, stored.first)
        self._before = length
        self.rollback()

    def cut(self, length: int) -> None:
        """Keep what is there of the first ``length`` positions; a layer that has let go of some misses them then."""
        for stored in self._layers:
            stored.cut(length)
        self.length = self._before = length
        self.remade = min(self.remade, length)

    def missing(self, length: int | None = None) -> dict[int, tuple[int, int]]:
        """By layer: positions [start, end) that the next query sees and that are not there, see ``fill``; ``length``:
        those that would not be there if it were cut to that."""
        length = self.length if length is None else length
        bounds = {layer: stored.missing(length) for layer, stored in enumerate(self._layers)}
        return {layer: (start, end) for layer, (start, end) in bounds.items() if start < end}

    def fill(self, layer: int, parts: tuple[Tensor, ...]) -> None:
        """Put back positions that lie before those stored, up to them: ``[batch, heads, pos, width]`` of every part."""
        self._layers[layer].fill(parts)

    def tail(self, start: int, end: int) -> CacheTail:
        """Copies of what is stored of committed positions [start, end)."""
        return CacheTail(start, end, tuple(stored.tail(start, end) for stored in self._layers))

    def extend(self, tail: CacheTail) -> None:
        """Go on with the positions of a tail, which begins where this ends; a layer may miss some then."""
        if tail.start == tail.end:  # nothing was read in it
            return
        for stored, (first, parts) in zip(self._layers, tail.layers, strict=True):
            stored.extend(first, tail.end, parts)
        self.length = self._before = tail.end

    @contextmanager
    def windows_kept(self) -> Iterator[None]:
        """Whatever is cut and extended inside, afterwards the layers that forget hold what they held before. The
        others, and ``length``, are the caller's."""
        forgetful = [layer for layer, stored in enumerate(self._layers) if stored.spec.first_seen(self.config.n_ctx)]
        kept = {layer: self._layers[layer] for layer in forgetful}
        for layer, stored in kept.items():
            self._layers[layer] = stored.twin()
        try:
            yield
        finally:
            for layer, stored in kept.items():
                self._layers[layer] = stored

    def bytes_of(self, start: int, end: int) -> int:
        """Bytes of what is stored of positions [start, end)."""
        return sum(stored.bytes_of(start, end) for stored in self._layers)

    def restore(self, firsts: Sequence[int], length: int, parts: Mapping[int, tuple[Tensor, ...]]) -> None:
        """Stand at ``length``, with the positions [firsts[layer], length) of ``parts``, ``[heads, pos, width]`` each.

        A layer that is not among ``parts`` has its bounds only.
        """
        self.length = self._before = length
        for index, (stored, first) in enumerate(zip(self._layers, firsts, strict=True)):
            stored.base = stored.first = stored.first_before = first
            stored.end = length
            if index in parts:
                stored.buffers = [
                    part[None].to(buffer) for part, buffer in zip(parts[index], stored.buffers, strict=True)
                ]

    def parts(self, layer: int) -> tuple[Tensor, ...]:
        """All that a layer stores: views ``[batch, heads, key, width]`` of positions [firsts[layer], lengths[layer]).

        The first is what scores are made with: keys, or the latent.
        """
        return self._layers[layer].views()

    def firsts_at(self, length: int) -> list[int]:
        """Per layer: the first position stored when ``length`` were committed, now or before the last pass."""
        return [min(stored.first_of(length < self.length), length) for stored in self._layers]

    def parts_at(self, layer: int, length: int) -> tuple[Tensor, ...]:
        """What was stored then: as ``parts``, of positions [firsts_at(length)[layer], length)."""
        stored, first = self._layers[layer], self.firsts_at(length)[layer]
        return tuple(buffer.narrow(2, first - stored.base, length - first) for buffer in stored.buffers)

    def part(self, layer: int, name: str) -> Tensor:
        """One part by its name."""
        names = [part.name for part in self._layers[layer].spec.cached]
        return self.parts(layer)[names.index(name)]

    def keys(self, layer: int) -> Tensor:
        """Keys after rope, as stored: a view ``[batch, n_kv_heads, key, d_head]``."""
        return self.part(layer, "k")

    def values(self, layer: int) -> Tensor:
        """Values as stored: a view ``[batch, n_kv_heads, key, d_head]``."""
        return self.part(layer, "v")

    @property
    def lengths(self) -> list[int]:
        """Per layer: one past the last position stored, counting those of a pass under way."""
        return [stored.end for stored in self._layers]

    @property
    def firsts(self) -> list[int]:
        """Per layer: the first position stored; those before it have been let go."""
        return [stored.first for stored in self._layers]

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """[batch, heads, key, width] of each layer's first part: keys (values have the same), or the latent."""
        return [tuple(stored.views()[0].shape) for stored in self._layers]  # type: ignore[misc]  # four axes

    @property
    def bytes_per_token(self) -> int:
        """What one position adds while every layer keeps it: the sum of ``layer_bytes``."""
        return sum(self._layer_bytes)

    @property
    def bytes_now(self) -> int:
        """Bytes of the positions stored, counting those of a pass under way."""
        return sum((s.end - s.first) * size for s, size in zip(self._layers, self._layer_bytes, strict=True))

    @property
    def bytes_allocated(self) -> int:
        """Bytes of the buffers."""
        return sum(buffer.numel() * self._itemsize for stored in self._layers for buffer in stored.buffers)

    def bytes_after(self, length: int) -> int:
        """Bytes that are stored once ``length`` positions have been read."""
        if length not in self._after:  # asked again for every pass, after every pass
            attentions = [spec.attention for spec in self.config.layers]
            kept = [length - min(length, attention.first_seen(length)) for attention in attentions]
            self._after[length] = sum(count * self.layer_bytes(layer) for layer, count in enumerate(kept))
        return self._after[length]

    def layer_bytes(self, layer: int) -> int:
        """Bytes that one position takes in one layer: 2 · n_kv_heads · d_head, or d_latent + d_rope, times bytes."""
        return self._layer_bytes[layer]


def announce(point: HookPoint, start: int, *entries: Tensor) -> None:
    """Tell a hook what a pass appends: [first position, positions, bytes]; ``entries`` are ``[batch, pos, ...]``."""
    if point.watched:
        size = sum(entry.numel() * entry.element_size() for entry in entries)
        point(torch.tensor([start, entries[0].shape[1], size]))
    else:
        point.visit()
