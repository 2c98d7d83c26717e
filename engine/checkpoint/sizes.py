"""Whole numbers that know how they are written in symbols: a shape of the naming tables tells what it is made of.

The tables compute shapes from a config's sizes; given sizes that remember their names, they give ``n_heads·d_head``
beside the number, for every family and for tensors that lie transposed, without a second table to keep in step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.config import AttentionSpec, LatentAttentionSpec, LayerSpec, MLPSpec, ModelConfig, MoESpec

Terms = Mapping[tuple[str, ...], int]  # a sum of products: the factors of each product and how often it stands there


class Size(int):
    """An int with a ``symbol``; sums, differences and products of sizes are sizes, all else is plain."""

    terms: Terms

    def __new__(cls, value: int, terms: Terms) -> Size:
        size = super().__new__(cls, value)
        size.terms = terms
        return size

    def __add__(self, other: int) -> Size:
        return Size(int(self) + int(other), _sum(self.terms, _terms(other), 1))

    def __sub__(self, other: int) -> Size:
        return Size(int(self) - int(other), _sum(self.terms, _terms(other), -1))

    def __mul__(self, other: int) -> Size:
        return Size(int(self) * int(other), _product(self.terms, _terms(other)))

    __radd__ = __add__
    __rmul__ = __mul__

    @property
    def symbol(self) -> str:
        """``d_head·(n_heads + 2·n_kv_heads)``: factors that all products share stand before the rest."""
        common = [name for name in next(iter(self.terms), ()) if all(name in product for product in self.terms)]
        if len(self.terms) < 2 or not common:
            return " + ".join(_written(product, count) for product, count in self.terms.items())
        rest = {tuple(n for n in product if n not in common): count for product, count in self.terms.items()}
        inside = " + ".join(_written(product, count) for product, count in rest.items())
        return f"{'·'.join(common)}·({inside})"


def _terms(number: int) -> Terms:
    return number.terms if isinstance(number, Size) else {(): number} if number else {}


def _sum(left: Terms, right: Terms, sign: int) -> Terms:
    total = dict(left)
    for product, count in right.items():
        total[product] = total.get(product, 0) + sign * count
    return {product: count for product, count in total.items() if count}


def _product(left: Terms, right: Terms) -> Terms:
    total: Counter[tuple[str, ...]] = Counter()
    for one, count in left.items():
        for other, times in right.items():
            total[one + other] += count * times
    return total


def _written(product: tuple[str, ...], count: int) -> str:
    return "·".join((*(() if count == 1 and product else (str(count),)), *product))


def symbol(size: int) -> str:
    """How one axis is written: the symbol of a Size, the digits of a plain number."""
    return size.symbol if isinstance(size, Size) else str(size)


def _named(spec: Any, **names: str) -> Any:
    """The spec with sizes for ints; a field that is None stays None."""
    values = {field: getattr(spec, field) for field in names}
    return replace(spec, **{f: Size(v, {(names[f],): 1}) for f, v in values.items() if v is not None})


def with_symbols(config: ModelConfig) -> ModelConfig:
    """The same config, its sizes under the names that the hook points' shapes use (``engine/hooks.py``)."""
    layers = {layer: _layer(layer) for layer in set(config.layers)}
    named = _named(config, d_model="d_model", d_vocab="d_vocab", n_ctx="n_ctx")
    return replace(named, layers=tuple(layers[layer] for layer in config.layers))


def _layer(layer: LayerSpec) -> LayerSpec:
    return replace(layer, attention=_attention(layer.attention), mlp=_mlp(layer.mlp))


def _attention(spec: AttentionSpec | LatentAttentionSpec) -> Any:
    fields: tuple[str, ...] = ("n_heads", "n_kv_heads", "d_head")
    if isinstance(spec, LatentAttentionSpec):
        fields = ("n_heads", "d_nope", "d_rope", "d_value", "d_latent", "d_q_latent")
    return _named(spec, **{field: field for field in fields})


def _mlp(spec: MLPSpec | MoESpec) -> Any:
    if isinstance(spec, MLPSpec):
        return _named(spec, d_mlp="d_mlp")
    shared = None if spec.shared is None else _named(spec.shared, d_mlp="d_shared")
    expert = _named(spec.expert, d_mlp="d_expert")
    return replace(_named(spec, n_experts="n_experts"), expert=expert, shared=shared)
