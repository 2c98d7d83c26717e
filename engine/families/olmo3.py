"""OLMo 3: OLMo 2 with three sliding layers to a full one; only the rope of full layers is stretched.

Facts: transformers ``configuration_olmo3.py``, ``modeling_olmo3.py``. GGUF files have the architecture ``olmo2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, ModelConfig, RopeSpec
from engine.dialect import head_counts, layer_count, layer_kinds, model_config
from engine.errors import ConfigError
from engine.families import olmo2
from engine.fields import Fields
from engine.rope_fields import rope_spec, rope_table

MODEL_TYPES = ("olmo3",)

# what an absent key means in transformers' Olmo3Config
DEFAULTS: dict[str, Any] = olmo2.DEFAULTS | {"rope_theta": 500_000.0, "sliding_window": 4096}

NAMES = olmo2.NAMES
GGUF_NAMES = olmo2.GGUF_NAMES
ignored = olmo2.ignored

_ROPES = {"full_attention": "global", "sliding_attention": "local"}


def config(fields: Fields) -> ModelConfig:
    """The specs of an olmo3 config.json."""
    kinds = _kinds(fields)
    of_kind = {kind: olmo2.layer(fields, _attention(fields, kind)) for kind in dict.fromkeys(kinds)}
    ropes = {_ROPES[kind]: _rope(fields, kind) for kind in _ROPES}
    return model_config(fields, [of_kind[kind] for kind in kinds], ropes, olmo2.norm(fields))


def _kinds(fields: Fields) -> list[str]:
    """Every fourth layer is full where the file does not list them."""
    n_layers = layer_count(fields)
    listed = layer_kinds(fields, n_layers, tuple(_ROPES))
    if listed is not None:
        return listed
    return ["sliding_attention" if (layer + 1) % 4 else "full_attention" for layer in range(n_layers)]


def _attention(fields: Fields, kind: str) -> AttentionSpec:
    window = fields.integer("sliding_window") if kind == "sliding_attention" else None
    return olmo2.normed_attention(fields, rope=_ROPES[kind], window=window)


def _rope(fields: Fields, kind: str) -> RopeSpec:
    return rope_spec(fields, dim=head_counts(fields)[2], table=_table(fields, kind), precision="promoted")


def _table(fields: Fields, kind: str) -> dict[str, Any]:
    """One kind's rope: ``rope_parameters`` has one for each, the older ``rope_scaling`` stretches full layers only."""
    nested = fields.get("rope_parameters") or {}
    if not isinstance(nested, Mapping) or set(nested) - set(_ROPES):
        kinds = " and ".join(_ROPES)
        raise ConfigError(f"The config says rope_parameters = {nested!r:.80}; a table for {kinds} is needed.")
    own = rope_table(fields, kind) if nested.get(kind) else {}
    stretched = fields.get("rope_scaling") if kind == "full_attention" else None
    return own | rope_table(Fields({"rope_scaling": stretched}, {}))
