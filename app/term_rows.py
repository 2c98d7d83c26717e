"""Rows of a data file that comes with the program, checked when it is read. Imports no Qt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import resources

_MOST_LETTERS = 4000  # of one text: it is read on a screen


class TextsError(Exception):
    """A file of texts is missing or damaged; the sentence says so."""


def read_rows(file: str) -> list[Mapping[str, Any]]:
    """The objects of a JSON list. Raises TextsError."""
    try:
        rows = json.loads(resources.path(file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TextsError(
            f"The explanations in resources/{file} cannot be read ({error}); install Fluoroscope again."
        ) from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise damaged(file, "it is no list of entries")
    return rows


def damaged(file: str, why: str) -> TextsError:
    """The error of a file whose content makes no sense."""
    return TextsError(f"The explanations in resources/{file} are damaged ({why}); install Fluoroscope again.")


def text(file: str, row: Mapping[str, Any], key: str, *, needed: bool = False) -> str:
    """A field that is a text, "" where there may be none."""
    found = row.get(key, "")
    if not isinstance(found, str) or len(found) > _MOST_LETTERS or (needed and not found.strip()):
        raise damaged(file, f"the {key} of {_label(row)} is no fitting text")
    return found


def texts(file: str, row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A field that is a list of texts, () where there is none."""
    found = row.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
        raise damaged(file, f"the {key} of {_label(row)} is no list of texts")
    return tuple(found)


def _label(row: Mapping[str, Any]) -> str:
    return repr(next((row[key] for key in ("key", "stage", "panel") if key in row), "an entry"))[:80]
