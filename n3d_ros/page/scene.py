"""What a browser shows of one camera: the live scene as a Rerun stream, and Rerun's web viewer for it.

The scene is an `.rrd` stream that viewers follow while it grows. Everything in it is logged as static: each frame and
each set of boxes replaces the previous one, in the sender and in the viewers, so memory does not grow.

The viewer (HTML, JavaScript and WebAssembly) is inside the `rerun` program of the SDK's wheel, and only its own web
server hands it out. A robot should not run that server: the data server that comes with it lets any web site read the
logged data (`access-control-allow-origin` is whatever the caller says). So it is started on loopback, without data, for
as long as it takes to fetch the files.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.display.draw import AnyBox, class_color
from n3d_core.display.rerun import import_rerun, log_boxes, log_frame, log_image
from n3d_core.errors import MissingDependencyError
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_ros.errors import UnavailableError

LOOPBACK = "127.0.0.1"
_APPLICATION = "n3d"
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never use a proxy for loopback
FILES = ("index.html", "re_viewer.js", "re_viewer_bg.wasm", "favicon.svg")
_PATIENCE_S = 120.0
_POLL_S = 1.0  # how often an idle stream checks that its viewer is still connected
_EYE, _LOOKED_AT = (-0.8, -1.2, -0.6), (0.0, 0.3, 2.0)  # over the camera's left shoulder (x right, y down, z forward)
_MOST_POINTS = 20_000  # a browser without a GPU still shows two clouds of this size per second smoothly


class Picture(Protocol):
    """A colour image RGB uint8 [H, W, 3] with its intrinsics, without depth."""

    @property
    def color(self) -> NDArray[np.uint8]: ...

    @property
    def camera(self) -> Camera: ...


class LiveScene:
    """The newest frame and boxes, for viewers that come and go. Thread-safe.

    Raises:
        MissingDependencyError: if the Rerun SDK is not installed.
    """

    def __init__(self) -> None:
        self._rr = import_rerun()
        self._layout = _layout()
        self._news = threading.Condition()
        self._frame: Frame | Picture | None = None
        self._boxes: Sequence[AnyBox] = ()

    def show_frame(self, frame: Frame | Picture) -> None:
        """Shows another image and its point cloud; a `Picture` has no cloud."""
        with self._news:
            self._frame = frame
            self._news.notify_all()

    def show_boxes(self, boxes: Sequence[AnyBox]) -> None:
        """Shows other boxes, in the camera's optical frame; an empty list clears them."""
        with self._news:
            self._boxes = tuple(boxes)
            self._news.notify_all()

    def stream(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        """The stream for one viewer: the current scene, then every change, until `gone` returns True.

        A viewer slower than the camera misses frames; it never gets old ones.
        """
        recording = self._rr.RecordingStream(_APPLICATION)
        sink = recording.binary_stream()
        try:
            head = self._layout
            frame: Frame | Picture | None = None
            boxes: Sequence[AnyBox] | None = None
            while not gone():
                newest_frame, newest_boxes = self._wait(frame, boxes)
                if newest_frame is not None and newest_frame is not frame:
                    self._log(recording, newest_frame)
                if newest_boxes is not boxes:
                    colors = [class_color(box.label) for box in newest_boxes]
                    log_boxes(self._rr, recording, "boxes", newest_boxes, colors)
                frame, boxes = newest_frame, newest_boxes
                if data := head + (sink.read(flush=True) or b""):
                    yield data
                head = b""
        finally:
            del sink, recording
            self._rr.bindings.flush_and_cleanup_orphaned_recordings()  # else their threads stay

    def _log(self, recording: Any, frame: Frame | Picture) -> None:
        if isinstance(frame, Frame):
            log_frame(self._rr, recording, frame, _MOST_POINTS)
            return
        log_image(self._rr, recording, frame.color, frame.camera)
        recording.log("cloud", self._rr.Points3D([]), static=True)  # from an earlier image

    def _wait(
        self, frame: Frame | Picture | None, boxes: Sequence[AnyBox] | None
    ) -> tuple[Frame | Picture | None, Sequence[AnyBox]]:
        """The current scene, once it differs from `frame` and `boxes`, or after a second."""
        with self._news:
            self._news.wait_for(lambda: self._frame is not frame or self._boxes is not boxes, _POLL_S)
            return self._frame, self._boxes


def _layout() -> bytes:
    """The blueprint as a stream of its own, which the viewer reads before that of the data.

    `send_blueprint` would leave two threads behind for each viewer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "layout.rbl"
        _blueprint().save(_APPLICATION, path)
        return path.read_bytes()


def _blueprint() -> Any:
    """Image and scene side by side, no panels: the page around the viewer has its own."""
    rrb = importlib.import_module("rerun.blueprint")
    image = rrb.Spatial2DView(origin="camera", contents=["camera/**", "boxes"], name="image")
    eye = rrb.EyeControls3D(position=_EYE, look_target=_LOOKED_AT, eye_up=(0.0, -1.0, 0.0))
    scene = rrb.Spatial3DView(origin="/", contents=["+ /**"], name="scene", eye_controls=eye)
    closed = [panel(state="hidden") for panel in (rrb.BlueprintPanel, rrb.SelectionPanel, rrb.TimePanel)]
    return rrb.Blueprint(rrb.Horizontal(image, scene), *closed)


class PageViewer:
    """The viewer's files, once they are fetched."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._fetched: Future[dict[str, ViewerFile]] = Future()

    def start(self) -> None:
        """Starts fetching them."""
        self._fetched = ThreadPoolExecutor(1, "viewer").submit(fetch_viewer, self._closing.is_set)

    def files(self) -> Mapping[str, ViewerFile]:
        """The files by name.

        Raises:
            UnavailableError: while they are being fetched, or if that failed.
        """
        if not self._fetched.done():
            raise UnavailableError("the 3D view is starting")
        try:
            return self._fetched.result()
        except MissingDependencyError as error:
            raise UnavailableError(f"no 3D view: {error}") from error

    def close(self) -> None:
        """Cancels a fetch in progress."""
        self._closing.set()
        wait([self._fetched], timeout=1.0)


@dataclass(frozen=True)
class ViewerFile:
    """A file to serve. `headers` are those that the viewer relies on, including its content type."""

    data: bytes
    headers: Mapping[str, str]


def fetch_viewer(unwanted: Callable[[], bool] = lambda: False) -> dict[str, ViewerFile]:
    """The viewer's files by name (about 40 MB); takes seconds, and stops once `unwanted` returns True.

    Raises:
        MissingDependencyError: if the Rerun SDK is not installed, or its viewer does not start.
    """
    import_rerun()
    with tempfile.TemporaryDirectory() as scratch:
        port = _free_port()
        nothing = f"http://{LOOPBACK}:{port}/none.rrd"  # with something to show, it starts no data server
        command = [sys.executable, "-m", "rerun", "--serve-web", "--bind", LOOPBACK, "--web-viewer-port", str(port)]
        with open(Path(scratch) / "log", "w+") as log:
            process = subprocess.Popen([*command, nothing], stdout=log, stderr=log, env=_unwatched(Path(scratch)))
            try:
                end = time.monotonic() + _PATIENCE_S
                return {
                    name: _fetch(
                        f"http://{LOOPBACK}:{port}/{name}", process, lambda: unwanted() or time.monotonic() > end
                    )
                    for name in FILES
                }
            except OSError as error:
                log.seek(0)
                raise MissingDependencyError(
                    f"Rerun's web viewer did not start ({error}); its output ends with {log.read()[-500:]!r}; try "
                    "pip install --force-reinstall 'n3d-ros[rerun]'"
                ) from error
            finally:
                process.terminate()
                process.wait()


def _fetch(url: str, process: subprocess.Popen[bytes], give_up: Callable[[], bool]) -> ViewerFile:
    """A file of a server that may still be starting."""
    while True:
        try:
            with _LOCAL.open(url, timeout=_PATIENCE_S) as response:
                kept = {
                    name: value for name in ("Content-Type", "rerun-final-length") if (value := response.headers[name])
                }
                data = response.read()
                tag = hashlib.sha256(data).hexdigest()[:16]  # 40 MB are not sent again at every reload
                return ViewerFile(data, {**kept, "Cache-Control": "no-cache", "ETag": f'"{tag}"'})
        except urllib.error.HTTPError:
            raise
        except OSError:
            if process.poll() is not None:
                raise OSError(f"exit code {process.returncode}") from None
            if give_up():
                raise
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _unwatched(scratch: Path) -> dict[str, str]:
    """An environment in which the program does not send usage data; keeps the user's own setting."""
    settings = scratch / "rerun" / "analytics.json"
    settings.parent.mkdir()
    unknown = {"analytics_id": "", "metadata": {}, "config_file_path": str(settings), "data_dir_path": str(scratch)}
    settings.write_text(json.dumps({"analytics_enabled": False, **unknown}))
    return {**os.environ, "XDG_CONFIG_HOME": str(scratch)}
