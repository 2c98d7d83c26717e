"""An inventory on one page: layers whose tensors are alike stand together, and so do the experts of a layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry


@dataclass(frozen=True)
class Row:
    """``count`` tensors of a layer, or of no layer, that differ by their number only; ``entry`` is the first of them.

    ``name``: that of all, with "*" for the numbers that differ from one to the next; ``size``: bytes of all.
    """

    entry: Entry
    count: int
    name: str
    size: int


@dataclass(frozen=True)
class Group:
    """``layers`` that have the same rows, () for what belongs to no layer; rows and ``size`` are those of one layer."""

    layers: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        return sum(row.size for row in self.rows)


def folded(entries: Iterable[Entry]) -> tuple[Group, ...]:
    """The entries in groups, in their order; a group stands where its first layer does."""
    groups: dict[object, tuple[list[int], tuple[Row, ...]]] = {}
    for key, section in sections(entries).items():
        rows = tuple(map(_row, kinds(section)))
        layer = key[1]
        alike = key if layer is None else tuple((*_kind(row.entry), row.count) for row in rows)
        layers, _ = groups.setdefault(alike, ([], rows))
        layers.extend(() if layer is None else (layer,))
    return tuple(Group(tuple(layers), rows) for layers, rows in groups.values())


def sections(entries: Iterable[Entry]) -> dict[tuple[bool, int | None, bool], list[Entry]]:
    """The entries of each layer, and of none; by (have a role, layer, layers came before)."""
    found: dict[tuple[bool, int | None, bool], list[Entry]] = {}
    seen_a_layer = False
    for entry in entries:
        seen_a_layer |= entry.layer is not None
        found.setdefault((bool(entry.role), entry.layer, seen_a_layer), []).append(entry)
    return found


def kinds(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Those that differ by a number in their name only stand together."""
    found: dict[tuple, list[Entry]] = {}
    for entry in entries:
        found.setdefault((*_kind(entry), _starred(entry.name)), []).append(entry)
    return list(found.values())


def _row(same: Sequence[Entry]) -> Row:
    return Row(same[0], len(same), _common(same), sum(entry.size for entry in same))


def _kind(entry: Entry) -> tuple:
    return entry.role, entry.component, entry.shape, entry.dtype, entry.state


def _starred(name: str) -> str:
    """With a star for every number: names of one pattern have it in common."""
    return re.sub(r"\d+", "*", name)


def _common(entries: Sequence[Entry]) -> str:
    """The names in one: stars for the numbers that differ among them, and for the layer's."""
    names = [re.split(r"(\d+)", entry.name) for entry in entries]
    first, layer = names[0], entries[0].layer
    of_layer = next((i for i, part in enumerate(first) if layer is not None and part == str(layer)), None)
    differing = {i for i in range(1, len(first), 2) if len({name[i] for name in names}) > 1}
    return "".join("*" if i in differing or i == of_layer else part for i, part in enumerate(first))


def ranges(layers: Iterable[int]) -> str:
    """(0, 1, 2, 5) as "0-2, 5"."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
