"""The node `n3d_page`: a page in the browser with the camera's image, the 3D scene, the boxes and an ask box.

`python -m n3d_ros page_node` (`ros2 run n3d_ros page_node`), or `page:=true` of the launch file. It is a separate
process, since an HTTP server does not belong in a process that a robot depends on: if it fails, the grounding node
keeps running. It queries that node like any other client. With `--cameras front,rear` there is a node in each of these
namespaces, and one page for all, with a list of cameras.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import cv2
from rclpy.node import Node
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray, VisionInfo

from n3d_core.display.draw import draw_boxes
from n3d_core.errors import MissingDependencyError, N3DError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.messages.assembly import ColorImage, nanoseconds_of
from n3d_ros.errors import STATUS_NAMES, UnavailableError
from n3d_ros.frames.transforms import Transforms
from n3d_ros.node.parameters import AT_START, CheckedParameters, ParameterSet, named, parameter
from n3d_ros.node.running import leave, run_nodes, start_ros
from n3d_ros.outputs.messages import VERDICTS, detection_box
from n3d_ros.outputs.publishers import latched
from n3d_ros.page.client import TRANSFORM_S, PageInput, PageQuery
from n3d_ros.page.scene import LiveScene
from n3d_ros.page.server import CameraContent, PageServer

_PATIENCE_S = 3.0  # after subscribing; topics still silent by then are reported
_RETRY_S = 0.1
_PLACE_S = 3.0  # how long to wait for the transform of new boxes
_VERDICTS = {code: name for name, code in VERDICTS.items()}


@dataclass(frozen=True)
class PageParameters(CheckedParameters):
    """Each parameter's text describes it; the table in docs/ros.md is generated from them."""

    port: int = parameter(
        8190,
        "Port of the page on 127.0.0.1; 0: any free one, logged. With several cameras, the first one's applies.",
        low=0,
        high=65535,
        when=AT_START,
    )
    rate: float = parameter(2.0, "Images per second that the page shows while it is open.", low=0.1, high=30.0)
    grounding: str = parameter("grounding", "Name of the grounding node, in this node's namespace.", when=AT_START)
    answer_timeout: float = parameter(
        120.0, "How long the page waits for the grounding node's answer, in seconds.", low=1.0, high=3600.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named(self.grounding)


class PageNode(Node):
    """Serves the page of the camera in its namespace; see docs/ros.md.

    Images are read only while a page is open. Without the Rerun SDK, or until its viewer has started, the page shows
    the image with its boxes and no 3D scene.

    Args:
        server: nodes that share a server share a page, on the first node's port.
        options: passed to `rclpy.node.Node`.

    Raises:
        ConfigError: if the port is taken.
    """

    def __init__(self, server: PageServer | None = None, **options: Any) -> None:
        super().__init__("n3d_page", **options)
        self._settings = ParameterSet(self, PageParameters)
        settings = self._settings.value
        self._boxes: list[OrientedBox] = []  # in the frame of the detections
        self._seen: list[OrientedBox] = []  # in that of the image
        self._unplaced: tuple[Header, list[OrientedBox], float] | None = None  # not in `_seen` yet
        self._camera, self._model = "no image yet", ""
        self._sees = False
        self._transforms = Transforms(self)
        self._input = PageInput(self, settings.grounding, self._transforms)
        self._frame: Frame | ColorImage | None = None
        self.create_subscription(Detection3DArray, f"{settings.grounding}/detections", self._on_detections, 1)
        self.create_subscription(VisionInfo, f"{settings.grounding}/vision_info", self._on_model, latched())
        self._query = PageQuery(self, settings.grounding, lambda: self._settings.value.answer_timeout)
        self._scene = _scene()
        self._name = self.get_namespace().rstrip("/")
        self._server = server or PageServer()
        content = CameraContent(self._answer, self._status, self._picture, self._stream)
        self._server.add(self._name, content, settings.port)
        # A separate thread waits for TF, which the executor has to deliver meanwhile.
        self._closing, self._news = False, threading.Event()
        self._looking = threading.Thread(target=self._keep_looking, name="page-look", daemon=True)

    def start(self) -> None:
        """Begins to serve."""
        self._looking.start()
        self._server.start()
        self.get_logger().info(f"page at {self._server.url}")

    def close(self) -> None:
        """Ends the server."""
        self._server.close()
        self._closing = True
        self._news.set()
        if self._looking.is_alive():
            self._looking.join(2.0)
        self._input.close()

    # Display

    def _keep_looking(self) -> None:
        """Shows images and boxes until the node is closed; runs in its own thread."""
        due = 0.0
        while not self._closing:
            pause = max(0.0, due - time.monotonic())
            waits = self._unplaced is not None and self._frame is not None  # to wait for the transform of its boxes
            self._news.wait(min(pause, _RETRY_S) if waits else pause)
            self._news.clear()
            if self._closing or not self.context.ok():
                return
            if time.monotonic() >= due:
                due = time.monotonic() + 1 / self._settings.value.rate
                self._look()
            self._place_boxes()

    def _look(self) -> None:
        """Shows the newest image; unsubscribes while no page is open."""
        if not self._server.is_watched(self._name):
            self._input.close()
            return
        try:
            frame = self._frame = self._input.newest()
        except N3DError as error:
            waits = self._input.open_for_s < _PATIENCE_S
            self._camera, self._sees = "waiting for an image" if waits else str(error), False
            return
        age_s = (self.get_clock().now().nanoseconds - frame.stamp_ns) / 1e9
        size = f"{frame.camera.width}x{frame.camera.height}"
        self._camera, self._sees = f"{size} in {frame.frame_id!r}, {age_s:.1f} s old{_lacks(frame)}", True
        if self._scene is not None:
            self._scene.show_frame(frame)

    def _on_detections(self, message: Detection3DArray) -> None:
        self._boxes = [detection_box(detection) for detection in message.detections]
        self._unplaced = (message.header, self._boxes, time.monotonic() + _PLACE_S)
        self._news.set()

    def _on_model(self, message: VisionInfo) -> None:
        self._model = message.method

    def _place_boxes(self) -> None:
        """Transforms the newest boxes to the image's frame, once the image and the transform are available."""
        unplaced, frame = self._unplaced, self._frame
        if unplaced is None or frame is None:
            return
        header, boxes, give_up = unplaced
        try:
            if header.frame_id != frame.frame_id:
                stamp_ns = nanoseconds_of(header.stamp)
                turn, shift = self._transforms.look_up(frame.frame_id, header.frame_id, stamp_ns, TRANSFORM_S)
                boxes = [box.transformed(turn, shift) for box in boxes]
        except N3DError as error:
            if time.monotonic() < give_up:
                return  # it may still arrive
            self.get_logger().warning(f"boxes are not shown in the scene: {error}", throttle_duration_sec=10.0)
            boxes = []
        if self._unplaced is unplaced:
            self._unplaced = None
        self._seen = boxes
        if self._scene is not None:
            self._scene.show_boxes(boxes)

    def _status(self) -> dict[str, Any]:
        """Runs in a thread of the server."""
        boxes = [_box_record(box) for box in self._boxes]
        shown = {"camera": self._camera, "sees": self._sees, "model": self._model}
        return {**shown, "boxes": boxes, "progress": self._progress()}

    def _picture(self) -> bytes:
        """Runs in a thread of the server."""
        frame = self._frame
        if frame is None:
            raise UnavailableError(self._camera)
        picture = draw_boxes(frame.color, frame.camera, self._seen)
        return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()

    def _stream(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        if self._scene is None:
            raise UnavailableError("the Rerun SDK is not installed")
        return self._scene.stream(gone)

    # What is asked

    def _answer(self, text: str, mode: Literal["ground", "ask"], gone: Callable[[], bool]) -> dict[str, Any]:
        """Runs in a thread of the server, and waits for the executor."""
        began = time.monotonic()
        reply = self._query.ask(text, mode, gone)
        result = reply.result
        return {
            "status": STATUS_NAMES.get(result.status, str(result.status)),
            "message": result.message,
            "warnings": list(result.warnings),
            "milliseconds": 1000 * (time.monotonic() - began),
            "boxes": [_box_record(detection_box(detection)) for detection in result.detections.detections],
            "answer": reply.answer,
            "said": reply.said,
            "reasoning": reply.reasoning,
            "verdict": _VERDICTS.get(reply.verdict, ""),
            "verdict_reason": reply.verdict_reason,
        }

    def _progress(self) -> dict[str, Any] | None:
        """Progress of the running query; None if none is running."""
        progress = self._query.progress
        if progress is None:
            return None
        boxes = [_box_record(detection_box(detection)) for detection in progress.detections]
        return {"stage": progress.stage, "text": progress.text, "boxes": boxes}


def _lacks(frame: Frame | ColorImage) -> str:
    """What is not shown of the frame, and why."""
    if isinstance(frame, Frame):
        return ""
    return "; no point cloud: depth is estimated only for queries (monocular_depth)"


def _scene() -> LiveScene | None:
    try:
        return LiveScene()
    except MissingDependencyError:
        return None  # the viewer's files are missing too, and report it


def _box_record(box: OrientedBox) -> dict[str, Any]:
    """A box as JSON, in metres, in the detections' frame."""
    return {"label": box.label, "score": box.score, "center": list(box.center), "size": list(box.size)}


def main(args: list[str] | None = None) -> int:
    """Serves until Ctrl-C; with `--cameras front,rear` one page for the cameras in these namespaces."""
    cameras, server = start_ros("page_node", args, __doc__), PageServer()
    return run_nodes([partial(PageNode, server, namespace=camera) for camera in cameras])


if __name__ == "__main__":
    leave(main())
