"""Registers depth to the colour camera with the true intrinsics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import DepthError
from n3d_core.geometry.camera import Camera


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
