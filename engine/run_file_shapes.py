"""Types and shapes of all tensors in a run file, as its facts have them: nothing is read that does not fit to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.config import ModelConfig, MoESpec
from engine.run_file_facts import Aside
from engine.trace import parts_of

Shape = tuple[torch.dtype, tuple[int, ...]]


def block_shapes(config: ModelConfig, dtype: torch.dtype, count: int) -> dict[str, Shape]:
    """Of so many positions of one block."""
    return {
        "residual": (dtype, (config.n_layers + 1, count, config.d_model)),
        "norms": (torch.float32, (3 * config.n_layers + 1, count)),
    }


def routing_shapes(config: ModelConfig, dtype: torch.dtype, n: int) -> dict[str, Shape]:
    """What routers decided at ``n`` positions, one at least, by layer and point."""
    shapes: dict[str, Shape] = {}
    for layer, moe in _mixtures(config):
        logits = torch.float32 if moe.logits_float32 else dtype
        shapes[f"{layer}.hook_router_logits"] = (logits, (n, moe.n_experts))
        shapes[f"{layer}.hook_expert_indices"] = (torch.int64, (n, moe.top_k))
        shapes[f"{layer}.hook_expert_weights"] = (dtype, (n, moe.top_k))
        if moe.shared_gate:
            shapes[f"{layer}.hook_shared_gate"] = (dtype, (n, 1))
    return shapes


def bias_shapes(config: ModelConfig, dtype: torch.dtype) -> dict[str, Shape]:
    """What routers add to choose by."""
    wide = torch.promote_types(dtype, torch.float32)
    return {f"{layer}.choice_bias": (wide, (moe.n_experts,)) for layer, moe in _mixtures(config) if moe.choice_bias}


def cache_shapes(config: ModelConfig, dtype: torch.dtype, firsts: Sequence[int], end: int) -> dict[str, Shape]:
    """What layers keep of positions [firsts[layer], end), by layer and part."""
    return {
        f"{layer}.{part.name}": (dtype, (part.heads, end - firsts[layer], part.width))
        for layer, spec in enumerate(config.layers)
        for part in spec.attention.cached
    }


def aside_shapes(
    aside: Aside, firsts: Sequence[int], config: ModelConfig, dtype: torch.dtype, with_cache: bool
) -> dict[str, Shape]:
    """What the member of a part that is set aside must hold, but for streams that were dropped."""
    start, end = aside.start[1], aside.end[1]
    shapes: dict[str, Shape] = {}
    for index, (_, inside, _) in enumerate(parts_of(start, end)):
        blocks = block_shapes(config, dtype, inside.stop - inside.start)
        shapes |= {f"block.{index}.{name}": shape for name, shape in blocks.items()}
    shapes |= {f"routing.{name}": shape for name, shape in routing_shapes(config, dtype, end - start).items()}
    if with_cache:
        shapes |= {f"cache.{name}": shape for name, shape in cache_shapes(config, dtype, firsts, end).items()}
    return shapes


def _mixtures(config: ModelConfig) -> list[tuple[int, MoESpec]]:
    return [(layer, spec.mlp) for layer, spec in enumerate(config.layers) if isinstance(spec.mlp, MoESpec)]
