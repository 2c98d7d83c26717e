"""The rope of a config.json, in either dialect.

Older files have ``rope_theta`` and ``rope_scaling{type|rope_type, ...}``, newer ones ``rope_parameters``, which may
hold one table per kind of layer (transformers ``modeling_rope_utils.py``: convert_rope_params_to_dict,
standardize_rope_params).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.config import RopeSpec
from engine.errors import ConfigError
from engine.fields import Fields

_DEFAULTS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0}


def rope_table(fields: Fields, layer_type: str | None = None) -> dict[str, Any]:
    """The scaling table of a config, flat; of one kind of layer ("full_attention") where the file has one for each.

    A file with both names, as where somebody added ``rope_scaling`` by hand, means ``rope_scaling`` (transformers
    convert_rope_params_to_dict).
    """
    old, new = fields.get("rope_scaling"), fields.get("rope_parameters")
    table = new if layer_type is not None or old in (None, {}) else old
    table = old if table is None else table
    table = {} if table is None else table
    if isinstance(table, Mapping) and layer_type is not None and isinstance(table.get(layer_type), Mapping):
        table = table[layer_type]
    if not isinstance(table, Mapping) or any(isinstance(value, Mapping) for value in table.values()):
        raise ConfigError(f"The config's rope parameters are {table!r:.80}; one flat table is needed.")
    return dict(table)


def rope_spec(
    fields: Fields,
    dim: int,
    *,
    table: Mapping[str, Any] | None = None,
    theta: str = "rope_theta",
    context: str = "max_position_embeddings",
    partial: bool = False,
    **layout: Any,
) -> RopeSpec:
    """The rope that turns the first ``dim`` entries of a head.

    ``table`` replaces the config's own scaling table; ``theta`` and ``context`` name the fields for the base and the
    longest sequence; ``layout`` are fields of RopeSpec that the family knows (interleaved, precision). ``partial``:
    the family lets a config turn a share of each head, and ``dim`` is that share; without, such a field is refused.
    """
    if dim < 2 or dim % 2:
        raise ConfigError(f"Rotary positions turn {dim} entries of a head; an even number is needed.")
    table = rope_table(fields) if table is None else table
    if not partial:
        Fields(table, {}).one_of("partial_rotary_factor", (None, 1))
    kind = table.get("rope_type", table.get("type", "default"))
    if not isinstance(kind, str) or kind not in _READERS:
        known = ", ".join(_READERS)
        raise ConfigError(f"The rope scaling rope_type = {kind!r:.80} is not supported; supported are {known}.")
    n_ctx = fields.integer(context)
    base = fields.get(theta)
    nested = Fields(
        {**table, "rope_theta": base if table.get("rope_theta") is None else table["rope_theta"]}, _DEFAULTS
    )
    original_n_ctx = _original_context(fields, table, n_ctx)
    plain = RopeSpec(nested.number("rope_theta"), dim, n_ctx, original_n_ctx=original_n_ctx, **layout)
    return replace(plain, scaling=kind, **_READERS[kind](nested, plain))


def rotary_dim(fields: Fields, d_head: int, *keys: str) -> int:
    """How many entries of a head are turned: d_head times the factor that the table, else one of ``keys`` names."""
    key = fields.given(*keys, "partial_rotary_factor")
    own = rope_table(fields).get("partial_rotary_factor")
    factor = Fields({key: own if own is not None else fields.get(key) if fields.has(key) else 1.0}, {}).number(key)
    if factor > 1:
        raise ConfigError(f"The config says {key} = {factor}; a share of the head, at most 1, is needed.")
    return int(d_head * factor)


def _original_context(fields: Fields, table: Mapping[str, Any], n_ctx: int) -> int:
    key = "original_max_position_embeddings"
    original = fields.get(key) or table.get(key)
    return n_ctx if original is None else Fields({key: original}, {}).integer(key)


def _no_parameters(fields: Fields, plain: RopeSpec) -> dict[str, Any]:
    return {}


def _factor(fields: Fields, plain: RopeSpec) -> dict[str, Any]:
    return {"factor": fields.number("factor")}


def _dynamic(fields: Fields, plain: RopeSpec) -> dict[str, Any]:
    if plain.dim < 4:
        raise ConfigError(f"Dynamic rope scaling needs heads that turn at least 4 entries; these turn {plain.dim}.")
    return _factor(fields, plain)


def _llama3(fields: Fields, plain: RopeSpec) -> dict[str, Any]:
    names = ("factor", "low_freq_factor", "high_freq_factor")
    read = {name: fields.number(name) for name in names}
    if read["high_freq_factor"] < read["low_freq_factor"]:
        raise ConfigError(
            f"The config says high_freq_factor = {read['high_freq_factor']}; it must not be below low_freq_factor "
            f"({read['low_freq_factor']})."
        )
    return read


def _yarn(fields: Fields, plain: RopeSpec) -> dict[str, Any]:
    """Peng et al. 2023; the attention factor as transformers resolves it."""
    factor = fields.number("factor") if fields.has("factor") else plain.n_ctx / plain.original_n_ctx
    return {
        "factor": factor,
        "beta_fast": fields.number("beta_fast"),
        "beta_slow": fields.number("beta_slow"),
        "truncate": fields.flag("truncate") if "truncate" in fields else True,
        "attention_factor": _yarn_attention_factor(fields, factor),
    }


def yarn_mscale(factor: float, m: float = 1.0) -> float:
    """0.1 · m · ln(factor) + 1: by how much YaRN sharpens attention (transformers get_mscale)."""
    return 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0


def _yarn_attention_factor(fields: Fields, factor: float) -> float:
    if fields.has("attention_factor"):
        return fields.number("attention_factor")
    if fields.get("mscale") and fields.get("mscale_all_dim"):
        return yarn_mscale(factor, fields.number("mscale")) / yarn_mscale(factor, fields.number("mscale_all_dim"))
    return yarn_mscale(factor)


def _longrope(fields: Fields, plain: RopeSpec) -> dict[str, Any]:
    """Ding et al. 2024: one divisor per frequency, other ones beyond the original context."""
    factor = fields.number("factor") if fields.has("factor") else plain.n_ctx / plain.original_n_ctx
    return {
        "factor": factor,
        "short_factors": fields.numbers("short_factor", plain.dim // 2),
        "long_factors": fields.numbers("long_factor", plain.dim // 2),
        "attention_factor": _longrope_attention_factor(fields, factor, plain.original_n_ctx),
    }


def _longrope_attention_factor(fields: Fields, factor: float, original_n_ctx: int) -> float:
    if fields.has("attention_factor"):
        return fields.number("attention_factor")
    return math.sqrt(1 + math.log(factor) / math.log(original_n_ctx)) if factor > 1 and original_n_ctx > 1 else 1.0


_READERS = {
    "default": _no_parameters,
    "linear": _factor,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
