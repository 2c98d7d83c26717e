"""How the card is filled, how figures are compared, how a continued function is judged."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resources.demo_model import arithmetic, card, continuation, division
from resources.demo_model.compare import differences
from resources.demo_model.continuation import Continuation
from resources.demo_model.prediction import windows
from resources.demo_model.texts import sum_held_out

FIGURES: dict[str, Any] = {
    "measured_with": {"python": "3.11.7", "tales": "abc", "build": "torch"},
    "model": {"parameters": 100},
    "text": {"python": {"tokens": 10, "loss": 1.5}, "sums": {"tokens": 20, "loss": 1.0}},
    "functions": {"parsed": 12},
    "router": {"balance": [1.02], "shares": {"sums": [[0.5, 0.5]]}},
    "samples": [{"text": "There was"}],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The figures with one of them changed."""
    figures = copy.deepcopy(FIGURES)
    *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
    inner: Any = figures
    for part in way:
        inner = inner[part]
    inner[last] = value
    return figures


def test_equal_figures_are_not_reported() -> None:
    assert differences(FIGURES, FIGURES) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.parameters", 101),
        ("text.sums.tokens", 21),
        ("text.sums.loss", 1.003),
        ("functions.parsed", 13),
        ("router.balance.0", 1.03),
        ("router.shares.sums.0.1", 0.494),
        ("samples.0.text", "There were"),
    ],
)
def test_a_figure_that_differs_is_a_sentence(path: str, value: Any) -> None:
    assert differences(changed(path, value), FIGURES) == [
        f"{path} is {value!r}, but the card says {_at(FIGURES, path)!r}."
    ]


def _at(figures: Any, path: str) -> Any:
    for part in path.split("."):
        figures = figures[int(part) if part.isdigit() else part]
    return figures


@pytest.mark.parametrize(("path", "value"), [("text.sums.loss", 1.001), ("router.shares.sums.0.1", 0.496)])
def test_rounding_is_no_difference(path: str, value: float) -> None:
    assert differences(changed(path, value), FIGURES) == []


def test_another_python_refuses_its_figures_and_no_others() -> None:
    found = changed("measured_with.python", "3.11.9")
    found["text"]["python"]["loss"], found["text"]["sums"]["loss"] = 9.0, 9.0
    refusal, difference = differences(found, FIGURES)
    assert "with python 3.11.7, this is 3.11.9" in refusal
    assert "were not checked" in refusal
    assert difference.startswith("text.sums.loss is 9.0")


def test_another_build_refuses_what_is_drawn() -> None:
    found = changed("measured_with.build", "other")
    found["samples"][0]["text"], found["text"]["python"]["loss"] = "Else", 9.0
    refusal, difference = differences(found, FIGURES)
    assert "samples, functions were not checked" in refusal
    assert difference.startswith("text.python.loss is 9.0")


def test_a_figure_that_is_missing_is_a_sentence() -> None:
    figures = copy.deepcopy(FIGURES)
    del figures["functions"]["parsed"]
    assert differences(figures, FIGURES) == ["functions.parsed is only in the card."]
    assert differences(FIGURES, figures) == ["functions.parsed is only in the new measurement."]


def test_filling_replaces_what_is_between_the_markers() -> None:
    text = "a\n<!-- size -->\nold\n<!-- end of size -->\nb\n"
    filled = card.filled(text, {"size": "new"})
    assert filled == text.replace("old", "new")
    assert card.filled(filled, {"size": "new"}) == filled
    assert card.published(filled, "size") == "new"


@pytest.mark.parametrize("text", ["", "<!-- size -->", "<!-- size --><!-- end of size -->" * 2])
def test_a_card_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        card.filled(text, {"size": "new"})


@pytest.mark.parametrize(
    ("text", "ended", "code", "whole"),
    [
        ("\n    return x\n\n\nclass A:", False, "def f(x):\n    return x\n\n", True),
        ("\n    return x\n", True, "def f(x):\n    return x\n", True),
        ("\n    x += 1\n    return x", False, "def f(x):\n    x += 1", False),
        ("\n    if x:\n        x = (1,", False, "def f(x):", False),
        ("\n    x = 1\n    if x:\n        x = (1,", False, "def f(x):\n    x = 1", False),
        ("\nx = 1\n", False, "def f(x):", True),
    ],
)
def test_what_is_judged_of_a_function(text: str, ended: bool, code: str, whole: bool) -> None:
    assert continuation.judged(Continuation("def f(x):", 0, text, ended)) == (code, whole)


@pytest.mark.parametrize(
    ("code", "accepted"),
    [
        ("def f(x):\n    return '\\d'\n", True),
        ("def f(x):\n    return x +\n", False),
        ("def f(x):", False),
        ("def f(x):\n    '''open\n", False),
        ("x = '\0'", False),
    ],
)
def test_parsing(code: str, accepted: bool) -> None:
    assert continuation.parses(code) is accepted


def test_heads_are_first_lines_of_top_level_functions() -> None:
    text = "".join(f"def f{n}(x):\n    def inner(y):\n        pass\n\nclass A{n}:\n    pass\n\n" for n in range(80))
    assert continuation.heads([text]) == [f"def f{n}(x):" for n in range(0, 80, 2)]
    with pytest.raises(ValueError, match="2 functions were found; 40 are needed"):
        continuation.heads(["def f(x):\n    pass\n", "def g(x):\n    pass\n"])


def test_windows_foretell_every_id_but_the_first_once() -> None:
    for count in (2, 5, 8, 9, 10, 41):
        rows = [row for part in windows(torch.arange(count), 4) for row in part]
        assert torch.cat([row[1:] for row in rows]).tolist() == list(range(1, count))
        assert all(len(row) == 5 for row in rows[:-1])


def test_questions_are_held_out_and_have_two_digits() -> None:
    for sign, worked in (("+", int.__add__), ("-", int.__sub__)):
        chosen = arithmetic.questions(sign)
        assert len(set(chosen)) == len(chosen) > 300
        for question, answer in chosen:
            a, found, b, equals = question.split(" ")
            assert (found, equals, answer) == (sign, "=", f" {worked(int(a), int(b))}\n")
            assert sum_held_out(int(a), int(b))
            assert 10 <= int(b) <= 99
            assert 10 <= int(a) <= 99


def routed(*shares: list[float]) -> Any:
    """A domain whose one layer has these shares, its mean scores the same."""
    found = torch.tensor(shares, dtype=torch.float64)
    return SimpleNamespace(shares=found, mean_scores=found)


def test_division_of_domains_by_hand() -> None:
    routings = {"tales": routed([0.5, 0.5, 0, 0]), "python": routed([0, 0.5, 0.5, 0]), "sums": routed([0, 0, 0, 1.0])}
    found = division.divided(routings)
    assert found["tales-python"] == [0.5]
    assert found["tales-sums"] == found["python-sums"] == [1.0]
    mean = [1 / 6, 1 / 3, 1 / 6, 1 / 3]
    assert found["information"] == [round(-sum(p * math.log2(p) for p in mean) - (1 + 1 + 0) / 3, 4)]


def test_alike_domains_say_nothing_and_even_use_is_one() -> None:
    routings = {name: routed([0.25] * 4) for name in ("tales", "python", "sums")}
    assert [*division.divided(routings).values()] == [[0.0]] * 4
    assert division.balance(routings) == [1.0]


def test_certain_domains_say_all() -> None:
    certain = {
        name: routed([float(index == n) for n in range(3)]) for index, name in enumerate(("tales", "python", "sums"))
    }
    assert division.information(certain).tolist() == pytest.approx([math.log2(3)])
