"""How the page reaches the robot: it asks the grounding node, and reads the same images as that node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from n3d_ros.action import Query
from n3d_ros.msg import Answer
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.task import Future
from vision_msgs.msg import Detection3D

from n3d_core.errors import ConfigError
from n3d_core.geometry.frame import Frame
from n3d_core.messages.assembly import ColorImage
from n3d_ros.errors import NoImageError, UnavailableError
from n3d_ros.frames.transforms import Transforms
from n3d_ros.grounding_parameters import GroundingParameters
from n3d_ros.inputs.rgbd_topics import RgbdTopics
from n3d_ros.inputs.synchronized_topics import subscribe_inputs
from n3d_ros.queries.latest_frame import LatestFrame, never

_MODES = {"ground": Query.Goal.GROUND, "ask": Query.Goal.ASK}
TRANSFORM_S = 0.3  # TF may lag behind the camera by this much
PAIRING_S = 0.05  # minimum; the page only displays
ASK_EVERY_S = 3.0
_CHECK_S = 0.5  # how often a query checks that both ends are still there
_ANSWER_S = 1.0  # the page also shows a camera without a grounding node

# The parameters that control how images become frames; the page reads them from the grounding node.
READ_BY = (
    "color_transport",
    "depth_transport",
    "depth_registration",
    "distortion",
    "units_per_metre",
    "monocular_depth",
    "pairing_tolerance",
    "target_frame",
)


@dataclass
class QueryProgress:
    """Progress of the newest running query; see Query.action."""

    stage: str = ""
    text: str = ""
    detections: list[Detection3D] = field(default_factory=list)


class PageQuery:
    """A client of the action `query`, for threads that wait while the node's executor spins elsewhere.

    Args:
        node: the client's node.
        grounding: name of the grounding node.
        timeout_s: function that returns the longest wait for an answer.
    """

    def __init__(self, node: Node, grounding: str, timeout_s: Callable[[], float]) -> None:
        self._client = ActionClient(node, Query, f"{grounding}/query")
        self._name = node.resolve_service_name(f"{grounding}/query")
        self._timeout_s = timeout_s
        self.progress: QueryProgress | None = None

    def ask(self, text: str, mode: Literal["ground", "ask"], gone: Callable[[], bool] = never) -> Answer:
        """The answer; until then `progress` follows the query. `gone`: whether nobody waits for it any more.

        Raises:
            UnavailableError: if the action does not exist, ends, or does not answer in time, or nobody waits; the query
                is then cancelled.
        """
        if not self._client.server_is_ready():
            raise UnavailableError(
                f"action {self._name} not found: the grounding node is not running (yet), or has another name or "
                "namespace (parameter grounding)"
            )
        progress = self.progress = QueryProgress()
        end = time.monotonic() + self._timeout_s()
        sent = self._client.send_goal_async(Query.Goal(text=text, mode=_MODES[mode]), partial(_note, progress))
        try:
            handle = self._wait(sent, end, gone)
            return self._wait(handle.get_result_async(), end, gone).result.answer
        except UnavailableError:
            if sent.done():
                sent.result().cancel_goal_async()
            else:  # it may be accepted late
                sent.add_done_callback(lambda accepted: accepted.result().cancel_goal_async())
            raise
        finally:
            if self.progress is progress:
                self.progress = None

    def _wait(self, future: Future, end: float, gone: Callable[[], bool]) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(min(_CHECK_S, max(end - time.monotonic(), 0.0))):
            if time.monotonic() >= end:
                raise UnavailableError(
                    f"{self._name} did not answer within {self._timeout_s():.0f} s (parameter answer_timeout)"
                )
            if not self._client.server_is_ready():
                raise UnavailableError(f"the grounding node ended before {self._name} answered")
            if gone():
                raise UnavailableError("the page that asked was closed")
        return future.result()


def _note(progress: QueryProgress, message: Any) -> None:
    """Receives feedback, in the executor's thread."""
    told = message.feedback
    progress.stage, progress.text = told.stage, told.text_so_far
    progress.detections = [*progress.detections, *told.new_detections]


class PageInput:
    """The newest frame of the camera; subscribes only between the first `newest` and `close`.

    It uses the grounding node's parameters, read every few seconds, or else the defaults.

    Args:
        node: the node that subscribes.
        grounding: name of the grounding node.
        transforms: between the cameras of unregistered depth.
    """

    def __init__(self, node: Node, grounding: str, transforms: Transforms) -> None:
        self._node = node
        self._transforms = transforms
        self._client = node.create_client(GetParameters, f"{grounding}/get_parameters")
        self._asked: Future | None = None
        self._asked_at = float("-inf")
        self._opened: float | None = None
        self._told = False
        self._parameters = _for_the_page(GroundingParameters())
        self._topics: RgbdTopics | None = None
        self._lock = threading.Lock()  # guards the topics, which the executor replaces when the parameters change

    @property
    def open_for_s(self) -> float:
        """Seconds since images were first requested; 0 while they are not."""
        return 0.0 if self._opened is None else time.monotonic() - self._opened

    def newest(self) -> Frame | ColorImage:
        """The newest frame, or only the image if the camera's depth is estimated.

        Waits only for TF; call it outside of the executor, which delivers the transforms.

        Raises:
            N3DError: as `LatestFrame` does.
        """
        self._opened = self._opened or time.monotonic()
        with self._lock:
            self._ask()
            parameters = self._parameters
            if self._topics is None:
                if not self._told and self._client.service_is_ready() and self.open_for_s < _ANSWER_S:
                    raise NoImageError(f"{self._client.srv_name} has not answered yet")
                self._topics = subscribe_inputs(self._node, parameters)
            topics = self._topics
        frames = LatestFrame(self._node.get_clock(), topics, self._transforms)
        messages = frames.take(parameters).messages
        if messages.depth is None:
            return frames.read_color(messages, parameters)
        return frames.read(messages, parameters)

    def close(self) -> None:
        """Ends the subscriptions."""
        with self._lock:
            self._unsubscribe()
        self._opened = None

    def _unsubscribe(self) -> None:
        if self._topics is not None:
            self._topics.close()
            self._topics = None

    def _ask(self) -> None:
        if time.monotonic() - self._asked_at < ASK_EVERY_S or not self._client.service_is_ready():
            return
        if self._asked is not None:
            self._client.remove_pending_request(self._asked)
        self._asked_at = time.monotonic()
        self._asked = self._client.call_async(GetParameters.Request(names=READ_BY))
        self._asked.add_done_callback(self._on_answer)

    def _on_answer(self, answered: Future) -> None:
        response = None if answered.cancelled() else answered.result()
        if response is None:
            return
        read = _read(response.values)
        if read.target_frame:
            self._transforms.listen()  # early: a transform at the stamp of boxes must have been received by then
        wanted = _for_the_page(read)
        with self._lock:
            self._told = True
            if wanted != self._parameters:
                self._parameters = wanted
                self._unsubscribe()


def _read(values: Sequence[ParameterValue]) -> GroundingParameters:
    """The values in the order of `READ_BY`; the defaults if the node's parameters differ."""
    given = [parameter_value_to_python(value) for value in values]
    try:
        return GroundingParameters(**dict(zip(READ_BY, given, strict=True)))
    except (ConfigError, TypeError, ValueError):  # from another version
        return GroundingParameters()


def _for_the_page(parameters: GroundingParameters) -> GroundingParameters:
    """The same, but for images of any age, in their own frame, and without waiting."""
    return replace(
        parameters,
        pairing_tolerance=max(parameters.pairing_tolerance, PAIRING_S),
        max_image_age=0.0,
        image_timeout=0.0,
        transform_timeout=TRANSFORM_S,
        target_frame="",
    )
