"""An error in a method that Qt calls ends in ``sys.excepthook``, as any other does.

PySide looks at the object of such an error. Before Python 3.12 one that was raised by C code (``int("x")``, an index
out of range) is no object yet when it leaves the method, and the program crashes. Catching it makes the object.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache, wraps
from types import FunctionType, MethodDescriptorType
from typing import Any

from PySide6.QtCore import QObject

_ALL: type = QObject.__mro__[-2]  # what every class of Qt derives from
NEEDED = sys.version_info < (3, 12)


def guard() -> None:
    """Every class that overrides what is Qt's, those that are known by now and those that come later; once."""
    if NEEDED and "__init_subclass__" not in vars(_ALL):
        for kind in dict.fromkeys(_derived(_ALL)):
            _guard_class(kind)
        _ALL.__init_subclass__ = classmethod(_guard_class)  # type: ignore[assignment]


def _derived(kind: type) -> Iterator[type]:
    """Less Qt's own, of which there are many: they have no method in Python."""
    each: type
    for each in type.__subclasses__(kind):
        if not each.__module__.startswith("PySide6."):
            yield each
        yield from _derived(each)


def _guard_class(kind: type) -> None:
    own = vars(kind).keys()
    for name in set().union(*(own & _methods(base) for base in kind.__mro__[1:])):
        method = vars(kind)[name]
        if isinstance(method, FunctionType):
            setattr(kind, name, _guarded(method))


@cache
def _methods(kind: type) -> frozenset[str]:
    """Those in C."""
    return frozenset(name for name, found in vars(kind).items() if isinstance(found, MethodDescriptorType))


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        try:
            return method(*given, **named)
        except BaseException:  # it is an object from here on
            raise

    return call
