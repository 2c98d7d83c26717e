"""Look through folders for models, with care: bounded, without following a loop, and past what cannot be read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.checkpoint.safetensors_file import INDEX

MOST_ENTRIES = 20_000  # looked at in one place: a folder of photographs is given up after a second
LARGEST_INDEX = 16 * 2**20  # bytes; that of a model of 90,000 tensors has 9 MB
MOST_PARTS = 1000
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PROJECTORS = ("mmproj",)  # what sees, beside a language model: no model of its own


class Visit:
    """One place that is looked through: it counts what was looked at, and knows the folders it has been in."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._left = MOST_ENTRIES
        self._seen: set[tuple[int, int]] = set()

    def children(self, folder: Path) -> list[Path]:
        """What a folder holds, by name; nothing of one that cannot be read, or was looked through before."""
        self._check()
        try:
            known = folder.stat()
            if (known.st_dev, known.st_ino) in self._seen or self._left <= 0:
                return []
            self._seen.add((known.st_dev, known.st_ino))
            with os.scandir(folder) as found:
                names = [entry.name for _, entry in zip(range(self._left), found, strict=False)]
        except (OSError, ValueError):  # ValueError: a name that no folder can have
            return []
        self._left -= len(names)
        return [folder / name for name in sorted(names)]

    def folders(self, folder: Path, depth: int) -> Iterator[Path]:
        """The folders exactly ``depth`` levels below one."""
        for child in filter(is_folder, self.children(folder)):
            yield from [child] if depth == 1 else self.folders(child, depth - 1)

    def models(self, folder: Path, depth: int) -> Iterator[Path]:
        """Model folders and GGUF files in a folder and at most ``depth`` levels below, but none inside a model."""
        children = self.children(folder)
        names = {child.name for child in children}
        whole = "config.json" in names and any(name.endswith(".safetensors") or name == INDEX for name in names)
        if whole:
            yield folder
        yield from gguf_models(children)
        if depth and not whole:
            for child in filter(is_folder, children):
                yield from self.models(child, depth - 1)


def gguf_models(files: list[Path]) -> Iterator[Path]:
    """The GGUF files that are models: of a split one the first that is there."""
    stems: set[str] = set()
    for file in files:
        part = _PART.fullmatch(file.name)
        stem = part["stem"] if part else file.name
        named = file.name.lower().endswith(".gguf") and not file.name.lower().startswith(_PROJECTORS)
        if named and stem not in stems and is_file(file):
            stems.add(stem)
            yield file


def gguf_name(file: Path) -> str:
    """The name of a GGUF model, without its suffix and the number of its part."""
    part = _PART.fullmatch(file.name)
    return part["stem"] if part else file.stem


def size_and_complaint(model: Path) -> tuple[int, str]:
    """Bytes of a model's weight files, and a sentence where they are not all there."""
    wanted = _of_folder(model) if model.is_dir() else _of_gguf(model)
    if isinstance(wanted, str):
        return 0, wanted
    sizes = {file: size for file in wanted if (size := file_size(file)) is not None}
    missing = next((file.name for file in wanted if file not in sizes), "")
    complaint = f"The file {missing} of this model is missing; download it again where it came from." if missing else ""
    return sum(sizes.values()), complaint


def _of_folder(folder: Path) -> list[Path] | str:
    """The weight files, or a sentence about an index that cannot be read."""
    if not is_file(folder / INDEX) and not os.path.islink(folder / INDEX):
        return sorted(folder.glob("*.safetensors"))
    table = read_table(folder / INDEX, LARGEST_INDEX)
    entries = table.get("weight_map") if table is not None else None
    if not isinstance(entries, dict) or not entries:
        return f"Its {INDEX} cannot be read; download the model again where it came from."
    names = {name for name in entries.values() if isinstance(name, str)}
    if any(Path(name).name != name or not name.endswith(".safetensors") for name in names) or not names:
        return f"Its {INDEX} names files that are no weights beside it; it cannot be opened."
    return [folder / name for name in sorted(names)]


def _of_gguf(file: Path) -> list[Path]:
    part = _PART.fullmatch(file.name)
    if part is None:
        return [file]
    numbers = range(1, min(int(part["count"]), MOST_PARTS) + 1)  # a name may claim any number
    return [file.with_name(f"{part['stem']}-{number:05}-of-{part['count']}.gguf") for number in numbers]


def read_table(path: Path, most: int) -> dict[str, Any] | None:
    """A JSON table of at most so many bytes, None for what is none or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > most:
            return None
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """False for a link that leads nowhere, and for a pipe or a device, which would never end."""
    try:
        return path.is_file()
    except OSError:
        return False


def file_size(path: Path) -> int | None:
    """None for what is no file."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
