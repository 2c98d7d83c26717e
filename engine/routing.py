"""What the routers of a run decided, captured in the pass: a few numbers a position, so nothing is recomputed.

Scores and choice follow from the logits by the router's own stage functions; logits, experts and weights are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from engine.config import ModelConfig, MoESpec
from engine.hooks import HookPoints
from engine.meter import ROUTING

_KEPT = ("hook_router_logits", "hook_expert_indices", "hook_expert_weights")  # the last one ends the stage
_SHARED_GATE = "hook_shared_gate"
_FIRST_ROOM = 128  # positions; room doubles, so that growing copies little


class Rows:
    """Rows by position, ``[positions, width]``, in the type of the first that are put.

    The rows of decode wait until somebody reads them: a copy for each would cost more than the router.
    """

    def __init__(self) -> None:
        self.reach = 0
        self._rows: Tensor | None = None
        self._staged: list[tuple[int, Tensor]] = []  # position, [1, 1, width]

    def put(self, start: int, tensor: Tensor) -> None:
        """The rows of positions from ``start`` on, ``[1, pos, width]`` as they pass a hook point."""
        self.reach = start + tensor.shape[1]
        if tensor.shape[1] == 1:
            self._staged.append((start, tensor))
            return
        self._settle()
        self._write(start, tensor[0])

    def truncate(self, length: int) -> None:
        """Forget what was put from this position on."""
        if self.reach <= length:  # at the beginning of every pass
            return
        self.reach = length
        self._staged = [(position, row) for position, row in self._staged if position < length]

    def __getitem__(self, positions: slice) -> Tensor:
        """``[positions, width]`` of those that were put; ``[0, 0]`` before there are any. In inference mode only."""
        self._settle()
        return torch.zeros(0, 0) if self._rows is None else self._rows[: self.reach][positions]

    def bytes_of(self, start: int, end: int) -> int:
        """Of the rows of positions [start, end) that were put."""
        rows = self[start:end]
        return rows.numel() * rows.element_size()

    def _settle(self) -> None:
        if self._staged:
            start, rows = self._staged[0][0], torch.cat([row for _, row in self._staged])[:, 0]
            self._staged = []
            self._write(start, rows)

    def _write(self, start: int, rows: Tensor) -> None:
        end = start + len(rows)
        if self._rows is None or end > len(self._rows):
            self._rows = self._grown(end, rows)
        self._rows[start:end] = rows

    def _grown(self, end: int, like: Tensor) -> Tensor:
        room = _FIRST_ROOM if self._rows is None else len(self._rows)
        while room < end:
            room *= 2
        grown = like.new_zeros(room, like.shape[1])
        if self._rows is not None:
            grown[: len(self._rows)] = self._rows
        return grown


@dataclass
class Sums:
    """Over the first ``reach`` positions, float64: choices and scores by expert, entropies, pairs chosen together."""

    reach: int
    chosen: np.ndarray  # [n_experts]
    scores: np.ndarray  # [n_experts]
    entropy: float
    together: np.ndarray  # [n_experts, n_experts]


@dataclass
class Blocks:
    """Whole blocks of ``size`` of the first ``reach`` positions, reduced: [n_experts, blocks]."""

    size: int
    reach: int
    weights: Tensor
    scores: Tensor
    chosen: Tensor


class LayerRouting:
    """One layer's logits ``[positions, n_experts]``, experts ``[positions, top_k]``, weights and shared gate.

    The shared gate is computed two stages after the router, so that a stopped pass may have the one and not the other.
    ``sums`` and ``blocks`` are what answers have worked out of it so far, so that a long run is not read again for
    every token; ``truncate`` lets go of them where they reach too far.
    """

    def __init__(self) -> None:
        self.logits, self.ids, self.weights, self.shared_gate = Rows(), Rows(), Rows(), Rows()
        self._by_name = dict(
            zip((*_KEPT, _SHARED_GATE), (self.logits, self.ids, self.weights, self.shared_gate), strict=True)
        )
        self.sums: Sums | None = None
        self.blocks: Blocks | None = None

    @property
    def reach(self) -> int:
        """How many positions have been routed."""
        return self.weights.reach

    def parts(self) -> Mapping[str, Rows]:
        """By the name of the hook point that fills it."""
        return self._by_name

    def truncate(self, length: int) -> None:
        """Forget what was recorded, and worked out of it, from this position on."""
        for rows in self._by_name.values():
            rows.truncate(length)
        if self.sums is not None and self.sums.reach > length:
            self.sums = None
        if self.blocks is not None and self.blocks.reach > length:
            self.blocks = None


class RoutingRecord:
    """The routing of every layer that has experts, by layer; layers with one MLP are not in it."""

    def __init__(self, config: ModelConfig) -> None:
        self._specs = {layer: spec.mlp for layer, spec in enumerate(config.layers) if isinstance(spec.mlp, MoESpec)}
        self.layers: Mapping[int, LayerRouting] = {layer: LayerRouting() for layer in self._specs}
        self._start = 0

    def begin_pass(self, start: int) -> None:
        """The next rows belong to positions from ``start`` on."""
        self._start = start

    def truncate(self, length: int) -> None:
        """Forget what was recorded from this position on."""
        for routing in self.layers.values():
            routing.truncate(length)

    def bytes_of(self, start: int, end: int) -> int:
        """Of all rows of positions [start, end). In inference mode only."""
        return sum(rows.bytes_of(start, end) for own in self.layers.values() for rows in own.parts().values())

    def attach(self, points: HookPoints) -> list[Callable[[], None]]:
        """Listen to a model's passes; call the results to stop."""
        detach = []
        for layer, routing in self.layers.items():
            for name, rows in routing.parts().items():
                if name != _SHARED_GATE or self._specs[layer].shared_gate:
                    detach.append(points[f"blocks.{layer}.mlp.{name}"].observe(partial(self._put, rows), ROUTING))
        return detach

    def _put(self, rows: Rows, tensor: Tensor) -> None:
        rows.put(self._start, tensor)


def even(scores: Tensor) -> Tensor:
    """Scores ``[positions, n_experts]`` divided by their sum: float32 that sums to 1, sigmoid scores too.

    As in DeepSeek-V3's sequence-wise balance loss (equation 19); softmax scores stay what they are.
    """
    return scores.float() / scores.float().sum(-1, keepdim=True)


def entropy(probabilities: Tensor) -> Tensor:
    """In nats, over the last axis; 0 · log 0 counts as 0."""
    return torch.special.entr(probabilities).sum(-1)
