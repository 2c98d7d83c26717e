"""What is understood of a model before it is loaded: from the catalog, or from an inventory. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.checkpoint.catalog import CatalogEntry
from engine.checkpoint.inventory import Inventory, inventory
from engine.config import ModelConfig
from engine.errors import Cancelled, EngineError


@dataclass(frozen=True)
class Understood:
    """``config`` is None where the model cannot be measured; ``complaint`` says why, or why it cannot be opened.

    ``size``: bytes of its tensors, or of what would be downloaded.
    """

    config: ModelConfig | None
    parameters: int = 0
    active: int = 0
    size: int = 0
    complaint: str = ""


def of_catalog(known: CatalogEntry) -> Understood:
    """Before anything is downloaded: from the values that the catalog has."""
    try:
        return Understood(known.config, known.parameters, known.active, known.size)
    except (EngineError, FileNotFoundError) as error:  # its file, or those of the built-in one, are damaged
        return Understood(None, complaint=str(error))


def of_inventory(found: Inventory) -> Understood:
    """From the headers of its files."""
    config = found.config if found.parameters else None
    return Understood(config, found.parameters, found.active, found.size, next(iter(found.complaints), ""))


def of_source(source: str, check: Callable[[], None] = lambda: None) -> Understood:
    """The headers of a model of this computer are read; what is wrong with them is the complaint.

    ``check`` is called now and then; Cancelled, which it may raise, is passed on.
    """
    try:
        return of_inventory(inventory(source, check))
    except Cancelled:
        raise
    except EngineError as error:
        return Understood(None, complaint=str(error))
