"""Models that are on this computer already: in the caches of Fluoroscope and the hub, of Ollama and LM Studio.

They are found where they lie: nothing is copied, nothing is read but names, sizes and small tables. No torch here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.checkpoint.ollama import ollama_models, stores
from engine.checkpoint.search_folders import (
    Visit,
    file_size,
    gguf_name,
    is_folder,
    read_table,
    size_and_complaint,
)
from engine.checkpoint.titles import hub_name
from engine.errors import EngineError

Check = Callable[[], None]
Origin = Literal["Fluoroscope", "hub cache", "Ollama", "LM Studio", "folder"]
DEPTH = 4  # levels below a folder that models are looked for in
LONGEST_LINE = 4096  # bytes of a file that names a commit or a folder
LARGEST_SETTINGS = 2**20  # bytes


@dataclass(frozen=True)
class FoundModel:
    """``source`` is a path that engine.load and resolve() take; ``size`` the bytes of its weight files.

    ``detail``: what tells it from others of its name (commit, quantisation). ``complaint``: a sentence that says why
    it cannot be opened, "" where nothing is against it so far: its headers were not read.
    """

    name: str
    source: str
    origin: Origin
    size: int
    format: Literal["safetensors", "GGUF"]
    detail: str = ""
    complaint: str = ""


def found_models(extra: Iterable[Path] = (), *, check: Check = lambda: None) -> tuple[FoundModel, ...]:
    """All models of this computer, place by place, each once; those of the user's own folders (``extra``) come last.

    Of every place at most ``MOST_ENTRIES`` files and folders are looked at. ``check`` is called often; an exception it
    raises (engine.Cancelled) ends the search. Raises nothing else: what cannot be read is passed over, or listed with
    a complaint.
    """
    home = _home()
    every: list[Iterator[FoundModel]] = [_own()]
    every += [_of_hub_cache(place, Visit(check)) for place in hub_caches(home)]
    every += [_of_ollama(store, Visit(check)) for store in stores(home)]
    every += [_of_folder(place, "LM Studio", Visit(check)) for place in lm_studio_places(home)]
    every += [_of_folder(place, "folder", Visit(check)) for place in extra]
    found: dict[str, FoundModel] = {}
    for models in every:
        for model in models:
            check()
            found.setdefault(os.path.realpath(model.source), model)
    return tuple(found.values())


def _home() -> Path:
    """A user without a home folder has no models in it."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def _own() -> Iterator[FoundModel]:
    """Complete models of Fluoroscope's cache."""
    from engine.checkpoint.shelf import installed

    try:
        complete = installed()
    except EngineError:  # without a home there is no cache
        return
    for model in complete:
        yield _model(model.path, model.source, "Fluoroscope", model.commit[:12])


# -- the hub's cache ---------------------------------------------------------------------------------------------------


def hub_caches(home: Path) -> list[Path]:
    """Where the hub's library keeps what it downloads (huggingface_hub ``constants.py``)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "").strip() or home / ".cache")
    hub_home = Path(_expanded("HF_HOME") or os.path.expanduser(cache / "huggingface"))
    chosen = [_expanded(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")]
    return list(dict.fromkeys([*(Path(name) for name in chosen if name), hub_home / "hub"]))


def _expanded(variable: str) -> str:
    """What an environment variable names, "~" and other variables put in; a user who is not known stays as written."""
    return os.path.expandvars(os.path.expanduser(os.environ.get(variable, "").strip()))


def _of_hub_cache(place: Path, visit: Visit) -> Iterator[FoundModel]:
    """``models--ORG--NAME/snapshots/COMMIT``: files that are links to the bytes."""
    for repository in visit.children(place):
        if not repository.name.startswith("models--"):
            continue
        name, newest = hub_name(repository.name), _line(repository / "refs" / "main")
        snapshots = filter(is_folder, visit.children(repository / "snapshots"))
        for snapshot in sorted(snapshots, key=lambda folder: folder.name != newest):
            yield from _of_snapshot(snapshot, name, visit)


def _line(file: Path) -> str:
    """What a file of one line says, "" where it is none: a branch names its commit so."""
    size = file_size(file)
    if size is None or size > LONGEST_LINE:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip().replace("\0", "")
    except (OSError, UnicodeDecodeError):
        return ""


def _of_snapshot(snapshot: Path, name: str, visit: Visit) -> Iterator[FoundModel]:
    """The snapshot itself, and GGUF files in it, which may lie one level below; folders in it are parts of a whole."""
    commit = snapshot.name[:12]
    for path in visit.models(snapshot, 1):
        if path == snapshot:
            yield _model(path, name, "hub cache", commit)
        elif not is_folder(path):
            yield _model(path, name, "hub cache", f"{gguf_name(path)}, {commit}")


# -- the others --------------------------------------------------------------------------------------------------------


def _of_ollama(store: Path, visit: Visit) -> Iterator[FoundModel]:
    for model in ollama_models(store, visit):
        source = str(model.blob or model.manifest)
        yield FoundModel(model.name, source, "Ollama", model.size, "GGUF", model.detail, model.complaint)


def lm_studio_places(home: Path) -> list[Path]:
    """Its folders of models, ``PUBLISHER/NAME/FILE``: where it says that it lives and keeps them, or usually does."""
    lives = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    pointed = _line(home / ".lmstudio-home-pointer")
    lives = list(dict.fromkeys([*([Path(pointed)] if pointed else []), *lives]))
    tables = [read_table(place / "settings.json", LARGEST_SETTINGS) or {} for place in lives]
    chosen = [table["downloadsFolder"] for table in tables if isinstance(table.get("downloadsFolder"), str)]
    sound = [Path(folder) for folder in chosen if folder.strip() and "\0" not in folder]
    return list(dict.fromkeys([*sound, *(place / "models" for place in lives)]))


def _of_folder(place: Path, origin: Origin, visit: Visit) -> Iterator[FoundModel]:
    """Model folders by their path below the place, GGUF files by their own name."""
    for path in visit.models(place, DEPTH):
        if path.is_dir():
            below = path.relative_to(place).as_posix()
            yield _model(path, path.resolve().name if below == "." else below, origin, "")
        else:
            yield _model(path, gguf_name(path), origin, path.parent.relative_to(place).as_posix().strip("."))


def _model(path: Path, name: str, origin: Origin, detail: str) -> FoundModel:
    size, complaint = size_and_complaint(path)
    return FoundModel(name, str(path), origin, size, "safetensors" if is_folder(path) else "GGUF", detail, complaint)
