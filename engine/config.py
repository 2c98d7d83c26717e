"""A model's configuration as specs: global facts, one LayerSpec per layer, a small table of ropes.

A family file (``engine/families``) turns the many dialects of ``config.json`` into these specs; the decoder
reads nothing else. Shapes below use ``d_model``, ``n_heads``, ``n_kv_heads``, ``d_head``, ``d_mlp``, ``d_vocab``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.reach import Positions, first_seen


@dataclass(frozen=True)
class NormSpec:
    """A normalisation over the last axis.

    ``rms``: x / sqrt(mean(x²) + eps) (Zhang & Sennrich 2019); ``layer``: (x - mean) / sqrt(variance + eps) (Ba et al.
    2016). Then · (weight + offset) and + bias, where there are such parameters. ``float32`` says that it is computed
    in float32 whatever the model's type; ``weight_first`` that the weight is applied before the cast back.
    """

    kind: Literal["rms", "layer"]
    eps: float
    weight: bool = True
    bias: bool = False
    offset: float = 0.0
    float32: bool = True
    weight_first: bool = False


@dataclass(frozen=True)
class RopeSpec:
    """Rotary position embedding (Su et al. 2021) over the first ``dim`` entries of a head.

    ``interleaved``: entry 2i turns with entry 2i + 1; otherwise entry i turns with entry i + dim / 2. ``scaling`` names
    how the inverse frequencies are stretched; the fields after it are that method's parameters. ``divisors`` (length
    dim / 2) divide the inverse frequencies one by one; GGUF files store Llama-3 scaling so. ``short_factors`` and
    ``long_factors`` are longrope's divisors up to and beyond the original context.
    ``precision``: tables in the model's type ("activation"), tables in float32 and the result cast back ("promoted"),
    or interleaved queries and keys turned as complex numbers of float32 too ("complex").
    """

    theta: float
    dim: int
    n_ctx: int
    scaling: str = "default"  # default, linear, dynamic, llama3, yarn or longrope
    factor: float = 1.0
    original_n_ctx: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0
    divisors: tuple[float, ...] = ()
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    interleaved: bool = False
    precision: Literal["activation", "promoted", "complex"] = "activation"

    def regime(self, n_positions: int) -> int:
        """Which inverse frequencies a sequence of this length has; equal regimes have equal ones."""
        if self.scaling == "dynamic":
            return max(n_positions, self.n_ctx)
        return int(self.scaling == "longrope" and n_positions > self.original_n_ctx)


@dataclass(frozen=True)
class CachedPart:
    """What a layer stores per position under one name: ``heads`` vectors of ``width`` entries."""

    name: str
    heads: int
    width: int


@dataclass(frozen=True)
class AttentionSpec:
    """Multi-head or grouped-query attention; query head h reads key/value head h // (n_heads // n_kv_heads).

    ``rope``: the id of a RopeSpec in ModelConfig.ropes, None for no rotation. ``window``: a query sees this many keys,
    itself included; ``chunk``: a query sees its own chunk of positions only; None: it sees every key before it.
    ``qk_norm`` normalises queries and keys: over each head, over all heads together ("all"), or over each head after
    rope ("rotated"). ``clip`` bounds q, k and v. ``softcap``: cap · tanh(scores / cap), before the mask. ``sinks``: a
    learned score per head that takes part in the softmax and reads nothing. ``alibi``: scores fall with distance
    (Press et al. 2022), added before the scale. ``temperature``: (scale, floor) by which queries grow with position:
    1 + scale · log(1 + floor((position + 1) / floor)).
    """

    n_heads: int
    n_kv_heads: int
    d_head: int
    scale: float
    rope: str | None
    qkv_bias: bool = False
    out_bias: bool = False
    window: int | None = None
    chunk: int | None = None
    qk_norm: NormSpec | None = None
    qk_norm_over: Literal["head", "all", "rotated"] = "head"
    clip: float | None = None
    softcap: float | None = None
    sinks: bool = False
    alibi: bool = False
    temperature: tuple[float, float] | None = None
    softmax_float32: bool = True

    @property
    def group(self) -> int:
        """How many query heads share one key/value head."""
        return self.n_heads // self.n_kv_heads

    @property
    def kind(self) -> Literal["full", "sliding", "chunked", "latent"]:
        """Which keys a query sees, and so what the cache keeps."""
        return "sliding" if self.window else "chunked" if self.chunk else "full"

    @property
    def cached(self) -> tuple[CachedPart, ...]:
        """What the cache stores per position."""
        return (CachedPart("k", self.n_kv_heads, self.d_head), CachedPart("v", self.n_kv_heads, self.d_head))

    def first_seen(self, query: Positions) -> Positions:
        """The first key position that the query at this position sees; the cache keeps none before it."""
        return first_seen(query, self.window, self.chunk)


@dataclass(frozen=True)
class LatentAttentionSpec:
    """Multi-head latent attention (DeepSeek-AI 2024, DeepSeek-V2): keys and values are made from a cached latent.

    A head's query and key are ``d_nope`` entries without position and ``d_rope`` rotated ones; the rotated key is one
    for all heads. The cache stores the latent (``d_latent``) and that key. ``d_q_latent``: queries are made from a
    latent too; None: straight from the stream. ``latent_norm`` normalises both latents.
    """

    n_heads: int
    d_nope: int
    d_rope: int
    d_value: int
    d_latent: int
    d_q_latent: int | None
    scale: float
    rope: str
    latent_norm: NormSpec
    bias: bool = False  # on the maps into the latents and on the output map

    @property
    def n_kv_heads(self) -> int:
        """Every head has keys and values of its own, made from the latent."""
        return self.n_heads

    @property
    def d_head(self) -> int:
        """Entries of a query and of a key."""
        return self.d_nope + self.d_rope

    @property
    def kind(self) -> Literal["full", "sliding", "chunked", "latent"]:
        """Which keys a query sees, and so what the cache keeps."""
        return "latent"

    @property
    def cached(self) -> tuple[CachedPart, ...]:
        """What the cache stores per position."""
        return (CachedPart("latent", 1, self.d_latent + self.d_rope),)

    def first_seen(self, query: Positions) -> Positions:
        """The first key position that the query at this position sees."""
        return query * 0


@dataclass(frozen=True)
class MLPSpec:
    """Gated: down(activation(gate(x)) · up(x)) (Shazeer 2020); else down(activation(up(x))). Inner vectors: d_mlp.

    ``limit`` and ``alpha`` are parameters of the activation "clamped_swiglu" only (gpt-oss): with the gate at most
    limit and up within ± limit, gate · sigmoid(alpha · gate) · (up + 1).
    """

    d_mlp: int
    activation: str
    bias: bool = False
    gated: bool = True
    limit: float = 0.0
    alpha: float = 0.0


@dataclass(frozen=True)
class MoESpec:
    """A mixture of experts: a router picks ``top_k`` of ``n_experts`` gated MLPs for every position.

    Scores: ``score`` of the router's logits over all experts, or over the chosen ones only (``score_chosen``), in
    float32 (``score_float32``); ``logits_float32`` computes the router's map itself in float32. Choice: the highest of
    scores (logits with ``score_chosen``), plus a learned ``choice_bias``, within the best ``top_groups`` of
    ``n_groups`` groups, a group being as good as its best ("max") or its two best ("top2") experts. Weights: the
    chosen scores, divided by their sum + ``renormalise_eps`` if ``renormalise``, times ``weight_scale``.
    ``scale_input``: the weight multiplies the expert's input, not its output. ``shared``: an MLP that every position
    passes, times sigmoid(gate(x)) if ``shared_gate``.
    """

    n_experts: int
    top_k: int
    expert: MLPSpec
    score: Literal["softmax", "sigmoid"] = "softmax"
    score_chosen: bool = False
    score_float32: bool = True
    logits_float32: bool = False
    renormalise: bool = False
    renormalise_eps: float = 0.0
    weight_scale: float = 1.0
    n_groups: int = 1
    top_groups: int = 1
    group_score: Literal["max", "top2"] = "max"
    choice_bias: bool = False
    router_bias: bool = False
    scale_input: bool = False
    shared: MLPSpec | None = None
    shared_gate: bool = False


def expert_parameters(spec: MoESpec, d_model: int) -> int:
    """How many parameters one expert has: gate, up and down, and their biases."""
    biases = 2 * spec.expert.d_mlp + d_model if spec.expert.bias else 0
    return 3 * spec.expert.d_mlp * d_model + biases


@dataclass(frozen=True)
class LayerSpec:
    """One block: x += attention(norm1(x)); x += mlp(norm2(x)), each norm where there is one.

    ``norm1_post`` and ``norm2_post`` normalise what attention and MLP give before it is added. ``parallel``: both read
    the layer's input, x + attention(norm1(x)) + mlp(norm2(x)); without norm2 the MLP reads norm1's output too.
    ``residual_scale`` multiplies what is added.
    """

    attention: AttentionSpec | LatentAttentionSpec
    mlp: MLPSpec | MoESpec
    norm1: NormSpec | None = None
    norm2: NormSpec | None = None
    norm1_post: NormSpec | None = None
    norm2_post: NormSpec | None = None
    parallel: bool = False
    residual_scale: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """Everything the decoder and the window need to know about a model before a weight is read.

    ``embed_scale`` multiplies the embedding, first rounded to the model's type if ``embed_scale_rounded``. Logits are
    divided by ``logits_divisor``, then capped: cap · tanh(logits / cap) with ``logits_softcap``.
    """

    family: str
    d_model: int
    d_vocab: int
    n_ctx: int
    layers: tuple[LayerSpec, ...]
    ropes: Mapping[str, RopeSpec]
    final_norm: NormSpec
    tied: bool
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    embed_scale: float = 1.0
    embed_scale_rounded: bool = False
    learned_positions: bool = False
    logits_divisor: float = 1.0
    logits_softcap: float | None = None

    @property
    def n_layers(self) -> int:
        return len(self.layers)


def entries_per_position(config: ModelConfig, layer: int) -> int:
    """Numbers that one position takes in one layer's cache."""
    return sum(part.heads * part.width for part in config.layers[layer].attention.cached)
