"""The node's memory: queries update a map of objects, which services, topics and questions read.

A query never fails because of the memory: if an update fails (no transform, a full disk), the node logs it and carries
on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from n3d_ros.msg import RememberedObject, Result
from n3d_ros.srv import Forget, Recall
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from n3d_core.display.draw import BODY_UP
from n3d_core.errors import N3DError, QueryError
from n3d_core.geometry.boxes import Box3D
from n3d_core.geometry.frame import Frame
from n3d_core.memory.objects import RememberedObject as Remembered
from n3d_core.memory.observations import Look, Pose
from n3d_core.memory.recollection import Viewpoint, answer_from_memory, find_remembered
from n3d_core.reasoning.audit import UNVERIFIABLE
from n3d_core.reasoning.parse import read_phrases
from n3d_core.reasoning.question import NotUnderstood
from n3d_core.results import Answer
from n3d_ros.errors import NotActiveError, TransformError
from n3d_ros.frames.images import stamp_of
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.outputs.diagnostics import BackOff, status_message
from n3d_ros.outputs.markers import marker_array
from n3d_ros.outputs.messages import detection_message, failure_message, result_message
from n3d_ros.queries import shared_map
from n3d_ros.queries.outcome import GROUND, Outcome, Place
from n3d_ros.queries.shared_map import SharedMap

_STATES = {
    "present": RememberedObject.PRESENT,
    "gone": RememberedObject.GONE,
    "uncertain": RememberedObject.UNCERTAIN,
}
_POSE_SIGMA_M, _POSE_SIGMA_RAD = 0.02, 0.01  # of a pose by TF: localisation and calibration are not exact
_OFF = "the node has no memory: set the parameter memory to a file, and configure the node"
_SHOW_EVERY_S = 1.0


class NodeMemory:
    """The memory of one node; nodes of a process that name the same file share it.

    Args:
        node: for its log, its clock and the executor that answers the services.
        transforms: from the camera to `memory_frame`.
    """

    def __init__(self, node: Node, transforms: Transforms) -> None:
        self._node = node
        self._transforms = transforms
        self._shared: SharedMap | None = None
        self._odom_frame = ""
        self._closed_because = _OFF
        self._problem = ""  # of the last look
        self._looks = 0
        self._repeats = BackOff()
        self._outdated: set[str] = set()  # topics that do not show the newest state yet
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(Detection3DArray, "~/memory", latched)
        self._markers = node.create_publisher(MarkerArray, "~/memory_markers", latched)
        node.create_service(Recall, "~/recall", self._on_recall)
        node.create_service(Forget, "~/forget", self._on_forget)
        node.create_service(Trigger, "~/clear_memory", self._on_clear)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._ticker = node.create_timer(_SHOW_EVERY_S, self._show, clock=steady)
        self._ticker.cancel()

    @property
    def is_on(self) -> bool:
        """Whether looks are remembered."""
        return self._shared is not None

    def open(self, parameters: GroundingParameters) -> None:
        """Opens the map named by the parameters. Without one, or if it is unusable, the node remembers nothing."""
        self.close()
        if not parameters.memory:
            return
        try:
            self._shared = shared_map.acquire(parameters.memory, parameters.memory_frame, self._on_change)
        except N3DError as error:
            self._closed_because = f"the memory is off: {error}"
            self._node.get_logger().error(self._closed_because)
            return
        self._odom_frame = parameters.odom_frame
        self._on_change()
        self._ticker.reset()

    def close(self) -> None:
        """Closes the map; its file keeps the contents."""
        shared, self._shared, self._closed_because = self._shared, None, _OFF
        self._ticker.cancel()
        if shared is not None:
            shared_map.release(shared, self._on_change)

    def locate(self, frame: Frame, timeout_s: float = 0.0) -> Place | None:
        """Where the camera was, if TF knows it by now; a slow query would find that TF has forgotten it."""
        shared = self._shared
        try:
            return None if shared is None else self._locate(shared, frame, timeout_s)
        except N3DError:
            return None  # `look` tries again, and logs why it failed

    def look(self, text: str, mode: int, outcome: Outcome, timeout_s: float) -> None:
        """Records what a query found, and what it looked for but did not find."""
        shared, frame = self._shared, outcome.frame
        if shared is None:
            return
        try:
            pose, odometry = outcome.place or self._locate(shared, frame, timeout_s)
            asked = _asked(text) if mode == GROUND else ()
            stamp, source = frame.stamp_ns / 1e9, self._node.get_fully_qualified_name()
            look = Look(stamp, pose, frame.camera, outcome.seen, asked, frame.depth, source)
            for jump in shared.take(look, odometry):
                self._node.get_logger().warning(f"memory: {jump}")
        except N3DError as error:
            self._problem = str(error)
            if self._repeats.due(self._problem) is not None:
                self._node.get_logger().warning(f"not remembered: {error}")
            return
        self._problem = ""
        self._looks += 1

    def answer(
        self, frame: Frame, place: Place | None, timeout_s: float, question: str, in_view: Sequence[Box3D]
    ) -> Answer:
        """Answers a question that the view of `frame` leaves open; see `recollection.answer_from_memory`.

        Without a map or a transform the answer names no object, and the view's own answer stays.
        """
        try:
            shared = self._open_map()
            pose, _ = place or self._locate(shared, frame, timeout_s)
            viewpoint = Viewpoint(pose, frame.stamp_ns / 1e9, shared.frame_id)
            with shared.held() as objects:
                return answer_from_memory(question, objects, viewpoint, in_view)
        except N3DError as error:
            if self._repeats.due(f"recall {error}") is not None:
                self._node.get_logger().warning(f"not answered from memory: {error}")
            return Answer(question, "", "", "", UNVERIFIABLE, str(error))

    def recall(self, text: str, max_age_s: float = math.inf) -> list[Remembered]:
        """The remembered objects that a text names (empty: all), the most likely first.

        Raises:
            NotActiveError: if the memory is off.
            QueryError: if the text names nothing.
            ObjectMapError: if the map cannot be read.
        """
        shared, now = self._open_map(), self._node.get_clock().now().nanoseconds / 1e9
        with shared.held() as objects:
            return find_remembered(objects, text, max_age=max_age_s, now=now)

    def forget(self, text: str, ids: Sequence[str]) -> list[Remembered]:
        """Removes the objects that a text or their ids name, and returns them; all of them, or none.

        Raises:
            As `recall`; QueryError if nothing is named, or an id is unknown.
        """
        if not text.strip() and not ids:
            raise QueryError("name what to forget, by text or ids; ~/clear_memory forgets everything")
        shared = self._open_map()
        with shared.held() as objects:
            found = {one.id: one for one in find_remembered(objects, text, limit=2**31)} if text.strip() else {}
            for name in ids:
                one = objects.get(int(name)) if name.isascii() and name.isdigit() and len(name) < 19 else None
                if one is None:
                    raise QueryError(f"no remembered object has the id {name!r}; ~/recall lists them")
                found[one.id] = one
            objects.forget(list(found))
        shared.changed()
        return list(found.values())

    def status(self) -> DiagnosticStatus:
        """What is remembered, for /diagnostics; a warning while looks cannot be."""
        name, shared = f"{self._node.get_fully_qualified_name()}: memory", self._shared
        if shared is None:
            wanted = self._closed_because is not _OFF
            level = DiagnosticStatus.WARN if wanted else DiagnosticStatus.OK
            return status_message(name, level, self._closed_because if wanted else "off", {})
        try:
            count = shared.count()
        except N3DError as error:
            return status_message(name, DiagnosticStatus.ERROR, str(error), {})
        values = {
            "objects": str(count),
            "looks": str(self._looks),
            "jumps": str(shared.jumps),
            "frame": shared.frame_id,
        }
        level = DiagnosticStatus.WARN if self._problem else DiagnosticStatus.OK
        message = f"not remembered: {self._problem}" if self._problem else f"{count} objects are remembered"
        return status_message(name, level, message, values)

    def _open_map(self) -> SharedMap:
        shared = self._shared
        if shared is None:
            raise NotActiveError(self._closed_because)
        return shared

    def _locate(self, shared: SharedMap, frame: Frame, timeout_s: float) -> Place:
        """Where the camera and the odometry's frame were in the map; None for the latter if there is none."""
        if frame.frame_id == shared.frame_id:
            raise TransformError(f"memory_frame is {shared.frame_id!r}, the camera's own frame; name a fixed one")
        found = self._transforms.look_up(shared.frame_id, frame.frame_id, frame.stamp_ns, timeout_s)
        pose, odometry = Pose(*found, _POSE_SIGMA_M, _POSE_SIGMA_RAD), None
        if self._odom_frame not in ("", shared.frame_id):
            with suppress(N3DError):
                odometry = Pose(*self._transforms.look_up(shared.frame_id, self._odom_frame, frame.stamp_ns, 0.0))
        return pose, odometry

    def _on_recall(self, request: Recall.Request, response: Recall.Response) -> Recall.Response:
        age_s = request.max_age.sec + request.max_age.nanosec / 1e9
        return self._respond(
            request.text, response, lambda: self.recall(request.text, age_s if age_s > 0 else math.inf)
        )

    def _on_forget(self, request: Forget.Request, response: Forget.Response) -> Forget.Response:
        return self._respond(request.text, response, lambda: self.forget(request.text, request.ids))

    def _respond(self, text: str, response: Any, work: Any) -> Any:
        """A response with the objects that `work` returns, or why it failed."""
        header = self._header()
        try:
            objects = work()
        except N3DError as error:
            response.result = failure_message(text, error, header)
            return response
        response.objects = [remembered_message(one, header) for one in objects]
        detections = Detection3DArray(header=header, detections=[one.detection for one in response.objects])
        response.result = result_message(text, header, detections, {}, ())
        assert response.result.status == Result.OK
        return response

    def _on_clear(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            shared = self._open_map()
            with shared.held() as objects:
                count = objects.clear()
        except N3DError as error:
            response.message = str(error)
            return response
        shared.changed()
        response.success, response.message = True, f"forgot {count} objects"
        self._node.get_logger().info(f"memory: {response.message}")
        return response

    def _header(self) -> Header:
        frame_id = "" if self._shared is None else self._shared.frame_id
        return Header(stamp=self._node.get_clock().now().to_msg(), frame_id=frame_id)

    def _on_change(self) -> None:
        self._outdated = {"memory", "markers"}

    def _show(self) -> None:
        """Publishes the objects that are present, and markers once somebody wants them; both latched."""
        wanted = {"memory"} | ({"markers"} if self._markers.get_subscription_count() else set())
        if not self._outdated & wanted:
            return
        topics, self._outdated = self._outdated & wanted, self._outdated - wanted
        try:
            objects = self.recall("")
        except N3DError:
            return  # it was closed meanwhile, or the file's problem is already logged
        header = self._header()
        if "memory" in topics:
            present = [remembered_message(one, header).detection for one in objects if one.state == "present"]
            self._publisher.publish(Detection3DArray(header=header, detections=present))
        if "markers" in topics:
            boxes = [one.box for one in objects if one.state != "gone"]
            self._markers.publish(marker_array(boxes, header, up=BODY_UP, faded=True))


def remembered_message(one: Remembered, header: Header) -> RememberedObject:
    """An object of the map as a message."""
    return RememberedObject(
        detection=detection_message(one.box, header, str(one.id)),
        state=_STATES[one.state],
        existence=one.existence,
        first_seen=stamp_of(max(round(one.first_seen * 1e9), 0)),
        last_seen=stamp_of(max(round(one.last_seen * 1e9), 0)),
        observations=one.observations,
    )


def _asked(text: str) -> tuple[str, ...] | None:
    """The labels that a text asked for; None if it asked for everything."""
    read = read_phrases(text)
    if isinstance(read, NotUnderstood):
        return ()
    if any(phrase.noun == "object" for phrase in read):
        return None
    return tuple(" ".join([*phrase.colors, phrase.noun]) for phrase in read)
