"""A model's files, opened and understood: the configuration is read and every tensor checked before a weight is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from engine.checkpoint import safetensors_file
from engine.checkpoint.family_names import canonical_names, ignored
from engine.checkpoint.files import OpenFiles
from engine.checkpoint.gguf_file import GGUFFile
from engine.checkpoint.identity import Identity, identity_of_folder, identity_of_gguf
from engine.checkpoint.json_file import read_json
from engine.checkpoint.tensors import TensorInfo
from engine.checkpoint.weights import TYPE_NAMES, GGUFWeights, SafetensorsWeights, Weights, check
from engine.config import ModelConfig
from engine.errors import ConfigError
from engine.families import family_of, family_of_gguf, read_config, slots_of
from engine.generation_defaults import from_metadata, read_generation_defaults
from engine.naming import Slot
from engine.quantisation_fields import weight_block
from engine.settings import Sampling

if TYPE_CHECKING:
    from engine.tokenizer import Tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """A model's files, opened and understood but not read: what filling the decoder needs."""

    config: ModelConfig
    slots: tuple[Slot, ...]
    weights: Weights
    stored_as: str
    identity: Identity
    read_tokenizer: Callable[[], Tokenizer | None]
    unknown: tuple[str, ...]  # tensors that the model does not know and does without
    read_sampling: Callable[[], Sampling | None] = lambda: None  # how the model's makers sample; raises ConfigError


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Open a model folder or GGUF file, read its configuration, and check every tensor's name, shape and type."""
    opener = _open_folder if path.is_dir() else _open_gguf
    with opener(path) as checkpoint:
        yield checkpoint


@contextmanager
def _open_folder(folder: Path) -> Iterator[Checkpoint]:
    values = read_json(folder / "config.json")
    family = family_of(values)
    config = _with_generation_config(read_config(values), folder)
    stored = safetensors_file.read_folder(folder)
    tensors = _canonical(stored, family)
    with OpenFiles({info.file for info in tensors.values()}) as files:
        weights = SafetensorsWeights(tensors, files, weight_block(values))
        stored_as = f"safetensors {_common_type(weights.tensors)}"
        slots = slots_of(family, config, weights.tensors.__contains__)
        unknown = check(slots, weights, ignored(family, config))
        yield Checkpoint(
            config,
            slots,
            weights,
            stored_as,
            identity_of_folder(folder, stored),
            lambda: _folder_tokenizer(folder),
            unknown,
            lambda: read_generation_defaults(folder),
        )


@contextmanager
def _open_gguf(path: Path) -> Iterator[Checkpoint]:
    with GGUFFile(path) as file:
        values = family_of_gguf(file.architecture).gguf_values(file.metadata, file.small)
        family = family_of(values)
        config = _with_turn_ends(read_config(values), file.metadata)
        weights, known = GGUFWeights(file), identity_of_gguf(file.metadata, file.tensors())
        slots = slots_of(family, config, weights.tensors.__contains__, gguf=True)
        for slot in slots:
            file.restore_axes(slot.name, slot.shape)
        unknown = check(slots, weights, ignored(family, config))
        yield Checkpoint(
            config,
            slots,
            weights,
            file.stored_as,
            known,
            lambda: _gguf_tokenizer(file.metadata),
            unknown,
            lambda: from_metadata(file.metadata),
        )


def _canonical(tensors: Mapping[str, TensorInfo], family: ModuleType) -> dict[str, TensorInfo]:
    """The tensors by the names that the family uses. Raises CheckpointError where two have the same."""
    return {name: replace(tensors[own], name=name) for name, own in canonical_names(family, tensors).items()}


def _folder_tokenizer(folder: Path) -> Tokenizer | None:
    from engine.tokenizer import Tokenizer

    return Tokenizer.from_folder(folder)


def _gguf_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    from engine.tokenizer import Tokenizer

    return Tokenizer.from_gguf(metadata)


def _with_generation_config(config: ModelConfig, folder: Path) -> ModelConfig:
    """As in transformers, generation_config.json decides which tokens end a text, where it says so."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return config
    ends = read_json(path).get("eos_token_id")
    return config if ends is None else replace(config, eos_token_ids=_token_ids(path.name, ends))


def _token_ids(file: str, value: Any) -> tuple[int, ...]:
    ids = value if isinstance(value, list) else [value]
    if not all(type(i) is int and i >= 0 for i in ids):
        raise ConfigError(f"{file} says eos_token_id = {value!r}; token ids are needed.")
    return tuple(ids)


def _with_turn_ends(config: ModelConfig, metadata: Mapping[str, Any]) -> ModelConfig:
    """A GGUF file names the ends of a turn and of a message beside the end of the text."""
    ends = [metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eot", "eom")]
    more = [i for i in ends if type(i) is int and i not in config.eos_token_ids]
    return replace(config, eos_token_ids=(*config.eos_token_ids, *dict.fromkeys(more)))


def _common_type(tensors: Mapping[str, TensorInfo]) -> str:
    """The dtype of most weights, in torch's words where torch has one."""
    weights: Counter[str] = Counter()
    for info in tensors.values():
        weights[info.dtype] += info.elements
    common = weights.most_common(1)[0][0] if weights else "F32"
    return TYPE_NAMES.get(common, common)
