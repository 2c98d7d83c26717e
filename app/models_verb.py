"""``fluoroscope models``: the catalog, what lies on this computer, what the hub lists, and what fits.

Imports no Qt, and torch only where a GPU is asked for.
"""

from __future__ import annotations

import sys

from app.command_line import Options
from app.models_csv import csv_table, hub_csv
from app.models_rows import ModelRow, Wanted, catalog_rows, device_named, local_rows, row_named
from app.models_text import card, catalog_table, heading, hub_table, local_table
from app.terminal import print_lines, shown, table_width, terminal_width
from engine.checkpoint.catalog import catalog_complaint
from engine.checkpoint.fetch import default_cache
from engine.checkpoint.fits import DiskFit, disk
from engine.checkpoint.room import computing_type
from engine.errors import EngineError


def list_models(options: Options) -> int:
    """Print what was asked for; 0, or 1 where there is nothing of it. Raises EngineError."""
    if options.search:
        return _search(options)
    device = device_named(options.device)
    wanted = Wanted(options.context, device, computing_type(options.dtype, device.name))
    return _one(options, wanted) if options.name else _all(options, wanted)


def _search(options: Options) -> int:
    from engine.checkpoint.hub import search

    found = search(options.search)
    print_lines(hub_csv(found) if options.csv else hub_table(found, table_width()) if found else [])
    if not found:
        _complain(f"The hub lists no model for {options.search!r}.")
    return int(not found)


def _one(options: Options, wanted: Wanted) -> int:
    row = row_named(options.name, wanted)
    print_lines(csv_table([row]) if options.csv else card(row, wanted, _disk(row.size), terminal_width()))
    if row.complaint:
        _complain(row.complaint)
    return int(bool(row.complaint))


def _all(options: Options, wanted: Wanted) -> int:
    listed = [] if options.local else catalog_rows(wanted)
    found = [] if options.catalog else list(local_rows(wanted))
    print_lines(csv_table([*listed, *found]) if options.csv else _text(options, wanted, listed, found))
    if catalog_complaint():
        _complain(catalog_complaint())
    return int(bool(catalog_complaint()))


def _text(options: Options, wanted: Wanted, listed: list[ModelRow], found: list[ModelRow]) -> list[str]:
    lines, width = heading(wanted, _disk(0)), table_width()
    if not options.local:
        lines += ["", "catalog", *catalog_table(listed, width)]
    if not options.catalog:
        nothing = "nothing in the caches of Fluoroscope, the hub, Ollama and LM Studio"
        lines += ["", "on this computer", *(local_table(found, width) if found else [nothing])]
    return lines


def _disk(size: int) -> DiskFit | None:
    """Whether a download has its place; None without a home folder: there is no place for any."""
    try:
        return disk(size, default_cache())
    except EngineError:
        return None


def _complain(sentence: str) -> None:
    print(f"fluoroscope: {shown(sentence)}", file=sys.stderr)
