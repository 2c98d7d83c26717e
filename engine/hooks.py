"""Named points of the forward pass: their table, and how a tensor passes through one.

Names, shapes and meanings are TransformerLens's; points marked *additive* are ours. ``hook_table`` is data: it can
be read before a weight is loaded. Shapes are symbols: batch, pos (positions of this pass), key (positions that the
layer has cached, up to the newest), n_heads, n_kv_heads, d_head, d_value, d_model, d_mlp, d_vocab; for a mixture of
experts n_experts, top_k, d_expert, routed (positions that chose the expert); for latent attention d_latent,
d_q_latent, d_nope, d_rope, d_cached = d_latent + d_rope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from engine.config import (
    AttentionSpec,
    LatentAttentionSpec,
    LayerSpec,
    MLPSpec,
    ModelConfig,
    MoESpec,
    NormSpec,
    RopeSpec,
)
from engine.errors import HookError
from engine.meter import HOOKS, Meter

if TYPE_CHECKING:
    from torch import Tensor

LAST_STAGE = "add 2"  # the stage that ends every layer

Listener = Callable[["Tensor", "HookPoint"], "Tensor | None"]
Observer = Callable[["Tensor"], None]


@dataclass
class Book:
    """What the points of a decoder write down together: ``hooked``, the names of those that have listeners, and
    ``applied``, the listeners that replaced a tensor in the pass under way, by name (of a lazy point also none)."""

    hooked: dict[str, None] = field(default_factory=dict)
    applied: dict[str, tuple[Listener, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PointInfo:
    """One row of the table. ``lazy``: the tensor is formed in the pass only when a hook asks for it.

    ``dtype`` is "activation" (the model's dtype), "router" (the type the router computes in), "float32", "int64" or
    "bool". ``stage`` names the stage of the pass that ends at this point, "" where none does.
    """

    name: str
    layer: int | None
    shape: tuple[str, ...]
    dtype: str
    meaning: str
    lazy: bool = False
    stage: str = ""


class HookPoint:
    """A place in the pass. ``x = point(x)`` costs one attribute test while nobody listens.

    Listeners may replace the tensor; observers only look, and never make a lazy tensor be formed; the gate stops here.
    """

    __slots__ = ("_book", "_meter", "active", "gate", "info", "layer", "listeners", "name", "observers", "watched")

    def __init__(self, info: PointInfo, book: Book | None = None, meter: Meter | None = None) -> None:
        self.info = info
        self._book = book or Book()
        self._meter = meter or Meter()  # that of all points
        self.name = info.name
        self.layer = info.layer
        self.listeners: tuple[Listener, ...] = ()
        self.observers: tuple[tuple[Observer, str], ...] = ()  # and whose time each takes
        self.gate: Callable[[HookPoint], None] | None = None
        self.active = False  # somebody listens, observes, or may stop here
        self.watched = False  # somebody listens or observes: the tensor must be formed

    def __call__(self, tensor: Tensor) -> Tensor:
        return self._dispatch(tensor) if self.active else tensor

    def visit(self) -> None:
        """Pass a stage whose tensor is not formed (it stays inside a fused kernel, or nobody looks)."""
        if self.gate is not None:
            self.gate(self)

    @property
    def wanted(self) -> bool:
        """Whether a listener asks for this tensor: then a lazy one is formed."""
        return bool(self.listeners)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Attach; call the result to detach."""
        self._set(listeners=(*self.listeners, listener))
        return lambda: self._set(listeners=_without(self.listeners, listener))

    def observe(self, observer: Observer, part: str = "") -> Callable[[], None]:
        """Attach an observer; call the result to detach. Its time is metered as that of ``part``."""
        entry = (observer, part)
        self._set(observers=(*self.observers, entry))
        return lambda: self._set(observers=_without(self.observers, entry))

    def stop_at(self, gate: Callable[[HookPoint], None] | None) -> None:
        """Let the gate decide here whether the pass goes on; None takes it away."""
        self._set(gate=gate)

    def _set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        self.watched = bool(self.listeners or self.observers)
        self.active = self.watched or self.gate is not None
        if self.listeners:
            self._book.hooked[self.name] = None
        else:
            self._book.hooked.pop(self.name, None)

    def _dispatch(self, tensor: Tensor) -> Tensor:
        if self.watched:
            tensor = self._shown(tensor)
        if self.gate is not None:
            self.gate(self)
        return tensor

    def _shown(self, tensor: Tensor) -> Tensor:
        """Listeners, then observers, each on the clock."""
        spent, began = self._meter.spent, perf_counter()
        if self.listeners:
            tensor = self._listened(tensor)
            now = perf_counter()
            spent[HOOKS] += now - began
            began = now
        for observer, part in self.observers:
            observer(tensor)
            now = perf_counter()
            spent[part] += now - began
            began = now
        return tensor

    def _listened(self, tensor: Tensor) -> Tensor:
        """What the listeners make of a tensor. Which of them replaced it is an intervention, and written down."""
        edits = []
        for listener in self.listeners:
            replacement = listener(tensor, self)
            if replacement is not None:
                edits.append(listener)
                tensor = self._replaced(tensor, replacement)
        if edits or self.info.lazy:
            self._book.applied[self.name] = tuple(edits)
        return tensor

    def aside(self, listeners: tuple[Listener, ...], observers: tuple[Observer, ...]) -> Callable[[], None]:
        """Only these, and no gate, until the result is called: then all is as it was."""
        before = (self.listeners, self.observers, self.gate, self.watched, self.active)
        self.listeners, self.observers, self.gate = listeners, tuple((one, "") for one in observers), None
        self.watched = self.active = bool(listeners or observers)

        def back() -> None:
            self.listeners, self.observers, self.gate, self.watched, self.active = before

        return back

    def _replaced(self, tensor: Tensor, replacement: Tensor) -> Tensor:
        if not hasattr(replacement, "to") or replacement.shape != tensor.shape:
            shape = list(getattr(replacement, "shape", ())) or type(replacement).__name__
            raise HookError(f"The hook on {self.name} returned {shape}; a tensor of {list(tensor.shape)} is needed.")
        return replacement.to(dtype=tensor.dtype, device=tensor.device)


def _without(items: tuple, item: object) -> tuple:
    """The tuple less one occurrence, compared by identity: the same function may listen twice."""
    for index, other in enumerate(items):
        if other is item:
            return items[:index] + items[index + 1 :]
    return items


class HookPoints(Mapping[str, HookPoint]):
    """Every point of one decoder, in the order of the pass.

    ``tenant`` makes the run that hangs on them let go; None: no run does. ``meter`` times who listens and observes.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.tenant: Callable[[], None] | None = None
        self.meter = Meter()
        self._book = Book()
        self._points = {info.name: HookPoint(info, self._book, self.meter) for info in hook_table(config).values()}
        self._places: dict[int | None, list[HookPoint]] = {}
        for point in self._points.values():
            self._places.setdefault(point.layer, []).append(point)
        self._order = {name: index for index, name in enumerate(self._points)}
        infos = [point.info for point in self._points.values() if point.info.stage]
        self._stages = {(info.layer, info.stage): self._order[info.name] for info in infos}

    def __getitem__(self, name: str) -> HookPoint:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def hooked(self) -> tuple[str, ...]:
        """The points that have listeners now."""
        return tuple(self._book.hooked)

    @property
    def replaced(self) -> bool:
        """Whether a listener has replaced a tensor in the pass under way, or in the last one."""
        return any(self._book.applied.values())

    def passed(self, name: str, layer: int | None, stage: str) -> bool:
        """Whether a pass that stands at the end of a stage has come by a point."""
        return self._order[name] <= self._stages.get((layer, stage), -1)

    def begin_pass(self) -> dict[str, tuple[Listener, ...]]:
        """A pass is about to run: what its listeners replace is written into the result."""
        self._book.applied = {}
        return self._book.applied

    @contextmanager
    def aside(
        self,
        layers: Iterable[int | None],
        listeners: Mapping[str, tuple[Listener, ...]],
        observers: Mapping[str, Observer],
    ) -> Iterator[None]:
        """In the points of these layers only the given ones, and no gate, inside a ``with`` block.

        For passes that are no part of the run: nothing is written down of them. None: the points outside the layers.
        """
        applied, self._book.applied = self._book.applied, {}
        back = []
        try:
            for layer in layers:
                for point in self._places[layer]:
                    watching = (observers[point.name],) if point.name in observers else ()
                    given = listeners.get(point.name, ())
                    if point.active or watching or given:
                        back.append(point.aside(given, watching))
            yield
        finally:
            for undo in back:
                undo()
            self._book.applied = applied

    @contextmanager
    def attached(self, hooks: Mapping[str, Listener]) -> Iterator[None]:
        """Attach listeners by name for the length of a ``with`` block. Raises HookError for an unknown name."""
        unknown = [name for name in hooks if name not in self._points]
        if unknown:
            raise HookError(f"There is no hook point {unknown[0]!r}; model.hook_points lists those of this model.")
        detach = [self._points[name].listen(listener) for name, listener in hooks.items()]
        try:
            yield
        finally:
            for undo in detach:
                undo()


# ---------------------------------------------------------------------------------------------------------------
# the table: (name, shape, dtype, meaning, lazy, stage)

_Row = tuple[str, str, str, str, bool, str]

_TOKENS: tuple[_Row, ...] = (
    ("hook_tokens", "batch pos", "int64", "token ids that this pass reads (additive)", False, ""),
    ("hook_embed", "batch pos d_model", "activation", "rows of the embedding W_E", False, ""),
)

_LEARNED: tuple[_Row, ...] = (
    ("hook_pos_embed", "1 pos d_model", "activation", "rows of the learned position embedding", False, ""),
)

_SCALED: tuple[_Row, ...] = (
    ("hook_embed_scaled", "batch pos d_model", "activation", "what enters layer 0 (additive)", False, "embed"),
)

_ROPE: tuple[_Row, ...] = (
    ("hook_cos", "pos d_rotary", "activation", "cosines of the rotary angles of this pass (additive)", False, ""),
    ("hook_sin", "pos d_rotary", "activation", "sines of the rotary angles of this pass (additive)", False, ""),
)

_ENTER: tuple[_Row, ...] = (
    ("hook_resid_pre", "batch pos d_model", "activation", "residual stream entering the layer", False, ""),
)

_HEADS: tuple[_Row, ...] = (
    ("attn.hook_q", "batch pos n_heads d_head", "activation", "queries before norm and rope", False, ""),
    ("attn.hook_k", "batch pos n_kv_heads d_head", "activation", "keys before norm and rope", False, ""),
    ("attn.hook_v", "batch pos n_kv_heads d_head", "activation", "values", False, "q k v"),
)

_NORMED: tuple[_Row, ...] = (
    ("attn.hook_q_normed", "batch pos n_heads d_head", "activation", "queries after their norm", False, ""),
    ("attn.hook_k_normed", "batch pos n_kv_heads d_head", "activation", "keys after their norm", False, "q k norm"),
)

_ROTATED: tuple[_Row, ...] = (
    ("attn.hook_rot_q", "batch pos n_heads d_head", "activation", "queries after rope", False, ""),
    ("attn.hook_rot_k", "batch pos n_kv_heads d_head", "activation", "keys after rope", False, "rope"),
)

_KV: tuple[_Row, ...] = (
    ("kv.hook_append", "3", "int64", "event: first position, positions, bytes appended (additive)", False, "cache"),
    ("kv.hook_k", "batch key n_kv_heads d_head", "activation", "keys as cached, after rope (additive)", False, ""),
    ("kv.hook_v", "batch key n_kv_heads d_head", "activation", "values as cached (additive)", False, ""),
)

_SCORES: tuple[_Row, ...] = (
    ("attn.hook_attn_scores", "batch n_heads pos key", "activation", "q · k · scale, masked -inf", True, "scores"),
)

_SINK: tuple[_Row, ...] = (
    ("attn.hook_sink", "batch n_heads pos", "activation", "probability that went to the sink (additive)", True, ""),
)

_PATTERN: tuple[_Row, ...] = (
    ("attn.hook_pattern", "batch n_heads pos key", "activation", "softmax of the scores over keys", True, "softmax"),
)

_Z: tuple[_Row, ...] = (
    ("attn.hook_z", "batch pos n_heads d_head", "activation", "values mixed by the pattern", False, "mix"),
)

_LATENT_Z: tuple[_Row, ...] = (
    ("attn.hook_z", "batch pos n_heads d_value", "activation", "values mixed by the pattern", False, "mix"),
)

_RESULT: tuple[_Row, ...] = (
    ("attn.hook_result", "batch pos n_heads d_model", "activation", "what each head writes, z · W_O", True, ""),
)

_QUERY_LATENT: tuple[_Row, ...] = (
    ("attn.hook_q_latent", "batch pos d_q_latent", "activation", "latent of the queries, after its norm", False, ""),
)

_LATENT: tuple[_Row, ...] = (
    ("attn.hook_q_nope", "batch pos n_heads d_nope", "activation", "queries, the part without position", False, ""),
    ("attn.hook_rot_q", "batch pos n_heads d_rope", "activation", "queries, the part after rope", False, "q"),
)

_LATENT_MADE: tuple[_Row, ...] = (
    ("attn.hook_kv_latent", "batch pos d_latent", "activation", "latent of keys and values, normalised", False, ""),
    ("attn.hook_rot_k", "batch pos 1 d_rope", "activation", "the one rotated key of all heads", False, "latent"),
)

_LATENT_KV: tuple[_Row, ...] = (
    ("kv.hook_append", "3", "int64", "event: first position, positions, bytes appended (additive)", False, "cache"),
    ("kv.hook_latent", "batch key d_cached", "activation", "as cached: latent, then the rotated key", False, ""),
    ("attn.hook_k_nope", "batch key n_heads d_nope", "activation", "keys made of the latent, without rope", True, ""),
    ("attn.hook_v", "batch key n_heads d_value", "activation", "values made of the latent", True, ""),
)

_ATTN_OUT: tuple[_Row, ...] = (
    ("hook_attn_out", "batch pos d_model", "activation", "exactly what attention adds", False, "attention out"),
)

_MIDDLE: tuple[_Row, ...] = (
    ("hook_resid_mid", "batch pos d_model", "activation", "residual stream after attention", False, "add 1"),
)

_GATED: tuple[_Row, ...] = (
    ("mlp.hook_pre", "batch pos d_mlp", "activation", "gate, before the activation", False, ""),
    ("mlp.hook_pre_linear", "batch pos d_mlp", "activation", "up", False, "gate up"),
    ("mlp.hook_post", "batch pos d_mlp", "activation", "activation(gate) · up", False, "activation"),
)

_PLAIN: tuple[_Row, ...] = (
    ("mlp.hook_pre", "batch pos d_mlp", "activation", "before the activation", False, "up"),
    ("mlp.hook_post", "batch pos d_mlp", "activation", "after the activation", False, "activation"),
)

_ROUTER: tuple[_Row, ...] = (
    ("mlp.hook_router_logits", "batch pos n_experts", "router", "the router's logits", False, ""),
    ("mlp.hook_router_scores", "batch pos n_experts", "router", "softmax or sigmoid of these logits", False, ""),
    ("mlp.hook_router_choice", "batch pos n_experts", "router", "what is chosen by; -inf where barred", False, ""),
    ("mlp.hook_expert_indices", "batch pos top_k", "int64", "the experts chosen, best first", False, ""),
    ("mlp.hook_expert_weights", "batch pos top_k", "activation", "the weights that are used", False, "router"),
)

_EXPERT: tuple[_Row, ...] = (
    ("hook_pre", "routed d_expert", "activation", "gate of the positions that chose this expert", False, ""),
    ("hook_pre_linear", "routed d_expert", "activation", "up of these positions", False, ""),
    ("hook_post", "routed d_expert", "activation", "activation(gate) · up of these positions", False, ""),
    ("hook_out", "routed d_model", "activation", "what the expert gives, before its weight", False, ""),
)

_ROUTED: tuple[_Row, ...] = (
    ("mlp.hook_routed_out", "batch pos d_model", "activation", "sum over the chosen experts", False, "experts"),
)

_SHARED_GATE: tuple[_Row, ...] = (
    ("mlp.hook_shared_gate", "batch pos 1", "activation", "what the shared expert is multiplied by", False, ""),
)

_SHARED: tuple[_Row, ...] = (
    ("mlp.hook_shared_out", "batch pos d_model", "activation", "what the shared expert adds", False, "shared"),
)

_MLP_OUT: tuple[_Row, ...] = (
    ("hook_mlp_out", "batch pos d_model", "activation", "exactly what the MLP adds", False, "mlp out"),
)

_LEAVE: tuple[_Row, ...] = (
    ("hook_resid_post", "batch pos d_model", "activation", "residual stream leaving the layer", False, LAST_STAGE),
)

_OUTPUT: tuple[_Row, ...] = (
    ("hook_logits", "batch pos d_vocab", "activation", "logits as the unembedding makes them (additive)", False, ""),
    ("hook_logits_final", "batch pos d_vocab", "activation", "logits given to sampling (additive)", False, "logits"),
)

_SAMPLER: tuple[_Row, ...] = (
    ("hook_penalised", "d_vocab", "float32", "logits after the three penalties (additive)", False, ""),
    ("hook_tempered", "d_vocab", "float32", "logits after temperature (additive)", False, ""),
    ("hook_topk_mask", "d_vocab", "bool", "True where top-k keeps (additive)", False, ""),
    ("hook_topp_mask", "d_vocab", "bool", "True where top-p keeps (additive)", False, ""),
    ("hook_minp_mask", "d_vocab", "bool", "True where min-p keeps (additive)", False, ""),
    ("hook_typicalp_mask", "d_vocab", "bool", "True where typical-p keeps (additive)", False, ""),
    ("hook_probs", "d_vocab", "float64", "the distribution that the token is drawn from (additive)", False, ""),
    ("hook_token", "1", "int64", "the token (additive)", False, "sampling"),
)

_NORMALISED = ("the final norm", "the norm of q", "the norm of k", "the query latent's norm", "the latent's norm")
_ROWS = (
    *(*_TOKENS, *_LEARNED, *_SCALED, *_ROPE, *_ENTER, *_HEADS, *_NORMED, *_ROTATED, *_KV, *_SCORES, *_SINK, *_PATTERN),
    *(*_Z, *_RESULT, *_QUERY_LATENT, *_LATENT, *_LATENT_MADE, *_LATENT_KV, *_ATTN_OUT, *_MIDDLE, *_GATED, *_PLAIN),
    *(*_ROUTER, *_EXPERT, *_ROUTED, *_SHARED_GATE, *_SHARED, *_MLP_OUT, *_LEAVE, *_OUTPUT, *_SAMPLER),
)
ADDITIVE = " (additive)"
MEANINGS = tuple(dict.fromkeys((*(row[3].removesuffix(ADDITIVE) for row in _ROWS), *_NORMALISED)))  # to be translated


def _norm(
    place: str, what: str, stage: str, *, size: str = "batch pos d_model", float32: bool = True
) -> tuple[_Row, ...]:
    """The two points of a normalisation."""
    scale = " ".join((*size.split()[:-1], "1"))
    return (
        (f"{place}.hook_scale", scale, "float32" if float32 else "activation", f"what {what} divides by", False, ""),
        (f"{place}.hook_normalized", size, "activation", f"{what}: x / scale, before the weight", False, stage),
    )


def hook_table(config: ModelConfig) -> dict[str, PointInfo]:
    """Every hook point of a model, in the order of the pass."""
    infos = list(_infos("", None, (*_TOKENS, *(_LEARNED if config.learned_positions else ()), *_SCALED)))
    for rope, turned in config.ropes.items():
        infos.extend(_infos(f"rotary_emb.{rope}.", None, _rope_rows(turned)))
    for layer, spec in enumerate(config.layers):
        infos.extend(_infos(f"blocks.{layer}.", layer, _block_rows(spec)))
    final = _norm("ln_final", "the final norm", "final norm", float32=config.final_norm.float32)
    infos.extend(_infos("", None, (*final, *_OUTPUT)))
    infos.extend(_infos("sampler.", None, _SAMPLER))
    return {info.name: info for info in infos}


def _rope_rows(spec: RopeSpec) -> tuple[_Row, ...]:
    """Tables are in the model's type, or float32 whatever that is."""
    dtype = "activation" if spec.precision == "activation" else "float32"
    return tuple((name, shape, dtype, meaning, lazy, stage) for name, shape, _, meaning, lazy, stage in _ROPE)


@cache
def _block_rows(spec: LayerSpec) -> tuple[_Row, ...]:
    """The points of one layer, in the order of the pass."""
    rows = [*_ENTER, *_block_norm("ln1", spec.norm1, "norm 1"), *_attention_rows(spec.attention)]
    rows += [*_block_norm("ln1_post", spec.norm1_post, "norm 1 after"), *_ATTN_OUT]
    rows += () if spec.parallel else _MIDDLE
    rows += [*_block_norm("ln2", spec.norm2, "norm 2"), *_mlp_rows(spec.mlp)]
    rows += [*_block_norm("ln2_post", spec.norm2_post, "norm 2 after"), *_MLP_OUT, *_LEAVE]
    return tuple(rows)


def _block_norm(place: str, spec: NormSpec | None, stage: str) -> tuple[_Row, ...]:
    return () if spec is None else _norm(place, stage, stage, float32=spec.float32)


def _attention_rows(spec: AttentionSpec | LatentAttentionSpec) -> tuple[_Row, ...]:
    if isinstance(spec, LatentAttentionSpec):
        return _latent_rows(spec)
    normed: tuple[_Row, ...] = ()
    if spec.qk_norm is not None:
        normed = (*_qk_norm("q", "n_heads", spec), *_qk_norm("k", "n_kv_heads", spec), *_NORMED)
    turned = _ROTATED if spec.rope is not None else ()
    order = (turned, normed) if spec.qk_norm_over == "rotated" else (normed, turned)
    sink = _SINK if spec.sinks else ()
    return (*_HEADS, *order[0], *order[1], *_KV, *_SCORES, *sink, *_PATTERN, *_Z, *_RESULT)


def _qk_norm(which: str, heads: str, spec: AttentionSpec) -> tuple[_Row, ...]:
    size = f"batch pos {heads}·d_head" if spec.qk_norm_over == "all" else f"batch pos {heads} d_head"
    return _norm(f"attn.{which}_norm", f"the norm of {which}", "", size=size)


def _latent_rows(spec: LatentAttentionSpec) -> tuple[_Row, ...]:
    rows: list[_Row] = []
    if spec.d_q_latent is not None:
        rows += [
            *_norm("attn.q_latent_norm", "the query latent's norm", "", size="batch pos d_q_latent"),
            *_QUERY_LATENT,
        ]
    rows += [*_LATENT, *_norm("attn.kv_latent_norm", "the latent's norm", "", size="batch pos d_latent")]
    return (*rows, *_LATENT_MADE, *_LATENT_KV, *_SCORES, *_PATTERN, *_LATENT_Z, *_RESULT)


def _mlp_rows(spec: MLPSpec | MoESpec) -> tuple[_Row, ...]:
    if isinstance(spec, MLPSpec):
        return _GATED if spec.gated else _PLAIN
    rows = list(_ROUTER)
    for expert in range(spec.n_experts):
        rows += [_under(f"mlp.experts.{expert}.", row) for row in _EXPERT]
    rows += _ROUTED
    rows += _SHARED_GATE if spec.shared_gate else ()
    rows += _SHARED if spec.shared is not None else ()
    return tuple(rows)


def _under(prefix: str, row: _Row) -> _Row:
    name, shape, dtype, meaning, lazy, stage = row
    return (prefix + name, shape, dtype, meaning, lazy, stage)


def _infos(prefix: str, layer: int | None, rows: tuple[_Row, ...]) -> Iterator[PointInfo]:
    for name, shape, dtype, meaning, lazy, stage in rows:
        yield PointInfo(prefix + name, layer, tuple(shape.split()), dtype, meaning, lazy, stage)


def layer_stages(config: ModelConfig, layer: int) -> tuple[str, ...]:
    """The stages of one layer, in the order of the pass."""
    return tuple(row[5] for row in _block_rows(config.layers[layer]) if row[5])
