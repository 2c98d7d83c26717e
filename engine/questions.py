"""What a panel can ask of a run. Plain data: importing this imports no torch.

A *watch* is a question that is answered after every pass and at every stop; a plain question is answered once.
``engine/answers.py`` computes the answers (classes of the same shape in ``engine/frames.py``). ``most`` is the
largest number of cells along an axis that the screen can show; more positions than that are reduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AskResidualNorms:
    """Answer: ResidualNorms over every position of the run."""

    most: int = 1024


@dataclass(frozen=True)
class AskResidualVectors:
    """Answer: ResidualVectors of one position (None: the newest that has been read, or is being read)."""

    position: int | None
    most: int = 1024


@dataclass(frozen=True)
class AskAttentionGrid:
    """Answer: AttentionGrid of one layer."""

    layer: int
    most: int = 128


@dataclass(frozen=True)
class AskAttentionMap:
    """Answer: AttentionMap of one head."""

    layer: int
    head: int
    most: int = 1024


@dataclass(frozen=True)
class AskAttentionRow:
    """Answer: AttentionRow of one query position (None: the newest)."""

    layer: int
    position: int | None


@dataclass(frozen=True)
class AskCacheState:
    """Answer: CacheState."""


@dataclass(frozen=True)
class AskCacheVectors:
    """Answer: CacheVectors of one layer and position (None: the newest)."""

    layer: int
    position: int | None


@dataclass(frozen=True)
class AskRouting:
    """Answer: Routing of one layer that has experts."""

    layer: int
    most: int = 1024


@dataclass(frozen=True)
class AskRoutingShares:
    """Answer: RoutingShares of one layer that has experts."""

    layer: int


@dataclass(frozen=True)
class AskRouterRow:
    """Answer: RouterRow of one layer that has experts and one position (None: the newest)."""

    layer: int
    position: int | None


@dataclass(frozen=True)
class AskRoutingLayers:
    """Answer: RoutingLayers of one position (None: the newest)."""

    position: int | None


@dataclass(frozen=True)
class AskRoutedTokens:
    """Answer: RoutedTokens of one layer that has experts."""

    layer: int


@dataclass(frozen=True)
class AskExpertUse:
    """Answer: ExpertUse of one expert, with at most ``most`` positions listed: only these are recomputed."""

    layer: int
    expert: int
    most: int = 16


@dataclass(frozen=True)
class AskNeurons:
    """Answer: Neurons of one layer with one MLP and one position (None: the newest), at most ``most`` of them."""

    layer: int
    position: int | None
    most: int = 24


@dataclass(frozen=True)
class AskNeuronLayers:
    """Answer: NeuronLayers of one position (None: the newest), at most ``most`` neurons of a layer."""

    position: int | None
    most: int = 8


@dataclass(frozen=True)
class AskExactValue:
    """Answer: ExactValue. ``index`` by quantity:

    ``pattern`` (layer, head, query, key) · ``residual`` (boundary, position, dimension) ·
    ``residual_norm`` / ``delta_attention_norm`` / ``delta_mlp_norm`` (row, position) ·
    ``key`` / ``value`` (layer, kv_head, position, dimension) · ``latent`` (layer, position, dimension) ·
    ``expert_weight`` / ``router_score`` (layer, expert, position); a weight is 0 where the expert was not chosen
    """

    quantity: Literal[
        "pattern",
        "residual",
        "residual_norm",
        "delta_attention_norm",
        "delta_mlp_norm",
        "key",
        "value",
        "latent",
        "expert_weight",
        "router_score",
    ]
    index: tuple[int, ...]


Question = (
    AskResidualNorms
    | AskResidualVectors
    | AskAttentionGrid
    | AskAttentionMap
    | AskAttentionRow
    | AskCacheState
    | AskCacheVectors
    | AskRouting
    | AskRoutingShares
    | AskRouterRow
    | AskRoutingLayers
    | AskRoutedTokens
    | AskExpertUse
    | AskNeurons
    | AskNeuronLayers
    | AskExactValue
)
