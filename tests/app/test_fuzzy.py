"""Finding texts by a few of their letters."""

from __future__ import annotations

import time
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from app.fuzzy import begins, match

LETTERS = some.text(alphabet="ab c", max_size=7)


@pytest.mark.parametrize(
    ("typed", "text", "places"),
    [
        ("sl", "Step layer", (0, 5)),  # the starts of words
        ("lay", "Step layer", (5, 6, 7)),
        ("STEP", "step", (0, 1, 2, 3)),  # whatever the case
        ("ur", "Cup curl", (5, 6)),  # together rather than apart
        ("", "Step layer", ()),
        ("É", "été", (0,)),
    ],
)
def test_where_the_letters_are_found(typed: str, text: str, places: tuple[int, ...]) -> None:
    found = match(typed, text)
    assert found is not None
    assert found.places == places


@pytest.mark.parametrize(
    ("typed", "text"), [("ls", "Step layer"), ("x", ""), ("scr", "Memory of the record"), ("step", "Presenter's page")]
)
def test_what_is_not_found(typed: str, text: str) -> None:
    assert match(typed, text) is None


def test_starts_of_words_are_worth_more_than_letters_in_them() -> None:
    one, other = match("st", "Step on"), match("st", "Last")
    assert one is not None
    assert other is not None
    assert one.score > other.score


def _score(text: str, places: tuple[int, ...]) -> int:
    """As the docstring of ``match`` says it."""
    starts = sum(begins(text, at) for at in places)
    steps = [4 if after == before + 1 else -2 for before, after in pairwise(places)]
    return len(places) + 6 * starts + sum(steps)


def _meant(text: str, places: tuple[int, ...]) -> bool:
    """They begin with a word, or stand together."""
    together = all(after == before + 1 for before, after in pairwise(places))
    return not places or together or begins(text, places[0])


@settings(deadline=None)
@given(LETTERS, LETTERS)
def test_no_other_way_to_find_them_is_better(typed: str, text: str) -> None:
    every = combinations(range(len(text)), len(typed))
    ways = [places for places in every if [text[at] for at in places] == [*typed] and _meant(text, places)]
    best, found = max((_score(text, places) for places in ways), default=None), match(typed, text)
    assert (found is None) is (best is None or best < len(typed))
    if found is not None:
        assert found.score == best == _score(text, found.places)
        assert [text[at] for at in found.places] == [*typed]


def test_the_longest_text_takes_no_time() -> None:
    start = time.perf_counter()
    match("a" * 100, "a" * 500)
    assert time.perf_counter() - start < 1.0
