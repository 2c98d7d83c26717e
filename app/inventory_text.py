"""An inventory as text for a terminal of 80 columns or more. Imports no Qt and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.terminal import aligned, shortened, shown, too_long, wrapped
from app.widgets.amounts import bytes_text, percent
from engine.checkpoint.facts import facts
from engine.checkpoint.folding import Group, folded, ranges

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry, State
    from engine.checkpoint.inventory import Inventory

LEAST_NAME = 24  # columns that a name keeps when it is shortened

NOTES: dict[State, str] = {
    "used": "",
    "tied": "tied",
    "setting": "setting",
    "copy": "unused copy",
    "ignored": "unused",
    "unknown": "unknown, unused",
    "misfit": "does not fit",
    "": "",
}


def summary(inventory: Inventory, width: int) -> list[str]:
    """What the model is, and what its parameters add up to."""
    count = len(inventory.files)
    files = f"{'1 file' if count == 1 else f'{count} files'} of {bytes_text(sum(size for _, size in inventory.files))}"
    kind = "" if inventory.config is None else f"{inventory.config.family}, "
    lines = [f"{inventory.name}: {kind}{inventory.stored_as}, {files}"]
    if inventory.config is not None:
        lines += wrapped((f"{label} {value}" for label, value in facts(inventory.config).items()), width)
    return lines + (_accounts(inventory) if inventory.components else [])


def _accounts(inventory: Inventory) -> list[str]:
    """The table of components; with experts also what one token uses of each."""
    assert inventory.config is not None
    total, active = inventory.parameters, inventory.active
    rows: list[tuple[str, ...]] = [("", "parameters", "share", "active per token", "bytes in file")]
    for part in inventory.components:
        shares = f"{part.parameters:,}", percent(part.parameters / total)
        rows.append((part.name, *shares, f"{part.active:,}", bytes_text(part.size)))
    if inventory.config.tied:
        rows.append(("unembedding", "tied", "", "", ""))
    stored = sum(part.size for part in inventory.components)
    rows.append(("total", f"{total:,}", "100 %", f"{active:,}", bytes_text(stored)))
    if total == active:
        rows = [(*row[:3], row[4]) for row in rows]
    return ["", *aligned(rows, right=range(1, 5)), *_below(inventory, total, active)]


def _below(inventory: Inventory, total: int, active: int) -> list[str]:
    unused = inventory.size - sum(part.size for part in inventory.components)
    lines = [f"in memory: {bytes_text(4 * total)} as float32, {bytes_text(2 * total)} as bfloat16"]
    if unused:
        lines.append(f"besides, {bytes_text(unused)} in the files are of tensors that are no parameters of the model")
    if total != active:
        lines.append("active: all but the routed experts that a token is not sent to; the embedding counts whole")
    return lines


def page(inventory: Inventory, width: int) -> list[str]:
    """Every group of layers once."""
    groups = folded(inventory.entries)
    rows = [_row(row.entry, row.name, row.size, row.count) for group in groups for row in group.rows]
    table = _fitted([_HEAD, *rows], width, drop=(_NAME, _SYMBOLS))
    lines, start, behind = ["", table[0]], 1, False
    for group in groups:
        lines += [_heading(group, behind), *table[start : start + len(group.rows)]]
        start, behind = start + len(group.rows), behind or bool(group.layers)
    return lines


def listing(entries: Sequence[Entry], width: int) -> list[str]:
    """Every tensor, one a line, by its name."""
    rows = [_row(entry, entry.name, entry.size, 1) for entry in entries]
    by_name = [(row[_NAME], *row[:_NAME], *row[_NAME + 1 :]) for row in [_HEAD, *rows]]
    return ["", *_fitted(by_name, width, drop=(_SYMBOLS + 1,))]


_HEAD = ("role", "shape", "in symbols", "stored as", "bytes", "name", "note")
_SYMBOLS, _BYTES, _NAME = 2, 4, 5


def _heading(group: Group, behind: bool) -> str:
    """``behind``: layers came before."""
    if len(group.layers) == 1:
        return f"layer {group.layers[0]}, {bytes_text(group.size)}"
    if group.layers:
        return f"layers {ranges(group.layers)}, each {bytes_text(group.size)}"
    if not any(row.entry.role for row in group.rows):
        return "without a role"
    return "behind the layers" if behind else "before the layers"


def _row(entry: Entry, name: str, size: int, count: int) -> tuple[str, ...]:
    role = entry.role or "-"
    times = f" x {count}" if count > 1 else ""
    expert = f" expert {entry.expert}" if entry.expert is not None and count == 1 else ""
    shape = f"[{', '.join(map(str, entry.shape))}]"
    symbols = f"[{', '.join(entry.symbols)}]" if entry.symbols else ""
    return f"{role}{expert}{times}", shape, symbols, entry.dtype, bytes_text(size), shown(name), NOTES[entry.state]


def _fitted(rows: Sequence[tuple[str, ...]], width: int, drop: Sequence[int]) -> list[str]:
    """Aligned; columns are dropped in turn while a line is too long, and then the first column is shortened."""
    kept = list(rows)
    for column in sorted(drop, reverse=True):
        if too_long(kept, width) > 0:
            kept = [(*row[:column], *row[column + 1 :]) for row in kept]
    over = too_long(kept, width)
    if over > 0:
        most = max(LEAST_NAME, max(len(row[0]) for row in kept) - over)
        kept = [(shortened(row[0], most), *row[1:]) for row in kept]
    return aligned(kept, right=(kept[0].index("bytes"),))
