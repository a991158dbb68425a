"""The program `mcp_node`: an agent's tools on a running grounding node (Model Context Protocol).

`ros2 run n3d_ros mcp_node`, or `n3d mcp --node /grounding`. It is a client like any other: queries go to the node's
action, pictures come from its annotated image, and remembered objects from its service. It cannot move the robot.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3D

from n3d_core import mcp_server as agent
from n3d_core.messages.assembly import nanoseconds_of
from n3d_core.messages.images import color_array
from n3d_core.reasoning.question import Value
from n3d_ros.errors import STATUS_NAMES, UnavailableError
from n3d_ros.msg import Answer, RememberedObject, Result
from n3d_ros.node.parameters import AT_START, CheckedParameters, ParameterSet, named, parameter
from n3d_ros.node.running import REFUSALS, leave, leave_graph, start_ros
from n3d_ros.outputs.messages import VALUE_KINDS, VERDICTS, detection_box
from n3d_ros.page.client import PageQuery
from n3d_ros.srv import Recall

_VERDICTS = {code: name for name, code in VERDICTS.items()}
_KINDS = {code: name for name, code in VALUE_KINDS.items()}
_STATES = {RememberedObject.PRESENT: "present", RememberedObject.GONE: "gone"}
_MATCHING_S, _PICTURE_S = 2.0, 3.0  # how long DDS may take to connect a subscription, and to deliver a picture
_KEPT = 8  # pictures
LINGER_S = 10.0  # the node draws a picture for every query, anyone's, while it is subscribed


@dataclass(frozen=True)
class McpParameters(CheckedParameters):
    """Each parameter's text describes it."""

    grounding: str = parameter("grounding", "Name of the grounding node.", when=AT_START)
    port: int = parameter(
        -1,
        "Port on 127.0.0.1 (path /mcp); 0: any free one; -1: stdin and stdout.",
        low=-1,
        high=65535,
        when=AT_START,
    )
    timeout: float = parameter(60.0, "How long to wait for an answer, in seconds.", low=1.0, high=3600.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        named(self.grounding)


class NodeScene:
    """A running grounding node as an agent's scene.

    Args:
        node: the client; another thread spins it.
        grounding: name of the grounding node.
        timeout_s: function that returns the longest wait for an answer.
    """

    def __init__(self, node: Node, grounding: str, timeout_s: Callable[[], float]) -> None:
        self.name = node.resolve_service_name(grounding)
        self._node, self._timeout_s = node, timeout_s
        self._query = PageQuery(node, grounding, timeout_s)
        self._recall = node.create_client(Recall, f"{grounding}/recall")
        self._topic = f"{grounding}/annotated_image"
        self._pictures: OrderedDict[int, Image] = OrderedDict()
        self._arrived = threading.Condition()
        self._subscription: Any = None
        self._looks = 0  # running
        self._looked = 0.0  # when the last one ended

    def look(self, text: str, frame: int | None) -> agent.Picture:
        """As `AgentScene.look`; the node draws only while somebody subscribes to its picture."""
        if frame is not None:
            raise UnavailableError("frame is for recordings, and this camera is live: leave frame out")
        with self._subscribed():
            result = self._ask(text, "ground").result
            picture = self._picture(nanoseconds_of(result.header.stamp))
            if picture is None:  # the node had not seen the subscription yet
                result = self._ask(text, "ground").result
                picture = self._picture(nanoseconds_of(result.header.stamp))
        if picture is None:
            raise UnavailableError(f"no picture came on {self._topic}: call again, or use find, which needs no picture")
        pixels = color_array(picture)
        seen = self._seen(text, result)
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        return agent.Picture(pixels, agent.Looked(**seen.model_dump(), **size, source=self.name))

    def find(self, text: str) -> agent.Seen:
        """As `AgentScene.find`."""
        return self._seen(text, self._ask(text, "ground").result)

    def ask(self, question: str) -> agent.Answered:
        """As `AgentScene.ask`; the node itself falls back on its memory."""
        reply = self._ask(question, "ask")
        result, value = reply.result, reply.value
        taken = nanoseconds_of(result.header.stamp)
        boxes = result.detections.detections
        recalled = [nanoseconds_of(one.header.stamp) for one in boxes if one.id]  # only what is remembered has an id
        point = (value.point.x, value.point.y, value.point.z)
        kind = _KINDS.get(value.kind, "none")
        return agent.Answered(
            question=reply.question,
            answer=reply.answer,
            verdict=_VERDICTS.get(reply.verdict, "unverifiable"),
            verdict_reason=reply.verdict_reason,
            value=agent.answer_value(Value(kind, value.truth, value.number, tuple(value.objects), point)),
            remembered=bool(recalled),
            age_s=self._age(min([taken, *recalled])),
            said=reply.said,
            objects=[agent.Object(**_fields(one, result.header.frame_id)) for one in boxes],
            frame_id=result.header.frame_id,
            stamp=taken / 1e9,
            warnings=list(result.warnings),
        )

    def recall(self, text: str, max_age_s: float) -> agent.Remembered:
        """As `AgentScene.recall`."""
        if not self._recall.service_is_ready():
            raise UnavailableError(f"service {self._recall.srv_name} not found: is the grounding node running?")
        request = Recall.Request(text=text)
        if math.isfinite(max_age_s):
            seconds, rest = divmod(max_age_s, 1)
            request.max_age = Duration(sec=int(seconds), nanosec=int(rest * 1e9))
        response = self._wait(self._recall.call_async(request))
        result, frame_id = response.result, response.result.header.frame_id
        if result.status == Result.NOT_ACTIVE:
            return agent.Remembered(objects=[], frame_id=frame_id, note=result.message)
        _check(result)
        return agent.Remembered(
            objects=[self._remembered(one, frame_id) for one in response.objects], frame_id=frame_id, note=""
        )

    def _ask(self, text: str, mode: Any) -> Answer:
        reply = self._query.ask(text, mode)
        _check(reply.result)
        return reply

    def _wait(self, future: Future) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._timeout_s()):
            raise UnavailableError(f"{self._recall.srv_name} did not answer in {self._timeout_s():.0f} s: call again")
        return future.result()

    def _seen(self, text: str, result: Result) -> agent.Seen:
        frame_id, taken = result.header.frame_id, nanoseconds_of(result.header.stamp)
        return agent.Seen(
            text=text,
            objects=[agent.Object(**_fields(one, frame_id)) for one in result.detections.detections],
            frame_id=frame_id,
            stamp=taken / 1e9,
            age_s=self._age(taken),
            warnings=list(result.warnings),
        )

    def _remembered(self, one: RememberedObject, frame_id: str) -> agent.KnownObject:
        age_s, state = self._age(nanoseconds_of(one.last_seen)), _STATES.get(one.state, "uncertain")
        fields = _fields(one.detection, frame_id)
        place = ", ".join(f"{v:.2f}" for v in fields["center"])
        gone = ", but it is gone: its place was seen to be empty" if state == "gone" else ""
        return agent.KnownObject(
            **fields,
            id=one.detection.id,
            state=state,
            age_s=age_s,
            observations=one.observations,
            sentence=f"The {fields['label']} was last seen {age_s:.0f} seconds ago, at ({place}) in {frame_id}{gone}.",
        )

    def _age(self, stamp_ns: int) -> float:
        return round(max(self._node.get_clock().now().nanoseconds - stamp_ns, 0) / 1e9, 3)

    @contextmanager
    def _subscribed(self) -> Iterator[None]:
        """Subscribes to the pictures, for the block and `LINGER_S` after it."""
        with self._arrived:
            self._looks += 1
            if self._subscription is None:
                make, qos = self._node.create_subscription, QoSProfile(depth=2)
                self._subscription = make(Image, self._topic, self._on_picture, qos)
                self._timer = self._node.create_timer(LINGER_S / 4, self._rest)
            subscription = self._subscription
        try:
            end = time.monotonic() + _MATCHING_S
            while not subscription.get_publisher_count() and time.monotonic() < end:
                time.sleep(0.02)
            yield
        finally:
            with self._arrived:
                self._looks -= 1
                self._looked = time.monotonic()

    def _rest(self) -> None:
        with self._arrived:
            if self._subscription is None or self._looks or time.monotonic() - self._looked < LINGER_S:
                return
            self._node.destroy_timer(self._timer)
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self._pictures.clear()

    def _on_picture(self, message: Image) -> None:
        with self._arrived:
            self._pictures[nanoseconds_of(message.header.stamp)] = message
            while len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
            self._arrived.notify_all()

    def _picture(self, stamp_ns: int) -> Image | None:
        """The annotated picture of an image; None if none comes in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: stamp_ns in self._pictures, _PICTURE_S)
            return self._pictures.get(stamp_ns)


def _check(result: Result) -> None:
    if result.status != Result.OK:
        raise UnavailableError(f"{STATUS_NAMES.get(result.status, result.status)}: {result.message}")


def _fields(detection: Detection3D, frame_id: str) -> dict[str, Any]:
    """Of a box as an agent reads it; the distance is known where the frame is the camera's."""
    return agent.object_fields(detection_box(detection), (0.0, 0.0, 0.0) if "optical" in frame_id else None)


def main(args: list[str] | None = None) -> int:
    """Serves until the client closes the connection, or Ctrl-C."""
    start_ros("mcp_node", args, __doc__, several=False)
    node = Node("n3d_mcp")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        settings = ParameterSet(node, McpParameters)
        scene = NodeScene(node, settings.value.grounding, lambda: settings.value.timeout)
        threading.Thread(target=_spin, args=(executor,), name="spin", daemon=True).start()
        port = settings.value.port
        agent.serve(agent.make_server(scene), None if port < 0 else port)
    except KeyboardInterrupt:
        pass
    except REFUSALS as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    finally:
        executor.shutdown(0.5)
        leave_graph(node)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


if __name__ == "__main__":
    leave(main())
