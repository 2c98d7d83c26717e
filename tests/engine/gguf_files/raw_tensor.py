"""Tensors in the bytes of a GGUF file: random ones of the K-types, and MXFP4 of a safetensors file put in ggml's order.

Block layouts: ``ggml-common.h`` of ggml (``block_q2_K`` to ``block_q6_K``, ``block_mxfp4``).
"""

from __future__ import annotations

from dataclasses import dataclass

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

# byte offset of each half-precision scale in a block of 256 values -> its largest value; every other byte may hold
# anything. The second scale is that of the block's minimum, large enough to bring the mean near zero.
K_TYPES: dict[Kind, dict[int, float]] = {
    Kind.Q2_K: {80: 0.026, 82: 0.039},
    Kind.Q3_K: {108: 0.01},
    Kind.Q4_K: {0: 0.00145, 2: 0.0109},
    Kind.Q5_K: {0: 0.0007, 2: 0.0109},
    Kind.Q6_K: {208: 0.0003},
}


@dataclass(frozen=True)
class RawTensor:
    """``data``: uint8 (..., rows, bytes of a row) as the file holds it. ``values``: the same dequantised, float32."""

    kind: Kind
    data: np.ndarray

    @property
    def values(self) -> np.ndarray:
        return gguf.quants.dequantize(self.data, self.kind)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(gguf.quant_shape_from_byte_shape(self.data.shape, self.kind))


def random_k_tensor(kind: Kind | str, shape: tuple[int, ...], seed: int) -> RawTensor:
    """Random blocks with finite scales; rows must be whole blocks of 256. The values have a deviation of about 0.25."""
    kind = Kind[kind] if isinstance(kind, str) else kind
    generator = np.random.default_rng(seed)
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    if shape[-1] % per_block:
        raise ValueError(f"A row of {shape[-1]} values is no whole number of {kind.name} blocks of {per_block}.")
    blocks = generator.integers(0, 256, (*shape[:-1], shape[-1] // per_block, size), dtype=np.uint8)
    for offset, largest in K_TYPES[kind].items():
        scales = generator.uniform(largest / 8, largest, (*blocks.shape[:-1], 1)).astype("<f2")
        blocks[..., offset : offset + 2] = scales.view(np.uint8)
    return RawTensor(kind, blocks.reshape(*shape[:-1], -1))


def mxfp4_from_safetensors(blocks: np.ndarray, scales: np.ndarray) -> RawTensor:
    """(E, rows, groups, 16) nibble pairs and (E, rows, groups) exponents as gpt-oss is published -> ggml's blocks.

    There a byte holds two neighbours (low nibble first); in ggml byte j holds values j and j + 16 of a group of 32.
    """
    nibbles = np.stack((blocks & 15, blocks >> 4), axis=-1).reshape(*blocks.shape[:-1], 32)
    packed = nibbles[..., :16] | (nibbles[..., 16:] << 4)
    data = np.concatenate((scales[..., None], packed), axis=-1)
    return RawTensor(Kind.MXFP4, data.reshape(*blocks.shape[:2], -1))
