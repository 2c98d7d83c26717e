"""Rotary position embedding: inverse frequencies, tables of cosines and sines, and the rotation.

Formulas: transformers ``modeling_rope_utils.py``. Half-split layout: entry i of a head turns with entry i + d/2;
interleaved: entry 2i with entry 2i + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from engine.config import RopeSpec
from engine.hooks import HookPoints


def inverse_frequencies(spec: RopeSpec, n_positions: int) -> Tensor:
    """``[dim / 2]`` float32. Only dynamic scaling and longrope depend on the length of the sequence."""
    inverse = _SCALINGS[spec.scaling](spec, n_positions)
    if spec.divisors:
        inverse = inverse / torch.tensor(spec.divisors, dtype=torch.float32)
    return inverse


def _plain(theta: float, dim: int) -> Tensor:
    return 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.int64).to(torch.float32) / dim))


def _default(spec: RopeSpec, n_positions: int) -> Tensor:
    return _plain(spec.theta, spec.dim)


def _linear(spec: RopeSpec, n_positions: int) -> Tensor:
    return _plain(spec.theta, spec.dim) / spec.factor


def _dynamic(spec: RopeSpec, n_positions: int) -> Tensor:
    """NTK-aware: the base grows with the sequence once it is longer than the trained context."""
    length = max(n_positions, spec.n_ctx)
    stretched = (spec.factor * length / spec.n_ctx) - (spec.factor - 1)
    return _plain(spec.theta * stretched ** (spec.dim / (spec.dim - 2)), spec.dim)


def _llama3(spec: RopeSpec, n_positions: int) -> Tensor:
    inverse = _plain(spec.theta, spec.dim)
    wavelength = 2 * math.pi / inverse
    low_wavelength = spec.original_n_ctx / spec.low_freq_factor
    high_wavelength = spec.original_n_ctx / spec.high_freq_factor
    stretched = torch.where(wavelength > low_wavelength, inverse / spec.factor, inverse)
    smooth = (spec.original_n_ctx / wavelength - spec.low_freq_factor) / (spec.high_freq_factor - spec.low_freq_factor)
    between = (1 - smooth) * stretched / spec.factor + smooth * stretched
    medium = ~(wavelength < high_wavelength) & ~(wavelength > low_wavelength)
    return torch.where(medium, between, stretched)


def _yarn(spec: RopeSpec, n_positions: int) -> Tensor:
    def dimension(turns: float) -> float:
        return spec.dim * math.log(spec.original_n_ctx / (turns * 2 * math.pi)) / (2 * math.log(spec.theta))

    low, high = dimension(spec.beta_fast), dimension(spec.beta_slow)
    if spec.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, spec.dim - 1)
    width = high - low if high != low else 0.001
    ramp = torch.clamp((torch.arange(spec.dim // 2, dtype=torch.float32) - low) / width, 0, 1)
    inverse = _plain(spec.theta, spec.dim)
    return inverse / spec.factor * ramp + inverse * (1 - ramp)


def _longrope(spec: RopeSpec, n_positions: int) -> Tensor:
    divisors = spec.long_factors if n_positions > spec.original_n_ctx else spec.short_factors
    stretched = torch.tensor(divisors, dtype=torch.float32)
    return 1.0 / (stretched * spec.theta ** (torch.arange(0, spec.dim, 2, dtype=torch.int64).float() / spec.dim))


_SCALINGS: dict[str, Callable[[RopeSpec, int], Tensor]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}


class Rope:
    """One rope of a model. Tables are made when first needed and kept while the sequence grows."""

    def __init__(self, name: str, spec: RopeSpec, points: HookPoints) -> None:
        self.spec = spec
        self.hook_cos = points[f"rotary_emb.{name}.hook_cos"]
        self.hook_sin = points[f"rotary_emb.{name}.hook_sin"]
        self._tables: tuple[Tensor, Tensor] | None = None
        self._regime = 0

    def forward(self, start: int, end: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``[pos, dim]`` of positions [start, end) of this pass, in the dtype of ``like``."""
        cos, sin = self.tables(start, end, end, like)
        return self.hook_cos(cos), self.hook_sin(sin)

    def tables(self, start: int, end: int, n_positions: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """The same without hooks, for a pass whose sequence was ``n_positions`` long."""
        dtype = like.dtype if self.spec.precision == "activation" else torch.float32
        if self.spec.scaling == "dynamic" and n_positions > self.spec.n_ctx:  # every length has tables of its own
            return self._computed(start, end, n_positions, dtype, like.device)
        regime = self.spec.regime(n_positions)
        if not self._serves(end, regime, dtype, like.device):
            last = max(end, min(2 * end, self.spec.n_ctx))
            self._tables, self._regime = self._computed(0, last, n_positions, dtype, like.device), regime
        cos, sin = self._tables  # type: ignore[misc]  # _serves says that there are some
        return cos[start:end], sin[start:end]

    def turn(self, start: int, end: int, n_positions: int, like: Tensor) -> Turn:
        """Tables without hooks, ready for ``rotate``."""
        return self.ready(*self.tables(start, end, n_positions, like))

    def ready(self, cos: Tensor, sin: Tensor) -> Turn:
        """Tables ``[pos, dim]`` made ready for ``rotate`` once per pass: a head axis, signs for the swapped half."""
        if self.spec.interleaved:
            signed = torch.stack((-sin[:, ::2], sin[:, 1::2]), dim=-1).flatten(-2)
        else:
            half = sin.shape[-1] // 2
            signed = torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)
        return Turn(cos[:, None], signed[:, None], self.spec)

    def _serves(self, end: int, regime: int, dtype: torch.dtype, device: torch.device) -> bool:
        if self._tables is None or self._regime != regime:
            return False
        cos = self._tables[0]
        return cos.shape[0] >= end and cos.dtype == dtype and cos.device == device

    def _computed(
        self, start: int, end: int, n_positions: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        inverse = inverse_frequencies(self.spec, n_positions)
        angles = torch.arange(start, end, dtype=torch.float32)[:, None] * inverse[None, :]
        angles = angles.repeat_interleave(2, dim=-1) if self.spec.interleaved else torch.cat((angles, angles), dim=-1)
        if self.spec.precision == "complex":  # cosines of complex numbers differ in the last bit
            turned = torch.polar(torch.ones_like(angles), angles)
            cos, sin = turned.real, turned.imag
        else:
            cos, sin = angles.cos(), angles.sin()
        factor = self.spec.attention_factor
        return (cos * factor).to(device, dtype), (sin * factor).to(device, dtype)


class Turn(NamedTuple):
    """The angles of the positions of a pass: ``cos`` and ``signed_sin`` ``[pos, 1, dim]``."""

    cos: Tensor
    signed_sin: Tensor
    spec: RopeSpec


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Turn the first entries of ``[batch, pos, head, d_head]`` by the angles of their positions."""
    dim = turn.spec.dim
    if dim < x.shape[-1]:
        return torch.cat((_rotated(x[..., :dim], turn), x[..., dim:]), dim=-1)
    return _rotated(x, turn)


def _rotated(x: Tensor, turn: Turn) -> Tensor:
    precision = turn.spec.precision
    if precision == "complex":
        return _multiplied(x, turn).to(x.dtype)
    turned = x * turn.cos + _swapped(x, turn.spec.interleaved) * turn.signed_sin
    return turned if precision == "activation" else turned.to(x.dtype)


def _swapped(x: Tensor, interleaved: bool) -> Tensor:
    """Every entry in the place of the one it turns with."""
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if interleaved else x.roll(x.shape[-1] // 2, -1)


def _multiplied(x: Tensor, turn: Turn) -> Tensor:
    """Pairs as complex numbers of float32: another last bit than products added, and transformers' own."""
    angles = torch.complex(turn.cos[..., ::2], turn.signed_sin[..., 1::2])
    return torch.view_as_real(torch.view_as_complex(x.float().contiguous().unflatten(-1, (-1, 2))) * angles).flatten(-2)
