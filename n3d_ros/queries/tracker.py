"""Ids that stay with an object from one set of boxes to the next.

Each new box goes to at most one known object of the same label, so that the sum of costs is smallest (the Hungarian
algorithm of SciPy). The cost is the distance of the centres in units of the larger box's diagonal, so that it works for
boxes too small or too noisy to overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import OrientedBox


@dataclass
class Track:
    """One object: its id, where it was last, and when."""

    identity: str
    box: OrientedBox
    stamp_ns: int


class Tracker:
    """Gives ids to boxes.

    Args:
        gate: centres further apart than this many diagonals are not one object.
        memory_s: an object not seen for this long is forgotten; its id is never used again.
    """

    def __init__(self, gate: float = 1.0, memory_s: float = 5.0) -> None:
        self.gate = gate
        self.memory_ns = round(memory_s * 1e9)
        self._tracks: list[Track] = []
        self._count = 0

    def update(self, boxes: Sequence[OrientedBox], stamp_ns: int) -> list[str]:
        """The id of each box, in order. One tracker, one frame; a stamp that goes back starts anew."""
        if any(track.stamp_ns > stamp_ns for track in self._tracks):
            self._tracks = []
        self._tracks = [track for track in self._tracks if stamp_ns - track.stamp_ns <= self.memory_ns]
        matched = self._match(boxes)
        identities = []
        for number, box in enumerate(boxes):
            track = matched.get(number)
            if track is None:
                self._count += 1
                track = Track(str(self._count), box, stamp_ns)
                self._tracks.append(track)
            track.box, track.stamp_ns = box, stamp_ns
            identities.append(track.identity)
        return identities

    def _match(self, boxes: Sequence[OrientedBox]) -> dict[int, Track]:
        from scipy.optimize import linear_sum_assignment

        if not boxes or not self._tracks:
            return {}
        costs = np.array([[self._cost(box, track.box) for track in self._tracks] for box in boxes])
        allowed = costs <= self.gate
        rows, columns = linear_sum_assignment(np.where(allowed, costs, 1e6))
        return {int(r): self._tracks[c] for r, c in zip(rows, columns, strict=True) if allowed[r, c]}

    def _cost(self, a: OrientedBox, b: OrientedBox) -> float:
        if a.label != b.label:
            return float("inf")
        return float(np.linalg.norm(_array(a.center) - _array(b.center)) / max(_diagonal(a), _diagonal(b), 1e-6))


def _array(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _diagonal(box: OrientedBox) -> float:
    return float(np.linalg.norm(box.size))
