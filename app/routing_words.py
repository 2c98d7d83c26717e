"""What a router does, in words: its formula from the layer's facts, and its figures as sentences."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.widgets.amounts import grouped, percent
from app.widgets.scale import figure
from engine.config import MoESpec
from engine.frames import LayerFacts, RouterRow, RoutingShares

Translate = Callable[[str], str]


def formula_text(spec: MoESpec, tr: Translate) -> str:
    """The router's stages in their order: "softmax over 8 experts → the 2 highest → divided by their sum"."""
    stages = [tr("logits"), *(_choose_first if spec.score_chosen else _score_first)(spec, tr)]
    if spec.renormalise:
        stages.append(tr("divided by their sum"))
    if spec.weight_scale != 1:
        stages.append(tr("× {0}").format(figure(spec.weight_scale)))
    return " → ".join(stages) + _around(spec, tr)


def _score_first(spec: MoESpec, tr: Translate) -> list[str]:
    return [_score(spec, tr).format(spec.n_experts), *_barriers(spec, tr), tr("the {0} highest").format(spec.top_k)]


def _choose_first(spec: MoESpec, tr: Translate) -> list[str]:
    score = tr("softmax over these {0}") if spec.score == "softmax" else tr("sigmoid of each")
    return [
        *_barriers(spec, tr),
        tr("the {0} highest of {1}").format(spec.top_k, spec.n_experts),
        score.format(spec.top_k),
    ]


def _score(spec: MoESpec, tr: Translate) -> str:
    return tr("softmax over {0} experts") if spec.score == "softmax" else tr("sigmoid of each of {0} experts")


def _barriers(spec: MoESpec, tr: Translate) -> list[str]:
    """What the choice is made by, where that is more than the score."""
    found = [tr("plus a learned bias (for the choice only)")] if spec.choice_bias else []
    if spec.n_groups > 1:
        found.append(tr("within the best {0} of {1} groups").format(spec.top_groups, spec.n_groups))
    return found


def _around(spec: MoESpec, tr: Translate) -> str:
    """What is done with the weights, and the expert that is always there."""
    text = tr("; the weight multiplies what the expert reads") if spec.scale_input else ""
    if spec.shared is None:
        return text
    gated = tr("; a shared expert, {0} wide, reads every position, times its gate")
    plain = tr("; a shared expert, {0} wide, reads every position")
    return text + (gated if spec.shared_gate else plain).format(spec.shared.d_mlp)


def has_barriers(spec: MoESpec) -> bool:
    """Whether the choice is made by something else than scores (or logits) alone."""
    return spec.choice_bias or spec.n_groups > 1


def barriers_text(spec: MoESpec, tr: Translate) -> str:
    """What the choice is made by, as a row's title."""
    bias, groups = tr("score plus a learned bias"), tr("barred groups hatched")
    told = [text for text, there in ((bias, spec.choice_bias), (groups, spec.n_groups > 1)) if there]
    return tr("chosen by: {0}").format(", ".join(told))


def alone_text(layer: int, tr: Translate) -> str:
    """What an expert's number means, and what it does not."""
    return tr(
        "The numbers are the layer's own: expert 3 of layer {0} has nothing to do with expert 3 of another layer."
    ).format(layer)


def row_text(row: RouterRow, facts: LayerFacts, tr: Translate) -> str:
    """How sure the router was, and what the shared expert was multiplied by."""
    most = math.log(max(1, facts.n_experts))
    text = tr("router entropy {0} of at most {1} nats").format(figure(row.entropy), figure(most))
    if row.shared_gate is not None and not math.isnan(row.shared_gate):
        text += tr(" · shared expert × {0}").format(figure(row.shared_gate))
    return text


def shares_text(shares: RoutingShares, tr: Translate) -> str:
    """Balance and entropy of a run, with what they would be at their best."""
    most = math.log(max(1, len(shares.share)))
    form = tr(
        "{0} positions · balance loss N·Σ f·s̄ = {1} (1 when even) · router entropy {2} of at most {3} nats in the mean"
    )
    return form.format(grouped(shares.n), figure(shares.balance), figure(shares.entropy), figure(most))


def taken_text(layer: int, expert: int, taken: int, n: int, facts: LayerFacts, tr: Translate) -> str:
    """How often an expert was chosen, and how large it is."""
    form = tr("expert {0} of layer {1} took {2} of {3} positions ({4}); it has {5} parameters, {6} wide")
    share = percent(taken / n) if n else "0 %"
    return form.format(expert, layer, grouped(taken), grouped(n), share, grouped(facts.expert_parameters), facts.d_mlp)
