"""What kinds of parts a model has, in the words of the catalog; each follows from the specs. No torch here."""

from __future__ import annotations

from collections.abc import Callable

from engine.config import AttentionSpec, LatentAttentionSpec, LayerSpec, ModelConfig, MoESpec

TRAITS = {
    "dense": "every parameter takes part in every token",
    "mixture of experts": "a router sends each token to a few of many MLPs",
    "shared experts": "an MLP beside the experts that every token passes",
    "multi-head": "every query head has a key and value head of its own",
    "grouped-query": "several query heads share one key and value head",
    "multi-query": "all query heads share one key and value head",
    "latent attention": "keys and values are made from a short vector that is cached instead of them",
    "sliding window": "a token sees the last few only, in some layers or in all",
    "chunked": "a token sees its own chunk of the text only, in some layers",
    "sinks": "every head has a score that takes attention and gives nothing",
    "no position": "some layers know no positions: their heads look by content alone",
    "learned positions": "a table of learned vectors, one for each position",
    "partial rope": "only a part of each head is turned by its position",
    "long rope": "positions turn otherwise once a text is long",
    "qk-norm": "queries and keys are normalised",
    "soft-capping": "scores or logits are bounded by a smooth cap",
    "post-norm": "what a block gives is normalised before it is added",
    "parallel block": "attention and MLP read the same input side by side",
    "layer norm": "norms that take the mean away, with biases",
    "biases": "queries, keys and values have biases",
}


def traits(config: ModelConfig) -> tuple[str, ...]:
    """Those that a model has, in the order of TRAITS; of kinds of layers it is enough that there is one."""
    return tuple(name for name in TRAITS if _TESTS[name](config))


def _layers(config: ModelConfig) -> set[LayerSpec]:
    return set(config.layers)


def _heads(config: ModelConfig) -> list[AttentionSpec]:
    """Attention with keys and values, of each kind of layer."""
    return [layer.attention for layer in _layers(config) if isinstance(layer.attention, AttentionSpec)]


def _experts(config: ModelConfig) -> list[MoESpec]:
    return [layer.mlp for layer in _layers(config) if isinstance(layer.mlp, MoESpec)]


def _has(test: Callable[[AttentionSpec], object]) -> Callable[[ModelConfig], bool]:
    return lambda config: any(test(heads) for heads in _heads(config))


def _placeless(config: ModelConfig) -> bool:
    return not config.learned_positions and any(heads.rope is None and not heads.alibi for heads in _heads(config))


def _capped(config: ModelConfig) -> bool:
    return config.logits_softcap is not None or any(heads.softcap is not None for heads in _heads(config))


def _windowed(config: ModelConfig) -> bool:
    """A window as long as the context is none."""
    return any(heads.window is not None and heads.window < config.n_ctx for heads in _heads(config))


def _partly_turned(config: ModelConfig) -> bool:
    return any(heads.rope and config.ropes[heads.rope].dim < heads.d_head for heads in _heads(config))


_TESTS: dict[str, Callable[[ModelConfig], bool]] = {
    "dense": lambda config: not _experts(config),
    "mixture of experts": lambda config: bool(_experts(config)),
    "shared experts": lambda config: any(experts.shared for experts in _experts(config)),
    "multi-head": _has(lambda heads: heads.n_kv_heads == heads.n_heads),
    "grouped-query": _has(lambda heads: 1 < heads.n_kv_heads < heads.n_heads),
    "multi-query": _has(lambda heads: heads.n_kv_heads == 1 < heads.n_heads),
    "latent attention": lambda config: any(
        isinstance(layer.attention, LatentAttentionSpec) for layer in _layers(config)
    ),
    "sliding window": _windowed,
    "chunked": _has(lambda heads: heads.chunk),
    "sinks": _has(lambda heads: heads.sinks),
    "no position": _placeless,
    "learned positions": lambda config: config.learned_positions,
    "partial rope": _partly_turned,
    "long rope": lambda config: any(rope.scaling == "longrope" for rope in config.ropes.values()),
    "qk-norm": _has(lambda heads: heads.qk_norm),
    "soft-capping": _capped,
    "post-norm": lambda config: any(layer.norm1_post for layer in _layers(config)),
    "parallel block": lambda config: any(layer.parallel for layer in _layers(config)),
    "layer norm": lambda config: config.final_norm.kind == "layer",
    "biases": _has(lambda heads: heads.qkv_bias),
}
