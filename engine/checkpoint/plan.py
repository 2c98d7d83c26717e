"""What a download consists of: decided once, from the hub's listing, and remembered until it is complete.

``download.json`` in the download's folder holds the plan, so that another session goes on with the same files of the
same commit, wherever the branch has moved meanwhile. Whoever reads it does not trust it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint.hub import CHECKSUM
from engine.checkpoint.listing import Choice, Listing, choices, choices_text, chosen, may_be_fetched
from engine.checkpoint.safetensors_file import INDEX, PICKLES, SINGLE, weight_map
from engine.checkpoint.source import HubId, hub_id
from engine.errors import CheckpointError, NetworkError, SourceError

BEGUN = "download.json"
BESIDE_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.json",
    "chat_template.jinja",
)
MOST_FILES = 2000


@dataclass(frozen=True)
class PlannedFile:
    """``path`` in the repository, ``name`` in the folder, ``size`` in bytes, ``checksum`` as Remote has it."""

    path: str
    name: str
    size: int
    checksum: str


@dataclass(frozen=True)
class Plan:
    """``source`` is the hub id, ``model`` what is loaded in the folder ("." or a GGUF file), ``file`` the GGUF file's
    name in the repository, "" for safetensors. A wheel's has neither ``repo`` nor ``commit``."""

    source: str
    repo: str
    commit: str
    model: str
    file: str
    files: tuple[PlannedFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def folder(self) -> str:
        """Where in the cache it goes: GGUF models of one commit lie apart, by a short name that fits any disk."""
        mark = f"-{hashlib.sha256(self.file.encode()).hexdigest()[:8]}" if self.file else ""
        return f"{self.repo.replace('/', '--')}/{self.commit}{mark}"


def plan(hub: HubId, listing: Listing, read: Callable[[str], bytes]) -> Plan:
    """What to fetch of a repository. ``read`` brings a small file of it (the index of the weights).

    Raises SourceError where it holds no model that can be loaded, or several GGUF models and ``hub`` says not which.
    """
    if hub.file or only_gguf(listing):
        choice = _choice(hub, listing)
        names = {path: path.rpartition("/")[2] for path in choice.parts}
        return _planned(hub, listing, names, names[choice.file], choice.file)
    if "config.json" not in listing.files:
        raise SourceError(f"{listing.repo} has no config.json on the hub, so it holds no model that can be loaded.")
    beside = [name for name in BESIDE_WEIGHTS if name in listing.files]
    paths = [*beside, *weight_files(listing, read)]
    return _planned(hub, listing, {path: path for path in paths}, ".", "")


def only_gguf(listing: Listing) -> bool:
    """Whether a repository has its weights as GGUF files and not as safetensors."""
    return bool(choices(listing)) and INDEX not in listing.files and SINGLE not in listing.files


def _choice(hub: HubId, listing: Listing) -> Choice:
    if hub.file:
        return chosen(listing, hub.file)
    text = choices_text(str(hub), choices(listing))
    raise SourceError(f"{hub} has its weights as GGUF files; {text}.")


def weight_files(listing: Listing, read: Callable[[str], bytes]) -> list[str]:
    """The index, where there is one, and the safetensors files. Raises SourceError where there are none to fetch."""
    if INDEX in listing.files:
        return [INDEX, *_indexed(listing, read(INDEX))]
    if SINGLE in listing.files:
        return [SINGLE]
    if any(name.endswith(PICKLES) for name in listing.files):
        raise SourceError(
            f"{listing.repo} has its weights as pickle files only, which can run any program when opened; "
            "choose a model with safetensors."
        )
    raise SourceError(f"{listing.repo} has no model.safetensors on the hub, so it cannot be loaded.")


def _indexed(listing: Listing, index: bytes) -> list[str]:
    try:
        names = sorted(set(weight_map(INDEX, index).values()))
    except CheckpointError as error:
        raise SourceError(f"{listing.repo} lacks a sound index of its weights: {error}") from error
    missing = [name for name in names if name not in listing.files]
    if missing:
        raise SourceError(f"{listing.repo} lacks {missing[0]}, which its index names; choose another revision.")
    return names


def _planned(hub: HubId, listing: Listing, names: dict[str, str], model: str, file: str) -> Plan:
    files = []
    for path, name in names.items():
        remote = listing.remote(path)
        if remote.size is None:
            raise NetworkError(f"The hub does not say how large {path} of {hub} is; try again later.")
        files.append(PlannedFile(path, name, remote.size, remote.checksum))
    if len({name.lower() for name in names.values()}) != len(names) or len(names) > MOST_FILES:
        raise SourceError(f"{hub} has too many files, or some whose names differ only in the case of their letters.")
    return Plan(str(hub), hub.repo, listing.commit, model, file, tuple(files))


def remember(begun: Plan, folder: Path, asked: str) -> None:
    """Write ``download.json``; ``asked`` is the name by which fetch() goes on with it."""
    write_json(folder / BEGUN, {"asked": asked, **asdict(begun)})


def remembered(path: Path) -> tuple[str, Plan] | None:
    """(the name by which it was asked for, the plan) of a ``download.json``, None where it is damaged."""
    try:
        values = json.loads(path.read_bytes())
        files = tuple(PlannedFile(**file) for file in values.pop("files"))
        asked = values.pop("asked")
        found = Plan(**values, files=files)
        return (asked, found) if isinstance(asked, str) and _is_sound(found) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _is_sound(found: Plan) -> bool:
    texts = (found.source, found.repo, found.commit, found.model, found.file)
    if not all(isinstance(text, str) for text in texts) or not 0 < len(found.files) <= MOST_FILES:
        return False
    hub = hub_id(found.source)
    of_hub = hub is not None and hub.repo == found.repo and found.commit.isalnum()
    return (of_hub or (found.repo, found.commit) == ("", "")) and all(map(_is_sound_file, found.files))


def _is_sound_file(file: PlannedFile) -> bool:
    plain = may_be_fetched(file.path) and file.name == file.path.rpartition("/")[2]
    return plain and type(file.size) is int and 0 <= file.size < 2**63 and bool(CHECKSUM.fullmatch(file.checksum))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a small table so that it is there whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(values, indent=1), encoding="utf-8")
    os.replace(part, path)
