"""Model families: one small file each. Adding a family adds a file here and touches no other.

A family module has

* ``MODEL_TYPES``: the values of ``model_type`` in ``config.json`` that it reads;
* ``config(values) -> ModelConfig``: what that config means;
* ``slots(config) -> dict[str, Slot]``: where each tensor of a safetensors checkpoint goes;
* ``ignored(name) -> bool``: tensors that may stand in a file and are not weights of the decoder;

and, where GGUF files of it exist,

* ``GGUF_ARCHITECTURES``: the values of ``general.architecture``;
* ``gguf_values(metadata, read) -> dict``: the metadata in the dialect of ``config.json``;
* ``gguf_slots(config) -> dict[str, Slot]``: where each tensor of a GGUF file goes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from engine.config import ModelConfig
from engine.errors import ConfigError


@dataclass(frozen=True)
class Slot:
    """Where one tensor of a file goes: ``rows`` of ``parameter``, after ``unpermute_heads`` if set.

    ``shape`` is the shape the file must have, in torch order. ``rows`` is None for a whole parameter.
    ``unpermute_heads`` = number of heads whose rotary rows a GGUF converter interleaved.
    """

    parameter: str
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    unpermute_heads: int = 0


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]


def _find(attribute: str, wanted: str, what: str) -> ModuleType:
    known: list[str] = []
    for module in _modules():
        names = getattr(module, attribute, ())
        if wanted in names:
            return module
        known.extend(names)
    raise ConfigError(f"The {what} {wanted!r} is not supported; supported are {', '.join(sorted(known))}.")


def family_of(values: Mapping[str, Any]) -> ModuleType:
    """The family module for a parsed config.json. Raises ConfigError for an unknown ``model_type``."""
    model_type = values.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError("The config has no model_type, so it is not a language model's config.json.")
    return _find("MODEL_TYPES", model_type, "model type")


def family_of_gguf(architecture: str) -> ModuleType:
    """The family module for a GGUF file's ``general.architecture``. Raises ConfigError for an unknown one."""
    return _find("GGUF_ARCHITECTURES", architecture, "GGUF architecture")


def read_config(values: Mapping[str, Any]) -> ModelConfig:
    """A parsed config.json, in either dialect, as specs. Raises ConfigError."""
    return family_of(values).config(values)


ReadTensor = Callable[[str], "tuple[float, ...] | None"]
