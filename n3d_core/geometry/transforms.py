"""Transforms between named frames over time, like tf2's buffer, for bags and for a ROS 2 without tf2_ros."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import SimpleNamespace
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


@dataclass(frozen=True)
class _Sample:
    """The pose of a frame in its parent: a position and a quaternion (x, y, z, w) of about length 1."""

    stamp_ns: int
    parent: str
    place: NDArray[np.float64]
    turn: NDArray[np.float64]


_stamp = attrgetter("stamp_ns")


def inverse_of(transform: Any) -> Any:
    """The inverse of a `geometry_msgs/Transform`, as an object with its fields."""
    t, q = transform.translation, transform.rotation
    x, y, z = -rotation_of((q.x, q.y, q.z, q.w)).T @ (t.x, t.y, t.z)
    return SimpleNamespace(
        translation=SimpleNamespace(x=x, y=y, z=z), rotation=SimpleNamespace(x=-q.x, y=-q.y, z=-q.z, w=q.w)
    )


class TransformTree:
    """Transforms between frames, looked up at a stamp. As in tf2, a frame has one parent at a time: the last one told.

    Args:
        source: where they come from, for errors.
        keep_ns: how long transforms are kept, for a stream that does not end; a stamp outside of them is then refused.
            None: all are kept, as in a bag, and a stamp a little outside of them takes the nearest.
    """

    def __init__(self, source: str, keep_ns: int | None = None) -> None:
        self._source = source
        self._keep_ns = keep_ns
        self._known: dict[str, list[_Sample]] = {}  # of each child, by stamp
        self._static: set[str] = set()
        self._ignored: dict[str, str] = {}

    @property
    def frames(self) -> frozenset[str]:
        """The names of all frames."""
        return frozenset(self._known).union(*({one.parent for one in known} for known in self._known.values()))

    def add(self, parent: str, child: str, transform: Any, stamp_ns: int | None = None) -> None:
        """Adds the pose of `child` in `parent`, a `geometry_msgs/Transform`; with `stamp_ns` None it is static.

        As tf2 does, it ignores what is not a transform between two frames.
        """
        t, q = transform.translation, transform.rotation
        parent, child = parent.lstrip("/"), child.lstrip("/")  # ROS 1's tf wrote names with a leading slash
        turn = tuple(float(v) for v in (q.x, q.y, q.z, q.w))
        one = _Sample(stamp_ns or 0, parent, np.array([float(t.x), float(t.y), float(t.z)]), np.array(turn))
        if not (
            parent
            and child
            and parent != child
            and np.isfinite(one.place).all()
            and abs(one.turn @ one.turn - 1) < 0.01
        ):
            self._ignored[child] = f"the transform from {child!r} to {parent!r} is ignored: its rotation is {turn}"
            return
        self._ignored.pop(child, None)
        known = self._known.setdefault(child, [])
        if stamp_ns is None or child in self._static:
            known.clear()
        if stamp_ns is None:
            self._static.add(child)
        else:
            self._static.discard(child)
            self._forget_old(known, one.stamp_ns)
        insort(known, one, key=_stamp)

    def clear(self) -> None:
        """Drops all but static transforms."""
        self._known = {child: known for child, known in self._known.items() if child in self._static}

    def _forget_old(self, known: list[_Sample], stamp_ns: int) -> None:
        """Drops what is older than `keep_ns`; all of it if time has jumped back by more than that."""
        if self._keep_ns is None or not known:
            return
        newest_ns = known[-1].stamp_ns
        if newest_ns - stamp_ns > self._keep_ns:
            known.clear()
        del known[: bisect_left(known, max(newest_ns, stamp_ns) - self._keep_ns, key=_stamp)]

    def look_up(self, target: str, source: str, stamp_ns: int) -> tuple[Matrix, Matrix]:
        """Rotation [3, 3] and translation [3] that transform points from `source` to `target` at a stamp (0: the
        newest that all frames on the way have, as in tf2).

        Raises:
            TransformError: if the frames are not connected at that time.
        """
        source, target = source.lstrip("/"), target.lstrip("/")
        problems: list[str] = []
        up, down = (self._ancestors(frame, stamp_ns, problems) for frame in (source, target))
        shared = next((frame for frame in up if frame in down), None)
        if shared is None:
            known = ", ".join(sorted(self.frames)) or "none"
            problems += [f"no transform from {source!r} to {target!r}; known frames: {known}"]
            raise TransformError("; ".join([f"{self._source}: {problems[0]}", *self._ignored.values()]))
        passed = [frame for chain in (up, down) for frame in list(chain)[: list(chain).index(shared)]]
        newest = [self._known[frame][-1].stamp_ns for frame in passed if frame not in self._static]
        if stamp_ns == 0 and any(newest):
            return self.look_up(target, source, min(filter(None, newest)))
        (turn, shift), (back, origin) = up[shared], down[shared]
        return back.T @ turn, back.T @ (shift - origin)

    def _ancestors(self, frame: str, stamp_ns: int, problems: list[str]) -> dict[str, tuple[Matrix, Matrix]]:
        """Rotation and translation from a frame to itself and to each of its ancestors, the nearest first."""
        rotation, translation = np.eye(3), np.zeros(3)
        found = {frame: (rotation, translation)}
        while self._known.get(frame):
            try:
                parent, r, t = self._at(frame, stamp_ns)
            except TransformError as error:
                problems.append(str(error))
                break
            if parent in found:
                break  # a loop
            rotation, translation, frame = r @ rotation, r @ translation + t, parent
            found[frame] = rotation, translation
        return found

    def _at(self, child: str, stamp_ns: int) -> tuple[str, Matrix, Matrix]:
        """Parent of a frame at a stamp, and the transform to it."""
        known = self._known[child]
        if stamp_ns == 0:
            stamp_ns = known[-1].stamp_ns
        beyond = _BEYOND_NS if self._keep_ns is None else 0
        fixed = child in self._static or (len(known) == 1 and self._keep_ns is None)
        index = bisect_right(known, stamp_ns, key=_stamp)
        before, after = known[max(index - 1, 0)], known[min(index, len(known) - 1)]
        if not fixed and not known[0].stamp_ns - beyond <= stamp_ns <= known[-1].stamp_ns + beyond:
            raise TransformError(
                f"no transform from {child!r} to {before.parent!r} at {stamp_ns / 1e9:.3f} s, only from "
                f"{known[0].stamp_ns / 1e9:.3f} to {known[-1].stamp_ns / 1e9:.3f} s"
            )
        span = after.stamp_ns - before.stamp_ns
        share = (stamp_ns - before.stamp_ns) / span if span > 0 and after.parent == before.parent else 0.0
        x, y, z, w = _between(before.turn, after.turn, share)
        place = before.place + share * (after.place - before.place)
        return before.parent, rotation_of((float(x), float(y), float(z), float(w))), place


def _between(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The unit quaternion at `share` of the way from `a` to `b`, at constant speed (slerp)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    cosine = float(a @ b)
    b, angle = (-b if cosine < 0 else b), math.acos(min(abs(cosine), 1.0))  # the same rotation, on the near side
    if angle < 1e-4:
        mean = a + share * (b - a)
    else:
        mean = (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)
    return np.asarray(mean / np.linalg.norm(mean))
