"""Prompts to try, as data: the first lies ready in the prompt field when the program opens on its own model."""

from __future__ import annotations

import json
from dataclasses import dataclass

import resources

FILE = "demo_model/prompts.json"


@dataclass(frozen=True)
class Example:
    """``name``: one or two words for a menu."""

    name: str
    text: str


class ExamplesError(Exception):
    """The file of examples is missing or damaged; the sentence says so."""


def read_examples() -> tuple[Example, ...]:
    """Every example, the ready one first. Raises ExamplesError."""
    try:
        rows = json.loads(resources.path(FILE).read_bytes())
        return tuple(Example(_text(row, "name"), _text(row, "text")) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExamplesError(
            f"There are no prompts to try: resources/{FILE} cannot be read ({error}); install Fluoroscope again."
        ) from error


def _text(row: dict[str, str], key: str) -> str:
    if not isinstance(row[key], str) or not row[key].strip():
        raise ValueError(f"the {key} of an example is no text")
    return row[key]
