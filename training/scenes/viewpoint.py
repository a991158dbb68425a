"""Samples the pose of a scene's camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from n3d_core.geometry import Camera
from training.scenes.layout import Layout
from training.scenes.parts import Array
from training.scenes.scene_config import SceneConfig

_CLEARANCE = 0.18  # metres between the camera and any object's bounds
_TRIES = 30


@dataclass(frozen=True)
class Viewpoint:
    """A camera in the world.

    Attributes:
        position: world metres [3].
        rotation: columns are the optical frame's x (right), y (down) and z (forward) axes in the world [3, 3].
    """

    camera: Camera
    position: Array
    rotation: Array

    @property
    def gravity(self) -> Array:
        """Unit vector along gravity in the optical frame."""
        return -self.rotation[2]

    def to_optical(self, points: Array) -> Array:
        """World points [..., 3] in the optical frame."""
        return (points - self.position) @ self.rotation


def sample_viewpoint(rng: np.random.Generator, config: SceneConfig, layout: Layout) -> Viewpoint:
    """Draws a camera inside the room that looks at the layout's objects."""
    camera = camera_of(float(rng.uniform(*config.fov)), config.width, config.height)
    low, high = _bounds(layout)
    best, best_gap = None, -np.inf
    for _ in range(_TRIES):
        view = _look(rng, config, layout, camera, low, high)
        outside = np.maximum(np.maximum(low - view.position, view.position - high), 0)
        gap = float(np.linalg.norm(outside, axis=1).min()) if len(low) else np.inf
        if gap > best_gap:
            best, best_gap = view, gap
        if gap >= _CLEARANCE:
            break
    assert best is not None
    return best


def camera_of(fov: float, width: int, height: int) -> Camera:
    """The camera of a scene, with a field of view of `fov` degrees along the longer side."""
    if width >= height:
        return Camera.from_fov(fov, width, height)
    lying = Camera.from_fov(fov, height, width)
    return Camera(width, height, lying.fx, lying.fy, lying.cy, lying.cx)


def _bounds(layout: Layout) -> tuple[Array, Array]:
    pairs = [o.extent(np.eye(3)) for o in layout.objects]
    return np.array([p[0] for p in pairs]).reshape(-1, 3), np.array([p[1] for p in pairs]).reshape(-1, 3)


def _look(
    rng: np.random.Generator, config: SceneConfig, layout: Layout, camera: Camera, low: Array, high: Array
) -> Viewpoint:
    table = layout.place == "table"
    elevation = np.radians(rng.uniform(*(config.table_elevation if table else config.floor_elevation)))
    azimuth = rng.uniform(0, 2 * np.pi)
    middle = (low.min(axis=0) + high.max(axis=0)) / 2
    spread = max(float(np.linalg.norm((high.max(axis=0) - low.min(axis=0)) / 2)), 0.22 if table else 0.8)
    half_angle = np.arctan(min(camera.width, camera.height) / 2 / camera.fy)
    distance = spread / np.sin(half_angle) * rng.uniform(*config.distance) * 0.8
    distance = float(np.clip(distance, 0.45 if table else 1.4, 2.2 if table else 5.5))
    target = middle + rng.uniform(-0.22, 0.22, 3) * spread * np.array([1, 1, 0.5])
    back = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    position = target + back * distance
    if not table:
        position[:2] = np.clip(position[:2], -np.array(layout.half) + 0.15, np.array(layout.half) - 0.15)
        back = position - target
        back /= np.linalg.norm(back)
    return Viewpoint(camera, position, looking_along(-back, np.radians(rng.uniform(-config.roll, config.roll))))


def looking_along(forward: Array, roll: float = 0.0) -> Array:
    """The rotation of a camera that looks along a unit vector of the world, rolled by `roll` radians."""
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.column_stack([c * right + s * down, c * down - s * right, forward])
