"""What a model's parameters add up to, component by component, and how many of them one token uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.checkpoint.roles import COMPONENTS
from engine.config import ModelConfig, MoESpec, expert_parameters


@dataclass(frozen=True)
class Component:
    """One part of the decoder: its parameters, those that take part in one token's pass, its bytes in the files.

    Active is everything but the routed experts that the token is not sent to: of ``n_experts`` those beyond ``top_k``,
    layer by layer. The embedding counts whole, as in the figures that models are published with.
    """

    name: str
    parameters: int
    active: int
    size: int


def components(
    counts: Iterable[tuple[str, int]], sizes: Mapping[str, int], config: ModelConfig
) -> tuple[Component, ...]:
    """The components that a model has, in the order of COMPONENTS; ``counts`` are (component, parameters) of tensors.

    ``sizes``: bytes in the files by component.
    """
    totals: Counter[str] = Counter()
    for name, parameters in counts:
        totals[name] += parameters
    idle = {"experts": idle_parameters(config)}
    present = [name for name in COMPONENTS if totals[name]]
    return tuple(Component(name, totals[name], totals[name] - idle.get(name, 0), sizes[name]) for name in present)


def idle_parameters(config: ModelConfig) -> int:
    """Parameters of the routed experts that one token is not sent to, over all layers; 0 without experts."""
    routed = [layer.mlp for layer in config.layers if isinstance(layer.mlp, MoESpec)]
    return sum((mlp.n_experts - mlp.top_k) * expert_parameters(mlp, config.d_model) for mlp in routed)
