"""What a camera sees now, as a Rerun stream (`.rrd`) that browsers follow while it grows.

Everything is logged as static: each frame and each set of boxes takes the place of the one before, in the stream's
sender and in its viewers, so that nothing grows with time.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from n3d_core.display.draw import AnyBox, class_color
from n3d_core.display.recording import import_rerun, log_boxes, log_frame, log_image
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame

_POLL_S = 1.0  # how often a stream without news looks whether its viewer is still there
_EYE, _LOOKED_AT = (-0.8, -1.2, -0.6), (0.0, 0.3, 2.0)  # over the camera's left shoulder (x right, y down, z forward)
_MOST_POINTS = 20_000  # two clouds a second of this size are shown smoothly by a browser without a GPU too


class Picture(Protocol):
    """A colour image RGB uint8 [H, W, 3] with its intrinsics, and no depth."""

    @property
    def color(self) -> NDArray[np.uint8]: ...

    @property
    def camera(self) -> Camera: ...


class LiveScene:
    """The newest frame and boxes, for viewers that come and go. Safe to use from several threads.

    Raises:
        MissingDependencyError: if the Rerun SDK is not installed.
    """

    def __init__(self) -> None:
        self._rr = import_rerun()
        self._news = threading.Condition()
        self._frame: Frame | Picture | None = None
        self._boxes: Sequence[AnyBox] = ()

    def show_frame(self, frame: Frame | Picture) -> None:
        """Shows another image and point cloud; of a picture there is no cloud."""
        with self._news:
            self._frame = frame
            self._news.notify_all()

    def show_boxes(self, boxes: Sequence[AnyBox]) -> None:
        """Shows other boxes, of the camera's optical frame; none clears them."""
        with self._news:
            self._boxes = tuple(boxes)
            self._news.notify_all()

    def stream(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        """The stream for one viewer: what is shown now, and then every change, until `gone` says that nobody listens.

        A viewer that is slower than the camera misses frames; it is never sent old ones.
        """
        recording = self._rr.RecordingStream("n3d")
        sink = recording.binary_stream()
        recording.send_blueprint(_blueprint())
        frame: Frame | Picture | None = None
        boxes: Sequence[AnyBox] | None = None
        while not gone():
            newest_frame, newest_boxes = self._wait(frame, boxes)
            if newest_frame is not None and newest_frame is not frame:
                self._log(recording, newest_frame)
            if newest_boxes is not boxes:
                log_boxes(self._rr, recording, "boxes", newest_boxes, [class_color(box.label) for box in newest_boxes])
            frame, boxes = newest_frame, newest_boxes
            if data := sink.read(flush=True):
                yield data

    def _log(self, recording: Any, frame: Frame | Picture) -> None:
        if isinstance(frame, Frame):
            log_frame(self._rr, recording, frame, _MOST_POINTS)
            return
        log_image(self._rr, recording, frame.color, frame.camera)
        recording.log("cloud", self._rr.Points3D([]), static=True)  # that of an image before

    def _wait(
        self, frame: Frame | Picture | None, boxes: Sequence[AnyBox] | None
    ) -> tuple[Frame | Picture | None, Sequence[AnyBox]]:
        """What is shown, once that is something else than `frame` and `boxes`, or after a second."""
        with self._news:
            self._news.wait_for(lambda: self._frame is not frame or self._boxes is not boxes, _POLL_S)
            return self._frame, self._boxes


def _blueprint() -> Any:
    """Image and scene side by side, no panels: the page around the viewer has its own."""
    rrb = importlib.import_module("rerun.blueprint")
    image = rrb.Spatial2DView(origin="camera", contents=["camera/**", "boxes"], name="image")
    eye = rrb.EyeControls3D(position=_EYE, look_target=_LOOKED_AT, eye_up=(0.0, -1.0, 0.0))
    scene = rrb.Spatial3DView(origin="/", contents=["+ /**"], name="scene", eye_controls=eye)
    closed = [panel(state="hidden") for panel in (rrb.BlueprintPanel, rrb.SelectionPanel, rrb.TimePanel)]
    return rrb.Blueprint(rrb.Horizontal(image, scene), *closed)
