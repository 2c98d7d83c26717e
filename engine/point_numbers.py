"""One figure of a hook point worked out with this run's numbers: what it is made of, term by term, and what comes out.

The tensors that go in are those of the pass (replayed by its own code, edits included); the arithmetic is done again
here, in float64 and by the formula as it is written down, not by the pass's kernels. So the outcome is a check of the
pass, too: it differs from the pass's figure by no more than that one's rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine import questions as ask
from engine.config import AttentionSpec, LatentAttentionSpec, LayerSpec, MLPSpec, MoESpec, NormSpec
from engine.errors import EngineError
from engine.frames import PointFacts, Term, Worked
from engine.gate import Answering
from engine.model.mask import alibi_bias
from engine.point_answers import seen_from
from engine.point_links import RESID_MID, RESID_POST, RESID_PRE, queries_made
from engine.point_table import expert_of, full_name, of_any_expert, point_facts, split_name
from engine.replay import known, replay
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

_MOST_TERMS = 5
_ROWS_AT_ONCE = 256


@torch.inference_mode()
def worked(session: Session, question: ask.AskWorked) -> Answering:
    """A figure worked out, or a sentence that says why not."""
    yield from ()
    position = session.newest if question.position is None else question.position
    try:
        return _worked(session, question.name, position, question.place)
    except EngineError as error:
        return _none(question.name, position, question.place, str(error))


def _worked(session: Session, name: str, position: int, place: tuple[int, ...]) -> Worked:
    facts = point_facts(session.loaded.config, name)
    if position >= known(session, name):
        raise EngineError(f"{name} has not been computed at position {position} yet.")
    recipe = _RECIPES.get(of_any_expert(split_name(name)[1])) or _RECIPES.get(facts.name.rpartition(".")[2])
    if recipe is None:
        raise EngineError(f"{name} is no figure that is worked out of others by a formula.")
    at = At(session, facts, name, position, place)
    work = recipe(at)
    terms, rest = work.strongest()
    value = at.value()
    steps = tuple((text, float(outcome)) for text, outcome in work.steps)
    replaced = bool(session.trace.edits(position).get(name))
    where = (name, position, place, value)
    return Worked(*where, work.kind, terms, work.count, rest, work.outcome(), steps, replaced)


def _none(name: str, position: int, place: tuple[int, ...], sentence: str) -> Worked:
    nan = float("nan")
    return Worked(name, position, place, nan, "sum", (), 0, 0.0, nan, (), sentence=sentence)


# -- terms -------------------------------------------------------------------------------------------------------


class Work:
    """Terms of a sum, a product or a quotient, each a product itself; then what is done with the outcome."""

    def __init__(self, kind: str, names: Callable[[int], str], *factors: Tensor) -> None:
        self.kind: Any = kind
        self._names, self._factors = names, torch.stack([factor.double().flatten() for factor in factors])
        self.count = self._factors.shape[1]
        self.steps: list[tuple[str, float]] = []

    def outcome(self) -> float:
        """Of the terms, before any step."""
        values = self._factors.prod(0)
        if self.kind == "sum":
            return float(values.sum())
        return float(values[0] / values[1]) if self.kind == "quotient" else float(values.prod())

    def latest(self) -> float:
        return self.steps[-1][1] if self.steps else self.outcome()

    def then(self, text: str, what: Callable[[float], float], *, when: bool = True) -> Work:
        """Do something with the outcome so far; ``text`` says what, "·" standing for the outcome."""
        if when:
            self.steps.append((text, what(self.latest())))
        return self

    def strongest(self) -> tuple[tuple[Term, ...], float]:
        """The terms, of many those of the largest magnitude, and the sum of the others."""
        values, kept = self._factors.prod(0), list(range(self.count))
        if self.count > _MOST_TERMS:
            kept = values.abs().topk(_MOST_TERMS).indices.tolist()
        rest = float(values.sum() - values[kept].sum()) if self.count > _MOST_TERMS else 0.0
        factors = self._factors[:, kept].T.tolist()
        return tuple(Term(self._names(i), tuple(row)) for i, row in zip(kept, factors, strict=True)), rest


def _of(kind: str, terms: Sequence[tuple[str, float]]) -> Work:
    values = torch.tensor([value for _, value in terms], dtype=torch.float64)
    return Work(kind, lambda i: terms[i][0], values)


def _dot(left: Tensor, right: Tensor, name: Callable[[int], str], bias: Tensor | None = None) -> Work:
    """Σ left · right + bias."""
    count = left.numel()
    if bias is not None:
        one = torch.ones(1, dtype=torch.float64, device=left.device)
        left, right = torch.cat((left.double(), bias.double().view(1))), torch.cat((right.double(), one))
    return Work("sum", lambda i: name(i) if i < count else "bias", left, right)


# -- what goes in ------------------------------------------------------------------------------------------------


class At:
    """A place in the tensor of a point at a position, and the tensors that are there beside it."""

    def __init__(self, session: Session, facts: PointFacts, name: str, position: int, place: tuple[int, ...]) -> None:
        self.session, self.facts, self.name, self.position, self.place = session, facts, name, position, place
        self.config, self.model = session.loaded.config, session.loaded.model
        self.number, self.inner = split_name(name)
        self.expert = expert_of(self.inner)
        self.points = tuple(point for point in self.model.points if point.startswith(full_name(self.number or 0, "")))
        self._kept: dict[str, Tensor] = {}
        self._check()

    def _check(self) -> None:
        tensor = self.full(self.name)
        sizes = tensor.shape
        at = self._shown()
        if len(at) != len(sizes) or not all(0 <= entry < size for entry, size in zip(at, sizes, strict=True)):
            raise EngineError(f"{self.name} has no entry at {list(self.place)}; it is {list(sizes)} at a position.")

    @property
    def layer(self) -> int:
        assert self.number is not None
        return self.number

    @property
    def spec(self) -> LayerSpec:
        return self.config.layers[self.layer]

    @property
    def block(self) -> Any:
        return self.model.layers[self.layer]

    @property
    def attention(self) -> AttentionSpec:
        assert isinstance(self.spec.attention, AttentionSpec)
        return self.spec.attention

    def has(self, inner: str) -> bool:
        """Whether this layer has such a point."""
        return full_name(self.layer, inner) in self.model.points

    def order(self) -> tuple[str, ...]:
        """The layer's points in the order of the pass, without ``blocks.N.``."""
        return tuple(split_name(name)[1] for name in self.points)

    def of(self, inner: str) -> Tensor:
        """Another point of the same layer at the same position, without batch and position."""
        return self.full(full_name(self.layer, inner))

    def full(self, name: str) -> Tensor:
        """A point at the position in float64, without batch and position; keys from the first that is seen."""
        self.take(name)
        return self._kept[name]

    def take(self, *names: str) -> None:
        """Replay what is wanted together at once."""
        wanted = [name for name in names if name not in self._kept]
        if wanted:
            made = replay(self.session, wanted, self.position, self.position + 1)
            self._kept |= {
                name: seen_from(self.config, name, tensor, self.position)[1].double() for name, tensor in made.items()
            }

    def then(self, name: str, position: int) -> Tensor:
        """A point without keys at another position."""
        return replay(self.session, [name], position, position + 1)[name][0, 0].double()

    def first(self, layer: int) -> int:
        """The first key that the position sees in a layer."""
        return int(self.config.layers[layer].attention.first_seen(self.position))

    def _shown(self) -> tuple[int, ...]:
        """The place in what ``full`` gives."""
        shape = self.facts.shape
        axes = [symbol for symbol in shape if symbol not in ("batch", "pos", "routed")]
        axes = axes[1:] if shape[:2] == ("1", "pos") else axes
        return tuple(
            entry - self.first(self.layer) if symbol == "key" else entry
            for symbol, entry in zip(axes, self.place, strict=False)
        )

    def value(self) -> float:
        """What stands there."""
        return float(to_host({"value": self.full(self.name)[self._shown()]})["value"])

    def key(self) -> int:
        """Which of the keys that are seen the place's last axis means."""
        return self.place[-1] - self.first(self.layer)

    # what the branches read: the stream, or what a norm made of it with its weight

    def normed(self, place: str, norm: Any) -> Tensor:
        return _weighted(self.of(f"{place}.hook_normalized"), norm)

    def attention_input(self) -> Tensor:
        return self.of(RESID_PRE) if self.block.ln1 is None else self.normed("ln1", self.block.ln1)

    def mlp_input(self) -> Tensor:
        if self.block.ln2 is not None:
            return self.normed("ln2", self.block.ln2)
        return self.attention_input() if self.spec.parallel else self.of(RESID_MID)


def _weighted(normalized: Tensor, norm: Any) -> Tensor:
    """x̂ · (weight + offset) + bias."""
    weight = 1.0 if norm.weight is None else norm.weight.double() + norm.spec.offset
    return normalized * weight + (0.0 if norm.bias is None else norm.bias.double())


# -- before and behind the layers ----------------------------------------------------------------------------------


def _token(at: At) -> int:
    return int(at.session.ids(at.position, at.position + 1)[0, 0])


def _embed(at: At) -> Work:
    (i,), token = at.place, _token(at)
    return _of("sum", [(f"W_E[{token}, {i}]", float(at.model.embed.weight[token, i]))])


def _pos_embed(at: At) -> Work:
    (i,) = at.place
    return _of("sum", [(f"W_pos[{at.position}, {i}]", float(at.model.pos_embed.weight[at.position, i]))])


def _embed_scaled(at: At) -> Work:
    (i,) = at.place
    terms = [("W_E[t]", float(at.full("hook_embed")[i]))]
    if at.config.learned_positions:
        terms.append(("W_pos[p]", float(at.full("hook_pos_embed")[i])))
    scale = at.config.embed_scale
    if at.config.embed_scale_rounded:
        scale = float(torch.tensor(scale, dtype=at.model.embed.weight.dtype))
    return _of("sum", terms).then(f"· × {scale:.7g}", lambda x: x * scale, when=scale != 1)


def _logits(at: At) -> Work:
    (token,) = at.place
    x = _weighted(at.full("ln_final.hook_normalized"), at.model.ln_final)
    weight = at.model.embed.weight if at.model.unembed is None else at.model.unembed.weight
    return _dot(weight[token].double(), x, lambda i: f"W_U[{token}, {i}] x[{i}]")


def _logits_final(at: At) -> Work:
    work = _of("sum", [("logit", float(at.full("hook_logits")[at.place]))])
    divisor, cap = at.config.logits_divisor, at.config.logits_softcap
    work.then(f"· / {divisor:g}", lambda x: x / divisor, when=divisor != 1)
    return work.then(f"{cap} · tanh(· / {cap})", lambda x: _capped(x, cap), when=cap is not None)


def _capped(x: float, cap: float | None) -> float:
    return x if cap is None else cap * math.tanh(x / cap)


def _tempered(at: At) -> Work:
    spans, settings = at.session.trace.spans, at.session.settings
    index = sum(end <= at.position for _, end in spans)
    used = settings[index] if index < len(settings) else at.session.sampling
    work = _of("sum", [("penalised", float(at.full("sampler.hook_penalised")[at.place]))])
    heat = 1.0 if used.temperature == 0 or used.greedy else used.temperature
    return work.then(f"· / {heat:.6g}", lambda x: x / heat, when=heat != 1)


def _probs(at: At) -> Work:
    masks = [f"sampler.hook_{mask}_mask" for mask in ("topk", "topp", "minp", "typicalp")]
    at.take("sampler.hook_tempered", *masks)
    logits = at.full("sampler.hook_tempered").clone()
    for mask in masks:
        logits[at.full(mask) == 0] = -math.inf
    return _share(logits, at.place[-1], "ℓ")


# -- norms -------------------------------------------------------------------------------------------------------


def _norm_at(at: At) -> tuple[NormSpec, Tensor]:
    """The norm of a place, and what it reads."""
    place = at.inner.rpartition(".")[0]
    if place == "ln_final":
        return at.config.final_norm, at.full(full_name(at.config.n_layers - 1, RESID_POST))
    block, spec = at.block, at.spec
    entering = RESID_PRE if spec.parallel else RESID_MID
    read: dict[str, Callable[[], Tensor]] = {
        "ln1": lambda: at.of(RESID_PRE),
        "ln2": lambda: at.of(entering),
        "ln1_post": lambda: _heads_written(at),
        "ln2_post": lambda: _mlp_given(at),
        "attn.q_norm": lambda: _before_norm(at, "q"),
        "attn.k_norm": lambda: _before_norm(at, "k"),
        "attn.q_latent_norm": lambda: _linear(block.attn.q_down, at.attention_input()),
        "attn.kv_latent_norm": lambda: _linear(block.attn.kv_down, at.attention_input())[: spec.attention.d_latent],  # type: ignore[union-attr]  # only latent attention has such a point
    }
    norm = {"ln1": block.ln1, "ln2": block.ln2, "ln1_post": block.ln1_post, "ln2_post": block.ln2_post}.get(place)
    found = norm.spec if norm is not None else getattr(block.attn, place.removeprefix("attn.")).spec
    return found, read[place]()


def _before_norm(at: At, which: str) -> Tensor:
    """Queries or keys before their norm: of the head of the place, or of all."""
    made = queries_made(at.order(), which)
    heads = at.of(made[made.index(f"attn.hook_{which}_normed") - 1])
    return heads.flatten() if at.attention.qk_norm_over == "all" else heads[at.place[0]]


def _centred(spec: NormSpec, x: Tensor) -> tuple[Tensor, str]:
    return (x, "x") if spec.kind == "rms" else (x - x.mean(), "(x − mean(x))")


def _scale(at: At) -> Work:
    spec, x = _norm_at(at)
    centred, name = _centred(spec, x)
    return _of("sum", [(f"mean({name}²)", float(centred.pow(2).mean())), ("ε", spec.eps)]).then("√·", math.sqrt)


def _normalized(at: At) -> Work:
    spec, x = _norm_at(at)
    centred, name = _centred(spec, x)
    i = at.place[-1]
    scale = at.full(at.name.removesuffix("normalized") + "scale")
    s = scale[at.place[0]] if scale.dim() > 1 else scale
    return _of("quotient", [(f"{name}[{i}]", float(centred[i])), ("s", float(s))])


# -- attention ---------------------------------------------------------------------------------------------------


def _linear(linear: Any, x: Tensor) -> Tensor:
    """All figures of a linear map; some rows at a time, so that no whole weight stands in float64."""
    made = torch.cat([rows.double() @ x for rows in linear.weight.split(_ROWS_AT_ONCE)])
    return made if linear.bias is None else made + linear.bias.double()


def _row(weight: Tensor, bias: Tensor | None, row: int, x: Tensor, name: str) -> Work:
    """One figure of a linear map."""
    return _dot(weight[row].double(), x, lambda i: f"{name}[{row}, {i}] x[{i}]", None if bias is None else bias[row])


def _mapped(which: str) -> Callable[[At], Work]:
    def recipe(at: At) -> Work:
        spec, (head, entry) = at.attention, at.place
        before = {"q": 0, "k": spec.n_heads, "v": spec.n_heads + spec.n_kv_heads}[which]
        linear, row = at.block.attn.qkv, head * spec.d_head + entry
        inside = slice(before * spec.d_head, None)
        bias = None if linear.bias is None else linear.bias[inside]
        work = _row(linear.weight[inside], bias, row, at.attention_input(), f"W_{which.upper()}")
        return _clipped(work, spec.clip if which == "v" or spec.qk_norm is None else None)

    return recipe


def _qk_normed(which: str) -> Callable[[At], Work]:
    def recipe(at: At) -> Work:
        (head, entry), norm = at.place, getattr(at.block.attn, f"{which}_norm")
        flat = at.attention.qk_norm_over == "all"
        i = head * at.attention.d_head + entry if flat else entry
        normalized = at.of(f"attn.{which}_norm.hook_normalized")
        x = normalized[i] if flat else normalized[head, i]
        return _clipped(_affine(float(x), norm, i), at.attention.clip)

    return recipe


def _clipped(work: Work, clip: float | None) -> Work:
    return work if clip is None else work.then(f"clamped at ± {clip}", lambda x: max(-clip, min(clip, x)))


def _affine(x: float, norm: Any, i: int) -> Work:
    """x̂ · weight + bias of one entry."""
    weight = 1.0 if norm.weight is None else float(norm.weight[i]) + norm.spec.offset
    one = [(x, weight, f"x̂[{i}] w[{i}]")]
    one += [] if norm.bias is None else [(float(norm.bias[i]), 1.0, "bias")]
    left, right = (torch.tensor([row[k] for row in one], dtype=torch.float64) for k in (0, 1))
    return Work("sum", lambda k: one[k][2], left, right)


def _rotated(which: str) -> Callable[[At], Work]:
    def recipe(at: At) -> Work:
        head, entry = at.place
        if isinstance(at.spec.attention, LatentAttentionSpec):
            x = _latent_before_rope(at, which)[head]
        else:
            made = queries_made(at.order(), which)
            x = at.of(made[made.index(f"attn.hook_rot_{which}") - 1])[head]
        return _turned(at, x, entry)

    return recipe


def _turned(at: At, x: Tensor, i: int) -> Work:
    """x[i] · cos ± its partner · sin; entries beyond those that are turned stay."""
    name = at.spec.attention.rope
    assert name is not None
    rope = at.config.ropes[name]
    if i >= rope.dim:
        return _of("sum", [(f"x[{i}]", float(x[i]))])
    half = rope.dim // 2
    partner, sign = (
        (i ^ 1, -1.0 if i % 2 == 0 else 1.0) if rope.interleaved else ((i + half) % rope.dim, -1.0 if i < half else 1.0)
    )
    cos, sin = (at.full(f"rotary_emb.{name}.hook_{which}")[i] for which in ("cos", "sin"))
    names = (f"x[{i}] cos(p·θ[{i}])", f"{'−' if sign < 0 else ''}x[{partner}] sin(p·θ[{i}])")
    return Work("sum", lambda k: names[k], torch.stack((x[i], sign * x[partner])), torch.stack((cos, sin)))


def _latent_before_rope(at: At, which: str) -> Tensor:
    """The part of queries, or of the one key, that is to be turned: ``[heads, d_rope]``."""
    spec, attn = at.spec.attention, at.block.attn
    assert isinstance(spec, LatentAttentionSpec)
    if which == "k":
        return _linear(attn.kv_down, at.attention_input())[spec.d_latent :][None]
    heads = _linear(attn.q, _query_source(at)).view(spec.n_heads, spec.d_head)
    return heads[:, spec.d_nope :]


def _query_source(at: At) -> Tensor:
    return at.of("attn.hook_q_latent") if at.has("attn.hook_q_latent") else at.attention_input()


def _latent_normed(place: str) -> Callable[[At], Work]:
    def recipe(at: At) -> Work:
        (i,) = at.place
        return _affine(float(at.of(f"attn.{place}.hook_normalized")[i]), getattr(at.block.attn, place), i)

    return recipe


def _q_nope(at: At) -> Work:
    (head, entry), linear = at.place, at.block.attn.q
    return _row(linear.weight, linear.bias, head * at.spec.attention.d_head + entry, _query_source(at), "W_Q")


def _from_latent(weight: str, name: str) -> Callable[[At], Work]:
    def recipe(at: At) -> Work:
        _, head, entry = at.place
        latent = at.of("kv.hook_latent")[at.place[0] - at.first(at.layer)]
        row = getattr(at.block.attn, weight)[head, entry]
        return _dot(row.double(), latent[: row.numel()], lambda i: f"{name}[{entry}, {i}] c[{i}]")

    return recipe


def _v(at: At) -> Work:
    if isinstance(at.spec.attention, LatentAttentionSpec):
        return _from_latent("v_up", "W_UV")(at)
    return _mapped("v")(at)


def _cached(at: At) -> Work:
    """What is stored is what was made when the key was read."""
    key, *inner = at.place
    made = {"kv.hook_k": queries_made(at.order(), "k")[-1:], "kv.hook_v": ("attn.hook_v",)}
    names = made.get(at.inner, ("attn.hook_kv_latent", "attn.hook_rot_k"))
    tensor = torch.cat([at.then(full_name(at.layer, name), key).flatten() for name in names])
    row = inner[0] * at.spec.attention.d_head + inner[1] if len(inner) > 1 else inner[0]
    return _of("sum", [(f"{names[0]} of position {key}", float(tensor[row]))])


def _scores(at: At) -> Work:
    head, spec = at.place[0], at.spec.attention
    query, key = _query(at, head), _key(at, head)
    scale = spec.scale
    work = _dot(query, key, lambda i: f"q[{i}] k[{i}]").then(f"· × {scale:.6g}", lambda x: x * scale)
    if isinstance(spec, LatentAttentionSpec):
        return work
    if spec.alibi:
        work = _with_slope(at, work)
    cap = spec.softcap
    return work.then(f"{cap} · tanh(· / {cap})", lambda x: _capped(x, cap), when=cap is not None)


def _with_slope(at: At, work: Work) -> Work:
    bias = alibi_bias(at.attention.n_heads, 0, at.position + 1, torch.zeros(1, dtype=torch.float64))
    slope = float(bias.flatten(0, -2).view(at.attention.n_heads, -1)[at.place[0], at.place[1]]) * at.attention.scale
    return work.then(f"· + {slope:.6g} by distance", lambda x: x + slope)


def _query(at: At, head: int) -> Tensor:
    """The query as scores take it."""
    if isinstance(at.spec.attention, LatentAttentionSpec):
        return torch.cat((at.of("attn.hook_q_nope")[head], at.of("attn.hook_rot_q")[head]))
    query = at.of(queries_made(at.order(), "q")[-1])[head]
    if at.attention.temperature is None:
        return query
    scale, floor = at.attention.temperature
    return query * (math.log1p(math.floor((at.position + 1) / floor)) * scale + 1)


def _key(at: At, head: int) -> Tensor:
    spec, key = at.spec.attention, at.key()
    if isinstance(spec, LatentAttentionSpec):
        stored = at.of("kv.hook_latent")[key]
        return torch.cat((at.block.attn.k_up[head].double() @ stored[: spec.d_latent], stored[spec.d_latent :]))
    return at.of("kv.hook_k")[key, head // spec.group]


def _share(logits: Tensor, which: int, name: str, more: float | None = None) -> Work:
    """exp(one) over the sum of exp(all), both less the highest; ``more``: one that takes part without a share."""
    top = max(float(logits.max()), -math.inf if more is None else more)
    whole = float((logits - top).exp().sum()) + (0.0 if more is None else math.exp(more - top))
    one = math.exp(float(logits[which]) - top)
    return _of("quotient", [(f"exp({name} − {top:.4g})", one), (f"Σ exp({name} − {top:.4g})", whole)])


def _sink_of(at: At) -> float | None:
    return None if at.block.attn.sinks is None else float(at.block.attn.sinks[at.place[0]])


def _pattern(at: At) -> Work:
    more = _sink_of(at) if isinstance(at.spec.attention, AttentionSpec) else None
    return _share(at.of("attn.hook_attn_scores")[at.place[0]], at.key(), "s", more)


def _sink(at: At) -> Work:
    scores, sink = at.of("attn.hook_attn_scores")[at.place[0]], _sink_of(at)
    assert sink is not None
    whole = torch.cat((scores, torch.tensor([sink], dtype=torch.float64, device=scores.device)))
    return _share(whole, len(scores), "s")


def _z(at: At) -> Work:
    (head, entry), first = at.place, at.first(at.layer)
    pattern = at.of("attn.hook_pattern")[head]
    if isinstance(at.spec.attention, LatentAttentionSpec):
        latent = at.of("kv.hook_latent")[:, : at.spec.attention.d_latent]
        values = latent @ at.block.attn.v_up[head, entry].double()
    else:
        values = at.of("kv.hook_v")[:, head // at.attention.group, entry]
    return _dot(pattern, values, lambda j: f"a[{first + j}] v[{first + j}]")


def _result(at: At) -> Work:
    head, m = at.place
    z = at.of("attn.hook_z")
    weight = at.block.attn.out.weight.view(-1, *z.shape)[m, head]
    return _dot(weight.double(), z[head], lambda i: f"W_O[{m}, {i}] z[{i}]")


def _heads_written(at: At) -> Tensor:
    return _linear(at.block.attn.out, at.of("attn.hook_z").flatten())


def _attn_out(at: At) -> Work:
    """Over heads, or through the norm behind attention."""
    (m,) = at.place
    if at.block.ln1_post is not None:
        return _rescaled(at, _affine(float(at.of("ln1_post.hook_normalized")[m]), at.block.ln1_post, m))
    z, out = at.of("attn.hook_z"), at.block.attn.out
    written = (out.weight[m].double().view_as(z) * z).sum(-1)
    bias = None if out.bias is None else out.bias[m]
    return _rescaled(at, _dot(written, torch.ones_like(written), lambda h: f"head {h}", bias))


def _rescaled(at: At, work: Work) -> Work:
    scale = at.spec.residual_scale
    return work.then(f"· × {scale:g}", lambda x: x * scale, when=scale != 1)


# -- the stream ----------------------------------------------------------------------------------------------------


def _resid_pre(at: At) -> Work:
    name = full_name(at.layer - 1, RESID_POST) if at.layer else "hook_embed_scaled"
    return _of("sum", [(name, float(at.full(name)[at.place]))])


def _resid_mid(at: At) -> Work:
    return _of(
        "sum", [("x", float(at.of(RESID_PRE)[at.place])), ("Δ(attention)", float(at.of("hook_attn_out")[at.place]))]
    )


def _resid_post(at: At) -> Work:
    attention = [("Δ(attention)", float(at.of("hook_attn_out")[at.place]))] if at.spec.parallel else []
    stream = RESID_PRE if at.spec.parallel else RESID_MID
    return _of(
        "sum", [("x", float(at.of(stream)[at.place])), *attention, ("Δ(MLP)", float(at.of("hook_mlp_out")[at.place]))]
    )


# -- MLP -----------------------------------------------------------------------------------------------------------


def _mlp_mapped(which: str) -> Callable[[At], Work]:
    """Gate or up: of a gated MLP halves of one map."""

    def recipe(at: At) -> Work:
        (n,), mlp, spec = at.place, at.block.mlp, at.spec.mlp
        assert isinstance(spec, MLPSpec)
        if not spec.gated:
            return _row(mlp.up.weight, mlp.up.bias, n, at.mlp_input(), "W_up")
        return _half(mlp.gate_up.weight, mlp.gate_up.bias, spec.d_mlp, which, n, at.mlp_input())

    return recipe


def _half(weight: Tensor, bias: Tensor | None, d_mlp: int, which: str, n: int, x: Tensor) -> Work:
    part = slice(0, d_mlp) if which == "gate" else slice(d_mlp, None)
    return _row(weight[part], None if bias is None else bias[part], n, x, f"W_{which}")


def _post(at: At) -> Work:
    spec = at.spec.mlp
    assert isinstance(spec, MLPSpec)
    return _activated(at, spec, "mlp.", at.place)


def _activated(at: At, spec: MLPSpec, prefix: str, place: tuple[int, ...]) -> Work:
    """The activation of the gate, times up; of a plain MLP the activation alone."""
    from engine.model.mlp import activation

    pre = float(at.of(f"{prefix}hook_pre")[place])
    if spec.activation == "clamped_swiglu":
        return _clamped(spec, pre, float(at.of(f"{prefix}hook_pre_linear")[place]))
    act = float(activation(spec.activation)(torch.tensor(pre, dtype=torch.float64)))
    if not spec.gated:
        return _of("sum", [("u", pre)]).then(f"{spec.activation}(·)", lambda _: act)
    up = float(at.of(f"{prefix}hook_pre_linear")[place])
    return _of("product", [(f"{spec.activation}({pre:.5g})", act), ("u", up)])


def _clamped(spec: MLPSpec, gate: float, up: float) -> Work:
    """gpt-oss: g · σ(α g) · (u + 1), both clamped."""
    gate, up = min(gate, spec.limit), max(-spec.limit, min(spec.limit, up))
    sigmoid = 1 / (1 + math.exp(-spec.alpha * gate))
    return _of("product", [("g", gate), (f"σ({spec.alpha:g} g)", sigmoid), ("u + 1", up + 1)])


def _mlp_given(at: At) -> Tensor:
    """What the MLP gives before a norm behind it."""
    if isinstance(at.spec.mlp, MLPSpec):
        return _linear(at.block.mlp.down, at.of("mlp.hook_post"))
    shared = at.of("mlp.hook_shared_out") if at.spec.mlp.shared is not None else 0.0
    return at.of("mlp.hook_routed_out") + shared


def _mlp_out(at: At) -> Work:
    (m,) = at.place
    if at.block.ln2_post is not None:
        return _rescaled(at, _affine(float(at.of("ln2_post.hook_normalized")[m]), at.block.ln2_post, m))
    if isinstance(at.spec.mlp, MLPSpec):
        down = at.block.mlp.down
        bias = None if down.bias is None else down.bias[m]
        neurons = at.of("mlp.hook_post")
        return _rescaled(at, _dot(down.weight[m].double(), neurons, lambda n: f"W_down[{m}, {n}] neuron[{n}]", bias))
    terms = [("routed", float(at.of("mlp.hook_routed_out")[m]))]
    if at.spec.mlp.shared is not None:
        terms.append(("shared", float(at.of("mlp.hook_shared_out")[m])))
    return _rescaled(at, _of("sum", terms))


# -- experts -------------------------------------------------------------------------------------------------------


def _moe(at: At) -> MoESpec:
    assert isinstance(at.spec.mlp, MoESpec)
    return at.spec.mlp


def _router_logits(at: At) -> Work:
    (e,), linear = at.place, at.block.mlp.router.map
    return _row(linear.weight, linear.bias, e, at.mlp_input(), "W_router")


def _router_scores(at: At) -> Work:
    return _score(_moe(at), at.of("mlp.hook_router_logits"), at.place[0])


def _score(spec: MoESpec, logits: Tensor, which: int) -> Work:
    if spec.score == "sigmoid":
        return _of("sum", [("ℓ", float(logits[which]))]).then("σ(·)", lambda x: 1 / (1 + math.exp(-x)))
    return _share(logits, which, "ℓ")


def _router_choice(at: At) -> Work:
    (e,), spec = at.place, _moe(at)
    given = "ℓ" if spec.score_chosen else "score"
    terms = [(given, float(at.of("mlp.hook_router_logits" if spec.score_chosen else "mlp.hook_router_scores")[e]))]
    if at.block.mlp.router.choice_bias is not None:
        terms.append(("bias", float(at.block.mlp.router.choice_bias[e])))
    work = _of("sum", terms)
    return work.then("barred: its group is not among the best", lambda _: -math.inf, when=math.isinf(at.value()))


def _expert_weights(at: At) -> Work:
    (rank,), spec = at.place, _moe(at)
    chosen = at.of("mlp.hook_expert_indices").long()
    if spec.score_chosen:
        work = _score(spec, at.of("mlp.hook_router_logits")[chosen], rank)
        scores = torch.tensor(
            [_score(spec, at.of("mlp.hook_router_logits")[chosen], i).latest() for i in range(len(chosen))]
        )
    else:
        scores = at.of("mlp.hook_router_scores")[chosen]
        work = _of("sum", [(f"score of expert {int(chosen[rank])}", float(scores[rank]))])
    whole = float(scores.sum()) + spec.renormalise_eps
    work.then(f"· / {whole:.6g}", lambda x: x / whole, when=spec.renormalise)
    return work.then(f"· × {spec.weight_scale:g}", lambda x: x * spec.weight_scale, when=spec.weight_scale != 1)


def _expert_input(at: At) -> Tensor:
    """What the expert reads: weighed before it, in the models that do it so."""
    x, spec = at.mlp_input(), _moe(at)
    if not spec.scale_input:
        return x
    chosen = at.of("mlp.hook_expert_indices").long().tolist()
    return x * at.of("mlp.hook_expert_weights")[chosen.index(at.expert)]


def _expert_mapped(which: str) -> Callable[[At], Work]:
    def recipe(at: At) -> Work:
        (n,), e, experts = at.place, at.expert, at.block.mlp.experts
        bias = None if experts.gate_up_bias is None else experts.gate_up_bias[e]
        return _half(experts.gate_up[e], bias, _moe(at).expert.d_mlp, which, n, _expert_input(at))

    return recipe


def _expert_post(at: At) -> Work:
    return _activated(at, _moe(at).expert, f"mlp.experts.{at.expert}.", at.place)


def _expert_out(at: At) -> Work:
    (m,), e, experts = at.place, at.expert, at.block.mlp.experts
    bias = None if experts.down_bias is None else experts.down_bias[e]
    return _row(experts.down[e], bias, m, at.of(f"mlp.experts.{e}.hook_post"), "W_down")


def _routed_out(at: At) -> Work:
    (m,), spec = at.place, _moe(at)
    chosen = at.of("mlp.hook_expert_indices").long().tolist()
    weights = at.of("mlp.hook_expert_weights")
    given = torch.stack([at.of(f"mlp.experts.{e}.hook_out")[m] for e in chosen])
    left = torch.ones_like(weights) if spec.scale_input else weights
    return _dot(
        left, given, lambda k: f"expert {chosen[k]}" if spec.scale_input else f"w[{chosen[k]}] expert {chosen[k]}"
    )


def _shared_gate(at: At) -> Work:
    weight = at.block.mlp.shared_gate.weight
    work = _row(weight, None, 0, at.mlp_input(), "W_gate")
    return work.then("σ(·)", lambda x: 1 / (1 + math.exp(-x)))


_RECIPES: dict[str, Callable[[At], Work]] = {
    "hook_embed": _embed,
    "hook_pos_embed": _pos_embed,
    "hook_embed_scaled": _embed_scaled,
    "hook_logits": _logits,
    "hook_logits_final": _logits_final,
    "sampler.hook_tempered": _tempered,
    "sampler.hook_probs": _probs,
    "hook_scale": _scale,
    "hook_normalized": _normalized,
    "attn.hook_q": _mapped("q"),
    "attn.hook_k": _mapped("k"),
    "attn.hook_v": _v,
    "attn.hook_q_normed": _qk_normed("q"),
    "attn.hook_k_normed": _qk_normed("k"),
    "attn.hook_rot_q": _rotated("q"),
    "attn.hook_rot_k": _rotated("k"),
    "attn.hook_q_latent": _latent_normed("q_latent_norm"),
    "attn.hook_kv_latent": _latent_normed("kv_latent_norm"),
    "attn.hook_q_nope": _q_nope,
    "attn.hook_k_nope": _from_latent("k_up", "W_UK"),
    "kv.hook_k": _cached,
    "kv.hook_v": _cached,
    "kv.hook_latent": _cached,
    "attn.hook_attn_scores": _scores,
    "attn.hook_sink": _sink,
    "attn.hook_pattern": _pattern,
    "attn.hook_z": _z,
    "attn.hook_result": _result,
    "hook_attn_out": _attn_out,
    RESID_PRE: _resid_pre,
    RESID_MID: _resid_mid,
    RESID_POST: _resid_post,
    "mlp.hook_pre": _mlp_mapped("gate"),
    "mlp.hook_pre_linear": _mlp_mapped("up"),
    "mlp.hook_post": _post,
    "mlp.hook_router_logits": _router_logits,
    "mlp.hook_router_scores": _router_scores,
    "mlp.hook_router_choice": _router_choice,
    "mlp.hook_expert_weights": _expert_weights,
    "mlp.experts.*.hook_pre": _expert_mapped("gate"),
    "mlp.experts.*.hook_pre_linear": _expert_mapped("up"),
    "mlp.experts.*.hook_post": _expert_post,
    "mlp.experts.*.hook_out": _expert_out,
    "mlp.hook_routed_out": _routed_out,
    "mlp.hook_shared_gate": _shared_gate,
    "hook_mlp_out": _mlp_out,
}
