"""How much memory a model takes to run: the arithmetic that loading and the model shelf share. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from engine.amounts import bytes_text
from engine.config import AttentionSpec, LatentAttentionSpec, LayerSpec, MLPSpec, ModelConfig, entries_per_position
from engine.errors import EngineError
from engine.reach import SCORED_AT_ONCE

WORKING_SPACE = 64 * 2**20  # bytes that a pass over one position needs beside weights and cache
CACHED_POSITIONS = 1024  # a model that cannot cache this many positions is of no use
ITEMSIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}  # bytes, of the types that are computed in


def computing_type(wanted: str, device: str) -> str:
    """What "auto" means on a kind of device; another type is itself. Raises EngineError for an unknown one."""
    if wanted == "auto":
        return "float32" if device == "cpu" else "bfloat16"
    itemsize_of(wanted)
    return wanted


def itemsize_of(dtype: str) -> int:
    """Bytes of one number. Raises EngineError for a type that is not known."""
    if dtype not in ITEMSIZES:
        raise EngineError(f"The type {dtype!r} is not known; choose auto or one of {', '.join(ITEMSIZES)}.")
    return ITEMSIZES[dtype]


@dataclass(frozen=True)
class Room:
    """Bytes that a model with a cache of some positions takes."""

    weights: int
    cache: int
    working: int

    @property
    def needed(self) -> int:
        return self.weights + self.cache + self.working


def room(config: ModelConfig, parameters: int, positions: int, itemsize: int) -> Room:
    """What a run of ``positions`` takes; ``itemsize`` is that of the type in which everything is computed and kept."""
    cache, working = cache_bytes(config, positions, itemsize), working_bytes(config, positions, itemsize)
    return Room(parameters * itemsize, cache, working)


def cache_bytes(config: ModelConfig, positions: int, itemsize: int) -> int:
    """What the layers store per position, times positions; windows and chunks are counted as if they kept all, as they
    do while a long prompt is read."""
    return sum(entries_per_position(config, layer) for layer in range(config.n_layers)) * itemsize * positions


def working_bytes(config: ModelConfig, positions: int, itemsize: int) -> int:
    """What a pass over all positions forms in its widest layer; the residual stream at every layer's boundary, which a
    run records (``engine/trace.py``); and the room that the cache doubles into (``engine/cache.py``)."""
    recorded = (config.n_layers + 1) * config.d_model
    widest = max(_formed(layer, config.d_model) for layer in set(config.layers))
    spare = max(0, min(positions, config.n_ctx - positions))
    return WORKING_SPACE + (recorded + widest) * itemsize * positions + cache_bytes(config, spare, itemsize)


def _formed(layer: LayerSpec, d_model: int) -> int:
    """Numbers per position that live at once in a layer: the stream and what is added, and the wider of its halves."""
    return 4 * d_model + max(_attended(layer.attention), _inside(layer))


def _attended(spec: AttentionSpec | LatentAttentionSpec) -> int:
    """Queries, keys and values, turned ones beside those that are not, and what the heads read. Where scores are formed
    these and their pattern too, of some queries at a time."""
    if isinstance(spec, LatentAttentionSpec):  # every head's keys and values are made, and padded to one width
        return spec.n_heads * (4 * spec.d_head + spec.d_nope + 2 * spec.d_value) + spec.d_latent + spec.d_rope
    formed = spec.sinks or spec.alibi or spec.softcap is not None
    scores = 2 * SCORED_AT_ONCE * spec.n_heads if formed else 0
    return (3 * spec.n_heads + 4 * spec.n_kv_heads) * spec.d_head + scores


def _inside(layer: LayerSpec) -> int:
    """Gate, up and their product, of the MLP or of one expert that every position chose; and of the shared one."""
    if isinstance(layer.mlp, MLPSpec):
        return 4 * layer.mlp.d_mlp
    shared = 0 if layer.mlp.shared is None else layer.mlp.shared.d_mlp
    return 4 * max(layer.mlp.expert.d_mlp, shared) + layer.mlp.n_experts


def parts_text(found: Room, dtype: str, positions: int) -> str:
    """ "2.47 GB weights in bfloat16, 134 MB cache for 4,096 positions, 120 MB to work in"."""
    weights, cache, working = map(bytes_text, (found.weights, found.cache, found.working))
    return f"{weights} weights in {dtype}, {cache} cache for {positions:,} positions, {working} to work in"
