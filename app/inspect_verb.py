"""``fluoroscope inspect SOURCE``: what a model's files hold, from their headers. Imports no Qt and no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.command_line import Options
from app.inventory_csv import csv_lines, matches
from app.inventory_text import listing, page, summary
from app.terminal import print_lines, shown, table_width, terminal_width
from engine.checkpoint.entries import Entry
from engine.checkpoint.inventory import Inventory, inventory


def inspect_model(options: Options) -> int:
    """Print the inventory; 0, or 1 where the model could not be loaded or nothing was found. Raises EngineError."""
    found = inventory(options.name)
    entries = [entry for entry in found.entries if matches(entry, options.search)]
    complaints = list(found.complaints)
    if options.search and not entries:
        complaints.append(f"No tensor of {found.name} has {options.search!r} in its name or role.")
    print_lines(csv_lines(entries) if options.csv else _text(found, entries, options))
    for sentence in complaints:
        print(f"fluoroscope: {shown(sentence)}", file=sys.stderr)
    return int(bool(complaints))


def _text(found: Inventory, entries: Sequence[Entry], options: Options) -> list[str]:
    width, room = terminal_width(), table_width()
    if options.search:
        return listing(entries, room)[1:] if entries else []
    return [*summary(found, width), *(listing(entries, room) if options.tensors else page(found, width))]
