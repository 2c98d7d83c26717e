"""The hub's library, with limits that it has not itself: how long an answer may take, and how large it may be.

The library's HTTP client reads every answer to its end and waits without a limit. Its hooks are used, in the thread
that asks and for the time of one question only, whatever else the process does with the library.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from engine.checkpoint.retries import Fields

T = TypeVar("T")

TIMEOUT = 8.0  # seconds without a byte: without a network the user should not wait
DEADLINE = 25.0  # seconds for a whole answer
LARGEST_ANSWER = 2**24  # bytes; the listing of 10 000 files has 3 MB
MOST_REQUESTS = 5  # of one question: redirects

SMALL_CHUNK = 64  # bytes

_asking = threading.local()
_installing = threading.Lock()


class Refused(Exception):  # noqa: N818
    """The hub answered with an error."""

    def __init__(self, status: int, headers: Fields) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers = status, headers


class Excess(Exception):  # noqa: N818
    """An answer that goes on and on."""


def within_limits(question: Callable[[], T]) -> T:
    """The result of a question to the library. Raises Refused and Excess beside what the library raises."""
    from huggingface_hub.utils import get_session

    _limit(get_session())
    _asking.until, _asking.left, _asking.asked = time.monotonic() + DEADLINE, LARGEST_ANSWER, set()
    try:
        return question()
    finally:
        _asking.asked = None


def _limit(client: Any) -> None:
    """Put the limits into the library's client, once: httpx since its version 1, requests before."""
    with _installing:
        _install(client)


def _install(client: Any) -> None:
    if not hasattr(client, "event_hooks"):
        if _bound_requests not in client.hooks["response"]:  # threads of one number share a client, one after the other
            client.request = partial(_with_timeout, client.request)
            client.headers["Accept-Encoding"] = "identity"
            client.hooks["response"].append(_bound_requests)
    elif _bound_httpx not in client.event_hooks["response"]:
        client.event_hooks["request"].append(_prepare)
        client.event_hooks["response"].append(_bound_httpx)


def _with_timeout(request: Callable[..., Any], *arguments: Any, timeout: float | None = None, **options: Any) -> Any:
    return request(*arguments, timeout=timeout or TIMEOUT, **options)


def _prepare(request: Any) -> None:
    if getattr(_asking, "asked", None) is None:
        return
    _count(str(request.url))
    request.headers["Accept-Encoding"] = "identity"
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)


def _bound_httpx(response: Any) -> None:
    if getattr(_asking, "asked", None) is not None:
        _check(response)
        response.iter_raw = partial(_bounded, response.iter_raw)


def _bound_requests(response: Any, **options: Any) -> None:
    if getattr(_asking, "asked", None) is None:
        return
    try:
        _count(response.url)
        _check(response)
    except BaseException:
        response.close()  # httpx does so itself
        raise
    whole = response.iter_content
    response.iter_content = lambda *arguments, **options: _bounded(whole, SMALL_CHUNK)  # waits until one is full


def _count(address: str) -> None:
    if address in _asking.asked or len(_asking.asked) >= MOST_REQUESTS:
        raise Excess(f"it sends on to {address:.80} and so on")
    _asking.asked.add(address)


def _check(response: Any) -> None:
    if response.status_code >= 400:
        raise Refused(response.status_code, response.headers)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Excess("a packed answer that was not asked for")


def _bounded(chunks: Callable[..., Iterable[bytes]], *arguments: Any, **options: Any) -> Iterator[bytes]:
    for chunk in chunks(*arguments, **options):
        _asking.left -= len(chunk)
        if _asking.left < 0:
            raise Excess(f"more than {LARGEST_ANSWER} bytes")
        if time.monotonic() > _asking.until:
            raise Excess(f"more than {DEADLINE:g} s")
        yield chunk
