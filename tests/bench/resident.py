"""How much memory this process holds, and the most that it has held."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
from pathlib import Path

import psutil

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def now() -> int:
    """Resident bytes, what Python and the C library keep free given back first where that is possible."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
    return psutil.Process().memory_info().rss


def forget() -> None:
    """Set the peak back to what is resident now. Only Linux can; elsewhere the peak is that of the whole process."""
    if _FORGET.exists():
        _FORGET.write_text("5")


def peak() -> int:
    """The most bytes resident since ``forget``."""
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        assert found is not None
        return int(found[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
