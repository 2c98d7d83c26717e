"""Many dataclasses of one kind as arrays and back: a column a field, so that thousands of steps are read at once.

Texts and bytes are laid end to end with their lengths beside them; so are arrays and tuples. What may be None has a
column that says whether it is there. Nothing is believed: counts and lengths must fit the arrays to the last byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import chain
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import numpy as np

from engine.errors import EngineError, RunFileError
from engine.run_file_codec import hints, options

Columns = dict[str, np.ndarray]

_PLAIN: dict[Any, type[np.generic]] = {bool: np.bool_, int: np.int64, float: np.float64}
_LENGTHS, _THERE = ".lengths", ".there"
LATER = frozenset({"edited", "by_hand"})  # fields that files of the first programs lack: their default holds there


def to_columns(kind: Any, values: Sequence[Any], name: str) -> Columns:
    """The arrays of values of a type, by names that begin with ``name``."""
    if NoneType in options(kind):
        there = np.array([value is not None for value in values], np.bool_)
        some = [value for value in values if value is not None]
        return {name + _THERE: there, **to_columns(_without_none(kind), some, name)}
    if is_dataclass(kind):
        return _beside({f: (t, [getattr(value, f) for value in values]) for f, t in hints(kind).items()}, name)
    if _is_row(kind):
        kinds = enumerate(get_args(kind))
        return _beside({str(i): (t, [value[i] for value in values]) for i, t in kinds}, name)
    if get_origin(kind) is tuple:
        flat = list(chain.from_iterable(values))
        return {name + _LENGTHS: _lengths(values), **to_columns(get_args(kind)[0], flat, name)}
    if kind is np.ndarray:
        return {name + _LENGTHS: _lengths(values), name: np.concatenate(values) if values else np.zeros(0, np.float32)}
    if kind in _PLAIN:
        return {name: np.array(values, _PLAIN[kind])}
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    return {name + _LENGTHS: _lengths(raw), name: np.frombuffer(b"".join(raw), np.uint8)}


def from_columns(kind: Any, count: int, columns: Mapping[str, np.ndarray], name: str) -> list[Any]:
    """``count`` values of a type. Raises RunFileError where the arrays do not hold exactly these."""
    if NoneType in options(kind):
        there = _column(columns, name + _THERE, np.bool_, count).tolist()
        some = iter(from_columns(_without_none(kind), sum(there), columns, name))
        return [next(some) if is_there else None for is_there in there]
    if is_dataclass(kind):
        return _objects(kind, count, columns, name)
    if _is_row(kind):
        parts = [from_columns(t, count, columns, f"{name}.{i}") for i, t in enumerate(get_args(kind))]
        return list(zip(*parts, strict=True))
    if kind in _PLAIN:
        return _column(columns, name, _PLAIN[kind], count).tolist()
    lengths = _column(columns, name + _LENGTHS, np.int64, count).tolist()
    if any(length < 0 for length in lengths):
        raise _unsound(name)
    if get_origin(kind) is tuple:
        return [tuple(part) for part in _cut(from_columns(get_args(kind)[0], sum(lengths), columns, name), lengths)]
    if kind is np.ndarray:
        return [part.copy() for part in _cut(_column(columns, name, None, sum(lengths)), lengths)]
    raw = _cut(_column(columns, name, np.uint8, sum(lengths)).tobytes(), lengths)
    return list(raw) if kind is bytes else _texts(kind, raw, name)


def names(kind: Any, name: str) -> set[str]:
    """Every name that the columns of a type have."""
    return set(to_columns(kind, (), name))


def _is_row(kind: Any) -> bool:
    """A tuple of so many values, each of its own type."""
    return get_origin(kind) is tuple and get_args(kind)[-1] is not Ellipsis


def _beside(parts: Mapping[str, tuple[Any, list[Any]]], name: str) -> Columns:
    """The columns of fields: their types and values by field."""
    found: Columns = {}
    for field, (kind, values) in parts.items():
        found.update(to_columns(kind, values, f"{name}.{field}"))
    return found


def _objects(kind: Any, count: int, columns: Mapping[str, np.ndarray], name: str) -> list[Any]:
    parts = [
        [getattr(kind, field)] * count
        if field in LATER and f"{name}.{field}" not in columns
        else from_columns(type_, count, columns, f"{name}.{field}")
        for field, type_ in hints(kind).items()
    ]
    try:
        return [kind(*values) for values in zip(*parts, strict=True)]
    except EngineError as error:
        raise RunFileError(f"its table {name} does not hold what it should ({error})") from error


def _texts(kind: Any, raw: Iterable[bytes], name: str) -> list[str]:
    try:
        texts = [text.decode() for text in raw]
    except UnicodeDecodeError as error:
        raise _unsound(name) from error
    if get_origin(kind) is Literal and not set(texts) <= set(get_args(kind)):
        raise _unsound(name)
    return texts


def _without_none(kind: Any) -> Any:
    (rest,) = [option for option in options(kind) if option is not NoneType]
    return rest


def _lengths(values: Iterable[Any]) -> np.ndarray:
    return np.array([len(value) for value in values], np.int64)


def _column(columns: Mapping[str, np.ndarray], name: str, dtype: type[np.generic] | None, count: int) -> np.ndarray:
    found = columns.get(name)
    if found is None or found.shape != (count,) or (dtype is not None and found.dtype != dtype):
        raise _unsound(name)
    return found


def _cut(whole: Any, lengths: Iterable[int]) -> Iterable[Any]:
    start = 0
    for length in lengths:
        yield whole[start : start + length]
        start += length


def _unsound(name: str) -> RunFileError:
    return RunFileError(f"its table {name} does not hold what it should")
