"""Folders of RGB-D frames with optional ground truth, used by the camera node, the CLI and the evaluation.

A folder holds `camera.yaml` (ROS camera-info YAML, with `units_per_metre` if depth is not in millimetres) and per frame
`NNNNNN.color.png` (or `.jpg`), `NNNNNN.depth.png` (16 bits, 0 invalid) and optionally `NNNNNN.truth.json` and
`NNNNNN.pose.json`. A folder with poses is a tour; `map.truth.json` may hold the true objects of its map.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.atomic_write import write_bytes, write_text
from n3d_core.errors import DAMAGED, CameraError, DepthError, ImageError, reading
from n3d_core.geometry.boxes import Box3D, Vector
from n3d_core.geometry.camera_file import read_pinhole
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.image_file import decode_image, read_bytes, read_color
from n3d_core.geometry.transforms import CameraPose

_SMALLEST_PNG, _SMALL_JPEG = (cv2.IMWRITE_PNG_COMPRESSION, 9), (cv2.IMWRITE_JPEG_QUALITY, 85)
_PICTURES = (".color.png", ".color.jpg", ".color.jpeg")
MAP_TRUTH = "map.truth.json"
MAX_NUMBER = 1e9  # in truth files; no length, pixel or count is larger


@dataclass(frozen=True)
class TrueObject:
    """One object of a scene: its amodal box, its description, and its visible share."""

    box: Box3D
    cls: str
    color: str
    visible: float


@dataclass(frozen=True)
class Truth:
    """A frame's ground truth. `groundings` and `questions` stay in the file's form (see docs/frame-folder.md)."""

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
    def from_json(cls, data: Any) -> Truth:
        """Reads the form of `NNNNNN.truth.json`.

        Raises:
            ValueError: if an entry has another form; the message names it.
        """
        _check(isinstance(data, dict) and isinstance(data.get("objects"), list), "objects", data, "a list of objects")
        objects = [_true_object(o, f"objects[{i}]") for i, o in enumerate(data["objects"])]
        asked: dict[str, list[dict[str, Any]]] = {}
        for key in ("groundings", "questions"):
            entries = data.get(key) or []
            _check(isinstance(entries, list), key, entries, "a list")
            for i, entry in enumerate(entries):
                _check_asked(entry, len(objects), f"{key}[{i}]")
            asked[key] = list(entries)
        for i, entry in enumerate(asked["questions"]):
            _check_text(entry.get("type"), f"questions[{i}].type")
            _check_answer(entry.get("answer"), f"questions[{i}].answer")
        return cls(objects, **asked)


@dataclass(frozen=True)
class MapObject:
    """An object of a tour, for as long as it stood in one place.

    Attributes:
        id: stays with an object that is moved.
        center: in the map (z up, metres).
        size: full extents (length, width, height) along its own level axes and up.
        yaw: radians about z, of the length axis.
        since, until: seconds, by the stamps of the poses.
    """

    id: str
    label: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    since: float
    until: float

    def to_json(self) -> dict[str, Any]:
        """An entry of `map.truth.json`."""
        entry = {"id": self.id, "label": self.label, "center": self.center, "size": self.size, "yaw": self.yaw}
        return {**entry, "from": self.since, "to": self.until}

    @classmethod
    def from_json(cls, entry: Any) -> MapObject:
        """Reads an entry of `map.truth.json`.

        Raises:
            ValueError: if it has another form; the message names what is wrong.
        """
        _check(isinstance(entry, dict), "objects", entry, "a list of objects")
        _check_text(entry.get("label"), "label")
        center, size = (_vector(entry.get(key), key) for key in ("center", "size"))
        for key in ("yaw", "from", "to"):
            _check(_is_number(entry.get(key)), key, entry.get(key), "a finite number")
        return cls(str(entry.get("id", "")), entry["label"], center, size, entry["yaw"], entry["from"], entry["to"])


class FrameFolder:
    """Reads a frame folder; frames are numbered in the order of their file names.

    Raises:
        ImageError: if the folder holds no frame, or a file is missing or damaged.
        CameraError: if `camera.yaml` is missing or invalid.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pictures = {p.name.removesuffix(e): p for e in _PICTURES[::-1] for p in self.path.glob(f"*{e}")}
        self.names = sorted(self._pictures)
        if not self.names:
            raise ImageError(f"{self.path}: no frame found; expected files named 000000.color.png, 000000.depth.png")
        found = read_pinhole(self.path / "camera.yaml")
        self.camera, self.unit_is_given = found.camera, found.units_per_metre > 0
        self.units_per_metre = found.units_per_metre or 1000.0

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, index: int) -> Frame:
        """The frame at `index` (0-based)."""
        name = self.names[index]
        color = read_color(self._pictures[name])
        raw = read_depth_png(self.path / f"{name}.depth.png")
        metres = (raw / self.units_per_metre).astype(np.float32)
        metres[(raw == 0) | (raw == np.iinfo(np.uint16).max)] = np.nan
        stamp_ns = 0 if (pose := self.pose(index)) is None else pose.stamp_ns
        with reading(self.path / name, "a frame", ImageError):
            return Frame(color, metres, self.camera, stamp_ns)

    def pose(self, index: int) -> CameraPose | None:
        """The camera's pose at `index`; None if there is no pose file."""
        path = self.path / f"{self.names[index]}.pose.json"
        if not path.exists():
            return None
        advice = ': expected {"stamp": seconds, "camera_to_map": [[4x4]]}'
        with reading(path, "a pose", ImageError, advice, (*DAMAGED, CameraError)):
            data = json.loads(path.read_text())
            return CameraPose(round(float(data["stamp"]) * 1e9), np.asarray(data["camera_to_map"], dtype=np.float64))

    def map_objects(self) -> list[MapObject]:
        """The true objects of a tour's map; empty if there is no `map.truth.json`."""
        path = self.path / MAP_TRUTH
        with reading(path, "the truth of a map", ImageError, "; see docs/frame-folder.md"):
            return [MapObject.from_json(o) for o in json.loads(path.read_text())["objects"]] if path.exists() else []

    def truth(self, index: int) -> Truth | None:
        """The truth of the frame at `index`; None if there is no truth file."""
        path = self.path / f"{self.names[index]}.truth.json"
        if not path.exists():
            return None
        with reading(path, "a truth file", ImageError, "; see docs/frame-folder.md"):
            return Truth.from_json(json.loads(path.read_text()))


def write_map_objects(folder: str | Path, objects: Sequence[MapObject]) -> None:
    """Writes the true objects of a tour's map."""
    write_text(Path(folder) / MAP_TRUTH, json.dumps({"objects": [one.to_json() for one in objects]}, indent=1))


def write_frame(
    folder: str | Path,
    index: int,
    frame: Frame,
    truth: Truth | None = None,
    pose: CameraPose | None = None,
    compact: bool = False,
) -> None:
    """Writes one frame (and `camera.yaml` if it is missing) to a frame folder; each file whole or not at all.

    `compact` writes colour as JPEG and compresses depth as far as PNG can.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "camera.yaml").exists():
        frame.camera.to_yaml(root / "camera.yaml")
    millimetres = np.clip(np.nan_to_num(frame.depth * 1000, nan=0.0), 0, 65535).round().astype(np.uint16)
    _write_image(root / f"{index:06d}.depth.png", millimetres, *(_SMALLEST_PNG if compact else ()))
    if truth is not None:
        write_text(root / f"{index:06d}.truth.json", json.dumps(truth.to_json(), indent=1))
    if pose is not None:
        record = {"stamp": pose.stamp_ns / 1e9, "camera_to_map": pose.camera_to_map.tolist()}
        write_text(root / f"{index:06d}.pose.json", json.dumps(record))
    color, name = cv2.cvtColor(frame.color, cv2.COLOR_RGB2BGR), f"{index:06d}.color"
    if compact:
        _write_image(root / f"{name}.jpg", color, *_SMALL_JPEG)
    else:
        _write_image(root / f"{name}.png", color)


def read_depth_png(path: str | Path) -> NDArray[np.uint16]:
    """Reads a 16-bit single-channel PNG [H, W].

    Raises:
        ImageError: if it cannot be read.
        DepthError: if it has another type.
    """
    image = decode_image(read_bytes(path), str(path))
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DepthError(f"{path}: must be a 16-bit single-channel PNG; got {image.dtype} {list(image.shape)}")
    return np.asarray(image, dtype=np.uint16)


def _true_object(entry: Any, where: str) -> TrueObject:
    _check(isinstance(entry, dict), where, entry, "an object")
    label, cls, color = (entry.get(key) for key in ("label", "class", "color"))
    for key, text in (("label", label), ("class", label if cls is None else cls)):
        _check_text(text, f"{where}.{key}")
    _check(color is None or isinstance(color, str), f"{where}.color", color, "a text")
    center, size = (_vector(entry.get(key), f"{where}.{key}") for key in ("center", "size"))
    _check(min(size) >= 0, f"{where}.size", entry["size"], "three lengths of at least 0")
    visible = entry.get("visible", 1.0)
    _check(_is_number(visible) and 0 <= visible <= 1, f"{where}.visible", visible, "a share from 0 to 1")
    return TrueObject(Box3D(label, center, size), cls or label, color or "", float(visible))


def _vector(value: Any, where: str) -> Vector:
    right = isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))
    _check(right, where, value, "three finite numbers in metres")
    x, y, z = (float(v) for v in value)
    return x, y, z


def _check_asked(entry: Any, objects: int, where: str) -> None:
    """Checks what groundings and questions share: a text, and indices of objects."""
    _check(isinstance(entry, dict), where, entry, "an object")
    _check_text(entry.get("text"), f"{where}.text")
    places = entry.get("objects")
    right = isinstance(places, list) and all(type(p) is int and 0 <= p < objects for p in places)
    _check(right, f"{where}.objects", places, f"a list of indices into the {objects} objects")
    for key in ("kind", "form", "unit"):
        value = entry.get(key)
        _check(value is None or isinstance(value, str), f"{where}.{key}", value, "a text")
    for mark in [entry["mark"]] if "mark" in entry else entry.get("marks") or []:
        rect = mark.get("rect") if isinstance(mark, dict) else None
        right = isinstance(rect, list) and len(rect) == 4 and all(map(_is_number, rect))
        _check(
            right and isinstance(mark.get("color"), str), f"{where}: mark", mark, "a color and a rect of four numbers"
        )


def _check_answer(answer: Any, where: str) -> None:
    right = isinstance(answer, bool | str) or _is_number(answer)
    right = right or (isinstance(answer, list) and len(answer) > 0 and all(isinstance(a, str) for a in answer))
    _check(right, where, answer, "a number, true or false, a word, or a list of words")


def _check_text(value: Any, where: str) -> None:
    right = isinstance(value, str) and value.strip() != "" and value.isprintable()
    _check(right, where, value, "a text of one line")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER  # not so for NaN


def _check(right: bool, where: str, value: Any, wanted: str) -> None:
    if not right:
        raise ValueError(f"{where} is {json.dumps(value)[:80]}: expected {wanted}")


def _write_image(path: Path, image: NDArray[Any], *options: int) -> None:
    ok, data = cv2.imencode(path.suffix, image, options)
    if not ok:
        raise ImageError(f"{path}: an image of {image.dtype} {list(image.shape)} cannot be written as {path.suffix}")
    write_bytes(path, data.tobytes())
