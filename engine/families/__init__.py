"""Model families: one small file each. Adding a family adds a file here and touches no other.

A family module has

* ``MODEL_TYPES``: the values of ``model_type`` in ``config.json`` that it reads; ``WRAPPERS`` (optional): those of
  multimodal wrappers whose ``text_config`` it reads;
* ``DEFAULTS``: what an absent key means;
* ``config(fields) -> ModelConfig``: what the config means (``engine/dialect.py`` has what most families share);
* ``NAMES``, the names of its tensors in safetensors (``engine/naming.py``), or ``names(config, has) -> Names`` where
  they differ from file to file; ``has(name)`` tells whether the file has a tensor;
* ``ignored(name) -> bool`` (optional): tensors that may stand in a file and are not weights of the decoder;
* ``ignored_layer(config, name) -> bool`` (optional): the same for whole layers behind the last one;
* ``canonical(name) -> str`` (optional): the name that ``NAMES`` uses for a name in a file (prefixes of wrappers);

and, where GGUF files of it exist,

* ``GGUF_ARCHITECTURES``: the values of ``general.architecture``;
* ``gguf_values(metadata, read) -> dict``: the metadata in the dialect of ``config.json``, with a ``model_type``
  (``engine/gguf_dialect.py`` has what most architectures share); ``read(name)`` gives a small tensor of the file as a
  tuple, () for a large one, None where it is absent;
* ``GGUF_NAMES`` or ``gguf_names(config, has) -> Names``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from engine.config import ModelConfig
from engine.errors import ConfigError
from engine.fields import Fields
from engine.naming import Slot, slots
from engine.quantisation_fields import weight_block

ReadTensor = Callable[[str], "tuple[float, ...] | None"]
Has = Callable[[str], bool]


def _modules() -> tuple[ModuleType, ...]:
    return tuple(importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))


def _find(attributes: tuple[str, ...], wanted: str, what: str) -> ModuleType:
    known: list[str] = []
    for module in _modules():
        names = [name for attribute in attributes for name in getattr(module, attribute, ())]
        if wanted in names:
            return module
        known.extend(names)
    raise ConfigError(f"The {what} {wanted!r:.80} is not supported; supported are {', '.join(sorted(known))}.")


def family_of(values: Mapping[str, Any]) -> ModuleType:
    """The family module for a parsed config.json. Raises ConfigError for an unknown ``model_type``."""
    model_type = values.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError("The config has no model_type, so it is not a language model's config.json.")
    return _find(("MODEL_TYPES", "WRAPPERS"), model_type, "model type")


def family_of_gguf(architecture: str) -> ModuleType:
    """The family module for a GGUF file's ``general.architecture``. Raises ConfigError for an unknown one."""
    return _find(("GGUF_ARCHITECTURES",), architecture, "GGUF architecture")


def read_config(values: Mapping[str, Any]) -> ModelConfig:
    """A parsed config.json, in either dialect, as specs.

    Raises ConfigError naming the field at fault, also for one that changes the arithmetic and is not understood.
    """
    family = family_of(values)
    weight_block(values)  # refuses what cannot be read
    if values["model_type"] in getattr(family, "WRAPPERS", ()):
        values = _unwrapped(values, family)
    fields = Fields(values, family.DEFAULTS)
    config = family.config(fields)
    fields.refuse_unread()
    return config


def _unwrapped(values: Mapping[str, Any], family: ModuleType) -> dict[str, Any]:
    """The text model of a multimodal one; what its own table lacks stands in the outer one."""
    text = values.get("text_config")
    if not isinstance(text, Mapping):
        raise ConfigError(f"The config of a {values['model_type']} has no text_config; its language model is unknown.")
    outer = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    return {**outer, **text, "model_type": family.MODEL_TYPES[0]}


def slots_of(family: ModuleType, config: ModelConfig, has: Has, *, gguf: bool = False) -> tuple[Slot, ...]:
    """Where each tensor of a file of this family goes; ``has`` tells which tensors the file has."""
    table, function = ("GGUF_NAMES", "gguf_names") if gguf else ("NAMES", "names")
    names = getattr(family, function)(config, has) if hasattr(family, function) else getattr(family, table)
    return slots(config, names, has)
