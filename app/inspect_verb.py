"""``fluoroscope inspect SOURCE``: what a model's files hold, from their headers. Imports no Qt and no torch."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from app.command_line import Options
from app.inventory_text import listing, page, shown, summary
from engine.checkpoint.entries import Entry
from engine.checkpoint.inventory import Inventory, inventory

LEAST_WIDTH, WIDTH, MOST_WIDTH = 80, 100, 120  # columns; the middle one where there is no terminal
UNLIMITED = 10_000  # a list that is piped on keeps its names whole
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


def inspect_model(options: Options) -> int:
    """Print the inventory; 0, or 1 where the model could not be loaded or nothing was found. Raises EngineError."""
    found = inventory(options.name)
    entries = [entry for entry in found.entries if matches(entry, options.search)]
    complaints = list(found.complaints)
    if options.search and not entries:
        complaints.append(f"No tensor of {found.name} has {options.search!r} in its name or role.")
    _print(_csv_lines(entries) if options.csv else _text(found, entries, options))
    for sentence in complaints:
        print(f"fluoroscope: {shown(sentence)}", file=sys.stderr)
    return int(bool(complaints))


def matches(entry: Entry, text: str) -> bool:
    """Whether name or role have the text in them, in any letter case; "" is in all."""
    wanted = text.lower()
    return wanted in entry.name.lower() or wanted in entry.role.lower()


def _text(found: Inventory, entries: Sequence[Entry], options: Options) -> list[str]:
    width = min(max(shutil.get_terminal_size((WIDTH, 24)).columns, LEAST_WIDTH), MOST_WIDTH)
    room = width if sys.stdout.isatty() else UNLIMITED
    if options.search:
        return listing(entries, room)[1:] if entries else []
    return [*summary(found, width), *(listing(entries, room) if options.tensors else page(found, width))]


def _csv_lines(entries: Iterable[Entry]) -> list[str]:
    return [_csv_line(COLUMNS), *(_csv_line(_cells(entry)) for entry in entries)]


def _csv_line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _cells(entry: Entry) -> tuple[object, ...]:
    """None (no layer, no expert) becomes an empty cell; axes are separated by blanks."""
    shape, symbols = " ".join(map(str, entry.shape)), " ".join(s.replace(" ", "") for s in entry.symbols)
    where = entry.role, entry.component, entry.layer, entry.expert
    held = entry.dtype, entry.size, entry.parameters
    return shown(entry.name), *where, shape, symbols, *held, entry.file, entry.state


def _print(lines: Iterable[str]) -> None:
    """To stdout; whoever reads it may stop reading (``| head``), which is no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may have no "·"
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
