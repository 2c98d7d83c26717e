"""What the stages of a layer's attention are, in sentences with the numbers of this layer."""

from __future__ import annotations

from collections.abc import Callable

from app.layer_kinds import sight_text
from app.widgets.scale import figure
from engine.frames import LayerFacts
from engine.questions import AttentionStage

Translate = Callable[[str], str]


def stage_texts(facts: LayerFacts, tr: Translate) -> dict[AttentionStage, str]:
    """One text a stage."""
    same = tr("z, what the heads mix, comes from the same kernel running or stepping; scores are recomputed.")
    return {
        "products": f"{_products(facts, tr)}\n{same}",
        "scaled": _scaled(facts, tr),
        "masked": tr("Only what a query sees is left: {0}.").format(sight_text(facts, tr)),
        "pattern": _pattern(facts, tr),
        "contribution": tr(
            "‖weight · value‖: the L2 norm of what each key's value vector adds to the head's mix, before the output "
            "matrix (Kobayashi et al. 2020 measure it behind that matrix)"
        )
        + f"\n{same}",
    }


def _products(facts: LayerFacts, tr: Translate) -> str:
    text = tr("q · k: a query times every key that its pass had, later ones too")
    return text + (tr("; queries grow with their position") if facts.tempered else "")


def _scaled(facts: LayerFacts, tr: Translate) -> str:
    text = tr("q · k × {0}").format(figure(facts.scale))
    if facts.alibi:
        text += tr(", less a penalty by distance (ALiBi)")
    if facts.softcap is not None:
        text += tr(", capped softly at ±{0}").format(figure(facts.softcap))
    return text


def _pattern(facts: LayerFacts, tr: Translate) -> str:
    if facts.sinks:
        return tr(
            "softmax over the keys that a query sees and the head's sink: weights sum to 1 less what the sink takes"
        )
    return tr("softmax over the keys that a query sees: weights sum to 1")
