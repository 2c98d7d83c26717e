"""What ``fluoroscope models`` tells of each model, as data: of the catalog, and of what lies on this computer.

Imports no Qt, and torch only where a GPU is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.checkpoint.catalog import CatalogEntry, catalog
from engine.checkpoint.fetch import cached
from engine.checkpoint.fits import Device, Fit, accelerators, fits, largest_context, processor
from engine.checkpoint.found import FoundModel, found_models
from engine.checkpoint.inventory import Inventory, inventory
from engine.checkpoint.source import resolve
from engine.checkpoint.traits import traits
from engine.checkpoint.understood import Understood, of_catalog, of_inventory, of_source
from engine.config import ModelConfig
from engine.errors import EngineError


@dataclass(frozen=True)
class Wanted:
    """For what memory is counted: ``context`` positions, computed in ``dtype`` ("auto": as loading does) there."""

    context: int
    device: Device
    dtype: str


@dataclass(frozen=True)
class ModelRow:
    """One model. ``where``: "built in", "here", or "" for one that would be downloaded; ``size`` in bytes.

    ``config`` and ``fit`` are None where the model is not understood: ``complaint`` says why, or why it cannot be
    opened. ``entry``: of a model of the catalog.
    """

    name: str
    title: str
    source: str
    origin: str
    where: str
    size: int
    format: str
    detail: str = ""
    entry: CatalogEntry | None = None
    config: ModelConfig | None = None
    parameters: int = 0
    active: int = 0
    fit: Fit | None = None
    largest: int = 0
    shows: tuple[str, ...] = ()
    complaint: str = ""


def device_named(name: str) -> Device:
    """The device for "cpu", "cuda", "cuda:1", "mps", or "auto": what loading would take. Raises EngineError."""
    if name == "cpu":
        return processor()
    found = accelerators()
    if name == "auto":
        return found[0] if found else processor()
    chosen = next((device for device in found if name in (device.name, device.name.partition(":")[0])), None)
    if chosen is None:
        names = ", ".join(("cpu", *(device.name for device in found)))
        raise EngineError(f"The device {name!r} cannot be used on this computer; there are {names}.")
    return chosen


def catalog_rows(wanted: Wanted) -> list[ModelRow]:
    """Every model of the catalog."""
    return [catalog_row(known, wanted) for known in catalog()]


def catalog_row(known: CatalogEntry, wanted: Wanted) -> ModelRow:
    """What is known of it before anything is downloaded."""
    where, source = _where(known)
    row = ModelRow(
        name=known.name,
        title=known.title,
        source=source,
        origin="catalog",
        where=where,
        size=known.size,
        format="safetensors",
        entry=known,
        shows=known.shows,
    )
    return measured(row, of_catalog(known), wanted)


def _where(known: CatalogEntry) -> tuple[str, str]:
    """Whether it is here, and what opens or fetches it."""
    if known.built_in:
        return "built in", known.name
    try:
        return ("here" if cached(known.name) is not None else ""), known.name
    except EngineError:  # without a home there is no cache
        return "", known.name


def local_rows(wanted: Wanted) -> Iterator[ModelRow]:
    """Every model that was found on this computer, its headers read."""
    for model in found_models():
        yield _local_row(model, wanted)


def _local_row(model: FoundModel, wanted: Wanted) -> ModelRow:
    row = ModelRow(
        name=model.name,
        title=model.name,
        source=model.source,
        origin=model.origin,
        where="here",
        size=model.size,
        format=model.format,
        detail=model.detail,
        complaint=model.complaint,
    )
    return row if model.complaint else measured(row, of_source(row.source), wanted)


def row_named(name: str, wanted: Wanted) -> ModelRow:
    """The model of a source: of the catalog, of this computer, or of the hub, where only its headers are asked for.

    Raises EngineError where there is none.
    """
    found = resolve(name)
    if found.entry is not None:
        return catalog_row(found.entry, wanted)
    if found.kind == "hub" and found.hub is not None and cached(found.text) is None:
        from engine.checkpoint.remote import remote_inventory

        return _of_source(remote_inventory(found.hub), found.text, "hub", "", wanted)
    return _of_source(inventory(name), found.text, "this computer", "here", wanted)


def _of_source(found: Inventory, source: str, origin: str, where: str, wanted: Wanted) -> ModelRow:
    size = sum(size for _, size in found.files)
    row = ModelRow(found.name, found.name, source, origin, where, size, found.format, found.stored_as)
    return measured(row, of_inventory(found), wanted)


def measured(row: ModelRow, read: Understood, wanted: Wanted) -> ModelRow:
    """The row with its sizes and whether it fits, or with the reason why that cannot be said."""
    row, config = replace(row, complaint=read.complaint), read.config
    if config is None:
        return row
    return replace(
        row,
        config=config,
        parameters=read.parameters,
        active=read.active,
        fit=fits(config, read.parameters, wanted.context, wanted.device, wanted.dtype),
        largest=largest_context(config, read.parameters, wanted.device, wanted.dtype),
        shows=row.shows or traits(config),
    )
