"""The memory of the record as text: read, written, and what of it this machine has. Imports no Qt and no torch."""

from __future__ import annotations

import re
from collections.abc import Callable

import psutil

from engine.amounts import bytes_text
from engine.frames import RecordUse
from engine.settings import Record

OFFERED = (256_000_000, 512_000_000, 1_000_000_000, 2_000_000_000, 4_000_000_000, 8_000_000_000)
LEAST = 1_000_000
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]{0,2})\s*", re.ASCII)


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return int(psutil.virtual_memory().total)


def offered() -> tuple[int, ...]:
    """The limits to choose from: those that this machine has."""
    return tuple(size for size in OFFERED if size <= machine_memory())


def size_of(text: str) -> int:
    """Bytes of "512MB" or "1.5 GB". Raises ValueError with one sentence for what is no size, too little or too much."""
    found = _SIZE.fullmatch(text.lower())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{text[:40]!r} is not a size like 512MB or 1.5GB")
    size, most = round(float(found[1]) * _UNITS[found[2]]), machine_memory()
    if not LEAST <= size <= most:
        ends = f"{bytes_text(LEAST)} to {bytes_text(most)}"
        raise ValueError(f"{text.strip()[:40]} is out of range: the record takes {ends}")
    return size


def use_text(record: Record, use: RecordUse, tr: Callable[[str], str] = str) -> str:
    """ "record 71 MB of 2 GB", and what of it lies on disk or was dropped."""
    parts = [tr("record {0} of {1}").format(bytes_text(use.memory), bytes_text(record.memory))]
    if use.disk:
        parts.append(tr("+ {0} on disk").format(bytes_text(use.disk)))
    if use.dropped:
        parts.append(tr("· {0} positions dropped").format(f"{use.dropped:,}"))
    return " ".join(parts)
