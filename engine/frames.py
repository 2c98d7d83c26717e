"""What crosses from the engine's thread to the window: small frozen records of numbers and numpy arrays.

No torch here. Arrays are float32 unless said otherwise, C-contiguous, and never written after they were handed
over. A *step* is one pass: it reads positions [start, end) and chooses the token at position ``end``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.config import MoESpec
from engine.questions import AttentionStage
from engine.settings import Sampling

if TYPE_CHECKING:
    from engine.checkpoint.inventory import Inventory
    from engine.checkpoint.outline import Outline
    from engine.checkpoint.stored import Stored

Array = np.ndarray

Kind = Literal["prefill", "decode"]
Finish = Literal["end of sequence", "limit", "full context"]


@dataclass(frozen=True)
class Piece:
    """One token as text. ``raw`` are its bytes; ``text`` may hold U+FFFD where a character is split over tokens.

    ``start`` and ``end`` are its byte range in the UTF-8 text of the whole sequence.
    """

    id: int
    text: str
    raw: bytes
    start: int
    end: int
    special: bool = False


PointKind = Literal["signed", "positive", "probability", "scores", "logits", "tokens", "ids", "mask", "event"]


@dataclass(frozen=True)
class PointFacts:
    """One hook point of a model. ``name`` is without ``blocks.N.``; experts have it once: ``mlp.experts.*.hook_out``.

    ``group``: the stage of the pass that it belongs to, ``stage``: the one that ends at it. ``sizes``: the numbers of
    ``shape``, 0 where one grows with the run. ``kind``: what its figures are; "scores" are -inf where something is
    barred. ``lazy``: formed in the pass only when a hook asks for it. ``code``: the PyTorch that computes it.
    """

    name: str
    group: str
    shape: tuple[str, ...]
    sizes: tuple[int, ...]
    dtype: str
    kind: PointKind
    meaning: str
    formula: str
    lazy: bool
    stage: str
    code: str = ""


@dataclass(frozen=True)
class StageFacts:
    """A stage of a layer's attention as it is shown: its formula, and the PyTorch that computes it."""

    stage: AttentionStage
    formula: str
    code: str


@dataclass(frozen=True)
class LayerFacts:
    """What a panel must know about one layer.

    ``attention``: which keys a query sees; ``reach`` is the window or chunk in positions. ``cached``: what the layer
    stores per position, (name, heads, width) by part. ``d_mlp`` is one expert's where there are ``n_experts``.
    """

    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    stages: tuple[str, ...]  # names of the stages of this layer, in the order of the pass
    attention: Literal["full", "sliding", "chunked", "latent"] = "full"
    reach: int | None = None
    cached: tuple[tuple[str, int, int], ...] = ()
    d_rope: int = 0  # of a latent layer: how many of the entries stored, at their end, are the rotated key
    sinks: bool = False  # a learned score per head takes part in the softmax, so rows sum to less than 1
    n_experts: int = 0
    top_k: int = 0
    experts: MoESpec | None = None  # how the router scores, chooses and weighs; None: one MLP
    expert_parameters: int = 0  # of one expert
    points: tuple[PointFacts, ...] = ()  # in the order of the pass
    scale: float = 1.0  # that q · k is multiplied with
    softcap: float | None = None  # cap · tanh(scores / cap)
    alibi: bool = False  # scores fall with distance
    tempered: bool = False  # queries grow with their position
    attention_stages: tuple[StageFacts, ...] = ()


@dataclass(frozen=True)
class ModelFrame:
    """A model is ready. ``kv_itemsize`` and ``weight_bytes`` are in bytes, ``seconds`` is the time to load."""

    name: str
    source: str
    family: str
    d_model: int
    d_vocab: int
    n_ctx: int
    layers: tuple[LayerFacts, ...]
    parameters: int
    weight_bytes: int
    kv_itemsize: int
    dtype: str
    device: str
    stored_as: str  # "safetensors bfloat16", "GGUF Q4_1", ...
    has_chat_template: bool
    seconds: float
    warnings: tuple[str, ...] = ()
    sampling: Sampling | None = None  # the model's own defaults; None where its files say nothing
    points_before: tuple[PointFacts, ...] = ()  # the layers
    points_behind: tuple[PointFacts, ...] = ()

    @property
    def n_layers(self) -> int:
        return len(self.layers)


@dataclass(frozen=True)
class RunFrame:
    """A run begins: ``prompt`` are the tokens the model is given; position p holds prompt[p]."""

    prompt: tuple[Piece, ...]
    max_new_tokens: int
    chat: bool


@dataclass(frozen=True)
class Where:
    """Where the pass stands. ``stage`` was the last one computed; ``layer`` is None outside the layers."""

    state: Literal["idle", "running", "paused"]
    step: int = -1
    kind: Kind = "prefill"
    start: int = 0
    end: int = 0
    layer: int | None = None
    stage: str = ""


@dataclass(frozen=True)
class StageFrame:
    """What one sampling stage did. ``value`` is its setting; an inactive stage changed and cut nothing.

    ``kept`` counts the tokens that are still possible after it; ``cut`` is the probability mass it removed (0..1,
    of the distribution that entered the stage). ``logits`` [n_top] are the candidates' logits after the stage,
    -inf where cut.
    """

    name: str
    value: float
    active: bool
    kept: int
    cut: float
    logits: Array


@dataclass(frozen=True)
class SamplingFrame:
    """How one token was chosen. Candidates are the 64 most probable of the raw distribution plus the chosen token.

    ``ids`` int64 [n_top], falling raw probability; ``raw`` and ``final`` probabilities [n_top] (float64);
    ``cut_by`` int64 [n_top]: the index in ``stages`` of the stage that cut the candidate, -1 if none.
    The draw: ``drawn`` in [0, 1) fell into [low, high) of the final distribution's cumulative sum, taken over
    falling final probability, ties by id. For greedy, drawn is None and [low, high) is [0, 1).
    ``entropy_raw`` and ``entropy_final`` are in nats. ``by_hand``: the token was put in by a user; ``drawn`` is the
    number of the draw nevertheless, which fell elsewhere.
    """

    position: int
    seed: int
    greedy: bool
    drawn: float | None
    low: float
    high: float
    chosen: int
    chosen_rank: int  # of the raw distribution, from 0
    chosen_raw: float
    chosen_final: float
    entropy_raw: float
    entropy_final: float
    ids: Array
    raw: Array
    final: Array
    cut_by: Array
    stages: tuple[StageFrame, ...]
    by_hand: bool = False


@dataclass(frozen=True)
class RecordUse:
    """What the record of a run's residual stream takes: ``memory`` and ``disk`` in bytes, of at most ``limit`` bytes
    in memory. Of ``positions`` read, the stream of ``dropped`` ones was let go; a position takes ``bytes_per_token``.
    ``trouble``: the sentence about a disk that had no room.
    """

    memory: int = 0
    disk: int = 0
    dropped: int = 0
    positions: int = 0
    limit: int = 0
    bytes_per_token: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class WatchCost:
    """What looking cost, measured (``engine/meter.py``): host seconds by part, of one pass or of several.

    ``plain``: seconds of the passes without the parts. Parts are named in ``engine/meter.py``; the time it takes to
    make the step's frame comes after the pass.
    """

    plain: float = 0.0
    parts: tuple[tuple[str, float], ...] = ()
    passes: int = 1

    @property
    def seconds(self) -> float:
        """All parts together."""
        return sum(seconds for _, seconds in self.parts)

    @property
    def share(self) -> float:
        """How much longer it took: parts over the pass without them."""
        return self.seconds / self.plain if self.plain > 0 else 0.0


@dataclass(frozen=True)
class StepFrame:
    """One step is done. ``candidates`` are the pieces of ``sampling.ids`` in the same order. ``edited``: something was
    replaced in this pass, by an edit or a hook."""

    index: int
    kind: Kind
    start: int
    end: int
    piece: Piece
    sampling: SamplingFrame
    candidates: tuple[Piece, ...]
    seconds: float
    cache_bytes: int
    finish: Finish | None
    record: RecordUse = RecordUse()
    watch: WatchCost = WatchCost()
    edited: bool = False


@dataclass(frozen=True)
class BackFrame:
    """The run was taken back to ``n_tokens``: the steps that chose later tokens are no part of it any more.

    ``refilled``: so many positions of caches that forget were computed again for that.
    """

    n_tokens: int
    refilled: int = 0


@dataclass(frozen=True)
class BranchFacts:
    """One branch of the tree. Its tokens from position ``start`` on are its own; those before are ``parent``'s.

    ``pieces`` are its own tokens; ``log_probability`` is the sum of the natural logarithms of the probabilities (of the
    raw distribution) that they were chosen with. ``bytes``: what it keeps beside what it shares, cache and record.
    """

    number: int
    parent: int | None
    start: int
    pieces: tuple[Piece, ...]
    log_probability: float
    edited: bool
    bytes: int


@dataclass(frozen=True)
class TreeFrame:
    """Every branch of the run, in the order of their making; the first one is the run as it began. ``current``: the
    number of the one that the session stands on."""

    branches: tuple[BranchFacts, ...]
    current: int


@dataclass(frozen=True)
class SwitchedFrame:
    """The session stands on another branch now: these steps are the run from here on. ``refilled`` as in BackFrame."""

    number: int
    steps: tuple[StepFrame, ...]
    refilled: int = 0


@dataclass(frozen=True)
class EndFrame:
    """A run ended. ``reason`` is a Finish, "stopped" or "error"."""

    reason: str


@dataclass(frozen=True)
class ErrorFrame:
    """Something failed; what was before is still there. ``sentence`` is for the user, ``details`` for a report."""

    task: str  # "load", "fetch", "run", "question"
    sentence: str
    details: str = ""


@dataclass(frozen=True)
class ProgressFrame:
    """Something long moves: ``done`` of ``total`` (0: not known), in ``unit``s."""

    task: str
    text: str
    done: int
    total: int
    unit: Literal["bytes", "tokens", "frames", "share"] = "bytes"


# ---------------------------------------------------------------------------------------------------------------
# answers: one class per question of engine/questions.py. ``block`` = how many positions one column (row) stands for.


@dataclass(frozen=True)
class ResidualNorms:
    """L2 norms. Boundary l is the residual stream entering layer l; boundary n_layers leaves the last layer.

    ``norms`` [n_layers + 1, columns], ``delta_attention`` and ``delta_mlp`` [n_layers, columns]; a column is the
    maximum over its ``block`` positions. ``reach*`` int64 [rows]: how many positions are computed, row by row;
    beyond reach // block the values are 0 and mean nothing: not computed yet.
    """

    n: int
    block: int
    norms: Array
    delta_attention: Array
    delta_mlp: Array
    reach: Array
    reach_attention: Array
    reach_mlp: Array
    source: str = "captured"


@dataclass(frozen=True)
class ResidualVectors:
    """The residual stream of one position: ``vectors`` [rows, columns], rows = boundaries that are computed.

    ``block`` > 1: a column is the entry of largest magnitude of that many dimensions (with its sign).
    """

    position: int
    vectors: Array
    rows_total: int
    block: int
    source: str = "captured"


@dataclass(frozen=True)
class AttentionGrid:
    """Attention patterns of every head of a layer: ``maps`` [n_heads, rows, columns], values 0..1.

    A cell is the maximum over ``block`` x ``block`` (query, key) pairs. ``n`` query positions are computed
    (``n_total`` are asked for: the rest is not computed yet); of the last ones only each ``every``-th so far.
    """

    layer: int
    n: int
    n_total: int
    block: int
    maps: Array
    source: str
    every: int = 1


@dataclass(frozen=True)
class AttentionMap:
    """One stage of one head's attention, queries ``rows`` x keys ``columns``, both [start, stop) in positions.

    ``map`` [rows, columns] begins at the first of both and reaches as far as is computed: queries up to ``n`` of
    ``n_total`` read. A cell stands for ``block`` x ``block`` pairs: their maximum, or where a stage has signs
    (``questions.SIGNED_STAGES``) the figure of largest magnitude; 0 where no query has a figure with a key.
    ``sight`` int64 [rows of cells, 2]: the first key that a query of these has a figure with, and one past the last.
    ``every`` > 1: coarse, of the last queries only each ``every``-th is computed so far and stands for those before it.
    """

    layer: int
    head: int
    n: int
    n_total: int
    block: int
    map: Array
    source: str
    stage: AttentionStage
    rows: tuple[int, int]
    columns: tuple[int, int]
    sight: Array
    every: int = 1


@dataclass(frozen=True)
class AttentionRow:
    """One query position, every head, one stage: ``rows`` [n_heads, one past the last key], not reduced.

    The query has figures with the keys ``sight`` = [start, stop); before the mask later keys of its pass are among
    them.
    """

    layer: int
    position: int
    rows: Array
    source: str
    stage: AttentionStage
    sight: tuple[int, int]


@dataclass(frozen=True)
class CacheState:
    """The KV cache: layer l stores positions [firsts[l], lengths[l]), both int64 [n_layers].

    A pass under way has appended to some layers. Layers with a window or chunk have let go of what is before firsts.

    ``bytes_now`` counts stored positions; ``bytes_allocated`` the buffers. ``growth`` int64 [n_steps, 2]:
    (positions, bytes) after each finished step. ``n_prompt``: positions written by prefill.
    bytes_per_token = sum over layers of entries per position (2 · n_kv_heads · d_head, or latent + rope) · itemsize.
    """

    lengths: Array
    firsts: Array
    committed: int
    n_prompt: int
    bytes_now: int
    bytes_allocated: int
    bytes_per_token: int
    growth: Array
    source: str = "captured"


@dataclass(frozen=True)
class CacheVectors:
    """Keys (after rope) and values as stored: both [n_kv_heads, d_head]; empty [0, d_head] if not stored (any more).

    With latent attention ``latent`` [d_latent + d_rope] is what is stored, and keys [n_heads, d_head] and values
    [n_heads, d_value] are what the heads make of it; else it is empty.
    """

    layer: int
    position: int
    keys: Array
    values: Array
    latent: Array
    source: str = "captured"


@dataclass(frozen=True)
class Routing:
    """Experts x positions of one layer, ``[n_experts, columns]``; the first ``n`` of ``n_total`` positions are routed.

    A column stands for ``block`` positions: ``weights`` and ``scores`` are the largest among them (a weight is 0
    where the expert was not chosen), ``chosen`` int64 counts how many of them chose the expert.
    ``shared`` [columns, at most]: the largest gate of the shared expert, as far as it is computed; 1 where it has no
    gate; empty without a shared expert.
    """

    layer: int
    n: int
    n_total: int
    block: int
    weights: Array
    scores: Array
    chosen: Array
    shared: Array
    source: str = "captured + recomputed"


@dataclass(frozen=True)
class RoutingShares:
    """How one layer's experts were used over the ``n`` positions routed so far; arrays float64 [n_experts].

    ``share`` f_i: of all choices (n · top_k) the part that fell on the expert, sums to 1. ``mean_score`` s̄_i: the
    mean of its score, the scores of a position divided by their sum. ``balance``: N · Σ f_i · s̄_i, 1 when even
    (Switch Transformer, equation 4, with f over all choices). ``entropy``: of a position's scores in nats, the mean;
    ln N at most. ``together`` int64 [n_experts, n_experts]: how many positions chose both; on the diagonal, the one.
    """

    layer: int
    n: int
    share: Array
    mean_score: Array
    balance: float
    entropy: float
    together: Array
    source: str = "captured + recomputed"


@dataclass(frozen=True)
class RouterRow:
    """One position in the order of the formula: ``logits``, ``scores``, ``choice`` float32 [n_experts], then what was
    chosen: ``ids`` int64 and ``weights`` float32 [top_k], best first. All empty where it is not routed yet.

    ``choice`` is what is chosen by: scores (or logits) plus the learned bias, -inf in groups that are barred.
    ``shared_gate``: what the shared expert is multiplied by; None where it has no gate, NaN where the pass stands
    between router and gate. ``entropy`` as in RoutingShares, of this position.
    """

    layer: int
    position: int
    logits: Array
    scores: Array
    choice: Array
    ids: Array
    weights: Array
    shared_gate: float | None
    entropy: float
    source: str = "captured + recomputed"


@dataclass(frozen=True)
class RoutingLayers:
    """One position in every layer that has experts: ``layers`` int64 [rows] are their numbers.

    ``weights``, ``scores`` float32 and ``chosen`` uint8 [rows, most experts of a layer]; a row has ``n_experts`` int64
    [rows] of them. ``known`` bool [rows]: the position is routed there; otherwise its row is 0 and means nothing.
    """

    position: int
    layers: Array
    n_experts: Array
    known: Array
    weights: Array
    scores: Array
    chosen: Array
    source: str = "captured + recomputed"


@dataclass(frozen=True)
class RoutedTokens:
    """Of every routed position of one layer: ``ids`` int64 and ``weights`` float32 [n, top_k], best first."""

    layer: int
    ids: Array
    weights: Array
    source: str = "captured"


@dataclass(frozen=True)
class ExpertUse:
    """One expert: ``taken`` of the ``n`` routed positions chose it; the strongest are listed, by falling weight.

    ``positions`` int64, ``weights``, ``norms``, ``shares`` float32 [listed]. A norm is that of what the expert adds,
    weight included; a share is ⟨what it adds, Δ⟩ / ‖Δ‖² with Δ what all experts of the layer add together: the
    shares of a position sum to 1 (negative: it writes against the others). Shares are empty where a norm follows the
    experts, which makes them inseparable. Both are NaN where the layer is not computed to its end.
    """

    layer: int
    expert: int
    n: int
    taken: int
    positions: Array
    weights: Array
    norms: Array
    shares: Array
    source: str = "captured + recomputed"


@dataclass(frozen=True)
class Neurons:
    """The strongest neurons of one layer's MLP at one position, by falling |post|; all empty if not computed yet.

    ``ids`` int64; ``post`` is what a neuron gives, act(``gate``) · ``up`` (``up`` is empty and ``gate`` what the
    activation reads where the MLP has no gate); all [top]. Neuron i writes post_i · w_i with w_i its column of W_out.
    ``share`` [top] is ‖post_i · w_i‖ / ``output_norm``; these are lengths, which cancel in the sum: together the
    shares may come to more than 1 (empty where they were not asked for). ``output_norm`` = ‖W_out · post + b‖, before
    a norm after it and residual_scale.
    ``held``: the part of Σ|post| over all ``n_neurons`` that the ones listed have. ``half``: how few neurons have half
    of it. Both are 0 where every neuron gives 0.
    """

    layer: int
    position: int
    n_neurons: int
    ids: Array
    post: Array
    gate: Array
    up: Array
    share: Array
    output_norm: float
    held: float
    half: int
    source: str = "recomputed"


@dataclass(frozen=True)
class NeuronLayers:
    """The strongest neurons of one position over layers: row r is of layer ``layers[r]``, by falling |post|.

    ``layers`` int64 [rows]: those with one MLP (no experts) that are computed at the position. ``ids`` int64 and
    ``post`` [rows, top]; top is ``most``, or how many neurons the narrowest MLP has.
    """

    position: int
    layers: Array
    ids: Array
    post: Array
    source: str = "recomputed"


@dataclass(frozen=True)
class Surprises:
    """How unexpected the tokens from position ``start`` on were: ``total`` were asked for, the arrays reach as far as
    is computed.

    ``surprise`` -ln p of the token and ``entropy`` of the distribution that it met, before any stage of sampling: both
    float64, in nats, NaN at position 0, which nothing predicts.
    """

    start: int
    total: int
    surprise: Array
    entropy: Array
    source: str = "recomputed"


@dataclass(frozen=True)
class Points:
    """Which points of a pass are computed at one position: ``known`` int64 [names] counts positions from the first.

    ``names`` are full names in the order of the pass, of one layer and of what lies before and behind the layers;
    of experts only the ``experts`` that were chosen at the position, best first (none where it is not routed yet).
    """

    layer: int
    position: int
    names: tuple[str, ...]
    known: Array
    experts: tuple[int, ...]
    source: str = "captured"


@dataclass(frozen=True)
class Figures:
    """A tensor in figures, of all its numbers in float64: NaN where there is no finite one.

    ``deviation`` is of all, not of a sample; ``norm`` is L2. ``counts`` int64 [bins] between ``edges`` float64.
    """

    count: int
    nans: int
    infinities: int
    low: float
    high: float
    mean: float
    deviation: float
    norm: float
    edges: Array
    counts: Array


@dataclass(frozen=True)
class PointTensor:
    """A hook point's tensor at one position, or of positions [position, end).

    ``symbols`` and ``shape`` are of what is left of it, two axes at most: ``index`` was taken of a third. ``values``
    [rows, columns] is that, a single axis as one row; each cell is the entry of largest magnitude of ``block`` (rows,
    columns). ``first`` (row, column): the number of the first entry of an axis, above 0 where that counts positions.
    ``blank`` bool [rows, columns], or [0, 0]: nothing is there by definition (a key that is not seen, an expert that
    did not read the position). ``top`` int64 [n, axes] are the places of the strongest entries and ``top_values`` their
    figures; ``pieces`` their tokens, where an entry is one of the vocabulary, or is a token's id.
    ``sentence``: why there is no tensor, then the arrays are empty; ``absent``: it is not computed yet.
    """

    name: str
    position: int
    end: int
    index: int
    symbols: tuple[str, ...]
    shape: tuple[int, ...]
    first: tuple[int, int]
    block: tuple[int, int]
    values: Array
    blank: Array
    figures: Figures | None
    top: Array
    top_values: Array
    pieces: tuple[Piece, ...]
    source: str
    sentence: str = ""
    absent: bool = False


@dataclass(frozen=True)
class Term:
    """One of the numbers that a figure is made of: ``name`` in the formula's signs, ``factors`` whose product it is."""

    name: str
    factors: tuple[float, ...]

    @property
    def value(self) -> float:
        return float(np.prod(self.factors))


@dataclass(frozen=True)
class Worked:
    """A figure of a hook point, worked out in float64 of the tensors that go into it.

    ``place`` as in AskWorked. ``value`` is what the pass has there. ``kind``: what is made of the ``count`` terms;
    ``terms`` are all of them, or of a long sum the strongest, and ``rest`` is the sum of the others. ``outcome`` is
    that of the terms; ``steps`` are what is done with it then ("·" stands for it) and what comes out each time.
    ``replaced``: an edit or a hook put ``value`` in its place. ``sentence``: why there is none; no ``terms`` then.
    """

    name: str
    position: int
    place: tuple[int, ...]
    value: float
    kind: Literal["sum", "product", "quotient"]
    terms: tuple[Term, ...]
    count: int
    rest: float
    outcome: float
    steps: tuple[tuple[str, float], ...]
    replaced: bool = False
    sentence: str = ""

    @property
    def result(self) -> float:
        """What comes out in the end."""
        return self.steps[-1][1] if self.steps else self.outcome


@dataclass(frozen=True)
class Lens:
    """The logit lens over positions [start, start + columns) of ``n_total``: the last norm and the unembedding on the
    stream of every boundary. Arrays [n_layers + 1, columns], rows as in ResidualNorms, float32 unless said otherwise.

    ``ids`` int64: the most probable token, -1 where it is not computed yet. ``probabilities``: its probability.
    ``next_probability`` and ``next_rank`` (int64, from 0) are of the token that follows in the text, ``next_ids`` int64
    [columns]: NaN and -1 while there is none. ``entropy`` in nats. ``divergence``: KL(last boundary ‖ this one), nats,
    NaN while the last is not computed. ``settled`` int64 [columns]: the boundary from which on the last one's first
    choice stays first, -1 while that is not known. ``pieces``: every token above once.
    """

    start: int
    n_total: int
    ids: Array
    probabilities: Array
    next_probability: Array
    entropy: Array
    divergence: Array
    next_ids: Array
    next_rank: Array
    settled: Array
    pieces: tuple[Piece, ...]
    source: str = "recomputed"


@dataclass(frozen=True)
class LensColumn:
    """One position under the logit lens; rows are the boundaries that are computed, of ``rows_total``.

    ``ids`` int64, ``logits``, ``probabilities`` [rows, top]: the most probable tokens, ties by id. ``entropy``,
    ``divergence``, ``next_probability``, ``next_rank`` [rows], ``next_id`` and ``settled`` as in Lens. ``words`` int64
    [words] are followed over depth: the most probable of the last row, the next, those asked for; ``word_probability``
    and ``word_rank`` (int64, from 0) [words, rows]. All empty where no layer has read the position.
    """

    position: int
    rows_total: int
    ids: Array
    logits: Array
    probabilities: Array
    entropy: Array
    divergence: Array
    next_id: int
    next_probability: Array
    next_rank: Array
    words: Array
    word_probability: Array
    word_rank: Array
    settled: int
    pieces: tuple[Piece, ...]
    source: str = "recomputed"


@dataclass(frozen=True)
class ExactValue:
    """The exact figure behind one cell, not reduced; None where it is not computed."""

    quantity: str
    index: tuple[int, ...]
    value: float | None
    source: str
    name: str = ""  # of the point, where the quantity is "point"


@dataclass(frozen=True)
class Listed:
    """What the headers of a model say, and the same as trees; or the sentence that says why nothing can be told."""

    asked: str
    inventory: Inventory | None
    by_layer: Outline | None = None
    by_component: Outline | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Unreadable:
    """Why there are no figures of a tensor: one sentence."""

    tensor: Stored
    sentence: str


@dataclass(frozen=True)
class TensorFigures:
    """A tensor in figures, in float64; of what is not finite only the count is told.

    ``low``, ``high``, ``mean``, ``deviation`` (of all, not of a sample), ``peak`` (the largest magnitude) and ``norm``
    (Frobenius) are of the ``count`` - ``nans`` - ``infinities`` finite numbers; NaN where there is none.

    ``rms``, ``means``, ``peaks`` float64 [rows, columns]: of each block of ``block`` (rows, columns), smaller at the
    edges; not finite where a number in the block is not. [0, 0] for all matrices together.
    """

    tensor: Stored
    matrix: int | None
    count: int
    nans: int
    infinities: int
    zeros: int
    low: float
    high: float
    mean: float
    deviation: float
    peak: float
    norm: float
    block: tuple[int, int]
    rms: Array
    means: Array
    peaks: Array
    source: str = "read from the file"

    @property
    def finite(self) -> int:
        return self.count - self.nans - self.infinities


@dataclass(frozen=True)
class TensorHistogram:
    """``counts`` int64 [bins] of the finite numbers between ``edges`` float64 [bins + 1]; the last bin has its end."""

    tensor: Stored
    matrix: int | None
    edges: Array
    counts: Array
    source: str = "read from the file"


@dataclass(frozen=True)
class TensorBlock:
    """Exact figures of a rectangle; ``peak`` is the number of the largest magnitude, at ``row``, ``column``."""

    tensor: Stored
    matrix: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    low: float
    high: float
    peak: float
    row: int
    column: int
    source: str = "read from the file"


@dataclass(frozen=True)
class SingularValues:
    """Of one matrix: ``values`` float64 [min(rows, columns)], falling, from the eigenvalues of its Gram matrix.

    What is below 1e-8 of the largest is rounding. ``seconds``: what it took.
    """

    tensor: Stored
    matrix: int
    values: Array
    seconds: float
    source: str = "computed from the file"

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the values as shares of their sum (Roy and Vetterli 2007, The effective rank)."""
        shares = self.values[self.values > 0] / (self.values.sum() or 1.0)
        return float(np.exp(-(shares * np.log(shares)).sum())) if shares.size else 0.0

    @property
    def stable_rank(self) -> float:
        """The sum of squares over the largest square."""
        largest = float(self.values[0]) if self.values.size else 0.0
        return float(((self.values / largest) ** 2).sum()) if largest else 0.0

    @property
    def condition(self) -> float:
        """The largest over the smallest; infinite where the smallest cannot be told from 0."""
        if not self.values.size or self.values[-1] <= self.values[0] * 1e-8:
            return float("inf")
        return float(self.values[0] / self.values[-1])


@dataclass(frozen=True)
class Untouched:
    """A pass beside the same pass without edits and hooks, from the state before it: the cache as it stood then, with
    what earlier passes were edited to. The pass read [start, end) and chooses the token at ``end``.

    ``points``: the hook points at which it was edited so far, by name; none: both sides are the same.
    ``chosen`` and ``otherwise``: the token that was chosen, and the one that the untouched logits give by the same
    settings and the same draw; -1 where it is not chosen yet.
    ``ids`` int64 [n]: the most probable tokens of the pass, then those of the untouched one that are not among them;
    ``probabilities`` and ``logits`` [2, n]: as edited, and untouched; raw, before sampling.
    ``change`` [d_vocab]: logit as edited less the untouched one, -inf where banned. ``moved`` int64: the tokens with
    the largest |change|, falling; their changes are ``change[moved]``. ``pieces``: of ids, moved, chosen and otherwise,
    by rising id.
    ``parting`` [n_layers + 1, columns]: L2 norm of the difference of the two residual streams at every boundary and
    position of the pass, the maximum over the ``block`` positions of a column; NaN where the pass has not come to.
    While the pass is not at its logits ``ids``, ``change`` and ``moved`` are empty; of a position that was not read
    everything is, and ``end`` is ``start``.
    """

    start: int
    end: int
    points: tuple[str, ...]
    chosen: int
    otherwise: int
    ids: Array
    probabilities: Array
    logits: Array
    change: Array
    moved: Array
    pieces: tuple[Piece, ...]
    block: int
    parting: Array
    source: str = "recomputed"


@dataclass(frozen=True)
class Saved:
    """A run lies at ``path``: ``done`` of ``size`` bytes (about, while it is not whole) are written, in ``seconds``."""

    path: str
    done: int
    size: int
    seconds: float


@dataclass(frozen=True)
class NeedsModel:
    """Nothing recorded answers this, and the model that could compute it is not here: the sentence that says which."""

    sentence: str


OfFiles = Listed | Unreadable | TensorFigures | TensorHistogram | TensorBlock | SingularValues


@dataclass(frozen=True)
class TokenFound:
    """The token whose text is ``text``; ``id`` is None, and ``sentence`` says why, where it is not one token."""

    text: str
    id: int | None
    sentence: str = ""
    source: str = ""


Answer = (
    ResidualNorms
    | ResidualVectors
    | AttentionGrid
    | AttentionMap
    | AttentionRow
    | CacheState
    | CacheVectors
    | Routing
    | RoutingShares
    | RouterRow
    | RoutingLayers
    | RoutedTokens
    | ExpertUse
    | Neurons
    | NeuronLayers
    | Surprises
    | Lens
    | LensColumn
    | Points
    | PointTensor
    | Worked
    | ExactValue
    | Untouched
    | Saved
    | TokenFound
    | NeedsModel
    | OfFiles
)


@dataclass(frozen=True)
class AnswerFrame:
    """The answer to a watch or question. ``key`` names who asked; ``ticket`` tells newer from older.

    One that is not ``whole`` shows what there is so far; the whole one follows.
    """

    key: str
    ticket: int
    step: int
    answer: Answer
    whole: bool = True
