"""Lines for a terminal: tables, names that are harmless to show, comma-separated values. Imports no Qt and no torch."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from app.csv_text import cell

GAP = "  "
LEAST_WIDTH, WIDTH, MOST_WIDTH = 80, 100, 120  # columns; the middle one where there is no terminal
UNLIMITED = 10_000  # what is piped on keeps its names whole


def terminal_width() -> int:
    """Columns for text, within bounds that can be read."""
    return min(max(shutil.get_terminal_size((WIDTH, 24)).columns, LEAST_WIDTH), MOST_WIDTH)


def table_width() -> int:
    """Columns for a table; a pipe has no end."""
    return terminal_width() if sys.stdout.isatty() else UNLIMITED


def print_lines(lines: Iterable[str]) -> None:
    """To stdout; whoever reads it may stop reading (``| head``), which is no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may have no "·"
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere


def shown(name: str) -> str:
    """A name from a file, harmless to a terminal: what cannot be printed is written as its code."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def csv_line(cells: Iterable[object]) -> str:
    """One line of comma-separated values, without its end; None is an empty cell."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(cell, cells))
    return line.getvalue().removesuffix("\n")


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int]) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; those of ``right`` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    to_the_right = set(right)

    def cell(text: str, column: int) -> str:
        return text.rjust(widths[column]) if column in to_the_right else text.ljust(widths[column])

    return [GAP.join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in rows]


def too_long(rows: Sequence[Sequence[str]], width: int) -> int:
    """By how many characters the aligned rows exceed the width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + len(GAP) * (len(widths) - 1) - width


def shortened(text: str, most: int) -> str:
    """The beginning and the end: names differ in both."""
    half = most // 2
    return text if len(text) <= most else f"{text[: most - half - 1]}…{text[-half:]}"


def wrapped(pairs: Iterable[str], width: int) -> list[str]:
    """Several to a line, each of them whole."""
    kept = (pair.replace(" ", "\N{NO-BREAK SPACE}") for pair in pairs)
    lines = textwrap.wrap("    ".join(kept), width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
