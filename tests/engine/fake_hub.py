"""A hub and a package index on this computer, with the faults that the real ones have.

It speaks what huggingface_hub asks (``/api/models``, ``/api/models/ID``), serves files with Range and ETag at every
commit it knows, and a simple index page.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub.constants
import pytest

from engine.checkpoint import retries, token

COMMIT = "c0ffee" * 6 + "beef"
NEXT_COMMIT = "decade" * 6 + "cafe"


@dataclass
class Faults:
    """What goes wrong. ``cut_after`` bytes of a file the connection is closed; ``delay`` seconds before each 4 kB.

    ``cuts``: how often it is cut (None: always). ``refusals``: (status, headers) of the next requests, one each.
    ``endless``: answers of the API ("api") or files ("file") never end. ``trickle``: seconds before each byte of an
    answer of the API. ``unannounced``: files come without a length. ``api``: what the API answers instead of JSON.
    ``elsewhere``: files are sent from that address. ``packed``: says that the answer is packed.
    """

    status: int = 0
    cut_after: int | None = None
    cuts: int | None = None
    delay: float = 0.0
    corrupt: bool = False
    ignore_range: bool = False
    json_index: bool = False
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    endless: str = ""
    trickle: float = 0.0
    unannounced: bool = False
    api: bytes = b""
    elsewhere: str = ""
    packed: bool = False


@dataclass
class Repository:
    """``commits``: the files of each; the last one is the branch main. ``row``: what a search tells of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    gated: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    commit: str = COMMIT
    before: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """(commit, files) of a branch or commit."""
        if revision in ("", "main", self.commit):
            return self.commit, self.files
        return (revision, self.before[revision]) if revision in self.before else None


@dataclass
class FakeHub:
    """``files``: of the repository ``repo``, or package file path -> bytes. A context manager; ``url`` is its address.

    ``others``: more repositories. ``tokens``: those that may see what is gated; ``withdrawn``: one that was valid once.
    """

    repo: str = "org/model"
    files: dict[str, bytes] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # (method, path, Range)
    others: dict[str, Repository] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    withdrawn: str = ""
    logins: list[tuple[str, str]] = field(default_factory=list)  # (path, Authorization)
    queries: list[dict[str, list[str]]] = field(default_factory=list)  # of the searches
    gated: str = ""
    commit: str = COMMIT
    before: dict[str, dict[str, bytes]] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> FakeHub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def asked(self, ending: str) -> list[str]:
        """The Range headers of the GET requests whose path ends so."""
        return [ranges for method, path, ranges in self.requests if method == "GET" and path.endswith(ending)]

    def move_on(self, files: dict[str, bytes]) -> None:
        """Main gets another commit; the one before can still be had."""
        self.before[self.commit] = dict(self.files)
        self.files, self.commit = files, NEXT_COMMIT

    def repository(self, name: str) -> Repository | None:
        if name == self.repo:
            return Repository(self.files, self.gated, self.row, self.commit, self.before)
        return self.others.get(name)

    def repositories(self) -> dict[str, Repository]:
        main = self.repository(self.repo)
        assert main is not None
        return {self.repo: main, **self.others}


@contextlib.contextmanager
def serving(hub: FakeHub, patch: pytest.MonkeyPatch, waits: tuple[float, ...] = ()) -> Iterator[FakeHub]:
    """The hub as the one that is asked: without a login of this computer, and with ``waits`` before more tries."""
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    patch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere")
    patch.setattr(retries, "WAITS", waits)
    patch.setattr(token, "_known", token._Known())
    patch.setitem(sys.modules, "keyring", None)  # not installed
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
    with hub:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("PIP_INDEX_URL", f"{hub.url}/simple")
        yield hub


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, format: str, *arguments: Any) -> None:
        return None

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        self.hub.logins.append((path, self.headers.get("Authorization", "")))
        if self.hub.faults.refusals:
            status, headers = self.hub.faults.refusals.pop(0)
            return self._send(status, b"refused", body, headers)
        if self.hub.faults.status:
            return self._send(self.hub.faults.status, b"refused", body)
        if self.hub.withdrawn and self.headers.get("Authorization", "").endswith(self.hub.withdrawn):
            return self._send(401, b"{}", body)
        if path.startswith("/api/models"):
            return self._api(path, body)
        if path.startswith("/simple/"):
            return self._index(body)
        return self._resolve(path, body)

    def _api(self, path: str, body: bool) -> None:
        faults = self.hub.faults
        if faults.endless == "api":
            return self._endless(b'[{"id": "a/b", "tags": ["' + b"x" * 65536)
        if faults.api:
            return self._send(200, faults.api, body, {"Content-Type": "application/json"})
        if path == "/api/models":
            return self._found(body)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        repository = self.hub.repository(match[1]) if match else None
        if match is None or repository is None:
            return self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        found = repository.at(match[2] or "")
        if found is None:
            return self._send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
        siblings = [_sibling(name, content) for name, content in found[1].items()]
        answer = {**_row(match[1], repository), "sha": found[0], "siblings": siblings}
        return self._send(200, json.dumps(answer).encode(), body, {"Content-Type": "application/json"})

    def _found(self, body: bool) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.hub.queries.append(query)
        words = query.get("search", [""])[0].lower()
        rows = [_row(name, it) for name, it in self.hub.repositories().items() if words in name.lower()]
        rows.sort(key=lambda row: -row["downloads"])
        rows = rows[: int(query.get("limit", ["100"])[0])]
        return self._send(200, json.dumps(rows).encode(), body, {"Content-Type": "application/json"})

    def _index(self, body: bool) -> None:
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in self.hub.packages.items()}
        if self.hub.faults.json_index:
            files = [
                {"filename": n, "url": f"/packages/{n}", "hashes": {"sha256": s}, "size": len(self.hub.packages[n])}
                for n, s in sums.items()
            ]
            kind = "application/vnd.pypi.simple.v1+json"
            return self._send(200, json.dumps({"files": files}).encode(), body, {"Content-Type": kind})
        page = "".join(f'<a href="../../packages/{n}#sha256={s}">{n}</a>' for n, s in sums.items())
        return self._send(200, f"<html>{page}</html>".encode(), body, {"Content-Type": "text/html"})

    def _resolve(self, path: str, body: bool) -> None:
        if path.startswith("/packages/"):
            content = self.hub.packages.get(path.removeprefix("/packages/"))
            return self._send(404, b"not found", body) if content is None else self._file(content, body)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repository = self.hub.repository(match[1]) if match else None
        found = repository.at(match[2]) if match and repository else None
        if match is None or repository is None or found is None or match[3] not in found[1]:
            return self._send(404, b"not found", body)
        login = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.gated and login not in self.hub.tokens:
            return self._send(403 if login else 401, b"gated", body, {"X-Error-Code": "GatedRepo"})
        if self.hub.faults.elsewhere:
            return self._send(302, b"", body, {"Location": f"{self.hub.faults.elsewhere}{self.path}"})
        return self._file(found[1][match[3]], body)

    def _file(self, content: bytes, body: bool) -> None:
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.hub.commit,
            "Accept-Ranges": "bytes",
        }
        if self.hub.faults.endless == "file":
            return self._endless(content)
        if self.hub.faults.corrupt:
            content = bytes(len(content))
        ranges = self.headers.get("Range", "")
        if not ranges or self.hub.faults.ignore_range:
            return self._send(200, content, body, headers)
        first, _, last = ranges.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(content)) + 1, len(content))
        if start >= len(content):
            return self._send(416, b"", body)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self._send(206, content[start:stop], body, headers)

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        is_file = status in (200, 206) and "ETag" in (headers or {})
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.hub.faults.packed and not is_file:
            self.send_header("Content-Encoding", "gzip")
        if is_file and self.hub.faults.unannounced:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            with contextlib.suppress(OSError):  # the client cancelled
                self._write(content, is_file=is_file)

    def _endless(self, content: bytes) -> None:
        """No length, and no end."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(content)

    def _write(self, content: bytes, *, is_file: bool) -> None:
        faults = self.hub.faults
        if not is_file and faults.trickle:
            for byte in content:
                time.sleep(faults.trickle)
                self.wfile.write(bytes([byte]))
            return
        cut = faults.cut_after if is_file and faults.cut_after is not None and faults.cuts != 0 else len(content)
        if not is_file or (not faults.delay and cut >= len(content)):
            self.wfile.write(content)
            return
        if faults.cuts and cut < len(content):
            faults.cuts -= 1
        for start in range(0, min(cut, len(content)), 4096):
            time.sleep(faults.delay)
            self.wfile.write(content[start : min(start + 4096, cut)])
        self.close_connection = True


def _row(name: str, repository: Repository) -> dict[str, Any]:
    plain = {"id": name, "modelId": name, "tags": [], "downloads": 0, "likes": 0, "private": False}
    return {**plain, "gated": repository.gated or False, **repository.row}


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith((".safetensors", ".gguf")):
        entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}
    return entry
