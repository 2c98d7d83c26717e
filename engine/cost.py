"""What a model costs to run: parameters, bytes, floating-point operations, the cache. From its specs alone, no torch.

Counted are the products of matrices, as papers and torch's FlopCounterMode count them: 2 · rows · inner · columns
(Kaplan et al. 2020, "Scaling Laws for Neural Language Models", table 1; Hoffmann et al. 2022, appendix F). Norms, rope,
softmax and activations are a few operations a number and are left out. Scores of keys that a query does not see are
left out too, whether or not a kernel computes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from engine.amounts import bytes_text, flops_text
from engine.checkpoint.accounts import idle_parameters
from engine.checkpoint.counts import active_parameters, component_parameters, parameters
from engine.checkpoint.room import itemsize_of
from engine.config import AttentionSpec, LatentAttentionSpec, MLPSpec, ModelConfig, MoESpec, entries_per_position
from engine.errors import ContextError
from engine.reach import FIRST_CAPACITY

Attention = AttentionSpec | LatentAttentionSpec


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one pass, by part; a multiplication with its addition counts two.

    ``projections``: to queries, keys and values, and of what the heads read; ``attention``: scores and mixing, of the
    keys that a query sees; ``mlp``: dense MLPs, the experts that are chosen and the shared ones, routers.
    """

    projections: int
    attention: int
    mlp: int
    unembedding: int

    @property
    def total(self) -> int:
        return self.projections + self.attention + self.mlp + self.unembedding


@dataclass(frozen=True)
class Cost:
    """A cost sheet for ``positions`` tokens. Bytes, but for parameters and Flops.

    ``cache_per_position``: what one position adds while every layer keeps it; ``cache_kept``: what the layers keep
    after all positions, windows and chunks having let go; ``cache_allocated``: the buffers that hold it, once all but
    the last were read in one pass and the last in a step, with their room to grow. ``prefill`` reads all positions and
    gives the last one's logits; ``decode`` is the step that reads the last one. ``decode_read``: what that step reads
    from memory, the weights that take part and the cache.
    """

    positions: int
    weight_dtype: str
    cache_dtype: str
    parameters: int
    active: int
    weight_bytes: int
    cache_per_position: int
    cache_kept: int
    cache_allocated: int
    prefill: Flops
    decode: Flops
    decode_read: int

    @property
    def intensity(self) -> float:
        """Operations per byte read in decode: below what a machine has (some 10 to 300), its memory sets the speed
        (Williams et al. 2009, the roofline model)."""
        return self.decode.total / self.decode_read


def cost(config: ModelConfig, *, positions: int, weight_dtype: str = "float32", cache_dtype: str | None = None) -> Cost:
    """The cost sheet of a model. ``cache_dtype`` None: as the weights.

    Raises ContextError for no positions or more than the context, EngineError for a type that is not known.
    """
    if not 0 < positions <= config.n_ctx:
        raise ContextError(f"A cost for {positions} positions was asked for; this model has room for {config.n_ctx}.")
    cache_dtype = weight_dtype if cache_dtype is None else cache_dtype
    weight_size, cache_size = itemsize_of(weight_dtype), itemsize_of(cache_dtype)
    total = parameters(config)
    return Cost(
        positions=positions,
        weight_dtype=weight_dtype,
        cache_dtype=cache_dtype,
        parameters=total,
        active=active_parameters(config),
        weight_bytes=total * weight_size,
        cache_per_position=_cached(config, cache_size, lambda spec: 1),
        cache_kept=_cached(config, cache_size, lambda spec: kept(spec, positions)),
        cache_allocated=_cached(config, cache_size, lambda spec: _capacity(spec, positions, config.n_ctx)),
        prefill=_flops(config, positions, step=False),
        decode=_flops(config, positions, step=True),
        decode_read=_weights_read(config) * weight_size
        + _cached(config, cache_size, lambda spec: _seen(spec, positions)),
    )


def _cached(config: ModelConfig, itemsize: int, columns: Callable[[Attention], int]) -> int:
    """Bytes of so many columns in every layer's cache."""
    entries = [entries_per_position(config, layer) for layer in range(config.n_layers)]
    return itemsize * sum(n * columns(layer.attention) for n, layer in zip(entries, config.layers, strict=True))


def kept(spec: Attention, positions: int) -> int:
    """Positions that a layer keeps once so many have been read: those that the next query sees."""
    return positions - min(positions, spec.first_seen(positions))


def _capacity(spec: Attention, positions: int, n_ctx: int) -> int:
    """Columns of a layer's buffers, as ``engine/cache.py`` makes them: a pass over all but the last, then a step."""
    if positions == 1:
        return min(FIRST_CAPACITY, n_ctx)
    before = positions - 1
    stored = kept(spec, before)
    capacity = max(before, min(FIRST_CAPACITY, n_ctx))
    if stored < before and capacity > 4 * max(stored, FIRST_CAPACITY):  # what was let go of is given back
        capacity, before = max(FIRST_CAPACITY, 2 * stored), stored
    if before < capacity or 2 * (stored + 1) <= capacity:
        return capacity
    return max(stored + 1, min(max(2 * stored, FIRST_CAPACITY), n_ctx))


def _seen(spec: Attention, positions: int) -> int:
    """Keys that the query at the last of so many positions sees, its own included."""
    return positions - spec.first_seen(positions - 1)


def pairs(spec: Attention, positions: int) -> int:
    """How many (query, key) pairs there are in a pass over so many positions: the sum of ``_seen`` from 1 on."""
    window, chunk = getattr(spec, "window", None), getattr(spec, "chunk", None)
    if window is not None:
        near = min(positions, window)
        return _triangle(near) + (positions - near) * window
    if chunk is not None:
        return positions // chunk * _triangle(chunk) + _triangle(positions % chunk)
    return _triangle(positions)


def _triangle(n: int) -> int:
    return n * (n + 1) // 2


def _prefill_attention(spec: Attention, positions: int) -> int:
    """Products of queries with keys and of patterns with values: 2 · heads · (width of keys + width of values) each.

    Of a latent, every head's keys and values are made first (DeepSeek-AI 2024, DeepSeek-V2, section 2.1)."""
    if isinstance(spec, LatentAttentionSpec):
        return 2 * spec.n_heads * (spec.d_head + spec.d_value) * pairs(spec, positions)
    return 4 * spec.n_heads * spec.d_head * pairs(spec, positions)


def _decode_attention(spec: Attention, positions: int) -> int:
    """Of the last position's query alone. A latent is read as it is stored: the maps to keys and values go to the query
    and to what was mixed instead (the same section: absorbed)."""
    if isinstance(spec, LatentAttentionSpec):
        return 2 * spec.n_heads * (2 * spec.d_latent + spec.d_rope) * _seen(spec, positions)
    return 4 * spec.n_heads * spec.d_head * _seen(spec, positions)


def _flops(config: ModelConfig, positions: int, *, step: bool) -> Flops:
    """Of a pass over all positions, or of the step that reads the last one."""
    rows = 1 if step else positions
    attend = _decode_attention if step else _prefill_attention
    alike = Counter(config.layers)
    return Flops(
        projections=rows * sum(n * _projections(layer.attention, config.d_model) for layer, n in alike.items()),
        attention=sum(n * attend(layer.attention, positions) for layer, n in alike.items()),
        mlp=rows * sum(n * _mlp(layer.mlp, config.d_model) for layer, n in alike.items()),
        unembedding=2 * config.d_model * config.d_vocab,
    )


def _projections(spec: Attention, d_model: int) -> int:
    """Of one position. A latent's maps to keys and values cost the same in both ways of using them."""
    if not isinstance(spec, LatentAttentionSpec):
        return 2 * d_model * (2 * spec.n_heads + 2 * spec.n_kv_heads) * spec.d_head
    down = 0 if spec.d_q_latent is None else d_model * spec.d_q_latent
    queries = down + (spec.d_q_latent or d_model) * spec.n_heads * spec.d_head
    latent = d_model * (spec.d_latent + spec.d_rope) + spec.d_latent * spec.n_heads * (spec.d_nope + spec.d_value)
    return 2 * (queries + latent + spec.n_heads * spec.d_value * d_model)


def _mlp(spec: MLPSpec | MoESpec, d_model: int) -> int:
    """Of one position: two or three maps, and of experts those that it is sent to, the router and the shared one."""
    if isinstance(spec, MLPSpec):
        return 2 * (3 if spec.gated else 2) * d_model * spec.d_mlp
    shared = 0 if spec.shared is None else spec.shared.d_mlp
    inner = 3 * (spec.top_k * spec.expert.d_mlp + shared)
    return 2 * d_model * (inner + spec.n_experts + spec.shared_gate)


def _weights_read(config: ModelConfig) -> int:
    """Parameters that a step reads: those that take part, but only a row of a table that is looked up."""
    parts, idle = component_parameters(config), idle_parameters(config)
    tables = parts.get("positions", 0) + (0 if config.tied else parts["embedding"])
    rows = config.d_model * (config.learned_positions + (not config.tied))
    return sum(parts.values()) - idle - tables + rows


def cost_rows(sheet: Cost) -> dict[str, str]:
    """Label to value, in the order of reading, as ``facts`` has them."""
    context = f"{sheet.positions:,} positions"
    rows = {
        "parameters": f"{sheet.parameters:,}",
        "active per token": f"{sheet.active:,}" if sheet.active != sheet.parameters else "",
        "weights": f"{bytes_text(sheet.weight_bytes)} in {sheet.weight_dtype}",
        "cache per position": f"{bytes_text(sheet.cache_per_position)} in {sheet.cache_dtype}",
        f"cache of {context}": f"{bytes_text(sheet.cache_kept)}, in buffers of {bytes_text(sheet.cache_allocated)}",
        f"prefill of {context}": _flops_text(sheet.prefill),
        "decode of the last": _flops_text(sheet.decode),
        "read by that step": f"{bytes_text(sheet.decode_read)}, {sheet.intensity:.2g} operations a byte",
    }
    return {label: value for label, value in rows.items() if value}


def _flops_text(flops: Flops) -> str:
    """ "1.2 TFLOP: projections 20 %, attention 8 %, MLP 60 %, unembedding 12 %"."""
    names = {"projections": "projections", "attention": "attention", "mlp": "MLP", "unembedding": "unembedding"}
    shares = (f"{name} {getattr(flops, field) / flops.total:.0%}" for field, name in names.items())
    return f"{flops_text(flops.total)}: {', '.join(shares)}".replace("%", " %")
