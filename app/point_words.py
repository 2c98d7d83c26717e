"""What is said about hook points, their axes and their entries. Imports no Qt: ``tr`` is the caller's."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.depth import Depth
from app.engine_words import said
from app.widgets.amounts import grouped, percent
from app.widgets.scale import exact, figure
from engine.frames import Figures, PointFacts, PointTensor

Tr = Callable[[str], str]
_GROWING = ("batch", "pos", "key", "routed")


def left_axes(facts: PointFacts) -> tuple[str, ...]:
    """The symbols of the axes that one position has."""
    shape = facts.shape[1:] if facts.shape[:2] == ("1", "pos") else facts.shape
    return tuple(symbol for symbol in shape if symbol not in ("batch", "pos", "routed"))


def axis_word(symbol: str, tr: Tr) -> str:
    """What the entries of an axis are."""
    words = {
        "n_heads": tr("head"),
        "n_kv_heads": tr("KV head"),
        "key": tr("key"),
        "pos": tr("position"),
        "d_mlp": tr("neuron"),
        "d_expert": tr("neuron"),
        "n_experts": tr("expert"),
        "top_k": tr("rank"),
        "d_vocab": tr("token"),
        "1": "",
        "3": tr("entry"),
    }
    return words.get(symbol, tr("dimension"))


def shape_text(facts: PointFacts) -> str:
    """ "[batch, pos, n_heads 9, d_head 64]": the symbols with this model's numbers."""
    pairs = zip(facts.shape, facts.sizes, strict=True)
    return f"[{', '.join(symbol if symbol.isdigit() or not size else f'{symbol} {size}' for symbol, size in pairs)}]"


def facts_text(name: str, facts: PointFacts, tr: Tr) -> str:
    """What a point is, in two lines: its meaning; its formula and shape."""
    lazy = tr(" · formed in the pass only when a hook asks") if facts.lazy else ""
    second = [part for part in (said(facts.formula, tr), f"{shape_text(facts)} {said(facts.dtype, tr)}{lazy}") if part]
    return f"{name}: {said(facts.meaning, tr)}\n{'    '.join(second)}"


def point_text(name: str, facts: PointFacts, depth: Depth, story: str, tr: Tr) -> str:
    """What a point is at a depth; ``story``: what its stage does in plain words."""
    meaning = said(facts.meaning, tr)
    if depth == "story":
        return f"{meaning}\n{story}" if story else meaning
    whole = f"{name}: {meaning}"
    if depth == "formula" and facts.formula:
        return f"{whole}\n{said(facts.formula, tr)}"
    if depth == "code" and facts.code:
        return facts.code
    return facts_text(name, facts, tr)


def figures_text(figures: Figures, facts: PointFacts, tr: Tr) -> str:
    """The statistics, label and figure, in the order of reading."""
    if facts.kind == "mask":
        kept = round(figures.mean * figures.count) if figures.count else 0
        return tr("{0} kept, {1} cut").format(grouped(kept), grouped(figures.count - kept))
    pairs = [(tr("numbers"), grouped(figures.count))]
    if figures.count > figures.nans + figures.infinities:
        named = ((tr("min"), figures.low), (tr("max"), figures.high), (tr("mean"), figures.mean))
        more = ((tr("deviation"), figures.deviation), (tr("norm"), figures.norm))
        pairs += [(label, short(value)) for label, value in (*named, *more)]
    pairs += [(tr("NaN"), grouped(figures.nans)), (tr("infinite"), grouped(figures.infinities))]
    return "    ".join(f"{label} {value}".replace(" ", "\N{NO-BREAK SPACE}") for label, value in pairs)


def short(value: float) -> str:
    """Five digits: statistics are compared, not computed with."""
    return f"{value:.5g}".replace("-", "−") if math.isfinite(value) else str(value)


def entry_text(facts: PointFacts, value: float, tr: Tr) -> str:
    """One figure of this kind of tensor."""
    if facts.kind == "mask":
        return tr("kept") if value else tr("cut")
    if facts.kind in ("ids", "tokens", "event"):
        return str(int(value))
    return percent(value) if facts.kind == "probability" and facts.shape[-1] == "d_vocab" else figure(value)


def exact_text(facts: PointFacts, value: float, tr: Tr) -> str:
    """The same, to all digits of a float32."""
    return entry_text(facts, value, tr) if facts.kind in ("mask", "ids", "tokens", "event") else exact(value)


def place_text(tensor: PointTensor, place: tuple[int, ...], label: Callable[[int], str], tr: Tr) -> str:
    """Where an entry is: "head 2, dimension 17"; tokens by their text."""
    words = []
    for symbol, entry in zip(tensor.symbols, place, strict=False):
        word = axis_word(symbol, tr)
        if symbol in ("key", "pos"):
            words.append(f"{word} {entry} “{label(entry)}”")
        elif word:
            words.append(f"{word} {entry}")
    return ", ".join(words)
