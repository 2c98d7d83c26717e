"""What the axes of the arrays of each panel are, as data: for the tables that stand in for pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QCoreApplication

from app.widgets.values_model import Along

HEAD, KV_HEAD, LAYER, EXPERT, POSITION, QUERY, KEY, DIMENSION, RANK, TOKEN, ROW, BIN = (
    "head", "KV head", "layer", "expert", "position", "query", "key", "dimension", "rank", "token", "row", "bin",
)  # fmt: skip
_TOKENS = ("tokens", "ids", "probabilities", "surprise", "entropy", "seconds")
_NEURONS = ("neurons", "post", "gate", "up", "share", "post_a", "post_b")
_LENS = ("words", "ids", "probabilities", "next_probability", "next_rank", "entropy", "divergence", "difference")

AXES: dict[str, dict[str, tuple[str, ...]]] = {
    "strip": {
        **dict.fromkeys(_TOKENS, (POSITION,)),
        "byte_ranges": (POSITION, "first and last byte"),
        "experts": (POSITION, RANK),
        "expert_weights": (POSITION, RANK),
    },
    "layers": dict.fromkeys(("stage", "layer", "state", "computed"), (ROW,)),
    "attention": {"grid": (HEAD, QUERY, KEY), "map": (QUERY, KEY), "row": (HEAD, KEY)},
    "experts": {
        **dict.fromkeys(("weights", "scores", "chosen", "chosen_b", "sets"), (EXPERT, POSITION)),
        **dict.fromkeys(("router_logits", "router_scores", "router_choice"), (EXPERT,)),
        **dict.fromkeys(("router_ids", "router_weights", *_NEURONS), (RANK,)),
        "shared": (POSITION, RANK),
        "layers": (ROW,),
        **dict.fromkeys(("layer_neurons", "layer_post", "layer_sets", "layer_post_b"), (ROW, RANK)),
    },
    "residual": {
        **dict.fromkeys(("norms", "delta_attention", "delta_mlp"), (LAYER, POSITION)),
        "vectors": (LAYER, DIMENSION),
    },
    "lens": {
        **dict.fromkeys(_LENS, (LAYER, POSITION)),
        **dict.fromkeys(("next_words", "next_ids", "settled"), (POSITION,)),
        **dict.fromkeys(("column_texts", "column_ids", "column_logits", "column_probabilities"), (LAYER, RANK)),
        **dict.fromkeys(("column_entropy", "column_divergence"), (LAYER,)),
        **dict.fromkeys(("column_next_probability", "column_next_rank"), (LAYER,)),
        **dict.fromkeys(("column_word_texts", "column_words"), (TOKEN,)),
        **dict.fromkeys(("column_word_probability", "column_word_rank"), (TOKEN, LAYER)),
    },
    "cache": {
        **dict.fromkeys(("lengths", "firsts"), (LAYER,)),
        "growth": ("pass", "positions and bytes"),
        **dict.fromkeys(("keys", "values"), (KV_HEAD, DIMENSION)),
        "latent": (ROW, DIMENSION),
    },
    "activations": {"edges": (BIN,), "counts": (BIN,), "top": (RANK, "row and column"), "top_values": (RANK,)},
    "sampling": dict.fromkeys(("tokens", "ids", "raw", "final", "cut_by", "stage", "a", "b", "difference"), (RANK,)),
    "branches": dict.fromkeys(
        ("texts", "numbers", "parents", "starts", "tokens", "log_probabilities", "bytes"), ("branch",)
    ),
    "breakpoints": dict.fromkeys(("texts", "number", "on", "hits"), ("breakpoint",)),
    "edits": {
        **dict.fromkeys(("texts", "names", "on", "strength"), ("edit",)),
        **dict.fromkeys(("tokens", "ids"), (RANK,)),
        "probabilities": ("edited or untouched", RANK),
        "change": (TOKEN,),
        "parting": (LAYER, POSITION),
    },
    "tensors": {
        **dict.fromkeys(("names", "bytes", "parameters"), ("tensor",)),
        "areas": ("area", "left, top, width or height"),
        **dict.fromkeys(("area_bytes", "area_parameters"), ("area",)),
    },
    "models": dict.fromkeys(("names", "size", "parameters", "active", "needed", "free"), ("model",)),
    "glossary": {"terms": ("term",), "entry": ("line",)},
    "notes": dict.fromkeys(("positions", "layers", "heads", "bookmarks", "present", "texts"), ("note",)),
}


def axes_of(key: str, token: Callable[[int], str] | None = None) -> dict[str, tuple[Along, ...]]:
    """The axes of a panel's arrays by the array's name, every entry of them one of the run's. ``token`` says what
    stands at a position."""
    words = dict.fromkeys((POSITION, QUERY, KEY), token)
    return {
        array: tuple(Along(translate(name), words=words.get(name)) for name in names)
        for array, names in AXES.get(key, {}).items()
    }


def translate(name: str) -> str:
    return QCoreApplication.translate("axes", name)


def scaled(axes: tuple[Along, ...], *scales: tuple[int, int]) -> tuple[Along, ...]:
    """Axes of a part of the run, or reduced ones. ``scales``: of each the first entry, and how many make one."""
    return tuple(replace(axis, first=first, block=block) for axis, (first, block) in zip(axes, scales, strict=True))
