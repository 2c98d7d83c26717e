"""A model's configuration as specs: global facts, one LayerSpec per layer, a small table of ropes.

A family file (``engine/families``) turns the many dialects of ``config.json`` into these specs; the decoder
reads nothing else. Shapes below use ``d_model``, ``n_heads``, ``n_kv_heads``, ``d_head``, ``d_mlp``, ``d_vocab``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.errors import ConfigError

LARGEST = 2**31  # no honest count in a config reaches this; a larger one is a damaged or hostile file


@dataclass(frozen=True)
class NormSpec:
    """A normalisation over the last axis. ``rms``: x / sqrt(mean(x²) + eps) · weight (Zhang & Sennrich 2019)."""

    kind: Literal["rms"]
    eps: float


@dataclass(frozen=True)
class RopeSpec:
    """Rotary position embedding (Su et al. 2021), half-split layout, over the first ``dim`` entries of a head.

    ``scaling`` names how the inverse frequencies are stretched; the fields after it are that method's parameters.
    ``divisors`` (length dim / 2) divide the inverse frequencies one by one; GGUF files store Llama-3 scaling so.
    """

    theta: float
    dim: int
    n_ctx: int
    scaling: str = "default"  # default, linear, dynamic, llama3 or yarn
    factor: float = 1.0
    original_n_ctx: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0
    divisors: tuple[float, ...] = ()


@dataclass(frozen=True)
class AttentionSpec:
    """Multi-head or grouped-query attention; query head h reads key/value head h // (n_heads // n_kv_heads)."""

    n_heads: int
    n_kv_heads: int
    d_head: int
    scale: float
    rope: str  # the id of a RopeSpec in ModelConfig.ropes
    qkv_bias: bool = False
    out_bias: bool = False

    @property
    def group(self) -> int:
        """How many query heads share one key/value head."""
        return self.n_heads // self.n_kv_heads


@dataclass(frozen=True)
class MLPSpec:
    """A gated MLP: down(activation(gate(x)) · up(x)), each inner vector d_mlp long (Shazeer 2020)."""

    d_mlp: int
    activation: str
    bias: bool = False


@dataclass(frozen=True)
class LayerSpec:
    """One block, pre-norm: x += attention(norm1(x)); x += mlp(norm2(x))."""

    attention: AttentionSpec
    mlp: MLPSpec
    norm1: NormSpec
    norm2: NormSpec


@dataclass(frozen=True)
class ModelConfig:
    """Everything the decoder and the window need to know about a model before a weight is read."""

    family: str
    d_model: int
    d_vocab: int
    n_ctx: int
    layers: tuple[LayerSpec, ...]
    ropes: Mapping[str, RopeSpec]
    final_norm: NormSpec
    tied: bool
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()

    @property
    def n_layers(self) -> int:
        return len(self.layers)


class Fields:
    """A config dictionary read with care: every value is checked, and an absent key differs from a null one."""

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._values = values
        self._defaults = defaults

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> Any:
        """The value as it stands, or the family's default where the key is absent."""
        if key in self._values:
            return self._values[key]
        return self._defaults.get(key)

    def integer(self, key: str, *, least: int = 1) -> int:
        value = self.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < LARGEST:
            raise ConfigError(f"The config says {key} = {value!r}; a whole number of at least {least} is needed.")
        return value

    def number(self, key: str) -> float:
        value = self.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
            raise ConfigError(f"The config says {key} = {value!r}; a number above zero is needed.")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise ConfigError(f"The config says {key} = {value!r}; true or false is needed.")
        return value

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            raise ConfigError(f"The config says {key} = {value!r}; a name is needed.")
        return value

    def token_ids(self, key: str) -> tuple[int, ...]:
        """One id, a list of ids, or none (eos_token_id comes in all three forms)."""
        value = self.get(key)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) for i in listed):
            raise ConfigError(f"The config says {key} = {value!r}; token ids are needed.")
        return tuple(i for i in listed if i >= 0)


def rope_spec(fields: Fields, dim: int) -> RopeSpec:
    """The rope of a config in either dialect.

    Older files have ``rope_theta`` and ``rope_scaling{type|rope_type, ...}``, newer ones ``rope_parameters``
    (transformers ``modeling_rope_utils.py``: convert_rope_params_to_dict, standardize_rope_params).
    """
    scaling = fields.get("rope_parameters")
    if scaling is None:
        scaling = fields.get("rope_scaling")
    if scaling is None:
        scaling = {}
    if not isinstance(scaling, Mapping) or any(isinstance(v, Mapping) for v in scaling.values()):
        raise ConfigError(f"The config's rope parameters are {scaling!r}; one flat table is needed.")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if not isinstance(kind, str) or kind not in _ROPE_READERS:
        known = ", ".join(_ROPE_READERS)
        raise ConfigError(f"The rope scaling {kind!r} is not supported; supported are {known}.")
    n_ctx = fields.integer("max_position_embeddings")
    theta = scaling.get("rope_theta")
    nested = Fields({**scaling, "rope_theta": fields.get("rope_theta") if theta is None else theta}, _ROPE_DEFAULTS)
    original = fields.get("original_max_position_embeddings") or scaling.get("original_max_position_embeddings")
    original_n_ctx = n_ctx
    if original is not None:
        original_n_ctx = Fields({"original_max_position_embeddings": original}, {}).integer(
            "original_max_position_embeddings"
        )
    plain = RopeSpec(nested.number("rope_theta"), dim, n_ctx, original_n_ctx=original_n_ctx)
    return replace(plain, scaling=kind, **_ROPE_READERS[kind](nested, original_n_ctx, n_ctx))


_ROPE_DEFAULTS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0}


def _no_parameters(fields: Fields, original_n_ctx: int, n_ctx: int) -> dict[str, Any]:
    return {}


def _factor(fields: Fields, original_n_ctx: int, n_ctx: int) -> dict[str, Any]:
    return {"factor": fields.number("factor")}


def _llama3(fields: Fields, original_n_ctx: int, n_ctx: int) -> dict[str, Any]:
    names = ("factor", "low_freq_factor", "high_freq_factor")
    read = {name: fields.number(name) for name in names}
    if read["high_freq_factor"] <= read["low_freq_factor"]:
        raise ConfigError(
            f"The config says high_freq_factor = {read['high_freq_factor']}; it must be above low_freq_factor "
            f"({read['low_freq_factor']})."
        )
    return read


def _yarn(fields: Fields, original_n_ctx: int, n_ctx: int) -> dict[str, Any]:
    """Peng et al. 2023; the attention factor as transformers resolves it."""
    factor = fields.number("factor") if fields.get("factor") is not None else n_ctx / original_n_ctx
    return {
        "factor": factor,
        "beta_fast": fields.number("beta_fast"),
        "beta_slow": fields.number("beta_slow"),
        "truncate": fields.flag("truncate") if "truncate" in fields else True,
        "attention_factor": _yarn_attention_factor(fields, factor),
    }


def _yarn_attention_factor(fields: Fields, factor: float) -> float:
    def mscale(m: float) -> float:
        return 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0

    if fields.get("attention_factor") is not None:
        return fields.number("attention_factor")
    if fields.get("mscale") and fields.get("mscale_all_dim"):
        return mscale(fields.number("mscale")) / mscale(fields.number("mscale_all_dim"))
    return mscale(1.0)


_ROPE_READERS = {
    "default": _no_parameters,
    "linear": _factor,
    "dynamic": _factor,
    "llama3": _llama3,
    "yarn": _yarn,
}
