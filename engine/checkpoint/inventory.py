"""The inventory of a model: every tensor of its files, what it is for, and what the whole adds up to.

From headers alone: no weight is read, nothing is downloaded, and torch is not imported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from engine.checkpoint.accounts import Component
from engine.checkpoint.entries import Entry, Reading
from engine.checkpoint.headers import local_path, read_headers
from engine.checkpoint.source import Source, resolve
from engine.config import ModelConfig


@dataclass(frozen=True)
class Inventory:
    """``entries`` in the order of the pass; what has no place in it comes last, by name, layer 2 before layer 10.

    ``files``: name and bytes of each. ``config`` is None, and ``components`` empty, for a model that is not supported.
    ``missing``: tensors that the config needs and the files lack, at most MOST_MISSING of them. ``complaints``:
    sentences that say why the model cannot be loaded, none where its headers are as they should be.
    """

    name: str
    source: str
    format: str
    stored_as: str
    files: tuple[tuple[str, int], ...]
    config: ModelConfig | None
    entries: tuple[Entry, ...]
    components: tuple[Component, ...]
    missing: tuple[str, ...]
    complaints: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all tensors in the files, the unused ones too."""
        return sum(entry.size for entry in self.entries)

    @property
    def parameters(self) -> int:
        """How many the decoder has; a tied embedding counts once."""
        return sum(component.parameters for component in self.components)

    @property
    def active(self) -> int:
        """How many take part in one token's pass: all but those of the routed experts that it is not sent to."""
        return sum(component.active for component in self.components)


def inventory(source: str | os.PathLike[str]) -> Inventory:
    """What a model's files hold.

    Args:
        source: a folder with config.json and safetensors, a .gguf file, a catalog name or hub id that is built in or in
            the cache.

    Raises:
        SourceError, CheckpointError, ConfigError: there is nothing sound to list; the sentence says why and what to do.
    """
    found = resolve(source)
    path = local_path(found)
    headers = read_headers(path)
    name = _title(found) or (path.resolve().stem if found.kind == "gguf" else path.resolve().name)
    files = tuple((file.name, file.stat().st_size) for file in headers.files)
    read = Reading(headers)
    return Inventory(
        name=name,
        source=found.text,
        format=headers.format,
        stored_as=f"{headers.format} {read.common_type}",
        files=files,
        config=headers.config,
        entries=read.entries,
        components=read.components,
        missing=read.missing,
        complaints=read.complaints,
    )


def _title(found: Source) -> str:
    return found.entry.title if found.entry is not None else str(found.hub or "")
