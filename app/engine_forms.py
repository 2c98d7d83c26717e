"""Sentences with places for names, figures and other sentences, and which of them a text was made by.

A text is searched for what is fixed in a sentence, once for each piece of it, so that a hostile one costs no more than
its length: a regular expression with as many places would try all ways to cut it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

_PLACE = re.compile(r"\{\d+\}")
_WORD = re.compile(r"[A-Za-z]+")
_QUOTES = "“'\""


@dataclass(frozen=True)
class Form:
    """``pieces`` are fixed and stand around the places. ``quoted``: what is in a place is a name and no sentence.

    ``weak``: it begins with a place and so little else is fixed that many a name looks like it.
    """

    text: str
    pieces: tuple[str, ...]
    quoted: tuple[bool, ...]
    weak: bool

    @property
    def fixed(self) -> int:
        """Letters."""
        return sum(map(len, self.pieces))


class Forms:
    """Sentences by their longest word: a text is compared with those only whose word is in it."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)

    @cached_property
    def _by_word(self) -> dict[str, list[Form]]:
        """Made when something is first looked for."""
        found: dict[str, list[Form]] = {}
        for form in map(taken_apart, self._texts):
            words = _WORD.findall(" ".join(form.pieces))
            if words:  # else it would be everything
                found.setdefault(max(words, key=len), []).append(form)
        return found

    def fitting(self, text: str, *, inside: bool = False) -> tuple[Form, tuple[str, ...]] | None:
        """The sentence that a text was made by, of several the one of which most is fixed, and what was put into it.

        ``inside``: the text is a part of another one, so that it may be a name.
        """
        found = None
        for form in self._candidates(text):
            if not (inside and form.weak) and (found is None or form.fixed > found[0].fixed):
                parts = parts_of(form, text)
                found = found if parts is None else (form, parts)
        return found

    def _candidates(self, text: str) -> Iterator[Form]:
        for word in self._by_word.keys() & set(_WORD.findall(text)):
            yield from self._by_word[word]


def taken_apart(text: str) -> Form:
    """ "{0} is no file." and what it is made of."""
    pieces = tuple(piece.replace("{{", "{").replace("}}", "}") for piece in _PLACE.split(text))
    quoted = tuple(piece.endswith(tuple(_QUOTES)) for piece in pieces[:-1])
    return Form(text, pieces, quoted, not pieces[0] and len(_WORD.findall(" ".join(pieces))) < 2)


def parts_of(form: Form, text: str) -> tuple[str, ...] | None:
    """What is in the places, as little as can be in the first ones; None where the text is another sentence."""
    if len(form.pieces) == 1:
        return () if text == form.pieces[0] else None
    first, *middle, last = form.pieces
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return None
    parts = []
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return None
        parts.append(text[at:found])
        at = found + len(piece)
    return (*parts, text[at:end])
