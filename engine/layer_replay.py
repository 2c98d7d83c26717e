"""One layer of a finished pass once more: its own forward code on the recorded stream, with the run's hooks put aside.

Any tensor between the stream that enters a layer and the stream that leaves it can be had this way, of every family,
because nothing is written down twice. What listeners replaced in that pass (its interventions) is replaced again; then
the whole pass is repeated, since a listener saw it whole. Else only the positions asked for are: to rounding the same,
and bit for bit where the shapes are the pass's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.errors import EngineError
from engine.hooks import HookPoint, Listener
from engine.model.attention import Attention
from engine.model.decoder import Decoder
from engine.model.moe import MoE
from engine.model.rope import Turn
from engine.trace import Edits, Trace

_MOST_SCORES = 2_000_000_000  # bytes of the scores of all heads together
_ENTERS = "hook_resid_pre"
_PER_HEAD = ("hook_attn_scores", "hook_pattern", "hook_sink", "hook_result")


class Enough(Exception):  # noqa: N818
    """Everything that was wanted has been seen: the rest of the layer need not be computed."""


class Seen:
    """Takes the tensors of some points as they pass; raises Enough when it has them all."""

    def __init__(self, names: Sequence[str]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._missing = set(names)

    def take(self, name: str, tensor: Tensor) -> None:
        self.tensors[name] = tensor
        self._missing.discard(name)
        if not self._missing:
            raise Enough

    def listen(self, tensor: Tensor, point: HookPoint) -> None:
        """As a listener, which makes a lazy tensor be formed."""
        self.take(point.name, tensor)


def layer_tensors(
    model: Decoder, trace: Trace, cache: KVCache, layer: int, names: Sequence[str], start: int, end: int
) -> dict[str, Tensor]:
    """The tensors of points of one layer at positions [start, end), which must lie inside one pass.

    Shapes as in the hook table with pos = end - start; ``key`` counts from the first key that position ``start`` sees;
    ``routed`` are those of the positions that chose the expert. Raises EngineError where scores would be too large.
    """
    edits = layer_edits(model, trace, layer, start)
    first, last = trace.span(start) if edits else (start, end)
    lazy = [name for name in names if model.points[name].info.lazy]
    check_size(model, layer, lazy if not edits else names, first, last)
    found: dict[str, Tensor] = {}
    for wanted in (lazy, [name for name in names if name not in lazy]):
        if wanted:
            found |= _run(model, trace, cache, layer, wanted, first, last, edits)
    chosen = _chosen_by(trace, layer, first, last)
    return {name: _rows(model, layer, name, found.get(name), chosen, (first, last), (start, end)) for name in names}


def layer_edits(model: Decoder, trace: Trace, layer: int, position: int) -> Edits:
    """What listeners replaced in this layer in the pass that read a position; the stream that enters is recorded as
    they left it. Edits of the rope's tables are counted to every layer that turns by them."""
    applied = trace.edits(position)
    if not applied:
        return {}
    prefix, rope = f"blocks.{layer}.", model.config.layers[layer].attention.rope
    return {
        name: listeners
        for name, listeners in applied.items()
        if (name.startswith(prefix) and name != prefix + _ENTERS) or name.startswith(f"rotary_emb.{rope}.")
    }


def repeated(model: Decoder, trace: Trace, cache: KVCache, ids: Tensor, first: int, last: int, reached: int) -> Tensor:
    """The stream that positions [first, last) of one pass left at the first boundaries, ``[reached, last - first,
    d_model]``, from their ids ``[1, last - first]``. An edited pass must be given whole."""
    edits, n_layers = trace.edits(first), model.config.n_layers
    boundaries: dict[str, Tensor] = {}
    names = [*(f"blocks.{layer}.{_ENTERS}" for layer in range(n_layers)), f"blocks.{n_layers - 1}.hook_resid_post"]
    listeners = formed(edits)
    for layer in trace.routing.layers:
        listeners |= _same_experts(model, trace, layer, first, last)
    observers = {name: partial(boundaries.__setitem__, name) for name in names}
    given = _Given(model, trace, cache, first)
    with model.points.aside([None, *range(n_layers)], listeners, observers):
        x = model.embedded(ids, first)
        for layer, block in enumerate(model.layers[: reached - 1]):
            x = block(x, _turn(model, trace, layer, first, last, edits, x), given)
        if reached <= n_layers:
            model.layers[reached - 1].hook_resid_pre(x)
    return torch.cat([boundaries[name] for name in names[:reached]])


def stored_part(model: Decoder, trace: Trace, cache: KVCache, layer: int, part: int, start: int, end: int) -> Tensor:
    """A part of the cache (0: keys or latents, 1: values) at [start, end); what it has let go is made again."""
    kept = cache.firsts[layer]
    stored = cache.parts(layer)[part][:, :, max(0, start - kept) : max(0, end - kept)]
    if start >= kept:
        return stored
    return torch.cat((*_made(model, trace, cache, layer, part, start, min(kept, end)), stored), dim=2)


def _made(
    model: Decoder, trace: Trace, cache: KVCache, layer: int, part: int, start: int, end: int
) -> Iterator[Tensor]:
    """Pass by pass, since dynamic rope depends on a pass's length."""
    while start < end:
        first, last = trace.span(start)
        stop = min(end, last)
        edits = layer_edits(model, trace, layer, start)
        if edits:
            yield appended(model, trace, cache, layer, first, last, edits)[part][:, :, start - first : stop - first]
        else:
            yield made_parts(model, trace, layer, start, stop, [part])[0]
        start = stop


def made_parts(
    model: Decoder, trace: Trace, layer: int, start: int, end: int, parts: Sequence[int]
) -> tuple[Tensor, ...]:
    """Parts of what a layer stored of positions [start, end) of one pass that was not edited, ``[1, heads, end - start,
    width]`` each, from the stream that entered it."""
    block = model.layers[layer]
    x = block.attention_input(trace.residual(layer, start, end)[None])

    def made(part: int) -> Tensor:
        if part == 0:
            return block.attn.keys(x, model.turn(layer, start, end, trace.span_end(start), x))
        assert isinstance(block.attn, Attention), "a latent is the only part of its cache"
        return block.attn.values(x)

    return tuple(map(made, parts))


# -- the forward code itself -------------------------------------------------------------------------------------


class _Given:
    """Stands for the cache in a repeated pass over [start, ...): what was before it is there, nothing is kept."""

    def __init__(self, model: Decoder, trace: Trace, cache: KVCache, start: int) -> None:
        self.length = start
        self._of = (model, trace, cache)

    def append(self, layer: int, *parts: Tensor) -> tuple[Tensor, ...]:
        model, _, cache = self._of
        first = model.layers[layer].attn.spec.first_seen(self.length)
        end = self.length + parts[0].shape[2]
        if cache.lengths[layer] >= end and cache.firsts[layer] <= self.length:  # what the pass itself stored is there
            return tuple(stored_part(*self._of, layer, index, first, end) for index in range(len(parts)))
        before = (stored_part(*self._of, layer, index, first, self.length) for index in range(len(parts)))
        return tuple(torch.cat((old, new), dim=2) for old, new in zip(before, parts, strict=True))


class _Stop:
    """Stands for the cache where only what would be appended to it is wanted."""

    def __init__(self, start: int) -> None:
        self.length = start
        self.parts: tuple[Tensor, ...] = ()

    def append(self, layer: int, *parts: Tensor) -> tuple[Tensor, ...]:
        self.parts = parts
        raise Enough


def appended(
    model: Decoder, trace: Trace, cache: KVCache, layer: int, first: int, last: int, edits: Edits
) -> tuple[Tensor, ...]:
    """What a layer adds to the cache in the pass over [first, last), ``[1, heads, last - first, width]`` of each part:
    by the pass's own code in its own shapes, so bit for bit."""
    stop = _Stop(first)
    _forward(model, trace, cache, layer, first, last, edits, Seen([""]), [], stop)
    return stop.parts


def _run(
    model: Decoder, trace: Trace, cache: KVCache, layer: int, names: Sequence[str], first: int, last: int, edits: Edits
) -> dict[str, Tensor]:
    seen = Seen(names)
    _forward(model, trace, cache, layer, first, last, edits, seen, names)
    return seen.tensors


def _forward(
    model: Decoder,
    trace: Trace,
    cache: KVCache,
    layer: int,
    first: int,
    last: int,
    edits: Edits,
    seen: Seen,
    names: Sequence[str],
    given: _Given | _Stop | None = None,
) -> None:
    """Run the layer on positions [first, last) until ``seen`` has had enough."""
    x = trace.residual(layer, first, last)[None]
    listeners = _listeners(model, trace, layer, names, edits, seen, first, last)
    observers = {name: partial(seen.take, name) for name in names if not model.points[name].info.lazy}
    turn = _turn(model, trace, layer, first, last, edits, x)
    with model.points.aside([layer], listeners, observers):
        try:
            model.layers[layer](x, turn, given or _Given(model, trace, cache, first))
        except Enough:
            return


def _listeners(
    model: Decoder, trace: Trace, layer: int, names: Sequence[str], edits: Edits, seen: Seen, first: int, last: int
) -> Mapping[str, tuple[Listener, ...]]:
    """The pass's edits, then what looks at lazy tensors; experts are those that the router chose then."""
    listeners = formed(edits)
    listeners |= _same_experts(model, trace, layer, first, last)
    for name in names:
        if model.points[name].info.lazy:
            listeners[name] = (*listeners.get(name, ()), seen.listen)
    return listeners


def _same_experts(model: Decoder, trace: Trace, layer: int, first: int, last: int) -> dict[str, tuple[Listener, ...]]:
    """Where two experts are chosen by nearly the same score, another rounding must not choose the other one."""
    ids = _chosen_by(trace, layer, first, last)
    if ids is None:
        return {}

    def choose(tensor: Tensor, point: HookPoint) -> Tensor:
        return ids.view_as(tensor).to(tensor.device)

    return {f"blocks.{layer}.mlp.hook_expert_indices": (choose,)}


def formed(edits: Edits) -> dict[str, tuple[Listener, ...]]:
    """A pass's interventions as listeners: where a lazy tensor was only looked at, it is formed again."""
    return {name: found or (_form,) for name, found in edits.items()}


def _form(tensor: Tensor, point: HookPoint) -> None:
    """A listener that only makes a lazy tensor be formed, as one did in the pass."""


def _turn(model: Decoder, trace: Trace, layer: int, first: int, last: int, edits: Edits, like: Tensor) -> Turn | None:
    name = model.config.layers[layer].attention.rope
    if name is None:
        return None
    rope, (start, end) = model.ropes[name], trace.span(first)
    points = (rope.hook_cos, rope.hook_sin)
    if not any(point.name in edits for point in points):
        return rope.turn(first, last, end, like)
    tables = rope.tables(start, end, end, like)
    cos, sin = (
        listened(table, point, edits)[first - start : last - start] for table, point in zip(tables, points, strict=True)
    )
    return rope.ready(cos, sin)


def listened(tensor: Tensor, point: HookPoint, edits: Edits) -> Tensor:
    """A tensor as the listeners of a pass left it."""
    for listener in edits.get(point.name, ()):
        replacement = listener(tensor, point)
        tensor = tensor if replacement is None else replacement.to(dtype=tensor.dtype, device=tensor.device)
    return tensor


# -- what came of it ---------------------------------------------------------------------------------------------


def check_size(model: Decoder, layer: int, names: Sequence[str], first: int, last: int) -> None:
    """Raises EngineError where scores of all heads would be formed that no memory holds."""
    if not any(name.endswith(_PER_HEAD) for name in names):
        return
    spec = model.config.layers[layer].attention
    size = 4 * spec.n_heads * (last - first) * max(last - spec.first_seen(first), model.config.d_model)
    if size > _MOST_SCORES:
        raise EngineError(
            f"What the heads of layer {layer} do at positions {first} to {last - 1} takes {size / 1e9:.1f} GB; "
            "look at fewer positions at once."
        )


def _chosen_by(trace: Trace, layer: int, first: int, last: int) -> Tensor | None:
    routing = trace.routing.layers.get(layer)
    return None if routing is None or routing.reach < last else routing.ids[first:last]


def _rows(
    model: Decoder,
    layer: int,
    name: str,
    tensor: Tensor | None,
    chosen: Tensor | None,
    ran: tuple[int, int],
    wanted: tuple[int, int],
) -> Tensor:
    """Of a tensor of the positions that ran those that are wanted."""
    shape = model.points[name].info.shape
    if "routed" in shape:
        return _routed_rows(model, layer, name, tensor, chosen, ran, wanted)
    assert tensor is not None, f"every pass goes through {name}"
    if ran == wanted:
        return tensor
    rows = slice(wanted[0] - ran[0], wanted[1] - ran[0])
    if "pos" in shape:
        tensor = tensor[(slice(None),) * shape.index("pos") + (rows,)]
    if "key" not in shape:
        return tensor
    spec = model.config.layers[layer].attention
    keys = slice(spec.first_seen(wanted[0]) - spec.first_seen(ran[0]), wanted[1] - spec.first_seen(ran[0]))
    return tensor[(slice(None),) * shape.index("key") + (keys,)]


def _routed_rows(
    model: Decoder,
    layer: int,
    name: str,
    tensor: Tensor | None,
    chosen: Tensor | None,
    ran: tuple[int, int],
    wanted: tuple[int, int],
) -> Tensor:
    mlp = model.layers[layer].mlp
    assert isinstance(mlp, MoE), "only a mixture of experts has routed positions"
    assert chosen is not None, "what ran was routed"
    if tensor is None:  # nobody chose this expert
        width = model.config.d_model if name.endswith("hook_out") else mlp.spec.expert.d_mlp
        return mlp.experts.down.new_empty(0, width)
    expert = int(name.split(".")[-2])
    where = (chosen == expert).any(1).nonzero()[:, 0] + ran[0]
    return tensor[((where >= wanted[0]) & (where < wanted[1])).to(tensor.device)]
