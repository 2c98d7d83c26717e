"""Packs the build: the same files always give the same archive, and links stay links."""

from __future__ import annotations

import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from resources.packaging.sizes import Parts, files, part

BLOCK = 48 * 1024 * 1024  # six dictionaries of the preset: cutting costs less than a hundredth
PRESET = 6
CHUNK = 1024 * 1024
TIME = 315532800  # 1980-01-01, the earliest that a zip can say

Piece = tuple[str, bytes]  # the part that it belongs to, and bytes of the tar file


def pack_tar(build: Path, target: Path, threads: int) -> Parts:
    """``target`` becomes a .tar.xz with one folder; packed bytes by part.

    Each block is a stream of its own, as xz allows, so that several are packed at once and a part's size is known.
    """
    packed: Parts = {}
    with target.open("wb") as file:
        for name, data in _compressed(blocks(tar_pieces(build)), threads):
            file.write(data)
            packed[name] = packed.get(name, 0) + len(data)
    return packed


def tar_pieces(build: Path) -> Iterator[Piece]:
    """The bytes of an uncompressed tar file, in order: folder names are those of the build itself."""
    paths = sorted(files(build), key=lambda path: (part(path.relative_to(build)), path.relative_to(build).as_posix()))
    for path in paths:
        relative = path.relative_to(build)
        name = part(relative)
        yield name, tar_header(path, f"{build.name}/{relative.as_posix()}")
        if not path.is_symlink():
            yield from ((name, data) for data in _padded(path))
    yield "end", bytes(2 * tarfile.BLOCKSIZE)


def tar_header(path: Path, name: str) -> bytes:
    """Owner, time and rights are the same whoever builds."""
    status = path.lstat()
    info = tarfile.TarInfo(name)
    info.mtime, info.mode = TIME, 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    if path.is_symlink():
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    else:
        info.size = status.st_size
    return info.tobuf(tarfile.GNU_FORMAT)


def _padded(path: Path) -> Iterator[bytes]:
    size = 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            size += len(data)
            yield data
    yield bytes(-size % tarfile.BLOCKSIZE)


def blocks(pieces: Iterable[Piece], size: int = BLOCK) -> Iterator[Piece]:
    """Pieces gathered until the part changes or there are ``size`` bytes."""
    name, buffer = "", io.BytesIO()
    for own, data in pieces:
        if own != name or buffer.tell() >= size:
            if buffer.tell():
                yield name, buffer.getvalue()
            name, buffer = own, io.BytesIO()
        buffer.write(data)
    yield name, buffer.getvalue()


def _compressed(pieces: Iterable[Piece], threads: int) -> Iterator[Piece]:
    """In order, a few ahead of the reader so that memory stays small."""
    waiting: deque[tuple[str, Future[bytes]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for name, data in pieces:
            waiting.append((name, pool.submit(lzma.compress, data, preset=PRESET)))
            if len(waiting) > threads:
                first, done = waiting.popleft()
                yield first, done.result()
        yield from ((name, done.result()) for name, done in waiting)


def pack_zip(build: Path, target: Path) -> Parts:
    """``target`` becomes a .zip with one folder; packed bytes by part."""
    packed: Parts = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files(build):
            info = _zip_entry(path, f"{build.name}/{path.relative_to(build).as_posix()}")
            archive.writestr(info, os.readlink(path) if path.is_symlink() else path.read_bytes())
            name = part(path.relative_to(build))
            packed[name] = packed.get(name, 0) + archive.getinfo(info.filename).compress_size
    return packed


def _zip_entry(path: Path, name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # rights and links are those of Unix
    mode = path.lstat().st_mode
    kind = stat.S_IFLNK | 0o777 if path.is_symlink() else stat.S_IFREG | (0o755 if mode & stat.S_IXUSR else 0o644)
    info.external_attr = kind << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def unpack(archive: Path, folder: Path) -> Path:
    """The folder inside the archive, unpacked into ``folder``."""
    if archive.suffix == ".zip":
        return _unpack_zip(archive, folder)
    with tarfile.open(archive, "r:xz") as file:
        file.extractall(folder, filter="tar")
    return next(folder.iterdir())


def _unpack_zip(archive: Path, folder: Path) -> Path:
    """With links and rights, which zipfile itself forgets."""
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode, target = info.external_attr >> 16, folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISLNK(mode):
                target.symlink_to(file.read(info).decode())
            else:
                target.write_bytes(file.read(info))
                target.chmod(stat.S_IMODE(mode))
    return next(folder.iterdir())
