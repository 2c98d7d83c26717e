"""The gated MLP."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import MLPSpec
from engine.errors import ConfigError
from engine.hooks import HookPoints
from engine.model.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


class MLP(nn.Module):
    """down(activation(gate(x)) · up(x)) (Shazeer 2020)."""

    def __init__(self, spec: MLPSpec, d_model: int, points: HookPoints, layer: int) -> None:
        super().__init__()
        if spec.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ConfigError(f"The activation {spec.activation!r} is not supported; supported are {known}.")
        self.activation = ACTIVATIONS[spec.activation]
        self.gate_up = Linear(d_model, 2 * spec.d_mlp, bias=spec.bias)
        self.down = Linear(spec.d_mlp, d_model, bias=spec.bias)
        prefix = f"blocks.{layer}.mlp."
        self.hook_pre = points[f"{prefix}hook_pre"]
        self.hook_pre_linear = points[f"{prefix}hook_pre_linear"]
        self.hook_post = points[f"{prefix}hook_post"]

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # [batch, pos, d_mlp] each
        gate, up = self.hook_pre(gate), self.hook_pre_linear(up)
        return self.down(self.hook_post(self.activation(gate) * up))
