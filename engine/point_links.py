"""What the tensor of a hook point is made of, and what is made of it, by the names of points. No torch here.

The points of a layer tell how it is built: which norms there are, in which order queries are normed and turned, whether
attention and MLP lie one behind the other or side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from engine.point_table import ANY_EXPERT, full_name

RESID_PRE, RESID_MID, RESID_POST = "hook_resid_pre", "hook_resid_mid", "hook_resid_post"


@dataclass(frozen=True)
class Names:
    """The names of the points of every layer, without ``blocks.N.`` and experts once, and of those around them."""

    before: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    behind: tuple[str, ...]


def made_of(names: Names, layer: int | None, name: str) -> tuple[str, ...]:
    """The full names of the points that a point's tensor is made of, in the order of the pass."""
    if layer is None:
        return _outside(names, name)
    if name == RESID_PRE:
        return (full_name(layer - 1, RESID_POST),) if layer else names.before[_last_embedding(names) :][:1]
    return tuple(full_name(layer, one) for one in inside(names.layers[layer]).get(name, ()))


def goes_to(names: Names, layer: int | None, name: str) -> tuple[str, ...]:
    """The full names of the points that are made of a point's tensor, in the order of the pass."""
    if layer is None:
        later = [one for one in (*names.before, *names.behind) if name in made_of(names, None, one)]
        first = [full_name(0, RESID_PRE)] if names.layers and name in made_of(names, 0, RESID_PRE) else []
        return (*first, *later)
    here = [full_name(layer, one) for one, sources in inside(names.layers[layer]).items() if name in sources]
    if name != RESID_POST:
        return tuple(here)
    last = layer == len(names.layers) - 1
    return (
        tuple(one for one in names.behind if one.startswith("ln_final."))
        if last
        else (full_name(layer + 1, RESID_PRE),)
    )


def _last_embedding(names: Names) -> int:
    return names.before.index("hook_embed_scaled")


def _outside(names: Names, name: str) -> tuple[str, ...]:
    learned = ("hook_pos_embed",) if "hook_pos_embed" in names.before else ()
    last = (full_name(len(names.layers) - 1, RESID_POST),) if names.layers else ()
    masks = tuple(one for one in names.behind if one.endswith("_mask"))
    return {
        "hook_embed": ("hook_tokens",),
        "hook_embed_scaled": ("hook_embed", *learned),
        "ln_final.hook_scale": last,
        "ln_final.hook_normalized": (*last, "ln_final.hook_scale"),
        "hook_logits": ("ln_final.hook_normalized",),
        "hook_logits_final": ("hook_logits",),
        "sampler.hook_penalised": ("hook_logits_final",),
        "sampler.hook_tempered": ("sampler.hook_penalised",),
        "sampler.hook_probs": ("sampler.hook_tempered", *masks),
        "sampler.hook_token": ("sampler.hook_probs",),
    }.get(name, ("sampler.hook_tempered",) if name in masks else ())


@lru_cache(maxsize=64)
def inside(points: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """By the name of a layer's point those of the same layer that it is made of."""
    has = frozenset(points)
    read = attention_input(has)
    links = _norms(points) | _attention(points, read) | _mlp(has, mlp_input(has))
    parallel = RESID_MID not in has
    links["hook_attn_out"] = _behind_norm(has, "ln1_post", ("attn.hook_z",))
    links[RESID_MID] = (RESID_PRE, "hook_attn_out")
    links[RESID_POST] = (RESID_PRE, "hook_attn_out", "hook_mlp_out") if parallel else (RESID_MID, "hook_mlp_out")
    order = {name: place for place, name in enumerate(points)}
    return {
        name: tuple(sorted((one for one in links.get(name, ()) if one in has), key=order.__getitem__))
        for name in points
    }


def attention_input(has: frozenset[str]) -> str:
    """What attention reads: the stream, or what a norm made of it."""
    return "ln1.hook_normalized" if "ln1.hook_normalized" in has else RESID_PRE


def mlp_input(has: frozenset[str]) -> str:
    """What the MLP reads: beside attention without a norm of its own what that reads."""
    if "ln2.hook_normalized" in has:
        return "ln2.hook_normalized"
    return RESID_MID if RESID_MID in has else attention_input(has)


def queries_made(points: Sequence[str], which: str) -> tuple[str, ...]:
    """The points of queries ("q") or keys ("k") in the order in which they are made: as mapped, normed, turned."""
    wanted = (f"attn.hook_{which}", f"attn.hook_{which}_normed", f"attn.hook_rot_{which}")
    return tuple(name for name in points if name in wanted)


def _behind_norm(has: frozenset[str], norm: str, given: tuple[str, ...]) -> tuple[str, ...]:
    return (f"{norm}.hook_normalized",) if f"{norm}.hook_normalized" in has else given


def _norms(points: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Both points of each norm: what it divides, and by what."""
    has = frozenset(points)
    read: dict[str, tuple[str, ...]]
    entering = RESID_MID if RESID_MID in has else RESID_PRE
    given = ("mlp.hook_post",) if "mlp.hook_post" in has else ("mlp.hook_routed_out", "mlp.hook_shared_out")
    read = {"ln1": (RESID_PRE,), "ln1_post": ("attn.hook_z",), "ln2": (entering,), "ln2_post": given}
    read |= {f"attn.{which}_norm": _before_norm(points, which) for which in ("q", "k")}
    read |= dict.fromkeys(("attn.q_latent_norm", "attn.kv_latent_norm"), (attention_input(has),))
    links = {f"{norm}.hook_scale": sources for norm, sources in read.items()}
    return links | {f"{norm}.hook_normalized": (*sources, f"{norm}.hook_scale") for norm, sources in read.items()}


def _before_norm(points: tuple[str, ...], which: str) -> tuple[str, ...]:
    made = queries_made(points, which)
    normed = f"attn.hook_{which}_normed"
    return made[: made.index(normed)][-1:] if normed in made else ()


def _attention(points: tuple[str, ...], read: str) -> dict[str, tuple[str, ...]]:
    if "attn.hook_kv_latent" in points:
        return _latent(points, read)
    links: dict[str, tuple[str, ...]] = {"attn.hook_v": (read,)}
    for which in ("q", "k"):
        made, before = queries_made(points, which), read
        for name in made:
            links[name] = (f"attn.{which}_norm.hook_normalized",) if name.endswith("_normed") else (before,)
            before = name
        links |= {"attn.hook_attn_scores": (before, "kv.hook_k")} if which == "q" else {"kv.hook_k": (before,)}
    last_k = queries_made(points, "k")[-1:]
    scores = ("attn.hook_attn_scores",)
    return links | {
        "kv.hook_append": (*last_k, "attn.hook_v"),
        "kv.hook_v": ("attn.hook_v",),
        "attn.hook_sink": scores,
        "attn.hook_pattern": scores,
        "attn.hook_z": ("attn.hook_pattern", "kv.hook_v"),
        "attn.hook_result": ("attn.hook_z",),
    }


def _latent(points: tuple[str, ...], read: str) -> dict[str, tuple[str, ...]]:
    queried = ("attn.hook_q_latent",) if "attn.hook_q_latent" in points else (read,)
    stored = ("attn.hook_kv_latent", "attn.hook_rot_k")
    return {
        "attn.hook_q_latent": ("attn.q_latent_norm.hook_normalized",),
        "attn.hook_q_nope": queried,
        "attn.hook_rot_q": queried,
        "attn.hook_kv_latent": ("attn.kv_latent_norm.hook_normalized",),
        "attn.hook_rot_k": (read,),
        "kv.hook_append": stored,
        "kv.hook_latent": stored,
        "attn.hook_k_nope": ("kv.hook_latent",),
        "attn.hook_v": ("kv.hook_latent",),
        "attn.hook_attn_scores": ("attn.hook_q_nope", "attn.hook_rot_q", "kv.hook_latent"),
        "attn.hook_pattern": ("attn.hook_attn_scores",),
        "attn.hook_z": ("attn.hook_pattern", "kv.hook_latent"),
        "attn.hook_result": ("attn.hook_z",),
    }


def _mlp(has: frozenset[str], read: str) -> dict[str, tuple[str, ...]]:
    expert, router = ANY_EXPERT, "mlp.hook_router_"
    given = ("mlp.hook_post",) if "mlp.hook_post" in has else ("mlp.hook_routed_out", "mlp.hook_shared_out")
    return {
        "mlp.hook_pre": (read,),
        "mlp.hook_pre_linear": (read,),
        "mlp.hook_post": ("mlp.hook_pre", "mlp.hook_pre_linear"),
        f"{router}logits": (read,),
        f"{router}scores": (f"{router}logits",),
        f"{router}choice": (f"{router}logits", f"{router}scores"),
        "mlp.hook_expert_indices": (f"{router}choice",),
        "mlp.hook_expert_weights": (f"{router}scores", "mlp.hook_expert_indices"),
        f"{expert}hook_pre": (read, "mlp.hook_expert_indices"),
        f"{expert}hook_pre_linear": (read, "mlp.hook_expert_indices"),
        f"{expert}hook_post": (f"{expert}hook_pre", f"{expert}hook_pre_linear"),
        f"{expert}hook_out": (f"{expert}hook_post",),
        "mlp.hook_routed_out": ("mlp.hook_expert_weights", f"{expert}hook_out"),
        "mlp.hook_shared_gate": (read,),
        "mlp.hook_shared_out": (read, "mlp.hook_shared_gate"),
        "hook_mlp_out": _behind_norm(has, "ln2_post", given),
    }
