"""What a panel needs to know about every hook point of a model: its group, sizes, kind and formula. No torch here.

Which points there are, their shapes and meanings come from ``engine.hooks``; here is only what that table leaves out.
A formula is written for people: x what is read, p the position of the query, j that of a key, h a head, e an expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from engine.config import (
    AttentionSpec,
    LatentAttentionSpec,
    LayerSpec,
    MLPSpec,
    ModelConfig,
    MoESpec,
    NormSpec,
    RopeSpec,
)
from engine.errors import EngineError
from engine.frames import PointFacts, PointKind, StageFacts
from engine.hooks import ADDITIVE, PointInfo, hook_table
from engine.point_code import attention_stage_codes, point_code
from engine.questions import AttentionStage

ANY_EXPERT = "mlp.experts.*."  # instead of the number, where a point stands for those of all experts
_STAYING = {"cache": ("kv.", "attn."), "mix": ("attn.",)}  # what follows these stages belongs to them still
_OUTER = {"hook_tokens": "embed", "rotary_emb.": "rope", "hook_logits": "logits", "sampler.": "sampling"}


def layer_points(config: ModelConfig, layer: int) -> tuple[PointFacts, ...]:
    """The points of one layer in the order of the pass, names without ``blocks.N.``, experts once for all of them."""
    return _layer_points(_alone(config, layer))


def outer_points(config: ModelConfig) -> tuple[tuple[PointFacts, ...], tuple[PointFacts, ...]]:
    """The points before the layers, and those behind them."""
    infos = list(hook_table(replace(config, layers=())).values())
    behind = next(place for place, info in enumerate(infos) if info.name.startswith("ln_final."))
    facts = tuple(
        _facts(info, info.name, _outer_group(info), _outer_sizes(config, info.name), config, None) for info in infos
    )
    return facts[:behind], facts[behind:]


def point_facts(config: ModelConfig, name: str) -> PointFacts:
    """The facts of a point by its name in ``model.hook_points``. Raises EngineError where the model has none such."""
    layer, inner = split_name(name)
    if layer is None:
        candidates = sum(outer_points(config), ())
    else:
        candidates = layer_points(config, layer) if layer < config.n_layers else ()
    found = next((point for point in candidates if point.name == of_any_expert(inner)), None)
    spec = config.layers[layer].mlp if found is not None and layer is not None else None
    expert = expert_of(inner)
    if found is None or (expert is not None and isinstance(spec, MoESpec) and expert >= spec.n_experts):
        raise EngineError(f"There is no hook point {name!r}; model.hook_points lists those of this model.")
    return found


def split_name(name: str) -> tuple[int | None, str]:
    """The layer of a point's full name, None outside the layers, and the name within the layer."""
    number, _, inner = name.removeprefix("blocks.").partition(".")
    return (int(number), inner) if name.startswith("blocks.") and number.isdigit() else (None, name)


def full_name(layer: int, name: str) -> str:
    """The name of a layer's point in ``model.hook_points``."""
    return f"blocks.{layer}.{name}"


def expert_of(name: str) -> int | None:
    """Which expert a point belongs to; None: to none."""
    parts = name.partition("mlp.experts.")[2].partition(".")
    return int(parts[0]) if parts[0].isdigit() else None


def of_any_expert(name: str) -> str:
    """The name with ``*`` instead of the expert's number."""
    expert = expert_of(name)
    return name if expert is None else name.replace(f"mlp.experts.{expert}.", ANY_EXPERT)


class _Alone:
    """A config of one layer, equal to others in which that layer is built alike: its points are worked out once."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self._alike = (config.layers[0], tuple(config.ropes.values()), config.d_model)

    def __hash__(self) -> int:
        return hash(self._alike)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alone) and self._alike == other._alike


def _alone(config: ModelConfig, layer: int) -> _Alone:
    spec = config.layers[layer]
    rope = {} if spec.attention.rope is None else {spec.attention.rope: config.ropes[spec.attention.rope]}
    return _Alone(replace(config, layers=(spec,), ropes=rope))


@lru_cache(maxsize=64)
def _layer_points(alone: _Alone) -> tuple[PointFacts, ...]:
    config, prefix = alone.config, "blocks.0."
    spec, sizes = config.layers[0], _sizes(config, 0)
    infos = [info for info in hook_table(config).values() if info.layer == 0]
    infos = [info for info in infos if expert_of(info.name) in (None, 0)]
    return tuple(
        _facts(info, _folded(info.name.removeprefix(prefix)), group, sizes, config, spec)
        for info, group in zip(infos, _groups(infos, prefix), strict=True)
    )


def _folded(name: str) -> str:
    return name.replace("mlp.experts.0.", ANY_EXPERT)


def _groups(infos: Sequence[PointInfo], prefix: str) -> list[str]:
    """Each point belongs to the stage that ends at it or at the next that ends one; some follow their stage."""
    groups, waiting, last = [""] * len(infos), [], ""
    for place, info in enumerate(infos):
        name = info.name.removeprefix(prefix)
        if not info.stage and name.startswith(_STAYING.get(last, ())) and last:
            groups[place] = last
            continue
        waiting.append(place)
        last = info.stage
        if info.stage:
            for index in waiting:
                groups[index] = info.stage
            waiting = []
    return groups


def _outer_group(info: PointInfo) -> str:
    return next((group for start, group in _OUTER.items() if info.name.startswith(start)), None) or (
        "final norm" if info.name.startswith("ln_final") else "embed"
    )


def _facts(
    info: PointInfo, name: str, group: str, sizes: dict[str, int], config: ModelConfig, spec: LayerSpec | None
) -> PointFacts:
    return PointFacts(
        name=name,
        group=group,
        shape=info.shape,
        sizes=tuple(_size(symbol, sizes) for symbol in info.shape),
        dtype=info.dtype,
        kind=_kind(info, name, spec),
        meaning=info.meaning.removesuffix(ADDITIVE),
        formula=_formula(name, config, spec),
        lazy=info.lazy,
        stage=info.stage,
        code=point_code(name, config, spec),
    )


# -- sizes -------------------------------------------------------------------------------------------------------


def _size(symbol: str, sizes: dict[str, int]) -> int:
    """The number of a symbol in this model; 0 where it grows with the run."""
    if symbol.isdigit():
        return int(symbol)
    size = 1
    for factor in symbol.split("·"):
        size *= sizes.get(factor, 0)
    return size


def _sizes(config: ModelConfig, layer: int) -> dict[str, int]:
    spec = config.layers[layer]
    return {"d_model": config.d_model} | _attention_sizes(spec.attention) | _mlp_sizes(spec.mlp)


def _outer_sizes(config: ModelConfig, name: str) -> dict[str, int]:
    rope = config.ropes.get(name.removeprefix("rotary_emb.").rpartition(".")[0])
    sizes = {"d_model": config.d_model, "d_vocab": config.d_vocab}
    return sizes if rope is None else sizes | {"d_rotary": rope.dim}


def _attention_sizes(spec: AttentionSpec | LatentAttentionSpec) -> dict[str, int]:
    sizes = {"n_heads": spec.n_heads, "n_kv_heads": spec.n_kv_heads, "d_head": spec.d_head}
    if isinstance(spec, LatentAttentionSpec):
        sizes |= {"d_nope": spec.d_nope, "d_rope": spec.d_rope, "d_value": spec.d_value, "d_latent": spec.d_latent}
        sizes |= {"d_cached": spec.d_latent + spec.d_rope, "d_q_latent": spec.d_q_latent or 0}
    return sizes


def _mlp_sizes(spec: MLPSpec | MoESpec) -> dict[str, int]:
    if isinstance(spec, MLPSpec):
        return {"d_mlp": spec.d_mlp}
    return {"n_experts": spec.n_experts, "top_k": spec.top_k, "d_expert": spec.expert.d_mlp}


# -- kinds -------------------------------------------------------------------------------------------------------

_KINDS: dict[str, PointKind] = {
    "hook_tokens": "tokens",
    "hook_token": "tokens",
    "hook_scale": "positive",
    "hook_append": "event",
    "hook_attn_scores": "scores",
    "hook_sink": "probability",
    "hook_pattern": "probability",
    "hook_router_scores": "probability",
    "hook_router_choice": "scores",
    "hook_expert_indices": "ids",
    "hook_shared_gate": "probability",
    "hook_logits": "logits",
    "hook_logits_final": "logits",
    "hook_penalised": "logits",
    "hook_tempered": "logits",
    "hook_probs": "probability",
}


def _kind(info: PointInfo, name: str, spec: LayerSpec | None) -> PointKind:
    leaf = name.rpartition(".")[2]
    if info.dtype == "bool":
        return "mask"
    if leaf == "hook_expert_weights":
        return "positive" if spec is not None and not _weights_are_shares(spec.mlp) else "probability"
    return _KINDS.get(leaf, "signed")


def _weights_are_shares(spec: MLPSpec | MoESpec) -> bool:
    return isinstance(spec, MoESpec) and spec.weight_scale == 1


# -- formulas ----------------------------------------------------------------------------------------------------

_OfLayer = Callable[[ModelConfig, LayerSpec], str]
_Formula = str | _OfLayer


def _formula(name: str, config: ModelConfig, spec: LayerSpec | None) -> str:
    """The formula of a point: a norm's by its spec, a text, or a text made of the layer's spec."""
    place, _, leaf = name.rpartition(".")
    if leaf in ("hook_scale", "hook_normalized"):
        return _norm_formula(leaf, _norm_of(place, config, spec))
    if place.startswith("rotary_emb."):
        return _angle_formula(leaf, config.ropes[place.removeprefix("rotary_emb.")])
    found = _OF_EXPERTS.get(leaf, "") if name.startswith(ANY_EXPERT) else _FORMULAS.get(name, "")
    return found if isinstance(found, str) else found(config, spec)  # type: ignore[arg-type]  # only layers have such


def _norm_of(place: str, config: ModelConfig, spec: LayerSpec | None) -> NormSpec | None:
    if spec is None:
        return config.final_norm
    by_place = {"ln1": spec.norm1, "ln2": spec.norm2, "ln1_post": spec.norm1_post, "ln2_post": spec.norm2_post}
    if place in by_place:
        return by_place[place]
    attention = spec.attention
    return attention.latent_norm if isinstance(attention, LatentAttentionSpec) else attention.qk_norm


def _norm_formula(leaf: str, spec: NormSpec | None) -> str:
    centred = spec is not None and spec.kind == "layer"
    x = "(x − mean(x))" if centred else "x"
    return f"s = √(mean({x}²) + ε)" if leaf == "hook_scale" else f"x̂ = {x} / s"


def _angle_formula(leaf: str, rope: RopeSpec) -> str:
    angle = f"{leaf.removeprefix('hook_')}(p · θ_i)"
    return angle + (f" · {rope.attention_factor:.7g}" if rope.attention_factor != 1 else "")


def _map(weight: str, x: str, biased: bool) -> str:
    """ "W_Q x + b_Q"; the bias where there is one."""
    return f"{weight} {x}" + (f" + b{weight[1:]}" if biased else "")


def _bracketed(what: str) -> str:
    """What is multiplied as a whole."""
    return f"({what})" if " + " in what else what


def _clamped(what: str, attention: AttentionSpec) -> str:
    return what if attention.clip is None else f"clamp({what}, ±{attention.clip:g})"


def _projected(which: str) -> _OfLayer:
    """Queries, keys or values of each head; of latent attention ``_values`` has the values."""

    def formula(config: ModelConfig, spec: LayerSpec) -> str:
        attention, weight = spec.attention, f"W_{which.upper()}"
        if isinstance(attention, LatentAttentionSpec):
            return f"{which} = {weight} x"
        made = _map(weight, "x", attention.qkv_bias)
        at_once = which == "v" or attention.qk_norm is None  # else it is bounded behind its norm
        return f"{which} = {_clamped(made, attention) if at_once else made}"

    return formula


def _normed(which: str) -> _OfLayer:
    def formula(config: ModelConfig, spec: LayerSpec) -> str:
        made = f"norm({which})"
        attention = spec.attention
        return f"{which} = {_clamped(made, attention) if isinstance(attention, AttentionSpec) else made}"

    return formula


def _latent(target: str, weight: str) -> _OfLayer:
    def formula(config: ModelConfig, spec: LayerSpec) -> str:
        return f"{target} = norm({_map(weight, 'x', getattr(spec.attention, 'bias', False))})"

    return formula


def _without_position(config: ModelConfig, spec: LayerSpec) -> str:
    source = "x" if getattr(spec.attention, "d_q_latent", None) is None else "c_q"
    return f"q = W_UQ {source}, without position"


def _stored(which: str, name: str) -> _OfLayer:
    def formula(config: ModelConfig, spec: LayerSpec) -> str:
        if spec.attention.kind == "full":
            return f"{name} = {which}[0 … p]"
        return f"{name} = {which}[p₀ … p],  p₀ the first position that is kept"

    return formula


def _product(attention: AttentionSpec | LatentAttentionSpec) -> str:
    """Query and key; what queries grow by with the position, where they do."""
    if not isinstance(attention, AttentionSpec) or attention.temperature is None:
        return "q[p] · k[j]"
    scale, floor = attention.temperature
    return f"q[p] · k[j] · (1 + {scale:g} · ln(1 + ⌊(p + 1) / {floor:g}⌋))"


def _scores(config: ModelConfig, spec: LayerSpec) -> str:
    attention, product = spec.attention, _product(spec.attention)
    if isinstance(attention, LatentAttentionSpec):
        return f"s[p, j] = ({product}) · scale"
    if attention.alibi:  # the same for softmax as slope · (j − p), since p is one number a row
        product += " + slope[h] · j"
    cap, inner = attention.softcap, f"({product}) · scale"
    return "s[p, j] = " + (inner if cap is None else f"{cap:g} · tanh({inner} / {cap:g})")


def _pattern(config: ModelConfig, spec: LayerSpec) -> str:
    sunk = getattr(spec.attention, "sinks", False)
    return "a[p, j] = exp(s[p, j]) / (Σ exp(s[p, ·])" + (" + exp(sink[h]))" if sunk else ")")


def attention_stages(config: ModelConfig, layer: int) -> tuple[StageFacts, ...]:
    """What the stages of a layer's attention show, in the order of the pass."""
    return _attention_stages(_alone(config, layer))


@lru_cache(maxsize=64)
def _attention_stages(alone: _Alone) -> tuple[StageFacts, ...]:
    config, spec = alone.config, alone.config.layers[0]
    codes = attention_stage_codes(config, spec)
    return tuple(StageFacts(stage, formula, codes[stage]) for stage, formula in _stage_formulas(config, spec).items())


def _stage_formulas(config: ModelConfig, spec: LayerSpec) -> dict[AttentionStage, str]:
    scores, value = _scores(config, spec), _value(spec.attention)
    return {
        "products": f"d[p, j] = {_product(spec.attention)}",
        "scaled": scores,
        "masked": f"{scores}\ns[p, j] = −∞,  {_hidden(spec.attention)}",
        "pattern": f"{scores}\n{_pattern(config, spec)}",
        "contribution": f"‖a[h, p, j] · {value}‖ = a[h, p, j] · ‖{value}‖",
    }


def _value(attention: AttentionSpec | LatentAttentionSpec) -> str:
    """What head h reads of a key: the value of its KV head."""
    if isinstance(attention, LatentAttentionSpec) or attention.group == 1:
        return "v[h, j]"
    return "v[j]" if attention.n_kv_heads == 1 else f"v[⌊h / {attention.group}⌋, j]"


def _hidden(attention: AttentionSpec | LatentAttentionSpec) -> str:
    """Which keys j a query at p does not see."""
    window, chunk = getattr(attention, "window", None), getattr(attention, "chunk", None)
    if window:
        return f"j > p ∨ j ≤ p − {window}"
    return f"j > p ∨ ⌊j / {chunk}⌋ ≠ ⌊p / {chunk}⌋" if chunk else "j > p"


def _values(config: ModelConfig, spec: LayerSpec) -> str:
    return "v[j] = W_UV c[j]" if isinstance(spec.attention, LatentAttentionSpec) else _projected("v")(config, spec)


def _mixed(config: ModelConfig, spec: LayerSpec) -> str:
    return f"z[h] = Σ a[h, p, j] · {_value(spec.attention)}"


def _added(what: str, norm: NormSpec | None, spec: LayerSpec) -> str:
    """What attention or the MLP adds to the stream."""
    inner = what if norm is None else f"norm({what})"
    return f"Δ = {inner}" if spec.residual_scale == 1 else f"Δ = {_bracketed(inner)} · {spec.residual_scale:g}"


def _attn_out(config: ModelConfig, spec: LayerSpec) -> str:
    attention = spec.attention
    biased = attention.bias if isinstance(attention, LatentAttentionSpec) else attention.out_bias
    return _added(_map("W_O", "z", biased), spec.norm1_post, spec)


def _leaving(config: ModelConfig, spec: LayerSpec) -> str:
    return "x_post = x + Δ(attention) + Δ(MLP)" if spec.parallel else "x_post = x_mid + Δ(MLP)"


def _post(config: ModelConfig, spec: LayerSpec) -> str:
    return _activated(spec.mlp) if isinstance(spec.mlp, MLPSpec) else ""


def _pre(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MLPSpec)
    return f"g = {_map('W_gate', 'x', spec.mlp.bias)}" if spec.mlp.gated else _up(config, spec)


def _up(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MLPSpec)
    return f"u = {_map('W_up', 'x', spec.mlp.bias)}"


def _activated(spec: MLPSpec) -> str:
    if not spec.gated:
        return f"post = {spec.activation}(u)"
    if spec.activation == "clamped_swiglu":
        limit = f"{spec.limit:g}"
        return f"g = min(g, {limit}),  u = clamp(u, ±{limit}),  post = g · σ({spec.alpha:g} g) · (u + 1)"
    return f"post = {spec.activation}(g) · u"


_SHARES = {"softmax": "softmax", "sigmoid": "σ"}


def _router_logits(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return f"ℓ = {_map('W_router', 'x', spec.mlp.router_bias)}"


def _router_scores(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return f"s = {_SHARES[spec.mlp.score]}(ℓ)"


def _router_choice(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    choice = ("ℓ" if spec.mlp.score_chosen else "s") + (" + b" if spec.mlp.choice_bias else "")
    if spec.mlp.n_groups == 1:
        return f"r = {choice}"
    return f"r = {choice}, but −∞ outside the best {spec.mlp.top_groups} of {spec.mlp.n_groups} groups"


def _chosen(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return f"E = top-{spec.mlp.top_k} r"


def _expert_weights(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    taken = f"{_SHARES[spec.mlp.score]}(ℓ[E])" if spec.mlp.score_chosen else "s[E]"
    total = f"(Σ {taken} + ε)" if spec.mlp.renormalise_eps else f"Σ {taken}"
    scale = f"{spec.mlp.weight_scale:g} · " if spec.mlp.weight_scale != 1 else ""
    return f"w = {scale}{taken}" + (f" / {total}" if spec.mlp.renormalise else "")


def _routed(config: ModelConfig, spec: LayerSpec) -> str:
    inside = isinstance(spec.mlp, MoESpec) and spec.mlp.scale_input
    return f"routed = Σ {'expert_e(w[e] · x)' if inside else 'w[e] · expert_e(x)'},  e ∈ E"


def _shared(config: ModelConfig, spec: LayerSpec) -> str:
    gated = isinstance(spec.mlp, MoESpec) and spec.mlp.shared_gate
    return "shared = gate · MLP(x)" if gated else "shared = MLP(x)"


def _mlp_out(config: ModelConfig, spec: LayerSpec) -> str:
    if isinstance(spec.mlp, MLPSpec):
        return _added(_map("W_down", "post", spec.mlp.bias), spec.norm2_post, spec)
    return _added("routed" if spec.mlp.shared is None else "routed + shared", spec.norm2_post, spec)


def _of_expert(target: str, weight: str, source: str = "x") -> _OfLayer:
    """A map of one expert, which reads its input weighed already in some models."""

    def formula(config: ModelConfig, spec: LayerSpec) -> str:
        assert isinstance(spec.mlp, MoESpec)
        read = "(w[e] · x)" if source == "x" and spec.mlp.scale_input else source
        return f"{target} = {_map(f'{weight}[e]', read, spec.mlp.expert.bias)}"

    return formula


def _final_logits(config: ModelConfig, spec: object) -> str:
    inner = "logits" + (f" / {config.logits_divisor:g}" if config.logits_divisor != 1 else "")
    cap = config.logits_softcap
    return f"logits_final = {inner if cap is None else f'{cap:g} · tanh({inner} / {cap:g})'}"


def _embed_scaled(config: ModelConfig, spec: object) -> str:
    total = "W_E[t]" + (" + W_pos[p]" if config.learned_positions else "")
    return f"x = {total}" if config.embed_scale == 1 else f"x = {_bracketed(total)} · {config.embed_scale:.7g}"


_FORMULAS: dict[str, _Formula] = {
    "hook_tokens": "t[p]",
    "hook_embed": "W_E[t]",
    "hook_pos_embed": "W_pos[p]",
    "hook_embed_scaled": _embed_scaled,
    "hook_resid_pre": "x",
    "attn.hook_q": _projected("q"),
    "attn.hook_k": _projected("k"),
    "attn.hook_v": _values,
    "attn.hook_q_normed": _normed("q"),
    "attn.hook_k_normed": _normed("k"),
    "attn.hook_rot_q": "q = R(p) q",
    "attn.hook_rot_k": "k = R(p) k",
    "attn.hook_q_latent": _latent("c_q", "W_DQ"),
    "attn.hook_q_nope": _without_position,
    "attn.hook_kv_latent": _latent("c", "W_DKV"),
    "attn.hook_k_nope": "k[j] = W_UK c[j]",
    "kv.hook_append": "first position, how many, bytes",
    "kv.hook_k": _stored("k", "keys"),
    "kv.hook_v": _stored("v", "values"),
    "kv.hook_latent": "stored = (c[j], R(j) k[j]),  j ≤ p",
    "attn.hook_attn_scores": _scores,
    "attn.hook_sink": "sink = exp(sink[h]) / (Σ exp(s[p, ·]) + exp(sink[h]))",
    "attn.hook_pattern": _pattern,
    "attn.hook_z": _mixed,
    "attn.hook_result": "result[h] = W_O[h] z[h]",
    "hook_attn_out": _attn_out,
    "hook_resid_mid": "x_mid = x + Δ(attention)",
    "mlp.hook_pre": _pre,
    "mlp.hook_pre_linear": _up,
    "mlp.hook_post": _post,
    "mlp.hook_router_logits": _router_logits,
    "mlp.hook_router_scores": _router_scores,
    "mlp.hook_router_choice": _router_choice,
    "mlp.hook_expert_indices": _chosen,
    "mlp.hook_expert_weights": _expert_weights,
    "mlp.hook_routed_out": _routed,
    "mlp.hook_shared_gate": "gate = σ(w · x)",
    "mlp.hook_shared_out": _shared,
    "hook_mlp_out": _mlp_out,
    "hook_resid_post": _leaving,
    "hook_logits": "logits = W_U norm(x)",
    "hook_logits_final": _final_logits,
    "sampler.hook_penalised": "logits less penalties for tokens that occurred",
    "sampler.hook_tempered": "penalised / temperature",
    "sampler.hook_topk_mask": "among the k highest",
    "sampler.hook_topp_mask": "within the first p of the mass",
    "sampler.hook_minp_mask": "probability ≥ min-p · the highest",
    "sampler.hook_typicalp_mask": "among the most typical, p of the mass",
    "sampler.hook_probs": "softmax of what is kept",
    "sampler.hook_token": "drawn from the probabilities",
}


_OF_EXPERTS: dict[str, _Formula] = {
    "hook_pre": _of_expert("g", "W_gate"),
    "hook_pre_linear": _of_expert("u", "W_up"),
    "hook_post": lambda config, spec: _activated(spec.mlp.expert) if isinstance(spec.mlp, MoESpec) else "",
    "hook_out": _of_expert("expert_e(x)", "W_down", "post"),
}


def names_of(layer: int, points: Iterable[PointFacts], experts: Iterable[int]) -> list[str]:
    """Full names of a layer's points in the order of the pass, an expert's points for each of ``experts``."""
    names: list[str] = []
    folded = [point.name for point in points if point.name.startswith(ANY_EXPERT)]
    for point in points:
        if not point.name.startswith(ANY_EXPERT):
            names.append(full_name(layer, point.name))
        elif point.name == folded[0]:
            names += [full_name(layer, name.replace("*", str(e))) for e in experts for name in folded]
    return names
