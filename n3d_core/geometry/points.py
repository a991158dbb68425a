"""Point clouds: in the model's frame, normalised; and as another camera sees them, which registers depth to colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError
from n3d_core.geometry.camera import Camera

_SUM_CHUNK = 8192


@dataclass(frozen=True)
class Normalisation:
    """A cloud's normalisation, `p_n = (p - shift) * scale` in the model's frame.

    Attributes:
        shift: smallest coordinate of the valid points along each axis, metres.
        scale: one over the mean distance of the shifted valid points from the origin, 1/metres.
    """

    shift: tuple[float, float, float]
    scale: float

    @property
    def min_z(self) -> float:
        """Metres from the camera to the nearest valid point."""
        return self.shift[2]


def to_model_frame(points: NDArray[np.float32], in_place: bool = False) -> NDArray[np.float32]:
    """Optical-frame points (x right, y down) [..., 3] -> the model's frame (x left, y up), and back.

    Args:
        in_place: whether the points may be overwritten.
    """
    return np.multiply(points, np.array([-1, -1, 1], dtype=np.float32), out=points if in_place else None)


def normalise(
    points: NDArray[np.float32], valid: NDArray[np.bool_], in_place: bool = False
) -> tuple[NDArray[np.float32], Normalisation]:
    """Normalises model-frame points [H, W, 3]; only valid pixels [H, W] count.

    Args:
        in_place: whether the points may be overwritten, which saves the time to allocate others.

    Returns:
        The normalised points [H, W, 3] float32 (invalid ones included), and the normalisation.

    Raises:
        DepthError: if no point is valid, or all valid points coincide.
    """
    if not valid.any():
        raise DepthError("no valid point to normalise: the depth image holds no measurement")
    planes = np.moveaxis(points, -1, 0)
    counted = valid.view(np.uint8)
    x, y, z = (cv2.minMaxLoc(plane, counted)[0] for plane in planes)
    with np.errstate(invalid="ignore", over="ignore"):  # invalid pixels may be NaN or infinite
        lowest = np.array([x, y, z], dtype=np.float32)[:, None, None]
        centred = np.subtract(planes, lowest, out=planes if in_place else None)
        distances, square = centred[0] * centred[0], centred[1] * centred[1]
        distances += square
        distances += np.multiply(centred[2], centred[2], out=square)
        mean = _mean(np.sqrt(distances, out=distances)[valid])
        if not mean > 0:
            raise DepthError("all valid points coincide: check the sensor and the depth unit")
        scale = 1.0 / mean
        centred *= np.float32(scale)
    return np.moveaxis(centred, 0, -1), Normalisation((x, y, z), scale)


def _mean(values: NDArray[np.float32]) -> float:
    """Mean of fp32 values summed as in numpy 1.26: the released boxes' last digits depend on it."""
    total = np.float32(0)
    for start in range(0, len(values), _SUM_CHUNK):
        total = np.float32(total + np.add.reduce(values[start : start + _SUM_CHUNK]))
    return float(np.float32(float(total) / len(values)))


def register_depth(
    depth: NDArray[np.float32],
    depth_camera: Camera,
    color_camera: Camera,
    rotation: NDArray[Any] | None = None,
    translation: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """The depth image [Hc, Wc] as seen by the colour camera; metres, NaN where nothing is seen.

    Args:
        depth: metres [Hd, Wd] along the depth camera's z axis, NaN for invalid.
        depth_camera, color_camera: intrinsics of the two rectified images.
        rotation, translation: take a point of the depth camera's optical frame to the colour camera's
            (`p_color = rotation @ p_depth + translation`); both None if the two frames are the same.

    Raises:
        DepthError: if the depth image does not have `depth_camera`'s size, or nothing of it is in colour's view.
    """
    if depth.shape != (depth_camera.height, depth_camera.width):
        raise DepthError(
            f"depth image is {depth.shape[1]}x{depth.shape[0]} but its camera info is for "
            f"{depth_camera.width}x{depth_camera.height}: they must match"
        )
    if rotation is None or translation is None:
        seen = _look_up(depth, depth_camera, color_camera)
    else:
        seen = _splat(depth, depth_camera, color_camera, np.asarray(rotation), np.asarray(translation))
    if np.isfinite(depth).any() and not np.isfinite(seen).any():
        raise DepthError(
            "none of the measured depth lies in the colour camera's view: check both intrinsics, and the transform "
            "from depth to colour (in metres)"
        )
    return seen


def _look_up(depth: NDArray[np.float32], depth_camera: Camera, color_camera: Camera) -> NDArray[np.float32]:
    """Same optical centre: each colour pixel's ray meets one depth pixel; the nearest is used, without averaging."""
    rays = color_camera.rays().astype(np.float64)
    u = np.rint(rays[..., 0] * depth_camera.fx + depth_camera.cx)
    v = np.rint(rays[..., 1] * depth_camera.fy + depth_camera.cy)
    # checked before the cast: converting infinity to an integer depends on the processor
    inside = (u >= 0) & (u < depth_camera.width) & (v >= 0) & (v < depth_camera.height)
    out = np.full(u.shape, np.nan, np.float32)
    out[inside] = depth[v[inside].astype(np.int64), u[inside].astype(np.int64)]
    return out


def _splat(
    depth: NDArray[np.float32],
    depth_camera: Camera,
    color_camera: Camera,
    rotation: NDArray[Any],
    translation: NDArray[Any],
) -> NDArray[np.float32]:
    """Different optical centres: each depth pixel is drawn as a square of its size in colour, nearest on top."""
    points = depth_camera.back_project(depth).reshape(-1, 3).astype(np.float64)
    points = points[np.isfinite(points[:, 2])] @ rotation.T + translation
    points = points[points[:, 2] > 0]
    points = points[np.argsort(-points[:, 2], kind="stable")]  # far first, so that the nearest write to a pixel wins
    corner = np.floor(color_camera.project(points) - _half(depth_camera, color_camera) + 0.5)
    corner = np.where(np.abs(corner) < 1e9, corner, -1e9).astype(np.int64)
    side = round(2 * _half(depth_camera, color_camera) + 1)
    offsets = np.array([(dv, du) for dv in range(side) for du in range(side)])
    v = (corner[:, None, 1] + offsets[:, 0]).reshape(-1)
    u = (corner[:, None, 0] + offsets[:, 1]).reshape(-1)
    z = np.repeat(points[:, 2].astype(np.float32), len(offsets))
    inside = (u >= 0) & (u < color_camera.width) & (v >= 0) & (v < color_camera.height)
    out = np.full((color_camera.height, color_camera.width), np.nan, np.float32)
    out[v[inside], u[inside]] = z[inside]
    return out


def _half(depth_camera: Camera, color_camera: Camera) -> float:
    """Half the extra side, in colour pixels, of the square that one depth pixel covers (0 if it covers one pixel)."""
    ratio = max(color_camera.fx / depth_camera.fx, color_camera.fy / depth_camera.fy)
    return (min(max(math.ceil(ratio), 1), 16) - 1) / 2
