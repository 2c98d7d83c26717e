"""Bytes of a file on the hub, into memory: bounded in size and in time. Nothing is written."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any

from engine.checkpoint.download import Remote, close_later, open_url, request_of, sum_of
from engine.checkpoint.patience import patiently
from engine.checkpoint.retries import Transient, persistently
from engine.errors import NetworkError

DEADLINE = 30.0  # seconds for one answer
LARGEST_SMALL = 2**26  # bytes of a file that is read whole: the index of the largest models has 10 MB
SKIPPED = 2**20  # bytes that may be thrown away where a server sends files whole only

Check = Callable[[], None]


def read_small(remote: Remote, name: str, check: Check, most: int = LARGEST_SMALL) -> bytes:
    """A whole small file. Raises NetworkError with one sentence, also where its checksum is wrong."""
    if remote.size is None or remote.size > most:
        size = "an unknown number of" if remote.size is None else remote.size
        raise NetworkError(f"{name} on {remote.host} has {size} bytes, more than the {most} that are read of it.")
    data = read_range(remote, 0, remote.size, check) if remote.size else b""
    if remote.checksum and sum_of(data, remote.checksum) != remote.checksum:
        raise NetworkError(f"{name} arrived damaged from {remote.host}; try again.")
    return data


def read_range(remote: Remote, start: int, stop: int, check: Check) -> bytes:
    """Bytes [start, stop) of a file. ``check`` is called ten times a second and cancels by raising.

    Raises NetworkError or AccessError with one sentence.
    """
    return persistently(lambda: _read(remote, start, stop, check), lambda text: check())


def _read(remote: Remote, start: int, stop: int, check: Check) -> bytes:
    response = open_url(request_of(remote, f"bytes={start}-{stop - 1}"), check, remote.repo)
    try:
        skipped = _skipped(response, remote, start)
        data = patiently(lambda: _some(response, skipped + stop - start), check, DEADLINE + 1)[skipped:]
    except (OSError, http.client.HTTPException) as error:  # a TimeoutError too
        raise Transient(f"The connection to {remote.host} was lost ({error}).", "next try in") from error
    finally:
        close_later(response)
    if len(data) < stop - start:
        raise Transient(f"The connection to {remote.host} was cut after {len(data)} bytes.", "next try in")
    return data


def _skipped(response: Any, remote: Remote, start: int) -> int:
    """Bytes of the answer that lie before what was asked for."""
    if response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return 0
    if response.status == 200 and start <= SKIPPED:
        return start
    raise NetworkError(f"{remote.host} does not send parts of files, so the model cannot be looked at from afar.")


def _some(response: Any, count: int) -> bytes:
    """At most ``count`` bytes, within the deadline; fewer at the end of the answer."""
    data, until = bytearray(), time.monotonic() + DEADLINE
    while len(data) < count and (more := response.read1(count - len(data))):
        data += more
        if time.monotonic() > until:
            raise TimeoutError(f"more than {DEADLINE:g} s")
    return bytes(data)
