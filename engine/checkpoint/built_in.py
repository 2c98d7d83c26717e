"""The model that comes with the program: where its folder lies in this installation. No torch here."""

from __future__ import annotations

from pathlib import Path

import resources
from engine.checkpoint.catalog import CatalogEntry
from engine.errors import SourceError


def built_in_folder(known: CatalogEntry) -> Path:
    """The folder of a built-in model: in a checkout, an installed wheel or a packed build.

    Raises SourceError where this installation lacks it.
    """
    try:
        return resources.path(f"{known.folder}/config.json").parent
    except FileNotFoundError as error:
        raise SourceError(
            f"The model {known.name} that comes with Fluoroscope is missing from this installation "
            f"(there is no resources/{known.folder}/config.json); install Fluoroscope again, or open another model."
        ) from error
