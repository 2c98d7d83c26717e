"""The entries of a hook point's tensor as rows of a table: the strongest, or all where they are few names or ids."""

from __future__ import annotations

from collections.abc import Callable

from app.engine_words import said
from app.point_words import Tr, axis_word, entry_text, exact_text, place_text
from app.run import written
from app.widgets.point_top import Entries, Entry
from engine.frames import PointFacts, PointTensor

Label = Callable[[int], str]
_HIGHEST = ("scores", "logits", "probability", "positive")  # kinds of which the engine tells the highest


def entries_of(tensor: PointTensor, facts: PointFacts, label: Label, tr: Tr) -> Entries:
    """What stands in the table of a tensor."""
    if facts.kind == "event":
        return _event(tensor, tr)
    if facts.kind in ("tokens", "ids"):
        return _listed(tensor, facts, label, tr)
    if tensor.values.size == 1:
        only = Entry(said(facts.meaning, tr), exact_text(facts, float(tensor.values[0, 0]), tr), float("nan"))
        return Entries((only,), "", facts.name.rpartition(".")[2].removeprefix("hook_"))
    return strongest_of(tensor, facts, label, tr)


def strongest_of(tensor: PointTensor, facts: PointFacts, label: Label, tr: Tr) -> Entries:
    """The strongest entries, tokens by their text."""
    rows = []
    for at, value in enumerate(tensor.top_values.tolist()):
        place = tuple(tensor.top[at].tolist())
        words = place_text(tensor, place, label, tr)
        if tensor.pieces and facts.kind != "tokens":
            before = f"{place_text(tensor, place[:1], label, tr)}, " if len(place) > 1 else ""
            words = f"{before}“{written(tensor.pieces[at])}” {place[-1]}"
        rows.append(Entry(words, entry_text(facts, value, tr), _bar(facts, value)))
    return Entries(tuple(rows), _heading(tensor, facts, tr), facts.name.rpartition(".")[2].removeprefix("hook_"))


def _heading(tensor: PointTensor, facts: PointFacts, tr: Tr) -> str:
    if facts.kind == "mask":
        return tr("kept, the first ones: token, id")
    words = " · ".join(word for symbol in tensor.symbols if (word := axis_word(symbol, tr)))
    form = tr("highest: {0}") if facts.kind in _HIGHEST else tr("strongest: {0}")
    return form.format(words)


def _bar(facts: PointFacts, value: float) -> float:
    return float("nan") if facts.kind == "mask" else value


def _event(tensor: PointTensor, tr: Tr) -> Entries:
    names = (tr("first position appended"), tr("positions appended"), tr("bytes appended"))
    rows = (Entry(name, str(int(value)), float("nan")) for name, value in zip(names, tensor.values[0], strict=True))
    return Entries(tuple(rows), tr("event"), tr("figure"))


def _listed(tensor: PointTensor, facts: PointFacts, label: Label, tr: Tr) -> Entries:
    """Ids in their order: by rank at one position, else a row for each position."""
    nan = float("nan")
    if tensor.symbols[0] != "pos":
        if facts.kind == "tokens":
            rows = [Entry(f"“{written(piece)}”", str(piece.id), nan) for piece in tensor.pieces]
            return Entries(tuple(rows), tr("token"), tr("id"))
        rows = [Entry(str(rank + 1), str(int(value)), nan) for rank, value in enumerate(tensor.values[0])]
        return Entries(tuple(rows), tr("rank"), axis_word("n_experts", tr))
    high = tensor.block[0]
    rows = [
        Entry(f"{tensor.position + row * high} “{label(tensor.position + row * high)}”", _ids(values), nan)
        for row, values in enumerate(tensor.values.tolist())
    ]
    return Entries(
        tuple(rows), axis_word("pos", tr), tr("id") if facts.kind == "tokens" else axis_word("n_experts", tr)
    )


def _ids(values: list[float]) -> str:
    return ", ".join(str(int(value)) for value in values)
