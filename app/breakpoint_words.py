"""Breakpoints in words: "layer 3, head 2 gives ≥ 0.5 to position 0, and entropy > 2.5 nats". No widgets."""

from __future__ import annotations

from collections.abc import Callable

from app.engine_words import said, stage_title
from app.run import visible
from engine.breakpoints import Breakpoint, HitFrame, Test, TestKind

Translate = Callable[[str], str]


def kind_names(tr: Translate) -> dict[TestKind, str]:
    """What can be asked for, in the order of the form."""
    return {
        "stage": tr("Stage or layer is reached"),
        "token": tr("Token is chosen"),
        "not the best": tr("Chosen token is not the most probable"),
        "entropy": tr("Entropy of the distribution"),
        "lens": tr("Lens changes its first choice"),
        "attention": tr("Attention of a head"),
        "expert": tr("Expert is chosen"),
        "router entropy": tr("Entropy of the router"),
        "norm": tr("Norm of the residual stream"),
        "not finite": tr("NaN or infinity"),
    }


def breakpoint_text(breakpoint: Breakpoint, tr: Translate) -> str:
    """Its conditions; both must hold in the same pass."""
    return tr(", and ").join(test_text(test, tr) for test in breakpoint.tests)


def test_text(test: Test, tr: Translate) -> str:
    return _TEXTS[test.kind](test, tr)


def hit_text(hit: HitFrame, tr: Translate) -> str:
    """ "Breakpoint 3 (hit 2): entropy 3.21 nats > 2.5"."""
    return tr("Breakpoint {0} (hit {1}): {2}").format(hit.number, hit.hits, said(hit.sentence, tr))


def place_text(layer: int | None, stage: str, tr: Translate) -> str:
    """ "layer 3 · rope", "the end of layer 3", "final norm"."""
    name = stage_title(stage, tr)
    if layer is None:
        return name
    return tr("layer {0} · {1}").format(layer, name) if stage else tr("the end of layer {0}").format(layer)


def _layer(test: Test, tr: Translate) -> str:
    return tr("any layer") if test.layer is None else tr("layer {0}").format(test.layer)


def _stage(test: Test, tr: Translate) -> str:
    if test.layer is not None:
        return place_text(test.layer, test.stage, tr)
    name = stage_title(test.stage, tr)
    return tr("{0}, wherever it comes").format(name) if name else tr("the end of any layer")


def _told(test: Test, tr: Translate) -> str:
    """The token that is meant, by number or by text."""
    return tr("token {0}").format(test.token) if test.token is not None else f"“{visible(test.text)}”"


def _token(test: Test, tr: Translate) -> str:
    if test.token is not None:
        return tr("token {0} is chosen").format(test.token)
    return tr("a token with {0} is chosen").format(_told(test, tr))


def _attention(test: Test, tr: Translate) -> str:
    target = tr("position {0}").format(test.key) if test.key is not None else _told(test, tr)
    return tr("layer {0}, head {1} gives ≥ {2:g} to {3}").format(test.layer or 0, test.head, test.limit, target)


_TEXTS: dict[TestKind, Callable[[Test, Translate], str]] = {
    "stage": _stage,
    "token": _token,
    "entropy": lambda test, tr: tr("entropy > {0:g} nats").format(test.limit),
    "not the best": lambda test, tr: tr("the chosen token is not the most probable"),
    "lens": lambda test, tr: tr("the lens changes its first choice after {0}").format(_layer(test, tr)),
    "attention": _attention,
    "expert": lambda test, tr: tr("{0} chooses expert {1}").format(_layer(test, tr), test.expert),
    "router entropy": lambda test, tr: tr("router entropy > {1:g} nats in {0}").format(_layer(test, tr), test.limit),
    "norm": lambda test, tr: tr("norm > {1:g} after {0}").format(_layer(test, tr), test.limit),
    "not finite": lambda test, tr: tr("NaN or infinity anywhere"),
}
