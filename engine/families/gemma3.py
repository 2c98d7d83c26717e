"""Gemma 3, the text model: as Gemma 2 with norms on queries and keys instead of caps, and one rope for each kind of
layer.

Facts: transformers ``configuration_gemma3.py`` and ``modeling_gemma3.py``; GGUF architecture ``gemma3``. Files of 4B
and larger wrap it beside a vision model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import ModelConfig
from engine.dialect import layer_count, layer_kinds
from engine.families import ReadTensor, gemma, gemma2
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec, rope_table

MODEL_TYPES = ("gemma3_text",)
WRAPPERS = ("gemma3",)
GGUF_ARCHITECTURES = ("gemma3",)

# what an absent key means in transformers' Gemma3TextConfig
DEFAULTS: dict[str, Any] = gemma2.DEFAULTS | {
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10000.0,
    "sliding_window_pattern": 6,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
}
ROPES = {"full_attention": "global", "sliding_attention": "local"}
LAYERS_27B = 62

NAMES = gemma2.NAMES
GGUF_NAMES = gemma.with_added_one(gemma2.SANDWICH, "norm1_post", "norm2_post", "q_norm", "k_norm")

_PREFIXES = {
    "language_model.model.": "model.",
    "model.language_model.": "model.",
    "language_model.lm_head.": "lm_head.",
}
_VISION = ("vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector.")


def config(fields: Fields) -> ModelConfig:
    """The specs of a gemma3_text config.json. Raises ConfigError naming the field at fault."""
    norm = gemma.gemma_norm(fields)
    heads = {kind: gemma2.windowed(fields, kind, rope=rope, qk_norm=norm) for kind, rope in ROPES.items()}
    dim = heads["full_attention"].d_head
    ropes = {
        "global": rope_spec(fields, dim, table=_table(fields, "full_attention")),
        "local": rope_spec(fields, dim, table=_table(fields, "sliding_attention"), theta="rope_local_base_freq"),
    }
    return gemma2.sandwiched(fields, [heads[kind] for kind in _kinds(fields)], ropes)


def _kinds(fields: Fields) -> list[str]:
    """Every sixth layer sees all, unless the file says otherwise."""
    count = layer_count(fields)
    listed = layer_kinds(fields, count, tuple(ROPES))
    if listed is not None:
        return listed
    period = fields.integer("sliding_window_pattern")
    return ["sliding_attention" if (layer + 1) % period else "full_attention" for layer in range(count)]


def _table(fields: Fields, kind: str) -> dict[str, Any]:
    """One kind's rope: ``rope_parameters`` has a table for each, the older ``rope_scaling`` is of full layers only."""
    nested = fields.get("rope_parameters")
    if not nested:
        return rope_table(fields) if kind == "full_attention" else {}
    if isinstance(nested, Mapping) and not set(nested) - set(ROPES):
        return rope_table(fields, kind) if nested.get(kind) else {}
    return rope_table(fields, kind)


def canonical(name: str) -> str:
    """A wrapper's tensor by the text model's own name."""
    for prefix, own in _PREFIXES.items():
        if name.startswith(prefix):
            return own + name.removeprefix(prefix)
    return name


def ignored(name: str) -> bool:
    """The vision model of a wrapper, and what every Gemma may carry."""
    return name.startswith(_VISION) or gemma.ignored(name)


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; without a window every layer sees all."""
    keys = {
        "attention.sliding_window": "sliding_window",
        "rope.freq_base_swa": "rope_local_base_freq",
        "final_logit_softcapping": "final_logit_softcapping",
    }
    values = common_values(metadata, read, "gemma3_text", keys)
    if "sliding_window" not in values:
        values["sliding_window_pattern"] = 1
    return gemma2.implied_scale(values, LAYERS_27B)
