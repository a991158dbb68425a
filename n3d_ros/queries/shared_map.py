"""One map of objects for all cameras of a process, which notices when its frame or the clock has jumped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.observations import Look, Pose

BACK_S = 1.0  # a look this much older than the newest one means that the clock was set back
_JUMP_M, _DRIFT_M_S = 0.25, 0.02  # localisation corrects odometry by less than this, and less than this a second
_FASTEST_M_S = 3.0  # of a camera; used where there is no odometry to compare with
_SOON_S = 5.0  # looks further apart say nothing of the camera's speed
_MOST_DOUBT_M = 1.0  # more would mix up neighbouring objects
_COUNT_EVERY_S = 10.0  # counting reads the whole index

_open: dict[tuple[str, str], SharedMap] = {}
_open_lock = threading.Lock()


@dataclass
class SharedMap:
    """A map and its watchers; `acquire` it before use, and `release` it after.

    Attributes:
        objects: the map; use it inside of `held`.
        frame_id: the map's frame.
        watchers: called after every change, from any thread.
        jumps: how often the frame or the clock has jumped.
    """

    objects: ObjectMap
    frame_id: str
    watchers: list[Callable[[], None]] = field(default_factory=list)
    jumps: int = 0
    newest: float | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _odometry: tuple[float, Pose] | None = None
    _cameras: dict[str, tuple[float, Pose]] = field(default_factory=dict)
    _count: tuple[float, int] = (-_COUNT_EVERY_S, 0)

    @contextmanager
    def held(self) -> Iterator[ObjectMap]:
        """The map, for one thread at a time."""
        with self._lock:
            yield self.objects

    def changed(self) -> None:
        """Tells all watchers."""
        for watcher in list(self.watchers):
            watcher()

    def count(self) -> int:
        """How many objects are remembered; counted at most every ten seconds."""
        now = time.monotonic()
        with self._lock:
            if now - self._count[0] >= _COUNT_EVERY_S:
                self._count = now, len(self.objects)
            return self._count[1]

    def take(self, look: Look, odometry: Pose | None) -> list[str]:
        """Adds a look. If time or the map frame has jumped, first adapts what is known.

        Args:
            odometry: from the odometry's frame to the map at the look's stamp; None without odometry.

        Returns:
            A sentence for each jump.

        Raises:
            ObjectMapError: if the look cannot be used or the map not be written.
        """
        with self._lock:
            jumps = [*self._note_time(look.stamp), *self._note_place(look, odometry)]
            self.objects.look(look)
        self.changed()
        return jumps

    def _note_time(self, stamp: float) -> list[str]:
        """Stamps ahead of the look's are moved back: they come from before the clock was set, or from another one."""
        if self.newest is not None and stamp >= self.newest - BACK_S:
            self.newest = max(stamp, self.newest)
            return []
        shift = self.objects.rewind(stamp)
        self.newest, self._odometry = stamp, None
        self._cameras.clear()
        if shift <= BACK_S:
            return []
        self.jumps += 1
        self.objects.doubt(0.0)
        return [
            f"time jumped back by {shift:.1f} s (does a bag loop?): remembered objects keep their places and ages, and "
            "count as less sure"
        ]

    def _note_place(self, look: Look, odometry: Pose | None) -> list[str]:
        if odometry is not None:
            moved, what = self._moved_against_odometry(look, odometry), f"{self.frame_id} moved against the odometry"
        else:
            moved, what = self._jumped(look), f"{look.source or 'the camera'} jumped in {self.frame_id}"
        self._cameras[look.source] = look.stamp, look.pose
        if moved is None:
            return []
        self.jumps += 1
        self.objects.doubt(min(moved, _MOST_DOUBT_M))
        return [
            f"{what} by {moved:.2f} m (a relocalisation, or {self.frame_id} is not a fixed frame): the places of all "
            "remembered objects are less sure now"
        ]

    def _moved_against_odometry(self, look: Look, odometry: Pose) -> float | None:
        """How far the surroundings of the camera have moved in the map since the last look; None if hardly."""
        before, self._odometry = self._odometry, (look.stamp, odometry)
        if before is None:
            return None
        here = odometry.rotation.T @ (look.pose.translation - odometry.translation)
        was = before[1].rotation @ here + before[1].translation
        moved = float(np.linalg.norm(was - look.pose.translation))
        return moved if moved > _JUMP_M + _DRIFT_M_S * abs(look.stamp - before[0]) else None

    def _jumped(self, look: Look) -> float | None:
        """How far a camera has moved if that is faster than a camera can; else None."""
        stamp, pose = self._cameras.get(look.source, (-np.inf, look.pose))
        if look.stamp - stamp > _SOON_S:
            return None
        metres, _ = pose.apart(look.pose)
        return metres if metres > 2 * _JUMP_M + _FASTEST_M_S * max(look.stamp - stamp, 0.0) else None


def acquire(path: str, frame_id: str, watcher: Callable[[], None]) -> SharedMap:
    """The map of a file and a frame; all nodes of the process that name the same share it.

    Raises:
        ObjectMapError: if the file cannot be used.
    """
    key = str(Path(path).expanduser().resolve()), frame_id
    with _open_lock:
        if key not in _open:
            _open[key] = SharedMap(ObjectMap(path, frame_id), frame_id)
        _open[key].watchers.append(watcher)
        return _open[key]


def release(shared: SharedMap, watcher: Callable[[], None]) -> None:
    """Ends one node's use; the last one closes the map."""
    with _open_lock:
        shared.watchers.remove(watcher)
        if shared.watchers:
            return
        for key in [key for key, one in _open.items() if one is shared]:
            del _open[key]
    with shared.held() as objects:
        objects.close()
