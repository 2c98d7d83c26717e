"""One file over HTTP: resumable, verified, moved into place only when it is whole.

The bytes go to ``name.part``; ``name.part.etag`` remembers which version of the file they belong to. A connection that
is lost is taken up again a few times, from where it ended.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import http.client
import io
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
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from engine.checkpoint.patience import patiently
from engine.checkpoint.retries import Fields, Say, Transient, asked_wait, persistently
from engine.errors import AccessError, DiskError, NetworkError

TIMEOUT = 15.0  # seconds without a byte
CHUNK = 2**20
HASHED = 2**23  # bytes between two looks at whether the user cancelled
SPARE = 16 * 2**20  # bytes left free on the disk
LARGEST_UNPROMISED = 2**30  # bytes of a file whose size nobody says

Report = Callable[[int], None]  # bytes of this file that are there; raising it cancels


@dataclass(frozen=True)
class Remote:
    """A file to download. ``checksum`` is "sha256:HEX", "git:HEX" (a git blob id, needs ``size``) or "" (not known).

    ``repo``: the hub's repository that it is of, "" for another server's. ``headers`` (the login) are sent to this host
    only, never to where it redirects, and are in no message.
    """

    url: str
    size: int | None = None
    checksum: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    repo: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or self.url


class Unreachable(NetworkError):  # noqa: N818
    """No connection could be made."""


def download(remote: Remote, target: Path, report: Report, say: Say | None = None) -> None:
    """Bring ``remote`` to ``target``, going on where an earlier attempt stopped.

    Args:
        say: called instead of ``report`` with what is waited for before another try; cancels by raising.

    Raises:
        NetworkError: no connection, a refusal, a cut connection (what arrived is kept), a wrong sum (it is deleted).
        AccessError: the hub does not show the file to whoever asks.
        DiskError: the disk is full or cannot be written.
    """
    part = target.with_name(target.name + ".part")
    tag = target.with_name(target.name + ".part.etag")
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = bool(remote.checksum) and target.is_file() and remote.size in (None, _size(target))
        if whole and digest(target, remote.checksum) == remote.checksum:
            return
        _receive_all(remote, part, tag, report, say)
        checking = f"checking {target.name}"
        _verify(remote, part, tag, lambda: say(checking) if say else report(_size(part)))
        os.replace(part, target)
        tag.unlink(missing_ok=True)


def _receive_all(remote: Remote, part: Path, tag: Path, report: Report, say: Say | None) -> None:
    """All bytes into the part, in as many attempts as it takes; who never answered is not asked again."""
    before = _size(part)

    def attempt() -> None:
        try:
            start = _resumable(remote, part, tag)
            if remote.size is None or start < remote.size:
                _receive(remote, part, tag, start, report)
        except Unreachable as error:
            if _size(part) <= before:
                raise
            raise Transient(str(error), f"{remote.host} does not answer: next try in") from error

    persistently(attempt, say or (lambda text: report(_size(part))), lambda: _size(part))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


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
        if start and not _continues(remote, response, start, tag):
            start = 0
            if response.status == 206:
                close_later(response)
                response = _open(remote, 0, check)
        total = _total(response, start) if remote.size is None else remote.size
        require_space(part.parent, (total or start) - start)
        tag.write_text(response.headers.get("ETag", ""), encoding="utf-8")
        _store(response, remote, part, start, total, report)
    finally:
        close_later(response)


def _open_from(remote: Remote, start: int, check: Callable[[], None]) -> Any:
    """The answer from byte ``start`` on, or the whole file where the server has no such byte (an outdated part)."""
    try:
        return _open(remote, start, check)
    except NetworkError as error:
        if start and getattr(error.__cause__, "code", None) == 416:
            return _open(remote, 0, check)
        raise


def _open(remote: Remote, start: int, check: Callable[[], None]) -> Any:
    return open_url(request_of(remote, f"bytes={start}-" if start else ""), check, remote.repo)


def request_of(remote: Remote, ranges: str = "") -> urllib.request.Request:
    """The request for a file, or for the part of it that a Range header names."""
    request = urllib.request.Request(remote.url, headers={"User-Agent": "fluoroscope", "Accept-Encoding": "identity"})
    if ranges:
        request.add_header("Range", ranges)
    for name, value in remote.headers.items():
        request.add_unredirected_header(name, value)
    return request


def open_url(request: urllib.request.Request, check: Callable[[], None], repo: str = "") -> Any:
    """The open response. Raises NetworkError with one sentence for every way in which that fails.

    A hub's refusal to show something of ``repo`` is an AccessError, one that may pass is Transient.
    """
    host = urlsplit(request.full_url).hostname or "The server"
    try:
        return patiently(lambda: _opener(request).open(request, timeout=TIMEOUT), check)
    except urllib.error.HTTPError as error:
        error.close()
        sent_on = urlsplit(error.url or request.full_url).netloc != urlsplit(request.full_url).netloc
        with_token = "Authorization" in request.unredirected_hdrs
        raise refused(host, error.code, error.headers, "" if sent_on else repo, with_token=with_token) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{host} cannot be reached ({reason}); check the connection.") from error


def _opener(request: urllib.request.Request) -> urllib.request.OpenerDirector:
    if request.type not in ("http", "https"):
        raise ValueError("its address is not one of the web")
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=_tls()), _Redirects)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """The login goes along where a hub redirects to itself, to no other host; nobody is sent from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in {before.scheme, "https"}:
            fp.close()
            raise urllib.error.URLError("it redirects to an unsafe address")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.unredirected_hdrs.get("Authorization")
        if request is not None and login and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            request.add_unredirected_header("Authorization", login)
        return request


def refused(host: str, status: int, headers: Fields, repo: str = "", *, with_token: bool = False) -> NetworkError:
    """The error for an HTTP status; with a ``repo`` of the hub, what a token may help against is an AccessError."""
    if status == 401 and repo and with_token:
        sentence = f"{host} does not accept the token (401): it may be withdrawn; give another one, or forget it."
        return AccessError(sentence, repo, status)
    if status == 429:
        asked = asked_wait(headers)
        return Transient(refusal(host, status, asked), f"{host} asks to wait", asked)
    if status >= 500:
        return Transient(refusal(host, status), f"{host} answers {status}: next try in")
    if repo and status in (401, 403):
        return AccessError(refusal(host, status), repo, status, gated=headers.get("X-Error-Code") == "GatedRepo")
    return NetworkError(refusal(host, status))


_REFUSALS = {
    401: "it does not exist, or is private or gated: check the name, or log in with `hf auth login`",
    403: "access is not granted: accept the model's terms on its page, or log in with `hf auth login`",
    404: "there is no such model, revision or file: check the name",
    429: "it got too many requests: wait a few minutes and try again",
}


def refusal(host: str, status: int, asked: float | None = None) -> str:
    """The sentence for an HTTP status that is an error; ``asked``: seconds that the server asks to wait."""
    if asked is not None:
        return f"{host} refused the request ({status}): it got too many requests and asks to wait {asked:.0f} s."
    return f"{host} refused the request ({status}): {_REFUSALS.get(status, 'try again later')}."


@functools.cache
def _tls() -> ssl.SSLContext:
    """The system's certificates, or certifi's where a packaged Python knows none."""
    context = ssl.create_default_context()
    if not context.get_ca_certs() and not ssl.get_default_verify_paths().capath:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _continues(remote: Remote, response: Any, start: int, tag: Path) -> bool:
    """Whether the answer goes on exactly where the part ends, in the same version of the file.

    A checksum tells that better than the tag, which differs from one mirror of a file to the next.
    """
    before = tag.read_text(encoding="utf-8") if tag.exists() and not remote.checksum else ""
    same = not before or response.headers.get("ETag", before) == before
    return response.status == 206 and same and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _total(response: Any, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _store(response: Any, remote: Remote, part: Path, start: int, total: int | None, report: Report) -> None:
    done, most = start, LARGEST_UNPROMISED if total is None else total
    with part.open("ab" if start else "wb") as file:
        while data := _some(response, remote, functools.partial(report, done)):
            file.write(data[: most - done])
            done += len(data)
            if done > most:
                what = "may come unannounced" if total is None else "it promised"
                raise NetworkError(f"{remote.host} sent more than the {most} bytes that {what}; try again later.")
            report(done)
    if total is not None and done < total:
        raise Transient(
            f"The connection to {remote.host} was cut after {done} of {total} bytes; fetch again to go on from there.",
            "the connection was cut: going on in",
        )


def _some(response: Any, remote: Remote, check: Callable[[], None]) -> bytes:
    """The bytes that arrive within a moment; none at the end."""
    try:
        return patiently(lambda: _read_for_a_moment(response), check)
    except (OSError, http.client.HTTPException) as error:
        raise Transient(
            f"The connection to {remote.host} was lost ({error}); fetch again to go on from there.",
            "the connection was lost: going on in",
        ) from error


def _read_for_a_moment(response: Any) -> bytes:
    arrived, until = bytearray(), time.monotonic() + 0.2
    while len(arrived) < CHUNK and time.monotonic() < until:
        data = response.read1(CHUNK - len(arrived))
        if not data:
            break
        arrived += data
    return bytes(arrived)


def close_later(response: Any) -> None:
    """Closing waits for a read that a cancel left behind, so nobody waits for the closing."""
    threading.Thread(target=response.close, daemon=True).start()


def _verify(remote: Remote, part: Path, tag: Path, check: Callable[[], None]) -> None:
    """Compare size and checksum; what does not fit is deleted."""
    size = part.stat().st_size
    if remote.size in (None, size) and (not remote.checksum or digest(part, remote.checksum, check) == remote.checksum):
        return
    part.unlink()
    tag.unlink(missing_ok=True)
    raise NetworkError(f"{part.name.removesuffix('.part')} arrived damaged from {remote.host}; fetch it again.")


def digest(path: Path, like: str, check: Callable[[], None] = lambda: None) -> str:
    """The checksum of a file, of the same kind as ``like``. ``check`` is called now and then; cancels by raising."""
    with path.open("rb") as file:
        return _digest(file, path.stat().st_size, like, check)


def sum_of(data: bytes, like: str) -> str:
    """The checksum of bytes, of the same kind as ``like``."""
    return _digest(io.BytesIO(data), len(data), like, lambda: None)


def _digest(file: BinaryIO, size: int, like: str, check: Callable[[], None]) -> str:
    kind, _, text = like.partition(":")
    if kind == "sha256":
        state = hashlib.sha256()
    else:  # a git blob id; repositories with longer ones use sha256 for them
        begin = b"blob %d\0" % size
        state = hashlib.sha256(begin) if len(text) == 64 else hashlib.sha1(begin, usedforsecurity=False)
    while data := file.read(HASHED):
        state.update(data)
        check()
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
