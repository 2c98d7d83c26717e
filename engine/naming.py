"""Where each tensor of a file goes: from a model's specs and a table of the file's names to slots.

A family gives the names; which tensors there are, and their shapes, follows from the specs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.config import AttentionSpec, LatentAttentionSpec, LayerSpec, MLPSpec, ModelConfig, MoESpec, NormSpec

if TYPE_CHECKING:
    from torch import Tensor

Regroup = Callable[["Tensor", LayerSpec], "Tensor"]


@dataclass(frozen=True)
class Stored:
    """A tensor of the file that does not lie as the decoder wants it.

    ``name`` is the stem; ".weight" and ".bias" are added unless ``exact``. ``transposed``: the weight's last two axes
    are swapped. ``regroup(tensor, layer_spec)`` puts the rows (of weight and bias) in the decoder's order; it is given
    the tensor after the transposition, ``unit`` rows of its first axis or a multiple at a time, the whole for 0.
    ``added``: a norm's weight is stored with this added to it.
    """

    name: str
    exact: bool = False
    transposed: bool = False
    regroup: Regroup | None = None
    unit: int = 0
    added: float = 0.0


Names = Mapping[str, "str | Stored"]


@dataclass(frozen=True)
class Slot:
    """One tensor of a file and the place in the decoder that it fills.

    ``shape`` is what the file must have, in torch order. The place is ``parameter``, or its entry ``index`` (one expert
    of stacked ones), and of that ``rows`` along ``axis``. ``arrange`` turns what was read into the place's layout,
    ``unit`` rows of the file's first axis or a multiple at a time, the whole tensor for 0.
    """

    name: str
    shape: tuple[int, ...]
    parameter: str
    rows: tuple[int, int] | None = None
    index: int | None = None
    axis: int = 0
    arrange: Callable[[Tensor], Tensor] | None = None
    unit: int = 0

    def place(self, parameter: Tensor) -> Tensor:
        """The part of the parameter that is filled, a view."""
        place = parameter if self.index is None else parameter[self.index]
        return place if self.rows is None else place.narrow(self.axis, self.rows[0], self.rows[1] - self.rows[0])


MOST_MISSING = 1000


def slots(config: ModelConfig, names: Names, has: Callable[[str], bool]) -> tuple[Slot, ...]:
    """The slots of a model, up to the MOST_MISSING-th that the file lacks: a config may claim any number of experts.

    Keys of ``names``:

    whole model: ``embed``, ``pos_embed``, ``final_norm``, ``unembed``, ``layer`` (the prefix, "model.layers.{layer}.");
    norms: ``norm1``, ``norm1_post``, ``norm2``, ``norm2_post``; attention: ``q k v`` or ``qkv``, ``out``, ``q_norm``,
    ``k_norm``, ``sinks``; latent attention: ``q_down``, ``q_latent_norm``, ``q``, ``kv_down``, ``kv_latent_norm``,
    ``kv_up`` (rows [head][d_nope, d_value]) or ``k_up`` and ``v_up``, ``out``; MLP: ``gate up`` or ``gate_up``,
    ``down``; mixture of experts: ``router``, ``choice_bias``, ``expert_gate expert_up`` or ``expert_gate_up``,
    ``expert_down`` (stacked, or one by one where the name has "{expert}"), ``shared_gate_proj shared_up_proj`` or
    ``shared_gate_up_proj``, ``shared_down_proj``, ``shared_gate``.
    """
    found, missing = [], 0
    for slot in _all(config, names):
        found.append(slot)
        missing += not has(slot.name)
        if missing == MOST_MISSING:
            break
    return tuple(found)


def _all(config: ModelConfig, names: Names) -> Iterator[Slot]:
    d, vocab = config.d_model, config.d_vocab
    yield _weight(names["embed"], (vocab, d), "embed.weight")
    if config.learned_positions:
        yield _weight(names["pos_embed"], (config.n_ctx, d), "pos_embed.weight")
    if not config.tied:
        yield _weight(names["unembed"], (vocab, d), "unembed.weight")
    yield from _norm(names, "final_norm", config.final_norm, d, "ln_final")
    prefix = names["layer"]
    assert isinstance(prefix, str)
    for index, layer in enumerate(config.layers):
        yield from _Layer(layer, d, names, prefix.format(layer=index), f"blocks.{index}.").slots()


def _weight(stored: str | Stored, shape: tuple[int, ...], parameter: str) -> Slot:
    stem = stored if isinstance(stored, str) else stored.name
    name = stem if isinstance(stored, Stored) and stored.exact else f"{stem}.weight"
    return Slot(name, shape, parameter)


def _norm(names: Names, key: str, spec: NormSpec | None, size: int, place: str, prefix: str = "") -> Iterator[Slot]:
    if spec is None:
        return
    stored = names[key]
    stem, added = (stored, 0.0) if isinstance(stored, str) else (stored.name, stored.added)
    if spec.weight:
        less = None if added == 0 else lambda weight: weight - added
        yield Slot(f"{prefix}{stem}.weight", (size,), f"{place}.weight", arrange=less)
    if spec.bias:
        yield Slot(f"{prefix}{stem}.bias", (size,), f"{place}.bias")


class _Layer:
    """The slots of one layer; ``file`` and ``block`` are the prefixes of the file's names and the decoder's."""

    def __init__(self, spec: LayerSpec, d_model: int, names: Names, file: str, block: str) -> None:
        self.spec, self.d, self.names, self.file, self.block = spec, d_model, names, file, block

    def slots(self) -> Iterator[Slot]:
        spec = self.spec
        norms = (("norm1", "ln1"), ("norm1_post", "ln1_post"), ("norm2", "ln2"), ("norm2_post", "ln2_post"))
        for key, place in norms:
            yield from _norm(self.names, key, getattr(spec, key), self.d, self.block + place, self.file)
        if isinstance(spec.attention, AttentionSpec):
            yield from self._attention(spec.attention)
        else:
            yield from self._latent(spec.attention)
        if isinstance(spec.mlp, MLPSpec):
            yield from self._mlp(spec.mlp, "mlp", "gate", "up", "gate_up", "down")
        else:
            yield from self._moe(spec.mlp)

    def _attention(self, a: AttentionSpec) -> Iterator[Slot]:
        d_q, d_kv = a.n_heads * a.d_head, a.n_kv_heads * a.d_head
        parts = (("q", d_q), ("k", d_kv), ("v", d_kv))
        yield from self._fused("attn.qkv", "qkv", parts, self.d, a.qkv_bias)
        yield from self._linear("out", (self.d, d_q), "attn.out", a.out_bias)
        if a.qk_norm is not None:
            over_all = a.qk_norm_over == "all"
            for key, heads in (("q_norm", a.n_heads), ("k_norm", a.n_kv_heads)):
                size = heads * a.d_head if over_all else a.d_head
                yield from _norm(self.names, key, a.qk_norm, size, f"{self.block}attn.{key}", self.file)
        if a.sinks:
            yield self._exact("sinks", (a.n_heads,), "attn.sinks")

    def _latent(self, a: LatentAttentionSpec) -> Iterator[Slot]:
        d_q = a.n_heads * a.d_head
        if a.d_q_latent is not None:
            yield from self._linear("q_down", (a.d_q_latent, self.d), "attn.q_down", a.bias)
            place = f"{self.block}attn.q_latent_norm"
            yield from _norm(self.names, "q_latent_norm", a.latent_norm, a.d_q_latent, place, self.file)
        yield from self._linear("q", (d_q, a.d_q_latent or self.d), "attn.q", False)
        yield from self._linear("kv_down", (a.d_latent + a.d_rope, self.d), "attn.kv_down", a.bias)
        place = f"{self.block}attn.kv_latent_norm"
        yield from _norm(self.names, "kv_latent_norm", a.latent_norm, a.d_latent, place, self.file)
        yield from self._kv_up(a)
        yield from self._linear("out", (self.d, a.n_heads * a.d_value), "attn.out", a.bias)

    def _kv_up(self, a: LatentAttentionSpec) -> Iterator[Slot]:
        parts = (("k_up", 0, a.d_nope), ("v_up", a.d_nope, a.d_value))
        for key, start, count in parts:
            if "kv_up" not in self.names:
                yield from self._linear(key, (a.n_heads, count, a.d_latent), f"attn.{key}", False, suffix="")
                continue
            stem = f"{self.file}{self.names['kv_up']}"
            shape = (a.n_heads * (a.d_nope + a.d_value), a.d_latent)

            def arrange(rows: Tensor, start: int = start, count: int = count) -> Tensor:
                return rows.unflatten(0, (-1, a.d_nope + a.d_value))[:, start : start + count]

            yield Slot(f"{stem}.weight", shape, f"{self.block}attn.{key}", arrange=arrange)

    def _mlp(self, m: MLPSpec, place: str, gate: str, up: str, gate_up: str, down: str) -> Iterator[Slot]:
        if m.gated:
            yield from self._fused(f"{place}.gate_up", gate_up, ((gate, m.d_mlp), (up, m.d_mlp)), self.d, m.bias)
        else:
            yield from self._linear(up, (m.d_mlp, self.d), f"{place}.up", m.bias)
        yield from self._linear(down, (self.d, m.d_mlp), f"{place}.down", m.bias)

    def _moe(self, m: MoESpec) -> Iterator[Slot]:
        yield from self._linear("router", (m.n_experts, self.d), "mlp.router.map", m.router_bias)
        if m.choice_bias:
            yield self._exact("choice_bias", (m.n_experts,), "mlp.router.choice_bias")
        width, count = m.expert.d_mlp, m.n_experts
        spans = {"expert_gate": (0, width), "expert_up": (width, 2 * width)}
        if "expert_gate_up" in self.names:
            spans = {"expert_gate_up": (0, 2 * width)}
        for key, span in spans.items():
            shape = (count, span[1] - span[0], self.d)
            yield from self._experts(key, shape, "mlp.experts.gate_up", m.expert.bias, span)
        yield from self._experts("expert_down", (count, self.d, width), "mlp.experts.down", m.expert.bias, None)
        if m.shared is not None:
            keys = ("shared_gate_proj", "shared_up_proj", "shared_gate_up_proj", "shared_down_proj")
            yield from self._mlp(m.shared, "mlp.shared", *keys)
        if m.shared_gate:
            yield from self._linear("shared_gate", (1, self.d), "mlp.shared_gate", False)

    def _experts(
        self, key: str, shape: tuple[int, int, int], place: str, bias: bool, rows: tuple[int, int] | None
    ) -> Iterator[Slot]:
        stored = self._stored(key)
        if "{expert}" in stored.name:
            for expert in range(shape[0]):
                name = stored.name.format(expert=expert)
                yield self._slot(stored, name, shape[1:], place, rows=rows, index=expert)
            return
        yield self._slot(stored, stored.name, shape, place, rows=rows, axis=1, unit=1)
        if bias:
            yield self._slot(stored, stored.name, shape[:2], f"{place}_bias", rows=rows, axis=1, unit=1, kind="bias")

    def _fused(
        self, place: str, fused: str, parts: tuple[tuple[str, int], ...], d_in: int, bias: bool
    ) -> Iterator[Slot]:
        """Parts of one linear map, each in its rows, or the fused one where the file has it."""
        total = sum(rows for _, rows in parts)
        if fused in self.names:
            yield from self._linear(fused, (total, d_in), place, bias)
            return
        start = 0
        for key, rows in parts:
            yield from self._linear(key, (rows, d_in), place, bias, rows=(start, start + rows))
            start += rows

    def _linear(
        self,
        key: str,
        shape: tuple[int, ...],
        place: str,
        bias: bool,
        *,
        rows: tuple[int, int] | None = None,
        suffix: str = ".weight",
    ) -> Iterator[Slot]:
        stored = self._stored(key)
        yield self._slot(stored, stored.name, shape, place + suffix, rows=rows)
        if bias:
            yield self._slot(stored, stored.name, shape[:1], f"{place}.bias", rows=rows, kind="bias")

    def _exact(self, key: str, shape: tuple[int, ...], place: str) -> Slot:
        return Slot(self.file + self._stored(key).name, shape, self.block + place)

    def _stored(self, key: str) -> Stored:
        stored = self.names[key]
        return Stored(stored) if isinstance(stored, str) else stored

    def _slot(
        self,
        stored: Stored,
        name: str,
        shape: tuple[int, ...],
        place: str,
        *,
        rows: tuple[int, int] | None = None,
        index: int | None = None,
        axis: int = 0,
        unit: int = 0,
        kind: str = "weight",
    ) -> Slot:
        suffix = {"weight": "", "bias": "_bias"}[kind] if stored.exact else f".{kind}"
        turned = stored.transposed and kind == "weight"
        arrange = self._arrange(stored, turned)
        whole = stored.unit if stored.regroup is not None and axis == 0 else unit
        shape = (*shape[:-2], shape[-1], shape[-2]) if turned else shape
        return Slot(f"{self.file}{name}{suffix}", shape, self.block + place, rows, index, axis, arrange, whole)

    def _arrange(self, stored: Stored, turned: bool) -> Callable[[Tensor], Tensor] | None:
        if stored.regroup is None and not turned:
            return None

        def arrange(rows: Tensor) -> Tensor:
            rows = rows.transpose(-1, -2) if turned else rows
            return rows if stored.regroup is None else stored.regroup(rows, self.spec)

        return arrange


def unpermuted(heads: Callable[[LayerSpec], int]) -> Regroup:
    """Undo llama.cpp's interleaving of rotary rows: row 2i + j of a head back to j · d_head / 2 + i."""

    def regroup(rows: Tensor, spec: LayerSpec) -> Tensor:
        count = heads(spec)
        return rows.unflatten(0, (count, -1, 2)).transpose(1, 2).flatten(0, 2)

    return regroup


UNPERMUTED_Q = unpermuted(lambda layer: layer.attention.n_heads)
UNPERMUTED_K = unpermuted(lambda layer: layer.attention.n_kv_heads)


def grouped_qkv(rows: Tensor, spec: LayerSpec) -> Tensor:
    """Fused rows that lie by key/value head, [its queries, its key, its value], as [q | k | v]."""
    heads = spec.attention
    queries, size = heads.n_heads // heads.n_kv_heads, heads.n_heads // heads.n_kv_heads + 2
    parts = (range(queries), (queries,), (queries + 1,))
    order = [group * size + head for part in parts for group in range(heads.n_kv_heads) for head in part]
    return rows.unflatten(0, (-1, heads.d_head))[order].flatten(0, 1)
