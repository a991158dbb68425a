"""Tours: a room seen by a camera that walks along its walls, while objects are moved and taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from n3d_core.geometry.frame_folder import MapObject
from n3d_core.geometry.transforms import CameraPose
from training.scenes.layout import Layout, PlacedObject, moved_elsewhere, sample_room
from training.scenes.parts import Array
from training.scenes.renderer import WorldRenderer, choose_backend
from training.scenes.scene import Scene, view_scene
from training.scenes.scene_config import SceneConfig
from training.scenes.viewpoint import Viewpoint, camera_of, looking_along
from training.scenes.world import build_world

FRAME_S = 1.0  # seconds from one frame to the next
_LAPS = 2.0
_MOVED, _REMOVED = 2, 2  # objects of a tour
_CHANGES = (0.35, 0.55)  # the share of a tour within which they are moved and taken away
_CLEAR = 0.45  # metres from the camera to the walls
_AWAY = np.array([0.0, 0.0, -50.0])  # under the floor and out of sight: where an object that was taken away is
_LAYOUT, _WORLD, _PATH, _POSE = 10, 11, 12, 13  # random streams of one seed


@dataclass(frozen=True)
class Change:
    """From frame `frame` on, an object of the room stands where `item` is; None: it was taken away."""

    frame: int
    index: int
    item: PlacedObject | None


@dataclass(frozen=True)
class Tour:
    """A tour before it is rendered: a pure function of its seed.

    Attributes:
        layout: the room at the first frame.
        views: the true camera of each frame.
        changes: in the order of their frames.
    """

    seed: int
    config: SceneConfig
    layout: Layout
    views: tuple[Viewpoint, ...]
    changes: tuple[Change, ...]

    @classmethod
    def sample(cls, seed: int, config: SceneConfig, frames: int) -> Tour:
        """Draws a tour of `frames` frames."""
        layout = sample_room(np.random.default_rng((seed, _LAYOUT)), config)
        rng = np.random.default_rng((seed, _PATH))
        views = _walk(rng, config, layout, frames)
        return cls(seed, config, layout, views, _changes(rng, layout, views))

    def render(self) -> Iterator[Scene]:
        """The frames, in order; their truth has the boxes that are in view.

        Raises:
            MissingDependencyError: if MuJoCo or OpenGL is missing or does not work.
        """
        choose_backend()  # before MuJoCo is imported, which reads MUJOCO_GL once
        starts = sorted({0, *(change.frame for change in self.changes)})
        for start, stop in zip(starts, [*starts[1:], len(self.views)], strict=True):
            layout = self._layout_at(start)
            world = build_world(np.random.default_rng((self.seed, _WORLD)), self.config, layout)
            with WorldRenderer(world) as renderer:
                for number in range(start, stop):
                    yield view_scene(self.seed, self.config, layout, renderer, number, self.views[number])

    def poses(self, sigma_m: float = 0.0, sigma_rad: float = 0.0) -> list[CameraPose]:
        """The camera's pose of each frame, off by independent errors with these standard deviations (in all axes)."""
        rng = np.random.default_rng((self.seed, _POSE))
        out = []
        for number, view in enumerate(self.views):
            matrix = np.eye(4)
            matrix[:3, :3] = _turned(rng.normal(0, 1, 3) * sigma_rad / np.sqrt(3)) @ view.rotation
            matrix[:3, 3] = view.position + rng.normal(0, 1, 3) * sigma_m / np.sqrt(3)
            out.append(CameraPose(round(_stamp(number) * 1e9), matrix))
        return out

    def objects(self) -> list[MapObject]:
        """Where each object stood, and from when to when."""
        end = _stamp(len(self.views) - 1)
        out = []
        for index, item in enumerate(self.layout.objects):
            since, place = _stamp(0), item
            for change in (c for c in self.changes if c.index == index):
                out.append(_map_object(index, place, since, _stamp(change.frame - 1)))
                if change.item is None:
                    break
                since, place = _stamp(change.frame), change.item
            else:
                out.append(_map_object(index, place, since, end))
        return out

    def _layout_at(self, frame: int) -> Layout:
        """The room at a frame. Objects keep their number, so that all else is drawn alike."""
        objects = list(self.layout.objects)
        for change in self.changes:
            if change.frame <= frame:
                objects[change.index] = change.item or replace(objects[change.index], position=_AWAY)
        return replace(self.layout, objects=tuple(objects))


def _walk(rng: np.random.Generator, config: SceneConfig, layout: Layout, frames: int) -> tuple[Viewpoint, ...]:
    """Along the walls, looking at parts of the room by turns."""
    camera = camera_of(float(rng.uniform(*config.fov)), config.width, config.height)
    start, way = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    height, sway, beat = rng.uniform(1.2, 1.6), rng.uniform(0.03, 0.12), rng.uniform(3.0, 5.0)
    reach = np.array(layout.half) - _CLEAR
    views = []
    for number in range(frames):
        share = number / frames
        angle = start + way * 2 * np.pi * _LAPS * share
        at = np.array([*(reach * [np.cos(angle), np.sin(angle)]), height + sway * np.sin(2 * np.pi * 7 * share)])
        aim = angle + way * (0.9 + 0.9 * np.sin(2 * np.pi * beat * share))
        target = np.array([*(0.4 * reach * [np.cos(aim), np.sin(aim)]), 0.25])
        forward = (target - at) / np.linalg.norm(target - at)
        views.append(Viewpoint(camera, at, looking_along(forward)))
    return tuple(views)


def _changes(rng: np.random.Generator, layout: Layout, views: tuple[Viewpoint, ...]) -> tuple[Change, ...]:
    """Some objects are moved and some taken away, each while it is out of view if that ever happens."""
    chosen = rng.permutation(len(layout.objects))[: min(_MOVED + _REMOVED, len(layout.objects) - 1)]
    first, last = (max(1, int(share * len(views))) for share in _CHANGES)
    changes = []
    for number, index in enumerate(chosen.tolist()):
        frames = [f for f in range(first, last) if not _is_in_view(layout.objects[index], views[f])]
        if first >= last:
            break
        frame = int(rng.choice(frames or np.arange(first, last)))
        item = moved_elsewhere(rng, layout, index) if number < _MOVED else None
        if item is not None or number >= _MOVED:
            changes.append(Change(frame, index, item))
            objects = [item if n == index and item is not None else o for n, o in enumerate(layout.objects)]
            layout = replace(layout, objects=tuple(objects))
    return tuple(sorted(changes, key=lambda change: change.frame))


def _is_in_view(item: PlacedObject, view: Viewpoint) -> bool:
    low, high = item.extent(np.eye(3))
    own = view.to_optical((low + high) / 2)
    u, v = view.camera.project(own)
    return bool(own[2] > 0 and -20 < u < view.camera.width + 20 and -20 < v < view.camera.height + 20)


def _map_object(index: int, item: PlacedObject, since: float, until: float) -> MapObject:
    """An object's upright box in the map, turned as the object is."""
    yaw = float(np.arctan2(item.rotation[1, 0], item.rotation[0, 0]))
    axes = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1.0]])
    low, high = item.extent(axes)
    x, y, z = np.round(axes.T @ (low + high) / 2, 4).tolist()
    length, width, height = np.round(high - low, 4).tolist()
    label = f"{item.color} {item.cls}"
    return MapObject(str(index + 1), label, (x, y, z), (length, width, height), round(yaw, 4), since, until)


def _turned(vector: Array) -> Array:
    """The rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _stamp(frame: int) -> float:
    return FRAME_S * (frame + 1)
