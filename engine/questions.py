"""What a panel can ask of a run, or of a model's files. Plain data: importing this imports no torch.

A *watch* is a question that is answered after every pass and at every stop; a plain question is answered once.
``engine/answers.py`` computes the answers (classes of the same shape in ``engine/frames.py``). ``most`` is the
largest number of cells along an axis that the screen can show; more positions than that are reduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.checkpoint.stored import Stored
    from engine.frames import StepFrame
    from engine.run_file_facts import Beside


@dataclass(frozen=True)
class AskResidualNorms:
    """Answer: ResidualNorms over every position of the run."""

    most: int = 1024


@dataclass(frozen=True)
class AskResidualVectors:
    """Answer: ResidualVectors of one position (None: the newest that has been read, or is being read)."""

    position: int | None
    most: int = 1024


AttentionStage = Literal["products", "scaled", "masked", "pattern", "contribution"]
"""q · k; with scale, ALiBi and cap; what a query sees of that; softmax; ‖weight · value‖, L2 over a head's entries."""
SIGNED_STAGES: tuple[AttentionStage, ...] = ("products", "scaled", "masked")


@dataclass(frozen=True)
class AskAttentionGrid:
    """Answer: AttentionGrid of one layer."""

    layer: int
    most: int = 128


@dataclass(frozen=True)
class AskAttentionMap:
    """Answer: AttentionMap of one head: of the queries and keys [start, stop) in ``rows`` and ``columns``; None: all.

    A partial answer that is coarse comes first where the map is long.
    """

    layer: int
    head: int
    most: int = 1024
    stage: AttentionStage = "pattern"
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None


@dataclass(frozen=True)
class AskAttentionRow:
    """Answer: AttentionRow of one query position (None: the newest)."""

    layer: int
    position: int | None
    stage: AttentionStage = "pattern"


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
    """Answer: Neurons of one layer with one MLP and one position (None: the newest), at most ``most`` of them.

    ``shares``: whether it is to say how much each of them writes, for which columns of weights are read.
    """

    layer: int
    position: int | None
    most: int = 24
    shares: bool = True


@dataclass(frozen=True)
class AskNeuronLayers:
    """Answer: NeuronLayers of one position (None: the newest), at most ``most`` neurons of a layer."""

    position: int | None
    most: int = 8


@dataclass(frozen=True)
class AskSurprise:
    """Answer: Surprises of the tokens at positions [start, end) as far as the run has them, a part at a time."""

    start: int
    end: int


@dataclass(frozen=True)
class AskPoints:
    """Answer: Points of one layer and one position (None: the newest)."""

    layer: int
    position: int | None


@dataclass(frozen=True)
class AskPoint:
    """Answer: PointTensor of a hook point (its name in ``model.hook_points``) at one position (None: the newest).

    ``index``: of the heads, where more than two axes are left.
    """

    name: str
    position: int | None
    index: int = 0
    most: int = 1024


@dataclass(frozen=True)
class AskPointOver:
    """Answer: PointTensor of a hook point over positions [start, end) (None: up to the newest), a row each.

    ``index``: of the heads, where a position has more than one row.
    """

    name: str
    index: int
    start: int
    end: int | None
    most: int = 1024


@dataclass(frozen=True)
class AskWorked:
    """Answer: Worked: one figure of a hook point at one position (None: the newest), worked out with its numbers.

    ``place``: on each axis of the point's shape but batch and pos; a key by its position.
    """

    name: str
    position: int | None
    place: tuple[int, ...]


@dataclass(frozen=True)
class AskLens:
    """Answer: Lens of ``count`` (at most 128) positions from ``start`` on (None: the newest) that are read."""

    start: int | None
    count: int


@dataclass(frozen=True)
class AskLensColumn:
    """Answer: LensColumn of one position (None: the newest), the ``top`` most probable tokens of every boundary (64 at
    most). ``words``: ids of tokens to follow over depth, besides the most probable ones; 16 at most."""

    position: int | None
    top: int = 10
    words: tuple[int, ...] = ()


@dataclass(frozen=True)
class AskUntouched:
    """Answer: Untouched of the pass that read one position (None: the newest that has been read), the ``top`` most
    probable tokens of both sides (64 at most) and the ``top`` that moved most."""

    position: int | None
    top: int = 12
    most: int = 1024


@dataclass(frozen=True)
class AskSaved:
    """Answer: Saved, once the run up to its last finished step lies at ``path``; partial ones tell how far it is.

    ``steps``: the frames of all steps of its path, ``others`` by number those of other branches; both may grow
    meanwhile. ``beside``: see ``engine.run_file_facts``.
    """

    path: str
    steps: Sequence[StepFrame]
    beside: Beside
    others: Mapping[int, StepFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class AskExactValue:
    """Answer: ExactValue. ``index`` by quantity:

    a stage of attention, such as ``pattern`` (layer, head, query, key) · ``residual`` (boundary, position, dimension) ·
    ``residual_norm`` / ``delta_attention_norm`` / ``delta_mlp_norm`` (row, position) ·
    ``key`` / ``value`` (layer, kv_head, position, dimension) · ``latent`` (layer, position, dimension) ·
    ``expert_weight`` / ``router_score`` (layer, expert, position); a weight is 0 where the expert was not chosen ·
    ``point`` of the hook point ``name`` (position, then a place on each axis of its shape but batch and pos; a key by
    its position)
    """

    quantity: Literal[
        "products",
        "scaled",
        "masked",
        "pattern",
        "contribution",
        "residual",
        "residual_norm",
        "delta_attention_norm",
        "delta_mlp_norm",
        "key",
        "value",
        "latent",
        "expert_weight",
        "router_score",
        "point",
    ]
    index: tuple[int, ...]
    name: str = ""


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


@dataclass(frozen=True)
class AskToken:
    """Answer: TokenFound, of a text that may be one token. The model is asked, no run is needed."""

    text: str


@dataclass(frozen=True)
class AskOn:
    """Answer: that to ``question``, about another branch; NotNow inside of a pass."""

    number: int
    question: Question


MOST_SIDE = 4096  # of the Gram matrix of singular values: 134 MB, and seconds for its eigenvalues
OF_HEADERS = (AskInventory,)  # answered beside the engine's thread
OF_FILES = (AskTensorFigures, AskTensorHistogram, AskTensorBlock, AskSingularValues)
OF_MODELS = (AskToken,)  # answered without a run, too
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
    | AskSurprise
    | AskLens
    | AskLensColumn
    | AskPoints
    | AskPoint
    | AskPointOver
    | AskWorked
    | AskUntouched
    | AskOn
    | AskToken
    | AskSaved
    | AskExactValue
    | AskInventory
    | AskTensorFigures
    | AskTensorHistogram
    | AskTensorBlock
    | AskSingularValues
)
