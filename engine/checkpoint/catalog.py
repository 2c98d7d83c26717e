"""The models that Fluoroscope knows by name. Data only: another model is another file in ``resources/catalog``.

What can be computed is not written down: layers, heads, experts, parameters and the cost of a cache follow from the
values of the model's ``config.json``, read as that of a model on the disk would be. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import resources

if TYPE_CHECKING:
    from engine.config import ModelConfig

FOLDER = "catalog"  # among the program's resources


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
    """``size`` is what the hub sends or the program brings, in bytes (rounded); ``licence`` an SPDX name or its own.

    ``folder``: where among the program's resources it lies, "" for a model that is downloaded from ``hub``. ``gated``:
    the hub sends it only to those who accepted its terms. ``starter``: one to begin with. ``shows``: kinds of parts
    (``engine/checkpoint/traits.py``) that it shows well; ``about`` says so in a sentence. ``dtype`` is what its weights
    are published in ("bfloat16", "MXFP4"); ``published_parameters`` what its makers' files count, 0 where unknown.
    ``values`` are those of its config.json that the engine reads.
    """

    name: str
    title: str
    hub: str
    size: int
    licence: str
    wheel: WheelFile | None = None
    folder: str = ""
    kind: Literal["base", "instruct"] = "base"
    gated: bool = False
    starter: bool = False
    shows: tuple[str, ...] = ()
    about: str = ""
    dtype: str = ""
    published_parameters: int = 0
    values: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def built_in(self) -> bool:
        """Whether it comes with the program: nothing is ever downloaded for it."""
        return bool(self.folder)

    @cached_property
    def config(self) -> ModelConfig:
        """The specs of the model, from its values alone. Raises ConfigError, or FileNotFoundError for the built-in one,
        where these are damaged."""
        from engine.checkpoint.json_file import read_json
        from engine.families import read_config

        return read_config(read_json(resources.path(f"{self.folder}/config.json")) if self.built_in else self.values)

    @cached_property
    def parameters(self) -> int:
        """How many the decoder has; a tied embedding counts once. Raises ConfigError as ``config`` does."""
        from engine.checkpoint.counts import parameters

        return parameters(self.config)

    @cached_property
    def active(self) -> int:
        """How many take part in one token's pass: all but those of the experts that it is not sent to."""
        from engine.checkpoint.counts import active_parameters

        return active_parameters(self.config)


# in the program itself: what is always there opens even where files of the program are damaged
_BUILT_IN = CatalogEntry(
    name="demo",
    title="Fluoroscope demo",
    hub="",
    size=13_700_000,
    licence="Apache-2.0",
    folder="demo_model",
    starter=True,
    shows=("mixture of experts", "grouped-query"),
    about="A small mixture of experts that was trained for this program: it is there at once.",
    dtype="bfloat16",
)


def catalog() -> tuple[CatalogEntry, ...]:
    """All known models: those to begin with first, then the others, small ones first."""
    return (_BUILT_IN, *_listed()[0])


def catalog_complaint() -> str:
    """A sentence about files of the catalog that are missing or damaged, "" where there are none."""
    return _listed()[1]


def entry(name: str) -> CatalogEntry | None:
    """The model of that name (in any letter case), or None."""
    return next((known for known in catalog() if known.name == name.lower()), None)


def names_hint(wrong: str) -> str:
    """What helps one who gave a name that is none: the nearest one, and where all are listed."""
    from difflib import get_close_matches

    near = get_close_matches(wrong.lower(), [known.name for known in catalog()], n=1)
    return f"did you mean {near[0]}? fluoroscope models lists all" if near else "fluoroscope models lists them"


@cache
def _listed() -> tuple[tuple[CatalogEntry, ...], str]:
    """The models of the files, in order, and what is wrong with the files."""
    found, damaged = [], []
    for path in sorted(_folder().glob("*.json")):
        try:
            found.append(_read(path))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            damaged.append(path.name)
    return tuple(sorted(found, key=lambda known: (not known.starter, known.size))), _complaint(len(found), damaged)


def _folder() -> Path:
    return Path(resources.__file__).parent / FOLDER


def _complaint(sound: int, damaged: list[str]) -> str:
    if sound and not damaged:
        return ""
    what = f"of the catalog are damaged ({', '.join(damaged)})" if damaged else f"resources/{FOLDER} are missing"
    return f"Files {what}, so their models are not listed; install Fluoroscope again."


def _read(path: Path) -> CatalogEntry:
    row = json.loads(path.read_bytes())
    wheel = row.pop("wheel", None)
    if row["size"] <= 0:  # of a text it is a TypeError: the models are sorted by it
        raise ValueError("a model has bytes")
    return CatalogEntry(
        name=path.stem,
        wheel=None if wheel is None else WheelFile(**wheel),
        shows=tuple(row.pop("shows")),
        values=dict(row.pop("config")),
        **row,
    )
