"""How many parameters a model has, from its specs alone: by the naming tables that loading itself goes by. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

from engine.checkpoint.accounts import idle_parameters
from engine.checkpoint.roles import role_of
from engine.config import LayerSpec, ModelConfig
from engine.families import family_of, slots_of


def parameters(config: ModelConfig) -> int:
    """All of the decoder; a tied embedding counts once."""
    return sum(component_parameters(config).values())


def active_parameters(config: ModelConfig) -> int:
    """Those that take part in one token's pass: all but those of the experts that it is not sent to."""
    return parameters(config) - idle_parameters(config)


def component_parameters(config: ModelConfig) -> dict[str, int]:
    """Parameters by component (``engine/checkpoint/roles.py`` COMPONENTS). Layers that are alike are counted once."""
    total = Counter(_outside(config))
    for layer, times in Counter(config.layers).items():
        total.update({name: times * count for name, count in _layer(config, layer).items()})
    return dict(total)


def _outside(config: ModelConfig) -> dict[str, int]:
    """Of what belongs to no layer."""
    return _counted(replace(config, layers=config.layers[:1]), inside=False)


def _layer(config: ModelConfig, layer: LayerSpec) -> dict[str, int]:
    return _counted(replace(config, layers=(layer,)), inside=True)


def _counted(config: ModelConfig, inside: bool) -> dict[str, int]:
    """Of a model of one layer; a tensor that fills two places counts once."""
    family = family_of({"model_type": config.family})
    slots = {slot.name: slot for slot in slots_of(family, config, lambda name: True)}
    total: Counter[str] = Counter()
    for slot in slots.values():
        if slot.parameter.startswith("blocks.") == inside:
            total[role_of([slot], config).component] += prod(slot.shape)
    return dict(total)
