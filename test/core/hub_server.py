"""A hub on this machine: the few HTTP routes by which `huggingface_hub` finds and fetches a repository."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """Files of one repository, and what to do to those who fetch them.

    Attributes:
        large: names that are kept as LFS files, with a SHA-256.
        altered: names whose bytes are changed on their way.
        stop_at: names of which no request gets beyond so many bytes of the file.
        ranges: `Range` headers that were asked for.
    """

    name: str
    files: dict[str, bytes]
    large: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    stop_at: dict[str, int] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)

    def listing(self) -> dict[str, object]:
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": git_blob(data)}
            if name in self.large:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return {"id": self.name, "modelId": self.name, "sha": COMMIT, "siblings": siblings, "tags": []}

    def etag(self, name: str) -> str:
        data = self.files[name]
        return hashlib.sha256(data).hexdigest() if name in self.large else git_blob(data)


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def serving(repository: Repository) -> Iterator[str]:
    """The endpoint of a hub that has this one repository."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            resolve = f"/{repository.name}/resolve/{COMMIT}/"
            if path.startswith(f"/api/models/{repository.name}/tree/"):
                self.send_json([tree_entry(repository, name) for name in repository.files], body)
            elif path.startswith(f"/api/models/{repository.name}"):
                self.send_json(repository.listing(), body)
            elif path.startswith(resolve) and path[len(resolve) :] in repository.files:
                self.send_file(path[len(resolve) :], body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send_json(self, value: object, body: bool) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def send_file(self, name: str, body: bool) -> None:
            data = repository.files[name]
            first = 0
            asked = self.headers.get("Range")
            if body and asked:
                repository.ranges.append(asked)
                first = int(asked.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("ETag", f'"{repository.etag(name)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data) - first))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if body:
                sent = data[first:]
                if name in repository.altered:
                    sent = bytes([sent[0] ^ 1]) + sent[1:]
                self.wfile.write(sent[: max(0, repository.stop_at.get(name, len(data)) - first)])
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tree_entry(repository: Repository, name: str) -> dict[str, object]:
    data = repository.files[name]
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": git_blob(data)}
    if name in repository.large:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
