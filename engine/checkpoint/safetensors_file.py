"""Safetensors: one file, or several with an index. The header is checked by us before a byte of it is trusted.

Format: 8 bytes little-endian header length, a JSON table name -> {dtype, shape, data_offsets}, then the data, in
which the tensors lie one after the other without gaps (github.com/huggingface/safetensors, README).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from engine.checkpoint.tensors import TensorInfo
from engine.errors import CheckpointError, SourceError

LONGEST_HEADER = 100_000_000  # the limit of the reference implementation
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

ITEM_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of one file, in the order of their data. Raises CheckpointError naming the file and the problem."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            text = file.read(header_length(path, file.read(8), size))
    except OSError as error:
        raise SourceError(f"The file {path} cannot be read: {error.strerror}.") from error
    return parse_header(path, text, size)


def header_length(path: Path, start: bytes, size: int) -> int:
    """Bytes of the header, by the first 8 bytes of a file of ``size`` bytes. Raises CheckpointError."""
    length = int.from_bytes(start, "little")
    if size < 10:
        raise _broken(path, f"it has only {size} bytes")
    if length > LONGEST_HEADER:
        raise _broken(path, f"its header claims {length} bytes, more than the allowed {LONGEST_HEADER}")
    if length > size - 8:
        raise _broken(path, f"its header claims {length} bytes, but the file has only {size}")
    return length


def parse_header(path: Path, text: bytes, size: int) -> dict[str, TensorInfo]:
    """The tensors that a header lists, for a file of ``size`` bytes that need not be on this machine.

    Raises CheckpointError naming the file and the problem.
    """
    try:
        table = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(table, dict):
        raise _broken(path, "its header is not a table")
    table.pop("__metadata__", None)
    found = [_tensor(path, name, entry, 8 + len(text)) for name, entry in table.items()]
    found.sort(key=lambda info: (info.offset, info.size))
    _check_contiguous(path, found, 8 + len(text), size)
    return {info.name: info for info in found}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    if not isinstance(entry, dict):
        raise _broken(path, f"the entry of {name!r} is not a table")
    dtype, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise _broken(path, f"the tensor {name!r} has the unknown dtype {dtype!r}")
    if not _are_counts(shape):
        raise _broken(path, f"the tensor {name!r} has the impossible shape {shape!r}")
    if not _are_counts(span) or len(span) != 2 or span[0] > span[1]:
        raise _broken(path, f"the tensor {name!r} has the impossible byte range {span!r}")
    bits = prod(shape) * ITEM_BITS[dtype]
    if bits != 8 * (span[1] - span[0]):
        raise _broken(path, f"the tensor {name!r} of shape {shape} and dtype {dtype} has {span[1] - span[0]} bytes")
    return TensorInfo(name, tuple(shape), dtype, path, data_start + span[0], span[1] - span[0])


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _check_contiguous(path: Path, tensors: list[TensorInfo], data_start: int, file_size: int) -> None:
    end = data_start
    for info in tensors:
        if info.offset != end:
            problem = "overlaps the one before it" if info.offset < end else "leaves a gap before it"
            raise _broken(path, f"the tensor {info.name!r} {problem}")
        end = info.offset + info.size
    if end > file_size:
        raise _broken(path, f"it is truncated: the header needs {end} bytes and the file has {file_size}")
    if end < file_size:
        raise _broken(path, f"{file_size - end} bytes at its end belong to no tensor")


def _broken(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path.name} is not a sound safetensors file: {problem}; fetch the file again.")


PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def read_folder(folder: Path, check: Callable[[], None] = lambda: None) -> dict[str, TensorInfo]:
    """Every tensor of the safetensors in a model folder: by its index, or the single file.

    ``check`` is called before each file; what it raises ends the reading.

    Raises SourceError where there are no weights, CheckpointError where they are broken or a part is missing.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder, _read_index(folder / INDEX), check)
    return read_header(_single_file(folder))


def _single_file(folder: Path) -> Path:
    if (folder / SINGLE).is_file():
        return folder / SINGLE
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        raise SourceError(f"The folder {folder} has {len(found)} safetensors files but no {INDEX} that orders them.")
    if any(path.suffix in PICKLES for path in folder.iterdir()):
        raise SourceError(
            f"The weights in {folder} are pickle files, which can run any program when opened; "
            "get the model as safetensors or GGUF."
        )
    raise SourceError(f"The folder {folder} has no weights: no .safetensors file is in it.")


def _read_index(path: Path) -> Mapping[str, str]:
    try:
        return weight_map(path.name, path.read_bytes())
    except OSError as error:
        raise SourceError(f"The file {path} cannot be read: {error.strerror}.") from error


def weight_map(file: str, text: bytes) -> Mapping[str, str]:
    """The file of each tensor, as an index says. Raises CheckpointError naming the index ``file`` and the problem."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not valid JSON ({error}); fetch the file again.") from error
    entries = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise CheckpointError(f"{file} has no weight_map; fetch the file again.")
    for name in entries.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{file} names {name!r}, which is not a safetensors file beside it.")
    return entries


def _sharded(folder: Path, index: Mapping[str, str], check: Callable[[], None]) -> dict[str, TensorInfo]:
    missing = sorted({name for name in index.values() if not (folder / name).is_file()})
    if missing:
        raise CheckpointError(f"The folder {folder} lacks {missing[0]}, which {INDEX} names; fetch the model again.")
    headers = {}
    for name in sorted(set(index.values())):
        check()
        headers[name] = read_header(folder / name)
    return placed(index, headers)


def placed(index: Mapping[str, str], headers: Mapping[str, Mapping[str, TensorInfo]]) -> dict[str, TensorInfo]:
    """Every tensor of the index, in the file that it names. Raises CheckpointError where that does not have it."""
    for tensor, name in index.items():
        if tensor not in headers[name]:
            raise CheckpointError(f"{INDEX} places {tensor} in {name}, which does not have it; fetch the model again.")
    return {tensor: headers[name][tensor] for tensor, name in index.items()}
