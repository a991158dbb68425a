"""The node's memory: queries update a map of objects, and `~/recall` and `~/memory` return its contents.

A query never fails because of the memory: if an update fails (no transform, a full disk), the node logs it and carries
on.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from n3d_ros.msg import RememberedObject, Result
from n3d_ros.srv import Recall
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from n3d_core.errors import EmptyTextError, N3DError
from n3d_core.memory.object_map import ObjectMap
from n3d_core.memory.objects import RememberedObject as Remembered
from n3d_core.memory.observations import Look, Pose
from n3d_core.reasoning.parse import read_phrases
from n3d_core.reasoning.question import NotUnderstood, Phrase
from n3d_ros.errors import NotActiveError
from n3d_ros.frames.images import stamp_of
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.outputs.diagnostics import BackOff
from n3d_ros.outputs.messages import detection_message, failure_message, result_message
from n3d_ros.queries.outcome import GROUND, Outcome

_STATES = {
    "present": RememberedObject.PRESENT,
    "gone": RememberedObject.GONE,
    "uncertain": RememberedObject.UNCERTAIN,
}
_POSE_SIGMA_M, _POSE_SIGMA_RAD = 0.02, 0.01  # of a pose by TF: localisation and calibration are not exact
_OFF = "the node has no memory: set the parameter memory to a file, and configure the node"


class NodeMemory:
    """The object map of one node; nodes that name the same file share it.

    Args:
        node: for its log, its clock and the executor that answers `~/recall`.
        transforms: from the camera to `memory_frame`.
    """

    def __init__(self, node: Node, transforms: Transforms) -> None:
        self._node = node
        self._transforms = transforms
        self._map: ObjectMap | None = None
        self._frame_id = ""
        self._closed_because = _OFF
        self._lock = threading.Lock()  # guards the map: the worker updates it, the executor reads it
        self._repeats = BackOff()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(Detection3DArray, "~/memory", latched)
        node.create_service(Recall, "~/recall", self._on_recall)

    def open(self, parameters: GroundingParameters) -> None:
        """Opens the map named by the parameters. Without one, or if it is unusable, the node remembers nothing."""
        self.close()
        if not parameters.memory:
            return
        try:
            with self._lock:
                self._map = ObjectMap(parameters.memory, parameters.memory_frame)
                self._frame_id = parameters.memory_frame
        except N3DError as error:
            self._closed_because = f"the memory is off: {error}"
            self._node.get_logger().error(self._closed_because)
            return
        self._publish()

    def close(self) -> None:
        """Closes the map; its file keeps the contents."""
        with self._lock:
            if self._map is not None:
                self._map.close()
            self._map, self._closed_because = None, _OFF

    def look(self, text: str, mode: int, outcome: Outcome, timeout_s: float) -> None:
        """Records what a query found, and what it looked for but did not find."""
        if self._map is None:
            return
        frame = outcome.frame
        try:
            found = self._transforms.look_up(self._frame_id, frame.frame_id, frame.stamp_ns, timeout_s)
            look = Look(
                frame.stamp_ns / 1e9,
                Pose(*found, _POSE_SIGMA_M, _POSE_SIGMA_RAD),
                frame.camera,
                outcome.seen,
                _asked(text) if mode == GROUND else (),
                frame.depth,
                self._node.get_fully_qualified_name(),
            )
            with self._lock:
                if self._map is None:
                    return
                self._map.look(look)
        except N3DError as error:
            if self._repeats.due(str(error)) is not None:
                self._node.get_logger().warning(f"not remembered: {error}")
            return
        self._publish()

    def recall(self, text: str, max_age_s: float) -> list[Remembered]:
        """The remembered objects that a text names, the most likely first.

        Raises:
            NotActiveError: if the memory is off.
            EmptyTextError: if the text names nothing.
            ObjectMapError: if the map cannot be read.
        """
        phrases = _phrases(text)
        with self._lock:
            if self._map is None:
                raise NotActiveError(self._closed_because)
            now = self._node.get_clock().now().nanoseconds / 1e9
            found = {
                one.id: one
                for phrase in phrases
                for one in self._map.recall(None if phrase is None else phrase.noun, max_age_s, now)
                if phrase is None or all(color in one.label.split() for color in phrase.colors)
            }
        return sorted(found.values(), key=lambda one: -one.log_odds)

    def _on_recall(self, request: Recall.Request, response: Recall.Response) -> Recall.Response:
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)
        age_s = request.max_age.sec + request.max_age.nanosec / 1e9
        try:
            objects = self.recall(request.text, age_s if age_s > 0 else math.inf)
        except N3DError as error:
            response.result = failure_message(request.text, error, header)
            return response
        response.objects = [remembered_message(one, header) for one in objects]
        detections = Detection3DArray(header=header, detections=[one.detection for one in response.objects])
        response.result = result_message(request.text, header, detections, {}, ())
        assert response.result.status == Result.OK
        return response

    def _publish(self) -> None:
        """Publishes the objects that are present, latched for late subscribers."""
        try:
            objects = self.recall("", math.inf)
        except N3DError:
            return  # it was closed meanwhile, or the file's problem is already logged
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)
        present = [remembered_message(one, header).detection for one in objects if one.state == "present"]
        self._publisher.publish(Detection3DArray(header=header, detections=present))


def remembered_message(one: Remembered, header: Header) -> RememberedObject:
    """An object of the map as a message."""
    return RememberedObject(
        detection=detection_message(one.box, header, str(one.id)),
        state=_STATES[one.state],
        existence=one.existence,
        first_seen=stamp_of(round(one.first_seen * 1e9)),
        last_seen=stamp_of(round(one.last_seen * 1e9)),
        observations=one.observations,
    )


def _phrases(text: str) -> Sequence[Phrase | None]:
    """The noun phrases of a text; None for every object."""
    if not text.strip():
        return [None]
    read = read_phrases(text)
    if isinstance(read, NotUnderstood):
        raise EmptyTextError(
            f"{text!r} names nothing to recall: write noun phrases, such as 'mug' or 'red mug; bottle'"
        )
    return [None if phrase.noun == "object" and not phrase.colors else phrase for phrase in read]


def _asked(text: str) -> tuple[str, ...] | None:
    """The labels that a text asked for; None if it asked for everything."""
    read = read_phrases(text)
    if isinstance(read, NotUnderstood):
        return ()
    if any(phrase.noun == "object" for phrase in read):
        return None
    return tuple(" ".join([*phrase.colors, phrase.noun]) for phrase in read)
