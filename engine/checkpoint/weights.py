"""From the tensors of a file to the decoder's parameters: checked first, allocated once, filled slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.files import OpenFiles
from engine.checkpoint.gguf_file import GGUFFile, can_dequantise
from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError
from engine.families import Slot
from engine.model.linear import empty_parameter

SLICE = 2**18  # elements converted at a time: small enough for the cache, and all the memory that loading adds

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
TYPE_NAMES = {name: str(dtype).removeprefix("torch.") for name, dtype in FLOATS.items()}

Report = Callable[[str, int, int], None]  # (tensor, bytes done, bytes in all); raising it cancels


class Weights(Protocol):
    """Where tensors come from: a table of them, and slices of rows as CPU tensors."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]: ...

    def readable(self, dtype: str) -> bool: ...

    def rows(self, name: str, start: int, stop: int) -> Tensor: ...


class SafetensorsWeights:
    """Rows of safetensors files in their stored dtype."""

    def __init__(self, tensors: Mapping[str, TensorInfo], files: OpenFiles) -> None:
        self.tensors, self._files = tensors, files

    def readable(self, dtype: str) -> bool:
        return dtype in FLOATS

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        info = self.tensors[name]
        stored = torch.frombuffer(self._files.rows(info, start, stop), dtype=FLOATS[info.dtype])
        return stored.view(stop - start, *info.shape[1:])


class GGUFWeights:
    """Rows of a GGUF file, dequantised to float32."""

    def __init__(self, file: GGUFFile) -> None:
        self.tensors, self._file = file.tensors(), file

    def readable(self, dtype: str) -> bool:
        return can_dequantise(dtype)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        return torch.from_numpy(self._file.rows(name, start, stop))


def check(slots: Mapping[str, Slot], weights: Weights, ignored: Callable[[str], bool]) -> None:
    """Compare names, shapes and types with what the configuration needs, before anything is allocated.

    Raises CheckpointError naming the first tensor at fault.
    """
    missing = [name for name in slots if name not in weights.tensors]
    if missing:
        raise CheckpointError(f"The weights lack {_listed(missing)}, which the configuration needs.")
    surplus = [name for name in weights.tensors if name not in slots and not ignored(name)]
    if surplus:
        raise CheckpointError(f"The weights have {_listed(surplus)}, which the configuration does not know.")
    for name, slot in slots.items():
        info = weights.tensors[name]
        if info.shape != slot.shape:
            raise CheckpointError(
                f"The tensor {name} has the shape {list(info.shape)}; the configuration needs {list(slot.shape)}."
            )
        if not weights.readable(info.dtype):
            raise CheckpointError(f"The tensor {name} is stored as {info.dtype}, which cannot be read as a weight yet.")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the tensor {names[0]}{more}"


def parameter_shapes(slots: Mapping[str, Slot]) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of the decoder; a fused one is as long as its last part reaches."""
    shapes: dict[str, tuple[int, ...]] = {}
    for slot in slots.values():
        rows = slot.rows[1] if slot.rows else slot.shape[0]
        rows = max(rows, shapes.get(slot.parameter, (0,))[0])
        shapes[slot.parameter] = (rows, *slot.shape[1:])
    return shapes


def count_parameters(slots: Mapping[str, Slot]) -> int:
    return sum(prod(shape) for shape in parameter_shapes(slots).values())


def fill(
    slots: Mapping[str, Slot], weights: Weights, device: torch.device, dtype: torch.dtype, report: Report
) -> dict[str, Tensor]:
    """The decoder's state: each parameter allocated once in its final place and type, then filled from the file."""
    shapes = parameter_shapes(slots)
    state = {name: empty_parameter(shape, dtype, device) for name, shape in shapes.items()}
    total, done = sum(weights.tensors[name].size for name in slots), 0
    for name, slot in slots.items():
        parameter = state[slot.parameter]
        target = parameter[slice(*slot.rows)] if slot.rows else parameter
        row_bytes = weights.tensors[name].size // slot.shape[0]
        for start, stop in _slices(slot):
            report(name, done, total)
            _copy_rows(target[start:stop], weights.rows(name, start, stop), slot)
            done += row_bytes * (stop - start)
    report("", done, total)
    return state


def _slices(slot: Slot) -> list[tuple[int, int]]:
    """Row ranges of about SLICE elements, whole heads where rows move within a head."""
    rows = slot.shape[0]
    unit = rows // slot.unpermute_heads if slot.unpermute_heads else 1
    step = max(unit, SLICE // prod(slot.shape[1:]) // unit * unit)
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def _copy_rows(target: Tensor, source: Tensor, slot: Slot) -> None:
    """Copy, converting the type; undo the converter's interleaving (row 2i + j of a head back to j·d_head/2 + i)."""
    if slot.unpermute_heads:
        half = slot.shape[0] // slot.unpermute_heads // 2
        target = target.view(-1, 2, half, *slot.shape[1:])
        source = source.view(-1, half, 2, *slot.shape[1:]).transpose(1, 2)
    target.copy_(source)
