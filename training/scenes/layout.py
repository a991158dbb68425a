"""Samples the objects of a scene and their places; none intersect, and all rest on their support."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from training.scenes.catalogue import CATALOGUE, Place, classes_at
from training.scenes.colors import sample_color
from training.scenes.household import household_parts
from training.scenes.parts import Array, Part, about
from training.scenes.scene_config import SceneConfig

_TABLE_HEIGHT = 0.74
_GAP = 0.012  # metres between footprints
_AISLE = 0.9  # metres along the walls of a room without objects
_TRIES = 40


@dataclass(frozen=True)
class PlacedObject:
    """An object in the world (z up, metres)."""

    cls: str
    color: str
    rgb: Array
    parts: tuple[Part, ...]
    rotation: Array
    position: Array

    def extent(self, directions: Array) -> tuple[Array, Array]:
        """Lowest and highest coordinate along each row of `directions` [K, 3] (unit, world): two [K]."""
        local = directions @ self.rotation
        offset = directions @ self.position
        low, high = zip(*(part.extent(local) for part in self.parts), strict=True)
        return offset + np.min(low, axis=0), offset + np.max(high, axis=0)

    @cached_property
    def outline(self) -> list[Array]:
        """Point sets [N, 3] in the world; the union of their convex hulls has the object's silhouette."""
        return [points @ self.rotation.T + self.position for part in self.parts for points in part.outline()]


@dataclass(frozen=True)
class Layout:
    """A scene before it is rendered.

    Attributes:
        place: what the objects stand on.
        support: height of its surface.
        half: half sizes (x, y) of the table top, or of the room if the place is a floor.
        clutter: things of no class, see `clutter.py`.
    """

    place: Place
    support: float
    half: tuple[float, float]
    objects: tuple[PlacedObject, ...]
    clutter: tuple[PlacedObject, ...] = ()


def sample_layout(rng: np.random.Generator, config: SceneConfig) -> Layout:
    """Draws a scene's objects; objects that find no room are left out, but never the first."""
    place: Place = "table" if rng.random() < config.table_share else "floor"
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    half = _half_sizes(rng, place)
    support = _support(place)
    crowd = np.sqrt(count)
    radius = rng.uniform(0.10, 0.17) * crowd if place == "table" else rng.uniform(0.42, 0.70) * crowd
    return Layout(place, support, half, _fill(rng, config, place, count, half, radius))


def sample_room(rng: np.random.Generator, config: SceneConfig) -> Layout:
    """Draws a room with objects all over its floor, and a free aisle of 0.9 m along its walls."""
    half = (float(rng.uniform(3.0, 4.0)), float(rng.uniform(3.0, 4.0)))
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    return Layout("floor", 0.0, half, _fill(rng, config, "floor", count, half, min(half) - _AISLE))


def moved_elsewhere(rng: np.random.Generator, layout: Layout, index: int) -> PlacedObject | None:
    """One of a room's objects at another free spot, at least a metre away; None if none was found."""
    item = layout.objects[index]
    taken = [footprint(other) for number, other in enumerate(layout.objects) if number != index]
    shape = replace(item, position=np.zeros(3))
    for _ in range(_TRIES):
        found = _find_room(rng, shape, layout.support, layout.half, min(layout.half) - _AISLE, taken)
        if found is not None and np.linalg.norm(found[0].position - item.position) > 1.0:
            return found[0]
    return None


def _fill(
    rng: np.random.Generator, config: SceneConfig, place: Place, count: int, half: tuple[float, float], radius: float
) -> tuple[PlacedObject, ...]:
    """Up to `count` objects within `radius` of the middle."""
    placed: list[PlacedObject] = []
    footprints: list[Array] = []
    for name in _choose_classes(rng, config, place, count):
        color = str(rng.choice(config.colors))
        shape = _posed(rng, config, name, color, place)
        found = _find_room(rng, shape, _support(place), half, radius, footprints)
        if found is not None:
            placed.append(found[0])
            footprints.append(found[1])
    return tuple(placed)


def _support(place: Place) -> float:
    return _TABLE_HEIGHT if place == "table" else 0.0


def _half_sizes(rng: np.random.Generator, place: Place) -> tuple[float, float]:
    if place == "table":
        return float(rng.uniform(0.55, 0.95)), float(rng.uniform(0.45, 0.75))
    return float(rng.uniform(2.6, 4.5)), float(rng.uniform(2.6, 4.5))


def _choose_classes(rng: np.random.Generator, config: SceneConfig, place: Place, count: int) -> list[str]:
    names = [c for c in classes_at(place) if c in config.classes]
    repeat = 0.45 if rng.random() < config.twin_share else 0.0
    chosen: list[str] = []
    for _ in range(count):
        again = chosen and rng.random() < repeat
        chosen.append(str(rng.choice(chosen if again else names)))
    return chosen


def _posed(rng: np.random.Generator, config: SceneConfig, name: str, color: str, place: Place) -> PlacedObject:
    """A new object of a class in a random pose at the origin."""
    kind = CATALOGUE[name]
    tilt = about("x", float(rng.choice([-90, 90]))) if rng.random() < kind.lying else np.eye(3)
    rotation = about("z", float(rng.uniform(0, 360))) @ tilt
    parts = tuple(household_parts(name, rng, config.household_share) or kind.builders[place](rng))
    return PlacedObject(name, color, sample_color(color, rng), parts, rotation, np.zeros(3))


def _find_room(
    rng: np.random.Generator,
    shape: PlacedObject,
    support: float,
    half: tuple[float, float],
    radius: float,
    taken: list[Array],
) -> tuple[PlacedObject, Array] | None:
    """The object at a free spot near the middle with its footprint [4, 2]; None if no spot was found."""
    corners, bottom = _ground(shape)
    reach = np.abs(corners).max(axis=0)
    limit = np.minimum(np.array(half) - reach, radius * 1.0)
    for attempt in range(_TRIES):
        grow = 1 + attempt / _TRIES
        spot = rng.uniform(-1, 1, 2) * np.maximum(np.minimum(limit * grow, np.array(half) - reach), 0)
        place = corners + spot
        if not any(overlap(place, other) for other in taken):
            position = np.array([spot[0], spot[1], support - bottom])
            return PlacedObject(shape.cls, shape.color, shape.rgb, shape.parts, shape.rotation, position), place
    return None


def footprint(item: PlacedObject) -> Array:
    """The rectangle [4, 2] on the ground that an object covers, with a small margin."""
    return _ground(item)[0]


def _ground(item: PlacedObject) -> tuple[Array, float]:
    """The footprint, and the height of the lowest point."""
    forward = item.rotation[:2, 0] / np.linalg.norm(item.rotation[:2, 0])
    axes = np.array([[forward[0], forward[1], 0], [-forward[1], forward[0], 0], [0, 0, 1.0]])
    low, high = item.extent(axes)
    flat = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    flat += _GAP / 2 * np.sign(flat - flat.mean(axis=0))
    return flat @ axes[:2, :2], float(low[2])


def overlap(a: Array, b: Array) -> bool:
    """Whether two rectangles [4, 2] intersect (separating axes)."""
    for rectangle in (a, b):
        for axis in (rectangle[1] - rectangle[0], rectangle[3] - rectangle[0]):
            p, q = a @ axis, b @ axis
            if p.max() <= q.min() or q.max() <= p.min():
                return False
    return True
