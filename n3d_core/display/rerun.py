"""Results as Rerun recordings (`.rrd`), as the reference shows them: image, coloured point cloud, boxes and text.

Open one with `rerun FILE`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.atomic_write import atomic_write
from n3d_core.display.draw import AnyBox, caption, class_color
from n3d_core.errors import ImageError, optional
from n3d_core.geometry.boxes import Box3D, OrientedBox
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame

_MOST_POINTS = 300_000
_UNTURNED = (0.0, 0.0, 0.0, 1.0)
_PLANE_DISTANCE = 0.3  # metres in front of the camera, where the viewer shows the image


def import_rerun() -> Any:
    """The rerun SDK.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    with optional("recordings and 3D views need the Rerun SDK", "'n3d-ros[rerun]'"):
        return importlib.import_module("rerun")


def write_recording(
    path: Path, frame: Frame, boxes: Sequence[Box3D], text: str, *, truth: Sequence[Box3D] | None = None
) -> None:
    """Writes a recording atomically.

    Entities: `camera` (pinhole, with `camera/color`), `cloud`, `boxes`, `truth` and `text`, all in the optical frame.

    Raises:
        MissingDependencyError: if the SDK is not installed.
        ImageError: if the file cannot be written.
    """
    rr = import_rerun()
    recording = rr.RecordingStream("n3d")
    try:
        with atomic_write(path) as part:
            recording.save(part, default_blueprint=_blueprint())
            log_frame(rr, recording, frame)
            if boxes:
                log_boxes(rr, recording, "boxes", boxes, [class_color(box.label) for box in boxes])
            if truth:
                log_boxes(rr, recording, "truth", truth, [(1.0, 1.0, 1.0)] * len(truth))
            recording.log("text", rr.TextDocument(text, media_type="text/plain"), static=True)
            recording.flush()
            recording.disconnect()
    except (OSError, RuntimeError) as error:
        raise ImageError(f"{path}: the recording cannot be written: {error}") from error


def _blueprint() -> Any:
    """The viewer's layout: the scene on the left, image and text on the right."""
    rrb = importlib.import_module("rerun.blueprint")
    right = rrb.Vertical(
        rrb.Spatial2DView(origin="camera", contents=["camera/**", "boxes"], name="image"),
        rrb.TextDocumentView(origin="text", name="text"),
        row_shares=[2, 1],
    )
    scene = rrb.Spatial3DView(origin="/", contents=["+ /**"], name="scene")
    return rrb.Blueprint(rrb.Horizontal(scene, right, column_shares=[3, 2]))


def log_frame(rr: Any, recording: Any, frame: Frame, most_points: int = _MOST_POINTS) -> None:
    """Logs `camera`, `camera/color` and `cloud` (about `most_points`), replacing earlier ones."""
    log_image(rr, recording, frame.color, frame.camera)
    stride = max(1, int(np.ceil(np.sqrt(frame.valid.sum() / most_points))))
    kept = frame.valid[::stride, ::stride]
    points = rr.Points3D(frame.points[::stride, ::stride][kept], colors=frame.color[::stride, ::stride][kept])
    recording.log("cloud", points, static=True)


def log_image(rr: Any, recording: Any, color: NDArray[np.uint8], camera: Camera) -> None:
    """Logs `camera` and `camera/color`, an RGB image [H, W, 3], replacing earlier ones."""
    recording.log("/", rr.ViewCoordinates.RDF, static=True)
    pinhole = rr.Pinhole(
        image_from_camera=camera.matrix,
        width=camera.width,
        height=camera.height,
        image_plane_distance=_PLANE_DISTANCE,
    )
    recording.log("camera", pinhole, static=True)
    recording.log("camera/color", rr.Image(color).compress(jpeg_quality=92), static=True)


def log_boxes(
    rr: Any, recording: Any, name: str, boxes: Sequence[AnyBox], colors: Sequence[tuple[float, float, float]]
) -> None:
    """Logs boxes in the optical frame as the entity `name`, replacing earlier ones."""
    shown = rr.Boxes3D(
        centers=[box.center for box in boxes],
        sizes=[box.size for box in boxes],
        quaternions=[box.quaternion if isinstance(box, OrientedBox) else _UNTURNED for box in boxes],
        colors=[[round(255 * part) for part in color] for color in colors],
        labels=[caption(box) for box in boxes],
    )
    recording.log(name, shown, static=True)
