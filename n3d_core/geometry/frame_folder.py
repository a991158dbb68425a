"""A folder of RGB-D frames with optional truth: what the camera node plays, the CLI reads, evaluation judges.

`camera.yaml` (ROS camera-info YAML) and per frame `NNNNNN.color.png` (8-bit RGB), `NNNNNN.depth.png` (16-bit
millimetres, 0 invalid) and optionally `NNNNNN.truth.json`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError, ImageError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame


@dataclass(frozen=True)
class TrueObject:
    """One object of a scene: its amodal box, its words, and the share of it that is visible."""

    box: Box3D
    cls: str
    color: str
    visible: float


@dataclass(frozen=True)
class Truth:
    """What is known of a frame. `groundings` and `questions` are kept in the file's form (see docs/frame-folder.md)."""

    objects: list[TrueObject]
    groundings: list[dict[str, Any]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The form of `NNNNNN.truth.json`."""
        objects = [
            {
                "label": o.box.label,
                "class": o.cls,
                "color": o.color,
                "center": [round(float(v), 5) for v in o.box.center],
                "size": [round(float(v), 5) for v in o.box.size],
                "visible": round(float(o.visible), 4),
            }
            for o in self.objects
        ]
        return {"objects": objects, "groundings": self.groundings, "questions": self.questions}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Truth:
        """Reads the form of `NNNNNN.truth.json`."""
        objects = [
            TrueObject(
                Box3D(o["label"], _vector(o["center"]), _vector(o["size"])),
                o.get("class", o["label"]),
                o.get("color", ""),
                float(o.get("visible", 1.0)),
            )
            for o in data["objects"]
        ]
        return cls(objects, list(data.get("groundings", [])), list(data.get("questions", [])))


class FrameFolder:
    """Reads a frame folder; frames are numbered by their file names' order.

    Raises:
        ImageError: if the folder holds no frame, or a file is missing or damaged.
        CameraError: if `camera.yaml` is missing or not usable.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.names = sorted(p.name.removesuffix(".color.png") for p in self.path.glob("*.color.png"))
        if not self.names:
            raise ImageError(f"{self.path}: no frame found; files named 000000.color.png, 000000.depth.png are wanted")
        self.camera = Camera.from_yaml(self.path / "camera.yaml")

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, index: int) -> Frame:
        """The frame at `index` (0-based)."""
        name = self.names[index]
        color = read_color(self.path / f"{name}.color.png")
        millimetres = read_depth_png(self.path / f"{name}.depth.png")
        metres = millimetres.astype(np.float32) / np.float32(1000.0)
        metres[millimetres == 0] = np.nan
        return Frame(color, metres, self.camera)

    def truth(self, index: int) -> Truth | None:
        """The truth of the frame at `index`, None where there is no such file."""
        path = self.path / f"{self.names[index]}.truth.json"
        if not path.exists():
            return None
        try:
            return Truth.from_json(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ImageError(
                f"{path}: not a truth file ({type(error).__name__}: {error}); see docs/frame-folder.md"
            ) from error


def write_frame(folder: str | Path, index: int, frame: Frame, truth: Truth | None = None) -> None:
    """Writes one frame (and `camera.yaml` where it is missing) into a frame folder; each file whole or not at all."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "camera.yaml").exists():
        frame.camera.to_yaml(root / "camera.yaml")
    millimetres = np.clip(np.nan_to_num(frame.depth * 1000, nan=0.0), 0, 65535).round().astype(np.uint16)
    _write_png(root / f"{index:06d}.depth.png", millimetres)
    if truth is not None:
        text = json.dumps(truth.to_json(), indent=1)
        _write_whole(root / f"{index:06d}.truth.json", text.encode())
    _write_png(root / f"{index:06d}.color.png", cv2.cvtColor(frame.color, cv2.COLOR_RGB2BGR))


def read_image(path: str | Path, flags: int) -> NDArray[Any] | None:
    """What OpenCV reads from a file; None if it cannot, as where a header claims an absurd size."""
    try:
        return cv2.imread(str(path), flags)
    except cv2.error:
        return None


def read_color(path: str | Path) -> NDArray[np.uint8]:
    """An 8-bit image file as RGB [H, W, 3].

    Raises:
        ImageError: if it cannot be read.
    """
    image = read_image(path, cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{path}: cannot be read as an image; is it there, and whole?")
    return np.ascontiguousarray(image[:, :, ::-1])


def read_depth_png(path: str | Path) -> NDArray[np.uint16]:
    """A 16-bit single-channel PNG [H, W].

    Raises:
        ImageError: if it cannot be read.
        DepthError: if it is of another type.
    """
    image = read_image(path, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ImageError(f"{path}: cannot be read as an image; is it there, and whole?")
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DepthError(f"{path}: {image.dtype} {list(image.shape)}; a 16-bit single-channel PNG is wanted")
    return np.asarray(image, dtype=np.uint16)


def _vector(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _write_png(path: Path, image: NDArray[Any]) -> None:
    ok, data = cv2.imencode(".png", image)
    if not ok:
        raise ImageError(f"{path}: an image of {image.dtype} {list(image.shape)} cannot be written as PNG")
    _write_whole(path, data.tobytes())


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
