"""One file over HTTP: resumable, verified, moved into place only when it is whole.

The bytes go to ``name.part``; ``name.part.etag`` remembers which version of the file they belong to.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import http.client
import os
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.checkpoint.patience import patiently
from engine.errors import DiskError, NetworkError

TIMEOUT = 15.0  # seconds without a byte
CHUNK = 2**20
SPARE = 16 * 2**20  # bytes left free on the disk

Report = Callable[[int], None]  # bytes of this file that are there; raising it cancels


@dataclass(frozen=True)
class Remote:
    """A file to download. ``checksum`` is "sha256:HEX", "git:HEX" (a git blob id, needs ``size``) or "" (not known)."""

    url: str
    size: int | None = None
    checksum: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # sent to this host only, never to where it redirects

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or self.url


def download(remote: Remote, target: Path, report: Report) -> None:
    """Bring ``remote`` to ``target``, going on where an earlier attempt stopped.

    Raises:
        NetworkError: no connection, a refusal, a cut connection (what arrived is kept), a wrong sum (it is deleted).
        DiskError: the disk is full or cannot be written.
    """
    part = target.with_name(target.name + ".part")
    tag = target.with_name(target.name + ".part.etag")
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        if remote.checksum and target.is_file() and digest(target, remote.checksum) == remote.checksum:
            return
        start = _resumable(remote, part, tag)
        if remote.size is None or start < remote.size:
            _receive(remote, part, tag, start, report)
        _verify(remote, part, tag)
        os.replace(part, target)
        tag.unlink(missing_ok=True)


def _resumable(remote: Remote, part: Path, tag: Path) -> int:
    """How many bytes of an earlier attempt can be kept."""
    if not part.exists() or not (tag.exists() or remote.checksum):
        return 0
    size = part.stat().st_size
    return 0 if remote.size is not None and size > remote.size else size


def _receive(remote: Remote, part: Path, tag: Path, start: int, report: Report) -> None:
    check = functools.partial(report, start)
    response = _open_from(remote, start, check)
    try:
        if start and not _continues(response, start, tag):
            start = 0
            if response.status == 206:
                _close_later(response)
                response = _open(remote, 0, check)
        total = _total(response, start) if remote.size is None else remote.size
        require_space(part.parent, (total or start) - start)
        tag.write_text(response.headers.get("ETag", ""), encoding="utf-8")
        _store(response, remote, part, start, total, report)
    finally:
        _close_later(response)


def _open_from(remote: Remote, start: int, check: Callable[[], None]) -> Any:
    """The answer from byte ``start`` on, or the whole file where the server has no such byte (an outdated part)."""
    try:
        return _open(remote, start, check)
    except NetworkError as error:
        if start and getattr(error.__cause__, "code", None) == 416:
            return _open(remote, 0, check)
        raise


def _open(remote: Remote, start: int, check: Callable[[], None]) -> Any:
    request = urllib.request.Request(remote.url, headers={"User-Agent": "fluoroscope", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    for name, value in remote.headers.items():
        request.add_unredirected_header(name, value)
    return open_url(request, check)


def open_url(request: urllib.request.Request, check: Callable[[], None]) -> Any:
    """The open response. Raises NetworkError with one sentence for every way in which that fails."""
    host = urlsplit(request.full_url).hostname
    try:
        return patiently(lambda: urllib.request.urlopen(request, timeout=TIMEOUT, context=_tls()), check)
    except urllib.error.HTTPError as error:
        error.close()
        raise NetworkError(refusal(host or "The server", error.code)) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NetworkError(f"{host or request.full_url} cannot be reached ({reason}); check the connection.") from error


_REFUSALS = {
    401: "it does not exist, or is private or gated: check the name, or log in with `hf auth login`",
    403: "access is not granted: accept the model's terms on its page, or log in with `hf auth login`",
    404: "there is no such model, revision or file: check the name",
    429: "it got too many requests: wait a few minutes and try again",
}


def refusal(host: str, status: int) -> str:
    """The sentence for an HTTP status that is an error."""
    return f"{host} refused the download ({status}): {_REFUSALS.get(status, 'try again later')}."


@functools.cache
def _tls() -> ssl.SSLContext:
    """The system's certificates, or certifi's where a packaged Python knows none."""
    context = ssl.create_default_context()
    if not context.get_ca_certs() and not ssl.get_default_verify_paths().capath:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _continues(response: Any, start: int, tag: Path) -> bool:
    """Whether the answer goes on exactly where the part ends, in the same version of the file."""
    before = tag.read_text(encoding="utf-8") if tag.exists() else ""
    same = not before or response.headers.get("ETag", before) == before
    return response.status == 206 and same and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _total(response: Any, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _store(response: Any, remote: Remote, part: Path, start: int, total: int | None, report: Report) -> None:
    done = start
    with part.open("ab" if start else "wb") as file:
        while data := _some(response, remote, functools.partial(report, done)):
            file.write(data)
            done += len(data)
            if total is not None and done > total:
                raise NetworkError(f"{remote.host} sent more than the {total} bytes it promised; try again later.")
            report(done)
    if total is not None and done < total:
        raise NetworkError(
            f"The connection to {remote.host} was cut after {done} of {total} bytes; fetch again to go on from there."
        )


def _some(response: Any, remote: Remote, check: Callable[[], None]) -> bytes:
    """The bytes that arrive within a moment; none at the end."""
    try:
        return patiently(lambda: _read_for_a_moment(response), check)
    except (OSError, http.client.HTTPException) as error:
        raise NetworkError(
            f"The connection to {remote.host} was lost ({error}); fetch again to go on from there."
        ) from error


def _read_for_a_moment(response: Any) -> bytes:
    arrived, until = bytearray(), time.monotonic() + 0.2
    while len(arrived) < CHUNK and time.monotonic() < until:
        data = response.read1(CHUNK - len(arrived))
        if not data:
            break
        arrived += data
    return bytes(arrived)


def _close_later(response: Any) -> None:
    """Closing waits for a read that a cancel left behind, so nobody waits for the closing."""
    threading.Thread(target=response.close, daemon=True).start()


def _verify(remote: Remote, part: Path, tag: Path) -> None:
    """Compare size and checksum; what does not fit is deleted."""
    size = part.stat().st_size
    if remote.size in (None, size) and (not remote.checksum or digest(part, remote.checksum) == remote.checksum):
        return
    part.unlink()
    tag.unlink(missing_ok=True)
    raise NetworkError(f"{part.name.removesuffix('.part')} arrived damaged from {remote.host}; fetch it again.")


def digest(path: Path, like: str) -> str:
    """The checksum of a file, of the same kind as ``like``."""
    kind = like.partition(":")[0]
    if kind == "sha256":
        state = hashlib.sha256()
    else:
        state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            state.update(data)
    return f"{kind}:{state.hexdigest()}"


def require_space(folder: Path, needed: int) -> None:
    """Raise DiskError, with the numbers, unless ``needed`` bytes fit."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise DiskError(
            f"{folder} has {free / 1e9:.2f} GB free and {needed / 1e9:.2f} GB are needed; "
            "free some space, or choose another place with FLUOROSCOPE_CACHE."
        )


class disk_errors:  # noqa: N801 (reads as a word of the with statement)
    """Turns an OSError of the block into a DiskError that names the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(f"The disk of {self._folder} is full; free some space and fetch again.") from error
        reason = error.strerror or error
        raise DiskError(
            f"{self._folder} cannot be written ({reason}); choose another place with FLUOROSCOPE_CACHE."
        ) from error
