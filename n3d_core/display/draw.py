"""Boxes drawn on images (edges, label, score and size), and the shape that RViz's markers give them."""

from __future__ import annotations

import colorsys
import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from n3d_core.atomic_write import write_bytes
from n3d_core.errors import ImageError
from n3d_core.geometry.boxes import CORNERS, Box3D, OrientedBox
from n3d_core.geometry.camera import Camera

Paint = tuple[int, int, int]
AnyBox = Box3D | OrientedBox

# Pairs of `CORNERS` that differ along one axis only.
EDGES: tuple[tuple[int, int], ...] = tuple(
    (a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1
)
_NEAR = 0.01  # metres; edges are cut this far in front of the camera's centre
_HIDDEN = 0.45  # opacity of the edges behind the box
_PLATE = 0.82  # opacity of a label's background
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_LONGEST_LABEL = 32  # characters


@dataclass(frozen=True)
class _Style:
    """Line width and text size in pixels for an image."""

    line: int
    text: int

    @classmethod
    def of(cls, height: int, width: int) -> _Style:
        side = max(height, width)
        return cls(max(1, round(side / 420)), max(10, round(side / 48)))


def class_color(label: str) -> tuple[float, float, float]:
    """The colour of a label, R, G, B in 0..1; the same in every process."""
    code = zlib.crc32(label.encode())
    return colorsys.hsv_to_rgb(code % 360 / 360, (0.95, 0.6)[code >> 16 & 1], (1.0, 0.8)[code >> 17 & 1])


def caption(box: AnyBox) -> str:
    """A box's text: label, score and extents (width x height x length) in metres."""
    return f"{_title(box)}  {_extents(box)}"


def draw_boxes(
    color: NDArray[np.uint8], camera: Camera, boxes: Sequence[AnyBox], *, truth: Sequence[AnyBox] | None = None
) -> NDArray[np.uint8]:
    """A copy of an RGB image [H, W, 3] with boxes of the camera's optical frame drawn on it.

    Near boxes are drawn over far ones, hidden edges faintly, and parts behind the camera not at all.

    Args:
        truth: true boxes, drawn as thin dashed white lines without labels.
    """
    canvas = np.ascontiguousarray(color).copy()
    style = _Style.of(*canvas.shape[:2])
    for box in truth or ():
        _draw_dashed(canvas, camera, box, style)
    placed: list[tuple[int, int, int, int]] = []
    far_first = sorted(boxes, key=lambda one: -one.center[2])
    for box in far_first:
        _draw_edges(canvas, camera, box, style)
    for box in reversed(far_first):  # labels of near boxes are placed first
        _draw_label(canvas, camera, box, style, placed)
    return canvas


def _draw_edges(canvas: NDArray[np.uint8], camera: Camera, box: AnyBox, style: _Style) -> None:
    paint = _paint(box.label)
    front, back = _segments(box, camera)
    faint = canvas.copy()
    _lines(faint, back, paint, style.line)
    cv2.addWeighted(faint, _HIDDEN, canvas, 1 - _HIDDEN, 0, dst=canvas)
    _lines(canvas, front, _BLACK, style.line + 1)
    _lines(canvas, front, paint, style.line)


def _draw_dashed(canvas: NDArray[np.uint8], camera: Camera, box: AnyBox, style: _Style) -> None:
    front, back = _segments(box, camera)
    dashes: list[NDArray[Any]] = []
    for ends in front + back:
        crosses, a, b = _inside(canvas, ends)
        if crosses:
            pieces = max(1, int(np.hypot(*np.subtract(b, a)) / (3 * style.line + 3)))
            stops = np.linspace(a, b, pieces + 1)
            dashes += [stops[i : i + 2] for i in range(0, pieces, 2)]
    _lines(canvas, dashes, _BLACK, 2)
    _lines(canvas, dashes, _WHITE, 1)


def _segments(box: AnyBox, camera: Camera) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Pixel segments [2, 2] of a box's edges: the visible ones, and those hidden by the box itself."""
    corners = box.corners()
    seen = _faces_seen(corners)
    front: list[NDArray[Any]] = []
    back: list[NDArray[Any]] = []
    for a, b in EDGES:
        ends = _in_front(corners[a], corners[b])
        if ends is not None:
            sides = [(axis, a >> (2 - axis) & 1) for axis in range(3) if not (a ^ b) >> (2 - axis) & 1]
            (front if any(seen[axis, side] for axis, side in sides) else back).append(camera.project(ends))
    return front, back


def _faces_seen(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which faces [axis, side] are turned to the camera at the origin; all if the camera is inside the box."""
    seen = np.zeros((3, 2), np.bool_)
    for axis in range(3):
        step = 4 >> axis
        outward = corners[step] - corners[0]
        for side, sign in ((0, -1), (1, 1)):
            face = corners[[i for i in range(8) if (i & step > 0) == side]].mean(axis=0)
            seen[axis, side] = sign * (outward @ face) < 0
    return seen if seen.any() else ~seen


def _in_front(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The part [2, 3] of the segment a-b in front of the camera; None if there is none."""
    if a[2] < _NEAR and b[2] < _NEAR:
        return None
    if a[2] < _NEAR:
        a = b + (a - b) * (b[2] - _NEAR) / (b[2] - a[2])
    elif b[2] < _NEAR:
        b = a + (b - a) * (a[2] - _NEAR) / (a[2] - b[2])
    return np.stack([a, b])


def _inside(canvas: NDArray[np.uint8], ends: NDArray[Any]) -> tuple[bool, Any, Any]:
    """Whether a segment crosses the image, and the ends of the part inside."""
    (u0, v0), (u1, v1) = np.clip(ends, -1e6, 1e6).round().astype(int).tolist()
    return cv2.clipLine((0, 0, canvas.shape[1], canvas.shape[0]), (u0, v0), (u1, v1))


def _lines(canvas: NDArray[np.uint8], segments: Sequence[NDArray[Any]], paint: Paint, width: int) -> None:
    if segments:
        points = (np.clip(np.stack(segments), -1e4, 1e4) * 16).round().astype(np.int32)  # in sixteenths of a pixel
        cv2.polylines(canvas, list(points), False, paint, width, cv2.LINE_AA, shift=4)


def _draw_label(
    canvas: NDArray[np.uint8],
    camera: Camera,
    box: AnyBox,
    style: _Style,
    placed: list[tuple[int, int, int, int]],
) -> None:
    """Writes label and size on a plate in the box's colour, where it overlaps other labels least."""
    front, back = _segments(box, camera)
    if not front and not back:
        return
    height, width = canvas.shape[:2]
    pixels = np.concatenate(front + back)
    left, top = np.clip(pixels.min(axis=0), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(pixels.max(axis=0), 0, (width, height)).astype(int).tolist()
    plate = _plate(_title(box), _extents(box), style.text, _paint(box.label))
    h, w = plate.shape[:2]
    wishes = [(left, top - h - 1), (right - w, top - h - 1), (left, bottom + 1), (right - w, bottom + 1)]
    wishes += [(left, top + 1), (right + 1, top), (left - w - 1, top), (left, top - 2 * h), (left, bottom + h)]
    spots = [(int(np.clip(x, 0, max(width - w, 0))), int(np.clip(y, 0, max(height - h, 0)))) for x, y in wishes]
    x, y = min(spots, key=lambda spot: _covered((*spot, w, h), placed))
    placed.append((x, y, w, h))
    under = canvas[y : y + h, x : x + w]
    plate = plate[: under.shape[0], : under.shape[1]]
    cv2.addWeighted(plate, _PLATE, under, 1 - _PLATE, 0, dst=under)


def _plate(title: str, detail: str, size: int, paint: Paint) -> NDArray[np.uint8]:
    """Two lines of text on a coloured plate, [h, w, 3]."""
    large, small = _font(size), _font(max(9, round(size * 0.8)))
    pad = max(2, size // 5)
    boxes = [font.getbbox(text) for font, text in ((large, title), (small, detail))]
    width = int(max(b[2] for b in boxes)) + 2 * pad
    rows = [int(font.getbbox("Åg")[3]) + 1 for font in (large, small)]
    image = Image.new("RGB", (width, sum(rows) + pad), paint)
    ink = _BLACK if np.dot(paint, (0.299, 0.587, 0.114)) > 110 else _WHITE
    pen = ImageDraw.Draw(image)
    pen.text((pad, pad // 2), title, fill=ink, font=large)
    pen.text((pad, pad // 2 + rows[0]), detail, fill=ink, font=small)
    return np.asarray(image)


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _covered(spot: tuple[int, int, int, int], placed: list[tuple[int, int, int, int]]) -> int:
    """Pixels of (x, y, w, h) that labels cover already."""
    x, y, w, h = spot
    return sum(max(0, min(x + w, a + c) - max(x, a)) * max(0, min(y + h, b + d) - max(y, b)) for a, b, c, d in placed)


def _title(box: AnyBox) -> str:
    label = box.label if len(box.label) <= _LONGEST_LABEL else box.label[: _LONGEST_LABEL - 1] + "…"
    return f"{label} {box.score:.2f}"


def _extents(box: AnyBox) -> str:
    return " x ".join(f"{side:.2f}" for side in box.size) + " m"


def _paint(label: str) -> Paint:
    red, green, blue = (round(255 * part) for part in class_color(label))
    return red, green, blue


def enlarged(color: NDArray[np.uint8], camera: Camera, longest: int) -> tuple[NDArray[np.uint8], Camera]:
    """A small image (and its camera) scaled by a whole number, to at least `longest` pixels on its longest side."""
    factor = -(-longest // max(color.shape[:2]))
    if factor <= 1:
        return color, camera
    width, height = camera.width * factor, camera.height * factor
    larger = cv2.resize(color, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(larger, dtype=np.uint8), camera.resized(width, height)


def save_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes an RGB image [H, W, 3] atomically, in the format of the file's suffix.

    Raises:
        ImageError: if the suffix is not an image format, or the file cannot be written.
    """
    try:
        ok, data = cv2.imencode(path.suffix or "?", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise ImageError(f"{path}: {path.suffix or 'no suffix'} is not an image format; use .png or .jpg") from error
    if not ok:
        raise ImageError(f"{path}: an image of {image.shape[1]}x{image.shape[0]} cannot be written as {path.suffix}")
    try:
        write_bytes(path, data.tobytes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror}") from error


Direction = tuple[float, float, float]
OPTICAL_UP: Direction = (0.0, -1.0, 0.0)
"""Up in optical frames (REP 103)."""
BODY_UP: Direction = (0.0, 0.0, 1.0)
"""Up in all other frames."""


@dataclass(frozen=True)
class Label:
    """A text that faces the viewer.

    Attributes:
        place: its middle, in the frame of the box.
        height: of a capital letter, metres.
        space: width of a space, metres; RViz reads it from `scale.x`, where 0 means that of a letter of 1 m.
    """

    text: str
    place: tuple[float, float, float]
    height: float
    space: float


def edge_points(box: AnyBox) -> list[list[float]]:
    """24 points [x, y, z], two for each edge, from the box's centre along its own axes."""
    corners = CORNERS * np.asarray(box.size)
    return [corner for edge in EDGES for corner in corners[list(edge)].tolist()]


def edge_width(box: AnyBox) -> float:
    """Width of the edges, metres."""
    return float(np.clip(min(box.size) * 0.04, 0.002, 0.02))


def label_of(box: AnyBox, up: Direction = OPTICAL_UP) -> Label:
    """Label, score and extents in two lines above the box."""
    above: NDArray[np.float64] = np.asarray(up)
    height = float(np.clip(max(box.size) * 0.15, 0.02, 0.2))
    top = float((box.corners() @ above).max() - np.asarray(box.center) @ above)
    x, y, z = (np.asarray(box.center) + (top + 1.5 * height) * above).tolist()  # two lines and half a line of gap
    title, _, extents = caption(box).rpartition("  ")
    return Label(f"{title}\n{extents}", (x, y, z), height, height / 2)
