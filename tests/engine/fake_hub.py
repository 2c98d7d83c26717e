"""A hub and a package index on this computer, with the faults that the real ones have.

It speaks what huggingface_hub asks (``/api/models/...``), serves files with Range and ETag, and a simple index page.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c0ffee" * 6 + "beef"


@dataclass
class Faults:
    """What goes wrong. ``cut_after`` bytes of a file the connection is closed; ``delay`` seconds before each 4 kB."""

    status: int = 0
    cut_after: int | None = None
    delay: float = 0.0
    corrupt: bool = False
    ignore_range: bool = False
    json_index: bool = False


@dataclass
class FakeHub:
    """``files``: repository or package file path -> bytes. A context manager; ``url`` is its address."""

    repo: str = "org/model"
    files: dict[str, bytes] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # (method, path, Range)

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


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, format: str, *arguments: Any) -> None:
        return None

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if self.hub.faults.status:
            return self._send(self.hub.faults.status, b"refused", body)
        if path.startswith("/api/models/"):
            return self._api(path, body)
        if path.startswith("/simple/"):
            return self._index(body)
        content = self._content(path)
        return self._send(404, b"not found", body) if content is None else self._file(content, body)

    def _api(self, path: str, body: bool) -> None:
        known = f"/api/models/{self.hub.repo}"
        if path not in (known, f"{known}/revision/main", f"{known}/revision/{COMMIT}"):
            missing = "RevisionNotFound" if path.startswith(known) else "RepoNotFound"
            return self._send(404, b"{}", body, {"X-Error-Code": missing})
        siblings = [_sibling(name, content) for name, content in self.hub.files.items()]
        answer = {"id": self.hub.repo, "modelId": self.hub.repo, "sha": COMMIT, "siblings": siblings, "tags": []}
        return self._send(200, json.dumps(answer).encode(), body, {"Content-Type": "application/json"})

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

    def _content(self, path: str) -> bytes | None:
        if path.startswith("/packages/"):
            return self.hub.packages.get(path.removeprefix("/packages/"))
        return self.hub.files.get(path.removeprefix(f"/{self.hub.repo}/resolve/{COMMIT}/"))

    def _file(self, content: bytes, body: bool) -> None:
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if self.hub.faults.corrupt:
            content = bytes(len(content))
        ranges = self.headers.get("Range", "")
        if not ranges or self.hub.faults.ignore_range:
            return self._send(200, content, body, headers)
        start = int(ranges.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return self._send(416, b"", body)
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._send(206, content[start:], body, headers)

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self._write(content, is_file=status in (200, 206) and "ETag" in (headers or {}))

    def _write(self, content: bytes, *, is_file: bool) -> None:
        faults = self.hub.faults
        cut = faults.cut_after if is_file and faults.cut_after is not None else len(content)
        if not is_file or (not faults.delay and cut >= len(content)):
            self.wfile.write(content)
            return
        try:
            for start in range(0, min(cut, len(content)), 4096):
                time.sleep(faults.delay)
                self.wfile.write(content[start : min(start + 4096, cut)])
        except OSError:
            return  # the client cancelled
        self.close_connection = True


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith(".safetensors"):
        entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}
    return entry
