"""What is on the model shelf, as plain data: the models of this computer, the catalog, the hub, and downloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.command_line import DEFAULT_CONTEXT
from app.notices import DownloadFrame

if TYPE_CHECKING:
    from engine.checkpoint.fits import Device, Fit
    from engine.checkpoint.listing import Choice

Section = Literal["downloads", "computer", "catalog", "hub"]
SECTIONS: tuple[Section, ...] = ("downloads", "computer", "catalog", "hub")
BEGUN = ("waiting", "running", "paused", "failed")  # downloads that are neither done nor forgotten


@dataclass(frozen=True)
class ShelfQuery:
    """What the shelf is asked to judge by. ``device`` is torch's word for it; ``folders``: the user's own places."""

    context: int = DEFAULT_CONTEXT
    device: str = "cpu"
    dtype: str = "auto"
    folders: tuple[Path, ...] = ()
    accelerators: tuple[Device, ...] = ()


@dataclass(frozen=True)
class Measure:
    """What follows from a model's specs. ``fits``: in each type, the one that was asked for first.

    ``facts`` and ``costs``: label to value. ``largest``: positions that fit beside the weights.
    """

    parameters: int
    active: int
    facts: Mapping[str, str]
    costs: Mapping[str, str]
    fits: tuple[Fit, ...]
    largest: int


@dataclass
class Readings:
    """What ``app/shelf_rows.py`` has read of models, by (source, when it was changed): it is not read again."""

    of: dict[tuple[str, float], Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShelfItem:
    """One model. ``source`` opens it, or, where it is not here, downloads it; it is unique on the shelf.

    ``origin``: which program keeps it, "" for one that is not here; ``detail``: its path or what the hub says of it.
    ``size``: bytes of its files, 0 where that is not known; ``complaint``: why it cannot be opened or measured.
    ``choices``: the files of a repository of which one must be chosen, ``chosen``: the name of the one that ``size``,
    ``measure`` and ``complaint`` are of. ``fetched``: our own download, to be deleted.
    ``needs_token``: the hub shows it to those only who have access. ``hub``: the hub id of a model of the catalog.
    """

    source: str
    section: Section
    title: str
    size: int = 0
    origin: str = ""
    detail: str = ""
    about: str = ""
    shows: tuple[str, ...] = ()
    kind: str = ""
    licence: str = ""
    gated: bool = False
    fetched: bool = False
    complaint: str = ""
    measure: Measure | None = None
    choices: tuple[Choice, ...] = ()
    chosen: str = ""
    needs_token: bool = False
    hub: str = ""

    @property
    def here(self) -> bool:
        """Whether it can be opened without a download."""
        return bool(self.origin)


@dataclass(frozen=True)
class ShelfFrame:
    """The shelf was looked through; ``complete``: nothing more is being read. ``begun``: downloads of earlier days."""

    query: ShelfQuery
    items: tuple[ShelfItem, ...]
    begun: tuple[DownloadFrame, ...]
    disk_free: int
    device: Device
    complaint: str = ""
    complete: bool = True


@dataclass(frozen=True)
class SearchFrame:
    """What the hub lists for a text; ``sentence`` says why it could not be asked."""

    text: str
    items: tuple[ShelfItem, ...] = ()
    sentence: str = ""


@dataclass(frozen=True)
class LookFrame:
    """One model of the hub, looked at more closely."""

    item: ShelfItem


@dataclass
class Shelf:
    """The window's picture of the shelf. ``searched``: what the hub was last asked for, answered or not."""

    query: ShelfQuery = field(default_factory=ShelfQuery)
    items: tuple[ShelfItem, ...] = ()
    results: tuple[ShelfItem, ...] = ()
    downloads: dict[str, DownloadFrame] = field(default_factory=dict)
    disk_free: int = 0
    device: Device | None = None
    complete: bool = False
    searched: str = ""
    searching: bool = False
    sentence: str = ""  # about the hub, or about files of the catalog
    _told: set[str] = field(default_factory=set)  # downloads of this run of the program
    _looked_at: dict[str, ShelfItem] = field(default_factory=dict)  # what no list has: files of a repository

    def absorb(self, frame: object) -> bool:
        """Take a frame in; whether anything changed."""
        taker = _TAKERS.get(type(frame))
        if taker is None:
            return False
        taker(self, frame)
        return True

    def sections(self) -> dict[Section, list[ShelfItem]]:
        """Every model once, section by section; one that is being downloaded stands with the downloads, and one of the
        hub that is here with this computer's."""
        found: dict[Section, list[ShelfItem]] = {section: [] for section in SECTIONS}
        known = {name for item in self.items for name in (item.source, item.hub, item.title if item.here else "")}
        for item in (*self.items, *(result for result in self.results if result.source not in known)):
            found["downloads" if self._begun(item.source) and not item.here else item.section].append(item)
        listed = {item.source for items in found.values() for item in items}
        for source, frame in self.downloads.items():
            if source not in listed and frame.state in BEGUN:
                plain = ShelfItem(source, "hub", source, frame.total)
                found["downloads"].append(self._looked_at.get(source, plain))
        return found

    def item(self, source: str) -> ShelfItem | None:
        """The model of that source, also one that only a download knows."""
        return next((item for items in self.sections().values() for item in items if item.source == source), None)

    def forget_measures(self) -> None:
        """What was looked at on the hub was judged by another context, device or type."""
        self.results = tuple(replace(item, measure=None) for item in self.results)
        self._looked_at.clear()

    def _begun(self, source: str) -> bool:
        frame = self.downloads.get(source)
        return frame is not None and frame.state in BEGUN


def _shelf(shelf: Shelf, frame: ShelfFrame) -> None:
    if frame.query != shelf.query:
        return  # a newer one is on its way
    shelf.items, shelf.disk_free, shelf.device = frame.items, frame.disk_free, frame.device
    shelf.complete, shelf.sentence = frame.complete, frame.complaint or shelf.sentence
    for source in [source for source in shelf.downloads if source not in shelf._told]:
        del shelf.downloads[source]  # of an earlier day, or of another program: it may be over by now
    for begun in frame.begun:
        shelf.downloads.setdefault(begun.source, begun)
    for source in [item.source for item in frame.items if item.here]:
        if source in shelf.downloads and shelf.downloads[source].state in ("paused", "failed"):
            _download(shelf, replace(shelf.downloads[source], state="done"))  # it came in another way


def _search(shelf: Shelf, frame: SearchFrame) -> None:
    if frame.text == shelf.searched:
        before = {item.source: item for item in shelf.results if item.measure is not None}
        found = (_with_look(item, before.get(item.source, item)) for item in frame.items)
        shelf.results, shelf.sentence, shelf.searching = tuple(found), frame.sentence, False


def _look(shelf: Shelf, frame: LookFrame) -> None:
    def newer(item: ShelfItem) -> ShelfItem:
        return _with_look(item, frame.item) if item.source == frame.item.source else item

    shelf.items = tuple(map(newer, shelf.items))
    shelf.results = tuple(map(newer, shelf.results))
    if frame.item.source in shelf.downloads:
        shelf._looked_at[frame.item.source] = frame.item


def _with_look(item: ShelfItem, looked_at: ShelfItem) -> ShelfItem:
    """The item with what a closer look has found."""
    return replace(item, **{name: getattr(looked_at, name) for name in _LOOKED_AT})


_LOOKED_AT = ("size", "measure", "complaint", "choices", "chosen", "needs_token")


def _download(shelf: Shelf, frame: DownloadFrame) -> None:
    before = shelf.downloads.get(frame.source)
    if before is not None and before.state == "failed":
        shelf._looked_at.pop(frame.source, None)  # it may have failed for the same reason
    if frame.state in BEGUN:
        shelf.downloads[frame.source] = frame
        shelf._told.add(frame.source)
    else:
        shelf.downloads.pop(frame.source, None)
        shelf._looked_at.pop(frame.source, None)
        shelf._told.discard(frame.source)


_TAKERS: dict[type, Callable[[Shelf, Any], None]] = {
    ShelfFrame: _shelf,
    SearchFrame: _search,
    LookFrame: _look,
    DownloadFrame: _download,
}
