"""The geometric parts that objects are composed of, with their exact extents and silhouettes.

A part is one MuJoCo geom. Its extent along any direction is known in closed form (the support function), so that true
boxes are exact and not measured from pixels; its silhouette is a union of convex hulls, from which the share of an
object that is visible is counted without rendering it a second time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["box", "cylinder", "ellipsoid", "capsule", "mesh"]

_SLICES = 24
_ANGLES = np.arange(_SLICES) * (2 * np.pi / _SLICES)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_SPHERE = np.concatenate(
    [np.column_stack([_CIRCLE * np.cos(a), np.full(_SLICES, np.sin(a))]) for a in np.linspace(-1.4, 1.4, 9)]
    + [np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])]
)


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; `convex` lists vertex indices of convex pieces that together have the mesh's silhouette."""

    vertices: Array  # [N, 3] metres
    faces: NDArray[np.int32]  # [M, 3], counter-clockwise from outside
    convex: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class Part:
    """One geom of an object, in the object's frame (z up, metres).

    Attributes:
        kind: the geom's type; `size` has MuJoCo's meaning for it (half sizes; radius and half length; semi-axes).
        tint: which colour it takes, see `colors.tinted`.
    """

    kind: Kind
    size: tuple[float, float, float]
    tint: str = "main"
    position: Array = field(default_factory=lambda: np.zeros(3))
    rotation: Array = field(default_factory=lambda: np.eye(3))
    mesh: Mesh | None = None

    def extent(self, directions: Array) -> tuple[Array, Array]:
        """Lowest and highest coordinate along each row of `directions` [K, 3] (unit, object frame): two [K]."""
        local = directions @ self.rotation
        offset = directions @ self.position
        if self.mesh is not None:
            along = self.mesh.vertices @ local.T
            return offset + along.min(axis=0), offset + along.max(axis=0)
        reach = self._reach(local)
        return offset - reach, offset + reach

    def _reach(self, local: Array) -> Array:
        a, b, c = self.size
        if self.kind == "box":
            return np.abs(local) @ np.array([a, b, c])
        if self.kind == "ellipsoid":
            return np.asarray(np.linalg.norm(local * np.array([a, b, c]), axis=1))
        if self.kind == "cylinder":
            return np.asarray(a * np.linalg.norm(local[:, :2], axis=1) + b * np.abs(local[:, 2]))
        return a + b * np.abs(local[:, 2])  # capsule

    def outline(self) -> list[Array]:
        """Point sets [N, 3] in the object frame; the union of their convex hulls has the part's silhouette."""
        if self.mesh is not None:
            sets = [self.mesh.vertices[index] for index in self.mesh.convex]
        else:
            sets = [self._hull_points()]
        return [points @ self.rotation.T + self.position for points in sets]

    def _hull_points(self) -> Array:
        a, b, c = self.size
        if self.kind == "box":
            return _CUBE * np.array([a, b, c])
        if self.kind == "ellipsoid":
            return _SPHERE * np.array([a, b, c])
        if self.kind == "cylinder":
            return np.concatenate([np.column_stack([_CIRCLE * a, np.full(_SLICES, z)]) for z in (-b, b)])
        return np.concatenate([_SPHERE * a + np.array([0.0, 0.0, z]) for z in (-b, b)])


def box(size: Sequence[float], at: Sequence[float], tint: str = "main", rotation: Array | None = None) -> Part:
    """A cuboid of full `size` centred at `at`."""
    x, y, z = size
    return Part("box", (x / 2, y / 2, z / 2), tint, np.array(at, float), _rotation(rotation))


def cylinder(
    radius: float, height: float, at: Sequence[float], tint: str = "main", rotation: Array | None = None
) -> Part:
    """A cylinder along its z, centred at `at`."""
    return Part("cylinder", (radius, height / 2, 0.0), tint, np.array(at, float), _rotation(rotation))


def ellipsoid(axes: Sequence[float], at: Sequence[float], tint: str = "main", rotation: Array | None = None) -> Part:
    """An ellipsoid of semi-axes `axes` centred at `at`."""
    x, y, z = axes
    return Part("ellipsoid", (x, y, z), tint, np.array(at, float), _rotation(rotation))


def sphere(radius: float, at: Sequence[float], tint: str = "main") -> Part:
    """A ball centred at `at`."""
    return ellipsoid((radius, radius, radius), at, tint)


def rod(start: Sequence[float], end: Sequence[float], radius: float, tint: str = "main") -> Part:
    """A capsule from `start` to `end`."""
    a, b = np.array(start, float), np.array(end, float)
    length = float(np.linalg.norm(b - a))
    return Part("capsule", (radius, length / 2, 0.0), tint, (a + b) / 2, _along(b - a))


def bent_rod(points: Sequence[Sequence[float]], radius: float, tint: str = "main") -> list[Part]:
    """Capsules along a polyline."""
    return [rod(a, b, radius, tint) for a, b in itertools.pairwise(points)]


def lathe(profile: Sequence[tuple[float, float]], tint: str = "main", slices: int = _SLICES) -> Part:
    """A solid of revolution around z from its (radius, z) profile: up the outside, then down the inside if hollow."""
    angles = np.arange(slices) * (2 * np.pi / slices)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices: list[Array] = []
    rings: list[NDArray[np.int64]] = []
    for radius, z in profile:
        first = sum(len(v) for v in vertices)
        ring = np.array([[0.0, 0.0, z]]) if radius == 0 else np.column_stack([circle * radius, np.full(slices, z)])
        vertices.append(ring)
        rings.append(first + np.arange(len(ring)))
    faces = np.concatenate([_band(a, b, slices) for a, b in itertools.pairwise(rings)])
    int(np.argmax([z for _, z in profile]))
    outside = [np.concatenate(pair) for pair in itertools.pairwise(rings)]
    mesh = Mesh(np.concatenate(vertices), faces.astype(np.int32), tuple(outside))
    return Part("mesh", (0.0, 0.0, 0.0), tint, mesh=mesh)


def pillow(width: float, depth: float, height: float, tint: str = "main") -> Part:
    """A square cushion with thin edges and a thick middle, lying on z = 0."""
    n = 9
    grid = np.linspace(-1, 1, n)
    x, y = (g.reshape(-1) for g in np.meshgrid(grid, grid, indexing="ij"))
    bulge = ((1 - x**4) * (1 - y**4)) ** 0.7 * 0.44 + 0.06
    plan = np.column_stack([x * width / 2, y * depth / 2])
    top, bottom = np.column_stack([plan, height * (0.5 + bulge)]), np.column_stack([plan, height * (0.5 - bulge)])
    cells = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    upper = np.concatenate(
        [np.column_stack([cells, cells + n, cells + n + 1]), np.column_stack([cells, cells + n + 1, cells + 1])]
    )
    lower = upper[:, ::-1] + n * n
    side = np.arange(n)
    rim = np.concatenate([side[:-1] * n, (n - 1) * n + side[:-1], side[:0:-1] * n + n - 1, side[:0:-1]])
    following = np.roll(rim, -1)
    wall = np.concatenate(
        [
            np.column_stack([rim, rim + n * n, following]),
            np.column_stack([following, rim + n * n, following + n * n]),
        ]
    )
    wall = wall[:, ::-1]
    mesh = Mesh(
        np.concatenate([top, bottom]),
        np.concatenate([upper, lower, wall]).astype(np.int32),
        (np.arange(2 * n * n),),
    )
    return Part("mesh", (0.0, 0.0, 0.0), tint, mesh=mesh)


def about(axis: Literal["x", "y", "z"], degrees: float) -> Array:
    """Rotation matrix [3, 3] about a coordinate axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _rotation(rotation: Array | None) -> Array:
    return np.eye(3) if rotation is None else rotation


def _along(direction: Array) -> Array:
    """A rotation whose third column points along `direction`."""
    z = direction / np.linalg.norm(direction)
    across = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
    x = np.cross(across, z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _band(low: NDArray[np.int64], high: NDArray[np.int64], slices: int) -> NDArray[np.int64]:
    """Triangles between two rings; a ring of one vertex is an apex."""
    here, after = np.arange(slices), (np.arange(slices) + 1) % slices
    if len(low) == 1:
        return np.column_stack([np.full(slices, low[0]), high[after], high[here]])
    if len(high) == 1:
        return np.column_stack([low[here], low[after], np.full(slices, high[0])])
    return np.concatenate(
        [np.column_stack([low[here], low[after], high[after]]), np.column_stack([low[here], high[after], high[here]])]
    )
