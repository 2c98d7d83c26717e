"""What the engine says in fixed words is found in the tables, whatever model it is about."""

from __future__ import annotations

import pytest

from app.engine_words import FORMS, WORDS, said, sources_text
from engine.checkpoint.catalog import CatalogEntry, catalog
from engine.checkpoint.facts import facts
from engine.checkpoint.fits import Device, fits
from engine.checkpoint.traits import traits
from engine.cost import cost, cost_rows
from engine.point_table import layer_points, outer_points

TOY = Device("cpu", "the CPU", 10**9, 2 * 10**9)


def marked(text: str) -> str:
    """A translation, to be seen as one."""
    return f"⟦{text}⟧"


def is_said(text: str) -> bool:
    return said(text, marked) != text


@pytest.mark.parametrize("entry", catalog(), ids=lambda entry: entry.name)
def test_what_is_said_of_a_model(entry: CatalogEntry) -> None:
    config = entry.config
    before, behind = outer_points(config)
    layers = {layer: number for number, layer in enumerate(config.layers)}  # one of each kind
    points = [*before, *(point for number in layers.values() for point in layer_points(config, number)), *behind]
    assert [point.meaning for point in points if not is_said(point.meaning)] == []
    assert [name for name in traits(config) if not is_said(name)] == []
    assert is_said(fits(config, 10**8, 512, TOY).sentence)
    rows = cost_rows(cost(config, positions=512, weight_dtype="float32"))
    assert [label for label in rows if not is_said(label)] == []
    assert [label for label in facts(config) if not is_said(label) and not label.startswith("d_")] == []


def test_words_inside_a_form_are_translated_too() -> None:
    sentence = "It fits: it needs 1 MB and 2 GB are free on the CPU (3 MB weights in float32, 4 MB cache for 512 "
    said_of_it = said(f"{sentence}positions, 5 MB to work in).", lambda text: text if "{" in text else text.upper())
    assert said_of_it.startswith("IT FITS: it needs 1 MB and 2 GB are free on THE CPU (3 MB weights in float32,")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what norm 1 divides by", "⟦what norm 1 divides by⟧"),
        ("reading model.layers.0.weight", "⟦reading model.layers.0.weight⟧"),
        ("weights read", "⟦weights read⟧"),
        ("model.safetensors", "model.safetensors"),
        ("", ""),
        ("{0} of {1}", "{0} of {1}"),
        ("reading {0} {1} {", "⟦reading {0} {1} {⟧"),  # a name with braces is a name
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert said(text, marked) == expected


def test_sources() -> None:
    assert sources_text("captured + recomputed", marked) == "⟦captured⟧ + ⟦recomputed⟧"
    assert sources_text("", marked) == ""


def test_no_word_is_made_by_a_form() -> None:
    """Else it would depend on the order which translation is shown."""
    assert [form for form in FORMS if form in WORDS] == []
