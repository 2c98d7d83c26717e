"""Tensors as comma-separated values, and which of them a search finds. Imports no Qt and no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.csv_text import cells
from app.terminal import shown

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry

COLUMNS = (
    "name",
    "role",
    "component",
    "layer",
    "expert",
    "shape",
    "symbols",
    "dtype",
    "bytes",
    "parameters",
    "file",
    "state",
)


def searched(entry: Entry) -> str:
    """The text of an entry in which a search looks, in small letters."""
    return f"{entry.name}\n{entry.role}".lower()


def matches(entry: Entry, text: str) -> bool:
    """Whether name or role have the text in them, in any letter case; "" is in all."""
    return text.lower() in searched(entry)


def csv_lines(entries: Iterable[Entry]) -> list[str]:
    """The heading and a line an entry, without line ends."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(cells(_cells(entry)) for entry in entries)
    return table.getvalue().splitlines()


def _cells(entry: Entry) -> tuple[object, ...]:
    """None (no layer, no expert) becomes an empty cell; axes are separated by blanks."""
    shape, symbols = " ".join(map(str, entry.shape)), " ".join(s.replace(" ", "") for s in entry.symbols)
    where = entry.role, entry.component, entry.layer, entry.expert
    held = entry.dtype, entry.size, entry.parameters
    return shown(entry.name), *where, shape, symbols, *held, shown(entry.file), entry.state
