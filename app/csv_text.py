"""Cells of a table that a spreadsheet takes as they are meant. Imports no Qt and no torch."""

from __future__ import annotations

from collections.abc import Iterable

_FORMULAS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")  # OWASP, "CSV injection"


def cell(value: object) -> object:
    """A text that a spreadsheet would compute gets an apostrophe before it: files of others have such names and notes.
    Figures stay figures."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\\x0d")  # where it is not quoted a line would end
    return f"'{text}" if text.startswith(_FORMULAS) else text


def cells(row: Iterable[object]) -> list[object]:
    """The cells of one line."""
    return [cell(value) for value in row]
