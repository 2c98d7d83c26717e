"""What a source of a model is: a folder, a GGUF file, a name of the catalog, or a hub id.

A hub id is ``org/name[@revision][:FILE]``; FILE is a GGUF file of the repository or a quantisation, such as Q4_K_M.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.checkpoint.built_in import built_in_folder
from engine.checkpoint.catalog import CatalogEntry, entry, names_hint
from engine.checkpoint.safetensors_file import PICKLES
from engine.errors import SourceError

_HUB_ID = re.compile(
    r"(?P<repo>[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95})"
    r"(?:@(?P<revision>[\w-][\w./-]{0,127}))?"
    r"(?::(?P<file>\w[\w.+-]*(?:/\w[\w.+-]*)*))?",
    re.ASCII,
)
LONGEST_FILE = 200  # characters of a hub id's file part


@dataclass(frozen=True)
class HubId:
    """A repository of the hub at a branch, tag or commit; ``file``: one of its GGUF files, or a quantisation's tag."""

    repo: str
    revision: str = "main"
    file: str = ""

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return self.repo + revision + (self.file and f":{self.file}")


@dataclass(frozen=True)
class Source:
    """``text`` as the user gave it; the field that belongs to ``kind`` is set, and ``path`` where it needs no cache."""

    kind: Literal["folder", "gguf", "catalog", "hub"]
    text: str
    path: Path | None = None
    entry: CatalogEntry | None = None
    hub: HubId | None = None


def hub_id(text: str) -> HubId | None:
    """``org/name[@revision][:FILE]``, or None where the text is not one."""
    match = _HUB_ID.fullmatch(text)
    if match is None or ".." in text:
        return None
    file = match["file"] or ""
    if len(file) > LONGEST_FILE or ("/" in file and not file.endswith(".gguf")):
        return None
    return HubId(match["repo"], match["revision"] or "main", file)


def resolve(source: str | os.PathLike[str]) -> Source:
    """Tell what a source is. Raises SourceError with one sentence where it is nothing that can be loaded."""
    text = os.fspath(source).strip()
    if not text or "\0" in text:
        raise SourceError("No model was named; give a folder, a .gguf file, a catalog name or a hub id org/name.")
    known = entry(text) if isinstance(source, str) else None
    if known is not None:
        return Source("catalog", text, entry=known, path=built_in_folder(known) if known.built_in else None)
    path = _expanded(text)
    if _exists(path):
        return _local(text, path)
    hub = hub_id(text) if isinstance(source, str) else None
    if hub is None or (path.suffix == ".gguf" and not hub.file):
        hint = names_hint(text)
        raise SourceError(f"There is no file or folder {text}; it is no hub id org/name and no catalog name ({hint}).")
    return Source("hub", text, hub=hub)


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # "~" without a home, or of a user who does not exist
        raise SourceError(f"There is no file or folder {text}: its ~ stands for no home folder.") from error


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:  # on Windows: the colon of a hub id cannot be in a name
            return False
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    return True


def _local(text: str, path: Path) -> Source:
    if path.is_dir():
        return Source("folder", text, path=_readable_folder(path))
    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder; open a .gguf file or a folder with config.json.")
    if path.suffix.lower() in PICKLES:
        raise SourceError(
            f"{path.name} is a pickle file, which can run any program when opened; "
            "get the model as safetensors or GGUF."
        )
    if path.suffix.lower() == ".safetensors":
        raise SourceError(f"{path.name} holds weights only; open the folder that has its config.json as well.")
    if path.suffix.lower() != ".gguf" and not _begins_with_gguf(path):
        raise SourceError(f"{path.name} is no GGUF file; open a .gguf file or a folder with config.json.")
    return Source("gguf", text, path=path)


def _begins_with_gguf(path: Path) -> bool:
    """Files of other names (a content-addressed cache) may still be GGUF."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error


def _readable_folder(path: Path) -> Path:
    try:
        names = {found.name for found in path.iterdir()}
    except OSError as error:
        raise SourceError(f"The folder {path} cannot be read: {error.strerror}.") from error
    if "config.json" in names:
        return path
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    hint = f"; open {ggufs[0]} in it instead" if ggufs else ", so it holds no model"
    raise SourceError(f"The folder {path} has no config.json{hint}.")
