"""What the KV cache holds, in words and numbers: one line for each kind of layers."""

from __future__ import annotations

from app.layer_kinds import Translate, attention_words, position_bytes
from app.widgets.amounts import bytes_text, grouped
from engine.frames import CacheState, LayerFacts, ModelFrame


def facts_text(model: ModelFrame, state: CacheState, tr: Translate) -> str:
    """What is stored, then for each kind of layers the formula and the sum in numbers."""
    kinds = (_kind_text(model, state, layers, tr) for layers in _kinds_of(model.layers))
    return "\n".join((stored_text(state, tr), *kinds))


def stored_text(state: CacheState, tr: Translate) -> str:
    """Bytes now, allocated and per token."""
    return tr("{0} bytes stored now ({1}), {2} allocated; {3} bytes per token in all layers").format(
        grouped(state.bytes_now),
        bytes_text(state.bytes_now),
        bytes_text(state.bytes_allocated),
        grouped(state.bytes_per_token),
    )


def _kinds_of(layers: tuple[LayerFacts, ...]) -> list[list[int]]:
    """Layers that store alike, in the order of their first."""
    kinds: dict[tuple, list[int]] = {}
    for layer, facts in enumerate(layers):
        kinds.setdefault((facts.attention, facts.reach, facts.cached), []).append(layer)
    return list(kinds.values())


def _kind_text(model: ModelFrame, state: CacheState, layers: list[int], tr: Translate) -> str:
    """ "24 layers, window 512: 2 · 3 KV heads · 64 · 4 bytes = 1 536 bytes a position, 511 positions: …" """
    facts, one = model.layers[layers[0]], position_bytes(model.layers[layers[0]], model.kv_itemsize)
    kept = (state.lengths - state.firsts)[layers]
    counts = str(kept.max()) if kept.min() == kept.max() else tr("{0} to {1}").format(kept.min(), kept.max())
    number = tr("1 layer") if len(layers) == 1 else tr("{0} layers").format(len(layers))
    several = any(layer.attention != "full" for layer in model.layers)
    name = f"{number}, {attention_words(facts, tr)}" if several else number
    return tr("{0}: {1} · {2} bytes = {3} bytes a position, {4} positions: {5} bytes").format(
        name, formula(facts, tr), model.kv_itemsize, grouped(one), counts, grouped(int(kept.sum()) * one)
    )


def formula(facts: LayerFacts, tr: Translate) -> str:
    """Numbers of one position in one layer: "2 · 3 KV heads · 64", "(512 latent + 64 rope)"."""
    _, heads, width = facts.cached[0]
    if facts.attention == "latent":
        return tr("({0} latent + {1} rope)").format(width - facts.d_rope, facts.d_rope)
    form = tr("2 · 1 KV head · {1}") if heads == 1 else tr("2 · {0} KV heads · {1}")
    return form.format(heads, width)
