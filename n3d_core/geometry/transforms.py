"""Transforms between named frames over time, like tf2's buffer, for bags and for a ROS 2 without tf2_ros."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.errors import CameraError, TransformError
from n3d_core.geometry.boxes import rotation_of

_BEYOND_NS = 100_000_000  # a stamp this close before the first or after the last transform uses that one
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class CameraPose:
    """A camera pose: `camera_to_map` [4, 4] transforms points from the optical frame to the map (z up, metres).

    Raises:
        CameraError: if it is not a rigid transform.
    """

    stamp_ns: int
    camera_to_map: NDArray[np.float64]

    def __post_init__(self) -> None:
        m = self.camera_to_map
        rigid = m.shape == (4, 4) and np.isfinite(m).all() and np.allclose(m[3], (0, 0, 0, 1), atol=1e-6)
        if not (rigid and np.allclose(m[:3, :3] @ m[:3, :3].T, np.eye(3), atol=1e-2) and np.linalg.det(m[:3, :3]) > 0):
            raise CameraError(f"camera pose must be a rotation and translation [4, 4]; got {np.round(m, 3).tolist()}")


def rigid(rotation: NDArray[Any], translation: Any) -> Matrix:
    """The transform [4, 4] of a rotation [3, 3] and a translation [3]."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def rigid_of(place: Sequence[float], turn: Sequence[float]) -> Matrix | None:
    """The transform [4, 4] of a position and a quaternion (x, y, z, w); None if that is not of length 1."""
    length = math.hypot(*turn)
    if not abs(length - 1) < 0.01:
        return None
    x, y, z, w = (v / length for v in turn)
    return rigid(rotation_of((x, y, z, w)), place)


class TransformTree:
    """Transforms between frames, looked up at a stamp.

    Args:
        source: where they come from, for errors.
        keep_ns: how long transforms are kept, for a stream that does not end; a stamp outside of them is then refused.
            None: all are kept, as in a bag, and a stamp a little outside of them takes the nearest.
    """

    def __init__(self, source: str, keep_ns: int | None = None) -> None:
        self._source = source
        self._keep_ns = keep_ns
        self._edges: dict[tuple[str, str], list[tuple[int, tuple[float, ...]]]] = {}
        self._static: set[tuple[str, str]] = set()
        self._neighbours: dict[str, dict[str, tuple[str, str]]] = {}

    @property
    def frames(self) -> frozenset[str]:
        """The names of all frames."""
        return frozenset(self._neighbours)

    def add(self, parent: str, child: str, transform: Any, stamp_ns: int | None = None) -> None:
        """Adds the pose of `child` in `parent`, a `geometry_msgs/Transform`; with `stamp_ns` None it is static."""
        t, q = transform.translation, transform.rotation
        edge = parent.lstrip("/"), child.lstrip("/")  # ROS 1's tf wrote names with a leading slash
        values = (float(t.x), float(t.y), float(t.z), float(q.x), float(q.y), float(q.z), float(q.w))
        if stamp_ns is None:
            self._static.add(edge)
            self._edges[edge] = [(0, values)]
        else:
            known = self._edges.setdefault(edge, [])
            insort(known, (stamp_ns, values))
            self._forget_old(known, stamp_ns)
        self._connect(edge)

    def clear(self) -> None:
        """Drops all but static transforms."""
        self._edges = {edge: known for edge, known in self._edges.items() if edge in self._static}
        self._neighbours = {}
        for edge in self._edges:
            self._connect(edge)

    def _connect(self, edge: tuple[str, str]) -> None:
        for one, other in (edge, edge[::-1]):
            self._neighbours.setdefault(one, {})[other] = edge

    def _forget_old(self, known: list[tuple[int, tuple[float, ...]]], stamp_ns: int) -> None:
        """Drops what is older than `keep_ns`; all of it if time has jumped back by more than that."""
        if self._keep_ns is None:
            return
        if known[-1][0] - stamp_ns > self._keep_ns:
            known[:] = [one for one in known if one[0] == stamp_ns]
        del known[: bisect_left(known, (known[-1][0] - self._keep_ns,))]

    def look_up(self, target: str, source: str, stamp_ns: int) -> tuple[Matrix, Matrix]:
        """Rotation [3, 3] and translation [3] that transform points from `source` to `target` at a stamp.

        Raises:
            TransformError: if the frames are not connected at that time.
        """
        rotation, translation = np.eye(3), np.zeros(3)
        at = source.lstrip("/")
        for frame in self._path(at, target.lstrip("/")):
            edge = self._neighbours[at][frame]
            r, t = self._at(edge, stamp_ns)
            if edge[0] == at:  # from parent to child
                r, t = r.T, -r.T @ t
            rotation, translation, at = r @ rotation, r @ translation + t, frame
        return rotation, translation

    def _path(self, source: str, target: str) -> list[str]:
        """The frames after `source` on the shortest path to `target`."""
        paths: deque[list[str]] = deque([[source]])
        seen = {source}
        while paths:
            path = paths.popleft()
            if path[-1] == target:
                return path[1:]
            for near in self._neighbours.get(path[-1], ()):
                if near not in seen:
                    seen.add(near)
                    paths.append([*path, near])
        known = ", ".join(sorted(self._neighbours)) or "none"
        raise TransformError(f"{self._source}: no transform from {source!r} to {target!r}; known frames: {known}")

    def _at(self, edge: tuple[str, str], stamp_ns: int) -> tuple[Matrix, Matrix]:
        known = self._edges[edge]
        if stamp_ns == 0:  # as in tf2: the newest
            stamp_ns = known[-1][0]
        beyond = _BEYOND_NS if self._keep_ns is None else 0
        fixed = edge in self._static or (len(known) == 1 and self._keep_ns is None)
        index = bisect_left(known, (stamp_ns,))
        before, after = known[max(index - 1, 0)], known[min(index, len(known) - 1)]
        if not fixed and not known[0][0] - beyond <= stamp_ns <= known[-1][0] + beyond:
            raise TransformError(
                f"{self._source}: no transform from {edge[1]!r} to {edge[0]!r} at {stamp_ns / 1e9:.3f} s, "
                f"only from {known[0][0] / 1e9:.3f} to {known[-1][0] / 1e9:.3f} s"
            )
        span = after[0] - before[0]
        share = (stamp_ns - before[0]) / span if span > 0 else 0.0
        a, b = np.array(before[1]), np.array(after[1])
        if a[3:] @ b[3:] < 0:
            b[3:] = -b[3:]  # the same rotation, on the near side
        mean = a + share * (b - a)
        x, y, z, w = mean[3:] / np.linalg.norm(mean[3:])
        return rotation_of((float(x), float(y), float(z), float(w))), mean[:3]
