"""Named points of the forward pass: their table, and how a tensor passes through one.

Names, shapes and meanings are TransformerLens's; points marked *additive* are ours. ``hook_table`` is data: it can
be read before a weight is loaded. Shapes are symbols: batch, pos (positions of this pass), key (positions in the
cache), n_heads, n_kv_heads, d_head, d_model, d_mlp, d_vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.config import ModelConfig
from engine.errors import HookError

if TYPE_CHECKING:
    from torch import Tensor

Listener = Callable[["Tensor", "HookPoint"], "Tensor | None"]


@dataclass(frozen=True)
class PointInfo:
    """One row of the table. ``lazy``: the tensor is formed in the pass only when a hook asks for it.

    ``dtype`` is "activation" (the model's dtype), "float32", "int64" or "bool". ``stage`` names the stage of the
    pass that ends at this point, "" where none does.
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

    __slots__ = ("active", "gate", "info", "layer", "listeners", "name", "observers")

    def __init__(self, info: PointInfo) -> None:
        self.info = info
        self.name = info.name
        self.layer = info.layer
        self.listeners: tuple[Listener, ...] = ()
        self.observers: tuple[Callable[[Tensor], None], ...] = ()
        self.gate: Callable[[HookPoint], None] | None = None
        self.active = False

    def __call__(self, tensor: Tensor) -> Tensor:
        return self._dispatch(tensor) if self.active else tensor

    def visit(self) -> None:
        """Pass a stage whose tensor is not formed (it stays inside a fused kernel)."""
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

    def observe(self, observer: Callable[[Tensor], None]) -> Callable[[], None]:
        """Attach an observer; call the result to detach."""
        self._set(observers=(*self.observers, observer))
        return lambda: self._set(observers=_without(self.observers, observer))

    def stop_at(self, gate: Callable[[HookPoint], None] | None) -> None:
        """Let the gate decide here whether the pass goes on; None takes it away."""
        self._set(gate=gate)

    def _set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        self.active = bool(self.listeners or self.observers or self.gate is not None)

    def _dispatch(self, tensor: Tensor) -> Tensor:
        for listener in self.listeners:
            tensor = self._replaced(tensor, listener(tensor, self))
        for observer in self.observers:
            observer(tensor)
        if self.gate is not None:
            self.gate(self)
        return tensor

    def _replaced(self, tensor: Tensor, replacement: Tensor | None) -> Tensor:
        if replacement is None:
            return tensor
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

    ``tenant`` makes the run that hangs on them let go; None: no run does.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.tenant: Callable[[], None] | None = None
        self._points = {info.name: HookPoint(info) for info in hook_table(config).values()}

    def __getitem__(self, name: str) -> HookPoint:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

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

_INPUT: tuple[_Row, ...] = (
    ("hook_tokens", "batch pos", "int64", "token ids that this pass reads (additive)", False, ""),
    ("hook_embed", "batch pos d_model", "activation", "rows of the embedding W_E", False, ""),
    ("hook_embed_scaled", "batch pos d_model", "activation", "what enters layer 0 (additive)", False, "embed"),
)

_ROPE: tuple[_Row, ...] = (
    ("hook_cos", "pos d_rotary", "activation", "cosines of the rotary angles of this pass (additive)", False, ""),
    ("hook_sin", "pos d_rotary", "activation", "sines of the rotary angles of this pass (additive)", False, ""),
)

_BLOCK: tuple[_Row, ...] = (
    ("hook_resid_pre", "batch pos d_model", "activation", "residual stream entering the layer", False, ""),
    ("ln1.hook_scale", "batch pos 1", "float32", "root mean square that norm 1 divides by", False, ""),
    ("ln1.hook_normalized", "batch pos d_model", "activation", "x / scale, before the weight", False, "norm 1"),
    ("attn.hook_q", "batch pos n_heads d_head", "activation", "queries before rope", False, ""),
    ("attn.hook_k", "batch pos n_kv_heads d_head", "activation", "keys before rope", False, ""),
    ("attn.hook_v", "batch pos n_kv_heads d_head", "activation", "values", False, "q k v"),
    ("attn.hook_rot_q", "batch pos n_heads d_head", "activation", "queries after rope", False, ""),
    ("attn.hook_rot_k", "batch pos n_kv_heads d_head", "activation", "keys after rope", False, "rope"),
    ("kv.hook_append", "3", "int64", "event: first position, positions, bytes appended (additive)", False, "cache"),
    ("kv.hook_k", "batch key n_kv_heads d_head", "activation", "keys as cached, after rope (additive)", False, ""),
    ("kv.hook_v", "batch key n_kv_heads d_head", "activation", "values as cached (additive)", False, ""),
    ("attn.hook_attn_scores", "batch n_heads pos key", "activation", "q · k · scale, masked -inf", True, "scores"),
    ("attn.hook_pattern", "batch n_heads pos key", "activation", "softmax of the scores over keys", True, "softmax"),
    ("attn.hook_z", "batch pos n_heads d_head", "activation", "values mixed by the pattern", False, "mix"),
    ("attn.hook_result", "batch pos n_heads d_model", "activation", "what each head writes, z · W_O", True, ""),
    ("hook_attn_out", "batch pos d_model", "activation", "exactly what attention adds", False, "attention out"),
    ("hook_resid_mid", "batch pos d_model", "activation", "residual stream after attention", False, "add 1"),
    ("ln2.hook_scale", "batch pos 1", "float32", "root mean square that norm 2 divides by", False, ""),
    ("ln2.hook_normalized", "batch pos d_model", "activation", "x / scale, before the weight", False, "norm 2"),
    ("mlp.hook_pre", "batch pos d_mlp", "activation", "gate, before the activation", False, ""),
    ("mlp.hook_pre_linear", "batch pos d_mlp", "activation", "up", False, "gate up"),
    ("mlp.hook_post", "batch pos d_mlp", "activation", "activation(gate) · up", False, "activation"),
    ("hook_mlp_out", "batch pos d_model", "activation", "exactly what the MLP adds", False, "mlp out"),
    ("hook_resid_post", "batch pos d_model", "activation", "residual stream leaving the layer", False, "add 2"),
)

_OUTPUT: tuple[_Row, ...] = (
    ("ln_final.hook_scale", "batch pos 1", "float32", "root mean square that the final norm divides by", False, ""),
    ("ln_final.hook_normalized", "batch pos d_model", "activation", "x / scale, before weight", False, "final norm"),
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


def hook_table(config: ModelConfig) -> dict[str, PointInfo]:
    """Every hook point of a model, in the order of the pass."""
    infos = list(_infos("", None, _INPUT))
    for rope in config.ropes:
        infos.extend(_infos(f"rotary_emb.{rope}.", None, _ROPE))
    for layer in range(config.n_layers):
        infos.extend(_infos(f"blocks.{layer}.", layer, _BLOCK))
    infos.extend(_infos("", None, _OUTPUT))
    infos.extend(_infos("sampler.", None, _SAMPLER))
    return {info.name: info for info in infos}


def _infos(prefix: str, layer: int | None, rows: tuple[_Row, ...]) -> Iterator[PointInfo]:
    for name, shape, dtype, meaning, lazy, stage in rows:
        yield PointInfo(prefix + name, layer, tuple(shape.split()), dtype, meaning, lazy, stage)


def layer_stages(config: ModelConfig, layer: int) -> tuple[str, ...]:
    """The stages of one layer, in the order of the pass."""
    return tuple(row[5] for row in _BLOCK if row[5])
