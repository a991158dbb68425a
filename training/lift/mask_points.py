"""Converts the pixels of a mask to points, without those that float between two surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Camera
from training.lift.cleaning import CleanConfig
from training.lift.object_mask import ObjectMask
from training.lift.rules import RulesConfig


@dataclass(frozen=True)
class MaskPoints:
    """The points of a mask.

    Attributes:
        points: rows x, y, z [3, n] in metres, optical frame.
        edge: voxel edge that suits the object, in metres.
        depth_share: share of the mask's pixels with depth, 0..1.
    """

    points: NDArray[np.float64]
    edge: float
    depth_share: float


def mask_points(
    mask: ObjectMask, depth: NDArray[np.float32], camera: Camera, clean: CleanConfig, rules: RulesConfig
) -> MaskPoints | str:
    """The points of a non-empty mask, or the rule (in `rules.REASONS`) that rejects it for having too few.

    Args:
        mask: pixels of the object.
        depth: metres [H, W], NaN (or not positive) for invalid.
        camera: intrinsics of `depth`.
        clean, rules: settings.
    """
    rim = clean.erode_pixels
    left, top = max(mask.left - rim, 0), max(mask.top - rim, 0)
    right, bottom = min(mask.right + rim, camera.width), min(mask.bottom + rim, camera.height)
    z = depth[top:bottom, left:right]
    own = np.zeros(z.shape, np.uint8)
    own[mask.top - top : mask.bottom - top, mask.left - left : mask.right - left] = mask.pixels
    use = (own > 0) & (z > 0)
    count = int(np.count_nonzero(use))
    depth_share = count / mask.area
    if depth_share < rules.min_depth_share:
        return "depth_invalid"
    if count < max(rules.min_points, 1):
        return "few_points"
    middle = float(np.median(z[use]))
    size = float(np.hypot(*mask.pixels.shape)) * middle / camera.fx
    if rim:
        use &= ~_hanging(z, own, rim, clean.edge_jump * size)
    z = _smooth(z, use, clean.smooth_from * size)
    v, u = np.nonzero(use)
    at = z[v, u].astype(np.float64)
    if len(at) < max(rules.min_points, 1):
        return "few_points"
    points = np.stack([(u + (left - camera.cx)) * at / camera.fx, (v + (top - camera.cy)) * at / camera.fy, at])
    return MaskPoints(points, max(size / clean.voxels_across, clean.noise * middle**2), depth_share)


def _hanging(z: NDArray[np.float32], own: NDArray[np.uint8], rim: int, jump: float) -> NDArray[np.bool_]:
    """Pixels of the mask's rim with a depth between a near and a far surface, which the sensor mixed."""
    core = cv2.erode(own, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    known = z > 0
    near = cv2.erode(np.where(known, z, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    far = cv2.dilate(np.where(known, z, np.float32(0)), np.ones((3, 3), np.uint8))
    return np.asarray((core == 0) & (far - z > jump) & (z - near > jump))


def _smooth(z: NDArray[np.float32], use: NDArray[np.bool_], least: float) -> NDArray[np.float32]:
    """Depth averaged over the object's pixels in 3x3 windows, if its noise (a robust deviation) exceeds `least` metres.

    Pixels more than six deviations from their mean are on an edge and stay.
    """
    if not use.any():
        return z
    weight = use.astype(np.float32)
    own = np.where(use, z, np.float32(0))
    mean = cv2.blur(own, (3, 3)) / np.maximum(cv2.blur(weight, (3, 3)), np.float32(1e-6))
    gap = np.abs(mean - own)
    noise = 1.4826 * float(np.median(gap[use]))
    return np.where(use & (gap < 6 * noise), mean, z) if noise > least else z
