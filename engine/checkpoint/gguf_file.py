"""A GGUF model: one file or several parts, its metadata, and its tensors dequantised row by row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from engine.checkpoint.files import OpenFiles
from engine.checkpoint.gguf_header import GGUFHeader, read_header
from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError, SourceError

SMALL = 2**16  # elements of a tensor whose values are a setting
SLICE = 2**18  # elements dequantised at a time: its float32 and temporary arrays stay in the processor's cache
_PART = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf")


class GGUFFile:
    """The model in ``path`` (any part of a split model names the whole); a context manager that holds it open.

    ``metadata`` is that of the first part. Raises SourceError or CheckpointError with one sentence.
    """

    def __init__(self, path: Path) -> None:
        paths = parts(path)
        self.metadata, self._tensors = joined(paths, [read_header(part) for part in paths])
        self._files = OpenFiles(paths)

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.__exit__(*exception)

    @property
    def architecture(self) -> str:
        """``general.architecture``. Raises CheckpointError where the file does not say."""
        return architecture_of(self.metadata)

    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor by name; shapes in torch order."""
        return self._tensors

    def restore_axes(self, name: str, shape: tuple[int, ...]) -> None:
        """Give a tensor its leading axes of one back, which ggml's quantisation tool drops."""
        info = self._tensors.get(name)
        if info is not None and shape == (1,) * (len(shape) - len(info.shape)) + info.shape:
            self._tensors[name] = replace(info, shape=shape)

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of a tensor as float32 [stop - start, ...]."""
        info = self._tensors[name]
        return dequantised(self._files.rows(info, start, stop), info.dtype).reshape(stop - start, *info.shape[1:])

    def read(self, name: str) -> np.ndarray:
        """A whole tensor as float32, dequantised in slices of rows."""
        info = self._tensors[name]
        values = np.empty(info.shape, dtype=np.float32)
        step = max(1, SLICE * info.rows // info.elements)
        for start in range(0, info.rows, step):
            stop = min(start + step, info.rows)
            values[start:stop] = self.rows(name, start, stop)
        return values

    def small(self, name: str) -> tuple[float, ...] | None:
        """The values of a small tensor (for rope divisors), an empty tuple for a large one, None where it is absent."""
        info = self._tensors.get(name)
        if info is None:
            return None
        return tuple(self.read(name).ravel().tolist()) if info.elements <= SMALL else ()

    @property
    def stored_as(self) -> str:
        """The quantisation of most weights."""
        weights: Counter[str] = Counter()
        for info in self._tensors.values():
            weights[info.dtype] += info.elements
        return f"GGUF {weights.most_common(1)[0][0]}" if weights else "GGUF"


def dequantised(stored: bytearray, dtype: str) -> np.ndarray:
    """The numbers of whole blocks in the order in which they lie, as float32 [elements].

    Blocks know nothing of rows; as one long row they are not worked through in groups of 16 rows.
    """
    blocks = np.frombuffer(stored, dtype=np.uint8).reshape(1, -1)
    return dequantize(blocks, GGMLQuantizationType[dtype]).reshape(-1)


def block_of(dtype: str) -> tuple[int, int]:
    """(elements, bytes) of one block; plain types have blocks of one element."""
    return GGML_QUANT_SIZES[GGMLQuantizationType[dtype]]


def can_dequantise(dtype: str) -> bool:
    """Whether a quantisation's formula is known: some are named in the format and implemented nowhere in numpy."""
    kind = GGMLQuantizationType[dtype]
    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def parts(path: Path) -> list[Path]:
    """All files of the model that ``path`` is a part of. Raises SourceError naming a missing part."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    found = [path.with_name(f"{match['stem']}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]
    missing = next((part for part in found if not part.is_file()), None)
    if missing is not None:
        raise SourceError(f"The model has {count} parts and {missing.name} is missing; put all parts into one folder.")
    return found or [path]


def architecture_of(metadata: Mapping[str, Any]) -> str:
    """``general.architecture``. Raises CheckpointError where the file does not say."""
    value = metadata.get("general.architecture")
    if not isinstance(value, str):
        raise CheckpointError("The GGUF file does not say which architecture it is; it holds no language model.")
    return value


def joined(paths: Sequence[Path], headers: Sequence[GGUFHeader]) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    """(metadata of the first part, tensors of all). Raises CheckpointError where they are not parts of one model."""
    _check_parts(paths, headers)
    tensors = {name: info for header in headers for name, info in header.tensors.items()}
    if len(tensors) != sum(len(header.tensors) for header in headers):
        raise CheckpointError(f"Two parts of {paths[0].name} have the same tensor; fetch the model again.")
    return headers[0].metadata, tensors


def _check_parts(paths: Sequence[Path], headers: Sequence[GGUFHeader]) -> None:
    for number, (path, header) in enumerate(zip(paths, headers, strict=True)):
        count = header.metadata.get("split.count", 1)
        if len(paths) == 1 and count in (0, 1):
            continue
        if count != len(paths) or header.metadata.get("split.no") != number:
            raise CheckpointError(f"{path.name} is not part {number + 1} of {len(paths)}; fetch the model again.")
