"""Boxes drawn on images: the projected edges of each box, its label and its size."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.oriented_box import OrientedBox

# Pairs of corners (numbered by the bits x y z, as `corners` does) that differ along one axis only.
EDGES: tuple[tuple[int, int], ...] = tuple(
    (a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1
)
_NEAR = 0.01  # metres; edges are cut here, before they pass the camera's centre


def class_color(label: str) -> tuple[float, float, float]:
    """R, G, B in 0..1, the same for a label in every process and picture."""
    return colorsys.hsv_to_rgb(zlib.crc32(label.encode()) % 360 / 360, 0.85, 1.0)


def caption(box: Box3D | OrientedBox) -> str:
    """What is written at a box: its label, its score and its extents in centimetres."""
    return f"{box.label} {box.score:.2f}  " + " x ".join(f"{100 * side:.0f}" for side in box.size) + " cm"


def draw_boxes(color: NDArray[np.uint8], camera: Camera, boxes: Sequence[Box3D | OrientedBox]) -> NDArray[np.uint8]:
    """A copy of an RGB image [H, W, 3] with the boxes (in the camera's optical frame) drawn on it, far ones first."""
    canvas = np.ascontiguousarray(color).copy()
    width = max(1, round(max(canvas.shape[:2]) / 400))
    for box in sorted(boxes, key=lambda one: -one.center[2]):
        paint = tuple(round(255 * part) for part in class_color(box.label))
        corners = box.corners()
        for a, b in EDGES:
            ends = _visible(corners[a], corners[b])
            if ends is not None:
                (u0, v0), (u1, v1) = np.clip(camera.project(ends), -30000, 30000).round().astype(int)
                cv2.line(canvas, (int(u0), int(v0)), (int(u1), int(v1)), paint, width, cv2.LINE_AA)
        _write(canvas, camera, corners, caption(box), paint)
    return canvas


def _visible(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The part [2, 3] of the segment a-b that is before the camera; None if there is none."""
    if a[2] < _NEAR and b[2] < _NEAR:
        return None
    if a[2] < _NEAR:
        a = b + (a - b) * (b[2] - _NEAR) / (b[2] - a[2])
    elif b[2] < _NEAR:
        b = a + (b - a) * (a[2] - _NEAR) / (a[2] - b[2])
    return np.stack([a, b])


def _write(
    canvas: NDArray[np.uint8], camera: Camera, corners: NDArray[np.float64], text: str, paint: tuple[int, ...]
) -> None:
    pixels = camera.project(corners[corners[:, 2] > _NEAR])
    if len(pixels) == 0:
        return
    scale = max(canvas.shape[:2]) / 1400
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = int(np.clip(pixels[:, 0].min(), 0, max(canvas.shape[1] - w, 0)))
    bottom = int(np.clip(pixels[:, 1].min() - base, h + base, canvas.shape[0] - 1))
    cv2.rectangle(canvas, (left, bottom - h - base), (left + w, bottom + base), (0, 0, 0), cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, paint, 1, cv2.LINE_AA)
