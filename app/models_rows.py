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
    try:
        return measured(row, known.config, known.parameters, known.active, wanted)
    except (EngineError, FileNotFoundError) as error:  # its file, or those of the built-in one, are damaged
        return replace(row, complaint=str(error))


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
    return row if model.complaint else read(row, wanted)


def read(row: ModelRow, wanted: Wanted) -> ModelRow:
    """The row with what the headers of its files say."""
    try:
        found = inventory(row.source)
    except EngineError as error:
        return replace(row, complaint=str(error))
    return of_inventory(row, found, wanted)


def of_inventory(row: ModelRow, found: Inventory, wanted: Wanted) -> ModelRow:
    """The row with what an inventory says."""
    row = replace(row, complaint=next(iter(found.complaints), ""))
    if found.config is None or not found.parameters:
        return row
    return measured(row, found.config, found.parameters, found.active, wanted)


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
    return of_inventory(row, found, wanted)


def measured(row: ModelRow, config: ModelConfig, parameters: int, active: int, wanted: Wanted) -> ModelRow:
    """The row with its sizes and whether it fits."""
    return replace(
        row,
        config=config,
        parameters=parameters,
        active=active,
        fit=fits(config, parameters, wanted.context, wanted.device, wanted.dtype),
        largest=largest_context(config, parameters, wanted.device, wanted.dtype),
        shows=row.shows or traits(config),
    )
