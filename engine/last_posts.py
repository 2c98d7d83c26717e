"""What the neurons of every dense layer gave in the last pass: followed from the first question to the run's end.

To compute a layer's neurons again takes its attention too, and over all layers half a token's time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from engine.config import MLPSpec, ModelConfig
from engine.hooks import HookPoints
from engine.meter import NEURONS


class LastPosts:
    """``mlp.hook_post`` ``[d_mlp]`` of the newest position of the last pass, by layer."""

    def __init__(self, config: ModelConfig) -> None:
        self._layers = [layer for layer, spec in enumerate(config.layers) if isinstance(spec.mlp, MLPSpec)]
        self._rows: dict[int, tuple[int, Tensor]] = {}  # layer to position and row
        self._detach: list[Callable[[], None]] = []

    def follow(self, points: HookPoints, newest: Callable[[], int]) -> None:
        """Take the row of every pass; ``newest()`` is its last position."""
        self.leave()
        for layer in self._layers:
            point = points[f"blocks.{layer}.mlp.hook_post"]
            self._detach.append(point.observe(partial(self._take, layer, newest), NEURONS))

    def leave(self) -> None:
        """Stop following."""
        for undo in self._detach:
            undo()
        self._detach = []

    def forget(self, length: int) -> None:
        """Let go of positions from ``length`` on."""
        self._rows = {layer: kept for layer, kept in self._rows.items() if kept[0] < length}

    def at(self, layer: int, position: int) -> Tensor | None:
        """The row of a layer, if the last pass ended at this position."""
        kept = self._rows.get(layer)
        return kept[1] if kept is not None and kept[0] == position else None

    def _take(self, layer: int, newest: Callable[[], int], post: Tensor) -> None:
        row = post[0, -1]
        self._rows[layer] = newest(), row if post.shape[1] == 1 else row.clone()  # a view would keep the whole prefill
