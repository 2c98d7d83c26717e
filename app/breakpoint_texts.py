"""Breakpoints as text to keep: JSON, read with care, because anybody may have written it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, get_args

from engine.breakpoints import NOT_FINITE, Breakpoint, Test, TestKind
from engine.errors import EngineError

MOST = 200  # of breakpoints that are kept
_MOST_LETTERS = 400_000
_FIRST = Test("not finite")
_TYPES: dict[str, tuple[type, ...]] = {
    "layer": (int, type(None)),
    "stage": (str,),
    "head": (int,),
    "expert": (int,),
    "key": (int, type(None)),
    "token": (int, type(None)),
    "text": (str,),
    "limit": (int, float),
}


def to_text(breakpoints: Iterable[Breakpoint]) -> str:
    """Numbers and hits are not kept: they begin anew with the next start."""
    return json.dumps([_plain(each) for each in list(breakpoints)[:MOST]])


def from_text(text: str) -> tuple[Breakpoint, ...]:
    """What can be read of it; the watch for NaN and infinity is always the first."""
    kept = list(filter(None, map(_breakpoint, _items(text))))
    watch = next((each for each in kept if each.tests == NOT_FINITE.tests), NOT_FINITE)
    others = (each for each in kept if each.tests != NOT_FINITE.tests)
    return (replace(watch, number=0), *(replace(each, number=number) for number, each in enumerate(others, 1)))


def _plain(breakpoint: Breakpoint) -> dict[str, object]:
    tests = [{"kind": test.kind, **_unusual(test)} for test in breakpoint.tests]
    return {"tests": tests, "on": breakpoint.on, "ignore": breakpoint.ignore}


def _unusual(test: Test) -> dict[str, object]:
    """What is not as it is by itself."""
    return {name: value for name, value in asdict(test).items() if name in _TYPES and value != getattr(_FIRST, name)}


def _items(text: str) -> list[Any]:
    if len(text) > _MOST_LETTERS:
        return []
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return items[:MOST] if isinstance(items, list) else []


def _breakpoint(item: Any) -> Breakpoint | None:
    """None where something in it makes no sense."""
    try:
        tests = tuple(_test(each) for each in item["tests"])
        on, ignore = item.get("on", True), item.get("ignore", 0)
        if type(on) is not bool or type(ignore) is not int:
            return None
        return Breakpoint(0, tests, on, ignore)
    except (EngineError, KeyError, TypeError, AttributeError, ValueError, OverflowError):
        return None


def _test(item: dict[str, Any]) -> Test:
    """Raises one of the errors above where it is none."""
    if item["kind"] not in get_args(TestKind):
        raise ValueError(item["kind"])
    values = {name: item[name] for name in _TYPES if name in item}
    for name, value in values.items():
        if type(value) not in _TYPES[name] or (type(value) is int and not -1 < value < 2**31):
            raise ValueError(name)
    return Test(item["kind"], **values)
