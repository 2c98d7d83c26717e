"""Which files a build was made from, by PyInstaller's own records."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.packaging.contents import NAME

LINK = "SYMLINK"


def bundled_sources(work: Path, inners: tuple[Path, ...]) -> list[Path]:
    """The files whose content is in the build: Python code, and whatever is still there after pruning."""
    records = work / "work" / NAME
    collected = _rows(_read(records / "COLLECT-00.toc"))
    code = _rows(_read(records / "PYZ-00.toc"))
    here = [source for name, source, kind in collected if kind != LINK and _is_there(name, inners)]
    paths = {Path(source) for source in (*here, *(source for _, source, _ in code)) if _is_file(source)}
    return sorted(path for path in paths if work not in path.parents)  # what PyInstaller made is of the others' code


def _is_there(name: str, inners: tuple[Path, ...]) -> bool:
    return any((inner / name).exists() for inner in inners)


def _is_file(source: str) -> bool:
    return source not in ("", "-") and Path(source).is_file()


def _read(path: Path) -> Any:
    return ast.literal_eval(path.read_text(encoding="utf-8"))


def _rows(found: Any) -> Iterator[tuple[str, str, str]]:
    """Every (name, source, kind) of a record, however deep it lies."""
    if isinstance(found, tuple) and len(found) == 3 and all(isinstance(field, str | None) for field in found):
        yield found[0], found[1] or "", found[2] or ""
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _rows(each)
