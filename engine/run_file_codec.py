"""Frozen dataclasses as JSON and back, by their type hints: what does not fit to the letter is refused.

A dataclass is a table of its fields; one of several possible ones names its class under "is". Numbers that JSON does
not know are the texts "nan", "inf" and "-inf".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.errors import EngineError, RunFileError

_CLASS = "is"
LATER = {"later": True}  # of a field that files of the first programs lack: its default holds there
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def hints(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass, by name, with their types."""
    return _hints(kind)


@cache
def _hints(kind: type) -> dict[str, Any]:
    known = get_type_hints(kind)
    return {field.name: known[field.name] for field in fields(kind)}


@cache
def _later(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if field.metadata == LATER)


def options(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the type alone."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def to_json(value: Any) -> Any:
    """Tables, lists, texts and numbers that ``from_json`` turns into an equal value."""
    if is_dataclass(value):
        table = {name: to_json(getattr(value, name)) for name in hints(type(value))}
        return {_CLASS: type(value).__name__, **table}
    if isinstance(value, Mapping):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_json(kind: Any, value: Any, where: str) -> Any:
    """A value of a type. Raises RunFileError naming the place (``where``) that does not fit."""
    if get_origin(kind) in (Union, UnionType):
        return _one_of(options(kind), value, where)
    if is_dataclass(kind):
        return _table(kind, value, where)
    if get_origin(kind) is Literal:
        return _checked(value in get_args(kind) and isinstance(value, str), value, where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, where)
    if get_origin(kind) is not None:  # a mapping by texts
        _checked(isinstance(value, dict), value, where)
        return {key: from_json(get_args(kind)[1], entry, f"{where}.{key}") for key, entry in value.items()}
    return _number(value, where) if kind is float else _checked(type(value) is kind, value, where)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    rest = [kind for kind in kinds if kind is not NoneType]
    if len(rest) > 1:
        named = value.get(_CLASS) if isinstance(value, dict) else None
        rest = [kind for kind in rest if kind.__name__ == named]
    if not rest:
        raise _unfitting(value, where)
    return from_json(rest[0], value, where)


def _table(kind: Any, value: Any, where: str) -> Any:
    _checked(isinstance(value, dict), value, where)
    known = {name: type_ for name, type_ in hints(kind).items() if name in value or name not in _later(kind)}
    if value.get(_CLASS) != kind.__name__ or value.keys() != {_CLASS, *known}:
        raise _unfitting(value, where)
    found = {name: from_json(type_, value[name], f"{where}.{name}") for name, type_ in known.items()}
    try:
        return kind(**found)
    except EngineError as error:  # a setting out of its range
        raise RunFileError(f"{where} does not hold what it should ({error})") from error


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _checked(isinstance(value, list), value, where)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    _checked(len(kinds) == len(value), value, where)
    return tuple(from_json(kind, value[i], f"{where}[{i}]") for i, kind in enumerate(kinds))


def _number(value: Any, where: str) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    return float(_checked(type(value) is float or (type(value) is int and abs(value) < 2**53), value, where))


def _checked(fits: bool, value: Any, where: str) -> Any:
    if not fits:
        raise _unfitting(value, where)
    return value


def _unfitting(value: Any, where: str) -> RunFileError:
    return RunFileError(f"{where} does not hold what it should ({value!r:.60})")
