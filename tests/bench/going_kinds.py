"""Every kind of question that a panel asks when somebody goes to another token or layer, as data. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine import questions as ask

if TYPE_CHECKING:
    from engine.frames import ModelFrame

RECORDED_MS, RECOMPUTED_MS = 50.0, 300.0


@dataclass(frozen=True)
class Kind:
    """``question`` of a layer and position; ``goal`` in milliseconds, None where more than one layer is recomputed."""

    panel: str
    what: str
    question: Callable[[int, int], ask.Question]
    goal: float | None


def kinds(model: ModelFrame) -> tuple[Kind, ...]:
    """Those that this model can be asked: of experts only where there are some."""
    experts = model.layers[0].experts is not None
    return (*_ALWAYS, *(_EXPERTS if experts else _DENSE), *_points(model))


def _point(name: str, goal: float) -> Kind:
    return Kind("Activations", name, lambda layer, at: ask.AskPoint(f"blocks.{layer}.{name}", at, 0, 512), goal)


def _over(name: str, goal: float) -> Kind:
    return Kind(
        "Activations",
        f"{name}, over positions",
        lambda layer, at: ask.AskPointOver(f"blocks.{layer}.{name}", 0, 0, None, 512),
        goal,
    )


def _points(model: ModelFrame) -> tuple[Kind, ...]:
    """Each point of a layer at a position, but those of single experts; heads and the stream over positions."""
    recorded = ("hook_resid_pre", "hook_resid_post")
    names = [point.name for point in model.layers[0].points if "*" not in point.name]
    single = [_point(name, RECORDED_MS if name in recorded else RECOMPUTED_MS) for name in names]
    lasting = ("hook_resid_pre", "attn.hook_q", "attn.hook_pattern", "attn.hook_z", "mlp.hook_post", "hook_mlp_out")
    over = [_over(name, RECORDED_MS if name in recorded else RECOMPUTED_MS) for name in lasting if name in names]
    listed = Kind("Activations", "which points are computed", lambda layer, at: ask.AskPoints(layer, at), RECORDED_MS)
    return (listed, *single, *over)


_ALWAYS = (
    Kind("Residual stream", "norms", lambda layer, at: ask.AskResidualNorms(), RECORDED_MS),
    Kind("Residual stream", "one position", lambda layer, at: ask.AskResidualVectors(at), RECORDED_MS),
    Kind("Attention", "every head's map", lambda layer, at: ask.AskAttentionGrid(layer), RECOMPUTED_MS),
    Kind("Attention", "one head's map", lambda layer, at: ask.AskAttentionMap(layer, 1), RECOMPUTED_MS),
    Kind("Attention", "one position", lambda layer, at: ask.AskAttentionRow(layer, at), RECOMPUTED_MS),
    Kind("KV cache", "what is stored", lambda layer, at: ask.AskCacheState(), RECORDED_MS),
    Kind("KV cache", "one position", lambda layer, at: ask.AskCacheVectors(layer, at), RECORDED_MS),
    Kind("Lens", "one position, every layer", lambda layer, at: ask.AskLensColumn(at), None),
    Kind("Lens", "16 positions, every layer", lambda layer, at: ask.AskLens(max(0, at - 15), 16), None),
    Kind("Tokens", "surprise of 16 tokens", lambda layer, at: ask.AskSurprise(max(0, at - 15), at + 1), None),
)
_DENSE = (
    Kind("Experts / MLP", "neurons of a layer", lambda layer, at: ask.AskNeurons(layer, at), RECOMPUTED_MS),
    Kind("Experts / MLP", "neurons of every layer", lambda layer, at: ask.AskNeuronLayers(at), None),
)
_EXPERTS = (
    Kind("Experts / MLP", "routing of a layer", lambda layer, at: ask.AskRouting(layer), RECOMPUTED_MS),
    Kind("Experts / MLP", "one position's router", lambda layer, at: ask.AskRouterRow(layer, at), RECOMPUTED_MS),
    Kind("Experts / MLP", "one position, every layer", lambda layer, at: ask.AskRoutingLayers(at), None),
)
