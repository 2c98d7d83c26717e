"""Which stored tensors stand together for one plain tensor: FP8 and its scales, MXFP4 and its exponents.

``quantised.py`` reads their values; here, without torch, is only what the headers say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.checkpoint.tensors import TensorInfo


@dataclass(frozen=True)
class Presented:
    """A tensor as the model sees it: ``parts`` are stored under these names, the numbers first, their scales after."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    parts: tuple[str, ...]


def presented(tensors: Mapping[str, TensorInfo]) -> dict[str, Presented]:
    """Every plain tensor that the stored ones make, by name; a part stands nowhere for itself."""
    joined = {found.parts[0]: found for found in _joined(tensors)}
    scales = {part for found in joined.values() for part in found.parts[1:]}
    plain = {name: Presented(name, info.shape, info.dtype, (name,)) for name, info in tensors.items()}
    kept = (joined.get(name, own) for name, own in plain.items() if name not in scales)
    return {found.name: found for found in kept}


def _joined(tensors: Mapping[str, TensorInfo]) -> Iterator[Presented]:
    for name, info in tensors.items():
        stem = name.removesuffix("_blocks")
        if stem != name and f"{stem}_scales" in tensors and len(info.shape) == 4:
            experts, rows, groups, _ = info.shape
            yield Presented(stem, (experts, 32 * groups, rows), "MXFP4", (name, f"{stem}_scales"))
        scale = next((s for s in (f"{name}_scale_inv", f"{name}_scale") if s in tensors), None)
        if info.dtype == "F8_E4M3" and scale is not None:
            yield Presented(name, info.shape, "FP8", (name, scale))
