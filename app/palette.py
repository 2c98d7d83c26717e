"""What the palette lists, and in which order what was typed finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtGui import QAction

from app.commands import Command, Situation, bare, identity, key_names, translate, why_not
from app.fuzzy import Match, match, tidy

NOT_LISTED = ("show_palette",)


@dataclass(frozen=True)
class Entry:
    """Something that can be done. ``name`` is unique; ``why`` says what keeps it from being done, "" for nothing.

    ``also``: other words that people look for it by, which are not shown.
    """

    name: str
    text: str
    help: str
    do: Callable[[], None]
    keys: tuple[str, ...] = ()
    kind: str = ""  # the menu, or "Panel", "Model"
    why: str = ""
    also: str = ""


@dataclass(frozen=True)
class Found:
    """``places``: the letters of the entry's text that were typed."""

    entry: Entry
    places: tuple[int, ...] = ()
    rank: int = 0
    score: int = 0


# ranks: the text, another word or a key, beginnings of words of the text, the menu or the help, letters anywhere in it
_TEXT, _ALSO, _BEGINNINGS, _BESIDE, _LETTERS = 5, 4, 3, 2, 1

PANEL_WORDS = {
    "strip": "token strip surprise text output",
    "layers": "layers map of the pass progress",
    "attention": "heads heatmap pattern scores softmax qk",
    "residual": "hidden states norms stream",
    "lens": "logit lens early predictions",
    "sampling": "temperature top-k top-p min-p probabilities logits candidates greedy seed next token",
    "experts": "moe mixture router mlp neurons feed-forward",
    "cache": "kv keys values memory",
    "activations": "hidden states hooks inspect values",
    "tensors": "weights parameters",
    "edits": "intervention ablation",
    "glossary": "dictionary terms",
}


def entries_of(rows: Iterable[Command], actions: Mapping[str, QAction], now: Situation) -> list[Entry]:
    """Every command, with the text that it has now."""
    return [
        Entry(
            name=identity(row),
            text=bare(actions[identity(row)].text()),
            help=translate(row.help),
            do=actions[identity(row)].trigger,
            keys=tuple(key_names(row)),
            kind=bare(translate(row.menu)),
            why=why_not(row, now),
            also=f"{also_of(row.also)} {_in_english(row)}",
        )
        for row in rows
        if row.name not in NOT_LISTED
    ]


def _in_english(row: Command) -> str:
    """The text as many know it, where the window speaks another language."""
    return "" if translate(row.text) == row.text else bare(row.text)


def also_of(words: str) -> str:
    """In the user's language and in English, in which most of what is written about models is."""
    return f"{translate(words)} {words}" if words else ""


def find(typed: str, entries: Sequence[Entry], used: Sequence[str] = ()) -> list[Found]:
    """The entries in which every typed word is found. Better ones are first; among those as good what can be done now,
    and of that what was used last."""
    words = typed.split()
    found = [one for entry in entries if (one := _found(words, entry)) is not None]
    order = {name: place for place, name in enumerate(used)}
    return sorted(found, key=lambda one: (-one.rank, one.entry.why != "", _used(one, order), -one.score))


def _used(found: Found, order: Mapping[str, int]) -> int:
    return order.get(found.entry.name, len(order))


def _found(words: Sequence[str], entry: Entry) -> Found | None:
    each = [_word(word, entry) for word in words]
    if None in each:
        return None
    known = [one for one in each if one is not None]
    places = sorted({place for one in known for place in one.places})
    rank = min((one.rank for one in known), default=0)
    return Found(entry, tuple(places), rank, sum(one.score for one in known))


def _word(word: str, entry: Entry) -> Found | None:
    found = match(word, entry.text)
    if found is not None and _whole(entry.text, found):
        return Found(entry, found.places, _TEXT, found.score)
    if _begins_one(word, entry.also) or word.lower() in (key.lower() for key in entry.keys):
        return Found(entry, rank=_ALSO)
    if found is not None and tidy(entry.text, found.places):
        return Found(entry, found.places, _BEGINNINGS, found.score)
    if _begins_one(word, f"{entry.help} {entry.kind}"):
        return Found(entry, rank=_BESIDE)
    return None if found is None else Found(entry, found.places, _LETTERS, found.score)


def _whole(text: str, found: Match) -> bool:
    """Whether a word of the text begins so."""
    return tidy(text, found.places[:1]) and found.places[-1] - found.places[0] == len(found.places) - 1


def _begins_one(word: str, words: str) -> bool:
    return f" {word}".lower() in f" {words}".lower()
