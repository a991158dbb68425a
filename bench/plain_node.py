"""A conventional RGB-D node: every image is received, deserialised and paired by stamp.

`bench/node.py` compares the grounding node with it: three subscriptions with callbacks and the pairing of
`message_filters.ApproximateTimeSynchronizer` (queues of ten, a tolerance). It prints one JSON line when it ends.
"""

import json
import sys
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

QUEUE, TOLERANCE_NS = 10, 20_000_000


class PlainNode(Node):
    """Keeps the last ten messages of each topic by stamp, and counts sets."""

    def __init__(self) -> None:
        super().__init__("plain")
        qos = QoSProfile(depth=3, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.queues: dict[str, dict[int, object]] = {"color": {}, "depth": {}, "info": {}}
        self.sets = self.received = 0
        self.first = self.last = 0
        self.create_subscription(Image, "color/image_raw", self._on_color, qos)
        self.create_subscription(Image, "depth/image_raw", lambda m: self._add("depth", m), qos)
        self.create_subscription(CameraInfo, "color/camera_info", lambda m: self._add("info", m), qos)

    def _on_color(self, message: Image, info: dict) -> None:
        number = info["publication_sequence_number"]
        self.first, self.last = self.first or number, number
        self.received += 1
        self._add("color", message)

    def _add(self, name: str, message: object) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        queue = self.queues[name]
        queue[stamp] = message
        while len(queue) > QUEUE:
            del queue[min(queue)]
        matches = [min(q, key=lambda s: abs(s - stamp), default=None) for q in self.queues.values()]
        if all(match is not None and abs(match - stamp) <= TOLERANCE_NS for match in matches):
            self.sets += 1
            for q, match in zip(self.queues.values(), matches, strict=True):
                del q[match]


def main() -> None:
    """Runs until Ctrl-C."""
    rclpy.init()
    node = PlainNode()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    share = node.received / (node.last - node.first + 1) if node.received else 0.0
    print(json.dumps({"received": node.received, "received_share": round(share, 4), "sets": node.sets}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
