"""The continuous query: grounds one text repeatedly in the newest image, with ids that persist across results.

Each new box is matched to at most one known object of the same label, with the smallest total cost (SciPy's Hungarian
algorithm). The cost is the distance of the centres in units of the larger box's diagonal, which works for boxes too
small or too noisy to overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from n3d_ros.msg import Result
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_msgs.msg import String

from n3d_core.geometry.boxes import OrientedBox
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.outputs.publishers import Outputs
from n3d_ros.queries.desk import QueryDesk
from n3d_ros.queries.outcome import GROUND, Outcome

# It gave way, or the node ended it: the previous result stays until the next one replaces it.
_GAVE_WAY = (Result.REPLACED, Result.BUSY, Result.NOT_ACTIVE)


class ContinuousQuery:
    """Grounds the text of the parameter `continuous_query`, which the topic `~/continuous_query` also sets.

    Without a text no timer runs, so an idle node does not wake for it. When it fails (the camera stopped, say), the
    boxes on display are removed.
    """

    def __init__(self, node: Node, desk: QueryDesk, outputs: Outputs, clock: Clock) -> None:
        self._node = node
        self._desk = desk
        self._outputs = outputs
        self._tracker = Tracker()
        self._text = ""
        self._ticker = node.create_timer(1.0, self._ask_again, clock=clock)
        self._ticker.cancel()
        node.create_subscription(String, "~/continuous_query", self._on_text, 1)

    def apply(self, parameters: GroundingParameters) -> None:
        """Takes text and rate from the parameters."""
        self._text = parameters.continuous_query
        self._ticker.timer_period_ns = round(1e9 / parameters.continuous_rate)
        if self._text:
            self._ticker.reset()
        else:
            self._ticker.cancel()

    def _on_text(self, message: String) -> None:
        self._node.set_parameters([Parameter("continuous_query", value=message.data)])

    def _ask_again(self) -> None:
        if self._desk.is_open and self._desk.worker.load == (0, 0):
            answered = self._desk.ask(self._text, GROUND, identify=self._identify, background=True)
            answered.add_done_callback(self._on_answer)

    def _identify(self, outcome: Outcome) -> list[str]:
        """Runs in the worker."""
        return self._tracker.update(outcome.boxes, outcome.frame.stamp_ns, outcome.frame_id)

    def _on_answer(self, answered: Future) -> None:
        """Runs in the worker, before its next query."""
        if answered.result().result.status not in (Result.OK, *_GAVE_WAY):
            self._outputs.clear()


@dataclass
class Track:
    """One object: its id, and where and when it was last seen."""

    identity: str
    box: OrientedBox
    stamp_ns: int


class Tracker:
    """Assigns ids to boxes in one frame of reference.

    Args:
        gate: centres further apart than this many diagonals are different objects.
        memory_s: an object not seen for this long is forgotten; its id is never used again.
    """

    def __init__(self, gate: float = 1.0, memory_s: float = 5.0) -> None:
        self.gate = gate
        self.memory_ns = round(memory_s * 1e9)
        self._tracks: list[Track] = []
        self._frame_id = ""
        self._count = 0

    def update(self, boxes: Sequence[OrientedBox], stamp_ns: int, frame_id: str = "") -> list[str]:
        """The id of each box, in order. All tracks end when the frame changes or stamps go back."""
        if frame_id != self._frame_id or any(track.stamp_ns > stamp_ns for track in self._tracks):
            self._tracks = []
        self._frame_id = frame_id
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
