"""One look at the scene as the memory takes it: what was found, from where, and what the depth says about the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import ObjectMapError
from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.camera import Camera

Array = NDArray[np.float64]

UNKNOWN_SIGMA_M = 0.15
"""Standard deviation of a centre whose covariance is missing."""
LEAST_SIGMA_M = 0.01
"""No look is trusted to be more exact than this."""
CLEAR = 0.5
"""Share of a place that must be visible for a look to find an object there."""
GLIMPSED = 0.2
"""Share of a place that must be visible for a look to see that it is empty: a solid object blocks every ray."""
SEEN_THROUGH = 0.5
"""Share of what is visible of a place that must be seen through for it to be empty."""
_WHOLLY = 0.9
_EYE = np.eye(3)
_UNKNOWN = tuple((_EYE * UNKNOWN_SIGMA_M**2).ravel().tolist())
_SOLID = 0.85  # share of a ray's way through a box within which a solid object's surface is met
# Where in a box the depth is compared, as shares of its size: boxes are a little larger than what is in them, and what
# an object stands on may reach into its lower part.
_SAMPLES = np.array([[x, y, z] for x in (-0.2, 0.0, 0.2) for y in (-0.2, 0.0, 0.2) for z in (-0.1, 0.1, 0.3)])
_INSIDE = 0.25  # share of it behind a point well inside of the box, by when the ray must have met the object
_LEAST_PIXELS = 2.5  # that an object's smaller extent must span for a look to tell whether it is there


@dataclass(frozen=True)
class Observation:
    """One object as one look saw it, in the map frame (z up, metres).

    Attributes:
        label: what it was called.
        center: [3].
        covariance: [3, 3] of the centre, m^2, without the pose's uncertainty.
        size: full extents (length, width, height) along the box's own level axes and up.
        yaw: radians about the map's z axis, of the length axis.
        score: probability that it exists, 0..1.
    """

    label: str
    center: Array
    covariance: Array
    size: Array
    yaw: float
    score: float


@dataclass(frozen=True)
class Pose:
    """Where the camera was.

    Attributes:
        rotation: [3, 3] from the optical frame to the map.
        translation: [3] metres.
        sigma_m, sigma_rad: standard deviations of its position along, and of its orientation about, each axis.

    Raises:
        ObjectMapError: if it is not a finite rigid transform.
    """

    rotation: Array
    translation: Array
    sigma_m: float = 0.0
    sigma_rad: float = 0.0

    def __post_init__(self) -> None:
        rest = (*self.translation.tolist(), self.sigma_m, self.sigma_rad)
        if not all(map(math.isfinite, rest)) or not abs(np.linalg.det(self.rotation) - 1) <= 1e-3:
            raise ObjectMapError(f"the camera's pose is not a rigid transform: rotation {self.rotation.tolist()}")

    @classmethod
    def of_matrix(
        cls, camera_to_map: Sequence[Sequence[float]] | Array, sigma_m: float = 0, sigma_rad: float = 0
    ) -> Pose:
        """From a [4, 4] matrix."""
        matrix = np.asarray(camera_to_map, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ObjectMapError(f"camera_to_map has shape {matrix.shape}; a 4x4 matrix is needed")
        return cls(matrix[:3, :3], matrix[:3, 3], sigma_m, sigma_rad)

    def covariance_at(self, point: Array) -> Array:
        """[3, 3]: what the pose's uncertainty does to a point [3] of the map."""
        spread: Array = _EYE * self.variance_at(point)
        return spread

    def variance_at(self, points: Array) -> Array:
        """[...]: what it does to points [..., 3] of the map, along each axis."""
        away = points - self.translation
        variance: Array = self.sigma_m**2 + self.sigma_rad**2 * np.einsum("...i,...i", away, away)
        return variance

    def apart(self, other: Pose) -> tuple[float, float]:
        """Metres and radians between two poses."""
        turn = self.rotation.T @ other.rotation
        angle = math.acos(float(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
        return float(np.linalg.norm(self.translation - other.translation)), angle


@dataclass(frozen=True)
class Look:
    """All that one look tells.

    Attributes:
        stamp: seconds.
        pose: of the camera.
        camera: its intrinsics.
        boxes: what was found, in the optical frame.
        asked: the labels that were looked for; None where everything was.
        depth: float32 [H, W], metres along the optical axis, NaN where unknown; None where it was not kept. Without it
            nothing is ever seen to be gone.
        source: name of the camera. Looks of one camera from one place depend on each other.

    Raises:
        ObjectMapError: if the stamp is not finite, or the depth is not of the camera's size.
    """

    stamp: float
    pose: Pose
    camera: Camera
    boxes: Sequence[OrientedBox]
    asked: tuple[str, ...] | None = None
    depth: NDArray[np.float32] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.stamp):
            raise ObjectMapError(f"the look's stamp must be a finite number of seconds; got {self.stamp}")
        if self.depth is not None and self.depth.shape != (self.camera.height, self.camera.width):
            raise ObjectMapError(
                f"the look's depth has shape {list(self.depth.shape)}; the camera's image needs "
                f"{[self.camera.height, self.camera.width]}"
            )

    def thinned(self, width: int) -> Look:
        """The same look without its boxes, its depth sampled down to at most `width` columns."""
        step = max(1, -(-self.camera.width // width))
        depth = None if self.depth is None else self.depth[::step, ::step].copy()
        c = self.camera
        shape = (c.width, c.height) if depth is None else (depth.shape[1], depth.shape[0])
        camera = Camera(shape[0], shape[1], c.fx / step, c.fy / step, c.cx / step, c.cy / step)
        return replace(self, camera=camera, boxes=(), depth=depth)

    def observations(self) -> list[Observation]:
        """What was found, in the map frame; boxes that are not finite are left out."""
        return [seen for seen in observed(self.boxes, self.pose) if seen is not None]


def observed(boxes: Sequence[OrientedBox], pose: Pose) -> list[Observation | None]:
    """Boxes of the optical frame as upright ones of the map; None in place of those that are not finite."""
    usable = (all(map(math.isfinite, (*box.center, *box.size, box.score))) and min(box.size) > 0 for box in boxes)
    return [_upright(box, pose) if good else None for box, good in zip(boxes, usable, strict=True)]


def _upright(box: OrientedBox, pose: Pose) -> Observation:
    """A box stands on its most vertical axis; its yaw is that of the axis across the image, in [-pi/2, pi/2)."""
    box = box if _is_covariance(box.covariance) else replace(box, covariance=_UNKNOWN)
    there = box.transformed(pose.rotation, pose.translation)
    axes, size = there.rotation, np.array(there.size, np.float64)
    up = int(np.abs(axes[2]).argmax())
    across, along = (axis for axis in range(3) if axis != up)
    yaw = (math.atan2(axes[1, across], axes[0, across]) + math.pi / 2) % math.pi - math.pi / 2
    spread = np.array(there.covariance).reshape(3, 3)
    covariance = (spread + spread.T) / 2 + _EYE * LEAST_SIGMA_M**2
    score = min(max(float(box.score), 0.0), 1.0)
    return Observation(box.label, np.array(there.center), covariance, size[[across, along, up]], yaw, score)


def _is_covariance(given: tuple[float, ...] | None) -> bool:
    if given is None or not all(map(math.isfinite, given)):
        return False
    matrix = np.array(given, np.float64).reshape(3, 3)
    return bool(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0] >= 0)


@dataclass(frozen=True)
class Visibility:
    """How much of the places of N objects a look saw, as shares [N] of the points sampled in each.

    Attributes:
        in_view: inside the image, in front of the camera.
        hidden: with a surface in front of the object.
        through: with a surface behind the object, or so deep in its box that a solid object cannot be there.
        pixels: that the smaller extent of each spans.
    """

    in_view: Array
    hidden: Array
    through: Array
    pixels: Array

    @cached_property
    def clear(self) -> Array:
        """Share of each place that the camera could see; 0 where it is too far away to tell."""
        return np.where(self.pixels < _LEAST_PIXELS, 0.0, self.in_view - self.hidden)

    @cached_property
    def share_through(self) -> Array:
        """Share [N] of what is visible that is seen through."""
        return np.clip(self.through / np.maximum(self.clear, 1e-9), 0, 1)

    @cached_property
    def empty(self) -> NDArray[np.bool_]:
        """Which places [N] the look shows to be empty."""
        return (self.clear >= GLIMPSED) & (self.share_through > SEEN_THROUGH)

    @cached_property
    def wholly_empty(self) -> NDArray[np.bool_]:
        """Which places [N] this one look shows to be empty beyond doubt: all that it sees of them is see-through."""
        return (self.clear >= CLEAR) & (self.share_through > _WHOLLY)


def visibility(look: Look, centers: Array, sizes: Array, yaws: Array) -> Visibility:
    """What a look saw of the places of N objects of the map: centers [N, 3], sizes [N, 3], yaws [N]."""
    level = np.tile(np.eye(3), (len(yaws), 1, 1))
    level[:, 0, 0] = level[:, 1, 1] = np.cos(yaws)
    level[:, 1, 0] = np.sin(yaws)
    level[:, 0, 1] = -level[:, 1, 0]
    offsets = (_SAMPLES * sizes[:, None]) @ level.transpose(0, 2, 1)
    points = (centers[:, None] + offsets - look.pose.translation) @ look.pose.rotation  # [N, S, 3], optical
    ahead = points[..., 2] > 0.05
    rays = points / np.where(ahead, points[..., 2], 1.0)[..., None]  # of unit depth
    u = look.camera.fx * rays[..., 0] + look.camera.cx
    v = look.camera.fy * rays[..., 1] + look.camera.cy
    inside = ahead & (u > -0.5) & (u < look.camera.width - 0.5) & (v > -0.5) & (v < look.camera.height - 0.5)
    in_view = _share(inside)
    pixels = look.camera.fx * sizes.min(axis=1) / np.maximum(points[..., 2].mean(axis=1), 0.05)
    if look.depth is None or not inside.any():
        return Visibility(in_view, np.zeros(len(centers)), np.zeros(len(centers)), pixels)
    measured = np.full(inside.shape, np.nan)
    measured[inside] = look.depth[np.rint(v[inside]).astype(int), np.rint(u[inside]).astype(int)]
    near, far = _crossing(look.pose, rays, centers, sizes, level)
    noise = 0.01 + 0.01 * far
    with np.errstate(invalid="ignore"):
        hidden = measured < near - noise - 0.02
        # A camera that looks down on a table sees the table where the ray leaves an empty box.
        deep = np.minimum(
            near + np.maximum(_SOLID * (far - near), noise), points[..., 2] + noise + _INSIDE * (far - near)
        )
        through = (measured > deep) & (far - near > 2 * noise)
    return Visibility(in_view, _share(hidden), _share(through), pixels)


def _share(marked: NDArray[np.bool_]) -> Array:
    """[N]: the share of marked points of [N, S]."""
    share: Array = np.count_nonzero(marked, axis=1) / marked.shape[1]
    return share


def level_axes(yaw: float) -> Array:
    """[3, 3]: columns are the axes of an upright box with a yaw, in the map frame."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _crossing(pose: Pose, rays: Array, centers: Array, sizes: Array, level: Array) -> tuple[Array, Array]:
    """Depths [N, S] at which rays [N, S, 3] of unit depth enter and leave N boxes (slab test)."""
    own = (rays @ pose.rotation.T) @ level
    origin = (pose.translation - centers)[:, None] @ level
    half = sizes[:, None] / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (-half - origin) / own, (half - origin) / own
    near = np.minimum(first, second).max(axis=-1)
    far = np.maximum(first, second).min(axis=-1)
    return near, np.maximum(far, near)
