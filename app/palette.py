"""What the palette lists, and in which order what was typed finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtGui import QAction

from app.commands import Command, Situation, bare, identity, key_names, translate, why_not
from app.fuzzy import begins, match

NOT_LISTED = ("show_palette",)


@dataclass(frozen=True)
class Entry:
    """Something that can be done. ``name`` is unique; ``why`` says what keeps it from being done, "" for nothing."""

    name: str
    text: str
    help: str
    do: Callable[[], None]
    keys: tuple[str, ...] = ()
    kind: str = ""  # the menu, or "Panel", "Model"
    why: str = ""


@dataclass(frozen=True)
class Found:
    """``places``: the letters of the entry's text that were typed."""

    entry: Entry
    places: tuple[int, ...] = ()
    rank: int = 0  # 3: words begin so, 2: its letters, 1: only the keys, the menu or the help
    score: int = 0


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
        )
        for row in rows
        if row.name not in NOT_LISTED
    ]


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
    if found is not None:
        first, last = found.places[0], found.places[-1]
        whole = last - first == len(word) - 1 and begins(entry.text, first)
        return Found(entry, found.places, 3 if whole else 2, found.score)
    return Found(entry, rank=1) if _beside(word.lower(), entry) else None


def _beside(word: str, entry: Entry) -> bool:
    """Whether a key is called so, or a word of the help or of the menu begins so."""
    said = f"{entry.help} {entry.kind}".lower()
    return word in (key.lower() for key in entry.keys) or f" {word}" in f" {said}"
