"""A grounding node, a camera node and their client, for the demo."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from n3d_ros.msg import Answer, RememberedObject, Result
from n3d_ros.srv import Ask, Ground, Recall
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future

from n3d_core.errors import N3DError
from n3d_core.geometry.boxes import Box3D
from n3d_core.messages.assembly import nanoseconds_of
from n3d_ros.demo.node_process import NodeProcess
from n3d_ros.node.shipped import dds_profile, shipped
from n3d_ros.outputs.messages import detection_box

START_S, QUERY_S = 300.0, 120.0


class DemoError(N3DError):
    """A node failed a request of the demo."""


class DemoSession:
    """Runs both nodes as processes, with the parameters of config/grounding.yaml.

    Args:
        folder: the frame folder that the camera plays.
        model, backend: parameters of the grounding node.
        memory: the file in which it remembers objects; None: it remembers nothing.
    """

    def __init__(self, folder: Path, model: str, backend: str, memory: Path | None = None) -> None:
        # a separate DDS domain: a robot on this machine must not see the demo's images
        os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        os.environ.update(dds_profile())
        file = shipped("config/grounding.yaml")
        settings = {"model": model, "backend": backend} | ({} if memory is None else {"memory": str(memory)})
        self._grounding = NodeProcess("n3d_ros.grounding_node", settings, file)
        self._camera = NodeProcess("n3d_ros.playback.camera_node", {"folder": str(folder)}, file)
        self._shown_since_ns = 0

    def __enter__(self) -> DemoSession:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = Node("n3d_demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._state = self._node.create_client(GetState, "/grounding/get_state")
        self._ground = self._node.create_client(Ground, "/grounding/ground")
        self._ask = self._node.create_client(Ask, "/grounding/ask")
        self._recall = self._node.create_client(Recall, "/grounding/recall")
        self._camera_settings = self._node.create_client(SetParameters, "/n3d_camera/set_parameters")
        self._grounding.__enter__()
        self._camera.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._grounding.interrupt()
        self._camera.interrupt()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def wait_until_active(self) -> None:
        """Waits until the model is loaded and the node takes queries.

        Raises:
            DemoError: if the node ends or does not become active; its log says why.
        """
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._grounding.exit_code is not None:
                raise DemoError(f"the grounding node ended with code {self._grounding.exit_code}; see its log above")
            if not self._state.wait_for_service(0.5):
                continue
            try:  # DDS loses an answer where the server has not discovered the client yet
                state = self._result(self._state.call_async(GetState.Request()), QUERY_S / 4).current_state
            except DemoError:
                continue
            if state.id == State.PRIMARY_STATE_ACTIVE:
                return
            if state.id == State.PRIMARY_STATE_UNCONFIGURED:
                raise DemoError("the grounding node could not be configured; see its log above")
        raise DemoError(f"the grounding node did not become active within {START_S:.0f} s; see its log above")

    def show(self, index: int) -> None:
        """Makes the camera show one frame of the folder; `ground` then waits for an image of it.

        Raises:
            DemoError: if the camera refuses.
        """
        if not self._camera_settings.wait_for_service(START_S):
            raise DemoError("the camera node did not start; see its log above")
        request = SetParameters.Request(parameters=[Parameter("frame", value=index).to_parameter_msg()])
        (answer,) = self._result(self._camera_settings.call_async(request), QUERY_S).results
        if not answer.successful:
            raise DemoError(f"frame {index}: {answer.reason}")
        self._shown_since_ns = time.time_ns()

    def ground(self, text: str) -> tuple[list[Box3D], dict[str, float]]:
        """The boxes that the node finds in the current frame, and its stage times in milliseconds.

        Raises:
            DemoError: with the status and message of a result that is not OK.
        """
        end = time.monotonic() + QUERY_S
        while True:
            result = self._result(self._ground.call_async(Ground.Request(text=text)), QUERY_S).result
            too_early = nanoseconds_of(result.header.stamp) < self._shown_since_ns
            waits = result.status == Result.NO_IMAGE or (result.status == Result.OK and too_early)
            if not waits or time.monotonic() > end:
                break
        if result.status != Result.OK:
            raise DemoError(f"{text!r}: status {result.status}: {result.message}")
        for warning in result.warnings:
            print(f"{text!r}: {warning}", file=sys.stderr)
        found = [detection_box(detection) for detection in result.detections.detections]
        boxes = [Box3D(box.label, box.center, box.size, box.score) for box in found]
        return boxes, {stage.stage: 1000 * stage.seconds for stage in result.times}

    def ask(self, question: str) -> Answer:
        """The node's answer about the current frame and what it remembers.

        Raises:
            DemoError: with the status and message of a result that is not OK.
        """
        answer: Answer = self._result(self._ask.call_async(Ask.Request(question=question)), QUERY_S).answer
        if answer.result.status != Result.OK:
            raise DemoError(f"{question!r}: status {answer.result.status}: {answer.result.message}")
        return answer

    def recall(self, text: str = "") -> list[RememberedObject]:
        """What the node remembers of what a text names; empty: everything.

        Raises:
            DemoError: if it remembers nothing, with the reason.
        """
        response = self._result(self._recall.call_async(Recall.Request(text=text)), QUERY_S)
        if response.result.status != Result.OK:
            raise DemoError(f"nothing can be recalled: {response.result.message}")
        return list(response.objects)

    def _result(self, future: Future, timeout_s: float):  # type: ignore[no-untyped-def]
        self._executor.spin_until_future_complete(future, timeout_s)
        if not future.done():
            raise DemoError(f"no answer from the grounding node within {timeout_s:.0f} s")
        return future.result()
