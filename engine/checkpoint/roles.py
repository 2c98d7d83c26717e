"""What a tensor of a file is for: its role, its layer, the component it counts to, its place in the order of the pass.

All of it follows from the slot that the family's naming tables give (``engine/naming.py``), for every family alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.config import AttentionSpec, ModelConfig, MoESpec
from engine.naming import Slot

# the decoder's parameters in the order of the pass: (parameter without its suffix, role, component)
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("embed", "embedding", "embedding"),
    ("pos_embed", "positions", "positions"),
    ("ln1", "norm1", "norms"),
    ("attn.q_down", "W_Q_down", "attention"),
    ("attn.q_latent_norm", "q_latent_norm", "norms"),
    ("attn.q", "W_Q", "attention"),
    ("attn.kv_down", "W_KV_down", "attention"),
    ("attn.kv_latent_norm", "kv_latent_norm", "norms"),
    ("attn.k_up", "W_K_up", "attention"),
    ("attn.v_up", "W_V_up", "attention"),
    ("attn.qkv", "W_QKV", "attention"),
    ("attn.q_norm", "q_norm", "norms"),
    ("attn.k_norm", "k_norm", "norms"),
    ("attn.sinks", "sinks", "attention"),
    ("attn.out", "W_O", "attention"),
    ("ln1_post", "norm1_post", "norms"),
    ("ln2", "norm2", "norms"),
    ("mlp.router.map", "router", "routers"),
    ("mlp.router.choice_bias", "choice_bias", "routers"),
    ("mlp.experts.gate_up", "W_gate_up", "experts"),
    ("mlp.experts.down", "W_down", "experts"),
    ("mlp.shared.gate_up", "shared W_gate_up", "shared experts"),
    ("mlp.shared.up", "shared W_up", "shared experts"),
    ("mlp.shared.down", "shared W_down", "shared experts"),
    ("mlp.shared_gate", "shared gate", "routers"),
    ("mlp.gate_up", "W_gate_up", "MLP"),
    ("mlp.up", "W_up", "MLP"),
    ("mlp.down", "W_down", "MLP"),
    ("ln2_post", "norm2_post", "norms"),
    ("ln_final", "final_norm", "norms"),
    ("unembed", "unembedding", "unembedding"),
)
_RANKS = {row[0]: rank for rank, row in enumerate(_TABLE)}
_FIRST_OF_EXPERTS = _RANKS["mlp.experts.gate_up"]
_BEHIND_THE_LAYERS = _RANKS["ln_final"]

COMPONENTS = (
    "embedding",
    "positions",
    "attention",
    "MLP",
    "experts",
    "shared experts",
    "routers",
    "norms",
    "unembedding",
)

_PARAMETER = re.compile(r"(?:blocks\.(?P<layer>\d+)\.)?(?P<all>(?P<place>.*?)(?P<suffix>\.weight|\.bias|_bias)?)")


@dataclass(frozen=True, slots=True)
class Role:
    """``name`` as "W_Q"; ``layer`` and ``expert`` None where the tensor belongs to all. ``order`` sorts by the pass."""

    name: str
    component: str
    layer: int | None
    expert: int | None
    order: tuple[int, ...]


def role_of(slots: Sequence[Slot], config: ModelConfig) -> Role:
    """The role of a tensor that fills these slots; only a latent's map to keys and values fills two."""
    slot = slots[0]
    layer, place, bias = _parsed(slot.parameter)
    rank = _RANKS[place]
    _, name, component = _TABLE[rank]
    name = "W_KV_up" if len(slots) > 1 else _part(slot, name, config, layer)
    return Role(_biased(name) if bias else name, component, layer, slot.index, _order(slot, layer, rank, bias))


def _parsed(parameter: str) -> tuple[int | None, str, bool]:
    """("blocks.3.attn.out.bias") -> (3, "attn.out", True)."""
    match = _PARAMETER.fullmatch(parameter)
    assert match is not None  # every part of the pattern may be empty
    layer = None if match["layer"] is None else int(match["layer"])
    if match["all"] in _RANKS:  # it has no suffix, or one that belongs to its name
        return layer, match["all"], False
    return layer, match["place"], match["suffix"] != ".weight"


def _part(slot: Slot, name: str, config: ModelConfig, layer: int | None) -> str:
    """W_Q of W_QKV, W_gate of W_gate_up, where the file has them apart."""
    if slot.rows is None or layer is None:
        return name
    start, stop = slot.rows
    spec, mlp = config.layers[layer].attention, config.layers[layer].mlp
    if name == "W_QKV":
        assert isinstance(spec, AttentionSpec)  # a latent's maps are never parts of one
        return {0: "W_Q", spec.n_heads * spec.d_head: "W_K"}.get(start, "W_V")
    if slot.axis and isinstance(mlp, MoESpec) and stop - start == 2 * mlp.expert.d_mlp:
        return name  # stacked experts name their rows also where these are all
    return name.removesuffix("gate_up") + ("up" if start else "gate")


def _biased(name: str) -> str:
    return name.replace("W_", "b_") if "W_" in name else f"{name} bias"


def _order(slot: Slot, layer: int | None, rank: int, bias: bool) -> tuple[int, ...]:
    """Before the layers, layer by layer, behind them; experts one after the other; a bias after its weight."""
    behind = 2**31 if rank >= _BEHIND_THE_LAYERS else -1
    expert = -1 if slot.index is None else slot.index
    group = _FIRST_OF_EXPERTS if "experts" in slot.parameter else rank
    start = 0 if slot.rows is None else slot.rows[0]
    return (behind if layer is None else layer, group, expert, rank, start, bias)
