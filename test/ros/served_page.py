"""The page over HTTP: its nodes, with cameras and grounding actions that are real nodes of this process."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rclpy
from n3d_ros.action import Query
from n3d_ros.msg import Answer, Result
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from vision_msgs.msg import Detection3DArray, VisionInfo

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.camera import Camera
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.frame_folder import write_frame
from n3d_ros.node.running import leave_graph
from n3d_ros.outputs.messages import detections_message, header_message
from n3d_ros.outputs.publishers import latched
from n3d_ros.page.page_node import PageNode
from n3d_ros.page.server import PageServer
from n3d_ros.playback.camera_node import CameraNode

BOX = OrientedBox("red <b>mug</b>", (0.0, 0.0, 1.0), (0.2, 0.3, 0.25), score=0.75)
OPTICAL = "camera_color_optical_frame"


class Grounding(Node):
    """Finds one box for every text, and publishes it as the grounding node does; "slow" waits for `released`."""

    def __init__(self, box=BOX, **options):
        super().__init__("grounding", **options)
        self.box = box
        self.server = ActionServer(
            self,
            Query,
            "~/query",
            self.on_goal,
            cancel_callback=self.on_cancel,
            callback_group=ReentrantCallbackGroup(),
        )
        self.detections = self.create_publisher(Detection3DArray, "~/detections", 10)
        self.info = self.create_publisher(VisionInfo, "~/vision_info", latched())
        self.info.publish(VisionInfo(method="N3D-VLM toy on paper: toy knows <b>mugs</b>"))
        self.asked = []
        self.cancelled = []
        self.released = Future()

    async def on_goal(self, goal):
        text = goal.request.text
        self.asked.append(text)
        found = detections_message([self.box], header_message(7, OPTICAL))
        if text == "slow":
            told = Query.Feedback(stage="decode", new_detections=found.detections, text_so_far="red mug(")
            goal.publish_feedback(told)
            await self.released
        goal.succeed()
        if goal.request.mode == Query.Goal.ASK:
            result = Result(status=Result.OK, warnings=["few pixels"])
            answer = Answer(result=result, answer="0.50 m", said="0.42 m", verdict=Answer.CONTRADICTED)
            return Query.Result(answer=answer)
        self.detections.publish(found)
        return Query.Result(answer=Answer(result=Result(header=found.header, status=Result.OK, detections=found)))

    def on_cancel(self, goal):
        self.cancelled.append(goal.request.text)
        return CancelResponse.ACCEPT

    def release(self):
        waiting, self.released = self.released, Future()
        waiting.set_result(None)
        self.executor.wake()


class Page:
    """The page's nodes and what they talk to, in an executor of their own.

    Args:
        cameras: of each namespace a frame folder, and the box that its grounding node finds.
    """

    def __init__(self, cameras: Mapping[str, tuple[Path, OrientedBox]]) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.groundings: dict[str, Grounding] = {}
        self.nodes: dict[str, PageNode] = {}
        self.executor = SingleThreadedExecutor(context=self.context)
        self.all: list[Node] = []
        server = PageServer()
        for name, (frames, box) in cameras.items():
            options = {"context": self.context, "namespace": name}
            folder = [Parameter("folder", value=str(frames)), Parameter("rate", value=10.0)]
            self.groundings[name] = Grounding(box, **options)
            self.nodes[name] = PageNode(server, parameter_overrides=[Parameter("port", value=0)], **options)
            camera = CameraNode(parameter_overrides=folder, **options)
            for node in (self.groundings[name], self.nodes[name], camera):
                self.executor.add_node(node)
                self.all.append(node)
        for node in self.nodes.values():
            node.start()
        self.port = int(server.url.rsplit(":", 1)[1].strip("/"))
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    @property
    def grounding(self):
        """The grounding node of the first camera."""
        return next(iter(self.groundings.values()))

    @property
    def node(self):
        """The page's node of the first camera."""
        return next(iter(self.nodes.values()))

    def close(self):
        for node in self.nodes.values():
            node.close()
        self.executor.shutdown()
        self.thread.join(5)
        for node in self.all:  # else the next module's nodes would see them
            leave_graph(node)
            node.destroy_node()
        rclpy.shutdown(context=self.context)

    def request(self, method, path, body=None, headers=None):
        """Status, headers and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, dict(reply.headers), reply.read()

    def ask(self, body, camera="", **headers):
        """Status and reply of a question."""
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        body = body if isinstance(body, bytes) else json.dumps(body)
        status, _, data = self.request("POST", f"{camera}/ask", body, sent)
        return status, json.loads(data)

    def status(self, camera=""):
        """What the page is told once a second."""
        return self.json(f"{camera}/status")

    def json(self, path):
        """What lies at a path, as JSON."""
        return json.loads(self.request("GET", path)[2])


def write_plain_frame(folder: Path, rgb: tuple[int, int, int]) -> Path:
    """A frame folder with one 64x48 image of one colour, 1.5 m away."""
    color = np.full((48, 64, 3), rgb, np.uint8)
    write_frame(folder, 0, Frame(color, np.full((48, 64), 1.5, np.float32), Camera.from_fov(60, 64, 48)))
    return folder
