"""Removes from the build what is never used. Every removal is by a pattern of ``contents.py``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from resources.packaging.contents import OPENED_BY_NAME, PRUNED

LIBRARY = re.compile(r"\.(so|dylib|dll|pyd)(\.[\d.]+)?$")


def prune(inner: Path, patterns: Iterable[str] = PRUNED) -> list[Path]:
    """Remove what the patterns name, relative to ``inner``, and links that then lead nowhere; what was removed."""
    found = sorted({path for pattern in patterns for path in inner.glob(pattern)})
    for path in found:
        _remove(path)
    return found + _remove_dead_links(inner)


def drop_orphans(inner: Path, kept: Iterable[str] = OPENED_BY_NAME) -> list[Path]:
    """Remove loose libraries that nothing needs any more (Linux: objdump reads it).

    Python's own modules are not called lib... A link stands for the library that it leads to, which goes with it.
    """
    loose = {path.name: path for path in inner.glob("lib*") if LIBRARY.search(path.name) and not path.is_dir()}
    led_to = {path.resolve() for path in loose.values()}
    roots = [path for path in libraries(inner) if path.resolve() not in led_to]
    roots += [path for path in loose.values() if any(path.match(pattern) for pattern in kept)]
    needed = closure(roots, loose) | {path.name for path in roots}
    orphans = [path for name, path in loose.items() if name not in needed]
    for path in orphans:
        _remove(path.resolve())
        path.unlink(missing_ok=True)
    return orphans + _remove_dead_links(inner)


def closure(roots: Iterable[Path], loose: dict[str, Path]) -> set[str]:
    """Names of libraries that the roots need, directly or through others."""
    needed: set[str] = set()
    waiting = list(roots)
    while waiting:
        new = {name for name in needs(waiting.pop()) if name not in needed}
        needed |= new
        waiting += [loose[name] for name in new if name in loose]
    return needed


def needs(library: Path) -> list[str]:
    """What an ELF file names as needed."""
    said = subprocess.run(["objdump", "-p", str(library)], capture_output=True, text=True, errors="replace").stdout
    return re.findall(r"^\s*NEEDED\s+(\S+)$", said, re.M)


def libraries(inner: Path) -> Iterator[Path]:
    """Every library once: links are not followed."""
    for folder, _, names in os.walk(inner):
        paths = (Path(folder, name) for name in names if LIBRARY.search(name))
        yield from (path for path in paths if not path.is_symlink())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)  # it may have lain in a folder that is already gone


def _remove_dead_links(inner: Path) -> list[Path]:
    dead = [path for path in sorted(inner.rglob("*")) if path.is_symlink() and not path.exists()]
    for path in dead:
        path.unlink()
    return dead
