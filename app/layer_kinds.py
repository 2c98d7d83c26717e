"""What a layer sees and keeps, worked out from its facts, and how its kind is named."""

from __future__ import annotations

from collections.abc import Callable

from engine import reach
from engine.frames import LayerFacts, ModelFrame
from engine.reach import Positions

Translate = Callable[[str], str]


def first_seen(layer: LayerFacts, query: Positions) -> Positions:
    """The first key position that the query at a position sees: one, or an array of positions."""
    return reach.first_seen(query, *_window_and_chunk(layer))


def kept_after(layer: LayerFacts, length: int) -> int:
    """Positions that a layer keeps once ``length`` have been read: those that the next query sees."""
    return reach.kept_after(length, *_window_and_chunk(layer))


def _window_and_chunk(layer: LayerFacts) -> tuple[int | None, int | None]:
    return (None, layer.reach) if layer.attention == "chunked" else (layer.reach, None)


def position_bytes(layer: LayerFacts, itemsize: int) -> int:
    """Bytes that one position takes in one layer."""
    return sum(heads * width for _, heads, width in layer.cached) * itemsize


def bytes_after(model: ModelFrame, length: int) -> int:
    """Bytes that all layers keep once ``length`` positions have been read."""
    return sum(kept_after(layer, length) * position_bytes(layer, model.kv_itemsize) for layer in model.layers)


def attention_words(layer: LayerFacts, tr: Translate) -> str:
    """ "window 512", "chunk 8192", "latent" or "full"."""
    names = {"sliding": tr("window {0}"), "chunked": tr("chunk {0}"), "latent": tr("latent"), "full": tr("full")}
    return names[layer.attention].format(layer.reach)


def position_words(layer: LayerFacts, tr: Translate) -> str:
    """Whether queries and keys are turned by their positions; "NoPE": they are not."""
    return tr("rope") if {"rope", "latent"} & set(layer.stages) else tr("NoPE")


def expert_words(layer: LayerFacts, tr: Translate) -> str:
    """ "experts 4 of 32"; "one MLP" where there is nothing to choose from."""
    if not layer.n_experts:
        return tr("one MLP")
    return tr("experts {0} of {1}").format(layer.top_k, layer.n_experts)


def differing(model: ModelFrame, tr: Translate) -> tuple[str, ...]:
    """Per layer what tells it from others of its model: "window 512 · experts 4 of 32"; "" where all are alike."""
    columns = [
        [words(layer, tr) for layer in model.layers] for words in (attention_words, position_words, expert_words)
    ]
    told = [column for column in columns if len(set(column)) > 1]
    return tuple(_remarkable([column[layer] for column in told], tr) for layer in range(model.n_layers))


def _remarkable(words: list[str], tr: Translate) -> str:
    """What is usual is left out where there is something else to say: the list of layers is narrow."""
    rare = [word for word in words if word not in (tr("full"), tr("rope"), tr("one MLP"))]
    return " · ".join(rare or words)


def model_facts_text(model: ModelFrame, tr: Translate) -> str:
    """A model in lines: its kinds of layers with their number, in the order of their first."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for layer, facts in enumerate(model.layers):
        told = (heads_text(facts, tr), sight_text(facts, tr), mlp_text(facts, tr))
        kinds.setdefault(told, []).append(layer)
    lines = [f"{_which(layers, tr)}: {'; '.join(told)}" for told, layers in kinds.items()]
    width = tr("family {0}, residual stream {1} wide, {2} tokens known").format(
        model.family, model.d_model, model.d_vocab
    )
    return "\n".join((width, *lines))


def _which(layers: list[int], tr: Translate) -> str:
    return tr("layer {0}").format(layers[0]) if len(layers) == 1 else tr("{0} layers").format(len(layers))


def layer_facts_text(model: ModelFrame, layer: int, tr: Translate) -> str:
    """What a layer is, in lines: heads, what a query sees, the MLP, what is stored."""
    facts = model.layers[layer]
    inner = mlp_text(facts, tr)
    stored = tr("the cache takes {0} bytes a position").format(position_bytes(facts, model.kv_itemsize))
    return "\n".join((tr("layer {0}").format(layer), heads_text(facts, tr), sight_text(facts, tr), inner, stored))


def heads_text(facts: LayerFacts, tr: Translate) -> str:
    """Who reads whose keys and values, in numbers. A width says so: "9 heads of 64" reads as nine out of 64."""
    if facts.attention == "latent":
        form = tr("{0} heads, each {1} wide; all have keys and values of their own, made from one latent")
    elif facts.n_heads == 1:
        form = tr("one head, {1} wide")
    elif facts.n_kv_heads == facts.n_heads:
        form = tr("{0} heads, each {1} wide and with its own keys and values")
    elif facts.n_kv_heads == 1:
        form = tr("{0} query heads, each {1} wide, share one KV head")
    else:
        form = tr("{0} query heads, each {1} wide, share {2} KV heads: {3} query heads read each")
    return form.format(facts.n_heads, facts.d_head, facts.n_kv_heads, facts.n_heads // facts.n_kv_heads)


def sight_text(facts: LayerFacts, tr: Translate) -> str:
    """Which keys a query sees."""
    forms = {
        "sliding": tr("sliding window {0}: a query sees the last {0} positions, its own included"),
        "chunked": tr("chunk {0}: a query sees its own chunk of {0} positions, up to itself"),
    }
    text = forms.get(facts.attention, tr("a query sees its own position and every one before it")).format(facts.reach)
    return text + (tr("; what is missing to 1 in a row went to the head's sink") if facts.sinks else "")


def mlp_text(facts: LayerFacts, tr: Translate) -> str:
    """The MLP, or the experts, in numbers."""
    if not facts.n_experts:
        return tr("one MLP, {0} wide").format(facts.d_mlp)
    return tr("{0} experts, {1} wide; a router picks {2} for every position").format(
        facts.n_experts, facts.d_mlp, facts.top_k
    )


def let_go_text(facts: LayerFacts, layer: int, tr: Translate) -> str:
    """Why a layer no longer stores a position."""
    if facts.attention == "chunked":
        return tr(
            "layer {0} keeps the chunk of {1} positions that the next token is in: this one has been let go"
        ).format(layer, facts.reach)
    return tr(
        "layer {0} keeps the last {1} positions (with the next token a window of {2}): this one has been let go"
    ).format(layer, (facts.reach or 1) - 1, facts.reach)
