"""Completes the visible surface of an object to the whole object, which stands on a plane and is symmetric.

One view shows only the near side. There are three steps, each checked against the measured depth:

1. **Support.** The plane that the object stands on is fitted by RANSAC to the pixels around it, and gives the vertical
   direction and the height of the bottom. Without one, the vertical is the given gravity or the image's, and the bottom
   is the lowest visible point.
2. **Symmetry.** Household objects look the same after half a turn about a vertical axis. The axis is on the line of
   sight through the middle of the object; it is the nearest one for which the rotated points are not in free space,
   that is, in front of the measured depth at their pixels.
3. **Box.** The hull of the visible points, the rotated ones, and the visible points mirrored through the centre (for
   the underside), without points in free space or below the support.

If symmetry gives no depth (a front seen head-on), the box keeps the visible depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Camera
from training.entry.yaml_file import Strict
from training.lift.object_mask import ObjectMask

Floats = NDArray[np.float64]
IMAGE_UP = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class CompletionConfig(Strict):
    """Settings of the completion.

    Attributes:
        ring: width of the surroundings searched for the support, as a share of the object's size in the image.
        plane_tolerance: maximum distance of a plane's points from it, as a share of the object's size.
        max_tilt_degrees: maximum angle between a support's normal and the vertical, which excludes walls.
        sample: number of an object's points used to find its axis.
        steps: number of axis positions to try.
        free_space: maximum distance of a point in front of the measured surface, as a share of the object's size.
        max_contradicted: maximum share of rotated points in free space for an accepted axis.
    """

    ring: float = 0.35
    plane_tolerance: float = 0.04
    max_tilt_degrees: float = 65.0
    sample: int = 120
    steps: int = 12
    free_space: float = 0.03
    max_contradicted: float = 0.03


@dataclass(frozen=True)
class Support:
    """A plane `normal . p = offset` with the normal pointing away from the ground, and whether it was measured."""

    normal: Floats
    offset: float
    measured: bool


def find_support(
    points: Floats,
    mask: ObjectMask,
    depth: NDArray[np.float32],
    taken: NDArray[np.bool_],
    camera: Camera,
    down: Floats,
    config: CompletionConfig,
) -> Support:
    """The plane that carries the object with `points` [n, 3].

    Args:
        points: a sample of the cleaned points of the object.
        mask: its pixels.
        depth: metres [H, W], NaN for invalid.
        taken: pixels [H, W] of any object, which cannot be support.
        camera: intrinsics of `depth`.
        down: unit vector [3] of gravity in the optical frame, or the image's own down.
    """
    size = float(np.linalg.norm(np.ptp(points, axis=0)))
    around = surroundings(mask, depth, taken, camera, config.ring)
    if len(around) >= 12:
        plane = ransac_plane(around, config.plane_tolerance * size, -down, config.max_tilt_degrees, points)
        if plane is not None:
            return Support(plane[0], plane[1], True)
    up = -down
    return Support(up, float((points @ up).min()), False)


def complete(
    some: Floats,
    low: Floats,
    high: Floats,
    support: Support,
    depth: NDArray[np.float32],
    camera: Camera,
    config: CompletionConfig,
) -> tuple[Floats, Floats]:
    """Lowest and highest corner [3], [3] of the whole object in the optical frame.

    Args:
        some: a sample of its visible points [n, 3].
        low, high: corners [3] of the box of all its visible points.
        support: the plane it stands on.
        depth: metres [H, W], NaN for invalid.
        camera: intrinsics of `depth`.
        config: settings.
    """
    tolerance = config.free_space * float(np.linalg.norm(high - low))
    up = support.normal
    height = some @ up - support.offset
    axis = _find_axis(some, height, support, depth, camera, config, tolerance)
    if axis is None:
        return low, high
    flat = some - height[:, None] * up
    turned = 2 * axis - flat + height[:, None] * up
    mirrored = turned + (height.max() - 2 * height)[:, None] * up
    hidden = np.concatenate([turned, mirrored])
    hidden = hidden[_allowed(hidden, depth, camera, tolerance) & (hidden @ up - support.offset > -tolerance)]
    if len(hidden) == 0:
        return low, high
    return np.minimum(low, hidden.min(0)), np.maximum(high, hidden.max(0))


def _find_axis(
    some: Floats,
    height: Floats,
    support: Support,
    depth: NDArray[np.float32],
    camera: Camera,
    config: CompletionConfig,
    tolerance: float,
) -> Floats | None:
    """Foot [3] of the nearest vertical axis for which half a turn puts no point in free space."""
    up = support.normal
    flat = some - height[:, None] * up
    eye = up * support.offset
    away = flat.mean(0) - eye
    reach = float(np.linalg.norm(away))
    if reach < 1e-6:
        return None
    away /= reach
    side = np.array(
        [up[1] * away[2] - up[2] * away[1], up[2] * away[0] - up[0] * away[2], up[0] * away[1] - up[1] * away[0]]
    )
    far, across = (flat - eye) @ away, (flat - eye) @ side
    slope = across / np.maximum(far, 1e-6)
    middle = away + side * (slope.min() + slope.max()) / 2
    width = float(np.ptp(across))
    seen = (float(far.min()), float(far.max()))
    start = (seen[0] + seen[1]) / 2
    stop = max(start, seen[0] + width)
    trial = np.linspace(start, stop, config.steps)
    feet = eye + trial[:, None] * middle
    turned = 2 * feet[:, None] - flat[None] + (height[:, None] * up)[None]
    free = ~_allowed(turned.reshape(-1, 3), depth, camera, tolerance).reshape(len(trial), -1)
    share = free.mean(1)
    good = np.flatnonzero(share <= max(config.max_contradicted, float(share.min()) + 0.01))
    return np.asarray(feet[good[0]])


def _allowed(points: Floats, depth: NDArray[np.float32], camera: Camera, tolerance: float) -> NDArray[np.bool_]:
    """Whether each point [n, 3] is possible, that is, not in front of the measured depth at its pixel."""
    z = np.maximum(points[:, 2], 1e-6)
    u = np.rint(points[:, 0] / z * camera.fx + camera.cx).astype(np.int64)
    v = np.rint(points[:, 1] / z * camera.fy + camera.cy).astype(np.int64)
    inside = (u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height) & (points[:, 2] > 0)
    seen = depth[np.where(inside, v, 0), np.where(inside, u, 0)]
    return np.asarray(~(inside & (points[:, 2] < seen - tolerance)))


def surroundings(
    mask: ObjectMask, depth: NDArray[np.float32], taken: NDArray[np.bool_], camera: Camera, ring: float
) -> Floats:
    """About 250 points [n, 3] around the object that belong to no object, on a regular pixel grid."""
    margin = int(np.ceil(ring * max(mask.pixels.shape))) + 4
    left, right = max(mask.left - margin, 0), min(mask.right + margin, camera.width)
    top, bottom = max(mask.top - margin // 2, 0), min(mask.bottom + margin, camera.height)
    step = max(1, int(np.sqrt((right - left) * (bottom - top) / 400)))
    z = depth[top:bottom:step, left:right:step]
    v, u = np.nonzero((z > 0) & ~taken[top:bottom:step, left:right:step])
    z = z[v, u].astype(np.float64)
    u, v = u * step + left, v * step + top
    return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)


def ransac_plane(
    around: Floats, tolerance: float, up: Floats = IMAGE_UP, max_tilt: float = 65.0, points: Floats | None = None
) -> tuple[Floats, float] | None:
    """The plane `normal . p = offset` with the most inliers among points [n, 3]; None if no plane has enough.

    Args:
        around: points to fit.
        tolerance: maximum distance of an inlier in metres.
        up: approximate direction of the normal, within `max_tilt` degrees.
        max_tilt: see `up`.
        points: points of an object that must stand on the plane, if given.
    """
    rng = np.random.default_rng(len(around))
    corner = around[rng.integers(0, len(around), size=(32, 3))]
    a, b = (corner[:, 1] - corner[:, 0]).T, (corner[:, 2] - corner[:, 0]).T
    normal = np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=1)
    length = np.linalg.norm(normal, axis=1)
    normal = normal[length > 1e-9] / length[length > 1e-9, None]
    corner = corner[length > 1e-9]
    normal *= np.where(normal @ up < 0, -1.0, 1.0)[:, None]
    offset = np.einsum("ij,ij->i", normal, corner[:, 0])
    fits = normal @ up > np.cos(np.radians(max_tilt))
    if points is not None:
        fits &= _stands_on(points, normal, offset, tolerance)
    votes = np.count_nonzero(np.abs(normal @ around.T - offset[:, None]) < tolerance, axis=1) * fits
    if not len(votes) or votes.max() < max(8, 0.15 * len(around)):
        return None
    best = int(np.argmax(votes))
    inliers = around[np.abs(around @ normal[best] - offset[best]) < tolerance]
    return _least_squares(inliers, up)


def _stands_on(points: Floats, normal: Floats, offset: Floats, tolerance: float) -> NDArray[np.bool_]:
    """For each plane [m, 3], [m]: whether the object's points are above it and reach down to it."""
    above = normal @ points[:: max(1, len(points) // 64)].T - offset[:, None]
    above = np.partition(above, above.shape[1] // 50, axis=1)
    base, top = above[:, above.shape[1] // 50], above.max(1)
    near = base < 0.5 * (top - base) + 4 * tolerance
    standing = np.count_nonzero(above > -2 * tolerance, axis=1) > 0.95 * above.shape[1]
    return np.asarray(near & standing)


def _least_squares(points: Floats, up: Floats) -> tuple[Floats, float]:
    center = points.mean(0)
    normal = np.linalg.eigh(np.cov((points - center).T))[1][:, 0]
    if normal @ up < 0:
        normal = -normal
    return normal, float(normal @ center)
