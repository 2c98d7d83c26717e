"""How large the build is, part by part, and whether that is too large."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from resources.packaging.contents import INNER, NAME

MB = 1_000_000
# (wanted, never more) in bytes; a build for a graphics card has no budget
UNPACKED = (900 * MB, 920 * MB)
PACKED = (230 * MB, 250 * MB)
SMALLEST = MB // 2  # parts below this are one row

Parts = dict[str, int]  # bytes by part


def part(path: Path) -> str:
    """The part of the build that a file belongs to, from its path relative to the build."""
    parts = path.parts
    if INNER not in parts and "Contents" not in parts:
        return parts[0] if len(parts) > 1 else f"{NAME} and the Python code"
    inside = parts[parts.index(INNER) + 1 :] if INNER in parts else parts[2:]
    if len(inside) < 2:
        return "libraries"
    if inside[0].endswith(".dist-info"):
        return "metadata"
    return "/".join(inside[:2]) if inside[0] == "torch" and len(inside) > 2 else inside[0]


def measure(build: Path) -> Parts:
    """Bytes of the files of each part; a link counts as what it is itself."""
    sizes: Parts = defaultdict(int)
    for path in files(build):
        sizes[part(path.relative_to(build))] += path.lstat().st_size
    return dict(sizes)


def files(build: Path) -> Iterator[Path]:
    """Every file and link of the build, in a fixed order."""
    for folder, folders, names in os.walk(build):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in sorted((*names, *links)))


def table(before: Parts, after: Parts, packed: Parts | None = None) -> list[str]:
    """Largest first, in MB; what pruning removed can be read off."""
    lines = [_row("MB", "before", "pruned", "packed" if packed else "")]
    small = {name for name in before if max(before[name], after.get(name, 0)) < SMALLEST}
    rows = sorted({*before, *after} - small, key=lambda name: (-after.get(name, 0), -before.get(name, 0)))
    lines += [_figures(name, (name,), before, after, packed) for name in rows]
    lines.append(_figures(f"{len(small)} others", tuple(small), before, after, packed))
    return [*lines, _figures("together", tuple({*before, *after}), before, after, packed)]


def verdicts(unpacked: int, packed: int | None) -> list[tuple[bool, str]]:
    """For each budget whether the build may be shipped, and the sentence."""
    found = [_verdict("unpacked", unpacked, *UNPACKED)]
    return found if packed is None else [*found, _verdict("packed", packed, *PACKED)]


def _verdict(name: str, size: int, wanted: int, most: int) -> tuple[bool, str]:
    word = "reached" if size <= wanted else "MISSED" if size <= most else "TOO LARGE"
    return size <= most, f"{name} {size / MB:.1f} MB (target {wanted / MB:.0f}, never over {most / MB:.0f}): {word}"


def _figures(title: str, names: tuple[str, ...], *columns: Mapping[str, int] | None) -> str:
    sums = [None if column is None else sum(column.get(name, 0) for name in names) for column in columns]
    return _row(title, *("" if total is None else f"{total / MB:.1f}" for total in sums))


def _row(title: str, before: str, after: str, packed: str) -> str:
    return f"{title:<36}{before:>10}{after:>10}{packed:>10}".rstrip()
