"""The glossary: every term with a plain and an exact explanation, a formula, and what is often told wrong about it.

The entries are data (``resources/glossary/terms.json``). Imports no Qt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from app.term_rows import TextsError, damaged, read_rows, text, texts

FILE = "glossary/terms.json"
_LEAST_SEARCHED = 2  # letters, before explanations are searched too


@dataclass(frozen=True)
class Term:
    """One entry. ``also``: other words for it; ``marks``: words that are marked in other texts as this term;
    ``seen``: where in the window, panel key to a few words; ``see``: keys of entries near it."""

    key: str
    name: str
    also: tuple[str, ...]
    marks: tuple[str, ...]
    story: str
    definition: str
    formula: str
    seen: Mapping[str, str]
    mistake: str
    see: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def short_name(self) -> str:
        """Without what stands in brackets."""
        return self.name.partition(" (")[0]


@dataclass(frozen=True)
class Glossary:
    """All entries by key, in the order of their names."""

    terms: Mapping[str, Term]

    def found(self, words: str) -> tuple[Term, ...]:
        """The entries that hold all of the words: by name first, then by other names, then in their texts."""
        wanted = _plain(words).split()
        ranked = [(_rank(term, wanted), term) for term in self.terms.values()]
        return tuple(term for rank, term in sorted(ranked, key=lambda pair: pair[0]) if rank < _NOWHERE)

    def marked(self, sentence: str, but: str = "") -> Iterator[tuple[str, str]]:
        """Pieces of a text, each with the key of the term that it names, "" for none: every term once, not ``but``."""
        used, end = {but}, 0
        for match in self._words.finditer(sentence):
            key = self._keys[match.group().casefold()]
            if key not in used:
                used.add(key)
                yield sentence[end : match.start()], ""
                yield match.group(), key
                end = match.end()
        yield sentence[end:], ""

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {word.casefold(): term.key for term in self.terms.values() for word in term.marks}

    @cached_property
    def _words(self) -> re.Pattern[str]:
        longest_first = sorted(self._keys, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


_NOWHERE = 4


def _rank(term: Term, wanted: list[str]) -> int:
    """0: the name begins so, 1: its words do, 2: those of another name, 3: the texts hold it, 4: not found."""
    if not wanted or _plain(term.name).startswith(" ".join(wanted)):
        return 0
    if _begin(wanted, term.name):
        return 1
    if any(_begin(wanted, other) for other in (*term.also, term.key)):
        return 2
    whole = _plain(" ".join((term.name, *term.also, term.story, term.definition, term.mistake)))
    long_enough = all(len(word) >= _LEAST_SEARCHED for word in wanted)
    return 3 if long_enough and all(word in whole for word in wanted) else _NOWHERE


def _begin(wanted: list[str], name: str) -> bool:
    """Whether each of the words begins one of the name's."""
    words = _plain(name).replace("(", "").split()
    return all(any(word.startswith(one) for word in words) for one in wanted)


def _plain(words: str) -> str:
    """ "Top-p" and "top p" are the same to who searches."""
    return words.casefold().replace("-", " ")


@cache
def glossary() -> Glossary:
    """Every entry. Raises TextsError where the file is missing or damaged."""
    terms = [_term(row) for row in read_rows(FILE)]
    by_key = {term.key: term for term in terms}
    if len(by_key) != len(terms):
        raise damaged(FILE, "an entry is there twice")
    for term in terms:
        lost = [key for key in term.see if key not in by_key]
        if lost:
            raise damaged(FILE, f"{term.key!r} refers to {lost[0]!r}, which is not there")
    return Glossary(dict(sorted(by_key.items(), key=lambda pair: pair[1].name.casefold())))


def _term(row: Mapping[str, Any]) -> Term:
    also, seen = texts(FILE, row, "also"), row.get("seen", {})
    if not isinstance(seen, dict) or not all(isinstance(words, str) for words in seen.values()):
        raise damaged(FILE, f"where {row.get('key')!r} is seen is no table of texts")
    name = text(FILE, row, "name", needed=True)
    marks = texts(FILE, row, "marks") if "marks" in row else (name.partition(" (")[0], *also)
    return Term(
        key=text(FILE, row, "key", needed=True),
        name=name,
        also=also,
        marks=marks,
        story=text(FILE, row, "story", needed=True),
        definition=text(FILE, row, "definition", needed=True),
        formula=text(FILE, row, "formula"),
        seen=seen,
        mistake=text(FILE, row, "mistake"),
        see=texts(FILE, row, "see"),
        sources=texts(FILE, row, "sources"),
    )


def readable() -> Glossary | None:
    """Every entry; None where the file cannot be read, which is told once, when the window opens."""
    try:
        return glossary()
    except TextsError:
        return None


def term_of(key: str) -> Term | None:
    """The entry of that key; None where there is none, or no glossary."""
    entries = readable()
    return None if entries is None else entries.terms.get(key)
