"""The page's HTTP server: its files, Rerun's viewer, and the scene and ask box of each camera.

A camera's paths start with its namespace, such as `/front/status`, or `/status` without one.

It listens on loopback only and accepts only its own page's requests. Other web sites open in the same browser, even
ones whose domain resolves to 127.0.0.1, are rejected by the headers `Host`, `Origin` and `Sec-Fetch-Site`, which they
cannot forge.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from n3d_core.errors import ConfigError
from n3d_ros.errors import UnavailableError
from n3d_ros.page.scene import LOOPBACK, PageViewer

MOST_BYTES = 4096  # of a question; the model has its own limit
MOST_CONNECTIONS = 128  # a page uses up to six
WATCHED_S = 15.0  # a page polls every second, unless its browser is busy drawing
_OWN_NAMES = (LOOPBACK, "localhost", "::1")
_FILES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
_OF_A_CAMERA = ("status", "image.jpg", "scene.rrd")
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
_PAGE_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
# The viewer's own page has inline scripts and compiles WebAssembly; it too can reach only this server.
_VIEWER_POLICY = (
    "default-src 'self' blob: data:; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self'; frame-ancestors 'self'"
)


class Asked(Protocol):
    """Answers a text: `mode` is "ground" or "ask"; gives up once `gone` returns True (the browser is)."""

    def __call__(self, text: str, mode: Literal["ground", "ask"], gone: Callable[[], bool]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class CameraContent:
    """The backend of a camera's page; all functions are called in threads of the server.

    Attributes:
        ask: asks the camera's grounding node.
        status: sent to the page once a second.
        image: the newest image with its boxes, as JPEG; for browsers without the viewer.
        stream: the live scene for one viewer, until the given function returns True (the viewer is gone).

    Each raises `UnavailableError` with the reason if it has nothing to return.
    """

    ask: Asked
    status: Callable[[], dict[str, Any]]
    image: Callable[[], bytes]
    stream: Callable[[Callable[[], bool]], Iterator[bytes]]


class PageServer:
    """Serves one page for all added cameras."""

    def __init__(self) -> None:
        self._viewer = PageViewer()
        self._contents: dict[str, CameraContent] = {}
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def add(self, camera: str, content: CameraContent, port: int) -> None:
        """Adds the camera of a namespace ("/front", or "" for none); the first one opens its port on 127.0.0.1.

        Raises:
            ConfigError: if the port cannot be opened. Port 0 is any free one.
        """
        self._contents[camera] = content
        if self._server is None:
            self._server = _open(port, self._contents, self._viewer)

    @property
    def url(self) -> str:
        """The page's address, once it has a camera."""
        assert self._server is not None
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/"

    def is_watched(self, camera: str) -> bool:
        """Whether a page has polled the camera's status in the last seconds."""
        asked_at = self._server.asked_at.get(camera, float("-inf")) if self._server is not None else float("-inf")
        return time.monotonic() - asked_at < WATCHED_S

    def start(self) -> None:
        """Starts serving, unless it already does."""
        if self._thread is None:
            assert self._server is not None
            self._viewer.start()
            self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stops serving all cameras; streams end by themselves."""
        if self._server is None or self._server.closing:
            return
        self._server.closing = True
        if self._thread is not None:
            self._server.shutdown()
        self._server.server_close()
        self._viewer.close()


def _open(port: int, contents: Mapping[str, CameraContent], viewer: PageViewer) -> _Server:
    try:
        return _Server(port, contents, viewer)
    except OSError as error:
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
        raise ConfigError(
            f"port {port} of {LOOPBACK} {why}: set the parameter port to another (0 picks a free one), or stop "
            f"that program (ss -ltnp 'sport = :{port}' names it)"
        ) from error


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, port: int, contents: Mapping[str, CameraContent], viewer: PageViewer) -> None:
        self.contents = contents
        self.viewer = viewer
        self.asked_at: dict[str, float] = {}
        self.closing = False
        self.unread: dict[Any, None] = {}  # connections whose next request is not complete, the oldest first
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((LOOPBACK, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection. Where there are too many, the one that has sent no request for longest makes room."""
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                for oldest in list(self.unread)[:1]:
                    oldest.shutdown(socket.SHUT_RDWR)
            if not self._free.acquire(timeout=1.0):
                with suppress(OSError):
                    request.sendall(
                        b"HTTP/1.1 503 Too many connections\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                self.shutdown_request(request)
                return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.unread.pop(request, None)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignored: a browser that disconnects is not an error."""


class _RefusedError(Exception):
    """A request that is answered with an error status and a reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "n3d_page", ""
    timeout = 30  # seconds without a byte from or to the client

    def do_GET(self) -> None:
        self._answer(self._get)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *arguments: Any) -> None:
        """Logs nothing: the page polls every second."""

    def handle_one_request(self) -> None:
        """Marks the connection until its next request is complete."""
        self.server.unread[self.connection] = None
        super().handle_one_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The answer to what is no request that this server knows."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send_json({"error": message or status.phrase}, status)

    def _answer(self, route: Callable[[str], None]) -> None:
        del self.server.unread[self.connection]
        try:
            self._refuse_strangers()
            if "Transfer-Encoding" in self.headers or (self.command != "POST" and "Content-Length" in self.headers):
                self.close_connection = True  # what follows would be taken for the next request
            try:
                path = urlsplit(self.path).path
            except ValueError:
                raise _RefusedError(HTTPStatus.BAD_REQUEST, f"{self.path!r} is not a path") from None
            route(path)
        except UnavailableError as error:
            self._send_json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)
        except _RefusedError as refused:
            self.close_connection = True  # the rest of the request is not read
            self._send_json({"error": str(refused)}, refused.status)

    def _refuse_strangers(self) -> None:
        host = self.headers.get("Host", "")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name not in _OWN_NAMES:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"the page is at {LOOPBACK} or localhost, not {host!r}")
        origin = self.headers.get("Origin")
        if origin not in (None, f"http://{host}"):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, f"requests from {origin!r} are rejected; only the page's own are accepted"
            )
        site, wanted = self.headers.get("Sec-Fetch-Site", "none"), self.headers.get("Sec-Fetch-Dest")
        if site not in ("none", "same-origin") and wanted != "document":  # a link to the page is no harm
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"a {wanted or 'request'} of another site is rejected")

    def _get(self, path: str) -> None:
        camera, _, name = path.rpartition("/")
        if path in _FILES:
            file = Path(__file__).with_name(_FILES[path])
            self._send(file.read_bytes(), {"Content-Type": _KINDS[file.suffix]}, _PAGE_POLICY)
        elif path == "/cameras":
            self._send_json({"cameras": list(self.server.contents)})
        elif camera in self.server.contents and name in _OF_A_CAMERA:
            self._get_of_camera(camera, name)
        elif path.startswith("/viewer/"):
            viewed = self.server.viewer.files().get(path.removeprefix("/viewer/") or "index.html")
            if viewed is None:
                raise _RefusedError(HTTPStatus.NOT_FOUND, f"the viewer has no file {path}")
            self._send(viewed.data, viewed.headers, _VIEWER_POLICY)
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no {path}")

    def _get_of_camera(self, camera: str, name: str) -> None:
        content = self.server.contents[camera]
        if name == "status":
            self.server.asked_at[camera] = time.monotonic()
            self._send_json(content.status())
        elif name == "image.jpg":
            self._send(content.image(), {"Content-Type": "image/jpeg"}, _PAGE_POLICY)
        else:
            self._send_scene(content)

    def _post(self, path: str) -> None:
        camera, _, name = path.rpartition("/")
        if camera not in self.server.contents or name != "ask":
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no {path}")
        text, mode = self._question()
        self._send_json(self.server.contents[camera].ask(text, mode, self._is_gone))

    def _question(self) -> tuple[str, Literal["ground", "ask"]]:
        if self.headers.get_content_type() != "application/json":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the request has no Content-Length")
        if len(length) > 9 or int(length) > MOST_BYTES:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request must be at most {MOST_BYTES} bytes; got {length:.9}"
            )
        try:
            question = json.loads(self.rfile.read(int(length)))
            text, mode = question["text"], question["mode"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _RefusedError(
                HTTPStatus.BAD_REQUEST, 'the body must be JSON such as {"text": "red cone", "mode": "ground"}'
            ) from error
        if not isinstance(text, str) or mode not in ("ground", "ask"):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, 'text must be a string, and mode "ground" or "ask"')
        return text.encode(errors="replace").decode(), mode  # half a surrogate pair is not valid text

    def _send_scene(self, content: CameraContent) -> None:
        pieces = content.stream(self._is_gone)
        self.close_connection = True  # the stream ends with the connection
        self._head(HTTPStatus.OK, {"Content-Type": "application/octet-stream"}, _VIEWER_POLICY)
        for piece in pieces if self.command == "GET" else ():
            self.wfile.write(piece)

    def _is_gone(self) -> bool:
        """Whether the browser has closed the connection."""
        poll = select.poll()  # select knows no file descriptors above 1023
        poll.register(self.connection, select.POLLIN)
        try:
            return self.server.closing or (bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK))
        except OSError:  # it was reset
            return True

    def _send_json(self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(content).encode(), {"Content-Type": "application/json"}, _PAGE_POLICY, status)

    def _send(self, data: bytes, headers: Mapping[str, str], policy: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        if "ETag" in headers and self.headers.get("If-None-Match") == headers["ETag"]:
            self._head(HTTPStatus.NOT_MODIFIED, headers, policy)
            return
        self._head(status, {**headers, "Content-Length": str(len(data))}, policy)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str], policy: str) -> None:
        self.send_response(status)
        always = {
            "Content-Security-Policy": policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in {**always, **headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
