"""How the shelf is filled: by looking through this computer, the catalog and the hub. No Qt, no torch; it is slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.notices import DownloadFrame
from app.shelf import LookFrame, Measure, Readings, SearchFrame, ShelfFrame, ShelfItem, ShelfQuery
from engine.checkpoint import hub as hub_source
from engine.checkpoint import understood
from engine.checkpoint.catalog import CatalogEntry, catalog, catalog_complaint
from engine.checkpoint.facts import facts
from engine.checkpoint.fits import DTYPES, Device, fits, free_disk, largest_context, processor
from engine.checkpoint.found import FoundModel, found_models
from engine.checkpoint.hub import HubModel
from engine.checkpoint.plan import only_gguf
from engine.checkpoint.shelf import cached, default_cache, unfinished
from engine.checkpoint.source import HubId, hub_id
from engine.checkpoint.understood import Understood
from engine.cost import cost, cost_rows
from engine.errors import AccessError, Cancelled, EngineError, SourceError

Check = Callable[[], None]
Post = Callable[[object], None]


def fill_shelf(query: ShelfQuery, readings: Readings, check: Check, post: Post) -> None:
    """Post a ShelfFrame of what is known at once, and one more for every model whose headers had to be read."""
    device = _device(query)
    items = _at_once(query, device, check)
    frame = ShelfFrame(query, (), _begun(), _disk_free(), device, catalog_complaint(), complete=False)
    post(replace(frame, items=tuple(items)))
    for index, item in enumerate(items):
        if item.here and item.measure is None and not item.complaint:
            check()
            items[index] = _measured(item, _read(item.source, readings, check), query, device)
            post(replace(frame, items=tuple(items)))
    post(replace(frame, items=tuple(items), complete=True))


def _device(query: ShelfQuery) -> Device:
    return next((device for device in query.accelerators if device.name == query.device), None) or processor()


def _at_once(query: ShelfQuery, device: Device, check: Check) -> list[ShelfItem]:
    """The models of this computer, those of other programs not measured yet, and the catalog."""
    found = found_models(query.folders, check=check)
    here = {known.name: path for known in catalog() if not known.built_in and (path := _cached(known.name)) is not None}
    listed = [_from_catalog(known, here.get(known.name), query, device) for known in catalog()]
    paths = {str(path) for path in here.values()}
    others = [_from_disk(model) for model in found if model.source not in paths]
    return sorted(listed, key=lambda item: not item.here) + others


def _cached(name: str) -> Path | None:
    try:
        return cached(name)
    except EngineError:  # without a home there is no cache: the window has said so
        return None


def _from_catalog(known: CatalogEntry, path: Path | None, query: ShelfQuery, device: Device) -> ShelfItem:
    origin = "built in" if known.built_in else "Fluoroscope" if path is not None else ""
    item = ShelfItem(
        source=known.name,
        section="computer" if origin else "catalog",
        title=known.title,
        size=known.size,
        origin=origin,
        detail=str(path or known.hub),
        about=known.about,
        shows=known.shows,
        kind=known.kind,
        licence=known.licence,
        gated=known.gated,
        fetched=path is not None,
        hub=known.hub,
    )
    return _measured(item, understood.of_catalog(known), query, device)


def _from_disk(model: FoundModel) -> ShelfItem:
    return ShelfItem(
        source=model.source,
        section="computer",
        title=model.name,
        size=model.size,
        origin=model.origin,
        detail=" · ".join(filter(None, (model.detail, model.source))),
        fetched=model.origin == "Fluoroscope",
        complaint=model.complaint,
    )


def _read(source: str, readings: Readings, check: Check) -> Understood:
    key = (source, _changed(Path(source)))
    if key not in readings.of:
        readings.of[key] = understood.of_source(source, check)
    return readings.of[key]


def _changed(path: Path) -> float:
    """When a file or a folder of files was last changed; 0.0 for what is gone: reading it will say so."""
    try:
        inside = [child.stat().st_mtime for child in path.iterdir()] if path.is_dir() else []
        return max([path.stat().st_mtime, *inside])
    except OSError:
        return 0.0


def _measured(item: ShelfItem, read: Understood, query: ShelfQuery, device: Device) -> ShelfItem:
    size = item.size or read.size
    if read.config is None:
        return replace(item, size=size, complaint=read.complaint)
    return replace(item, size=size, complaint=read.complaint, measure=measure(read, query, device))


def measure(read: Understood, query: ShelfQuery, device: Device) -> Measure:
    """Facts, costs and whether it fits; the context is cut to the model's own."""
    config = read.config
    assert config is not None
    chosen = fits(config, read.parameters, query.context, device, query.dtype)
    others = (fits(config, read.parameters, query.context, device, name) for name in DTYPES if name != chosen.dtype)
    sheet = cost(config, positions=chosen.context, weight_dtype=chosen.dtype)
    return Measure(
        parameters=read.parameters,
        active=read.active,
        facts=facts(config),
        costs=cost_rows(sheet),
        fits=(chosen, *others),
        largest=largest_context(config, read.parameters, device, query.dtype),
    )


def _begun() -> tuple[DownloadFrame, ...]:
    """Downloads that an earlier run of the program did not finish."""
    try:
        found = unfinished()
        return tuple(DownloadFrame(begun.source, "paused", done=begun.done, total=begun.total) for begun in found)
    except EngineError:
        return ()


def _disk_free() -> int:
    """Bytes, where downloads go."""
    try:
        return free_disk(default_cache())
    except EngineError:  # without a home there is no place for them
        return 0


# ---- the hub -------------------------------------------------------------------------------------------------------


def search_hub(text: str, check: Check, post: Post) -> None:
    """Post a SearchFrame with what the hub lists for a text."""
    try:
        found = hub_source.search(text, check=check)
        post(SearchFrame(text, tuple(map(_from_hub, found)), "" if found else f"The hub lists no model for {text!r}."))
    except Cancelled:
        raise
    except EngineError as error:
        post(SearchFrame(text, sentence=str(error)))


def _from_hub(model: HubModel) -> ShelfItem:
    updated = f"updated {model.updated:%Y-%m-%d}" if model.updated else ""
    said = (f"{model.downloads:,} downloads", f"{model.likes:,} likes", updated)
    return ShelfItem(
        source=model.id,
        section="hub",
        title=model.id,
        detail=" · ".join(filter(None, said)),
        licence=model.licence,
        gated=bool(model.gated),
    )


def look_closer(item: ShelfItem, source: str, query: ShelfQuery, check: Check, post: Post) -> None:
    """Post a LookFrame: the item with what the headers on the hub say. ``source`` may name one of its files."""
    wanted = hub_id(source)
    if wanted is None:
        raise SourceError(f"{source} is no hub id org/name, so the hub cannot be asked for it.")
    try:
        post(LookFrame(_looked_at(item, wanted, query, check)))
    except Cancelled:
        raise
    except EngineError as error:
        chosen = wanted.file if item.choices else ""
        unknown = replace(item, size=0, measure=None, chosen=chosen)  # what is known may be of another file
        post(LookFrame(replace(unknown, complaint=str(error), needs_token=isinstance(error, AccessError))))


def _looked_at(item: ShelfItem, wanted: HubId, query: ShelfQuery, check: Check) -> ShelfItem:
    from engine.checkpoint.remote import remote_inventory

    listing = hub_source.list_files(wanted, check)
    one_file = _file_of(item.source)  # a download of one file of many: there is no choice any more
    choices = hub_source.choices(listing) if only_gguf(listing) and not one_file else ()
    if choices and not wanted.file:
        wanted = replace(wanted, file=choices[0].name)
    found = remote_inventory(wanted, check)
    size = sum(count for _, count in found.files)  # as it will be on the disk
    measured = _measured(
        replace(item, size=size, needs_token=False), understood.of_inventory(found), query, _device(query)
    )
    return replace(measured, choices=choices, chosen=wanted.file if choices else "")


def _file_of(source: str) -> str:
    hub = hub_id(source)
    return "" if hub is None else hub.file
