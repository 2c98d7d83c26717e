"""The inventory of a model: every tensor of its files, what it is for, and what the whole adds up to.

From headers alone: no weight is read, nothing is downloaded, and torch is not imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.checkpoint.accounts import Component
from engine.checkpoint.entries import Entry, Reading
from engine.checkpoint.headers import Headers, local_path, read_headers
from engine.checkpoint.source import Source, resolve
from engine.checkpoint.stored import Origin, origin_of
from engine.checkpoint.titles import title_of
from engine.config import ModelConfig
from engine.errors import SourceError


@dataclass(frozen=True)
class Inventory:
    """``entries`` in the order of the pass; what has no place in it comes last, by name, layer 2 before layer 10.

    ``files``: name and bytes of each. ``config`` is None, and ``components`` empty, for a model that is not supported.
    ``missing``: tensors that the config needs and the files lack, at most MOST_MISSING of them. ``complaints``:
    sentences that say why the model cannot be loaded, none where its headers are as they should be. ``origin``: how to
    read the tensors themselves; None where the files are not on this machine.
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
    origin: Origin | None = field(default=None, compare=False, repr=False)

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


def inventory(source: str | os.PathLike[str], check: Callable[[], None] = lambda: None) -> Inventory:
    """What a model's files hold.

    Args:
        source: a folder with config.json and safetensors, a .gguf file, a catalog name or hub id that is built in or in
            the cache.
        check: called now and then; what it raises ends the reading.

    Raises:
        SourceError, CheckpointError, ConfigError: there is nothing sound to list; the sentence says why and what to do.
    """
    found = resolve(source)
    path = local_path(found)
    headers = read_headers(path, check)
    name = _title(found) or title_of(path)
    files = _sizes(headers)
    check()
    return inventory_of(headers, name, found.text, files, check, origin_of(headers))


def _sizes(headers: Headers) -> tuple[tuple[str, int], ...]:
    """Raises SourceError where a file has gone since its header was read."""
    try:
        return tuple((file.name, file.stat().st_size) for file in headers.files)
    except OSError as error:
        raise SourceError(f"The file {error.filename} cannot be read: {error.strerror}.") from error


def inventory_of(
    headers: Headers,
    name: str,
    source: str,
    files: tuple[tuple[str, int], ...],
    check: Callable[[], None] = lambda: None,
    origin: Origin | None = None,
) -> Inventory:
    """What headers tell, wherever they were read. Raises CheckpointError where two tensors have the same name."""
    read = Reading(headers, check)
    return Inventory(
        name=name,
        source=source,
        format=headers.format,
        stored_as=f"{headers.format} {read.common_type}",
        files=files,
        config=headers.config,
        entries=read.entries,
        components=read.components,
        missing=read.missing,
        complaints=read.complaints,
        origin=origin,
    )


def _title(found: Source) -> str:
    return found.entry.title if found.entry is not None else str(found.hub or "")
