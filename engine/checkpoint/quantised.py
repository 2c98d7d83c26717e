"""Quantised tensors of safetensors, presented as the plain tensors that they stand for.

FP8: ``X`` in F8_E4M3 and its scales, ``X_scale_inv`` or ``X_scale``, by which it is multiplied (DeepSeek-AI 2024,
DeepSeek-V3, section 3.3). MXFP4: ``X_blocks`` and ``X_scales``, 32 numbers of four bits to one power of two (Open
Compute Project, Microscaling Formats v1.0, section 5.3; the layout is that of gpt-oss).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError

FP8, MXFP4 = "FP8", "MXFP4"  # what the presented tensors say they are stored as
STEP = 2**11  # blocks of MXFP4 unpacked at a time: so few that temporary arrays hardly add to the heap

SCALES = ("F64", "F32", "F16", "BF16", "F8_E8M0")  # types of FP8's scales

ReadRows = Callable[[TensorInfo, int, int], Tensor]  # rows [start, stop) of a stored tensor as they lie in the file

Block = tuple[int, int]


class Quantised(Protocol):
    """A tensor made of several stored ones."""

    @property
    def info(self) -> TensorInfo:
        """Name and shape of the plain tensor, bytes of all its parts."""

    @property
    def parts(self) -> tuple[TensorInfo, ...]: ...

    def rows(self, read: ReadRows, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as float32."""


@dataclass(frozen=True)
class Scaled:
    """FP8 [rows, columns]; each block of it has one entry of ``scale``, blocks at the edges are cut off."""

    weight: TensorInfo
    scale: TensorInfo
    block: Block

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return self.weight, self.scale

    @property
    def info(self) -> TensorInfo:
        return replace(self.weight, dtype=FP8, size=self.weight.size + self.scale.size)

    def rows(self, read: ReadRows, start: int, stop: int) -> Tensor:
        high, wide = self.block
        first, last = start // high, -(-stop // high)
        values = read(self.weight, start, stop).float()
        scales = read(self.scale, first, last).float().view(last - first, -1)
        scales = scales.repeat_interleave(wide, dim=1)[:, : values.shape[1]]
        return values.mul_(scales[torch.arange(start, stop) // high - first])


@dataclass(frozen=True)
class Packed:
    """MXFP4: bytes [experts, rows, groups, 16], the even number in the low half, and exponents [experts, rows, groups].

    Presented as [experts, 32 · groups, rows]: gpt-oss multiplies x · W, and its plain weights lie so.
    """

    blocks: TensorInfo
    exponents: TensorInfo

    @property
    def parts(self) -> tuple[TensorInfo, ...]:
        return self.blocks, self.exponents

    @property
    def info(self) -> TensorInfo:
        experts, rows, groups, _ = self.blocks.shape
        name = self.blocks.name.removesuffix("_blocks")
        size = self.blocks.size + self.exponents.size
        return replace(self.blocks, name=name, shape=(experts, 32 * groups, rows), dtype=MXFP4, size=size)

    def rows(self, read: ReadRows, start: int, stop: int) -> Tensor:
        _, rows, groups, _ = self.blocks.shape
        values = unpacked(read(self.blocks, start, stop), read(self.exponents, start, stop))
        return values.view(stop - start, rows, groups * 32).transpose(1, 2)


def unpacked(blocks: Tensor, exponents: Tensor) -> Tensor:
    """Float32 [blocks, 16, 2]: the numbers in the order in which they lie, of blocks with one exponent each."""
    stored, exponents = blocks.view(-1, 16), exponents.view(-1)
    values = torch.empty(len(stored), 16, 2)
    for first in range(0, len(stored), STEP):
        part = slice(first, first + STEP)
        powers = exponents[part].int()[:, None, None] - 127
        torch.ldexp(_pairs()[stored[part].int()], powers, out=values[part])
    return values


def _pairs() -> Tensor:
    """[256, 2]: the two numbers in each byte. Four bits: sign, two of exponent, one of mantissa."""
    half = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    numbers, byte = torch.cat((half, -half)), torch.arange(256)
    return torch.stack((numbers[byte & 15], numbers[byte >> 4]), dim=1)


def quantised(tensors: Mapping[str, TensorInfo], block: Block | None) -> tuple[Quantised, ...]:
    """The quantised tensors among those of a model; ``block`` as the config says it, None where it does not.

    Raises CheckpointError naming scales that do not fit their tensor.
    """
    return (*_packed(tensors), *_scaled(tensors, block))


def _packed(tensors: Mapping[str, TensorInfo]) -> Iterator[Packed]:
    for name, blocks in tensors.items():
        exponents = tensors.get(f"{name.removesuffix('_blocks')}_scales")
        if not name.endswith("_blocks") or exponents is None:
            continue
        sound = len(blocks.shape) == 4 and blocks.shape[3] == 16 and blocks.shape[:3] == exponents.shape
        if not sound or (blocks.dtype, exponents.dtype) != ("U8", "U8"):
            raise CheckpointError(
                f"The tensors {name} and {exponents.name} have the shapes {list(blocks.shape)} and "
                f"{list(exponents.shape)}, which are no MXFP4 blocks of 16 bytes with one exponent each."
            )
        yield Packed(blocks, exponents)


def _scaled(tensors: Mapping[str, TensorInfo], block: Block | None) -> Iterator[Scaled]:
    for name, weight in tensors.items():
        scale = tensors.get(f"{name}_scale_inv", tensors.get(f"{name}_scale"))
        if weight.dtype == "F8_E4M3" and scale is not None:
            yield Scaled(weight, scale, _block(weight, scale, block))


def _block(weight: TensorInfo, scale: TensorInfo, block: Block | None) -> Block:
    """One scale for the whole, one for each row, or one for each block of the config's size."""
    if len(weight.shape) == 2 and scale.dtype in SCALES:
        rows, columns = weight.shape
        if scale.elements == 1 and len(scale.shape) < 2:
            return rows, columns
        if block is None and scale.shape == (rows, 1):
            return 1, columns
        if block is not None and scale.shape == (-(-rows // block[0]), -(-columns // block[1])):
            return block
    size = f"blocks of {block[0]} x {block[1]}" if block else "a config without weight_block_size"
    raise CheckpointError(
        f"The scales {scale.name} ({scale.dtype} {list(scale.shape)}) do not fit {weight.name} {list(weight.shape)} "
        f"with {size}; the weights cannot be read."
    )
