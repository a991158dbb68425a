"""Clutter of no class, as in real rooms: papers, cables, pens, pebbles, odd shapes.

It is visible and occludes objects, but is not part of the ground truth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.scenes.layout import Layout, PlacedObject, footprint, overlap
from training.scenes.parts import Array, Part, about, bent_rod, box, ellipsoid, lathe, rod
from training.scenes.scene_config import SceneConfig

_MOST = 8
_TRIES = 20
_FLOOR = 2.5  # size of clutter on a floor relative to that on a table

Rng = np.random.Generator
Builder = Callable[[Rng, float], list[Part]]


def sample_clutter(rng: Rng, config: SceneConfig, layout: Layout) -> tuple[PlacedObject, ...]:
    """The clutter of a scene; a share of `1 - config.clutter_share` of scenes has none.

    It lies among the layout's objects: flat things may be under them, others need free space.
    """
    if rng.random() >= config.clutter_share or not layout.objects:
        return ()
    taken = [footprint(o) for o in layout.objects]
    corners = np.concatenate(taken)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.3 * (high - low).max()
    found: list[PlacedObject] = []
    for number in range(int(rng.integers(2, _MOST + 1))):
        flat, build = _KINDS[int(rng.integers(len(_KINDS)))]
        item = _new(rng, build, 1.0 if layout.place == "table" else _FLOOR, number)
        item = _lay(rng, item, layout, (low - margin, high + margin), [] if flat else taken)
        if item is not None:
            found.append(item)
            if not flat:
                taken.append(footprint(item))
    return tuple(found)


def _new(rng: Rng, build: Builder, scale: float, number: int) -> PlacedObject:
    rgb = np.clip(rng.uniform(0.15, 0.9) * (1 + rng.uniform(-0.35, 0.35, 3)), 0, 1)
    lift = np.array([0.0, 0.0, 0.0004 * number])  # papers must not have coplanar faces
    rotation = about("z", float(rng.uniform(0, 360)))
    return PlacedObject("clutter", "", rgb, tuple(build(rng, scale)), rotation, lift)


def _lay(
    rng: Rng, item: PlacedObject, layout: Layout, within: tuple[Array, Array], taken: list[Array]
) -> PlacedObject | None:
    """The item at a free place on the support; None if there is no such place."""
    own = footprint(item)
    reach = np.abs(own).max(axis=0)
    low = np.maximum(within[0], -np.array(layout.half) + reach)
    high = np.minimum(within[1], np.array(layout.half) - reach)
    if (low > high).any():
        return None
    bottom = float(item.extent(np.eye(3))[0][2])
    for _ in range(_TRIES):
        spot = rng.uniform(low, high)
        if not any(overlap(own + spot, other) for other in taken):
            up = layout.support - bottom + 2 * item.position[2]
            return PlacedObject(
                item.cls, item.color, item.rgb, item.parts, item.rotation, np.array([spot[0], spot[1], up])
            )
    return None


def _paper(rng: Rng, scale: float) -> list[Part]:
    x, y = rng.uniform(0.12, 0.30, 2) * scale
    return [box((x, y, 0.0006), (0, 0, 0.0003), str(rng.choice(["paper", "main"])))]


def _cable(rng: Rng, scale: float) -> list[Part]:
    radius = 0.003 * scale
    along = np.linspace(-0.5, 0.5, 9) * rng.uniform(0.25, 0.6) * scale
    wave = rng.uniform(0.02, 0.06) * scale * np.sin(along / scale * rng.uniform(8, 20) + rng.uniform(0, 6))
    return bent_rod([(x, y, radius) for x, y in zip(along, wave, strict=True)], radius, "dark")


def _pen(rng: Rng, scale: float) -> list[Part]:
    half, radius = rng.uniform(0.05, 0.09) * scale, rng.uniform(0.003, 0.006) * scale
    return [rod((-half, 0, radius), (half, 0, radius), radius)]


def _pebble(rng: Rng, scale: float) -> list[Part]:
    x, y, z = rng.uniform(0.010, 0.028, 3) * scale * (1.0, 0.8, 0.5)
    return [ellipsoid((x, y, z), (0, 0, z))]


def _prism(rng: Rng, scale: float) -> list[Part]:
    """A prism or frustum of three to six sides."""
    r, h = rng.uniform(0.012, 0.035) * scale, rng.uniform(0.01, 0.06) * scale
    profile = [(0.0, 0.0), (r, 0.0), (r * rng.uniform(0.4, 1.0), h), (0.0, h)]
    return [lathe(profile, slices=int(rng.integers(3, 7)))]


def _ring(rng: Rng, scale: float) -> list[Part]:
    """A roll of tape, a bracelet."""
    r, thick = rng.uniform(0.02, 0.045) * scale, rng.uniform(0.003, 0.008) * scale
    angles = np.linspace(0, 2 * np.pi, 13)
    return bent_rod([(r * np.cos(a), r * np.sin(a), thick) for a in angles], thick)


_KINDS: tuple[tuple[bool, Builder], ...] = (
    (True, _paper),
    (False, _cable),
    (False, _pen),
    (False, _pebble),
    (False, _prism),
    (False, _ring),
)
"""Kinds of clutter: whether it is flat enough to lie under objects, and its builder."""
