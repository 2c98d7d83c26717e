"""Chat templates: Jinja from strangers, run in a sandbox with limits on what it may make and how long it may take."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, NoReturn

import jinja2
from jinja2 import Environment, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from engine.errors import TokenizerError

LONGEST_TEMPLATE = 1_000_000  # characters; the largest published ones have about 20 thousand
LONGEST_CHAT = 8_000_000  # characters
LONGEST_VALUE = 16_000_000  # characters or entries of one value that the template makes
LARGEST_NUMBER = 1_000_000  # a width, a count, a precision
LONGEST_TIME = 5.0  # seconds


class _TooMuchError(Exception):
    """A template went over a limit."""


def render(template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
    """The text of a conversation, as transformers' ``apply_chat_template`` makes it.

    Args:
        template: Jinja source. ``messages``: tables with ``role`` and ``content``.
        variables: what else the template sees: ``bos_token``, ``eos_token``, ``add_generation_prompt``.

    Raises:
        TokenizerError: a template that is malformed, refuses these messages, or goes over a limit.
    """
    compiled = _compiled(template)
    parts: list[str] = []
    length = 0
    try:
        with _Deadline(LONGEST_TIME):
            for part in compiled.generate(messages=_plain(messages), **variables):
                length += len(part)
                if length > LONGEST_CHAT:
                    raise _TooMuchError(f"makes more than {LONGEST_CHAT} characters")
                parts.append(part)
    except _TooMuchError as error:
        raise TokenizerError(f"The chat template {error}, so it was stopped; turn the chat template off.") from None
    except (jinja2.TemplateError, RecursionError, MemoryError, OverflowError) as error:
        raise TokenizerError(_refusal(error)) from error
    except Exception as error:  # a template can raise anything: 'abc' + 1 is a TypeError
        raise TokenizerError(_refusal(error)) from error
    return "".join(parts)


def _refusal(error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return f"The chat template cannot turn these messages into a prompt ({reason}); turn the chat template off."


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    if len(template) > LONGEST_TEMPLATE:
        raise TokenizerError(f"The chat template has {len(template)} characters; at most {LONGEST_TEMPLATE} are read.")
    try:
        return _environment().from_string(template)
    except (jinja2.TemplateError, RecursionError, SyntaxError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TokenizerError(f"The chat template is not valid Jinja ({reason}); turn the chat template off.") from error


def _plain(value: Any) -> Any:
    """Rebuilt from plain JSON types, so that the template meets no object with methods of its own."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    raise TokenizerError(f"A chat message holds a {type(value).__name__}; text, numbers, lists and tables are allowed.")


class _Deadline:
    """Raises _TooMuchError in this thread, between two lines of the template, once the time is over.

    The template is Python after Jinja compiled it, so a trace function sees each of its lines. It stays out of
    the calls that the template makes; those are bounded by the limits on range, repetition and padding.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._enter)

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: Any, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename == "<template>" else None

    def _line(self, frame: Any, event: str, argument: Any) -> Any:
        if time.monotonic() > self._end:
            raise _TooMuchError(f"takes longer than {LONGEST_TIME:.0f} seconds")
        return self._line


class _Generation(Extension):
    """``{% generation %}`` marks the assistant's words for training; here it only passes them on."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Joins(NodeTransformer):
    """``a ~ b`` goes through a filter, because Jinja gives no other way to bound it."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        parts = nodes.List([self.visit(part) for part in node.nodes])
        return nodes.Filter(parts, "joined_parts", [], [], None, None, lineno=node.lineno)


def _joined(parts: Iterable[Any]) -> str:
    texts = [str(part) for part in parts]
    _check(sum(map(len, texts)))
    return "".join(texts)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, where nothing can make a value that fills memory."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})
    concat = staticmethod(_joined)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _Joins().visit(super()._parse(source, name, filename))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _BOUNDS[operator](left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *arguments: Any, **named: Any) -> Any:
        owner = getattr(getattr(function, "__wrapped__", function), "__self__", None)
        if isinstance(owner, str):
            _bound_text(owner, arguments, named, formats=function.__name__.startswith("format"))
        return super().call(context, function, *arguments, **named)


def _bound_text(text: str, arguments: Iterable[Any], named: Mapping[str, Any], formats: bool) -> None:
    """Before a method or filter of a text: no number above a million, and the worst product of lengths.

    Every text method that grows its input (center, zfill, replace, join, expandtabs, format, ...) takes what it
    adds from such a number or from another argument.
    """
    values = [*arguments, *named.values()]
    if any(isinstance(value, int) and abs(value) > LARGEST_NUMBER for value in values) or (
        formats and _has_wide_number(text)
    ):
        raise _TooMuchError(f"asks for a width of more than {LARGEST_NUMBER}")
    _check((len(text) + 1) * max((_weight(value) for value in values), default=1))


def _weight(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return sum(len(entry) if isinstance(entry, str) else 1 for entry in value)
    return len(value) if isinstance(value, str) else abs(value) if isinstance(value, int) else 1


def _check(size: float) -> None:
    if size > LONGEST_VALUE:
        raise _TooMuchError(f"makes a value of more than {LONGEST_VALUE} characters or entries")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple, bytes)) else 0


def _bound_product(left: Any, right: Any) -> None:
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int):
            _check(_length(value) * times)
    if isinstance(left, int) and isinstance(right, int):
        _check((left.bit_length() + right.bit_length()) / 4)


def _bound_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check(abs(left).bit_length() * abs(right) / 4)


def _bound_format(left: Any, right: Any) -> None:
    if isinstance(left, str) and (_has_wide_number(left) or "*" in left):
        raise _TooMuchError(f"asks for a width of more than {LARGEST_NUMBER}, or for a computed one")


def _has_wide_number(text: str) -> bool:
    """Whether a format might pad: a text with a % or { and a number of seven digits or more."""
    return ("%" in text or "{" in text) and re.search(r"\d{7}", text) is not None


def _bound_sum(left: Any, right: Any) -> None:
    _check(_length(left) + _length(right))


_BOUNDS = {"*": _bound_product, "**": _bound_power, "%": _bound_format, "+": _bound_sum}


def _environment() -> ImmutableSandboxedEnvironment:
    """As transformers sets Jinja up for chat templates."""
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.filters["joined_parts"] = _joined
    for name in _GROWING_FILTERS:
        environment.filters[name] = _bounded(environment.filters[name])
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    for unwanted in ("urlize", "striptags"):  # regular expressions that can take very long
        environment.filters.pop(unwanted)
    environment.globals.pop("lipsum")
    return environment


_GROWING_FILTERS = ("batch", "center", "format", "indent", "join", "replace", "round", "slice", "wordwrap")


def _bounded(function: Any) -> Any:
    """A filter under the limits of a text's methods."""

    @wraps(function)
    def bounded(*arguments: Any, **named: Any) -> Any:
        values = [value for value in arguments if not isinstance(value, (Environment, Context, nodes.EvalContext))]
        text = values[0] if values and isinstance(values[0], str) else ""
        entries = _weight(list(values[0])) if values and isinstance(values[0], (list, tuple, range)) else 1
        _bound_text(text, values[1:], named, formats=function.__name__ == "do_format")
        _check(entries * max([1, *(len(v) for v in [*values[1:], *named.values()] if isinstance(v, str))]))
        return function(*arguments, **named)

    return bounded


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own ``tojson`` escapes for HTML; a model wants plain JSON."""
    if isinstance(indent, (int, str)) and _weight(indent) > 100:
        raise _TooMuchError("indents JSON by more than 100")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _strftime_now(format: str) -> str:
    if _has_wide_number(str(format)):
        raise _TooMuchError(f"asks for a width of more than {LARGEST_NUMBER}")
    return datetime.now().strftime(str(format))
