"""What the routers of a run decided, captured in the pass: a few numbers a position, so nothing is recomputed.

Scores and choice follow from the logits by the router's own stage functions; logits, experts and weights are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from engine.config import ModelConfig, MoESpec
from engine.hooks import HookPoints

_KEPT = ("hook_router_logits", "hook_expert_indices", "hook_expert_weights")  # the last one ends the stage
_SHARED_GATE = "hook_shared_gate"
_FIRST_ROOM = 128  # positions; room doubles, so that growing copies little


class Rows:
    """Rows by position, ``[positions, width]``, in the type of the first that are put."""

    def __init__(self) -> None:
        self.reach = 0
        self._rows: Tensor | None = None

    def put(self, start: int, tensor: Tensor) -> None:
        """The rows of positions from ``start`` on, ``[1, pos, width]`` as they pass a hook point."""
        rows, end = tensor[0], start + tensor.shape[1]
        if self._rows is None or end > len(self._rows):
            self._rows = self._grown(end, rows)
        self._rows[start:end] = rows
        self.reach = end

    def __getitem__(self, positions: slice) -> Tensor:
        """``[positions, width]``; they must have been put."""
        assert self._rows is not None, "rows were put"
        return self._rows[: self.reach][positions]

    def _grown(self, end: int, like: Tensor) -> Tensor:
        room = _FIRST_ROOM if self._rows is None else len(self._rows)
        while room < end:
            room *= 2
        grown = like.new_zeros(room, like.shape[1])
        if self._rows is not None:
            grown[: len(self._rows)] = self._rows
        return grown


class LayerRouting:
    """One layer's logits ``[positions, n_experts]``, experts ``[positions, top_k]``, weights and shared gate."""

    def __init__(self) -> None:
        self.logits, self.ids, self.weights, self.shared_gate = Rows(), Rows(), Rows(), Rows()

    @property
    def reach(self) -> int:
        """How many positions have been routed."""
        return self.weights.reach

    def parts(self) -> dict[str, Rows]:
        """By the name of the hook point that fills it."""
        return dict(zip((*_KEPT, _SHARED_GATE), (self.logits, self.ids, self.weights, self.shared_gate), strict=True))


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
            for rows in routing.parts().values():
                rows.reach = min(rows.reach, length)

    def attach(self, points: HookPoints) -> list[Callable[[], None]]:
        """Listen to a model's passes; call the results to stop."""
        detach = []
        for layer, routing in self.layers.items():
            for name, rows in routing.parts().items():
                if name != _SHARED_GATE or self._specs[layer].shared_gate:
                    detach.append(points[f"blocks.{layer}.mlp.{name}"].observe(partial(self._put, rows)))
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
