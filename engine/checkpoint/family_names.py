"""How a family looks at the names in a model's files. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType

from engine.config import ModelConfig
from engine.errors import CheckpointError


def canonical_names(family: ModuleType | None, names: Collection[str]) -> dict[str, str]:
    """The files' names by those that the family uses (without a wrapper's prefix).

    Raises CheckpointError where two tensors have the same.
    """
    rename = getattr(family, "canonical", None)
    if rename is None:
        return {name: name for name in names}
    own = {rename(name): name for name in names}
    if len(own) != len(names):
        raise CheckpointError("Two tensors of the weights have the same name but for a prefix; fetch the model again.")
    return own


def ignored(family: ModuleType | None, config: ModelConfig) -> Callable[[str], bool]:
    """Whether a tensor may stand in a file and is no weight of the decoder."""
    by_name = getattr(family, "ignored", lambda name: False)
    by_layer = getattr(family, "ignored_layer", lambda config, name: False)
    return lambda name: by_name(name) or by_layer(config, name)
