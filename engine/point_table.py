"""What a panel needs to know about every hook point of a model: its group, sizes, kind and formula. No torch here.

Which points there are, their shapes and meanings come from ``engine.hooks``; here is only what that table leaves out.
A formula is written for people: x what is read, p the position of the query, j that of a key, h a head, e an expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from engine.config import AttentionSpec, LatentAttentionSpec, LayerSpec, MLPSpec, ModelConfig, MoESpec, NormSpec
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

_Formula = str | Callable[[ModelConfig, LayerSpec], str]


def _formula(name: str, config: ModelConfig, spec: LayerSpec | None) -> str:
    """The formula of a point: a norm's by its spec, a text, or a text made of the layer's spec."""
    place, _, leaf = name.rpartition(".")
    if leaf in ("hook_scale", "hook_normalized"):
        return _norm_formula(leaf, _norm_of(place, config, spec))
    key = leaf if name.startswith(ANY_EXPERT) or name.startswith("rotary_emb.") else name
    found = (_OF_EXPERTS if name.startswith(ANY_EXPERT) else _FORMULAS).get(key, "")
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


def _scores(config: ModelConfig, spec: LayerSpec) -> str:
    attention = spec.attention
    formula = "s[p, j] = (q[p] · k[j]) · scale"
    if isinstance(attention, LatentAttentionSpec):
        return formula
    if attention.alibi:  # the same for softmax as slope · (j − p), since p is one number a row
        formula = "s[p, j] = (q[p] · k[j] + slope[h] · j) · scale"
    cap, inner = attention.softcap, formula.removeprefix("s[p, j] = ")
    return formula if cap is None else f"s[p, j] = {cap:g} · tanh({inner} / {cap:g})"


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
        "products": "d[p, j] = q[p] · k[j]",
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
    return "v[j] = W_UV c[j]" if isinstance(spec.attention, LatentAttentionSpec) else "v = W_V x"


def _added(what: str, norm: str) -> Callable[[ModelConfig, LayerSpec], str]:
    def formula(config: ModelConfig, spec: LayerSpec) -> str:
        inner = f"norm({what})" if getattr(spec, norm) is not None else what
        return f"Δ = {inner}" + (f" · {spec.residual_scale:g}" if spec.residual_scale != 1 else "")

    return formula


def _leaving(config: ModelConfig, spec: LayerSpec) -> str:
    return "x_post = x + Δ(attention) + Δ(MLP)" if spec.parallel else "x_post = x_mid + Δ(MLP)"


def _post(config: ModelConfig, spec: LayerSpec) -> str:
    return _activated(spec.mlp) if isinstance(spec.mlp, MLPSpec) else ""


def _pre(config: ModelConfig, spec: LayerSpec) -> str:
    return "g = W_gate x" if isinstance(spec.mlp, MLPSpec) and spec.mlp.gated else "u = W_up x"


def _activated(spec: MLPSpec) -> str:
    if not spec.gated:
        return f"post = {spec.activation}(u)"
    if spec.activation == "clamped_swiglu":
        return f"post = g · σ({spec.alpha:g} g) · (u + 1), g and u clamped at {spec.limit:g}"
    return f"post = {spec.activation}(g) · u"


_SHARES = {"softmax": "softmax", "sigmoid": "σ"}


def _router_scores(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return f"s = {_SHARES[spec.mlp.score]}(ℓ)"


def _router_choice(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return f"r = {'ℓ' if spec.mlp.score_chosen else 's'}" + (" + b" if spec.mlp.choice_bias else "")


def _chosen(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return f"E = top-{spec.mlp.top_k} r"


def _expert_weights(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    taken = f"{_SHARES[spec.mlp.score]}(ℓ[E])" if spec.mlp.score_chosen else "s[E]"
    formula = f"w = {taken}" + (f" / Σ {taken}" if spec.mlp.renormalise else "")
    return formula + (f" · {spec.mlp.weight_scale:g}" if spec.mlp.weight_scale != 1 else "")


def _routed(config: ModelConfig, spec: LayerSpec) -> str:
    inside = isinstance(spec.mlp, MoESpec) and spec.mlp.scale_input
    return f"routed = Σ {'expert_e(w[e] · x)' if inside else 'w[e] · expert_e(x)'},  e ∈ E"


def _shared(config: ModelConfig, spec: LayerSpec) -> str:
    gated = isinstance(spec.mlp, MoESpec) and spec.mlp.shared_gate
    return "shared = gate · MLP(x)" if gated else "shared = MLP(x)"


def _mlp_out(config: ModelConfig, spec: LayerSpec) -> str:
    if isinstance(spec.mlp, MLPSpec):
        return _added("W_down post", "norm2_post")(config, spec)
    return _added("routed + shared" if spec.mlp.shared is not None else "routed", "norm2_post")(config, spec)


def _final_logits(config: ModelConfig, spec: object) -> str:
    inner = "logits" + (f" / {config.logits_divisor:g}" if config.logits_divisor != 1 else "")
    cap = config.logits_softcap
    return f"logits_final = {inner if cap is None else f'{cap:g} · tanh({inner} / {cap:g})'}"


def _embed_scaled(config: ModelConfig, spec: object) -> str:
    total = "W_E[t]" + (" + W_pos[p]" if config.learned_positions else "")
    return f"x = {total}" if config.embed_scale == 1 else f"x = ({total}) · {config.embed_scale:.7g}"


_FORMULAS: dict[str, _Formula] = {
    "hook_tokens": "t[p]",
    "hook_embed": "W_E[t]",
    "hook_pos_embed": "W_pos[p]",
    "hook_embed_scaled": _embed_scaled,
    "hook_cos": "cos(p · θ_i)",
    "hook_sin": "sin(p · θ_i)",
    "hook_resid_pre": "x",
    "attn.hook_q": "q = W_Q x",
    "attn.hook_k": "k = W_K x",
    "attn.hook_v": _values,
    "attn.hook_q_normed": "q = norm(q)",
    "attn.hook_k_normed": "k = norm(k)",
    "attn.hook_rot_q": "q = R(p) q",
    "attn.hook_rot_k": "k = R(p) k",
    "attn.hook_q_latent": "norm(W_DQ x)",
    "attn.hook_q_nope": "q = W_UQ c, without position",
    "attn.hook_kv_latent": "c = norm(W_DKV x)",
    "attn.hook_k_nope": "k[j] = W_UK c[j]",
    "kv.hook_append": "first position, how many, bytes",
    "kv.hook_k": "keys = k[0 … p]",
    "kv.hook_v": "values = v[0 … p]",
    "kv.hook_latent": "stored = (c[j], R(j) k[j]),  j ≤ p",
    "attn.hook_attn_scores": _scores,
    "attn.hook_sink": "sink = exp(sink[h]) / (Σ exp(s[p, ·]) + exp(sink[h]))",
    "attn.hook_pattern": _pattern,
    "attn.hook_z": "z[h] = Σ a[p, j] · v[j]",
    "attn.hook_result": "result[h] = W_O[h] z[h]",
    "hook_attn_out": _added("W_O z", "norm1_post"),
    "hook_resid_mid": "x_mid = x + Δ(attention)",
    "mlp.hook_pre": _pre,
    "mlp.hook_pre_linear": "u = W_up x",
    "mlp.hook_post": _post,
    "mlp.hook_router_logits": "ℓ = W_router x",
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
    "hook_pre": "g = W_gate[e] x",
    "hook_pre_linear": "u = W_up[e] x",
    "hook_post": lambda config, spec: _activated(spec.mlp.expert) if isinstance(spec.mlp, MoESpec) else "",
    "hook_out": "expert_e(x) = W_down[e] post",
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
