"""The PyTorch that computes each hook point, as text made of the layer's spec. No torch here.

Statements, the last of which assigns the point's tensor. Names: a point by its own (``rot_q``, ``resid_mid``), a norm's
two by its place (``ln1_scale``, ``ln1_hat``), weights as W_Q, b_Q and so on, ``x`` what attention reads, ``y`` what the
MLP does. ``positions`` are those of the pass, ``key_positions`` those of the keys that the layer has. Casts and kernels
are left out; the figures are the pass's, as a test makes sure for every family.
"""

from __future__ import annotations

from collections.abc import Callable

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
from engine.questions import AttentionStage

_Code = str | Callable[[ModelConfig, LayerSpec], str]
Attention = AttentionSpec | LatentAttentionSpec


def point_code(name: str, config: ModelConfig, spec: LayerSpec | None) -> str:
    """The statements for a point; ``name`` as in PointFacts, ``spec`` of its layer. "" where nothing is computed."""
    place, _, leaf = name.rpartition(".")
    if leaf in ("hook_scale", "hook_normalized"):
        return _norm(place, leaf, config, spec)
    if place.startswith("rotary_emb"):
        return _table(leaf, config.ropes[place.removeprefix("rotary_emb.")])
    if name.startswith("mlp.experts."):
        found: _Code = _OF_EXPERTS.get(leaf, "")
    else:
        found = _CODE.get(name, "")
    return found if isinstance(found, str) else found(config, spec)  # type: ignore[arg-type]  # only layers have such


def _figure(value: float) -> str:
    return f"{value:.7g}"


def _lines(*lines: str) -> str:
    return "\n".join(filter(None, lines))


def _linear(x: str, weight: str, bias: str = "") -> str:
    """ "F.linear(x, W_Q, b_Q)"; the bias where there is one."""
    return f"F.linear({', '.join(filter(None, (x, weight, bias)))})"


# -- norms -------------------------------------------------------------------------------------------------------


def _norm(place: str, leaf: str, config: ModelConfig, spec: LayerSpec | None) -> str:
    """One of the two points of a norm."""
    kind, (source, before) = _norm_spec(place, config, spec), _norm_source(place, spec)
    name = _norm_name(place)
    centred = f"({source} - {source}.mean(-1, keepdim=True))" if kind.kind == "layer" else source
    if leaf == "hook_scale":
        return _lines(before, f"{name}_scale = ({centred}.pow(2).mean(-1, keepdim=True) + {kind.eps:g}).sqrt()")
    return _lines(before, f"{name}_hat = {centred} / {name}_scale")


def _norm_name(place: str) -> str:
    return place.removeprefix("attn.").removesuffix("_norm")


def _norm_spec(place: str, config: ModelConfig, spec: LayerSpec | None) -> NormSpec:
    found: NormSpec | None = config.final_norm
    if spec is not None:
        by_place = {"ln1": spec.norm1, "ln2": spec.norm2, "ln1_post": spec.norm1_post, "ln2_post": spec.norm2_post}
        attention = spec.attention
        inner = attention.latent_norm if isinstance(attention, LatentAttentionSpec) else attention.qk_norm
        found = by_place.get(place, inner)
    assert found is not None, "a norm that has points has a spec"
    return found


def _norm_source(place: str, spec: LayerSpec | None) -> tuple[str, str]:
    """What a norm reads, and the statements that it takes first."""
    if spec is None:
        return "resid_post", ""
    by_place: dict[str, Callable[[LayerSpec], tuple[str, str]]] = {
        "ln1": lambda spec: ("resid_pre", ""),
        "ln2": lambda spec: ("resid_pre" if spec.parallel else "resid_mid", ""),
        "ln1_post": lambda spec: ("attn", f"attn = {_written(spec.attention)}"),
        "ln2_post": lambda spec: ("mlp", f"mlp = {_of_mlp(spec.mlp)}"),
        "attn.q_norm": lambda spec: (_head_source("q", spec), ""),
        "attn.k_norm": lambda spec: (_head_source("k", spec), ""),
        "attn.q_latent_norm": lambda spec: ("q_down", _lines(_x(spec), f"q_down = {_latent_linear('W_DQ', spec)}")),
        "attn.kv_latent_norm": lambda spec: ("kv_down", _kv_down(spec)),
    }
    return by_place[place](spec)


def _head_source(which: str, spec: LayerSpec) -> str:
    assert isinstance(spec.attention, AttentionSpec)
    over = spec.attention.qk_norm_over
    return f"rot_{which}" if over == "rotated" else f"{which}.flatten(2)" if over == "all" else which


def _weighted(place: str, norm: NormSpec) -> str:
    """What a norm gives: its normalised input with its weight and bias."""
    text = f"{_norm_name(place)}_hat"
    if norm.weight:
        text += f" * ({norm.offset:g} + {place.removeprefix('attn.')}.weight)" if norm.offset else ""
        text += "" if norm.offset else f" * {place.removeprefix('attn.')}.weight"
    return text + (f" + {place.removeprefix('attn.')}.bias" if norm.bias else "")


def _x(spec: LayerSpec) -> str:
    """What attention reads."""
    return "x = resid_pre" if spec.norm1 is None else f"x = {_weighted('ln1', spec.norm1)}"


def _y(spec: LayerSpec) -> str:
    """What the MLP reads: side by side with attention and without a norm of its own the same as that."""
    if spec.norm2 is not None:
        return f"y = {_weighted('ln2', spec.norm2)}"
    if spec.parallel:
        return _x(spec).replace("x =", "y =", 1)
    return "y = resid_mid"


# -- queries, keys, values ---------------------------------------------------------------------------------------


def _projected(which: str) -> Callable[[ModelConfig, LayerSpec], str]:
    def code(config: ModelConfig, spec: LayerSpec) -> str:
        attention = spec.attention
        if isinstance(attention, LatentAttentionSpec):
            return _lines(_latent_parts(attention), f'{which} = torch.einsum("bkc,hvc->bkhv", latent, W_UV)')
        heads = attention.n_heads if which == "q" else attention.n_kv_heads
        bias = f"b_{which.upper()}" if attention.qkv_bias else ""
        text = f"{_linear('x', f'W_{which.upper()}', bias)}.unflatten(-1, ({heads}, {attention.d_head}))"
        clips = attention.clip is not None and (which == "v" or attention.qk_norm is None)
        return _lines(_x(spec), f"{which} = {text}" + (_clamped(attention) if clips else ""))

    return code


def _clamped(attention: AttentionSpec) -> str:
    return "" if attention.clip is None else f".clamp(-{attention.clip:g}, {attention.clip:g})"


def _normed(which: str) -> Callable[[ModelConfig, LayerSpec], str]:
    def code(config: ModelConfig, spec: LayerSpec) -> str:
        attention = spec.attention
        assert isinstance(attention, AttentionSpec)
        assert attention.qk_norm is not None
        text = _weighted(f"attn.{which}_norm", attention.qk_norm)
        shaped = f"({text}).view_as({which})" if attention.qk_norm_over == "all" else text
        clamp = _clamped(attention)
        return f"{which}_normed = " + (f"({shaped}){clamp}" if clamp else shaped)

    return code


def _turned(which: str) -> Callable[[ModelConfig, LayerSpec], str]:
    def code(config: ModelConfig, spec: LayerSpec) -> str:
        attention = spec.attention
        assert attention.rope is not None
        rope = config.ropes[attention.rope]
        if isinstance(attention, LatentAttentionSpec):
            before, source, width = _latent_turned(which, spec, attention)
        else:
            normed = attention.qk_norm is not None and attention.qk_norm_over != "rotated"
            before, source, width = "", f"{which}_normed" if normed else which, attention.d_head
        return _lines(before, _rotation(f"rot_{which}", source, rope, width))

    return code


def _rotation(target: str, source: str, rope: RopeSpec, width: int) -> str:
    """Pairs of entries turned; those beyond the rotary part stay."""
    dim, half = rope.dim, rope.dim // 2
    if rope.interleaved:
        tables, parts = "[:, None, ::2]", f"{source}[..., 0:{dim}:2], {source}[..., 1:{dim}:2]"
        turned = "torch.stack((a * c - b * s, b * c + a * s), dim=-1).flatten(-2)"
        turned = f"torch.cat(({turned}, {source}[..., {dim}:]), dim=-1)" if dim < width else turned
    else:
        tables, parts = f"[:, None, :{half}]", f"{source}[..., :{half}], {source}[..., {half}:{dim}]"
        rest = f", {source}[..., {dim}:]" if dim < width else ""
        turned = f"torch.cat((a * c - b * s, b * c + a * s{rest}), dim=-1)"
    return _lines(f"c, s = cos{tables}, sin{tables}", f"a, b = {parts}", f"{target} = {turned}")


def _table(leaf: str, rope: RopeSpec) -> str:
    """Cosines or sines of the angles of a pass."""
    what = leaf.removeprefix("hook_")
    both = "angles.repeat_interleave(2, dim=-1)" if rope.interleaved else "torch.cat((angles, angles), dim=-1)"
    factor = f" * {_figure(rope.attention_factor)}" if rope.attention_factor != 1 else ""
    return _lines("angles = positions[:, None] * inverse_frequencies", f"{what} = {both}.{what}(){factor}")


# -- latent attention --------------------------------------------------------------------------------------------


def _latent_linear(weight: str, spec: LayerSpec) -> str:
    assert isinstance(spec.attention, LatentAttentionSpec)
    return _linear("x", weight, f"b{weight[1:]}" if spec.attention.bias else "")


def _kv_down(spec: LayerSpec) -> str:
    attention = spec.attention
    assert isinstance(attention, LatentAttentionSpec)
    split = f".split(({attention.d_latent}, {attention.d_rope}), dim=-1)"
    return _lines(_x(spec), f"kv_down, k_down = {_latent_linear('W_DKV', spec)}{split}")


def _latent_heads(spec: LayerSpec, attention: LatentAttentionSpec) -> str:
    """The queries of latent attention, the part without position and the other."""
    source = "x" if attention.d_q_latent is None else "q_latent"
    sizes = f"({attention.n_heads}, {attention.d_head})"
    split = f".split(({attention.d_nope}, {attention.d_rope}), dim=-1)"
    before = _x(spec) if source == "x" else ""
    return _lines(before, f"q_nope, q_rope = {_linear(source, 'W_UQ')}.unflatten(-1, {sizes}){split}")


def _latent_turned(which: str, spec: LayerSpec, attention: LatentAttentionSpec) -> tuple[str, str, int]:
    if which == "q":
        return _latent_heads(spec, attention), "q_rope", attention.d_rope
    return _lines(_kv_down(spec), "k_rope = k_down[:, :, None]"), "k_rope", attention.d_rope


def _q_nope(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.attention, LatentAttentionSpec)
    return _latent_heads(spec, spec.attention).replace("q_nope, q_rope", "q_nope") + "[0]"


def _q_latent(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.attention, LatentAttentionSpec)
    return f"q_latent = {_weighted('attn.q_latent_norm', spec.attention.latent_norm)}"


def _kv_latent(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.attention, LatentAttentionSpec)
    return f"kv_latent = {_weighted('attn.kv_latent_norm', spec.attention.latent_norm)}"


def _latent_parts(attention: LatentAttentionSpec) -> str:
    return f"latent, shared_key = stored.split(({attention.d_latent}, {attention.d_rope}), dim=-1)"


def _k_nope(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.attention, LatentAttentionSpec)
    return _lines(_latent_parts(spec.attention), 'k_nope = torch.einsum("bkc,hdc->bkhd", latent, W_UK)')


# -- the cache ---------------------------------------------------------------------------------------------------


def _append(config: ModelConfig, spec: LayerSpec) -> str:
    if isinstance(spec.attention, LatentAttentionSpec):
        return "cache.append(layer, torch.cat((kv_latent, rot_k[:, :, 0]), dim=-1)[:, None])"
    return f"cache.append(layer, {_last_of('k', spec.attention)}.transpose(1, 2), v.transpose(1, 2))"


def _last_of(which: str, attention: AttentionSpec) -> str:
    """Queries or keys as scores take them, but for what grows with the position."""
    normed = [f"{which}_normed"] if attention.qk_norm is not None else []
    turned = [f"rot_{which}"] if attention.rope is not None else []
    order = [*turned, *normed] if attention.qk_norm_over == "rotated" else [*normed, *turned]
    return [which, *order][-1]


def _cached(which: str, kept: str) -> Callable[[ModelConfig, LayerSpec], str]:
    def code(config: ModelConfig, spec: LayerSpec) -> str:
        assert isinstance(spec.attention, AttentionSpec)
        new = _last_of("k", spec.attention) if which == "k" else "v"
        return f"{kept} = torch.cat((cached_{kept}, {new}), dim=1)"

    return code


# -- scores, pattern, mix ----------------------------------------------------------------------------------------


def _scores(config: ModelConfig, spec: LayerSpec) -> str:
    return _lines(_unmasked(spec.attention), *_mask(spec.attention))


def _unmasked(attention: Attention) -> str:
    """Scores before later positions are hidden."""
    before, product = _product(attention)
    product = f"({product})" if " + " in product else product
    lines = [before, f"scores = {product} * {_figure(attention.scale)}"]
    if isinstance(attention, AttentionSpec) and attention.alibi:
        lines.append("bias = (slopes[:, None, None] * key_positions).to(scores.dtype)")
        lines.append(f"scores = scores + bias * {_figure(attention.scale)}")
    if isinstance(attention, AttentionSpec) and attention.softcap is not None:
        lines.append(f"scores = {attention.softcap:g} * torch.tanh(scores / {attention.softcap:g})")
    return _lines(*lines)


def _product(attention: Attention) -> tuple[str, str]:
    """The statements that q · k takes first, and q · k: every query with every key of the head's KV head."""
    if isinstance(attention, LatentAttentionSpec):
        return _lines(*_latent_products(attention)), "by_content + by_position"
    q, before = _last_of("q", attention), ""
    if attention.temperature is not None:
        scale, floor = attention.temperature
        grown = f"1 + {scale:g} * torch.log1p(torch.floor((positions + 1) / {floor:g}))"
        before, q = f"q_grown = {q} * ({grown})[:, None, None]", "q_grown"
    return before, f'torch.einsum("bphd,bkhd->bhpk", {q}, {_by_query_head("keys", attention)})'


def _by_query_head(heads: str, attention: AttentionSpec) -> str:
    """What there is per KV head, once for each query head that reads it; its heads are dimension 2."""
    return f"{heads}.repeat_interleave({attention.group}, dim=2)" if attention.group > 1 else heads


def _latent_products(attention: LatentAttentionSpec) -> tuple[str, ...]:
    return (
        _latent_parts(attention),
        'q_absorbed = torch.einsum("bphd,hdc->bphc", q_nope, W_UK)',
        'by_content = torch.einsum("bphc,bkc->bhpk", q_absorbed, latent)',
        'by_position = torch.einsum("bphr,bkr->bhpk", rot_q, shared_key)',
    )


def _mask(attention: Attention) -> tuple[str, str]:
    seen = "key_positions <= positions[:, None]"
    if isinstance(attention, AttentionSpec) and attention.window:
        seen = f"({seen}) & (key_positions > positions[:, None] - {attention.window})"
    elif isinstance(attention, AttentionSpec) and attention.chunk:
        chunk = attention.chunk
        seen = f"({seen}) & (key_positions // {chunk} == positions[:, None] // {chunk})"
    return f"seen = {seen}", "scores = scores.masked_fill(~seen, -torch.inf)"


_WITH_SINK = (
    "column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)",
    "whole = torch.cat((scores, column), dim=-1).softmax(dim=-1)",
)


def _pattern(config: ModelConfig, spec: LayerSpec) -> str:
    if isinstance(spec.attention, AttentionSpec) and spec.attention.sinks:
        return _lines(*_WITH_SINK, "pattern = whole[..., :-1]")
    return "pattern = scores.softmax(dim=-1)"


def _z(config: ModelConfig, spec: LayerSpec) -> str:
    attention = spec.attention
    if isinstance(attention, LatentAttentionSpec):
        mixed = 'mixed = torch.einsum("bhpk,bkc->bphc", pattern, latent)'
        return _lines(_latent_parts(attention), mixed, 'z = torch.einsum("bphc,hvc->bphv", mixed, W_UV)')
    return f'z = torch.einsum("bhpk,bkhd->bphd", pattern, {_by_query_head("values", attention)})'


def attention_stage_codes(config: ModelConfig, spec: LayerSpec) -> dict[AttentionStage, str]:
    """The statements for what each stage of attention shows, in the names of points; the last gives
    ``[batch, n_heads, pos, key]``."""
    before, product = _product(spec.attention)
    scores = _scores(config, spec)
    return {
        "products": _lines(before, f"products = {product}"),
        "scaled": _unmasked(spec.attention),
        "masked": scores,
        "pattern": _lines(scores, _pattern(config, spec)),
        "contribution": _contribution(spec.attention),
    }


def _contribution(attention: Attention) -> str:
    """The share of a key times the L2 norm of the value that the head reads there."""
    if isinstance(attention, LatentAttentionSpec):
        made = 'values = torch.einsum("bkc,hvc->bkhv", latent, W_UV)'
        before, norms = _lines(_latent_parts(attention), made), "values.norm(dim=-1)"
    else:
        before, norms = "", _by_query_head("values.norm(dim=-1)", attention)
    return _lines(before, f"norms = {norms}", "contribution = pattern * norms.transpose(1, 2)[:, :, None]")


def _result(config: ModelConfig, spec: LayerSpec) -> str:
    attention = spec.attention
    width = attention.d_value if isinstance(attention, LatentAttentionSpec) else attention.d_head
    return f'result = torch.einsum("bphd,mhd->bphm", z, W_O.unflatten(1, ({attention.n_heads}, {width})))'


def _written(attention: Attention) -> str:
    biased = attention.bias if isinstance(attention, LatentAttentionSpec) else attention.out_bias
    return _linear("z.flatten(2)", "W_O", "b_O" if biased else "")


def _scaled(text: str, spec: LayerSpec) -> str:
    return text if spec.residual_scale == 1 else f"({text}) * {_figure(spec.residual_scale)}"


def _attn_out(config: ModelConfig, spec: LayerSpec) -> str:
    inner = _written(spec.attention) if spec.norm1_post is None else _weighted("ln1_post", spec.norm1_post)
    return f"attn_out = {_scaled(inner, spec)}"


# -- MLP and experts ---------------------------------------------------------------------------------------------

_ACTIVATIONS = {
    "silu": "F.silu({0})",
    "swish": "F.silu({0})",
    "gelu": "F.gelu({0})",
    "gelu_new": 'F.gelu({0}, approximate="tanh")',
    "gelu_fast": 'F.gelu({0}, approximate="tanh")',
    "gelu_pytorch_tanh": 'F.gelu({0}, approximate="tanh")',
    "relu": "F.relu({0})",
}


def _pre(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MLPSpec)
    bias = spec.mlp.bias
    if spec.mlp.gated:
        return _lines(_y(spec), f"gate = {_linear('y', 'W_gate', 'b_gate' if bias else '')}")
    return _lines(_y(spec), f"pre = {_linear('y', 'W_up', 'b_up' if bias else '')}")


def _up(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MLPSpec)
    return _lines(_y(spec), f"up = {_linear('y', 'W_up', 'b_up' if spec.mlp.bias else '')}")


def _post(config: ModelConfig, spec: LayerSpec) -> str:
    return _activated(spec.mlp) if isinstance(spec.mlp, MLPSpec) else ""


def _activated(spec: MLPSpec) -> str:
    if not spec.gated:
        return f"post = {_ACTIVATIONS[spec.activation].format('pre')}"
    if spec.activation != "clamped_swiglu":
        return f"post = {_ACTIVATIONS[spec.activation].format('gate')} * up"
    limit = f"{spec.limit:g}"
    clamped = f"g, u = gate.clamp(max={limit}), up.clamp(-{limit}, {limit})"
    return _lines(clamped, f"post = (u + 1) * g * torch.sigmoid({spec.alpha:g} * g)")


def _of_mlp(spec: MLPSpec | MoESpec) -> str:
    """What the MLP gives before a norm behind it."""
    if isinstance(spec, MLPSpec):
        return _linear("post", "W_down", "b_down" if spec.bias else "")
    return "routed_out" if spec.shared is None else "routed_out + shared_out"


def _mlp_out(config: ModelConfig, spec: LayerSpec) -> str:
    inner = _of_mlp(spec.mlp) if spec.norm2_post is None else _weighted("ln2_post", spec.norm2_post)
    return f"mlp_out = {_scaled(inner, spec)}"


def _moe(of: Callable[[MoESpec], str]) -> Callable[[ModelConfig, LayerSpec], str]:
    """Code of a layer's experts alone."""

    def code(config: ModelConfig, spec: LayerSpec) -> str:
        assert isinstance(spec.mlp, MoESpec)
        return of(spec.mlp)

    return code


def _router_logits(config: ModelConfig, spec: LayerSpec) -> str:
    assert isinstance(spec.mlp, MoESpec)
    return _lines(_y(spec), f"router_logits = {_linear('y', 'W_router', 'b_router' if spec.mlp.router_bias else '')}")


def _share(spec: MoESpec, logits: str) -> str:
    return f"{logits}.sigmoid()" if spec.score == "sigmoid" else f"{logits}.softmax(dim=-1)"


def _choice(spec: MoESpec) -> str:
    by = "router_logits" if spec.score_chosen else "router_scores"
    first = f"router_choice = {by}" + (" + choice_bias" if spec.choice_bias else "")
    if spec.n_groups == 1:
        return first
    best = "groups.amax(-1)" if spec.group_score == "max" else "groups.topk(2, dim=-1).values.sum(-1)"
    return _lines(
        first,
        f"groups = router_choice.unflatten(-1, ({spec.n_groups}, -1))",
        f"best = {best}",
        f"barred = torch.ones_like(best).scatter(-1, best.topk({spec.top_groups}, dim=-1).indices, 0).bool()",
        "router_choice = groups.masked_fill(barred[..., None], -torch.inf).flatten(-2)",
    )


def _weights(spec: MoESpec) -> str:
    chosen = "router_logits" if spec.score_chosen else "router_scores"
    taken = f"{chosen}.gather(-1, expert_indices)"
    lines = [f"expert_weights = {_share(spec, taken) if spec.score_chosen else taken}"]
    if spec.renormalise:
        eps = f" + {spec.renormalise_eps:g}" if spec.renormalise_eps else ""
        total = f"(expert_weights.sum(-1, keepdim=True){eps})" if eps else "expert_weights.sum(-1, keepdim=True)"
        lines.append(f"expert_weights = expert_weights / {total}")
    if spec.weight_scale != 1:
        lines.append(f"expert_weights = expert_weights * {spec.weight_scale:g}")
    return _lines(*lines)


def _routed(spec: MoESpec) -> str:
    weight = "expert_weights[expert_indices == e][:, None]"
    given = f"expert(e, {weight} * y[who])" if spec.scale_input else f"{weight} * expert(e, y[who])"
    return _lines(
        "routed_out = torch.zeros_like(y)",
        "for e in expert_indices.unique():",
        "    who = (expert_indices == e).any(-1)",
        f"    routed_out[who] += {given}",
    )


def _rows(spec: MoESpec) -> str:
    """What an expert reads: the positions that chose it."""
    rows = "rows = y[(expert_indices == e).any(-1)]"
    return f"{rows} * expert_weights[expert_indices == e][:, None]" if spec.scale_input else rows


def _of_expert(target: str, weight: str, source: str = "rows") -> Callable[[ModelConfig, LayerSpec], str]:
    def code(config: ModelConfig, spec: LayerSpec) -> str:
        assert isinstance(spec.mlp, MoESpec)
        bias = f"b{weight[1:]}[e]" if spec.mlp.expert.bias else ""
        before = _lines(_y(spec), _rows(spec.mlp)) if source == "rows" else ""
        return _lines(before, f"{target} = {_linear(source, f'{weight}[e]', bias)}")

    return code


# -- around the layers -------------------------------------------------------------------------------------------


def _embed_scaled(config: ModelConfig, spec: object) -> str:
    total = "embed + pos_embed" if config.learned_positions else "embed"
    if config.embed_scale == 1:
        return f"x = {total}"
    return f"x = {f'({total})' if ' ' in total else total} * {_figure(config.embed_scale)}"


def _logits(config: ModelConfig, spec: object) -> str:
    return f"logits = {_linear(_weighted('ln_final', config.final_norm), 'W_U')}"


def _final_logits(config: ModelConfig, spec: object) -> str:
    divided = "logits" + (f" / {config.logits_divisor:g}" if config.logits_divisor != 1 else "")
    cap = config.logits_softcap
    return f"logits_final = {divided if cap is None else f'{cap:g} * torch.tanh({divided} / {cap:g})'}"


def _leaving(config: ModelConfig, spec: LayerSpec) -> str:
    return f"resid_post = {'resid_pre + attn_out' if spec.parallel else 'resid_mid'} + mlp_out"


# -- sampling ----------------------------------------------------------------------------------------------------

_CUT = "logits = logits.masked_fill(~keep, -torch.inf)"
SAMPLING_CODE: dict[str, str] = {
    "repetition": _lines(
        "ids = torch.tensor(prompt + output).unique()",
        "seen = logits[ids]",
        "logits[ids] = torch.where(seen < 0, seen * repetition_penalty, seen / repetition_penalty)",
    ),
    "presence": "logits[torch.tensor(output).unique()] -= presence_penalty",
    "frequency": _lines(
        "ids, counts = torch.tensor(output).unique(return_counts=True)",
        "logits[ids] -= frequency_penalty * counts",
    ),
    "temperature": "logits = logits / temperature",
    "top-k": _lines("keep = logits >= logits.topk(top_k).values[-1]", _CUT),
    "top-p": _lines(
        "rising, ids = logits.sort()",
        "cut = rising.softmax(0).cumsum(0) <= 1 - top_p",
        "cut[-1] = False",
        "keep = torch.empty_like(cut).scatter(0, ids, ~cut)",
        _CUT,
    ),
    "min-p": _lines("p = logits.softmax(0)", "keep = p >= min_p * p.max()", _CUT),
    "typical-p": _lines(
        "log_p = logits.log_softmax(0)",
        "entropy = -(log_p.exp() * log_p).nansum()",
        "order = (-log_p - entropy).abs().argsort()",
        "before = log_p.exp()[order].cumsum(0) - log_p.exp()[order]",
        "keep = torch.zeros_like(logits, dtype=torch.bool).scatter(0, order, before < typical_p)",
        _CUT,
    ),
    "greedy": "token = logits.argmax()",
}
"""What each stage of sampling does to ``logits`` [d_vocab], by its name. The settings are those of Sampling. That the
engine decides ties at the edge of top-p by id is left out."""

_PROBS = "probs = logits.double().softmax(0)"
_DRAWN = _lines(
    "falling, ids = probs.sort(descending=True, stable=True)",
    "token = ids[(falling.cumsum(0) <= draw_number(seed, position)).sum()]",
)


def _without_cut(stage: str) -> str:
    return SAMPLING_CODE[stage].removesuffix(f"\n{_CUT}")


_CODE: dict[str, _Code] = {
    "hook_tokens": "tokens = input_ids",
    "hook_embed": "embed = W_E[tokens]",
    "hook_pos_embed": "pos_embed = W_pos[positions][None]",
    "hook_embed_scaled": _embed_scaled,
    "hook_resid_pre": "resid_pre = x",
    "attn.hook_q": _projected("q"),
    "attn.hook_k": _projected("k"),
    "attn.hook_v": _projected("v"),
    "attn.hook_q_normed": _normed("q"),
    "attn.hook_k_normed": _normed("k"),
    "attn.hook_rot_q": _turned("q"),
    "attn.hook_rot_k": _turned("k"),
    "attn.hook_q_latent": _q_latent,
    "attn.hook_q_nope": _q_nope,
    "attn.hook_kv_latent": _kv_latent,
    "attn.hook_k_nope": _k_nope,
    "kv.hook_append": _append,
    "kv.hook_k": _cached("k", "keys"),
    "kv.hook_v": _cached("v", "values"),
    "kv.hook_latent": "stored = torch.cat((cached, torch.cat((kv_latent, rot_k[:, :, 0]), dim=-1)), dim=1)",
    "attn.hook_attn_scores": _scores,
    "attn.hook_sink": _lines(*_WITH_SINK, "sink = whole[..., -1]"),
    "attn.hook_pattern": _pattern,
    "attn.hook_z": _z,
    "attn.hook_result": _result,
    "hook_attn_out": _attn_out,
    "hook_resid_mid": "resid_mid = resid_pre + attn_out",
    "mlp.hook_pre": _pre,
    "mlp.hook_pre_linear": _up,
    "mlp.hook_post": _post,
    "mlp.hook_router_logits": _router_logits,
    "mlp.hook_router_scores": _moe(lambda spec: f"router_scores = {_share(spec, 'router_logits')}"),
    "mlp.hook_router_choice": _moe(_choice),
    "mlp.hook_expert_indices": _moe(lambda spec: f"expert_indices = router_choice.topk({spec.top_k}, dim=-1).indices"),
    "mlp.hook_expert_weights": _moe(_weights),
    "mlp.hook_routed_out": _moe(_routed),
    "mlp.hook_shared_gate": "shared_gate = F.linear(y, W_shared_gate).sigmoid()",
    "mlp.hook_shared_out": _moe(lambda spec: "shared_out = shared(y)" + (" * shared_gate" if spec.shared_gate else "")),
    "hook_mlp_out": _mlp_out,
    "hook_resid_post": _leaving,
    "hook_logits": _logits,
    "hook_logits_final": _final_logits,
    "sampler.hook_penalised": _lines(*(SAMPLING_CODE[stage] for stage in ("repetition", "presence", "frequency"))),
    "sampler.hook_tempered": SAMPLING_CODE["temperature"],
    "sampler.hook_topk_mask": _without_cut("top-k"),
    "sampler.hook_topp_mask": _without_cut("top-p"),
    "sampler.hook_minp_mask": _without_cut("min-p"),
    "sampler.hook_typicalp_mask": _without_cut("typical-p"),
    "sampler.hook_probs": _PROBS,
    "sampler.hook_token": _DRAWN,
}

_OF_EXPERTS: dict[str, _Code] = {
    "hook_pre": _of_expert("gate", "W_gate"),
    "hook_pre_linear": _of_expert("up", "W_up"),
    "hook_post": _moe(lambda spec: _activated(spec.expert)),
    "hook_out": _of_expert("out", "W_down", "post"),
}
