"""What the headers of a model's files say, understood as far as possible: tensors, and the config where it is known.

No torch here, and no weight is read but the few that are settings (rope divisors of GGUF files).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from engine.checkpoint import safetensors_file
from engine.checkpoint.json_file import read_json
from engine.checkpoint.source import Source
from engine.checkpoint.tensors import TensorInfo
from engine.config import ModelConfig
from engine.errors import CheckpointError, ConfigError, SourceError
from engine.families import family_of, family_of_gguf, read_config
from engine.quantisation_fields import weight_block


@dataclass(frozen=True)
class Headers:
    """``tensors`` by the file's own names. ``family`` and ``config`` are None where ``complaint`` says why.

    ``settings``: tensors whose values are part of the config. ``block``: rows and columns that share a scale of FP8.
    """

    format: Literal["safetensors", "GGUF"]
    tensors: Mapping[str, TensorInfo]
    files: tuple[Path, ...]
    family: ModuleType | None = None
    config: ModelConfig | None = None
    complaint: str = ""
    settings: frozenset[str] = frozenset()
    block: tuple[int, int] | None = None


def local_path(found: Source) -> Path:
    """Where a source's files lie. Raises SourceError for a model that is not in the cache: nothing is downloaded."""
    from engine.checkpoint.fetch import cached

    path = found.path or cached(found.text)
    if path is None:
        title = found.text if found.entry is None else found.entry.title
        name = found.text if found.entry is None else found.entry.name
        raise SourceError(f"{title} is not in the cache yet; fetch it first: fluoroscope fetch {name}.")
    return path


def read_headers(path: Path, check: Callable[[], None] = lambda: None) -> Headers:
    """The headers of a model folder or a GGUF file (any part of a split one names the whole).

    Raises SourceError, CheckpointError, ConfigError with one sentence where there is nothing sound to list; a model
    that is merely not supported is listed, with a complaint. ``check`` is called before each file of a folder.
    """
    return _folder(path, check) if path.is_dir() else _gguf(path)


def _folder(folder: Path, check: Callable[[], None]) -> Headers:
    values = read_json(folder / "config.json")
    return of_safetensors(values, safetensors_file.read_folder(folder, check))


def of_safetensors(values: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Headers:
    """From the table of config.json and the files' headers, wherever these were read."""
    files = tuple(dict.fromkeys(info.file for info in tensors.values()))
    return _understood(Headers("safetensors", tensors, files), lambda: values)


def _gguf(path: Path) -> Headers:
    from engine.checkpoint.gguf_file import GGUFFile, parts

    with GGUFFile(path) as file:
        return of_gguf(file.metadata, file.tensors(), tuple(parts(path)), file.small)


def of_gguf(
    metadata: Mapping[str, Any],
    stored: Mapping[str, TensorInfo],
    files: tuple[Path, ...],
    small: Callable[[str], tuple[float, ...] | None],
) -> Headers:
    """From a GGUF model's metadata and tensors, wherever these were read; ``small`` reads the values of a tensor."""
    from engine.checkpoint.gguf_file import architecture_of

    tensors, settings = dict(stored), set[str]()

    def read(name: str) -> tuple[float, ...] | None:
        if name.startswith("rope_") and name in tensors:
            settings.add(name)
        return small(name)

    def values() -> Mapping[str, Any]:
        return family_of_gguf(architecture_of(metadata)).gguf_values(metadata, read)

    found = _understood(Headers("GGUF", tensors, files), values)
    return replace(found, settings=frozenset(settings))


def _understood(headers: Headers, values: Callable[[], Mapping[str, Any]]) -> Headers:
    """With family and config, or with the sentence that says why there are none."""
    try:
        known = values()
        family, config, block = family_of(known), read_config(known), weight_block(known)
    except (ConfigError, CheckpointError) as error:
        return replace(headers, complaint=str(error))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        what = f"The settings of the model do not fit together ({type(error).__name__}: {error!s:.80})"
        return replace(headers, complaint=f"{what}; fetch the model again.")
    return replace(headers, family=family, config=config, block=block)
