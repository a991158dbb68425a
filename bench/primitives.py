"""Small exact scenes: boxes, cylinders and spheres on a table, ray-cast analytically.

They give two ground truths that photographs lack, the box of the visible surface and the box of the whole solid, at any
size and without a renderer. Benchmarks, tests and the table of `truth.py` use them; the scenes that a model is trained
on come from `training.scenes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Box3D, Camera
from training.lift.boxes import box_between

SHAPES = ("box", "cylinder", "sphere")


@dataclass(frozen=True)
class Solid:
    """One solid that stands on the table; lengths in metres, the table is the world's plane z = 0 (z up).

    Attributes:
        shape: one of `SHAPES`.
        size: extents along the solid's own x, y and z; a cylinder's and a sphere's first two are its diameter.
        position: x, y of its centre on the table.
        yaw: turn about the vertical, radians.
    """

    shape: str
    size: tuple[float, float, float]
    position: tuple[float, float]
    yaw: float

    @property
    def center(self) -> NDArray[np.float64]:
        """World centre [3]."""
        return np.array([*self.position, self.size[2] / 2])


@dataclass(frozen=True)
class PrimitiveScene:
    """A ray-cast scene in the optical frame.

    Attributes:
        color: RGB uint8 [H, W, 3], flat shaded.
        depth: exact depth float32 [H, W] in metres (NaN where a ray meets nothing).
        instances: int16 [H, W], index into `solids`, -1 for table and background.
        camera: intrinsics.
        solids: what stands on the table; invisible ones are kept, with an empty mask.
        visible: box of the seen surface of each solid, None where it is hidden.
        whole: box of each whole solid.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instances: NDArray[np.int16]
    camera: Camera
    solids: list[Solid]
    visible: list[Box3D | None]
    whole: list[Box3D]


def render_primitives(
    seed: int, objects: int = 8, width: int = 640, height: int = 480, shapes: tuple[str, ...] = SHAPES
) -> PrimitiveScene:
    """A random table-top scene; equal arguments give equal scenes."""
    rng = np.random.default_rng(seed)
    camera = Camera.from_fov(float(rng.uniform(55, 70)), width, height)
    rotation, origin = _look_at_table(rng)
    solids = _place(rng, objects, shapes)
    rays = np.concatenate([camera.rays().astype(np.float64), np.ones((height, width, 1))], axis=-1) @ rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.nan)
    depth[~(depth < 8.0)] = np.nan
    instances = np.full((height, width), -1, np.int16)
    nearest = np.where(np.isnan(depth), np.inf, depth)
    for index, solid in enumerate(solids):
        t = _intersect(solid, rays, origin)
        closer = t < nearest
        nearest[closer] = t[closer]
        instances[closer] = index
    depth = np.where(np.isinf(nearest), np.nan, nearest).astype(np.float32)
    visible = [_seen_box(camera, depth, instances == i, s.shape) for i, s in enumerate(solids)]
    whole = [_whole_box(s, rotation, origin) for s in solids]
    return PrimitiveScene(_shade(rng, depth, instances), depth, instances, camera, solids, visible, whole)


def sensor_noise(depth: NDArray[np.float32], seed: int, focal: float, baseline: float = 0.075) -> NDArray[np.float32]:
    """Simulates an RGB-D camera on exact depth [H, W]: axial noise, disparity steps, holes and flying pixels at edges.

    Axial noise is Nguyen, Izadi and Lovell's (2012) 1.2 mm + 1.9 mm (z - 0.4)^2; disparity comes in steps of 1/8 pixel.
    """
    rng = np.random.default_rng(seed)
    z = depth.astype(np.float64)
    z = z + rng.normal(size=z.shape) * (0.0012 + 0.0019 * (z - 0.4) ** 2)
    z = focal * baseline / (np.round(focal * baseline / z * 8) / 8)
    filled = np.nan_to_num(depth, nan=20.0)
    high = _neighbour_extreme(filled, np.maximum)
    low = _neighbour_extreme(filled, np.minimum)
    edge = high - low > 0.03 + 0.02 * filled
    chance = rng.random(z.shape)
    mixed = low + (high - low) * rng.random(z.shape)
    z = np.where(edge & (chance < 0.10) & (high < 10), mixed, z)
    z[edge & (chance > 0.60)] = np.nan
    z[rng.random(z.shape) < 0.01] = np.nan
    return z.astype(np.float32)


def _look_at_table(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation [3, 3] from world to optical frame and the camera's place in the world."""
    pitch = math.radians(rng.uniform(20, 50))
    distance = rng.uniform(1.3, 2.0)
    origin = np.array([0.0, -distance * math.cos(pitch), distance * math.sin(pitch)])
    forward = np.array([0.0, math.cos(pitch), -math.sin(pitch)])
    right = np.array([1.0, 0.0, 0.0])
    return np.stack([right, np.cross(forward, right), forward]), origin


def _place(rng: np.random.Generator, objects: int, shapes: tuple[str, ...]) -> list[Solid]:
    solids: list[Solid] = []
    taken: list[tuple[float, float, float]] = []
    for index in range(objects * 200):
        if len(solids) == objects:
            break
        shape = shapes[(len(solids) + int(rng.integers(0, 3) if index == 0 else 0)) % len(shapes)]
        side = rng.uniform(0.10, 0.28, size=3)
        if shape != "box":
            side[1] = side[0]
        if shape == "sphere":
            side[2] = side[0]
        x, y = rng.uniform(-0.75, 0.75), rng.uniform(-0.5, 0.7)
        radius = math.hypot(side[0], side[1]) / 2
        if any(math.hypot(x - a, y - b) < radius + r + 0.02 for a, b, r in taken):
            continue
        taken.append((x, y, radius))
        solids.append(Solid(shape, (float(side[0]), float(side[1]), float(side[2])), (x, y), rng.uniform(0, math.pi)))
    return solids


def _intersect(solid: Solid, rays: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance along each ray [H, W] (in units of optical z) to the solid; inf where it is missed."""
    c, s = math.cos(solid.yaw), math.sin(solid.yaw)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]])
    d = rays @ turn.T
    o = turn @ (origin - solid.center)
    half = np.asarray(solid.size) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        if solid.shape == "box":
            near, far = _slab(d, o, half, (0, 1, 2))
        elif solid.shape == "sphere":
            near, far = _quadric(d, o, half[0], (0, 1, 2))
        else:
            near, far = _quadric(d, o, half[0], (0, 1))
            low, high = _slab(d, o, half, (2,))
            near, far = np.maximum(near, low), np.minimum(far, high)
    return np.where((near <= far) & (near > 0), near, np.inf)


def _slab(
    d: NDArray[np.float64], o: NDArray[np.float64], half: NDArray[np.float64], axes: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    near, far = np.full(d.shape[:2], -np.inf), np.full(d.shape[:2], np.inf)
    for a in axes:
        t0, t1 = (-half[a] - o[a]) / d[..., a], (half[a] - o[a]) / d[..., a]
        near, far = np.maximum(near, np.minimum(t0, t1)), np.minimum(far, np.maximum(t0, t1))
    return near, far


def _quadric(
    d: NDArray[np.float64], o: NDArray[np.float64], radius: float, axes: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a = sum(d[..., i] ** 2 for i in axes)
    b = sum(d[..., i] * o[i] for i in axes)
    root = b**2 - a * (sum(o[i] ** 2 for i in axes) - radius**2)
    step = np.sqrt(np.where(root > 0, root, np.nan))
    near, far = (-b - step) / a, (-b + step) / a
    return np.where(np.isnan(near), np.inf, near), np.where(np.isnan(far), -np.inf, far)


def _seen_box(camera: Camera, depth: NDArray[np.float32], mask: NDArray[np.bool_], label: str) -> Box3D | None:
    if not mask.any():
        return None
    points = camera.back_project(depth)[mask].astype(np.float64)
    return box_between(label, points.min(0), points.max(0))


def _whole_box(solid: Solid, rotation: NDArray[np.float64], origin: NDArray[np.float64]) -> Box3D:
    """Extent of a box, cylinder or sphere along each optical axis, in closed form."""
    c, s = math.cos(solid.yaw), math.sin(solid.yaw)
    own = rotation @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    half = np.asarray(solid.size) / 2
    if solid.shape == "box":
        reach = np.abs(own) @ half
    elif solid.shape == "sphere":
        reach = np.full(3, half[0])
    else:
        reach = half[0] * np.hypot(own[:, 0], own[:, 1]) + half[2] * np.abs(own[:, 2])
    center = rotation @ (solid.center - origin)
    return box_between(solid.shape, center - reach, center + reach)


def _shade(rng: np.random.Generator, depth: NDArray[np.float32], instances: NDArray[np.int16]) -> NDArray[np.uint8]:
    palette = rng.integers(60, 255, size=(int(instances.max()) + 2, 3))
    light = 1.0 / (0.6 + 0.35 * np.nan_to_num(depth, nan=6.0))[..., None]
    return np.clip(palette[instances + 1] * light * 0.7, 0, 255).astype(np.uint8)


def _neighbour_extreme(image: NDArray[np.float32], choose: np.ufunc) -> NDArray[np.float32]:
    padded = np.pad(image, 1, mode="edge")
    out = image.copy()
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            out = choose(out, padded[dy : dy + image.shape[0], dx : dx + image.shape[1]])
    return out
