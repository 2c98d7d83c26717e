"""A model in a few words: its sizes by the names that the field uses. No torch here."""

from __future__ import annotations

from collections.abc import Iterable

from engine.config import LatentAttentionSpec, MLPSpec, ModelConfig, MoESpec


def facts(config: ModelConfig) -> dict[str, str]:
    """Label to value, in the order of reading; what differs between layers is named in the order of the layers.

    Shared experts, which every token passes, are told by their width, all together.
    """
    sizes = {
        "layers": f"{config.n_layers:,}",
        "d_model": f"{config.d_model:,}",
        **_attention(config),
        **_mlp(config),
        "vocabulary": f"{config.d_vocab:,}",
        "context": f"{config.n_ctx:,}",
        "unembedding": "tied to the embedding" if config.tied else "of its own",
    }
    return {label: value for label, value in sizes.items() if value}


def _attention(config: ModelConfig) -> dict[str, str]:
    specs = [layer.attention for layer in config.layers]
    latent = [spec for spec in specs if isinstance(spec, LatentAttentionSpec)]
    return {
        "attention": ", ".join(dict.fromkeys(spec.kind for spec in specs)),
        "heads": _several(spec.n_heads for spec in specs),
        "KV heads": _several(spec.n_kv_heads for spec in specs),
        "d_head": _several(spec.d_head for spec in specs),
        "d_latent": _several(spec.d_latent for spec in latent),
        "d_q_latent": _several(spec.d_q_latent or 0 for spec in latent),
    }


def _mlp(config: ModelConfig) -> dict[str, str]:
    mlps = [layer.mlp for layer in config.layers]
    routed = [mlp for mlp in mlps if isinstance(mlp, MoESpec)]
    return {
        "d_mlp": _several(mlp.d_mlp for mlp in mlps if isinstance(mlp, MLPSpec)),
        "experts": _several(mlp.n_experts for mlp in routed),
        "top-k": _several(mlp.top_k for mlp in routed),
        "d_expert": _several(mlp.expert.d_mlp for mlp in routed),
        "shared experts": _shared(routed),
    }


def _several(values: Iterable[int]) -> str:
    """Each value once; "" where there is none but 0."""
    return ", ".join(f"{value:,}" for value in dict.fromkeys(values) if value)


def _shared(routed: list[MoESpec]) -> str:
    """How wide they are, all together; "" for a model without experts."""
    widths = _several(mlp.shared.d_mlp for mlp in routed if mlp.shared is not None)
    return f"{widths} wide" if widths else "none" if routed else ""
