"""The engine's hook points beside transformers' tensors: how far apart, and which stage differs first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.hooks import HookPoint
from engine.loading import Loaded
from tests.engine.families.oracle import Oracle
from tests.engine.families.reference import Record, in_one_form, reference

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """A hook point that is not what transformers computes. ``stage`` ends at this point or is the next to end."""

    name: str
    stage: str
    what: str

    def __str__(self) -> str:
        return f"first at {self.name} (stage {self.stage!r}): {self.what}"


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape; infinite where one has NaN."""
    distance = float((ours.cpu().double() - theirs.cpu().double()).abs().max())
    return distance if distance == distance else float("inf")


def logits_of(loaded: Loaded, ids: Tensor, cache: KVCache | None = None, **options: Any) -> Tensor:
    """The engine's, [batch, pos, d_vocab], on the CPU wherever the engine's model is."""
    return loaded.model(ids.to(loaded.device), cache, **options).cpu()


def observed(loaded: Loaded, ids: Tensor, names: Iterable[str]) -> Record:
    """The engine's tensors at these hook points in one prefill of ``ids`` [batch, pos]; lazy ones are formed."""
    seen: Record = {}

    def keep(tensor: Tensor, point: HookPoint) -> None:
        seen[point.name] = tensor.cpu().clone()

    with loaded.model.hooks(dict.fromkeys(names, keep)):
        logits_of(loaded, ids)
    return seen


def unpublished(loaded: Loaded, record: Record) -> list[str]:
    """Names of comparable tensors that the engine has no hook point for."""
    return [name for name in record if name not in loaded.model.hook_points]


def differences(loaded: Loaded, oracle: Oracle, ids: Tensor, tolerance: float = TOLERANCE) -> list[Difference]:
    """Every published and comparable hook point that differs, in the order of the pass.

    ``tolerance`` is absolute for values up to 1 and relative to the largest value above.
    """
    record = reference(oracle, ids)
    names = [name for name in loaded.model.hook_points if name in record]
    ours, theirs = in_one_form(observed(loaded, ids, names), oracle), in_one_form(record, oracle)
    found = ((name, _complaint(ours.get(name), theirs[name], tolerance)) for name in names)
    return [Difference(name, _stage(loaded, name), what) for name, what in found if what]


def first_difference(loaded: Loaded, oracle: Oracle, ids: Tensor, tolerance: float = TOLERANCE) -> Difference | None:
    """The first of ``differences``: what to look at when logits are wrong."""
    return next(iter(differences(loaded, oracle, ids, tolerance)), None)


def _complaint(ours: Tensor | None, theirs: Tensor, tolerance: float) -> str:
    if ours is None:
        return "it did not fire"
    if ours.shape != theirs.shape:
        return f"its shape is {list(ours.shape)}, transformers' {list(theirs.shape)}"
    if not theirs.is_floating_point():
        unequal = int((ours != theirs).sum())
        return f"{unequal} of {theirs.numel()} choices differ" if unequal else ""
    distance, allowed = apart(ours, theirs), tolerance * max(1.0, float(theirs.abs().max()))
    return f"{distance:.2g} apart, {allowed:.2g} allowed" if distance > allowed else ""


def _stage(loaded: Loaded, name: str) -> str:
    points = list(loaded.model.hook_points)
    behind = (loaded.model.hook_points[point].stage for point in points[points.index(name) :])
    return next((stage for stage in behind if stage), "")


def read_in_parts(loaded: Loaded, ids: Tensor, cuts: list[int]) -> Tensor:
    """The engine's logits of all positions, read part by part into one cache."""
    cache = KVCache(loaded.config, batch=ids.shape[0], dtype=loaded.dtype, device=loaded.device)
    return torch.cat([logits_of(loaded, part, cache) for part in ids.tensor_split(cuts, dim=1)], dim=1)
