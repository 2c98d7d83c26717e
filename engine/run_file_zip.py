"""The container of a run file: a zip whose members are stored as they are, so that no size in it can lie.

Format: APPNOTE.TXT of PKWARE, sections 4.3.12 to 4.3.16. What Python's zipfile would believe is checked before.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

from engine.amounts import bytes_text
from engine.errors import DiskError, RunFileError

MOST_MEMBERS = 65_536
LARGEST_DIRECTORY = 2**24  # bytes of the zip's own list of members
OLD_HALF_S = 3600.0  # nobody has written to it for so long
_END, _LOCATOR, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error, OverflowError)


def unsound(path: Path, problem: str) -> RunFileError:
    """The error that every damage becomes."""
    return RunFileError(f"{path.name} is not a sound run file: {problem}; copy it again, or save the run again.")


class Members:
    """The members of a run file that is open for reading, by name; a context manager.

    Raises RunFileError with one sentence for what is no such file, before memory is taken for its members.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _opened(path)
        try:
            self._check_end()
            with _reading(path):
                self._zip = zipfile.ZipFile(self._file)
            self._members = self._checked()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by name; together no more than the file has."""
        return {name: info.file_size for name, info in self._members.items()}

    def read(self, name: str, most: int) -> bytes:
        """A member of at most ``most`` bytes, whose sum is right. Raises RunFileError otherwise."""
        info = self._members.get(name)
        if info is None:
            raise unsound(self.path, f"it lacks {name}")
        if info.file_size > most:
            raise unsound(self.path, f"{name} has {info.file_size} bytes and should have at most {most}")
        with _reading(self.path), self._zip.open(info) as member:
            data = member.read()
        if len(data) != info.file_size:
            raise unsound(self.path, f"it ends inside {name}")
        return data

    def _check_end(self) -> None:
        """The list of members must be small, and the file must end with the record that says where it is."""
        size = self._file.seek(0, os.SEEK_END)
        tail = self._at(max(0, size - _LOCATOR.size - _END.size), _LOCATOR.size + _END.size)
        if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\5\6":
            raise unsound(self.path, "it is no zip, or was cut off")
        _, _, _, _, count, length, _, comment = _END.unpack(tail[-_END.size :])
        if tail[:4] == b"PK\6\7":  # beyond 4 GB, or 65,535 members
            length, count = self._end64(_LOCATOR.unpack(tail[: _LOCATOR.size])[2])
        if comment or count > MOST_MEMBERS or length > min(LARGEST_DIRECTORY, size):
            raise unsound(self.path, f"its list of members claims {count} members and {length} bytes")

    def _end64(self, offset: int) -> tuple[int, int]:
        record = self._at(offset, _END64.size)
        if len(record) != _END64.size or record[:4] != b"PK\6\6":
            raise unsound(self.path, "it was cut off")
        *_, count, length, _ = _END64.unpack(record)
        return length, count

    def _at(self, offset: int, count: int) -> bytes:
        with _reading(self.path):
            self._file.seek(offset)
            return self._file.read(count)

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.filename in members:
                raise unsound(self.path, f"{info.filename!r} is in it twice")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
                raise unsound(self.path, f"{info.filename!r} was packed by another program")
            members[info.filename] = info
        stored = sum(info.file_size for info in members.values())
        size = self.path.stat().st_size
        if stored > size or any(info.file_size != info.compress_size for info in members.values()):
            raise unsound(self.path, f"its members claim {stored} bytes, and the file has {size}")
        return members


def _opened(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a device or pipe might never end
            raise RunFileError(f"{path} is no file; open a run that was saved as .fluoro.")
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise RunFileError(f"The file {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFileError(f"The file {path} cannot be read: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise unsound(path, f"its zip is damaged ({error!s:.100})") from error


@contextmanager
def replacing(path: Path, size: int) -> Iterator[zipfile.ZipFile]:
    """A zip of about ``size`` bytes that takes the place of ``path`` once it is whole and on the disk.

    If anything goes wrong, what was there before is still there. Raises DiskError: no room, no permission.
    """
    try:
        _sweep(path)
        _check_room(path, size)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as members:
                yield members
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        _sync(path.parent)
    except OSError as error:
        _remove(name)
        raise _unwritable(path, error) from error
    except BaseException:
        _remove(name)
        raise


def settle(members: zipfile.ZipFile) -> None:
    """What is written so far goes to the disk now: all of it at the end would hold up a run for seconds."""
    file = members.fp
    assert file is not None, "it is open for writing"
    file.flush()
    os.fsync(file.fileno())


def check_target(path: Path) -> None:
    """Raise DiskError where ``path`` cannot be written, before an hour is spent on what should go there."""
    try:
        if path.is_dir():
            raise DiskError(f"{path} is a folder; name a file in it.")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        os.unlink(name)
    except (OSError, ValueError) as error:
        raise DiskError(f"{path} could not be saved: {getattr(error, 'strerror', None) or error}.") from error


def _sweep(path: Path) -> None:
    """Let go of halves that programs left when they were killed while they wrote: each is as large as a run."""
    for half in path.parent.glob(f".{escape(path.name)}.{'[a-z0-9_]' * 8}"):
        with suppress(OSError):
            if time.time() - half.stat().st_mtime > OLD_HALF_S:
                half.unlink()


def _check_room(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < size:
        needed, left = bytes_text(size), bytes_text(free)
        raise DiskError(f"{path} was not saved: it needs {needed} and the disk has {left}; save it in another folder.")


def _unwritable(path: Path, error: OSError) -> DiskError:
    return DiskError(f"{path} could not be saved: {error.strerror or error}; save it in another folder.")


def _remove(name: str) -> None:
    with suppress(OSError):
        os.unlink(name)


def _sync(folder: Path) -> None:
    """That the file has its name must be on the disk, too; not every system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
