"""The MLP, gated or plain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import MLPSpec
from engine.errors import ConfigError
from engine.hooks import HookPoints
from engine.model.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_fast": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}

Gating = Callable[[Tensor, Tensor], Tensor]


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function for a config's ``hidden_act``. Raises ConfigError for an unknown one."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ConfigError(f"The activation {name!r} is not supported; supported are {known}.")
    return ACTIVATIONS[name]


def gating(spec: MLPSpec) -> Gating:
    """What joins gate and up of a gated MLP. Raises ConfigError for an unknown activation."""
    if spec.activation == "clamped_swiglu":
        return partial(_clamped_swiglu, spec.limit, spec.alpha)
    act = activation(spec.activation)
    return lambda gate, up: act(gate) * up


def _clamped_swiglu(limit: float, alpha: float, gate: Tensor, up: Tensor) -> Tensor:
    """gpt-oss: gate · sigmoid(alpha · gate) · (up + 1), both clamped (transformers GptOssExperts._apply_gate)."""
    gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    return (up + 1) * (gate * torch.sigmoid(gate * alpha))


class GatedMLP(nn.Module):
    """down(activation(gate(x)) · up(x)) (Shazeer 2020). Without points it has no hooks: a shared expert."""

    def __init__(self, spec: MLPSpec, d_model: int, points: HookPoints | None = None, prefix: str = "") -> None:
        super().__init__()
        self.join = gating(spec)
        self.gate_up = Linear(d_model, 2 * spec.d_mlp, bias=spec.bias)
        self.down = Linear(spec.d_mlp, d_model, bias=spec.bias)
        names = ("hook_pre", "hook_pre_linear", "hook_post")
        self.hook_pre, self.hook_pre_linear, self.hook_post = (
            _unhooked if points is None else points[prefix + name] for name in names
        )

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # [batch, pos, d_mlp] each
        gate, up = self.hook_pre(gate), self.hook_pre_linear(up)
        return self.down(self.hook_post(self.join(gate, up)))


class PlainMLP(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, spec: MLPSpec, d_model: int, points: HookPoints, prefix: str) -> None:
        super().__init__()
        self.activation = activation(spec.activation)
        self.up = Linear(d_model, spec.d_mlp, bias=spec.bias)
        self.down = Linear(spec.d_mlp, d_model, bias=spec.bias)
        self.hook_pre, self.hook_post = points[f"{prefix}hook_pre"], points[f"{prefix}hook_post"]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.hook_post(self.activation(self.hook_pre(self.up(x)))))


def _unhooked(tensor: Tensor) -> Tensor:
    return tensor
