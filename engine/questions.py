"""What a panel can ask of a run, or of a model's files. Plain data: importing this imports no torch.

A *watch* is a question that is answered after every pass and at every stop; a plain question is answered once.
``engine/answers.py`` computes the answers (classes of the same shape in ``engine/frames.py``). ``most`` is the
largest number of cells along an axis that the screen can show; more positions than that are reduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.checkpoint.stored import Stored


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


# ---- of files: no run is needed, and no model need be loaded. ``matrix``: which one of a pile (a tensor of three axes
# or more); None: all of them.


@dataclass(frozen=True)
class AskInventory:
    """Answer: Listed. What the headers of a model say; read in a thread of its own."""

    source: str


@dataclass(frozen=True)
class AskTensorFigures:
    """Answer: TensorFigures, with at most ``most`` blocks along an axis (one matrix), or without blocks (all)."""

    tensor: Stored
    matrix: int | None
    most: int = 256


@dataclass(frozen=True)
class AskTensorHistogram:
    """Answer: TensorHistogram of what is finite between ``low`` and ``high``, which the figures told."""

    tensor: Stored
    matrix: int | None
    low: float
    high: float
    bins: int = 128


@dataclass(frozen=True)
class AskTensorBlock:
    """Answer: TensorBlock of rows and columns [start, stop) of a matrix."""

    tensor: Stored
    matrix: int
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True)
class AskSingularValues:
    """Answer: SingularValues of one matrix whose shorter side is at most MOST_SIDE."""

    tensor: Stored
    matrix: int


MOST_SIDE = 4096  # of the Gram matrix of singular values: 134 MB, and seconds for its eigenvalues
OF_HEADERS = (AskInventory,)  # answered beside the engine's thread
OF_FILES = (AskTensorFigures, AskTensorHistogram, AskTensorBlock, AskSingularValues)
BETWEEN_RUNS = (AskSingularValues,)  # a part of the work cannot be cut into slices: never inside a pass

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
    | AskInventory
    | AskTensorFigures
    | AskTensorHistogram
    | AskTensorBlock
    | AskSingularValues
)
