"""From the tensors of a file to the decoder's parameters: checked first, allocated once, filled slice by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.files import OpenFiles
from engine.checkpoint.gguf_file import GGUFFile, can_dequantise
from engine.checkpoint.quantised import FP8, MXFP4, Block, quantised
from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError
from engine.naming import Slot

SLICE = 2**18  # elements converted at a time: small enough for the cache, and all the memory that loading adds

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
STORED = FLOATS | {"F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu, "U8": torch.uint8}
TYPE_NAMES = {name: str(dtype).removeprefix("torch.") for name, dtype in FLOATS.items()}

Report = Callable[[str, int, int], None]  # (tensor, bytes done, bytes in all); raising it cancels


class Weights(Protocol):
    """Where tensors come from: a table of them, and slices of rows as CPU tensors."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]: ...

    def readable(self, dtype: str) -> bool: ...

    def rows(self, name: str, start: int, stop: int) -> Tensor: ...


class SafetensorsWeights:
    """Rows of safetensors files in their stored dtype; quantised tensors as float32, under their plain names.

    ``block``: rows and columns that share a scale in an FP8 model. Raises CheckpointError for scales that do not fit.
    """

    def __init__(self, tensors: Mapping[str, TensorInfo], files: OpenFiles, block: Block | None = None) -> None:
        self._files = files
        found = quantised(tensors, block)
        parts = {part.name for tensor in found for part in tensor.parts}
        self._quantised = {tensor.info.name: tensor for tensor in found}
        plain = {name: info for name, info in tensors.items() if name not in parts}
        self.tensors = plain | {name: tensor.info for name, tensor in self._quantised.items()}

    def readable(self, dtype: str) -> bool:
        return dtype in FLOATS or dtype in (FP8, MXFP4)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        if name in self._quantised:
            return self._quantised[name].rows(self._read, start, stop)
        return self._read(self.tensors[name], start, stop)

    def _read(self, info: TensorInfo, start: int, stop: int) -> Tensor:
        stored = torch.frombuffer(self._files.rows(info, start, stop), dtype=STORED[info.dtype])
        return stored.view(stop - start, *info.shape[1:])


class GGUFWeights:
    """Rows of a GGUF file, dequantised to float32."""

    def __init__(self, file: GGUFFile) -> None:
        self.tensors, self._file = file.tensors(), file

    def readable(self, dtype: str) -> bool:
        return can_dequantise(dtype)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        return torch.from_numpy(self._file.rows(name, start, stop))


def check(slots: Sequence[Slot], weights: Weights, ignored: Callable[[str], bool]) -> tuple[str, ...]:
    """Compare names, shapes and types with what the configuration needs, before anything is allocated.

    Returns the tensors that the file has and the model does not know. Raises CheckpointError naming the first tensor
    that is missing or not as it should be.
    """
    missing = list(dict.fromkeys(slot.name for slot in slots if slot.name not in weights.tensors))
    if missing:
        raise CheckpointError(f"The weights lack {_listed(missing)}, which the configuration needs.")
    for slot in slots:
        info = weights.tensors[slot.name]
        if info.shape != slot.shape:
            raise CheckpointError(
                f"The tensor {slot.name} has the shape {list(info.shape)}; the configuration needs {list(slot.shape)}."
            )
        if not weights.readable(info.dtype):
            raise CheckpointError(
                f"The tensor {slot.name} is stored as {info.dtype}, which cannot be read as a weight."
            )
    known = {slot.name for slot in slots}
    return tuple(name for name in weights.tensors if name not in known and not ignored(name))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the tensor {names[0]}{more}"


def fill(
    shapes: Mapping[str, tuple[int, ...]],
    slots: Sequence[Slot],
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype,
    report: Report,
) -> dict[str, Tensor]:
    """The decoder's state: each parameter of ``shapes`` allocated once in its final place and type, then filled."""
    state = {name: torch.empty(shape, dtype=_type_of(name, dtype), device=device) for name, shape in shapes.items()}
    room = _room(slots, dtype)
    total, done = sum(weights.tensors[slot.name].size for slot in slots), 0
    filled: Counter[str] = Counter()
    for slot in slots:
        place = slot.place(state[slot.parameter])
        row_bytes = weights.tensors[slot.name].size // slot.shape[0]
        for start, stop in _slices(slot):
            report(slot.name, done, total)
            rows = _rows(weights, slot, start, stop, room)
            target = place if slot.arrange is not None and not slot.unit else place[start:stop]
            target.copy_(rows if slot.arrange is None else slot.arrange(rows))
            done += row_bytes * (stop - start)
        filled[slot.parameter] += place.numel()
    unfilled = next((name for name, tensor in state.items() if filled[name] != tensor.numel()), None)
    if unfilled is not None:
        raise CheckpointError(f"No tensor of the file fills {unfilled}; the names of this family are incomplete.")
    report("", done, total)
    return state


def _type_of(parameter: str, dtype: torch.dtype) -> torch.dtype:
    """A router's correction is at least float32: in 16 bits it is coarser than the scores that it decides between."""
    return torch.promote_types(dtype, torch.float32) if parameter.endswith("choice_bias") else dtype


def _step(slot: Slot) -> int:
    """Rows of about SLICE elements, one at least."""
    return max(1, SLICE // prod(slot.shape[1:]))


def _room(slots: Sequence[Slot], dtype: torch.dtype) -> Tensor:
    """For rows that must be rearranged together; once for all slots, as what is often asked for anew adds up."""
    ranges = ((slot, stop - start) for slot in slots for start, stop in _slices(slot))
    gathered = (count * prod(slot.shape[1:]) for slot, count in ranges if count > _step(slot))
    return torch.empty(max(gathered, default=0), dtype=dtype)


def _rows(weights: Weights, slot: Slot, start: int, stop: int, room: Tensor) -> Tensor:
    """Rows [start, stop) as stored; or, where they are many, gathered in ``room``, a slice of them after the other."""
    count, step = stop - start, _step(slot)
    if count <= step:
        return weights.rows(slot.name, start, stop)
    together = room[: count * prod(slot.shape[1:])].view(count, *slot.shape[1:])
    for first in range(0, count, step):
        last = min(first + step, count)
        together[first:last] = weights.rows(slot.name, start + first, start + last)
    return together


def _slices(slot: Slot) -> list[tuple[int, int]]:
    """Row ranges of about SLICE elements, whole units where rows move within one."""
    rows = slot.shape[0]
    if slot.arrange is not None and not slot.unit:
        return [(0, rows)]
    unit = slot.unit or 1
    step = max(unit, SLICE // prod(slot.shape[1:]) // unit * unit)
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]
