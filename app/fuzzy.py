"""How well typed letters fit a text in which they stand in their order, with others between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LETTER, _WORD, _NEXT, _GAP = 1, 6, 4, -2  # a letter, at the start of a word, right after the one before, not so
_LEAST = 1.0  # of score a letter: less is letters scattered inside words, which nobody means
_IN_WORDS = "'’"  # signs after which no word begins


@dataclass(frozen=True)
class Match:
    """``places``: where in the text the letters stand, rising."""

    score: int
    places: tuple[int, ...]


def match(typed: str, text: str) -> Match | None:
    """The best way to find the letters, whatever their case; None where there is none worth showing.

    They begin with a word, or stand together. Every letter counts 1; 6 more at the start of a word, 4 more right after
    the letter before, 2 less elsewhere.
    """
    wanted, given = [letter.lower() for letter in typed], [letter.lower() for letter in text]
    if not wanted:
        return Match(0, ())
    if not _in_order(wanted, given):
        return None
    ends = {
        at: Match(_LETTER + _WORD, (at,)) for at in range(len(given)) if given[at] == wanted[0] and begins(text, at)
    }
    for letter in wanted[1:]:
        ends = _one_more(letter, given, ends)
    ways = [*ends.values(), *_together(wanted, given)]
    found = max(ways, key=lambda way: way.score, default=None)
    return found if found is not None and found.score >= _LEAST * len(wanted) else None


def begins(text: Sequence[str], place: int) -> bool:
    """Whether a word begins there."""
    before = text[place - 1] if place else " "
    return text[place].isalnum() and not before.isalnum() and before not in _IN_WORDS


def tidy(text: str, places: Sequence[int]) -> bool:
    """Whether the letters at these places are beginnings of words, as of "sl" in "Step layer"."""
    return all(place - 1 in places or begins(text, place) for place in places)


def _in_order(wanted: list[str], given: list[str]) -> bool:
    rest = iter(given)
    return all(letter in rest for letter in wanted)


def _one_more(letter: str, given: list[str], ends: dict[int, Match]) -> dict[int, Match]:
    """The best ways to end at each place with this letter, from those to end before it."""
    longer: dict[int, Match] = {}
    far: Match | None = None  # the best that ends before the place before
    for place, there in enumerate(given):
        passed = ends.get(place - 2)
        if passed is not None and (far is None or passed.score > far.score):
            far = passed
        if there != letter:
            continue
        ways = [(end.score + step, end) for end, step in ((far, _GAP), (ends.get(place - 1), _NEXT)) if end is not None]
        if ways:
            score, end = max(ways, key=lambda way: way[0])
            longer[place] = Match(score + _LETTER + _WORD * begins(given, place), (*end.places, place))
    return longer


def _together(wanted: list[str], given: list[str]) -> list[Match]:
    """Wherever they stand without others between them."""
    size = len(wanted)
    places = [range(at, at + size) for at in range(len(given) - size + 1) if given[at : at + size] == wanted]
    return [
        Match(_LETTER * size + _NEXT * (size - 1) + _WORD * sum(begins(given, at) for at in each), tuple(each))
        for each in places
    ]
