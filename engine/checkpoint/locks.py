"""One download of a model at a time, over all programs of this computer.

The lock is the operating system's, on a file of its own: it ends with the process that holds it, so no stale lock can
be left behind, whatever happens to the program. The empty file stays.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import DiskError

LOCKS = ".locks"  # the folder of the lock files, in the cache
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def locked(cache: Path, folder: Path) -> Iterator[None]:
    """Hold the model of this folder. Raises DiskError where somebody else does; on a disk without locks nobody does,
    and two downloads at once are found out by the checksums."""
    place = cache / LOCKS
    place.mkdir(parents=True, exist_ok=True)
    name = "--".join(folder.relative_to(cache).parts)
    handle = os.open(place / f"{name}.lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        _lock(handle)
    except OSError as error:
        if error.errno in _HELD:
            os.close(handle)
            sentence = f"{folder.parent.name} is being downloaded already; wait for that download, or stop it."
            raise DiskError(sentence) from error
    try:
        yield
    finally:
        os.close(handle)  # and so unlocks


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
